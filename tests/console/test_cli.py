"""The executable as a whole: help, usage errors, exit codes, JSON for every ending."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from console import cli

COMMANDS = (
    ("region", "init"), ("region", "check"), ("region", "approve"), ("region", "budget"),
    ("region", "refresh"), ("region", "profile"), ("plan", "check"), ("plan", "calibrate"),
    ("central", "models"), ("simulate",), ("demo",),
)  # fmt: skip
EXECUTABLE = Path(sys.executable).parent / "fedprofile"


@pytest.mark.parametrize("command", [(), ("region",), ("plan",), ("central",), *COMMANDS])
def test_every_command_has_help(command, capsys):
    assert cli.run([*command, "--help"]) == 0
    told = capsys.readouterr().out
    assert "Usage" in told
    if command in COMMANDS:
        assert "--json" in told


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from console.cli import run; run(['--help']); run(['simulate', '--help']);"
        "heavy = {'torch', 'flwr', 'opacus', 'duckdb', 'ibis', 'sklearn'} & set(sys.modules);"
        "sys.exit(f'{heavy}' if heavy else 0)"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 5.0  # under a second where nothing else runs


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["plan", "nonsense"],
        ["plan", "check"],
        ["plan", "check", "plan.toml", "--nonsense"],
        ["plan", "calibrate", "plan.toml", "--epsilon", "three"],
        ["region", "init", "folder"],
        ["region", "refresh", "folder", "--as-of", "yesterday"],
        ["region", "profile", "folder"],
        ["simulate"],
        ["simulate", "plan.toml", "--resume", "folder"],
        ["simulate", "--resume", "folder", "--out", "folder"],
        ["demo", "surplus"],
    ],
)
def test_wrong_usage_ends_with_2_and_says_so_in_json_too(arguments, capsys):
    assert cli.run(arguments) == 2
    assert "FP-213" in capsys.readouterr().err
    assert cli.run([*arguments, "--json"]) == 2
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["error"]["code"] == "FP-213"


@pytest.mark.parametrize("group", [[], ["region"], ["plan"], ["central"]])
def test_a_group_alone_shows_its_commands_and_ends_with_2(group, capsys):
    assert cli.run(group) == 2
    told = capsys.readouterr()
    assert "Commands" in told.out + told.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["plan", "check", "absent.toml"], "FP-202"),
        (["simulate", "absent.toml"], "FP-202"),
        (["region", "check", "absent", "plan.toml"], "FP-211"),
        (["region", "budget", "absent"], "FP-211"),
        (["region", "refresh", "absent"], "FP-211"),
        (["central", "models", "absent"], "FP-211"),
    ],
)
def test_what_is_not_there_is_named_with_its_own_code(arguments, code, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.run([*arguments, "--json"]) == 2
    told = json.loads(capsys.readouterr().out.splitlines()[-1])["error"]
    assert told["code"] == code
    assert set(told) == {"code", "what", "why", "do"}
    assert list(tmp_path.iterdir()) == []


def test_the_process_ends_with_the_exit_code_and_its_last_line_is_json(tmp_path):
    command = [EXECUTABLE, "region", "budget", tmp_path, "--json"]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    assert done.returncode == 2
    assert json.loads(done.stdout.splitlines()[-1])["error"]["code"] == "FP-211"
    assert "FP-211" in done.stderr


def test_flower_never_calls_home(capsys):
    for name in ("FLWR_TELEMETRY_ENABLED", "FLWR_DISABLE_UPDATE_CHECK", "RAY_USAGE_STATS_ENABLED"):
        os.environ.pop(name, None)
    cli.run(["plan"])
    capsys.readouterr()
    assert os.environ["FLWR_TELEMETRY_ENABLED"] == "0"
    assert os.environ["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
