"""Figures that only a simulator has."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from client.eligible import EligibleSets
from client.folder import open_folder
from client.store import Store
from privacy.layout import parameter_count, scale_count
from privacy.plan import HOLDOUT, TRAIN
from simulations.exact import Scored, alone, exact_auc, scored


def part(seed, people=200):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, (people, 2)).astype(np.float32)
    return Scored(generator.normal(labels, 1.0), labels)


@pytest.fixture
def eu(small, eu_folder):
    """The small federation's eu with its two populations."""
    from datetime import UTC, datetime

    now = datetime(2026, 1, 15, tzinfo=UTC)
    with open_folder(eu_folder) as folder:
        store = Store(folder.manifest, base=folder.base)
        people = EligibleSets(folder, store)
        yield people.of(small.plan, TRAIN, now), people.of(small.plan, HOLDOUT, now)
        store.close()


@pytest.mark.parametrize("task", [0, 1])
def test_the_exact_auc_pools_people_not_regions(task):
    parts = [part(1, 50), part(2, 300)]
    labels = np.concatenate([each.labels[:, task] for each in parts])
    logits = np.concatenate([each.logits[:, task] for each in parts])
    assert exact_auc(parts, task) == pytest.approx(counted_auc(labels, logits))
    mean = np.mean([exact_auc([each], task) for each in parts])
    assert exact_auc(parts, task) != pytest.approx(mean, abs=1e-6)


def test_one_label_alone_has_no_auc():
    flat = Scored(np.zeros((5, 1)), np.ones((5, 1), dtype=np.float32))
    assert exact_auc([flat], 0) is None


def test_logits_are_those_of_the_linear_model_over_normalised_inputs(small, eu):
    _, holdout = eu
    scale = np.tile(np.linspace(0, 1, scale_count(small.plan) // 2 + 0), 2).astype(np.float32)
    weights = np.arange(1, parameter_count(small.plan) + 1, dtype=np.float32)
    found = scored(small.plan, holdout, scale, weights)
    from client.releases import scaled_rows

    inputs = scaled_rows(small.plan, holdout, scale).inputs
    np.testing.assert_allclose(found.logits[:, 0], inputs @ weights[:-1] + weights[-1], rtol=1e-4, atol=1e-4)


def test_a_region_alone_learns_what_plain_regression_learns(small, eu):
    training, holdout = eu
    start = np.zeros(parameter_count(small.plan), dtype=np.float32)
    found = exact_auc([alone(small.plan, "eu", training, holdout, start)], 0)
    plain = LogisticRegression().fit(training.positions, training.labels[:, 0])
    reached = roc_auc_score(holdout.labels[:, 0], plain.decision_function(holdout.positions))
    assert reached - 0.15 < found < reached + 0.05


def counted_auc(labels, logits):
    """The share of pairs in the right order, counted one by one."""
    higher = logits[labels == 1][:, None] - logits[labels == 0][None, :]
    return float((higher > 0).mean() + (higher == 0).mean() / 2)
