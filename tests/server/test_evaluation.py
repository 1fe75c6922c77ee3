"""AUC and its interval from noised histograms, against scikit-learn and against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from privacy.layout import evaluation_blocks, score_edges, score_middles
from server.evaluation import LEAST_CLASS, _told, auc, evaluate

BINS = 10
FALSE_ALARM = 0.002
"""Chance that a correct 95 % interval misses more often than a coverage test here allows."""
MOST_MISSES_IN_200 = 20
"""P(Binomial(200, 0.05) > 20) = 0.0013 < FALSE_ALARM."""


def histograms(bins, labels, count=BINS):
    return np.stack([np.bincount(bins[labels == label], minlength=count) for label in (0, 1)]).astype(float)


def drawn(generator, people, separation=1.2):
    """Scores (logits) of people: those of label 1 lie `separation` higher."""
    labels = generator.integers(0, 2, people)
    return generator.normal(0, 1.5, people) + separation * labels, labels


def counts_for(plan, fill):
    """Counts of shape (blocks, tasks, 2, bins) with fill(block) in each block."""
    return np.stack([fill(name)[None] for name in evaluation_blocks(plan)])


@given(
    rows=st.lists(st.tuples(st.integers(0, BINS - 1), st.integers(0, 1)), min_size=2, max_size=80).filter(
        lambda rows: len({label for _, label in rows}) == 2
    )
)
def test_the_auc_of_histograms_is_scikit_learns_on_binned_scores(rows):
    bins, labels = (np.array(part) for part in zip(*rows, strict=True))
    assert float(auc(histograms(bins, labels))) == pytest.approx(roc_auc_score(labels, bins), abs=1e-12)


def test_the_auc_of_noised_counts_is_unbiased_and_truncation_at_zero_would_bias_it():
    generator, draws, deviation = np.random.default_rng(1), 40_000, 3.0
    negatives = np.array([80, 60, 40, 30, 20, 10, 5, 0, 0, 0.0])
    counts = np.stack([negatives, negatives[::-1]])
    noisy = counts + generator.normal(0, deviation, (draws, *counts.shape))
    estimates, exact = auc(noisy), float(auc(counts))
    error = 4 * estimates.std() / draws**0.5 + 0.0005  # 4 standard errors, and the ratio's second order
    assert estimates.mean() == pytest.approx(exact, abs=error)
    assert abs(auc(np.maximum(noisy, 0)).mean() - exact) > 10 * error


def test_counts_below_zero_are_kept_in_the_estimate(world):
    negatives = np.array([30, 25, 20, 15, 12, 10, 8, -4, 3, -2.0])
    block = np.stack([negatives, negatives[::-1]])
    told = evaluate(world.plan, counts_for(world.plan, lambda _: block), ("eu", "sea", "us"), rng())["leaves"]
    assert told.by_region["eu"].auc == pytest.approx(float(auc(block)))
    assert told.pooled.auc == pytest.approx(float(auc(3 * block)))


def test_the_interval_covers_the_true_auc_at_its_rate_with_few_people(world):
    """120 people, noise of the plan; misses of the population's AUC and of the people's own, of 200."""
    edges, generator = score_edges(world.plan), np.random.default_rng(2)
    deviation = world.plan.evaluation.noise_multiplier
    many, many_labels = drawn(generator, 200_000)
    truth = float(auc(histograms(np.digitize(many, edges), many_labels)))
    missed_truth = missed_exact = 0
    for _ in range(200):
        scores, labels = drawn(generator, 120)
        exact = roc_auc_score(labels, scores)
        noisy = histograms(np.digitize(scores, edges), labels) + generator.normal(0, deviation, (2, BINS))
        low, high = _told(noisy, deviation, generator).interval
        assert 0 <= low <= high <= 1
        missed_truth += not low <= truth <= high
        missed_exact += not low <= exact <= high
    assert missed_truth <= MOST_MISSES_IN_200
    assert missed_exact <= MOST_MISSES_IN_200


def test_the_interval_is_not_idle_it_narrows_with_people_and_widens_with_noise():
    generator = np.random.default_rng(3)

    def width(people, deviation):
        scores, labels = drawn(generator, people)
        bins = np.clip((scores + 4) * BINS / 8, 0, BINS - 1).astype(int)
        low, high = _told(histograms(bins, labels), deviation, generator).interval
        return high - low

    assert width(20_000, 1.0) < width(500, 1.0) / 3
    assert width(500, 12.0) > 1.5 * width(500, 1.0)


@pytest.mark.parametrize("label", [0, 1])
def test_too_few_people_of_a_label_are_told_as_a_why(label):
    counts = np.full((2, BINS), 20.0)
    counts[label] = (LEAST_CLASS - 0.1) / BINS
    told = _told(counts, 1.0, rng())
    assert (told.auc, told.interval) == (None, None)
    assert told.why == "too few people of one label for an AUC"


def test_regions_say_why_they_are_not_told_alone(world):
    block = np.stack([np.full(BINS, 20.0), np.arange(BINS) * 8.0])
    counts = counts_for(world.plan, lambda name: block if name != "us" else 0 * block)
    told = evaluate(world.plan, counts, ("eu", "sea"), rng())["leaves"]
    assert set(told.by_region) == {"eu", "sea", "us"}
    assert told.by_region["eu"].why is None
    assert told.by_region["sea"].why == "below 50 hold-out people: pooled only"
    assert told.by_region["us"].why == "did not take part in the evaluation"
    assert told.by_region["us"].auc is None


def test_an_absent_region_adds_no_noise_to_the_pooled_interval(world):
    block = np.stack([np.full(BINS, 12.0), np.arange(BINS) * 3.0])
    noisier = world.changed(world.plan, evaluation={"noise_multiplier": 6.0})

    def width(regions):
        counts = counts_for(noisier, lambda name: block if name == "eu" else 0 * block)
        low, high = evaluate(noisier, counts, regions, rng())["leaves"].pooled.interval
        return high - low

    assert width(("eu",)) < 0.9 * width(("eu", "sea", "us"))


def test_the_same_generator_gives_the_same_interval(world):
    counts = counts_for(world.plan, lambda _: np.full((2, BINS), 15.0))
    both = [evaluate(world.plan, counts, ("eu", "sea", "us"), rng()) for _ in range(2)]
    assert both[0] == both[1]


def test_a_calibrated_model_has_no_calibration_error_and_a_shifted_one_has(world):
    middles = score_middles(world.plan)
    calibrated = np.stack([1000 * (1 - middles), 1000 * middles])
    for block, expected in ((calibrated, 0.0), (calibrated[::-1], np.abs(1 - 2 * middles).mean())):
        counts = counts_for(world.plan, lambda _, block=block: block)
        told = evaluate(world.plan, counts, ("eu", "sea", "us"), rng())["leaves"]
        assert told.calibration_error == pytest.approx(expected, abs=1e-9)
        assert len(told.reliability) == BINS


def test_bins_without_people_are_left_out_of_the_reliability(world):
    block = np.full((2, BINS), 30.0)
    block[:, 3] = -2.0
    counts = counts_for(world.plan, lambda _: block)
    told = evaluate(world.plan, counts, ("eu", "sea", "us"), rng())["leaves"]
    assert score_middles(world.plan)[3] not in [each.score for each in told.reliability]
    assert all(0 <= each.rate <= 1 for each in told.reliability)


def rng():
    return np.random.default_rng(5)
