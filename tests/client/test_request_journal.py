"""The repeat rule, against a dictionary that remembers every slot."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client import request_journal
from client.request_journal import Slot
from foundation.database import metadata, open_database
from foundation.errors import RequestConflict, RequestSpent
from privacy.release import Train

SLOT = Slot("a" * 32, 1, 0, 0, "train")


@pytest.fixture
def connection():
    engine = open_database(None)
    metadata.create_all(engine)
    with engine.begin() as opened:
        yield opened
    engine.dispose()


def test_an_unused_slot_has_no_answer(connection):
    assert request_journal.repeated(connection, SLOT, "d1") is None


def test_a_sealed_slot_gives_its_bytes_to_the_identical_request_only(connection):
    request_journal.record(connection, SLOT, "d1", state="charged", charge=7)
    request_journal.seal(connection, SLOT, answer=b"sealed", regional_receipt=b"stays")
    assert request_journal.repeated(connection, SLOT, "d1") == b"sealed"
    with pytest.raises(RequestConflict):
        request_journal.repeated(connection, SLOT, "d2")


def test_an_empty_answer_is_an_answer(connection):
    request_journal.record(connection, SLOT, "d1", state="refused", answer=b"")
    assert request_journal.repeated(connection, SLOT, "d1") == b""


@pytest.mark.parametrize("lost", [False, True])
def test_a_charged_slot_without_bytes_is_refused(connection, lost):
    request_journal.record(connection, SLOT, "d1", state="charged", charge=7)
    if lost:
        assert request_journal.take_lost(connection) == [(SLOT, "d1", 7)]
    with pytest.raises(RequestSpent):
        request_journal.repeated(connection, SLOT, "d1")
    with pytest.raises(RequestConflict):
        request_journal.repeated(connection, SLOT, "d2")


def test_what_was_lost_is_told_once(connection):
    request_journal.record(connection, SLOT, "d1", state="charged", charge=7)
    assert len(request_journal.take_lost(connection)) == 1
    assert request_journal.take_lost(connection) == []


def test_sealed_and_refused_slots_are_never_lost(connection):
    other = Slot("a" * 32, 2, 0, 0, "train")
    request_journal.record(connection, SLOT, "d1", state="charged", charge=7)
    request_journal.seal(connection, SLOT, answer=b"sealed", regional_receipt=b"")
    request_journal.record(connection, other, "d2", state="refused", answer=b"no")
    assert request_journal.take_lost(connection) == []


def test_a_slot_is_run_round_step_attempt_and_kind():
    asked = Train(run="a" * 32, plan="b" * 64, round=3, step=1, attempt=2, cohort=("eu", "us"))
    assert Slot.of(asked) == Slot("a" * 32, 3, 1, 2, "train")
    assert Slot(**Slot.of(asked).fields) == Slot.of(asked)


SLOTS = st.builds(
    Slot,
    st.sampled_from(["a" * 32, "b" * 32]),
    st.integers(0, 1),
    st.just(0),
    st.integers(0, 1),
    st.sampled_from(["analyse", "train"]),
)
STEPS = st.tuples(
    SLOTS, st.sampled_from(["d1", "d2"]), st.sampled_from(["charge", "seal", "refuse", "crash"])
)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_whatever_happens_a_slot_has_one_content_and_one_answer(steps):
    engine = open_database(None)
    metadata.create_all(engine)
    known = {}
    with engine.begin() as connection:
        for slot, digest, step in steps:
            if step == "crash":
                request_journal.take_lost(connection)
            elif slot not in known:
                sealed = step == "seal"
                answer = b"no" if step == "refuse" else None
                state = "refused" if step == "refuse" else "charged"
                request_journal.record(connection, slot, digest, state=state, answer=answer)
                if sealed:
                    answer = b"sealed"
                    request_journal.seal(connection, slot, answer=answer, regional_receipt=b"")
                known[slot] = (digest, answer)
            assert outcome(connection, slot, digest) == expected(known.get(slot), digest)
    engine.dispose()


def outcome(connection, slot, digest):
    try:
        return request_journal.repeated(connection, slot, digest)
    except (RequestConflict, RequestSpent) as refusal:
        return refusal.code


def expected(kept, digest):
    if kept is None:
        return None
    if kept[0] != digest:
        return RequestConflict.code
    return RequestSpent.code if kept[1] is None else kept[1]
