"""A check names the field and refuses what is not finite."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation import require

CHECKS = [
    (require.positive, lambda value: value > 0),
    (require.non_negative, lambda value: value >= 0),
    (require.probability, lambda value: 0 < value <= 1),
]


@pytest.mark.parametrize(("check", "holds"), CHECKS)
@given(value=st.floats() | st.integers(-3, 3))
def test_exactly_the_values_of_the_rule_pass(check, holds, value):
    if math.isfinite(value) and holds(value):
        check(field=value)
    else:
        with pytest.raises(ValueError, match=r"^field must be "):
            check(field=value)


def test_the_message_names_the_field_and_the_rule():
    with pytest.raises(ValueError, match=r"^clipping_norm must be > 0, got -1\.0$"):
        require.positive(noise=1.0, clipping_norm=-1.0)
