"""Equal values give equal bytes, and what has no canonical form is refused."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation import canonical

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "canonical.json").read_text(encoding="utf-8"))
KEYS = st.text(st.characters(max_codepoint=127), max_size=8)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
SAFE_INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | SAFE_INTEGERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_bytes_read_back_to_the_value(value):
    assert json.loads(canonical.encode(value)) == value


@given(st.dictionaries(KEYS, VALUES, max_size=6), st.randoms())
def test_the_order_of_keys_changes_nothing(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert canonical.encode(dict(items)) == canonical.encode(value)


@given(VALUES, VALUES)
def test_other_values_have_other_bytes(one, other):
    same = canonical.encode(one) == canonical.encode(other)
    assert same == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))


@given(VALUES)
def test_an_independent_implementation_of_rfc_8785_agrees(value):
    rfc8785 = pytest.importorskip("rfc8785")
    assert canonical.encode(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_golden_bytes(case):
    content = bytes.fromhex(case["bytes"])
    assert canonical.encode(case["value"]) == content
    assert canonical.digest(case["value"]) == case["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "value",
    [
        1.0, [1.5], {"a": float("nan")}, {"é": 1}, {1: 1}, {"a": {"ß": 1}}, b"x", {1, 2}, date(2024, 1, 1),
        2**53, -(2**53), 2**64, "\ud800",
    ],
    ids=ascii,
)  # fmt: skip
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(TypeError):
        canonical.encode(value)


def test_the_refusal_quotes_nothing():
    with pytest.raises(TypeError) as refusal:
        canonical.encode({"note": ["alice@example.org", 4.25]})
    assert "alice" not in str(refusal.value)
    assert "4.25" not in str(refusal.value)


def test_a_tuple_is_a_list():
    assert canonical.encode((1, (2,))) == canonical.encode([1, [2]])


@given(st.floats(allow_nan=False))
def test_decimals_keep_a_float_to_the_last_bit(number):
    (text,) = canonical.decimals([number])
    assert isinstance(text, str)
    assert float(text) == number


def test_decimals_write_a_numpy_float_as_its_value():
    assert canonical.decimals([np.float64(1.5)]) == ["1.5"]


def test_decimals_write_dates_as_iso_8601_and_keep_the_rest():
    value = {
        "day": date(2024, 2, 29),
        "at": datetime(2024, 1, 1, tzinfo=UTC),
        "n": 3,
        "yes": True,
        "no": None,
    }
    assert canonical.decimals(value) == {
        "day": "2024-02-29",
        "at": "2024-01-01T00:00:00+00:00",
        "n": 3,
        "yes": True,
        "no": None,
    }


def test_decimals_refuse_what_they_do_not_know():
    with pytest.raises(TypeError):
        canonical.decimals({"a": b"bytes"})
