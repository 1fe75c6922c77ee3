"""Epsilon of a list of charges: privacy loss distributions for one plan, the RDP filter from the second on.

One plan alone, run once or stopped and run again, has noise that was fixed before it started, so PLD
(numerical composition, Sommer, Meiser, Mohammadi 2019; Doroshenko et al. 2022) is tight. Another plan was
chosen after seeing results; there the Renyi filter (Feldman, Zrnic 2021) is what is proved, so it decides.
Does not offer Gaussian DP (it under-estimates) and does not keep state: see `privacy/ledger.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import dp_accounting
from dp_accounting import pld, rdp

from foundation import require
from privacy.events import Charge, merged

FINE_BELOW_EPSILON = 0.5
COARSE, FINE = 1e-3, 1e-4
MOST_NOISE = 1000.0
ABSURD_EPSILON = 50.0
PRECISION = 1e-3

DecidedBy = Literal["PLD", "RDP filter"]


@dataclass(frozen=True, slots=True)
class Spent:
    """An epsilon, and the accountant that decided it."""

    epsilon: float
    decided_by: DecidedBy


def spent(charges: list[Charge], *, delta: float, plans: int) -> Spent:
    """Returns epsilon at delta of all charges, which came from `plans` plans.

    | charges | plans | decided by |
    | none | any | PLD, 0.0 |
    | some | 0 or 1 | PLD |
    | some | 2 or more | RDP filter |
    """
    if not charges:
        return Spent(0.0, "PLD")
    if plans > 1:
        return Spent(renyi_epsilon(charges, delta), "RDP filter")
    return Spent(pld_epsilon(charges, delta), "PLD")


def pld_epsilon(charges: list[Charge], delta: float) -> float:
    """Returns epsilon by privacy loss distributions (pessimistic discretisation)."""
    require.probability(delta=delta)
    return _pld(tuple(merged(charges)), delta) if charges else 0.0


def renyi_epsilon(charges: list[Charge], delta: float) -> float:
    """Returns epsilon by Renyi DP (Mironov 2017; Canonne, Kamath, Steinke 2020 conversion)."""
    require.probability(delta=delta)
    return _renyi(tuple(merged(charges)), delta) if charges else 0.0


@lru_cache(maxsize=512)
def _pld(charges: tuple[Charge, ...], delta: float) -> float:
    if (loose := _renyi(charges, delta)) > ABSURD_EPSILON:
        return loose  # no budget is near; PLD would need gigabytes to say so
    # Discretisation errors add up over steps: where Renyi DP is lower, the grid was too coarse.
    coarse = _compose(pld.PLDAccountant(value_discretization_interval=COARSE), charges, delta)
    if coarse >= FINE_BELOW_EPSILON and coarse <= loose:
        return coarse
    return _compose(pld.PLDAccountant(value_discretization_interval=FINE), charges, delta)


@lru_cache(maxsize=512)
def _renyi(charges: tuple[Charge, ...], delta: float) -> float:
    return _compose(rdp.RdpAccountant(), charges, delta)


def _compose(accountant: dp_accounting.PrivacyAccountant, charges: tuple[Charge, ...], delta: float) -> float:
    # Gaussians on everyone compose to one Gaussian, exactly: their precisions add.
    precision = sum(each.count / each.noise_multiplier**2 for each in charges if each.sampling_rate == 1)
    if precision > 0:
        accountant.compose(dp_accounting.GaussianDpEvent(1 / math.sqrt(precision)))
    for charge in charges:
        if charge.sampling_rate < 1:
            gaussian = dp_accounting.GaussianDpEvent(charge.noise_multiplier)
            sampled = dp_accounting.PoissonSampledDpEvent(charge.sampling_rate, gaussian)
            accountant.compose(dp_accounting.SelfComposedDpEvent(sampled, charge.count))
    return float(accountant.get_epsilon(delta))


def calibrate(charges_at: Callable[[float], list[Charge]], *, epsilon: float, delta: float) -> float:
    """Returns the least noise multiplier (to 1e-3, rounded up) whose charges stay within epsilon by PLD.

    Renyi DP is cheap and rarely below PLD, so it brackets the answer first.

    Raises:
        ValueError: not even a noise multiplier of 1000 stays within epsilon.
    """
    high = 0.25
    while renyi_epsilon(charges_at(high), delta) > epsilon:
        high *= 1.25
        if high > MOST_NOISE:
            raise ValueError(f"no noise multiplier below {MOST_NOISE:.0f} stays within epsilon {epsilon}")
    while pld_epsilon(charges_at(high), delta) > epsilon:
        high *= 1.25
    low = high / 4
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (low, middle) if pld_epsilon(charges_at(middle), delta) <= epsilon else (middle, high)
    return round(math.ceil(high / PRECISION) * PRECISION, 3)
