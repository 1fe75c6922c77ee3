"""Sums of words are exact, wrap as a mask needs, and come back within half a step."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from privacy.fixed_point import Grid, add, from_words, to_words

GRIDS = st.builds(Grid, st.floats(1e-6, 1e3), st.sampled_from([32, 64]), st.integers(1, 1000))
VALUES = hnp.arrays(np.float64, st.integers(1, 6), elements=st.floats(-1e6, 1e6))
ANY = hnp.arrays(np.float64, st.integers(1, 6), elements=st.floats(allow_nan=False, allow_infinity=False))


def signed(words, grid):
    """Returns words as Python integers in two's complement."""
    half = 1 << (grid.word_bits - 1)
    return [int(word) - 2 * half if int(word) >= half else int(word) for word in words]


@given(VALUES, GRIDS)
def test_a_value_comes_back_within_half_a_step(values, grid):
    inside = np.clip(values, -0.99 * grid.largest * grid.step, 0.99 * grid.largest * grid.step)
    back = from_words(to_words(inside, grid), grid)
    slack = np.abs(inside) * 1e-9
    assert (np.abs(back - inside) <= grid.step / 2 * (1 + 1e-9) + slack).all()


@given(ANY, GRIDS)
def test_no_integer_is_larger_than_the_cohort_can_add(values, grid):
    assert all(abs(each) <= grid.largest for each in signed(to_words(values, grid), grid))
    assert grid.largest * grid.regions <= (1 << (grid.word_bits - 1)) - 1


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("regions", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_full_cohort_at_the_clamp_does_not_wrap(bits, regions, sign):
    grid = Grid(1.0, bits, regions)
    vectors = [to_words(np.array([sign * 1e30]), grid)] * regions
    (total,) = signed(add(vectors, grid), grid)
    assert total == sum(signed(vector, grid)[0] for vector in vectors)
    assert abs(total) == pytest.approx(2.0 ** (bits - 1), rel=1e-5)


@given(st.data(), GRIDS)
def test_sums_are_exact_for_any_cohort(data, grid):
    cohort = data.draw(st.integers(1, min(grid.regions, 8)))
    vectors = [to_words(data.draw(hnp.arrays(np.float64, 3, elements=st.floats(-1e250, 1e250))), grid)
               for _ in range(cohort)]  # fmt: skip
    expected = [sum(column) for column in zip(*(signed(each, grid) for each in vectors), strict=True)]
    assert signed(add(vectors, grid), grid) == expected


@given(st.data(), GRIDS)
def test_masks_that_cancel_change_nothing(data, grid):
    if grid.regions < 2:
        grid = Grid(grid.step, grid.word_bits, 2)
    one, other = (
        to_words(data.draw(hnp.arrays(np.float64, 4, elements=st.floats(-1e6, 1e6))), grid) for _ in "ab"
    )
    mask = np.frombuffer(data.draw(st.binary(min_size=32, max_size=32)), dtype=grid.unsigned)[:4]
    assert (add([one + mask, other - mask], grid) == add([one, other], grid)).all()


@given(VALUES, GRIDS)
def test_words_are_little_endian_on_the_wire(values, grid):
    words = to_words(values, grid)
    assert words.dtype.str == f"<u{grid.word_bits // 8}"
    read = np.frombuffer(words.tobytes(), dtype=grid.unsigned)
    assert (from_words(read, grid) == from_words(words, grid)).all()


def test_golden_words():
    values = np.array([0.0, 1.0, -1.0, 0.75, 1e9, -1e9])
    told = "0000000002000000feffffff02000000aaaaaa2a565555d5"
    assert to_words(values, Grid(0.5, 32, 3)).tobytes().hex() == told


@pytest.mark.parametrize("sign", [1, -1])
def test_a_value_that_overflows_on_the_grid_is_clamped(sign):
    grid = Grid(1e-10, 64, 3)
    (word,) = signed(to_words(np.array([sign * 1e300]), grid), grid)
    assert word == pytest.approx(sign * grid.largest, rel=1e-12)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="finite"):
        to_words(np.array([0.0, value]), Grid(1.0, 64, 3))


@pytest.mark.parametrize("count", [0, 4])
def test_more_vectors_than_the_grid_was_made_for_are_refused(count):
    grid = Grid(1.0, 64, 3)
    with pytest.raises(ValueError, match="1 to 3 vectors"):
        add([to_words(np.zeros(2), grid)] * count, grid)


@pytest.mark.parametrize(("step", "regions"), [(0.0, 3), (-1.0, 3), (math.nan, 3), (math.inf, 3), (1.0, 0)])
def test_a_grid_has_a_step_and_regions(step, regions):
    with pytest.raises(ValueError, match="must be > 0"):
        Grid(step, 64, regions)
