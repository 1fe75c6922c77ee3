"""Gates as data, and their judgement."""

from __future__ import annotations

import pytest

from profiles.quality import GATES, GateResult, judge


def test_keys_and_types_allow_nothing_by_default():
    for name in ("missing_subject", "missing_time", "future_time", "unknown_country", "money_outside"):
        assert judge(name, "t", 1, rows=1_000).allowed == 0


def test_a_manifest_may_change_a_share():
    assert judge("missing_time", "t", 3, rows=1_000, share=0.003).holds


def test_a_fixed_gate_ignores_the_manifest():
    assert not judge("repeated_subject", "t", 1, rows=1_000, share=0.5).holds


@pytest.mark.parametrize(("violations", "holds"), [(0, True), (4, True), (5, False)])
def test_a_gate_holds_up_to_what_it_allows(violations, holds):
    assert GateResult("missing_time", "t", violations, 4).holds is holds


def test_every_gate_says_what_it_counts():
    assert all(gate.name == name and gate.counts for name, gate in GATES.items())
