"""Nobody counts for more than the bound, whatever anybody's row is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from privacy.clipping import clipped_sum

NUMBERS = st.one_of(
    st.just(0.0),
    st.floats(1e-100, 1e100),
    st.floats(-1e100, -1e-100),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e200, -1e200]),
)
NORMS = st.floats(1e-6, 1e6)
TABLES = hnp.arrays(np.float64, st.tuples(st.integers(0, 6), st.integers(1, 5)), elements=NUMBERS)
SMALL = hnp.arrays(np.float64, st.tuples(st.integers(0, 6), st.just(3)), elements=st.floats(-100, 100))
ROUNDING = 1 + 1e-9


@pytest.mark.parametrize(
    ("rows", "expected", "unusable"),
    [
        (np.zeros((0, 2)), [0, 0], 0),
        ([[0.6, 0.8]], [0.6, 0.8], 0),
        ([[0.3, 0.4]], [0.3, 0.4], 0),
        ([[3.0, 4.0]], [0.6, 0.8], 0),
        ([[0.0, 0.0]], [0, 0], 0),
        ([[math.nan, 1.0]], [0, 0], 1),
        ([[0.0, -math.inf], [0.3, 0.0]], [0.3, 0], 1),
        ([[3.0, 4.0], [0.0, 0.5], [math.inf, math.nan]], [0.6, 1.3], 1),
        ([[1e200, 1e200], [0.3, 0.0]], [0.3, 0], 1),
    ],
)
def test_the_table(rows, expected, unusable):
    total = clipped_sum(np.asarray(rows), 1.0)
    assert total.values == pytest.approx(expected, rel=1e-12)
    assert (total.clipping_norm, total.unusable) == (1.0, unusable)
    assert total.values.dtype == np.float64


@given(TABLES, NORMS)
def test_no_contribution_is_above_the_bound(rows, norm):
    for row in rows:
        assert np.linalg.norm(clipped_sum(row[None], norm).values) <= norm * ROUNDING


@given(TABLES, NORMS)
def test_a_contribution_keeps_its_direction(rows, norm):
    for row in rows[(np.abs(rows) <= 1e100).all(axis=1)]:
        clipped = clipped_sum(row[None], norm).values
        length = np.linalg.norm(row)
        assert clipped == pytest.approx(row * min(1.0, norm / length if length else 1.0), rel=1e-9)


@given(SMALL, NORMS)
def test_a_contribution_within_the_bound_is_unchanged_to_the_bit(rows, norm):
    for row in rows[np.linalg.norm(rows, axis=1) <= norm]:
        assert (clipped_sum(row[None], norm).values == row).all()


@given(SMALL, st.lists(NUMBERS, min_size=3, max_size=3), NORMS)
def test_one_more_subject_moves_the_sum_by_the_bound_at_most(rows, more, norm):
    without, with_ = clipped_sum(rows, norm), clipped_sum(np.vstack((rows, more)), norm)
    assert np.linalg.norm(with_.values - without.values) <= norm * (1 + 1e-6)


@given(SMALL, NORMS)
def test_a_sum_is_the_sum_of_each_alone(rows, norm):
    alone = sum((clipped_sum(row[None], norm).values for row in rows), start=np.zeros(3))
    assert clipped_sum(rows, norm).values == pytest.approx(alone, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("norm", [4.0, 1e3, 1e300])
def test_a_row_of_zeros_is_clipped_quietly_at_any_bound(norm):
    assert (clipped_sum(np.zeros((2, 3)), norm).values == 0).all()


@given(TABLES, NORMS)
def test_rows_are_not_changed(rows, norm):
    before = rows.copy()
    clipped_sum(rows, norm)
    assert np.array_equal(before, rows, equal_nan=True)


@pytest.mark.parametrize("norm", [0.0, -1.0, math.nan, math.inf])
def test_a_bound_is_positive_and_finite(norm):
    with pytest.raises(ValueError, match="clipping_norm"):
        clipped_sum(np.zeros((1, 1)), norm)
