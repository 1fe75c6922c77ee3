"""Shapes, bounds and grids follow from the plan alone."""

from __future__ import annotations

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy import layout
from privacy.layout import (
    POOLED,
    evaluation_block,
    evaluation_blocks,
    model_name,
    parameter_count,
    release_grid,
    release_norm,
    release_shape,
    scale_count,
    score_edges,
    score_middles,
)
from privacy.plan import Plan, read_plan
from profiles.model import ProfileModel, parameters_of
from profiles.normalisation import from_histograms

PLAN = read_plan(Path(__file__).parents[1] / "golden" / "plan.toml")
FORM = PLAN.model_dump()
KINDS = ("analyse", "train", "evaluate")


def numeric(count):
    return [{"kind": "numeric", "name": f"n{i}", "low": 0, "high": 1} for i in range(count)]


def category(sizes):
    return [
        {"kind": "category", "name": f"c{i}", "values": list(range(size))} for i, size in enumerate(sizes)
    ]


@st.composite
def plans(draw):
    """Plans of every shape."""
    tasks = {
        f"t{i}": {"kind": "column", "column": f"y{i}", "value": True} for i in range(draw(st.integers(1, 4)))
    }
    sizes = draw(st.lists(st.integers(1, 4), max_size=3))
    return Plan.model_validate(
        FORM
        | {
            "tasks": tasks,
            "inputs": {"columns": numeric(draw(st.integers(1, 6))) + category(sizes)},
            "model": {"kind": draw(st.sampled_from(["logistic", "mlp"])), "hidden": draw(st.integers(1, 7))},
            "normalisation": {
                "mode": draw(st.sampled_from(["quantile", "standard"])),
                "bins": draw(st.integers(4, 20)),
                "noise_multiplier": draw(st.floats(0.5, 20)),
            },
            "evaluation": {
                "noise_multiplier": draw(st.floats(0.5, 20)),
                "bins": draw(st.integers(2, 12)),
                "logit_range": draw(st.floats(0.5, 8)),
                "logit_centre": draw(st.floats(-3, 3)),
                "told_alone_at": draw(st.sampled_from([1, 450, 700, 10_000])),
            },
            "sealing": {"word_bits": draw(st.just(64)), "units_per_sigma": 1024},
        }
    )


def test_nothing_here_takes_anything_but_the_plan_and_public_names():
    for name, function in inspect.getmembers(layout, inspect.isfunction):
        if function.__module__ == layout.__name__ and name != "model_name":
            assert set(inspect.signature(function).parameters) <= {"plan", "kind", "region", "regions"}, name


@given(plans())
@settings(max_examples=40, deadline=None)
def test_parameters_are_those_of_the_torch_model(plan):
    inputs = plan.numeric_inputs + plan.category_inputs
    model = ProfileModel(plan.model.kind, inputs=inputs, hidden=plan.model.hidden, tasks=tuple(plan.tasks))
    assert parameter_count(plan) == parameters_of(model).size
    assert release_shape(plan, "train") == (parameter_count(plan),)


@given(plans())
@settings(max_examples=40, deadline=None)
def test_scale_values_are_as_many_as_released_histograms_give(plan):
    counts = np.ones(release_shape(plan, "analyse"))
    assert scale_count(plan) == from_histograms(plan.normalisation.mode, counts).size


@given(plans())
@settings(max_examples=40, deadline=None)
def test_every_region_has_one_block_and_every_block_a_region(plan):
    blocks = evaluation_blocks(plan)
    assert len(set(blocks)) == len(blocks) == release_shape(plan, "evaluate")[0]
    assert {evaluation_block(plan, region) for region in plan.regions} == set(blocks)
    assert set(plan.told_alone) == set(blocks) - {POOLED}


@pytest.mark.parametrize(
    ("told_alone_at", "blocks"),
    [(1, ("eu", "sea", "us")), (500, ("eu", "us", POOLED)), (1000, ("eu", POOLED)), (1001, (POOLED,))],
)
def test_small_regions_share_a_block(told_alone_at, blocks):
    evaluation = FORM["evaluation"] | {"told_alone_at": told_alone_at}
    assert evaluation_blocks(Plan.model_validate(FORM | {"evaluation": evaluation})) == blocks


@given(plans())
@settings(max_examples=40, deadline=None)
def test_the_bound_of_a_contribution_is_one_count_per_input_or_task(plan):
    assert release_norm(plan, "analyse") == math.sqrt(plan.numeric_inputs)
    assert release_norm(plan, "evaluate") == math.sqrt(len(plan.tasks))


@given(plans(), st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_a_grid_is_a_public_part_of_the_noise(plan, regions):
    units = plan.sealing.units_per_sigma
    deviations = {
        "analyse": plan.normalisation.noise_multiplier * release_norm(plan, "analyse"),
        "evaluate": plan.evaluation.noise_multiplier * release_norm(plan, "evaluate"),
    }
    for kind in KINDS:
        grid = release_grid(plan, kind, regions)
        assert (grid.word_bits, grid.regions) == (plan.sealing.word_bits, regions)
        if kind in deviations:
            assert grid.step * units == pytest.approx(deviations[kind], rel=1e-12)


def test_the_grid_of_training_is_a_part_of_the_least_noise_of_one_step():
    # Weight over expected batch: eu .5 / (.02 * 4000), us .3 / (.02 * 4800), sea .2 / (.02 * 800).
    sizes = {"eu": 5000, "us": 6000, "sea": 1000}
    regions = {name: share | {"public_size": sizes[name]} for name, share in FORM["regions"].items()}
    grid = release_grid(Plan.model_validate(FORM | {"regions": regions}), "train", 3)
    assert grid.step * 65_536 == pytest.approx(0.5 * 1.96 * 0.3 / 96, rel=1e-12)


@given(plans())
@settings(max_examples=40, deadline=None)
def test_scores_lie_between_the_edges_of_their_bins(plan):
    edges, middles = score_edges(plan), score_middles(plan)
    logits = np.log(middles / (1 - middles))
    assert (np.digitize(logits, edges) == np.arange(plan.evaluation.bins)).all()
    assert ((middles > 0) & (middles < 1)).all()


def test_a_model_is_named_by_plan_scale_and_parameters():
    scale, parameters = np.array([0.0, 1.0], np.float32), np.array([0.5], np.float32)
    other_plan = Plan.model_validate(FORM | {"name": "other"})
    names = {
        model_name(PLAN, scale, parameters),
        model_name(PLAN, scale, -parameters),
        model_name(PLAN, -scale, parameters),
        model_name(other_plan, scale, parameters),
    }
    assert len(names) == 4
    assert model_name(PLAN, scale.copy(), parameters.astype(np.float64)) in names
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in names)
