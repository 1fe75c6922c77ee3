"""A vault's process killed with SIGKILL at a numbered point: what the disk holds is enough to go on.

Between any two statements, by injection and without a process: tests/client/test_vault_crashes.py.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from client.approval import approve
from client.eligible import EligibleSets
from client.folder import open_folder
from client.store import Store
from client.vault import Vault
from compliance import audit_log
from privacy import ledger
from privacy.layout import parameter_count, scale_count
from privacy.messages import read_answer, read_request, to_bytes
from privacy.release import Analyse, Evaluate, Hello, HistogramQuery, Train
from privacy.seal import IdentitySeal

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
REPOSITORY = Path(__file__).resolve().parents[2]

CHILD = '''
"""Asks a vault the frames in a folder, and dies at point number KILL_AT."""
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from sqlalchemy import event
from client.eligible import EligibleSets
from client.folder import open_folder
from client.store import Store
from client.vault import Vault
from foundation import files
from privacy.seal import IdentitySeal

region, asked, answers = map(Path, sys.argv[1:])
kill_at, passed = int(os.environ["KILL_AT"]), 0

def point(*_, **__):
    global passed
    passed += 1
    if passed == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

with open_folder(region) as folder:
    store = Store(folder.manifest, base=folder.base)
    now = datetime(2026, 1, 15, 12, tzinfo=UTC)
    vault = Vault(folder, EligibleSets(folder, store), IdentitySeal(), lambda: now)
    vault.recover()
    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(folder.engine, name, point)
    for frame in sorted(asked.iterdir()):
        answer = vault.answer(frame.read_bytes())
        point()
        files.write_atomically(answers / frame.name, answer)
    print(passed)
'''


def frames_of(plan):
    slot = {"run": "a" * 32, "plan": plan.digest, "attempt": 0, "cohort": ("eu", "sea", "us")}
    blob = np.zeros(scale_count(plan) + parameter_count(plan), dtype="<f4").tobytes()
    queries = (HistogramQuery(bins=plan.normalisation.bins),)
    return {
        "1-hello": to_bytes(Hello(run="a" * 32, plan=plan.digest)),
        "2-analyse": to_bytes(Analyse(**slot, round=0, queries=queries)),
        "3-train": to_bytes(Train(**slot, round=1), blob),
        "4-evaluate": to_bytes(Evaluate(**slot, round=4), blob),
    }


@contextmanager
def vault_on(path):
    with open_folder(path) as folder:
        store = Store(folder.manifest, base=folder.base)
        yield Vault(folder, EligibleSets(folder, store), IdentitySeal(), lambda: NOW)
        store.close()


def run_child(region, asked, answers, *, kill_at):
    return subprocess.run(
        [sys.executable, "-c", CHILD, region, asked, answers],
        cwd=REPOSITORY,
        env=os.environ | {"KILL_AT": str(kill_at)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def prepared(eu_folder, small, tmp_path):
    asked = tmp_path / "asked"
    asked.mkdir()
    for name, frame in frames_of(small.plan).items():
        (asked / name).write_bytes(frame)
    with vault_on(eu_folder) as vault:
        approve(vault.folder, small.plan, NOW)
    return asked


def assert_whole(region, asked, answers):
    """Opens what the killed process left, asks everything again, and judges both."""
    with vault_on(region) as vault:
        vault.recover()
        again = {frame.name: vault.answer(frame.read_bytes()) for frame in sorted(asked.iterdir())}
        with vault.folder.engine.begin() as connection:
            entries = list(ledger.read(connection))
            query = select(audit_log.leaves.c.entry).filter_by(log="border").order_by("place")
            logged = [json.loads(row.entry) for row in connection.execute(query)]
    charged = Counter(entry.request for entry in entries)
    assert set(charged.values()) == {1}
    slots = Counter(entry["request"] for entry in logged if entry["type"] == "slot")
    assert set(slots.values()) == {1}
    for name, answer in again.items():
        kind = read_answer(answer).answer.kind
        assert kind in {"welcome", "release"} or read_answer(answer).answer.code == "FP-308"
        if kind != "welcome":
            assert charged[read_request((asked / name).read_bytes()).digest] == 1
            before = answers / name
            assert not before.exists() or before.read_bytes() == answer


@pytest.mark.slow
def test_a_vault_killed_anywhere_goes_on_from_what_the_disk_holds(eu_folder, small, tmp_path):
    asked = prepared(eu_folder, small, tmp_path)
    whole = tmp_path / "whole"
    shutil.copytree(eu_folder, whole)
    (tmp_path / "answers").mkdir()
    done = run_child(whole, asked, tmp_path / "answers", kill_at=0)
    assert done.returncode == 0, done.stderr
    points = int(done.stdout)
    for kill_at in sorted({3, *range(points // 6, points, points // 6), points - 1}):
        region, answers = tmp_path / f"at-{kill_at}", tmp_path / f"answers-{kill_at}"
        shutil.copytree(eu_folder, region)
        answers.mkdir()
        killed = run_child(region, asked, answers, kill_at=kill_at)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert_whole(region, asked, answers)


@pytest.mark.slow
def test_a_killed_process_leaves_no_lock(eu_folder, small, tmp_path):
    asked = prepared(eu_folder, small, tmp_path)
    (tmp_path / "answers").mkdir()
    assert run_child(eu_folder, asked, tmp_path / "answers", kill_at=1).returncode == -signal.SIGKILL
    with vault_on(eu_folder) as vault:
        vault.recover()
