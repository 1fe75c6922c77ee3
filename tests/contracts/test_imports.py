"""What may be loaded by what: an auditor needs no training stack, and help needs nothing heavy."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRAINING_STACK = ("torch", "opacus", "flwr", "ray")

IMPORT_ONE_BY_ONE = """
import importlib, pkgutil, sys
import compliance
names = [each.name for each in pkgutil.walk_packages(compliance.__path__, "compliance.")]
for name in names:
    importlib.import_module(name)
    print(name, *[heavy for heavy in sys.argv[1:] if heavy in sys.modules])
"""

HELP = """
import sys
from console.cli import run
code = run(sys.argv[2:])
print("loaded:", *[heavy for heavy in sys.argv[1].split(",") if heavy in sys.modules])
sys.exit(code)
"""

COURIER = """
import sys
import client.app, client.courier
print(*[name for name in sys.argv[1:] if name in sys.modules])
"""


def told(code, *arguments):
    """Returns the lines that an interpreter of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.splitlines()


def test_no_module_of_compliance_reaches_the_training_stack():
    lines = told(IMPORT_ONE_BY_ONE, *TRAINING_STACK)
    assert {"compliance.audit_log", "compliance.consent", "compliance.merkle"} <= set(lines)
    assert not [line for line in lines if " " in line]


@pytest.mark.parametrize(
    "command", [["--help"], ["region", "--help"], ["plan", "--help"], ["central", "--help"]]
)
def test_help_loads_nothing_heavy(command):
    heavy = (*TRAINING_STACK, "ibis", "duckdb", "pandas", "scipy", "dp_accounting", "sklearn")
    lines = told(HELP, ",".join(heavy), *command)
    assert lines[-1] == "loaded:"
    assert any("Usage" in line for line in lines)


def test_help_comes_at_once():
    # Under 1 s on an idle machine; the bound is generous, because the suite shares its cores.
    durations = []
    for _ in range(2):
        begun = time.monotonic()
        told(HELP, "torch", "--help")
        durations.append(time.monotonic() - begun)
    assert min(durations) < 3


def test_the_courier_loads_neither_rows_nor_the_vault():
    (line,) = told(COURIER, "client.store", "client.vault", "torch", "opacus", "ibis", "duckdb")
    assert line == ""
