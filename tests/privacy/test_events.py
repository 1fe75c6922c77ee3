"""A charge is plain, checked data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.events import Charge, merged

CHARGES = st.builds(
    Charge,
    st.sampled_from(["count", "histograms", "training", "evaluation"]),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.sampled_from([0.01, 1.0]),
    st.integers(1, 5),
)


@pytest.mark.parametrize(
    ("noise", "rate", "count"),
    [
        (0.0, 1.0, 1),
        (-1.0, 1.0, 1),
        (float("nan"), 1.0, 1),
        (float("inf"), 1.0, 1),
        (1.0, 0.0, 1),
        (1.0, 1.1, 1),
        (1.0, 1.0, 0),
        (1.0, 1.0, -1),
    ],
)
def test_a_charge_without_noise_rate_or_count_is_refused(noise, rate, count):
    with pytest.raises(ValueError, match="must be"):
        Charge("training", noise, rate, count)


@given(st.lists(CHARGES, max_size=12))
def test_merging_keeps_every_count_and_repeats_no_mechanism(charges):
    def totals(each):
        found: dict[tuple[float, float], int] = {}
        for charge in each:
            key = (charge.noise_multiplier, charge.sampling_rate)
            found[key] = found.get(key, 0) + charge.count
        return found

    result = merged(charges)
    assert totals(result) == totals(charges)
    assert len(result) == len(totals(charges))


@given(CHARGES, st.integers(1, 9))
def test_times_is_so_many_charges(charge, count):
    (one,) = merged([charge] * count)
    assert charge.times(count) == one
