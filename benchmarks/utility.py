"""Utility at epsilon 3, everything charged: what privacy and federation cost on real tables.

    .venv/bin/python benchmarks/utility.py [--quick] [--json] [--save] [--runs 5] [--only NAME]

Protocol: five folds by a fixed hash of the subject; a fold's people are held out in every snapshot, so nobody
is trained on and tested. Own ledgers per fold and run. Figures are exact pooled AUC, means over folds and
runs. Beside ours: logistic regression (the better of standardised and quantile-normalised inputs) and
gradient boosting without privacy on the same people, central DP (all rows in one place, one noise), and each
region alone under the same DP. Needs the real tables.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

from table import Row, arguments, publish

from foundation.wire import keep_flower_quiet

NAME = "utility"
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FOLDS = range(5)
LIMIT = 3.0
LARGE = 300
"""Hold-out people of a fold from which a region's figure is an aim, not a remark."""


@dataclass(frozen=True, slots=True)
class Aim:
    """A plan, its task, the least mean AUC, and how far below logistic regression it may be."""

    plan: str
    task: str
    least: float
    gap: float = 0.012


AIMS = (
    Aim("online_retail_ii/plan_churn.toml", "churn_90d", 0.762),
    Aim("online_retail_ii/plan_high_value.toml", "high_value_90d", 0.831),
    Aim("online_shoppers/plan.toml", "buys", 0.900, 0.018),
    Aim("online_shoppers/plan_without_pagevalues.toml", "buys", 0.748),
    Aim("cdnow/plan.toml", "repurchase_39w", 0.770),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """One run on one fold: pooled AUCs, per region (federated, alone, hold-out people), seconds."""

    federated: float
    released: float | None
    logistic: tuple[float, float]
    trees: float
    central: float
    regions: dict[str, tuple[float | None, float | None, int]]
    epsilon: dict[str, float]
    seconds: float


def main() -> None:
    """Runs every plan, fold and run, and prints the rows."""
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="plans whose path contains this")
    asked = parser.parse_args()
    aims = [aim for aim in AIMS if asked.only in aim.plan][: 1 if asked.quick else None]
    folds, runs = (FOLDS[:1], 1) if asked.quick else (FOLDS, asked.runs)
    jobs = [(aim, fold, number) for aim, fold, number in product(aims, folds, range(runs))]
    begun = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        done = list(pool.map(_measured, jobs))
    rows = [
        row
        for aim in aims
        for row in _rows(aim, [(j, f) for j, f in zip(jobs, done, strict=True) if j[0] == aim])
    ]
    publish(NAME, rows, asked, folds=len(folds), runs=runs, seconds=round(time.monotonic() - begun))


def _rows(aim: Aim, done: list[tuple[tuple[Aim, int, int], Figures]]) -> Iterator[Row]:
    what = f"{aim.plan.replace('/plan', ' ').removesuffix('.toml').replace(' _', ' ').strip()} {aim.task}"
    figures = [each for _, each in done]
    ours = mean(each.federated for each in figures)
    by_fold = [
        mean(f.federated for (_, fold, _), f in done if fold == each)
        for each in sorted({j[1] for j, _ in done})
    ]
    by_run = [
        mean(f.federated for (_, _, run), f in done if run == each)
        for each in sorted({j[2] for j, _ in done})
    ]
    spread = f"fold sd {pstdev(by_fold):.4f}, run sd {pstdev(by_run):.4f}"
    reached = f"{what}: AUC ({spread})"
    yield Row(reached, ours, "least", aim.least, "AUC", f">= {aim.least}", ours >= aim.least)
    for population in ("train", "holdout"):
        told = f"{what}: epsilon of {population} people, highest region"
        epsilon = max(each.epsilon[population] for each in figures)
        yield Row(told, epsilon, "limit", LIMIT, "epsilon", "<= 3", epsilon <= LIMIT)
    logistic = max(mean(each.logistic[way] for each in figures) for way in (0, 1))
    yield Row(
        f"{what}: AUC",
        ours,
        "logistic regression, no privacy",
        logistic,
        "AUC",
        f"within {aim.gap}",
        logistic - ours <= aim.gap,
    )
    yield Row(f"{what}: AUC", ours, "gradient boosting, no privacy", mean(f.trees for f in figures), "AUC")
    yield Row(f"{what}: AUC", ours, "central DP, same epsilon", mean(f.central for f in figures), "AUC")
    for name in figures[0].regions:
        yield from _region(what, name, [each.regions[name] for each in figures if name in each.regions])


def _region(what: str, name: str, told: list[tuple[float | None, float | None, int]]) -> Iterator[Row]:
    known = [(both[0], both[1], both[2]) for both in told if both[0] is not None and both[1] is not None]
    if not known:
        return
    federated, alone = mean(each[0] for each in known), mean(each[1] for each in known)
    people = round(mean(each[2] for each in known))
    large = people >= LARGE
    yield Row(
        f"{what}: AUC in {name} ({people} hold-out people a fold)",
        federated,
        f"{name} alone, same DP",
        alone,
        "AUC",
        ">= alone - .01" if large else "reported",
        federated >= alone - 0.01 if large else True,
    )


def _measured(job: tuple[Aim, int, int]) -> Figures:
    aim, fold, _ = job
    keep_flower_quiet()
    import torch

    torch.set_num_threads(1)
    from privacy.plan import read_plan
    from simulations.simulate import simulate

    path = EXAMPLES / aim.plan
    plan = read_plan(path)
    changed = plan.simulate.model_copy(
        update={
            "fold": fold,
            "regions": {k: str((path.parent / v).resolve()) for k, v in plan.simulate.regions.items()},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        return simulate(
            path,
            Path(folder) / "run",
            progress=lambda *_: None,
            then=lambda done: _figures(done, aim.task),
            plan=plan.model_copy(update={"simulate": changed}),
        )


def _figures(done: Any, task: str) -> Figures:
    from simulations.result import result_of

    result = result_of(done)
    told = result["tasks"][task]
    logistic, trees, central, people = _others(done, list(done.plan.tasks).index(task))
    return Figures(
        federated=told["auc_exact"],
        released=told["auc"],
        logistic=logistic,
        trees=trees,
        central=central,
        regions={
            name: (each["auc_exact"], each["local_only_auc_exact"], people[name])
            for name, each in told["by_region"].items()
            if name in people
        },
        epsilon={
            population: max(each[population]["spent"] for each in result["epsilon"].values())
            for population in ("train", "holdout")
        },
        seconds=result["seconds"],
    )


def _others(done: Any, place: int) -> tuple[tuple[float, float], float, float, dict[str, int]]:
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import QuantileTransformer, StandardScaler

    from client.eligible import People
    from client.training import build_model
    from privacy.plan import HOLDOUT, TRAIN, RegionShare
    from profiles.model import initial_parameters
    from simulations.exact import alone, exact_auc
    from simulations.regions import utc_now

    plan, now = done.plan, utc_now()

    def pooled(population: str) -> People:
        parts = [each.people.of(plan, population, now) for each in done.regions.values()]
        arrays = ("subjects", "countries", "positions", "categories", "labels")
        return People(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in arrays), parts[0].basis
        )

    train, test = pooled(TRAIN), pooled(HOLDOUT)
    inputs = [np.concatenate((each.positions, each.categories), axis=1) for each in (train, test)]
    wanted, truth = train.labels[:, place], test.labels[:, place]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ways = (StandardScaler(), QuantileTransformer(n_quantiles=500, random_state=0))
        logistics = [
            make_pipeline(way, LogisticRegression(C=0.3, max_iter=2000)).fit(inputs[0], wanted)
            for way in ways
        ]
        trees = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.05, random_state=0).fit(
            inputs[0], wanted
        )

    def told(model: Any) -> float:
        return float(roc_auc_score(truth, model.predict_proba(inputs[1])[:, 1]))

    size = sum(each.public_size for each in plan.regions.values())
    one_place = {
        **plan.regions,
        "central": RegionShare.model_construct(public_size=size, weight=1.0, contributes=True),
    }
    centrally = plan.model_copy(update={"regions": one_place})
    model = build_model(plan, inputs[0].shape[1])
    scores = alone(centrally, "central", train, test, initial_parameters(model, 0))
    people = {name: len(each.people.of(plan, HOLDOUT, now).subjects) for name, each in done.regions.items()}
    return (
        (told(logistics[0]), told(logistics[1])),
        told(trees),
        exact_auc([scores], place) or 0.0,
        people,
    )


if __name__ == "__main__":
    main()
