"""Flower is kept quiet before it is imported."""

from __future__ import annotations

import os

from foundation.wire import QUIET, keep_flower_quiet


def test_every_switch_is_set_over_what_was_there(monkeypatch):
    for name in QUIET:
        monkeypatch.setenv(name, "something else")
    keep_flower_quiet()
    assert {name: os.environ[name] for name in QUIET} == QUIET


def test_telemetry_is_off_and_so_are_update_checks_and_installers():
    assert QUIET == {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
