"""`region check`: everything that stands between this region and a run, all at once, as counts.

Reads the region's own tables; the counts are for the region's eyes and are charged to nobody, because they
do not leave. Nothing is changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from client.approval import approved, noised_count
from client.eligible import EligibleSets
from client.folder import RegionFolder
from foundation.errors import BudgetExceeded, FedprofileError, GateFailed, TooFewSubjects
from privacy import ledger
from privacy.accounting import pld_epsilon
from privacy.budget import Limit, worst_case
from privacy.plan import COUNT_NOISE, HOLDOUT, TRAIN, EventData, Plan
from profiles.quality import GateResult


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that would be refused, with the code that would be given."""

    code: str
    what: str
    do: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found; people are counts inside the region, None where the tables could not be read."""

    region: str
    plan: str
    approved: bool
    active: int | None
    trained_on: int | None
    held_out: int | None
    not_permitted: int | None
    least: float
    gates: tuple[GateResult, ...]
    cost: dict[str, float]
    left: dict[str, float]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Budget:
    """Epsilons per population: the plan's worst case, what is left now; and what would exceed a limit."""

    cost: dict[str, float]
    left: dict[str, float]
    exceeded: tuple[Problem, ...]


class Whose(TypedDict):
    """Arguments that name one account of the ledger."""

    controller: str
    population: str
    limit: Limit
    now: datetime


def check(folder: RegionFolder, people: EligibleSets, plan: Plan, now: datetime) -> Checked:
    """Returns what would happen if the plan ran now."""
    problems: list[Problem] = []
    counts: dict[str, int | None] = dict.fromkeys(("active", TRAIN, HOLDOUT))
    gates: tuple[GateResult, ...] = ()
    least = folder.policy.least_subjects(plan) + 3 * COUNT_NOISE
    try:
        folder.policy.judge(plan, region=folder.region, controllers=folder.manifest.controllers)
    except FedprofileError as error:
        problems.append(_problem(error))
    try:
        gates = people.gates(plan, now)
        failed = [gate for gate in gates if not gate.holds]
        problems += [
            _problem(GateFailed(f"{gate.table}.{gate.name}: {gate.violations} of {gate.allowed} allowed"))
            for gate in failed
        ]
        counts = _counts(people, plan, now)
    except FedprofileError as error:
        problems.append(_problem(error))
    trained = counts[TRAIN]
    contributes = folder.region in plan.regions and plan.regions[folder.region].contributes
    if contributes and trained is not None and trained < least:
        problems.append(_problem(TooFewSubjects(f"{trained} people to train on, {least:.0f} needed")))
    budget = budget_of(folder, plan, now)
    return Checked(
        region=folder.region,
        plan=plan.name,
        approved=_approved(folder, plan, problems),
        active=counts["active"],
        trained_on=trained,
        held_out=counts[HOLDOUT],
        not_permitted=_not_permitted(counts),
        least=least,
        gates=gates,
        cost=budget.cost,
        left=budget.left,
        problems=(*problems, *budget.exceeded),
    )


def _counts(people: EligibleSets, plan: Plan, now: datetime) -> dict[str, int | None]:
    as_of = plan.data.train_as_of if isinstance(plan.data, EventData) else None
    return {
        "active": people.store.active_count(plan, as_of),
        TRAIN: len(people.of(plan, TRAIN, now).subjects),
        HOLDOUT: len(people.at(plan, HOLDOUT, as_of, now).subjects),
    }


def _not_permitted(counts: dict[str, int | None]) -> int | None:
    active, trained, held_out = counts["active"], counts[TRAIN], counts[HOLDOUT]
    if active is None or trained is None or held_out is None:
        return None
    return active - trained - held_out


def _approved(folder: RegionFolder, plan: Plan, problems: list[Problem]) -> bool:
    try:
        with folder.engine.begin() as connection:
            approved(connection, plan.digest)
    except FedprofileError as error:
        problems.append(_problem(error))
        return False
    return True


def budget_of(folder: RegionFolder, plan: Plan, now: datetime) -> Budget:
    """Returns the plan's worst case in this region, what is left, and what would exceed the limit."""
    cost: dict[str, float] = {}
    left: dict[str, float] = {}
    exceeded: list[Problem] = []
    with folder.engine.begin() as connection:
        counted = noised_count(connection, plan.digest) is not None
    known = folder.region in plan.regions
    charges_of = worst_case(plan, folder.region, counted=counted) if known else {}
    for population, charges in charges_of.items():
        limit = folder.policy.limits[population]
        whose: Whose = {"controller": plan.controller, "population": population, "limit": limit, "now": now}
        cost[population] = pld_epsilon(charges, limit.delta)
        with folder.engine.begin() as connection:
            left[population] = ledger.account(connection, **whose).left
            after = ledger.forecast(connection, plan=plan.digest, charges=charges, **whose)
        if after > limit.epsilon:
            told = f"population {population}: epsilon {after:.3f} of {limit.epsilon:g}"
            exceeded.append(_problem(BudgetExceeded(told)))
    return Budget(cost, left, tuple(exceeded))


def _problem(error: FedprofileError) -> Problem:
    return Problem(error.code, error.what, error.do)
