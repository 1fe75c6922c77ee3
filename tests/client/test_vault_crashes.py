"""A vault that dies between any two statements: budget may be lost, an answer or a charge never doubled.

Each step of a run is cut before every statement, before every commit and around every file that it writes.
The folder is then opened again and asked the same. Processes that are really killed: test_vault_kill.py.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
import pytest
from sqlalchemy import event, select

import client.vault
from client.approval import approve
from client.eligible import EligibleSets
from client.folder import open_folder
from client.store import Store
from client.vault import Vault
from compliance import audit_log
from foundation import files
from privacy import ledger
from privacy.layout import parameter_count, scale_count
from privacy.messages import read_answer, read_request, to_bytes
from privacy.release import Analyse, Close, Evaluate, Hello, HistogramQuery, Train
from privacy.seal import IdentitySeal

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
RUN = "a" * 32
STEPS = ("hello", "analyse", "train", "evaluate", "close")
RELEASES = STEPS[1:4]


class Crash(BaseException):
    """The process is gone: nothing in the product may catch it."""


class Cut:
    """Counts the points at which a process could die, and dies at point number `at`."""

    def __init__(self, at):
        self.at, self.passed = at, 0

    def __call__(self, *_, **__):
        """Passes a point, or dies there."""
        self.passed += 1
        if self.passed == self.at:
            raise Crash


def frames_of(plan):
    slot = {"run": RUN, "plan": plan.digest, "attempt": 0, "cohort": ("eu", "sea", "us")}
    blob = np.zeros(scale_count(plan) + parameter_count(plan), dtype="<f4").tobytes()
    queries = (HistogramQuery(bins=plan.normalisation.bins),)
    return {
        "hello": to_bytes(Hello(run=RUN, plan=plan.digest)),
        "analyse": to_bytes(Analyse(**slot, round=0, queries=queries)),
        "train": to_bytes(Train(**slot, round=1), blob),
        "evaluate": to_bytes(Evaluate(**slot, round=4), blob),
        "close": to_bytes(Close(run=RUN, plan=plan.digest, outcome="finished")),
    }


class Region:
    """Opens vaults on copies of one folder; rows are read once, and every drawn vector is counted."""

    def __init__(self, plan, monkeypatch):
        self.plan, self.drawn, self._store, self._warm = plan, Counter(), None, None
        original = client.vault.vector_of

        def vector_of(plan, request, blob, **more):
            self.drawn[request.kind] += 1
            return original(plan, request, blob, **more)

        monkeypatch.setattr(client.vault, "vector_of", vector_of)

    @contextmanager
    def open(self, path):
        """Opens a vault on the folder at path."""
        with open_folder(path) as folder:
            if self._store is None:
                self._store = Store(folder.manifest, base=folder.base)
                self._warm = EligibleSets(folder, self._store)
            people = EligibleSets(
                folder,
                self._store,
                _snapshots=self._warm._snapshots,
                _masks=self._warm._masks,
                _verdicts=self._warm._verdicts,
            )
            yield Vault(folder, people, IdentitySeal(), lambda: NOW)


def dies(region, path, frame, at, monkeypatch):
    """Asks frame of a vault that dies at point `at`; returns what it answered, None where it died."""
    with region.open(path) as vault, monkeypatch.context() as patched:
        vault.recover()
        cut = Cut(at)
        for name in ("before_cursor_execute", "commit"):
            event.listen(vault.folder.engine, name, cut)
        write = files.write_atomically

        def cut_write(*what):
            cut()
            write(*what)
            cut()

        patched.setattr(files, "write_atomically", cut_write)
        try:
            return vault.answer(frame)
        except Crash:
            return None


def state_of(vault):
    with vault.folder.engine.begin() as connection:
        entries = list(ledger.read(connection))
        query = select(audit_log.leaves).filter_by(log="border").order_by("place")
        logged = [json.loads(row.entry) for row in connection.execute(query)]
    return entries, logged


def assert_consistent(vault, frames, answered):
    entries, logged = state_of(vault)
    charged = Counter(entry.request for entry in entries)
    assert all(times == 1 for times in charged.values()), "a request is charged once, the count once"
    slots = Counter(entry["request"] for entry in logged if entry["type"] == "slot")
    assert all(times == 1 for times in slots.values()), "the border log has one entry per slot"
    numbers = {entry.request: entry.sequence for entry in entries}
    for entry in logged:
        if entry["type"] == "slot":
            assert entry["charge"] == numbers[entry["request"]]
    for step in RELEASES:
        digest = read_request(frames[step]).digest
        if step in answered and read_answer(answered[step]).answer.kind == "release":
            assert charged[digest] == 1, "what was released was charged"


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_between_any_two_statements_loses_budget_at_most(
    eu_folder, small, tmp_path, monkeypatch, step
):
    frames, region, answered = frames_of(small.plan), Region(small.plan, monkeypatch), {}
    with region.open(eu_folder) as vault:
        approve(vault.folder, small.plan, NOW)
        for earlier in STEPS[: STEPS.index(step)]:
            answered[earlier] = vault.answer(frames[earlier])
    outcomes, drawn_before = Counter(), region.drawn.copy()
    for at in range(1, 200):
        path = tmp_path / "crashed"
        shutil.copytree(eu_folder, path)
        region.drawn = drawn_before.copy()
        answer = dies(region, path, frames[step], at, monkeypatch)
        with region.open(path) as vault:
            vault.recover()
            assert_consistent(vault, frames, answered)
            again = vault.answer(frames[step])
            outcomes[getattr(read_answer(again).answer, "code", read_answer(again).answer.kind)] += 1
            if step in RELEASES:
                assert answer in {None, again}, "what was answered once is answered again"
                assert vault.answer(frames[step]) == again
                assert region.drawn[step] <= 1, "one charge, one noise"
            for earlier in RELEASES:
                if earlier in answered:
                    assert vault.answer(frames[earlier]) == answered[earlier]
            assert_consistent(vault, frames, answered | {step: again})
        shutil.rmtree(path)
        if answer is not None:
            break
    else:
        pytest.fail("the step never came to its end")
    assert at > 5
    allowed = {"hello": {"welcome"}, "close": {"closed"}}.get(step, {"release", "FP-308"})
    assert set(outcomes) == allowed, outcomes


def test_a_second_crash_while_recovering_changes_nothing(eu_folder, small, tmp_path, monkeypatch):
    frames, region = frames_of(small.plan), Region(small.plan, monkeypatch)
    with region.open(eu_folder) as vault:
        approve(vault.folder, small.plan, NOW)
        vault.answer(frames["hello"])
        with monkeypatch.context() as patched:
            patched.setattr(client.vault, "to_words", Cut(1))
            with pytest.raises(Crash):
                vault.answer(frames["analyse"])
    for at in range(1, 100):
        path = tmp_path / "crashed"
        shutil.copytree(eu_folder, path)
        died = True
        with region.open(path) as vault:
            cut = Cut(at)
            for name in ("before_cursor_execute", "commit"):
                event.listen(vault.folder.engine, name, cut)
            try:
                vault.recover()
                died = False
            except Crash:
                pass
        with region.open(path) as vault:
            vault.recover()
            _, logged = state_of(vault)
            assert [entry.get("outcome") for entry in logged].count("lost") == 1
            answer = read_answer(vault.answer(frames["analyse"])).answer
            assert answer.code == "FP-308"
        shutil.rmtree(path)
        if not died:
            break
    assert at > 5
