"""A simulation that is killed goes on with --resume: same rounds, and no release is charged twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from client.folder import open_folder
from compliance import audit_log
from privacy import ledger
from server import checkpoint

pytestmark = pytest.mark.slow

EXECUTABLE = Path(sys.executable).parent / "fedprofile"
REGIONS = ("eu", "sea", "us")
ROUNDS = 40

DIES_AT = """
import os, signal, sys
from importlib import import_module
from console.cli import run

module, name, nth = sys.argv[1], sys.argv[2], int(sys.argv[3])
owner, calls = import_module(module), 0
real = getattr(owner, name)

def die(*arguments, **named):
    global calls
    calls += 1
    if calls == nth:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **named)

setattr(owner, name, die)
run(sys.argv[4:])
"""
"""Runs a command that is killed as it calls a function for the nth time."""


@pytest.fixture
def out(small, tmp_path):
    """Where small runs, with rounds enough to be killed in; its plan and manifests lie beside it."""
    stated = small.plan_path.read_text()
    for old, new in (
        ("rounds = 3", f"rounds = {ROUNDS}"),
        ("noise_multiplier = 6.0", "noise_multiplier = 25.0"),
    ):
        assert old in stated
        stated = stated.replace(old, new, 1)
    small.plan_path.write_text(stated)
    return tmp_path / "out"


def journal_of(out):
    run = json.loads((out / "central" / "journal.json").read_text())["run"]
    return checkpoint.read(out / "central" / run)[0]


def killed_at_round(plan, out, number):
    """Starts a simulation and kills it once its journal says that a round is done."""
    process = subprocess.Popen(
        [EXECUTABLE, "simulate", plan, "--out", out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (out / "central" / "journal.json").is_file() and journal_of(out).round >= number:
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def killed_in(plan, out, function, nth):
    """Runs a simulation that is killed as it calls function for the nth time."""
    module, name = function.rsplit(".", 1)
    command = [sys.executable, "-c", DIES_AT, module, name, str(nth), "simulate", plan, "--out", out]
    done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def resumed(out):
    command = [EXECUTABLE, "simulate", "--resume", out, "--json"]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=300, env=os.environ)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def charged(out, region, run):
    """How often each kind was charged; every chain holds and no request was charged twice."""
    with open_folder(out / "regions" / region) as folder, folder.engine.begin() as connection:
        entries = list(ledger.read(connection))
        audit_log.verify(connection, "border")
    assert {entry.run for entry in entries} <= {run}
    requests = [entry.request for entry in entries if entry.request]
    assert len(set(requests)) == len(requests)
    return dict(Counter(entry.charge.kind for entry in entries))


WHOLE = {"count": 1, "histograms": 1, "training": ROUNDS, "evaluation": 1}


def assert_whole(out, killed, result):
    finished = journal_of(out)
    assert result["run"] == finished.run == killed.run
    assert finished.state == "finished"
    assert finished.history[: len(killed.history)] == killed.history
    assert [record.round for record in finished.history] == list(range(ROUNDS + 2))
    assert (out / "report.html").is_file()
    assert 0 <= result["tasks"]["leaves"]["auc"] <= 1


@pytest.mark.parametrize("number", [0, 25])
def test_a_run_killed_in_training_goes_on_where_it_was(small, out, number):
    killed_at_round(small.plan_path, out, number)
    killed = journal_of(out)
    assert number <= killed.round <= ROUNDS
    assert_whole(out, killed, resumed(out))
    for region in REGIONS:
        assert charged(out, region, killed.run) == WHOLE


def test_a_run_killed_twice_goes_on(small, out):
    killed_at_round(small.plan_path, out, 3)
    killed = journal_of(out)
    command = [sys.executable, "-c", DIES_AT, "server.checkpoint", "write", "5", "simulate", "--resume", out]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL
    assert journal_of(out).round == killed.round + 4
    assert_whole(out, killed, resumed(out))
    for region in REGIONS:
        assert charged(out, region, killed.run) == WHOLE


@pytest.mark.parametrize("function", ["server.checkpoint.write", "server.checkpoint.write_state"])
def test_a_run_killed_between_charge_and_checkpoint_asks_again_and_is_answered_alike(small, out, function):
    killed_in(small.plan_path, out, function, 8)
    killed = journal_of(out)
    spent = charged(out, "eu", killed.run)["training"]
    assert spent == killed.round + 1
    assert_whole(out, killed, resumed(out))
    for region in REGIONS:
        assert charged(out, region, killed.run) == WHOLE
