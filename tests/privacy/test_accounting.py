"""Epsilon against closed forms and other accountants, and calibration that just fits."""

from __future__ import annotations

import math
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from privacy.accounting import Spent, calibrate, pld_epsilon, renyi_epsilon, spent
from privacy.events import Charge

DELTA = 1e-6
HISTOGRAMS = Charge("histograms", 12.0, 1.0, 1)
STEPS = Charge("training", 1.96, 0.02, 400)
SCORES = Charge("evaluation", 25.0, 1.0, 20)


def gaussian(noise, count=1):
    return Charge("training", noise, 1.0, count)


def exact_epsilon(noise, delta):
    """Balle and Wang 2018, theorem 8: the exact curve of one Gaussian release of sensitivity 1."""

    def excess(epsilon):
        above, below = 1 / (2 * noise) - epsilon * noise, -1 / (2 * noise) - epsilon * noise
        return norm.cdf(above) - math.exp(epsilon + norm.logcdf(below)) - delta

    return brentq(excess, 0, 200, xtol=1e-9) if excess(0) > 0 else 0.0


@pytest.mark.parametrize("noise", [0.5, 0.9, 1.3, 3.0, 8.0, 30.0, 100.0])
@pytest.mark.parametrize("delta", [1e-5, 1e-9])
def test_one_gaussian_costs_what_the_closed_form_says(noise, delta):
    exact = exact_epsilon(noise, delta)
    assert exact - 1e-6 <= pld_epsilon([gaussian(noise)], delta) <= exact + 2e-3


@given(st.lists(st.tuples(st.floats(2, 50), st.integers(1, 50)), min_size=1, max_size=4))
@settings(max_examples=12, deadline=None)
def test_gaussians_on_everyone_compose_as_one_gaussian(parts):
    noise = 1 / math.sqrt(sum(count / sigma**2 for sigma, count in parts))
    exact = exact_epsilon(noise, DELTA)
    assert exact - 1e-6 <= pld_epsilon([gaussian(*part) for part in parts], DELTA) <= exact + 3e-3


@pytest.mark.parametrize(
    ("charges", "epsilon"),
    [([HISTOGRAMS], 0.327), ([HISTOGRAMS, STEPS], 1.037), ([HISTOGRAMS, STEPS, SCORES], 1.298)],
)
def test_the_worked_ledger(charges, epsilon):
    assert round(pld_epsilon(charges, DELTA), 3) == epsilon
    assert spent(charges, delta=DELTA, plans=1) == Spent(pld_epsilon(charges, DELTA), "PLD")


def test_the_worked_ledger_by_the_filter():
    assert round(renyi_epsilon([HISTOGRAMS, STEPS, SCORES], DELTA), 2) == 1.40


@given(st.floats(0.7, 20), st.sampled_from([0.01, 0.1, 1.0]), st.integers(1, 400))
@settings(max_examples=12, deadline=None)
def test_renyi_is_never_below_pld(noise, rate, count):
    charges = [Charge("training", noise, rate, count)]
    assert pld_epsilon(charges, DELTA) <= renyi_epsilon(charges, DELTA)


def many_small_steps(noise):
    return [Charge("training", noise, 0.001, 100_000)]


def test_renyi_is_never_below_pld_for_many_small_steps():
    charges = many_small_steps(5.0)
    assert pld_epsilon(charges, DELTA) <= renyi_epsilon(charges, DELTA)


@pytest.mark.parametrize(("noise", "rate", "count"), [(1.96, 0.02, 400), (0.9, 0.01, 200)])
def test_opacus_prv_agrees_within_its_stated_error(noise, rate, count):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants import PRVAccountant

        accountant = PRVAccountant()
        accountant.history = [(noise, rate, count)]
        stated = accountant.get_epsilon(DELTA, eps_error=0.01)
    assert stated - 0.01 - 1e-3 <= pld_epsilon([Charge("training", noise, rate, count)], DELTA) <= stated


@given(st.floats(0.8, 10), st.sampled_from([0.02, 1.0]), st.integers(1, 200), st.integers(1, 100))
@settings(max_examples=8, deadline=None)
def test_more_releases_cost_more(noise, rate, count, more):
    one, other = (Charge("training", noise, rate, each) for each in (count, count + more))
    assert pld_epsilon([one], DELTA) <= pld_epsilon([other], DELTA)
    assert renyi_epsilon([one], DELTA) <= renyi_epsilon([other], DELTA)


@given(st.floats(0.8, 10), st.sampled_from([0.02, 1.0]), st.integers(1, 200), st.floats(1.05, 3))
@settings(max_examples=8, deadline=None)
def test_more_noise_costs_less(noise, rate, count, factor):
    one, other = (Charge("training", each, rate, count) for each in (noise, noise * factor))
    assert pld_epsilon([one], DELTA) >= pld_epsilon([other], DELTA)
    assert renyi_epsilon([one], DELTA) >= renyi_epsilon([other], DELTA)


@given(st.permutations([HISTOGRAMS, STEPS, SCORES, gaussian(9.0)]))
@settings(max_examples=6, deadline=None)
def test_the_order_of_charges_changes_nothing(charges):
    assert pld_epsilon(charges, DELTA) == pld_epsilon(sorted(charges, key=repr), DELTA)


def test_kinds_do_not_matter_and_counts_split_freely():
    whole = pld_epsilon([gaussian(5.0, 6)], DELTA)
    parts = [Charge("count", 5.0, 1.0, 1), Charge("histograms", 5.0, 1.0, 2), gaussian(5.0, 3)]
    assert pld_epsilon(parts, DELTA) == whole


@pytest.mark.parametrize("plans", [0, 1, 2, 9])
def test_no_charge_costs_nothing(plans):
    assert spent([], delta=DELTA, plans=plans) == Spent(0.0, "PLD")


@pytest.mark.parametrize(("plans", "who"), [(0, "PLD"), (1, "PLD"), (2, "RDP filter"), (7, "RDP filter")])
def test_the_filter_decides_from_the_second_plan_on(plans, who):
    charges = [gaussian(5.0)]
    decided = {"PLD": pld_epsilon, "RDP filter": renyi_epsilon}[who](charges, DELTA)
    assert spent(charges, delta=DELTA, plans=plans) == Spent(decided, who)


@pytest.mark.parametrize("delta", [0.0, -1.0, 1.5, float("nan")])
def test_delta_is_a_probability(delta):
    for epsilon in (pld_epsilon, renyi_epsilon):
        with pytest.raises(ValueError, match="delta"):
            epsilon([STEPS], delta)


@given(st.floats(0.05, 8), st.integers(1, 50))
@settings(max_examples=6, deadline=None)
def test_calibrated_noise_just_fits(epsilon, count):
    noise = calibrate(lambda each: [gaussian(each, count)], epsilon=epsilon, delta=DELTA)
    assert pld_epsilon([gaussian(noise, count)], DELTA) <= epsilon
    assert pld_epsilon([gaussian(noise - 0.01, count)], DELTA) > epsilon
    assert round(noise, 3) == noise


@pytest.mark.parametrize(("epsilon", "noise"), [(1, 1.565)])
def test_calibrated_dp_sgd_just_fits(epsilon, noise):
    def at(each):
        return [Charge("training", each, 0.01, 1000)]

    found = calibrate(at, epsilon=epsilon, delta=DELTA)
    assert found == pytest.approx(noise, abs=2e-3)
    assert pld_epsilon(at(found), DELTA) <= epsilon < pld_epsilon(at(found - 0.01), DELTA)


def test_calibrated_noise_fits_for_many_small_steps():
    noise = calibrate(many_small_steps, epsilon=0.5, delta=DELTA)
    assert pld_epsilon(many_small_steps(noise), DELTA) <= 0.5
    assert pld_epsilon(many_small_steps(noise - 0.01), DELTA) > 0.5


def test_what_cannot_fit_is_refused():
    with pytest.raises(ValueError, match="no noise multiplier"):
        calibrate(lambda each: [gaussian(0.5), gaussian(each)], epsilon=1.0, delta=DELTA)
