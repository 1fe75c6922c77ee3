"""Local training: the plan's constants whatever the rows, Opacus's clipping, noise of the promised size.

The statistics draw fresh keys; each is judged at one in a million.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.nn.functional import binary_cross_entropy_with_logits

from client import training
from client.training import CryptographicOptimizer, DPOptimizer, GradSampleModule, Rows, build_model, train
from privacy.noise import CryptographicStream
from privacy.plan import Plan, read_plan
from profiles.model import parameters_of, set_parameters

FORM = read_plan(Path(__file__).parents[1] / "golden" / "plan.toml").model_dump()
FALSE_ALARM = 1e-6
KEY = bytes(16)
INPUTS = 3


def plan(*, model="logistic", hidden=4, **changes):
    """Returns a plan with two tasks; public expected batch of region us: rate * 2400."""
    base = {
        "rounds": 3,
        "local_steps": 1,
        "sampling_rate": 1.0,
        "noise_multiplier": 1.5,
        "clipping_norm": 0.5,
        "learning_rate": 0.25,
    }
    tasks = {name: {"kind": "column", "column": name, "value": True} for name in ("one", "two")}
    return Plan.model_validate(
        FORM | {"tasks": tasks, "training": base | changes, "model": {"kind": model, "hidden": hidden}}
    )


def some_rows(count, seed=0, scale=1.0):
    drawn = np.random.default_rng(seed)
    inputs = scale * drawn.normal(size=(count, INPUTS)).astype(np.float32)
    return Rows(inputs, drawn.integers(0, 2, (count, 2)).astype(np.float32))


def still_rows(count):
    """Returns rows whose gradient is zero at a model of zeros: inputs of zero, labels of one half."""
    return Rows(np.zeros((count, INPUTS), np.float32), np.full((count, 2), 0.5, np.float32))


class Silent(CryptographicStream):
    """A stream without noise."""

    def normals(self, count):
        """Returns zeros."""
        return np.zeros(count)


def size_of(stated):
    return parameters_of(build_model(stated, INPUTS)).size


def moved(stated, rows, *, key=None, start=None, stream=None):
    """Returns the update, float64."""
    start = np.zeros(size_of(stated), np.float32) if start is None else start
    stream = CryptographicStream(key) if stream is None else stream
    trained = train(stated, region="us", rows=rows, start=start, stream=stream)
    return trained.parameters.astype(np.float64) - start


class Watched:
    """What training used of the plan: noise scale, expected batch, bound, rates, steps, sizes."""

    def __init__(self, monkeypatch):
        self.facts, self.modules = [], []
        add_noise, sample = CryptographicOptimizer.add_noise, CryptographicStream.poisson_sample

        def noisy(optimizer):
            self.facts.append((
                "noise", optimizer.noise_multiplier * optimizer.max_grad_norm, optimizer.expected_batch_size,
                tuple(parameter.numel() for parameter in optimizer.params),
            ))  # fmt: skip
            self.modules.append(optimizer)
            add_noise(optimizer)

        def sampled(stream, population, rate):
            self.facts.append(("rate", rate))
            return sample(stream, population, rate)

        monkeypatch.setattr(CryptographicOptimizer, "add_noise", noisy)
        monkeypatch.setattr(CryptographicStream, "poisson_sample", sampled)


# One more row changes no constant.


@pytest.mark.parametrize("model", ["logistic", "mlp"])
@pytest.mark.parametrize("rate", [0.02, 0.5, 1.0])
def test_noise_scale_rate_steps_and_size_do_not_depend_on_the_rows(monkeypatch, model, rate):
    watched = Watched(monkeypatch)
    stated = plan(model=model, sampling_rate=rate, local_steps=5)
    seen = []
    for rows in (
        still_rows(0),
        still_rows(1),
        still_rows(50),
        still_rows(51),
        some_rows(51),
        some_rows(9000),
    ):
        watched.facts.clear()
        seen.append((moved(stated, rows).shape, tuple(watched.facts)))
    assert len(set(seen)) == 1
    noises = [fact for fact in seen[0][1] if fact[0] == "noise"]
    assert len(noises) == 5
    assert {fact[1:3] for fact in noises} == {(0.75, rate * 2400)}


@pytest.mark.parametrize("model", ["logistic", "mlp"])
@given(count=st.integers(0, 60))
@settings(max_examples=10, deadline=None)
def test_with_zero_gradients_one_more_row_changes_not_one_bit(model, count):
    stated = plan(model=model)
    one, other = (moved(stated, still_rows(each), key=KEY) for each in (count, count + 1))
    assert (one == other).all()
    assert one.all()


@pytest.mark.parametrize("count", [0, 1, 400, 401])
@pytest.mark.parametrize("rate", [0.05, 1.0])
def test_the_update_of_zero_gradients_is_noise_of_the_promised_size(count, rate):
    # A rate of 1e-6 keeps the model at zero, so that gradients stay zero through the steps.
    steps, stated = 4, plan(model="mlp", hidden=512, sampling_rate=rate, local_steps=4, learning_rate=1e-6)
    update = moved(stated, still_rows(count))
    deviation = 1e-6 * 1.5 * 0.5 * np.sqrt(steps) / (rate * 2400)
    low, high = stats.chi2.interval(1 - FALSE_ALARM, update.size)
    assert low < np.sum((update / deviation) ** 2) < high
    assert stats.kstest(update / deviation, "norm").pvalue > FALSE_ALARM


def test_two_trainings_never_draw_the_same_noise():
    stated = plan()
    assert (moved(stated, still_rows(5)) != moved(stated, still_rows(5))).all()


def test_a_seed_of_torch_or_numpy_repeats_nothing():
    updates = []
    for _ in range(2):
        state = torch.get_rng_state()
        torch.manual_seed(1)
        updates.append(moved(plan(), some_rows(20)))
        torch.set_rng_state(state)
    assert (updates[0] != updates[1]).all()


# Empty rows and empty samples.


@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_no_rows_still_step_and_add_noise(monkeypatch, model):
    watched = Watched(monkeypatch)
    stated = plan(model=model, local_steps=3, sampling_rate=0.5)
    trained = train(
        stated, region="us", rows=still_rows(0), start=np.zeros(size_of(stated), np.float32),
        stream=CryptographicStream(),
    )  # fmt: skip
    assert trained.parameters.all()
    assert sum(fact[0] == "noise" for fact in watched.facts) == 3
    facts = trained.facts
    assert (facts.share_clipped, facts.mean_norm, facts.loss, facts.signal_to_noise) == (0, 0, 0, 0)


def test_a_sample_of_nobody_steps_by_noise_alone(monkeypatch):
    nobody = np.zeros(0, dtype=np.int64)
    monkeypatch.setattr(CryptographicStream, "poisson_sample", lambda *_: nobody)
    stated = plan(sampling_rate=0.5, local_steps=2)
    assert (moved(stated, some_rows(30), key=KEY) == moved(stated, still_rows(0), key=KEY)).all()


@pytest.mark.parametrize("model", ["logistic", "mlp"])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_row_that_is_not_finite_counts_for_nothing(model, bad):
    stated, rows = plan(model=model), some_rows(20)
    broken = Rows(np.vstack((rows.inputs, np.full((1, INPUTS), bad, np.float32))),
                  np.vstack((rows.labels, np.ones((1, 2), np.float32))))  # fmt: skip
    update = moved(stated, broken, key=KEY)
    assert np.isfinite(update).all()
    assert update == pytest.approx(moved(stated, rows, key=KEY), abs=1e-7)


# Clipping.


def hand_clipped(stated, rows, start):
    """Returns the sum of gradients clipped one subject at a time, flat, and the norms."""
    model, bound = build_model(stated, INPUTS), stated.training.clipping_norm
    set_parameters(model, start)
    total, norms = torch.zeros(len(start), dtype=torch.float64), []
    for inputs, labels in zip(torch.from_numpy(rows.inputs), torch.from_numpy(rows.labels), strict=True):
        loss = binary_cross_entropy_with_logits(model(inputs[None])[0], labels, reduction="sum")
        gradient = torch.cat(
            [each.flatten() for each in torch.autograd.grad(loss, list(model.parameters()))]
        ).double()
        norms.append(float(gradient.norm()))
        total += gradient * min(1.0, bound / (norms[-1] + 1e-6))
    return total.numpy(), np.array(norms)


@pytest.mark.parametrize("model", ["logistic", "mlp"])
@pytest.mark.parametrize("scale", [0.05, 1.0, 30.0])
def test_the_clipped_sum_is_that_of_each_subject_clipped_by_hand(monkeypatch, model, scale):
    sums = []

    def keep(optimizer):
        sums.append(torch.cat([each.summed_grad.flatten() for each in optimizer.params]).double().numpy())
        add_noise(optimizer)

    add_noise = CryptographicOptimizer.add_noise
    monkeypatch.setattr(CryptographicOptimizer, "add_noise", keep)
    stated, rows = plan(model=model), some_rows(40, scale=scale)
    start = np.random.default_rng(1).normal(size=size_of(stated)).astype(np.float32)
    moved(stated, rows, start=start)
    expected, norms = hand_clipped(stated, rows, start)
    assert sums[0] == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert np.linalg.norm(sums[0]) <= 40 * 0.5
    assert (norms > 0.5).any() or scale < 1


@pytest.mark.parametrize("region", ["eu", "us", "sea"])
@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_the_sum_is_divided_by_the_public_expected_batch(monkeypatch, region, rate):
    monkeypatch.setattr(
        CryptographicStream, "poisson_sample", lambda _, population, __: np.arange(population)
    )
    stated, rows = plan(sampling_rate=rate), some_rows(25)
    start = np.zeros(size_of(stated), np.float32)
    trained = train(stated, region=region, rows=rows, start=start, stream=Silent())
    expected, _ = hand_clipped(stated, rows, start)
    public = {"eu": 5000, "us": 3000, "sea": 2000}[region] * 0.8
    assert trained.parameters == pytest.approx(-0.25 * expected / (rate * public), rel=1e-3, abs=1e-9)


@given(st.integers(0, 30), st.floats(0.1, 50))
@settings(max_examples=15, deadline=None)
def test_one_more_subject_moves_the_model_by_the_bound_at_most(count, scale):
    stated, rows = plan(), some_rows(count + 1, seed=count, scale=scale)
    fewer = Rows(rows.inputs[:count], rows.labels[:count])
    one, other = (moved(stated, each, stream=Silent()) for each in (rows, fewer))
    apart = np.linalg.norm(one - other)
    assert apart <= 0.25 * 0.5 / 2400 * (1 + 1e-3)


def test_momentum_and_steps_are_those_of_plain_sgd():
    stated = plan(momentum=0.5, local_steps=3)
    rows, place = some_rows(25), np.zeros(size_of(stated))
    speed = np.zeros_like(place)
    for _ in range(3):
        speed = 0.5 * speed + hand_clipped(stated, rows, place.astype(np.float32))[0] / 2400
        place = place - 0.25 * speed
    assert moved(stated, rows, stream=Silent()) == pytest.approx(place, rel=1e-3, abs=1e-8)


# Opacus.


def test_opacus_hooks_and_optimizer_are_what_trains(monkeypatch):
    hooked = []

    class Spy(GradSampleModule):
        def __init__(self, *args, **kwargs):
            hooked.append(kwargs)
            super().__init__(*args, **kwargs)

    watched = Watched(monkeypatch)
    monkeypatch.setattr(training, "GradSampleModule", Spy)
    moved(plan(), some_rows(5))
    assert hooked == [{"loss_reduction": "sum"}]
    (optimizer,) = watched.modules
    assert isinstance(optimizer, DPOptimizer)
    assert CryptographicOptimizer.clip_and_accumulate is not DPOptimizer.clip_and_accumulate
    assert optimizer.loss_reduction == "mean"


def test_the_facts_are_those_of_the_clipped_gradients():
    stated, rows = plan(noise_multiplier=2.0), some_rows(60)
    start = np.zeros(size_of(stated), np.float32)
    facts = train(stated, region="us", rows=rows, start=start, stream=CryptographicStream()).facts
    _, norms = hand_clipped(stated, rows, start)
    assert facts.share_clipped == pytest.approx((norms > 0.5).mean(), abs=1e-6)
    assert facts.mean_norm == pytest.approx(norms.mean(), rel=1e-5)
    assert facts.loss == pytest.approx(2 * np.log(2), rel=1e-5)
    expected = np.minimum(norms, 0.5).sum() / (2.0 * 0.5 * np.sqrt(len(start)))
    assert facts.signal_to_noise == pytest.approx(expected, rel=1e-5)


def test_training_learns_what_the_labels_say():
    stated = plan(noise_multiplier=1.0, local_steps=30, learning_rate=20.0, clipping_norm=1.0)
    inputs = np.random.default_rng(3).normal(size=(2400, INPUTS)).astype(np.float32)
    labels = np.stack((inputs[:, 0] > 0, inputs[:, 1] < 0), axis=1).astype(np.float32)
    first, second = moved(stated, Rows(inputs, labels)).reshape(2, INPUTS + 1)
    assert first[0] > 5 * np.abs(first[1:]).max()
    assert -second[1] > 5 * np.abs(np.delete(second, 1)).max()
