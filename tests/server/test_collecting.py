"""Attempts: a missing region means a smaller cohort, a new attempt, and no third answer."""

from __future__ import annotations

import pytest

from foundation.errors import AttemptsSpent, BudgetExceeded, QuorumMissed
from privacy.centre_notices import Refused, Unavailable
from privacy.messages import to_bytes
from privacy.release import Hello, Train
from server.channel import Lost
from server.cohort import Cohort
from server.collecting import Collector


@pytest.fixture
def collect(world):
    """Gathers all regions, then collects one training round with a fault; returns everything."""

    def run(fault, plan=world.plan, spent=0):
        channel = world.channel(world.regions(plan))
        cohort = Cohort(plan, world.run, channel, lambda *_: None)
        cohort.gather()
        notes = []
        channel.fault, collector = (
            fault,
            Collector(plan, channel, cohort, lambda *told: notes.append(told), attempts_spent=spent),
        )
        asked = []

        def build(attempt, regions):
            stated = {
                "run": world.run,
                "plan": plan.digest,
                "round": 1,
                "attempt": attempt,
                "cohort": regions,
            }
            asked.append((attempt, regions))
            return Train(**stated)

        run.collector, run.asked, run.notes = collector, asked, notes
        return collector.collect(build, bytes(4))

    return run


def loses(name, reply=None, times=99):
    """Answers requests to region `name` with reply (Lost where None), so many times."""
    left = [times]

    def fault(region, asked):
        if region.name != name or isinstance(asked.request, Hello) or left[0] == 0:
            return None
        left[0] -= 1
        return Lost("no answer in time") if reply is None else reply

    return fault


def test_a_whole_cohort_is_one_attempt(collect):
    collected = collect(lambda *_: None)
    assert collected.record.cohort == ("eu", "sea", "us")
    assert (collected.record.attempt, collected.record.missing) == (0, ())
    assert len(collect.collector.receipts) == 3
    assert collect.collector.attempts_spent == 0


@pytest.mark.parametrize(
    "reply",
    [None, b"", b"\0\0\0\2{}", to_bytes(Unavailable()), to_bytes(Refused(code="FP-313"))],
    ids=["lost", "empty", "malformed", "unavailable", "refused"],
)
def test_a_region_without_a_release_is_left_out_of_the_next_attempt(collect, reply):
    collected = collect(loses("sea", reply))
    assert collect.asked == [(0, ("eu", "sea", "us")), (1, ("eu", "us"))]
    assert (collected.record.attempt, collected.record.missing) == (1, ("sea",))
    assert collected.request.cohort == ("eu", "us")
    assert collect.collector.attempts_spent == 1
    assert "sea" in collect.collector.cohort.lost


def test_a_release_of_another_request_counts_as_missing(collect, world):
    stray = world.regions()[3].released
    seen = []

    def fault(region, asked):
        if region.name == "sea" and not isinstance(asked.request, Hello):
            seen.append(asked)
            return stray(asked, b"\0" * 40)  # signed with keys that no hello named
        return None

    assert collect(fault).record.missing == ("sea",)
    assert len(seen) == 1


def test_a_quorum_missed_names_who_is_missing(collect, world):
    plan = world.changed(world.plan, federation={"quorum": 3})
    with pytest.raises(QuorumMissed, match="2 of 3 regions, missing sea"):
        collect(loses("sea"), plan)


def test_a_quorum_missed_by_refusals_carries_their_code(collect, world):
    plan = world.changed(world.plan, federation={"quorum": 3})
    with pytest.raises(BudgetExceeded) as caught:
        collect(loses("sea", to_bytes(Refused(code="FP-302"))), plan)
    assert caught.value.exit_code == 3


def test_spare_attempts_run_out(collect, world):
    regions = {name: {"public_size": 100, "weight": 0.1} for name in ("a", "b", "c", "d")}
    four = world.changed(world.plan, federation={"quorum": 2, "spare_attempts": 1}, simulate={"regions": {}})
    four = type(four).model_validate(four.model_dump() | {"regions": regions})
    faults = [loses("a", times=1), loses("b")]

    def one_after_the_other(region, asked):
        first = [fault(region, asked) for fault in faults if asked.request.kind == "train"]
        if region.name == "b" and asked.request.attempt == 0:
            return None
        return next((each for each in first if each is not None), None)

    with pytest.raises(AttemptsSpent, match="round 1, without a, b"):
        collect(one_after_the_other, four)


def test_attempts_that_earlier_rounds_spent_are_gone(collect):
    with pytest.raises(AttemptsSpent):
        collect(loses("sea"), spent=1)


def test_a_lost_region_is_not_asked_again(collect):
    collect(loses("sea", times=1))
    assert [regions for _, regions in collect.asked][-1] == ("eu", "us")
    assert "sea" in collect.collector.cohort.missing


@pytest.mark.parametrize("code", ["FP-306", "FP-308"])
def test_a_used_up_slot_costs_an_attempt_and_not_the_region(collect, code):
    def used_up(_, asked):
        return to_bytes(Refused(code=code)) if asked.request.attempt == 0 else None

    collected = collect(used_up)
    assert collected.record.attempt == 1
    assert collected.request.cohort == ("eu", "sea", "us")


def test_a_used_up_attempt_is_noted_before_the_next_is_asked(collect):
    def used_up(_, asked):
        return to_bytes(Refused(code="FP-308")) if asked.request.attempt == 0 else None

    collect(used_up)
    assert collect.notes == [(1, 1)]


def test_a_silent_region_below_quorum_leaves_the_attempt_to_be_repeated(collect, world):
    plan = world.changed(world.plan, federation={"quorum": 3})
    with pytest.raises(QuorumMissed):
        collect(loses("sea"), plan)
    assert collect.notes == []
