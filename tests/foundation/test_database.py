"""The engine is durable, forgets what is deleted, and lets one writer in at a time."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from foundation import database
from foundation.database import open_database


@pytest.fixture
def engine(tmp_path):
    opened = open_database(tmp_path / "region.db")
    yield opened
    opened.dispose()


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("secure_delete", 1)],
)
def test_every_connection_is_durable_and_deletes_for_good(engine, pragma, value):
    with engine.connect() as one, engine.connect() as other:
        for connection in (one, other):
            assert connection.execute(text(f"PRAGMA {pragma}")).scalar_one() == value
            connection.rollback()


def test_memory_holds_one_database_for_all_connections():
    engine = open_database(None)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))
    with engine.begin() as connection:
        assert connection.execute(text("SELECT x FROM t")).scalar_one() == 1
    engine.dispose()


def test_an_error_rolls_everything_back_even_the_making_of_a_table(engine):
    def fail():
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE t (x)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with engine.begin() as connection:
        assert not connection.execute(text("SELECT name FROM sqlite_master")).all()


def test_a_commit_is_there_after_reopening(tmp_path):
    for statement in ("CREATE TABLE t (x)", "INSERT INTO t VALUES (7)"):
        engine = open_database(tmp_path / "region.db")
        with engine.begin() as connection:
            connection.execute(text(statement))
        engine.dispose()
    engine = open_database(tmp_path / "region.db")
    with engine.begin() as connection:
        assert connection.execute(text("SELECT x FROM t")).scalar_one() == 7
    engine.dispose()


def test_a_transaction_takes_the_write_lock_when_it_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.01)
    engine = open_database(tmp_path / "region.db")
    with engine.begin(), engine.connect() as second, pytest.raises(OperationalError, match="locked"):
        second.execute(text("SELECT 1"))
    engine.dispose()
