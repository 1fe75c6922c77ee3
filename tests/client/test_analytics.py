"""Histograms of inputs: one bounded row per person, added up."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from client import analytics
from client.analytics import histograms
from privacy.layout import release_norm
from profiles.normalisation import histogram_rows

POSITIONS = arrays(np.float32, st.tuples(st.integers(0, 12), st.just(2)), elements=st.floats(0, 1, width=32))


def test_the_bound_is_one_count_per_input(small):
    total = histograms(small.plan, np.zeros((3, 2), dtype=np.float32))
    assert total.clipping_norm == release_norm(small.plan, "analyse")
    assert total.values.sum() == 6


def test_nobody_is_a_vector_of_zeros_of_the_same_length(small):
    nobody = histograms(small.plan, np.zeros((0, 2), dtype=np.float32))
    assert (nobody.values == np.zeros(2 * small.plan.normalisation.bins)).all()


@settings(max_examples=60, deadline=None)
@given(positions=POSITIONS, newcomer=st.tuples(*[st.floats(0, 1, width=32)] * 2))
def test_a_newcomer_leaves_every_other_row_bit_equal(positions, newcomer):
    alone = histogram_rows(positions, 8)
    joined = histogram_rows(np.concatenate((positions, np.array([newcomer], np.float32))), 8)
    assert (joined[:-1] == alone).all()
    assert joined[-1].sum() == 2


def test_the_sum_does_not_depend_on_how_people_are_chunked(small, monkeypatch):
    positions = np.random.default_rng(1).random((10, 2)).astype(np.float32)
    whole = histograms(small.plan, positions)
    for chunk in (1, 3, 10):
        monkeypatch.setattr(analytics, "CHUNK", chunk)
        assert (histograms(small.plan, positions).values == whole.values).all()


def test_unusable_rows_are_counted_and_left_out(small, monkeypatch):
    def broken(chunk, bins):
        rows = histogram_rows(chunk, bins)
        rows[0] = np.nan
        return rows

    monkeypatch.setattr(analytics, "histogram_rows", broken)
    total = histograms(small.plan, np.zeros((4, 2), dtype=np.float32))
    assert (total.unusable, total.values.sum()) == (1, 6)
