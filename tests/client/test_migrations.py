"""Alembic makes exactly the tables that the rooms declare."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

import client.folder
import client.vault
from client.folder import _upgrade, open_folder
from foundation.database import metadata, open_database


@pytest.fixture
def engine(tmp_path):
    opened = open_database(tmp_path / "state.sqlite")
    yield opened
    opened.dispose()


def test_an_upgraded_database_differs_in_nothing_from_what_is_declared(engine):
    _upgrade(engine)
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)
        primary = {
            name: inspect(connection).get_pk_constraint(name)["constrained_columns"]
            for name in metadata.tables
        }
    assert differences == []
    assert primary == {
        name: [column.name for column in table.primary_key] for name, table in metadata.tables.items()
    }


def test_nullable_columns_are_those_that_are_declared(engine):
    _upgrade(engine)
    for name, table in metadata.tables.items():
        made = {column["name"]: column["nullable"] for column in inspect(engine).get_columns(name)}
        assert made == {column.name: column.nullable for column in table.columns}, name


def test_upgrading_twice_changes_nothing(engine):
    _upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO folder_fact VALUES ('kept', 'yes')")
    _upgrade(engine)
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT value FROM folder_fact").scalar_one() == "yes"


def test_there_is_one_line_of_migrations(eu_folder):
    scripts = ScriptDirectory(Path(client.folder.__file__).parent / "migrations")
    assert len(scripts.get_heads()) == 1
    with open_folder(eu_folder) as folder, folder.engine.begin() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == scripts.get_current_head()
