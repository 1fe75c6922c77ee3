"""Plan, noise, accounting, ledger, and the closed set of things that may cross a border."""
