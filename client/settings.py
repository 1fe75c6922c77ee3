"""policy.toml: what a region accepts, decided by the region alone.

The centre's plan can ask for less, never for more. Does not describe data: see `client/manifest.py`.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field

from foundation import canonical
from foundation.errors import PurposeRefused
from foundation.toml_file import Settings
from privacy.budget import Limit
from privacy.plan import HOLDOUT, TRAIN, Plan, Positive, PublicSize, Slug

LEAST_COHORT, LEAST_COHORT_LOCAL = 3, 2


class PopulationBudget(Settings):
    """Epsilon per rolling 365 days, and the public upper bound of the population's size."""

    epsilon: Positive = 3.0
    n_max: PublicSize = 10_000

    @property
    def limit(self) -> Limit:
        """The limit that the ledger holds the population to."""
        return Limit(self.epsilon, self.n_max)


class Policy(Settings):
    """A region's policy; `cohort_of_two` allows a cohort of 2 where local noise is full.

    `holdout_share` is fixed when the folder is made: who is held out must not change from plan to plan, or
    one person would pay both populations' budgets.
    """

    purposes: Annotated[list[Slug], Field(min_length=1)]
    minimum_subjects: Annotated[int, Field(ge=0)] = 100
    holdout_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    cohort_of_two: bool = True
    budget: dict[Literal["train", "holdout"], PopulationBudget] = {}

    def limit(self, population: Literal["train", "holdout"]) -> Limit:
        """The population's limit; the default budget where the policy names none."""
        return self.budget.get(population, PopulationBudget()).limit

    @property
    def limits(self) -> dict[str, Limit]:
        """Both populations' limits."""
        return {TRAIN: self.limit("train"), HOLDOUT: self.limit("holdout")}

    @property
    def least_cohort(self) -> int:
        """Fewest regions that may be summed with this one."""
        return LEAST_COHORT_LOCAL if self.cohort_of_two else LEAST_COHORT

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical form."""
        return hashlib.sha256(canonical.encode(canonical.decimals(self.model_dump()))).hexdigest()

    def least_subjects(self, plan: Plan) -> int:
        """The stricter of the plan's and the policy's minimum."""
        return max(self.minimum_subjects, plan.federation.minimum_subjects)

    def judge(self, plan: Plan, *, region: str, controllers: list[str]) -> None:
        """Raises PurposeRefused, with every reason, unless the policy allows the plan."""
        reasons = [reason for refused, reason in self._reasons(plan, region, controllers) if refused]
        if reasons:
            raise PurposeRefused(f"plan {plan.name}", why="; ".join(reasons))

    def _reasons(self, plan: Plan, region: str, controllers: list[str]) -> list[tuple[bool, str]]:
        smallest = min(limit.delta for limit in self.limits.values())
        return [
            (region not in plan.regions, f"the plan does not name region {region}"),
            (plan.purpose not in self.purposes, f"purpose {plan.purpose} is not among the policy's purposes"),
            (plan.controller not in controllers, f"controller {plan.controller} has no rows here"),
            (
                plan.holdout_share != self.holdout_share,
                f"the plan holds out {plan.holdout_share:g}, this region {self.holdout_share:g}",
            ),
            (plan.federation.quorum < self.least_cohort, f"a cohort needs {self.least_cohort} regions"),
            (
                plan.budget.delta > smallest,
                f"the plan's delta {plan.budget.delta:g} exceeds this region's {smallest:g}",
            ),
        ]
