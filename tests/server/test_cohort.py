"""Who takes part: every ending of hello, within the limit."""

from __future__ import annotations

import time

import pytest

from foundation.errors import BudgetExceeded, PlanNotApproved, QuorumMissed, RegionNameTaken
from privacy.centre_notices import Unavailable
from privacy.messages import to_bytes
from privacy.release import Hello
from server.channel import Lost
from server.cohort import Cohort


@pytest.fixture
def gathered(world):
    """Gathers a cohort on a channel, timed."""

    def gather(channel, plan=world.plan):
        cohort = Cohort(plan, world.run, channel, lambda *_: None)
        begun = time.monotonic()
        try:
            cohort.gather()
        finally:
            gather.seconds = time.monotonic() - begun
        return cohort

    return gather


def test_all_regions_are_welcomed_and_counted_at_once(world, gathered):
    cohort = gathered(world.channel(world.regions()))
    assert cohort.regions == ("eu", "sea", "us")
    assert cohort.missing == ()
    assert all(cohort.upstream[name]["hello"][0] == 1 for name in cohort.regions)
    assert gather_is_quick(gathered)


def test_a_region_that_comes_late_is_waited_for(world, gathered):
    regions = world.regions()
    late = regions.pop(4)
    channel = world.channel(dict(regions))
    begun = time.monotonic()
    nodes = channel.nodes

    def nodes_later():
        if time.monotonic() - begun > 0.1:
            channel.regions[4] = late
        return nodes()

    channel.nodes = nodes_later
    assert gathered(channel).regions == ("eu", "sea", "us")


def test_a_region_that_never_comes_is_named_and_ends_within_the_limit(world, gathered):
    regions = world.regions()
    del regions[3], regions[4]
    with pytest.raises(QuorumMissed, match="1 of 2 regions, missing sea, us"):
        gathered(world.channel(regions))
    assert world.plan.federation.hello_seconds <= gathered_seconds(gathered) < 1.0


def test_a_quorum_without_the_last_region_goes_on_after_the_limit(world, gathered):
    channel = world.channel(world.regions(), lambda region, _: Lost("away") if region.name == "us" else None)
    cohort = gathered(channel)
    assert cohort.regions == ("eu", "sea")
    assert cohort.missing == ("us",)


@pytest.mark.parametrize(("code", "error"), [("FP-301", PlanNotApproved), ("FP-302", BudgetExceeded)])
def test_a_refusal_keeps_its_own_code_and_exit_code(world, gathered, code, error):
    regions = world.regions()
    regions[2].refuses = regions[3].refuses = code
    with pytest.raises(error, match="missing eu, sea") as caught:
        gathered(world.channel(regions))
    assert caught.value.exit_code == 3
    assert gather_is_quick(gathered)


def test_a_refusal_above_the_quorum_stops_nobody(world, gathered):
    regions = world.regions()
    regions[3].refuses = "FP-302"
    assert gathered(world.channel(regions)).regions == ("eu", "us")
    assert gather_is_quick(gathered)


def test_an_unavailable_region_is_missing_without_a_reason(world, gathered):
    channel = world.channel(
        world.regions(), lambda region, _: to_bytes(Unavailable()) if region.name != "us" else None
    )
    with pytest.raises(QuorumMissed, match="missing eu, sea"):
        gathered(channel)
    assert gather_is_quick(gathered)


@pytest.mark.parametrize(
    "answer", [b"", b"\0\0\0\1{", b"\xff" * 9, to_bytes(Hello(run="a" * 32, plan="0" * 64))]
)
def test_a_malformed_answer_is_no_answer(world, gathered, answer):
    channel = world.channel(world.regions(), lambda region, _: answer if region.name != "us" else None)
    with pytest.raises(QuorumMissed):
        gathered(channel)


def test_two_nodes_of_one_name_are_refused(world, gathered):
    regions = world.regions()
    regions[9] = world.regions()[2]
    with pytest.raises(RegionNameTaken, match="eu"):
        gathered(world.channel(regions))


def test_a_node_of_no_region_of_the_plan_is_not_a_member(world, gathered):
    regions = world.regions()
    regions[4].name = "elsewhere"
    cohort = gathered(world.channel(regions))
    assert cohort.regions == ("eu", "sea")
    assert "elsewhere" not in cohort.upstream


def gathered_seconds(gathered):
    return gathered.seconds


def gather_is_quick(gathered):
    return gathered.seconds < 0.25
