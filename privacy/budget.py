"""What a plan costs at worst, per population, and the noise that makes it fit.

Parallel composition: regions hold disjoint people, and train and hold-out people are disjoint inside a
region. The worst case counts every spare attempt. Does not know what was spent: see `privacy/ledger.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from privacy.accounting import calibrate, pld_epsilon
from privacy.events import Charge
from privacy.plan import COUNT_NOISE, HOLDOUT, LEAST_NOISE, TRAIN, Plan

PERIOD_DAYS = 365
"""The rolling period in which a limit holds; the ledger itself never resets."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A population's limit: epsilon per rolling period, at delta = 1 / (10 n_max)."""

    epsilon: float
    n_max: int

    @property
    def delta(self) -> float:
        """Failure probability; n_max is a public upper bound, never a count."""
        return 1 / (10 * self.n_max)


def training_charge(plan: Plan) -> Charge:
    """One training release: `local_steps` steps of Poisson-sampled Gaussian sums."""
    training = plan.training
    return Charge("training", training.noise_multiplier, training.sampling_rate, training.local_steps)


def histograms_charge(plan: Plan) -> Charge:
    """One release of all feature histograms as one vector."""
    return Charge("histograms", plan.normalisation.noise_multiplier, 1.0, 1)


def evaluation_charge(plan: Plan) -> Charge:
    """One release of the score histograms of hold-out people."""
    return Charge("evaluation", plan.evaluation.noise_multiplier, 1.0, 1)


def count_charge() -> Charge:
    """The noised count of the eligible set, once per plan."""
    return Charge("count", COUNT_NOISE, 1.0, 1)


def worst_case(plan: Plan, region: str, *, counted: bool = False) -> dict[str, list[Charge]]:
    """Returns what one run can cost in a region, per population, spare attempts included.

    `counted`: the plan's eligible count was drawn in an earlier run.
    """
    spare = 1 + plan.federation.spare_attempts
    holdout = [evaluation_charge(plan).times(1 + plan.evaluation.spare_attempts)]
    count = [] if counted else [count_charge()]
    if not plan.regions[region].contributes:
        return {TRAIN: [], HOLDOUT: holdout}
    train = [
        *count,
        histograms_charge(plan).times(spare),
        training_charge(plan).times(plan.most_attempts),
    ]
    return {TRAIN: train, HOLDOUT: holdout}


def period_cost(plan: Plan, population: str, region: str) -> float:
    """Returns epsilon at the plan's delta of the run and all its retrainings, at worst."""
    charges = worst_case(plan, region)[population]
    runs = 1 + plan.budget.retrainings_per_period
    return pld_epsilon([charge.times(runs) for charge in charges], plan.budget.delta)


def calibrated(plan: Plan, *, epsilon: float | None = None) -> Plan:
    """Returns the plan with training and evaluation noise set so that each population ends within epsilon.

    The noise of the histograms stays as the plan states it.

    Raises:
        ValueError: the histograms alone cost more than epsilon.
    """
    target = plan.budget.epsilon if epsilon is None else epsilon
    region = next(name for name, share in plan.regions.items() if share.contributes)

    def with_noise(part: str, noise: float) -> Plan:
        changed = getattr(plan, part).model_copy(update={"noise_multiplier": noise})
        return plan.model_copy(update={part: changed})

    def charges(part: str, population: str, noise: float) -> list[Charge]:
        runs = 1 + plan.budget.retrainings_per_period
        return [charge.times(runs) for charge in worst_case(with_noise(part, noise), region)[population]]

    delta = plan.budget.delta
    training = calibrate(lambda noise: charges("training", TRAIN, noise), epsilon=target, delta=delta)
    evaluation = calibrate(lambda noise: charges("evaluation", HOLDOUT, noise), epsilon=target, delta=delta)
    training, evaluation = max(training, LEAST_NOISE), max(evaluation, LEAST_NOISE)
    budget = plan.budget.model_copy(update={"epsilon": target})
    return with_noise("training", training).model_copy(
        update={"evaluation": with_noise("evaluation", evaluation).evaluation, "budget": budget}
    )
