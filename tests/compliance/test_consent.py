"""Who may be processed."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.consent import PERMITTING, ConsentRecord, ConsentState, LawfulBasis, permitted
from foundation.errors import NoLawfulBasis

NOW = datetime(2024, 6, 1, tzinfo=UTC)
CONSENT = LawfulBasis("retention", "consent")
INTERESTS = LawfulBasis("retention", "legitimate_interests", "LIA-1")
BEFORE = [NOW - timedelta(days=days) for days in (30, 20, 10)]


def allowed(basis, *records, erased=frozenset()):
    return bool(permitted(np.array(["ann"]), basis, records, NOW, erased)[0])


def record(state, at=BEFORE[0], expires=None):
    return ConsentRecord("ann", ConsentState(state), at, expires)


@pytest.mark.parametrize("state", list(ConsentState))
def test_only_given_and_renewed_permit_where_consent_is_the_basis(state):
    assert allowed(CONSENT, record(state)) is (state in PERMITTING)


def test_no_record_is_no_consent():
    assert not allowed(CONSENT)


def test_withdrawn_consent_removes_the_subject():
    assert not allowed(CONSENT, record("given"), record("withdrawn", BEFORE[1]))


def test_consent_given_again_counts_again():
    history = record("given"), record("withdrawn", BEFORE[1]), record("given", BEFORE[2])
    assert allowed(CONSENT, *history)
    assert allowed(CONSENT, *reversed(history))


def test_a_record_after_as_of_changes_nothing():
    later = NOW + timedelta(seconds=1)
    assert allowed(CONSENT, record("given"), record("withdrawn", later))
    assert not allowed(CONSENT, record("given", later))


@pytest.mark.parametrize(("expires", "holds"), [(NOW, False), (NOW + timedelta(seconds=1), True)])
def test_consent_expires_at_read(expires, holds):
    assert allowed(CONSENT, record("given", expires=expires)) is holds


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_records_of_one_moment_the_refusal_decides(order):
    records = [record("given"), record("refused")][::order]
    assert not allowed(CONSENT, *records)


def test_other_bases_permit_without_records():
    assert allowed(INTERESTS)
    assert allowed(INTERESTS, record("requested"), record("deferred", BEFORE[1]))


@pytest.mark.parametrize("state", ["objected", "opted_out", "withdrawn"])
def test_an_objection_stops_any_basis_until_consent_is_given(state):
    assert not allowed(INTERESTS, record(state))
    assert not allowed(INTERESTS, record(state), record("requested", BEFORE[1]))
    assert allowed(INTERESTS, record(state), record("given", BEFORE[1]))


@pytest.mark.parametrize("basis", [CONSENT, INTERESTS])
def test_the_erased_are_out(basis):
    assert not allowed(basis, record("given"), erased=frozenset({"ann"}))


def test_no_basis_permits_nobody():
    with pytest.raises(NoLawfulBasis):
        permitted(np.array(["ann"]), None, (), NOW)


@given(
    st.lists(st.sampled_from(list(ConsentState)), max_size=5), st.lists(st.sampled_from(list(ConsentState)))
)
def test_a_person_is_judged_by_their_own_records_only(own, other):
    def records(subject, states):
        return [ConsentRecord(subject, state, NOW - timedelta(days=90 - n)) for n, state in enumerate(states)]

    for basis in (CONSENT, INTERESTS):
        alone = permitted(np.array(["ann"]), basis, records("ann", own), NOW)
        both = [*records("ann", own), *records("bob", other)]
        assert permitted(np.array(["ann", "bob"]), basis, both, NOW)[0] == alone[0]


def test_consent_loads_no_training_stack():
    code = (
        "import sys, compliance.consent; print({'torch','opacus','flwr','ibis','duckdb'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
