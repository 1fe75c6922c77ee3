"""The JSON of a simulation: exactly the keys and types that are documented, and figures that add up."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Literal

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict, Field
from sklearn.metrics import roc_auc_score

from client.folder import open_folder
from privacy import ledger
from privacy.accounting import spent
from privacy.plan import HOLDOUT
from simulations.details import details_of
from simulations.regions import utc_now
from simulations.result import result_of
from simulations.simulate import simulate

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")  # threads share the filters

Auc = Annotated[float, Field(ge=0, le=1)]
Interval = tuple[Auc, Auc]


class Exactly(BaseModel):
    """No key more, no key less, no text where a number is documented."""

    model_config = ConfigDict(extra="forbid", strict=True)


class RegionFigures(Exactly):
    """What one region is told."""

    auc: Auc | None
    ci: Interval | None
    auc_exact: Auc
    local_only_auc_exact: Auc
    why: str | None


class TaskFigures(Exactly):
    """What all regions together are told."""

    auc: Auc
    ci: Interval
    auc_exact: Auc
    auc_oracle: Auc | None
    by_region: dict[str, RegionFigures]


class Conditions(Exactly):
    """Epsilon if."""

    all_honest: float
    one_colludes: float
    masks_broken: float
    in_two_regions: float


class Epsilon(Exactly):
    """One population's account."""

    spent: float
    reserved: float
    limit: float
    period: tuple[str, str]
    lifetime: float
    delta: float
    n_max: int
    unit: Literal["data subject"]
    relation: Literal["add or remove one"]
    charged_as: Literal["masks broken"]
    conditions: Conditions = Field(alias="if")


class Result(Exactly):
    """The whole object."""

    run: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    seconds: Annotated[float, Field(gt=0)]
    regions: list[str]
    rounds: int
    tasks: dict[str, TaskFigures]
    epsilon: dict[str, dict[Literal["train", "holdout"], Epsilon]]
    upstream_bytes: dict[str, int]
    model: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    report: str


def test_the_result_is_as_documented_and_its_figures_add_up(small, tmp_path):
    out, kept = tmp_path / "out", {}

    def then(done):
        kept["details"] = details_of(done)
        kept["exact"] = independent_auc(done)
        kept["upstream"] = done.finished.journal.upstream
        return result_of(done)

    result = simulate(small.plan_path, out, progress=lambda *_: None, then=then)
    told = Result.model_validate_json(json.dumps(result, allow_nan=False))
    assert told.regions == ["eu", "sea", "us"]
    assert (
        set(told.epsilon)
        == set(told.upstream_bytes)
        == set(told.tasks["leaves"].by_region)
        == {"eu", "sea", "us"}
    )
    assert told.rounds == 3
    assert told.report == str(out / "report.html")
    assert_tasks(told.tasks["leaves"], kept["exact"])
    for region, populations in told.epsilon.items():
        assert set(populations) == {"train", "holdout"}
        for population, epsilon in populations.items():
            assert_epsilon(epsilon, entries(out, region, population))
    for region, size in told.upstream_bytes.items():
        assert size == sum(total for _, total in kept["upstream"][region].values())
    json.dumps(kept["details"], allow_nan=False)
    assert {each["round"] for each in kept["details"]["curve"]} == {1, 2, 3}


def assert_tasks(task, exact):
    assert task.auc_exact == pytest.approx(exact["all"])
    assert task.auc_oracle is None
    assert task.ci[0] <= task.auc <= task.ci[1]
    for region, figures in task.by_region.items():
        assert figures.auc_exact == pytest.approx(exact[region])
        assert (figures.auc is None) == (figures.ci is None) == (figures.why is not None) == (region == "sea")


def assert_epsilon(told, composed):
    assert told.spent == pytest.approx(composed)
    assert told.spent <= told.lifetime
    assert told.spent <= told.reserved <= told.limit
    assert told.conditions.masks_broken == told.spent
    assert told.spent < told.conditions.in_two_regions < 2 * told.spent
    assert told.delta == 1 / (10 * told.n_max)
    since, until = map(datetime.fromisoformat, told.period)
    assert (until - since).days == 365


def entries(out, region, population):
    """The epsilon that the region's own ledger composes to."""
    with open_folder(out / "regions" / region) as folder, folder.engine.begin() as connection:
        mine = [each.charge for each in ledger.read(connection) if each.population == population]
        return spent(mine, delta=folder.policy.limits[population].delta, plans=1).epsilon


def independent_auc(done):
    """The AUC of the linear model on hold-out people, computed here from the tables alone."""
    weights, scale = done.finished.parameters.astype(float), done.finished.scale.astype(float)
    labels, scores = {}, {}
    for name, region in done.regions.items():
        people = region.people.of(done.plan, HOLDOUT, utc_now())
        edges = np.linspace(0, 1, len(scale) // 2)
        numbers = [
            2 * np.interp(people.positions[:, i], edges, curve) - 1
            for i, curve in enumerate(scale.reshape(2, -1))
        ]
        inputs = np.column_stack([*numbers, people.categories])
        labels[name], scores[name] = people.labels[:, 0], inputs @ weights[:-1] + weights[-1]
    figures = {name: roc_auc_score(labels[name], scores[name]) for name in labels}
    pooled = roc_auc_score(np.concatenate(list(labels.values())), np.concatenate(list(scores.values())))
    return {"all": pooled, **figures}


def test_without_comparison_nobody_trains_alone(small, tmp_path):
    result = simulate(
        small.plan_path,
        tmp_path / "out",
        progress=lambda *_: None,
        then=lambda done: result_of(done, compare=False),
    )
    alone = [each["local_only_auc_exact"] for each in result["tasks"]["leaves"]["by_region"].values()]
    assert alone == [None, None, None]
