"""Noise written into a plan's text: nothing else of it changes."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.plan_file import with_noise
from foundation.errors import SettingsInvalid

TEXT = """# The plan of the year. noise_multiplier = 99
name = "small"   # a name

[training]       # how models learn
rounds = 3
noise_multiplier = 6.0  # calibrated
clipping_norm = 1.0

[normalisation]
noise_multiplier = 8.0

[evaluation]
# noise_multiplier = 2.0
noise_multiplier = 1.6
[budget]
epsilon   =   3.0
delta = 1e-5
"""


@given(
    training=st.floats(0.01, 1000).map(lambda noise: round(noise, 3)),
    evaluation=st.floats(0.01, 1000).map(lambda noise: round(noise, 3)),
    epsilon=st.none() | st.floats(0.01, 50).map(lambda epsilon: round(epsilon, 2)),
)
def test_only_the_figures_change(training, evaluation, epsilon):
    text = with_noise(TEXT, {"training": training, "evaluation": evaluation}, epsilon)
    before, after = tomllib.loads(TEXT), tomllib.loads(text)
    assert after["training"].pop("noise_multiplier") == pytest.approx(training, rel=1e-5)
    assert after["evaluation"].pop("noise_multiplier") == pytest.approx(evaluation, rel=1e-5)
    assert after["budget"].pop("epsilon") == pytest.approx(3.0 if epsilon is None else epsilon)
    for table, key in (
        ("training", "noise_multiplier"),
        ("evaluation", "noise_multiplier"),
        ("budget", "epsilon"),
    ):
        del before[table][key]
    assert after == before
    assert [line.partition("#")[2] for line in text.splitlines()] == [
        line.partition("#")[2] for line in TEXT.splitlines()
    ]


def test_writing_the_same_figures_twice_changes_nothing_more():
    once = with_noise(TEXT, {"training": 7.5}, 2.0)
    assert with_noise(once, {"training": 7.5}, 2.0) == once


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[training]\nrounds = 3\n",
        "training = { noise_multiplier = 6.0 }\n",
        "[other]\nnoise_multiplier = 1\n",
    ],
)
def test_a_line_that_is_not_found_is_named_with_what_to_write(text):
    with pytest.raises(SettingsInvalid, match=r"\[training\] noise_multiplier") as caught:
        with_noise(text, {"training": 7.5}, None)
    assert "7.5" in caught.value.do
