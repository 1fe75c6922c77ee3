"""A plan's worst case counts everything that it may spend, and calibration makes it fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.accounting import pld_epsilon
from privacy.budget import Limit, calibrated, period_cost, worst_case
from privacy.events import Charge
from privacy.plan import COUNT_NOISE, HOLDOUT, TRAIN, Plan, read_plan
from privacy.plan_words import plan_words

FILE = Path(__file__).parents[1] / "golden" / "plan.toml"
PLAN = read_plan(FILE)
FORM = PLAN.model_dump()


def plan(**sections):
    """Returns the golden plan with settings of some sections replaced."""
    return Plan.model_validate(FORM | {name: FORM[name] | change for name, change in sections.items()})


@given(rounds=st.integers(1, 50), spare=st.integers(0, 9), last=st.integers(0, 9), steps=st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_the_worst_case_counts_every_spare_attempt(rounds, spare, last, steps):
    stated = plan(
        training={"rounds": rounds, "local_steps": steps},
        federation={"spare_attempts": spare},
        evaluation={"spare_attempts": last},
    )
    charges = worst_case(stated, "eu")
    assert charges[TRAIN] == [
        Charge("count", COUNT_NOISE, 1.0, 1),
        Charge("histograms", 12.0, 1.0, 1 + spare),
        Charge("training", 1.96, 0.02, (rounds + spare) * steps),
    ]
    assert charges[HOLDOUT] == [Charge("evaluation", 2.5, 1.0, 1 + last)]


def test_a_region_that_does_not_contribute_is_charged_for_hold_out_people_only():
    share = FORM["regions"]["sea"] | {"contributes": False}
    stated = Plan.model_validate(FORM | {"regions": FORM["regions"] | {"sea": share}})
    assert worst_case(stated, "sea")[TRAIN] == []
    assert worst_case(stated, "sea")[HOLDOUT] == worst_case(stated, "eu")[HOLDOUT]
    assert worst_case(stated, "eu") == worst_case(PLAN, "eu")


@pytest.mark.parametrize("population", [TRAIN, HOLDOUT])
def test_retrainings_repeat_the_whole_run(population):
    stated = plan(budget={"retrainings_per_period": 2})
    three = [charge.times(3) for charge in worst_case(PLAN, "eu")[population]]
    assert period_cost(stated, population, "eu") == pld_epsilon(three, PLAN.budget.delta)
    assert period_cost(stated, population, "eu") > period_cost(PLAN, population, "eu")


@pytest.mark.parametrize(("epsilon", "retrainings"), [(3.0, 1)])
def test_a_calibrated_plan_just_fits_its_target(epsilon, retrainings):
    fitted = calibrated(plan(budget={"retrainings_per_period": retrainings}), epsilon=epsilon)
    assert fitted.budget.epsilon == epsilon
    for part, population in (("training", TRAIN), ("evaluation", HOLDOUT)):
        assert period_cost(fitted, population, "eu") <= epsilon
        noise = getattr(fitted, part).noise_multiplier
        less = getattr(fitted, part).model_copy(update={"noise_multiplier": noise - 0.01})
        assert period_cost(fitted.model_copy(update={part: less}), population, "eu") > epsilon
    assert fitted.normalisation == PLAN.normalisation


def test_a_calibrated_plan_is_a_valid_plan_with_a_digest_of_its_own():
    given = read_plan(FILE)
    before = given.digest
    fitted = calibrated(given, epsilon=4.0)
    assert fitted.training != given.training
    assert Plan.model_validate(fitted.model_dump()).digest == fitted.digest != before


def test_calibration_does_not_change_the_plan_it_was_given():
    given = read_plan(FILE)
    calibrated(given, epsilon=4.0)
    assert given == read_plan(FILE)


def test_calibration_refuses_histograms_that_cost_more_than_all():
    with pytest.raises(ValueError, match="no noise multiplier"):
        calibrated(plan(normalisation={"noise_multiplier": 0.5}), epsilon=1.0)


@given(st.integers(1, 10**9))
def test_delta_is_a_tenth_of_the_public_bound(n_max):
    assert Limit(1.0, n_max).delta == 1 / (10 * n_max)


def test_a_plan_in_words_tells_its_cost_at_worst_and_who_takes_part():
    words = " ".join(plan_words(PLAN))
    for population in (TRAIN, HOLDOUT):
        assert f"{period_cost(PLAN, population, 'eu'):.2f}" in words
    for fact in (*PLAN.regions, "retention", "shop", "column 'bought' is True", "12", "1.96", "0.02"):
        assert fact in words
