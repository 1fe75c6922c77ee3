"""The pivot of the cube, and the map to public bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.plan import NumericColumn
from profiles.catalogue import CATALOGUE, NEVER_DAYS, ORDER, WINDOWS_DAYS
from profiles.features import Cube, Units, feature_values, terms_of, to_unit_interval

DAY = 86_400
AS_OF = 20_000 * DAY


def cube(rows, subjects=1):
    """rows: (subject, ring, count, value, value_max, first, last)."""
    table = np.array(rows, dtype=np.int64).reshape(-1, 7)
    names = ("count", "value", "value_max", "first", "last")
    measures = {name: np.ascontiguousarray(table[:, 2 + place]) for place, name in enumerate(names)}
    subject, ring = np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
    return Cube(subjects, (ORDER,), subject, np.zeros(len(table), dtype=np.int64), ring, measures)


def values(names, rows, subjects=1):
    features = [CATALOGUE[name] for name in names]
    return feature_values(cube(rows, subjects), features, Units(AS_OF, 0.01))


def test_rings_add_up_to_nested_windows():
    rows = [
        (0, 0, 1, 100, 100, AS_OF - DAY, AS_OF - DAY),
        (0, 5, 2, 900, 700, AS_OF - 900 * DAY, AS_OF - 400 * DAY),
    ]
    found = values(["orders_30d", "orders_360d", "orders_all", "spend_all", "largest_order_value"], rows)
    assert found.tolist() == [[1.0, 1.0, 3.0, 10.0, 7.0]]


def test_times_are_days_before_as_of():
    rows = [(0, 5, 2, 900, 700, AS_OF - 900 * DAY, AS_OF - 400 * DAY)]
    assert values(["days_since_last_order", "tenure_days"], rows).tolist() == [[400.0, 900.0]]


def test_a_person_without_the_event_has_the_values_of_never():
    found = values(["orders_all", "days_since_last_order", "tenure_days", "mean_order_value"], [])
    assert found.tolist() == [[0.0, NEVER_DAYS, NEVER_DAYS, 0.0]]


def test_a_ratio_divides_or_takes_its_empty_value():
    rows = [(0, 5, 2, 900, 700, AS_OF - 900 * DAY, AS_OF - 400 * DAY)]
    assert values(["mean_order_value", "mean_order_value_360d"], rows).tolist() == [[4.5, 0.0]]


def test_a_term_may_look_at_last_years_season_only():
    rows = [(0, ring, 1, 100, 100, AS_OF - DAY, AS_OF - DAY) for ring in range(6)]
    assert values(["orders_360d", "orders_270d", "orders_year_ago"], rows).tolist() == [[5.0, 4.0, 1.0]]


def test_a_monthly_rate_counts_a_month_at_least():
    rows = [(0, 0, 3, 900, 700, AS_OF - 10 * DAY, AS_OF - DAY)]
    assert values(["orders_a_month", "tenure_days"], rows).tolist() == [[3.0, 10.0]]


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(1, 9), st.integers(0, 10**6)),
        max_size=12,
        unique_by=lambda row: row[:2],
    )
)
def test_longer_windows_never_hold_less(rows):
    table = [(who, ring, n, value, value, AS_OF - DAY, AS_OF - DAY) for who, ring, n, value in rows]
    names = [f"{what}_{'all' if days is None else f'{days}d'}" for what in ("orders", "spend")
             for days in WINDOWS_DAYS]  # fmt: skip
    found = values(names, table, subjects=5).reshape(5, 2, len(WINDOWS_DAYS))
    assert (np.diff(found, axis=2) >= 0).all()


def test_no_people_gives_no_rows():
    assert values(["orders_all"], [], subjects=0).shape == (0, 1)


def test_terms_are_named_once():
    features = [CATALOGUE["orders_all"], CATALOGUE["mean_order_value"], CATALOGUE["spend_all"]]
    assert len(terms_of(features)) == 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [(np.nan, 0.0), (-np.inf, 0.0), (np.inf, 1.0), (-5.0, 0.0), (500.0, 1.0), (10.0, 0.0), (110.0, 1.0)],
)
def test_values_are_clamped_to_public_bounds(value, expected):
    bounds = [NumericColumn(kind="numeric", name="x", low=10, high=110)]
    assert to_unit_interval(np.array([[value]]), bounds).tolist() == [[expected]]


def test_scales_apply_before_the_linear_map():
    bounds = [
        NumericColumn(kind="numeric", name="x", low=0, high=100),
        NumericColumn(kind="numeric", name="y", low=0, high=99, scale="log"),
    ]
    found = to_unit_interval(np.array([[25.0, 9.0]]), bounds)
    assert found == pytest.approx(np.array([[0.25, 0.5]]), abs=1e-6)
    assert found.dtype == np.float32


@given(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(["linear", "log"]))
def test_any_number_lands_in_the_unit_interval(value, scale):
    bounds = [NumericColumn(kind="numeric", name="x", low=0, high=1e6, scale=scale)]
    found = to_unit_interval(np.array([[value]]), bounds)
    assert 0.0 <= found[0, 0] <= 1.0
