"""The JSON of a simulation, exactly as the command line documents it.

Released figures come from noised histograms; those marked exact, alone or oracle exist because the simulator
owns all rows, and never leave a real region.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.eligible import People
from client.training import build_model
from privacy import ledger
from privacy.accounting import spent
from privacy.budget import Limit
from privacy.events import RELATION, UNIT, Charge
from privacy.ledger import Account
from privacy.plan import HOLDOUT, TRAIN, EventData
from profiles.model import initial_parameters
from server.evaluation import Told
from simulations.exact import Scored, alone, exact_auc, scored
from simulations.population import read_truth
from simulations.regions import WORLD, Region, utc_now
from simulations.simulate import Simulated

POPULATIONS = (TRAIN, HOLDOUT)


@dataclass(frozen=True, slots=True)
class Exact:
    """Hold-out logits under the federated model, under each region's own, and the oracle's, by region."""

    federated: dict[str, Scored]
    alone: dict[str, Scored]
    oracle: dict[str, Scored]


def result_of(done: Simulated, *, compare: bool = True) -> dict[str, Any]:
    """Returns the JSON object of `simulate` and `demo`; without `compare`, nobody trains alone."""
    exact = _exact(done, compare=compare)
    done.stages.end("exact figures, each region alone")
    sent = done.finished.journal.upstream
    regions = sorted(done.plan.regions)
    return {
        "run": done.finished.journal.run,
        "seconds": round((utc_now() - done.begun).total_seconds(), 3),
        "regions": regions,
        "rounds": done.plan.training.rounds,
        "tasks": {task: _task(done, exact, task, place) for place, task in enumerate(done.plan.tasks)},
        "epsilon": {name: _epsilons(done, name) for name in regions},
        "upstream_bytes": {name: sum(size for _, size in sent.get(name, {}).values()) for name in regions},
        "model": done.model.name,
        "report": str(done.out / "report.html"),
    }


def _task(done: Simulated, exact: Exact, task: str, place: int) -> dict[str, Any]:
    told = done.evaluations[task]
    return {
        **_told(told.pooled),
        "auc_exact": _auc(exact.federated, place),
        "auc_oracle": _auc(exact.oracle, place),
        "by_region": {
            name: {
                **_told(told.by_region[name]),
                "auc_exact": _auc(exact.federated, place, name),
                "local_only_auc_exact": _auc(exact.alone, place, name),
                "why": told.by_region[name].why,
            }
            for name in sorted(done.plan.regions)
        },
    }


def _told(told: Told) -> dict[str, Any]:
    return {"auc": told.auc, "ci": None if told.interval is None else list(told.interval)}


def _auc(scores: dict[str, Scored], place: int, region: str | None = None) -> float | None:
    parts = [each for name, each in scores.items() if region in (None, name)]
    return exact_auc(parts, place) if parts else None


def _exact(done: Simulated, *, compare: bool) -> Exact:
    plan, now = done.plan, utc_now()
    holdout = {name: each.people.of(plan, HOLDOUT, now) for name, each in done.regions.items()}
    model = build_model(plan, plan.numeric_inputs + plan.category_inputs)
    start = initial_parameters(model, int(plan.digest[:8], 16))
    scale, parameters = done.finished.scale, done.finished.parameters
    return Exact(
        {name: scored(plan, people, scale, parameters) for name, people in holdout.items()},
        {
            name: alone(plan, name, each.people.of(plan, TRAIN, now), holdout[name], start)
            for name, each in done.regions.items()
            if compare
        },
        {
            name: known
            for name, each in done.regions.items()
            if (known := _oracle(done, each, holdout[name])) is not None
        },
    )


def _oracle(done: Simulated, region: Region, people: People) -> Scored | None:
    data = done.plan.data
    if done.plan.simulate.world is None or not isinstance(data, EventData):
        return None
    subjects, truth = read_truth(done.out / WORLD, region.folder.region, data.test_as_of)
    if not set(done.plan.tasks) <= set(truth):
        return None
    places = np.searchsorted(subjects, people.subjects)
    columns: list[NDArray[np.float64]] = [truth[task][places] for task in done.plan.tasks]
    return Scored(np.stack(columns, axis=1), people.labels)


def _epsilons(done: Simulated, name: str) -> dict[str, dict[str, Any]]:
    return {population: _epsilon(done, name, population) for population in POPULATIONS}


def _epsilon(done: Simulated, name: str, population: str) -> dict[str, Any]:
    region, now = done.regions[name], utc_now()
    limit = region.folder.policy.limits[population]
    with region.folder.engine.begin() as connection:
        account = ledger.account(
            connection, controller=done.plan.controller, population=population, limit=limit, now=now
        )
    return {
        "spent": account.spent.epsilon,
        "reserved": account.reserved,
        "limit": limit.epsilon,
        "period": [account.since.date().isoformat(), now.date().isoformat()],
        "lifetime": account.lifetime,
        "delta": limit.delta,
        "n_max": limit.n_max,
        "unit": UNIT,
        "relation": RELATION,
        "charged_as": "masks broken",
        "if": _conditions(done, name, population, account),
    }


def _conditions(done: Simulated, name: str, population: str, account: Account) -> dict[str, float]:
    # In mode local each region's noise is full, so masks change nothing for its people.
    alone_figure = account.spent.epsilon
    mine = _charges(done, name, population, account.since)
    others = [
        _composed(mine + _charges(done, other, each, account.since), account.limit)
        for other in done.regions
        for each in POPULATIONS  # held out in one region, a person may be trained on in another
        if other != name
    ]
    return {
        "all_honest": alone_figure,
        "one_colludes": alone_figure,
        "masks_broken": alone_figure,
        "in_two_regions": max(others, default=alone_figure),
    }


def _charges(done: Simulated, name: str, population: str, since: datetime) -> list[tuple[str, Charge]]:
    """Returns plan and charge of each entry of the rolling period."""
    with done.regions[name].folder.engine.begin() as connection:
        entries = ledger.read(connection, controller=done.plan.controller)
        return [
            (each.plan, each.charge)
            for each in entries
            if each.population == population and each.recorded_at > since
        ]


def _composed(together: list[tuple[str, Charge]], limit: Limit) -> float:
    plans = len({plan for plan, _ in together})
    return spent([charge for _, charge in together], delta=limit.delta, plans=plans).epsilon
