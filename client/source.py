"""Opens a manifest's sources in one in-memory DuckDB and checks that columns can play their roles.

Does not filter or name rows (`client/rows.py`). The engine's own messages quote values, so none is ever
passed on: a source that cannot be read says so, and no more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import duckdb
import ibis
from ibis.common.exceptions import TableNotFound

from client.manifest import (
    DATA_VARIABLE,
    ColumnValue,
    CsvSource,
    DuckdbSource,
    EventsTable,
    FirstValue,
    Manifest,
    ParquetSource,
    Source,
)
from foundation.errors import (
    ColumnMissing,
    ColumnTypeWrong,
    FedprofileError,
    SourceMissing,
    SourceUnreadable,
)

DEFAULT_DATA = Path("../shared/data")
REPOSITORY = Path(__file__).resolve().parent.parent

Role = Literal["identifier", "time", "number", "integer", "text", "truth", "category"]

ROLES: dict[Role, Callable[[Any], bool]] = {
    "identifier": lambda kind: kind.is_integer() or kind.is_string() or kind.is_uuid(),
    "time": lambda kind: kind.is_timestamp() or kind.is_date(),
    "number": lambda kind: kind.is_numeric() or kind.is_boolean(),
    "integer": lambda kind: kind.is_integer(),
    "text": lambda kind: kind.is_string(),
    "truth": lambda kind: kind.is_boolean(),
    "category": lambda kind: kind.is_string() or kind.is_integer() or kind.is_boolean(),
}


Version = tuple[tuple[int, int, int, int], ...]
"""Inode, size and times of change (ns) of a source's files."""


@dataclass(frozen=True, slots=True)
class Needed:
    """A column that something needs, and the role that it must be able to play."""

    column: str
    role: Role


@dataclass(frozen=True, slots=True)
class ColumnRoles:
    """Columns of a source that are read as text (identifiers, names), and as times, row by row."""

    texts: frozenset[str] = frozenset()
    times: frozenset[str] = frozenset()


def roles_of(manifest: Manifest, source: str) -> ColumnRoles:
    """Returns the roles that the manifest gives to columns of a source."""
    texts: set[str | None] = set()
    times: set[str | None] = set()
    for table in manifest.tables.values():
        if table.source != source:
            continue
        texts |= {table.subject, table.country}
        if isinstance(table, EventsTable):
            texts |= {table.order, table.event_column}
            times |= {table.time}
        if isinstance(manifest.region_rule, FirstValue | ColumnValue):
            texts |= {manifest.region_rule.column}
    for basis in manifest.lawful_basis.values():
        if basis.source == source:
            texts |= {basis.subject, basis.purpose, basis.state}
            times |= {basis.time, basis.expires}
    return ColumnRoles(_named(texts), _named(times))


def _named(columns: set[str | None]) -> frozenset[str]:
    return frozenset(column for column in columns if column is not None)


Kind = TypeVar("Kind", bound=Source)


@dataclass(frozen=True, slots=True)
class Opened(Generic[Kind]):
    """A source about to be opened: its name in the manifest, its file, and its columns' roles."""

    name: str
    source: Kind
    path: Path
    roles: ColumnRoles


def connect() -> Any:
    """Returns an Ibis connection to an empty in-memory DuckDB: times in UTC, nothing spilled to disk."""
    return ibis.duckdb.connect(temp_directory="")


def data_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Returns the folder that ${FEDPROFILE_DATA} stands for."""
    if stated := environment.get(DATA_VARIABLE):
        return Path(stated)
    return DEFAULT_DATA if DEFAULT_DATA.is_dir() else REPOSITORY / DEFAULT_DATA


def path_of(source: Source, base: Path) -> Path:
    """Returns the source's path; a relative one starts at base, the manifest's folder."""
    return base / source.path.replace(f"${{{DATA_VARIABLE}}}", str(data_folder().absolute()))


def version_of(path: Path) -> Version:
    """Returns a version of the file, and of its write-ahead log, that any write changes.

    Raises:
        SourceMissing: there is no such file.
    """
    try:
        stats = [
            path.stat(),
            *(each.stat() for each in [path.with_name(f"{path.name}.wal")] if each.exists()),
        ]
    except OSError:
        raise SourceMissing(f"the file {path}") from None
    return tuple((each.st_ino, each.st_size, each.st_mtime_ns, each.st_ctime_ns) for each in stats)


def open_source(connection: Any, name: str, source: Source, base: Path, roles: ColumnRoles) -> Any:
    """Returns the source as an Ibis table of connection; opening again sees the file as it is now.

    Raises:
        SourceMissing, SourceUnreadable: the file is not there; it is cut or of another kind.
    """
    path = path_of(source, base)
    if not path.is_file():
        raise SourceMissing(f"the file of source {name}, {path},")
    with reading(f"source {name}"):
        return OPENERS[source.kind](connection, Opened(name, source, path, roles))


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turns the engine's errors into SourceUnreadable without their text, which may quote rows."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise MemoryError(f"not enough memory to read {what}") from None
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):
        raise FedprofileError(f"the engine refused a query on {what}") from None
    except duckdb.Error:
        raise SourceUnreadable(what) from None


def materialise(connection: Any, name: str, rows: Any) -> Any:
    """Returns rows computed once and kept in connection's memory under name, in place of what was there."""
    forget(connection, name)
    return connection.create_table(name, rows)


def forget(connection: Any, name: str) -> None:
    """Frees what `materialise` kept under name, if anything."""
    connection.raw_sql(f'DROP TABLE IF EXISTS "{name}"')


def require_columns(what: str, table: Any, needed: Iterable[Needed]) -> None:
    """Checks that table has the needed columns, of types that can play their roles.

    Raises:
        ColumnMissing, ColumnTypeWrong: all such columns at once.
    """
    schema = table.schema()
    needed = list(dict.fromkeys(needed))
    missing = dict.fromkeys(each.column for each in needed if each.column not in schema)
    if missing:
        raise ColumnMissing(f"{what}: {', '.join(missing)}")
    wrong = [
        f"{each.column} ({schema[each.column]}) as {each.role}"
        for each in needed
        if not ROLES[each.role](schema[each.column])
    ]
    if wrong:
        raise ColumnTypeWrong(f"{what}: {', '.join(wrong)}")


def _open_csv(connection: Any, opened: Opened[CsvSource]) -> Any:
    """Reads identifiers and names as text and times row by row.

    A guess over the whole column would let one person's row change how everybody else's is read.
    """

    def read(**types: Any) -> Any:
        return connection.read_csv(
            str(opened.path), header=True, delim=opened.source.delimiter, quote='"', escape='"',
            strict_mode=True, sample_size=-1, dateformat="%Y-%m-%d", **types,
        )  # fmt: skip

    there = set(read(all_varchar=True).columns)
    times = opened.roles.times & there
    texts = (opened.roles.texts & there) | times
    rows = read(types=dict.fromkeys(sorted(texts), "VARCHAR")) if texts else read()
    return rows.mutate(**{column: rows[column].try_cast("timestamp") for column in sorted(times)})


def _open_parquet(connection: Any, opened: Opened[ParquetSource]) -> Any:
    return connection.read_parquet(str(opened.path))


def _open_duckdb(connection: Any, opened: Opened[DuckdbSource]) -> Any:
    catalog = f"source_{opened.name}"
    connection.raw_sql(f'DETACH DATABASE IF EXISTS "{catalog}"')
    connection.attach(opened.path, name=catalog, read_only=True)
    try:
        return connection.table(opened.source.table, database=(catalog, "main"))
    except TableNotFound:
        raise SourceMissing(f"table {opened.source.table} of {opened.path}") from None


OPENERS: dict[str, Callable[[Any, Any], Any]] = {
    "csv": _open_csv,
    "parquet": _open_parquet,
    "duckdb": _open_duckdb,
}
"""How each kind of source becomes an Ibis table; a new kind needs a model in the manifest and a row here."""
