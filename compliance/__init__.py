"""Who may be in, and the log that proves it. Reaches no training stack."""
