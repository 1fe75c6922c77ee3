"""Names inside a Flower message, and the switches that keep Flower from calling home."""

from __future__ import annotations

import os

RECORD, FRAME = "fedprofile", "frame"
"""One ConfigRecord with one bytes field: Flower carries it and reads nothing in it."""

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def keep_flower_quiet() -> None:
    """Turns telemetry, update checks and installers off; call before flwr is imported."""
    os.environ.update(QUIET)
