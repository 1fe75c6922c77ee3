"""The coordinator: rounds, checkpoints, models. Never sees a person."""
