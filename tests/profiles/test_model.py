"""Models travel as one vector in a fixed order and start where everyone can see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from profiles.model import ProfileModel, initial_parameters, parameters_of, set_parameters

SHAPES = st.tuples(
    st.sampled_from(["logistic", "mlp"]), st.integers(1, 6), st.integers(1, 5), st.integers(1, 4)
)


def model(kind="mlp", inputs=3, hidden=4, tasks=2):
    return ProfileModel(kind, inputs=inputs, hidden=hidden, tasks=tuple(f"t{i}" for i in range(tasks)))


@given(SHAPES, st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_parameters_survive_the_vector(shape, seed):
    one, other = model(*shape), model(*shape)
    values = np.random.default_rng(seed).normal(size=parameters_of(one).size).astype(np.float32)
    set_parameters(one, values)
    assert (parameters_of(one) == values).all()
    set_parameters(other, parameters_of(one))
    rows = torch.ones(2, shape[1])
    assert torch.equal(one(rows), other(rows))


def test_setting_parameters_copies_them():
    values = np.zeros(parameters_of(model()).size, np.float32)
    changed = model()
    set_parameters(changed, values)
    with torch.no_grad():
        next(changed.parameters()).add_(1.0)
    assert not values.any()


def test_the_order_is_trunk_then_heads_in_the_order_of_the_tasks():
    names = [name for name, _ in model().named_parameters()]
    assert names == ["trunk.0.weight", "trunk.0.bias", "heads.t0.weight", "heads.t0.bias", "heads.t1.weight",
                     "heads.t1.bias"]  # fmt: skip


@pytest.mark.parametrize("length", [3, 1000])
def test_a_vector_of_another_length_is_refused(length):
    with pytest.raises(ValueError, match="parameters"):
        set_parameters(model(), np.zeros(length, np.float32))


@given(SHAPES)
@settings(max_examples=20, deadline=None)
def test_each_task_has_one_logit(shape):
    _, inputs, _, tasks = shape
    assert model(*shape)(torch.zeros(5, inputs)).shape == (5, tasks)
    assert model(*shape)(torch.zeros(0, inputs)).shape == (0, tasks)


def test_a_logistic_model_is_one_linear_layer():
    found = model("logistic", tasks=1)
    set_parameters(found, np.array([1, 2, 3, 0.5], np.float32))
    logits = found(torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, -1.0]]))
    assert logits.tolist() == [[6.5], [-2.5]]


def test_an_mlp_has_one_tanh_layer():
    found = model("mlp", inputs=1, hidden=1, tasks=1)
    set_parameters(found, np.array([2, 1, 3, -0.5], np.float32))
    (logit,) = found(torch.tensor([[0.25]])).flatten().tolist()
    assert logit == pytest.approx(3 * np.tanh(1.5) - 0.5, rel=1e-6)


@given(SHAPES, st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_initial_values_are_public_and_start_at_even_odds(shape, seed):
    values = initial_parameters(model(*shape), seed)
    assert (values == initial_parameters(model(*shape), seed)).all()
    found = model(*shape)
    set_parameters(found, values)
    assert (found(torch.ones(3, shape[1])) == 0).all()


def test_initial_values_do_not_touch_torchs_own_random_state():
    before = torch.get_rng_state()
    found = model()
    torch.set_rng_state(before)
    initial_parameters(found, 7)
    assert torch.equal(torch.get_rng_state(), before)


def test_trunks_of_two_seeds_differ():
    assert (initial_parameters(model(), 1) != initial_parameters(model(), 2)).any()
