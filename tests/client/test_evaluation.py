"""Score histograms: each hold-out person adds one count per task, in the block of their region."""

from __future__ import annotations

import numpy as np
import pytest

from client.evaluation import logits, noised_release, score_histograms
from client.training import Rows
from privacy.layout import evaluation_blocks, parameter_count, release_norm, release_shape, score_edges

INPUTS = 4


class Silence:
    """A stream without noise; counts what was asked of it."""

    def __init__(self):
        self.counts = []

    def normals(self, count):
        """Returns zeros."""
        self.counts.append(count)
        return np.zeros(count)


def rows(count, seed=2):
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(count, INPUTS)).astype(np.float32)
    return Rows(inputs, generator.integers(0, 2, (count, 1)).astype(np.float32))


def parameters(plan, seed=5):
    return np.random.default_rng(seed).normal(size=parameter_count(plan)).astype(np.float32)


def block(plan, people):
    return score_histograms(plan, people, parameters(plan))


def test_each_person_adds_one_count_per_task_and_is_not_clipped(small):
    made = block(small.plan, rows(60))
    assert made.values.sum() == 60
    assert made.clipping_norm == release_norm(small.plan, "evaluate")


def test_a_newcomer_leaves_every_other_contribution_as_it_was(small):
    everyone = rows(41)
    fewer = Rows(everyone.inputs[:-1], everyone.labels[:-1])
    change = block(small.plan, everyone).values - block(small.plan, fewer).values
    assert sorted(change[change != 0]) == [1.0]


def test_a_score_is_the_same_alone_and_in_company(small):
    everyone = rows(20)
    together = block(small.plan, everyone).values
    alone = [
        block(small.plan, Rows(everyone.inputs[i : i + 1], everyone.labels[i : i + 1])).values
        for i in range(20)
    ]
    assert (np.sum(alone, axis=0) == together).all()


def test_counts_stand_by_label_and_score(small):
    people, plan = rows(200), small.plan
    counts = block(plan, people).values.reshape(len(plan.tasks), 2, plan.evaluation.bins)
    scores = logits(plan, parameters(plan), people.inputs)[:, 0]
    edges = [-np.inf, *score_edges(plan), np.inf]
    for label in (0, 1):
        expected, _ = np.histogram(scores[people.labels[:, 0] == label], bins=edges)
        assert (counts[0, label] == expected).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_a_score_that_is_no_number_is_still_one_bounded_count(small, value):
    people = rows(3)
    people.inputs[1] = value
    assert block(small.plan, people).values.sum() <= 3


def test_nobody_makes_a_block_of_zeros(small):
    made = block(small.plan, rows(0))
    assert not made.values.any()
    assert made.values.size == 2 * small.plan.evaluation.bins


@pytest.mark.parametrize("region", ["eu", "us", "sea"])
def test_only_the_regions_own_block_is_filled_and_noised(small, region):
    plan, stream = small.plan, Silence()
    made = block(plan, rows(30))
    released = noised_release(plan, region=region, block=made, stream=stream).reshape(
        release_shape(plan, "evaluate")
    )
    filled = [place for place in range(len(released)) if released[place].any()]
    own = evaluation_blocks(plan).index(region if region in plan.told_alone else "pooled")
    assert filled == [own]
    assert stream.counts == [made.values.size]


def test_regions_too_small_to_be_told_alone_share_a_block(small):
    assert small.plan.told_alone == ("eu", "us")
    assert evaluation_blocks(small.plan) == ("eu", "us", "pooled")
