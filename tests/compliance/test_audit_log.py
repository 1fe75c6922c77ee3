"""The log grows at its end only; what was written is proved, and what was changed is found."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text

from compliance import audit_log, merkle
from compliance.audit_log import append, head, prove, size, verify
from foundation import canonical
from foundation.database import metadata, open_database
from foundation.errors import LogBroken

TABLES = [audit_log.leaves, audit_log.nodes]
FIELDS = st.dictionaries(
    st.sampled_from(["type", "run", "charge"]), st.integers(0, 9) | st.sampled_from(["x", "y"]), min_size=1
)


def fresh(path=None):
    engine = open_database(path)
    metadata.create_all(engine, tables=TABLES)
    return engine


@pytest.fixture
def connection():
    engine = fresh()
    with engine.begin() as opened:
        yield opened
    engine.dispose()


def filled(connection, count=7, log="border"):
    for number in range(count):
        append(connection, log, {"type": "slot", "number": number})


def test_an_empty_log_has_the_empty_root(connection):
    assert head(connection, "border") == audit_log.TreeHead("border", 0, merkle.EMPTY_ROOT.hex())
    assert verify(connection, "border") == head(connection, "border")


@given(st.lists(FIELDS, max_size=12))
@settings(max_examples=40, deadline=None)
def test_every_entry_is_proved_and_verified(entries):
    engine = fresh()
    with engine.begin() as connection:
        places = [append(connection, "border", entry) for entry in entries]
        assert places == list(range(len(entries)))
        assert size(connection, "border") == len(entries)
        assert verify(connection, "border") == head(connection, "border")
        for place, entry in enumerate(entries):
            proof = prove(connection, "border", place)
            assert proof.holds
            assert proof.entry == canonical.encode(entry)
            assert json.loads(proof.entry) == entry
    engine.dispose()


def test_a_proof_of_a_changed_entry_place_or_head_does_not_hold(connection):
    filled(connection)
    proof = prove(connection, "border", 3)
    assert proof.holds
    changes = [
        {"entry": proof.entry + b" "},
        {"place": 4},
        {"path": proof.path[:-1]},
        {"path": proof.path[::-1]},
        {"head": replace(proof.head, size=4)},
        {"head": replace(proof.head, root="00" * 32)},
    ]
    assert not any(replace(proof, **change).holds for change in changes)


@pytest.mark.parametrize("place", [-1, 7])
def test_there_is_no_proof_of_an_entry_that_is_not_there(connection, place):
    filled(connection)
    with pytest.raises(IndexError):
        prove(connection, "border", place)


@pytest.mark.parametrize(
    "entry", [{"epsilon": 1.5}, {"naïve": 1}, {"type": b"x"}, {1: "x"}, {"a": [{"b": 0.0}]}]
)
def test_entries_with_floats_or_keys_beyond_ascii_are_refused_and_leave_nothing(connection, entry):
    filled(connection, 3)
    before = head(connection, "border")
    with pytest.raises(TypeError):
        append(connection, "border", entry)
    assert verify(connection, "border") == before


def test_two_logs_do_not_touch_each_other(connection):
    filled(connection, 5, "border")
    before = head(connection, "border")
    filled(connection, 3, "subject")
    assert head(connection, "border") == before == verify(connection, "border")
    assert verify(connection, "subject").size == 3
    connection.execute(text("UPDATE log_leaf SET entry = x'7b7d' WHERE log = 'subject' AND place = 1"))
    assert verify(connection, "border") == before
    with pytest.raises(LogBroken, match="subject"):
        verify(connection, "subject")


@given(place=st.integers(0, 6), byte=st.integers(0, 100), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_of_an_entry_is_found(place, byte, bit):
    engine = fresh()
    with engine.begin() as connection:
        filled(connection)
        entry = bytearray(prove(connection, "border", place).entry)
        entry[byte % len(entry)] ^= 1 << bit
        where = {"entry": bytes(entry), "place": place}
        connection.execute(text("UPDATE log_leaf SET entry = :entry WHERE place = :place"), where)
        with pytest.raises(LogBroken):
            verify(connection, "border")
    engine.dispose()


@given(node=st.sampled_from([(2, 0), (1, 2), (0, 6)]), bit=st.integers(0, 255))
@settings(max_examples=30, deadline=None)
def test_a_flipped_bit_of_a_subtree_under_the_root_is_found(node, bit):
    level, place = node
    engine = fresh()
    with engine.begin() as connection:
        filled(connection)
        where = {"level": level, "place": place}
        select = text("SELECT hash FROM log_node WHERE level = :level AND place = :place")
        stored = bytearray(connection.execute(select, where).scalar_one())
        stored[bit // 8] ^= 1 << bit % 8
        update = text("UPDATE log_node SET hash = :hash WHERE level = :level AND place = :place")
        connection.execute(update, where | {"hash": bytes(stored)})
        with pytest.raises(LogBroken):
            verify(connection, "border")
    engine.dispose()


NODES = [(level, place) for level, width in ((0, 8), (1, 4), (2, 2), (3, 1)) for place in range(width)]


@pytest.mark.parametrize("node", NODES)
def test_a_changed_node_of_any_level_is_found(connection, node):
    filled(connection, 8)
    level, place = node
    update = text("UPDATE log_node SET hash = zeroblob(32) WHERE level = :level AND place = :place")
    connection.execute(update, {"level": level, "place": place})
    with pytest.raises(LogBroken):
        verify(connection, "border")


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM log_leaf WHERE place = 0",
        "DELETE FROM log_leaf WHERE place = 6",
        "DELETE FROM log_leaf WHERE place >= 4",
        "DELETE FROM log_node WHERE level = 0 AND place = 2",
        "INSERT INTO log_node VALUES ('border', 0, 7, zeroblob(32))",
        "DELETE FROM log_leaf WHERE place = 3",
        "DELETE FROM log_node WHERE level = 2 AND place = 0",
        "UPDATE log_leaf SET place = 9 WHERE place = 6",
        "UPDATE log_leaf SET log = 'subject' WHERE place = 2",
        "INSERT INTO log_leaf VALUES ('border', 7, x'7b7d')",
        "INSERT INTO log_leaf VALUES ('border', -1, x'7b7d')",
    ],
)
def test_entries_removed_moved_or_put_in_are_found(connection, damage):
    filled(connection)
    connection.execute(text(damage))
    with pytest.raises(LogBroken):
        verify(connection, "border")


def test_entries_that_change_places_are_found(connection):
    filled(connection)
    for old, new in ((1, 99), (2, 1), (99, 2)):
        connection.execute(
            text("UPDATE log_leaf SET place = :new WHERE place = :old"), {"old": old, "new": new}
        )
    with pytest.raises(LogBroken):
        verify(connection, "border")


@pytest.mark.parametrize("statements", range(1, 6))
def test_a_crash_at_any_statement_leaves_the_log_as_it_was(tmp_path, statements):
    engine = fresh(tmp_path / "region.db")
    with engine.begin() as connection:
        filled(connection, 3)
        before = head(connection, "border")
    done = []

    def crash(*_):
        done.append(1)
        if len(done) == statements:
            raise OSError(5, "the disk is gone")

    def two_entries():
        with engine.begin() as connection:
            event.listen(connection, "before_cursor_execute", crash)
            filled(connection, 2)

    with pytest.raises(OSError, match="gone"):
        two_entries()
    engine.dispose()
    again = open_database(tmp_path / "region.db")
    with again.begin() as connection:
        assert verify(connection, "border") == before
        filled(connection, 2)
        assert verify(connection, "border").size == 5
    again.dispose()


def test_the_log_is_the_same_however_often_it_is_opened(tmp_path, connection):
    filled(connection, 6)
    for number in range(6):
        engine = fresh(tmp_path / "region.db")
        with engine.begin() as one:
            append(one, "border", {"type": "slot", "number": number})
            found = head(one, "border")
        engine.dispose()
    assert found == head(connection, "border")
