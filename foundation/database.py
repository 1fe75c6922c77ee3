"""The database engine of a region or of the centre: SQLite by default, one shared catalogue of tables.

Each room declares its tables on `metadata`; Alembic (client/migrations) makes and changes them. A commit is
durable (WAL, synchronous=FULL). Does not hide SQL: rooms write their own statements.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, MetaData, create_engine, event
from sqlalchemy.pool import StaticPool

from foundation.files import PRIVATE_FILE

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

BUSY_SECONDS = 10


def open_database(path: Path | None) -> Engine:
    """Returns an engine on the SQLite file at path (0600), or on memory where path is None."""
    if path is None:
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        path.touch(mode=PRIVATE_FILE)
        engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _durable)
    event.listen(engine, "begin", _begin_at_once)
    return engine


def _durable(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling starts late and commits at DDL; ours is explicit.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_at_once(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
