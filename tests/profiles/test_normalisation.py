"""Inputs are scaled by released numbers and one's own row, never by other people's rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from profiles.normalisation import LARGEST_DEVIATIONS, apply, from_histograms, histogram_rows, value_count

MODES = ("quantile", "standard")
POSITIONS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.just(3)), elements=st.floats(0, 1, width=32)
)
COUNTS = hnp.arrays(np.float64, st.tuples(st.just(3), st.integers(4, 12)), elements=st.floats(-100, 1000))


@given(POSITIONS, st.integers(4, 256))
def test_a_row_counts_once_per_input(positions, bins):
    rows = histogram_rows(positions, bins)
    assert rows.shape == (len(positions), 3 * bins)
    assert rows.dtype == np.float32
    assert set(np.unique(rows)) <= {0, 1}
    assert (rows.reshape(len(positions), 3, bins).sum(axis=2) == 1).all()
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.sqrt(3))


@given(POSITIONS, st.integers(4, 256))
def test_a_position_is_counted_in_its_bin(positions, bins):
    places = histogram_rows(positions, bins).reshape(len(positions), 3, bins).argmax(axis=2)
    assert (places <= positions.astype(np.float64) * bins + 1e-4).all()
    assert (places + 1 >= positions.astype(np.float64) * bins - 1e-4).all()


def test_the_bounds_are_in_the_first_and_the_last_bin():
    rows = histogram_rows(np.array([[0.0], [1.0], [0.5]], np.float32), 4)
    assert rows.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]


def test_nobody_gives_no_rows():
    assert histogram_rows(np.zeros((0, 2), np.float32), 4).shape == (0, 8)


@pytest.mark.parametrize("mode", MODES)
@given(counts=COUNTS)
def test_any_noised_counts_give_a_usable_scale(mode, counts):
    values = from_histograms(mode, counts)
    assert values.dtype == np.float32
    assert values.size == value_count(mode, *counts.shape)
    assert np.isfinite(values).all()
    if mode == "quantile":
        table = values.reshape(3, -1)
        assert (np.diff(table, axis=1) >= 0).all()
        assert (table[:, 0] == 0).all()
        assert table[:, -1] == pytest.approx(1, abs=1e-6)
    else:
        means, deviations = values.reshape(3, 2).T
        assert ((means >= 0) & (means <= 1)).all()
        assert ((deviations > 0) & (deviations <= 0.5)).all()


def test_negative_counts_are_read_as_zero_and_no_counts_as_uniform():
    uniform = from_histograms("quantile", np.array([[5.0, 5.0, 5.0, 5.0]]))
    assert uniform.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert (from_histograms("quantile", np.array([[-3.0, -1.0, 0.0, -9.0]])) == uniform).all()
    assert (
        from_histograms("quantile", np.array([[-3.0, 2.0, 2.0, 0.0]]))
        == from_histograms("quantile", np.array([[0.0, 2.0, 2.0, 0.0]]))
    ).all()


@given(hnp.arrays(np.float64, (1, 5), elements=st.integers(0, 50)))
def test_standard_is_mean_and_deviation_of_the_bins_middles(counts):
    people = np.repeat((np.arange(5) + 0.5) / 5, counts[0].astype(int))
    mean, deviation = from_histograms("standard", counts)
    if len(people):
        assert mean == pytest.approx(people.mean(), abs=1e-6)
        assert deviation == pytest.approx(max(people.std(), 1e-3), abs=1e-6)


@pytest.mark.parametrize("mode", MODES)
@given(counts=COUNTS, positions=POSITIONS)
def test_inputs_are_bounded_and_rise_with_the_position(mode, counts, positions):
    result = apply(mode, from_histograms(mode, counts), np.sort(positions, axis=0))
    assert result.dtype == np.float32
    assert result.shape == positions.shape
    assert np.abs(result).max() <= (1 + 1e-6 if mode == "quantile" else LARGEST_DEVIATIONS)
    assert (np.diff(result, axis=0) >= -1e-6).all()


@pytest.mark.parametrize("mode", MODES)
@given(
    counts=COUNTS,
    positions=POSITIONS,
    more=hnp.arrays(np.float32, (1, 3), elements=st.floats(0, 1, width=32)),
)
def test_one_more_subject_leaves_every_other_row_equal_to_the_bit(mode, counts, positions, more):
    values, together = from_histograms(mode, counts), np.concatenate((positions, more))
    assert (apply(mode, values, together)[: len(positions)] == apply(mode, values, positions)).all()
    assert (histogram_rows(together, 8)[: len(positions)] == histogram_rows(positions, 8)).all()


def test_the_quantile_scale_makes_a_skewed_input_uniform():
    positions = np.random.default_rng(0).beta(0.5, 4, (20_000, 1)).astype(np.float32)
    counts = histogram_rows(positions, 64).sum(axis=0, dtype=np.float64).reshape(1, 64)
    scaled = apply("quantile", from_histograms("quantile", counts), positions)
    assert np.histogram(scaled, 4, (-1, 1))[0] / 20_000 == pytest.approx([0.25] * 4, abs=0.02)


@pytest.mark.parametrize(("mode", "count"), [("quantile", 5 * 17), ("standard", 5 * 2)])
def test_the_number_of_values_follows_from_the_plan(mode, count):
    assert value_count(mode, 5, 16) == count
