"""A run as a state machine: whenever it dies, it goes on and ends with the same model."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from foundation import files
from foundation.errors import CheckpointFailed, PlanNotApproved, QuorumMissed
from privacy.messages import to_bytes
from privacy.release import Analyse, Close, Evaluate, Hello, Train
from server import checkpoint
from server.channel import Lost

ROUNDS = 3


class Died(BaseException):
    """The coordinator's process ends here, whatever it was doing."""


class Mortal:
    """Counts what a run does to the world (writes, answers got) and dies at a chosen moment."""

    def __init__(self, monkeypatch):
        self.left, self.real = None, files.write_atomically
        monkeypatch.setattr(files, "write_atomically", self.write)

    def live(self):
        """Lives through one more moment, or dies."""
        if self.left == 0:
            self.left = None
            raise Died
        if self.left is not None:
            self.left -= 1

    def write(self, path: Path, content: bytes, **options):
        """Writes a file, and may die before or after."""
        self.live()
        self.real(path, content, **options)
        self.live()

    def fault(self, region, asked):
        """Lets the region answer and die with the answer on its way, or before it."""
        self.live()
        region.answer(to_bytes(asked.request, asked.blob))
        self.live()


def forget_unbegun(folder):
    """Removes a folder that died before its first journal."""
    if not (folder / checkpoint.JOURNAL).is_file():
        shutil.rmtree(folder)


def test_a_run_that_dies_anywhere_ends_with_the_same_model(world, tmp_path, monkeypatch):  # noqa: C901 - the machine is in here
    reference = world.go(world.channel(world.regions()), tmp_path / "reference")
    mortal, folder = Mortal(monkeypatch), tmp_path / "mortal"

    class Machine(RuleBasedStateMachine):
        """Starts and resumes one run, dying at moments that hypothesis chooses."""

        def __init__(self):
            super().__init__()
            shutil.rmtree(folder, ignore_errors=True)
            self.regions, self.round, self.finished = world.regions(), -1, None

        def run(self, moment):
            channel = world.channel(self.regions, mortal.fault)
            mortal.left = moment
            try:
                self.finished = world.go(channel, folder)
            except Died:
                forget_unbegun(folder)
            finally:
                mortal.left = None

        @rule(moment=st.integers(0, 60))
        def die(self, moment):
            self.run(moment)

        @invariant()
        def no_slot_is_charged_twice(self):
            for region in self.regions.values():
                assert len(set(region.charged)) == len(region.charged)

        @invariant()
        def the_journal_never_goes_back(self):
            if (folder / checkpoint.JOURNAL).is_file():
                journal, _ = checkpoint.read(folder)
                assert journal.round >= self.round
                assert [each.round for each in journal.history] == list(range(journal.round + 1))
                self.round = journal.round

        def teardown(self):
            self.run(None)
            assert self.finished.journal.state == "finished"
            np.testing.assert_array_equal(self.finished.parameters, reference.parameters)
            np.testing.assert_array_equal(self.finished.scale, reference.scale)
            np.testing.assert_array_equal(self.finished.counts, reference.counts)
            for region in self.regions.values():
                assert len(region.charged) == ROUNDS + 2
            self.no_slot_is_charged_twice()

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=25, stateful_step_count=5, deadline=None)
    )


def test_a_run_asks_in_the_order_of_its_steps(world):
    channel = world.channel(world.regions())
    finished = world.go(channel)
    kinds = [type(request) for name, request in channel.asked if name == "eu"]
    assert kinds == [Hello, Analyse, *[Train] * ROUNDS, Evaluate, Close]
    assert [each.round for each in finished.journal.history] == [0, 1, 2, 3, 4]
    assert finished.evaluated == ("eu", "sea", "us")
    assert len(finished.receipts) == 3 * (ROUNDS + 2)
    assert finished.journal.state == "finished"


def test_the_served_model_is_the_mean_of_the_last_rounds(world, tmp_path):
    before, channel = {}, world.channel(world.regions())

    def watch(_region, asked):
        if isinstance(asked.request, Train | Evaluate):
            before[asked.request.round] = np.frombuffer(asked.blob, dtype="<f4")[-5:]

    channel.fault = watch
    finished = world.go(channel)
    _, kept = checkpoint.read(tmp_path / "run")
    np.testing.assert_allclose(finished.parameters, (before[ROUNDS] + kept["parameters"]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(before[ROUNDS + 1], finished.parameters)


def test_regions_get_nothing_but_what_the_plan_fixes_and_the_model(world):
    channel = world.channel(world.regions())
    world.go(channel)
    for _, request in channel.asked:
        assert request.plan == world.plan.digest
        assert request.run == world.run


def test_upstream_is_counted_by_region_and_kind(world):
    upstream = world.go(world.channel(world.regions())).journal.upstream
    for name in world.plan.regions:
        assert {kind: messages for kind, (messages, _) in upstream[name].items()} == {
            "hello": 1, "analyse": 1, "train": ROUNDS, "evaluate": 1, "close": 1,
        }  # fmt: skip


def test_a_lost_region_ends_an_attempt_and_the_run_goes_on_without_it(world):
    def fault(region, asked):
        gone = region.name == "sea" and isinstance(asked.request, Train) and asked.request.round == 2
        return Lost("no answer in time") if gone else None

    finished = world.go(world.channel(world.regions(), fault))
    cohorts = [each.cohort for each in finished.journal.history]
    assert cohorts == [("eu", "sea", "us")] * 2 + [("eu", "us")] * 3
    assert finished.journal.history[2].missing == ("sea",)
    assert finished.journal.attempts_spent == 1
    assert finished.evaluated == ("eu", "us")


def test_a_missed_quorum_leaves_a_run_that_can_be_resumed(world, tmp_path):
    regions, away = world.regions(), {"sea", "us"}

    def fault(region, asked):
        gone = region.name in away and isinstance(asked.request, Train) and asked.request.round == 2
        return Lost("no answer in time") if gone else None

    with pytest.raises(QuorumMissed, match="1 of 2 regions, missing sea, us"):
        world.go(world.channel(regions, fault))
    journal, _ = checkpoint.read(tmp_path / "run")
    assert (journal.state, journal.reason, journal.round) == ("failed", "FP-501", 1)
    away.clear()
    finished = world.go(world.channel(regions, fault))
    reference = world.go(world.channel(world.regions()), tmp_path / "reference")
    np.testing.assert_array_equal(finished.parameters, reference.parameters)
    assert (finished.journal.state, finished.journal.reason) == ("finished", None)
    assert all(len(set(region.charged)) == len(region.charged) == ROUNDS + 2 for region in regions.values())


def test_a_full_disk_leaves_a_run_that_can_be_resumed(world, tmp_path, monkeypatch):
    regions, real = world.regions(), files.write_atomically

    def full(path, content, **options):
        if path.name == "round-000002.safetensors":
            raise OSError(28, "No space left on device")
        real(path, content, **options)

    monkeypatch.setattr(files, "write_atomically", full)
    with pytest.raises(CheckpointFailed, match="round-000002"):
        world.go(world.channel(regions))
    journal, _ = checkpoint.read(tmp_path / "run")
    assert (journal.state, journal.reason, journal.round) == ("failed", "FP-503", 1)
    monkeypatch.undo()
    finished = world.go(world.channel(regions))
    assert finished.journal.state == "finished"
    assert all(len(region.charged) == ROUNDS + 2 for region in regions.values())


def test_refusals_are_told_by_their_code_in_the_journal(world, tmp_path):
    regions = world.regions()
    for region in regions.values():
        region.refuses = "FP-301"
    with pytest.raises(PlanNotApproved):
        world.go(world.channel(regions))
    journal, _ = checkpoint.read(tmp_path / "run")
    assert (journal.state, journal.reason) == ("failed", "FP-301")


def test_a_finished_run_asks_nothing_more_when_resumed(world):
    regions = world.regions()
    first = world.go(world.channel(regions))
    again = world.channel(regions)
    second = world.go(again)
    assert {type(request) for _, request in again.asked} == {Close}
    np.testing.assert_array_equal(first.parameters, second.parameters)
    assert second.evaluated == first.evaluated


def test_progress_is_told_round_by_round(world):
    told = []
    world.go(world.channel(world.regions()), progress=lambda *step: told.append(step))
    assert [step for step in told if step[0] == "training"] == [
        ("training", n, ROUNDS) for n in range(ROUNDS)
    ]
    assert told[-1] == ("done", 1, 1)
