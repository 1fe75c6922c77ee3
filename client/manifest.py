"""The manifest: a region's tables, their columns' roles, its people, and its lawful bases. TOML, no code.

Every fault of the file is told at once. Holds no rows and opens nothing (`client/source.py` does); what a
plan asks is not here (`privacy/plan.py`), nor what a region accepts (`client/settings.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from compliance.consent import BasisKind, LawfulBasis
from foundation.toml_file import Settings, load
from privacy.plan import Currency, Slug, WholeDays
from profiles.quality import GATES
from profiles.schema import COUNTRY_CODES

DATA_VARIABLE = "FEDPROFILE_DATA"
"""The one variable that a source's path may name, as ${FEDPROFILE_DATA}."""

PEOPLE = "people"
"""The name under which gates over the region's people are told and set."""

Scalar = bool | int | float | str | datetime | date
Column = Annotated[str, Field(min_length=1)]


def _country(code: str) -> str:
    if code not in COUNTRY_CODES:
        raise ValueError("is no ISO 3166 alpha-2 code")
    return code


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("is no IANA time zone")
    return name


def _path(path: str) -> str:
    if "${" in path.replace(f"${{{DATA_VARIABLE}}}", ""):
        raise ValueError(f"may name ${{{DATA_VARIABLE}}} only")
    return path


def _gates(shares: dict[str, float]) -> dict[str, float]:
    unknown = [name for name in shares if name not in GATES]
    fixed = [name for name in shares if name in GATES and GATES[name].fixed]
    if unknown or fixed:
        told = [f"unknown gates: {', '.join(unknown)}"] if unknown else []
        told += [f"not for a manifest to change: {', '.join(fixed)}"] if fixed else []
        raise ValueError("; ".join(told))
    return shares


CountryCode = Annotated[str, AfterValidator(_country)]
SourcePath = Annotated[str, AfterValidator(_path)]


class CsvSource(Settings):
    """A CSV file with a header line. Identifiers and names are text; times are ISO 8601, read row by row."""

    kind: Literal["csv"]
    path: SourcePath
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","


class ParquetSource(Settings):
    """A parquet file."""

    kind: Literal["parquet"]
    path: SourcePath


class DuckdbSource(Settings):
    """One table or view of a DuckDB file, opened read-only."""

    kind: Literal["duckdb"]
    path: SourcePath
    table: Column


Source = Annotated[CsvSource | ParquetSource | DuckdbSource, Field(discriminator="kind")]


class Condition(Settings):
    """One test of one column. On a missing value nothing holds but `present = false`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    column: Column
    equals: Scalar | None = None
    not_equals: Scalar | None = None
    among: Annotated[list[Scalar] | None, Field(alias="in")] = None
    not_among: Annotated[list[Scalar] | None, Field(alias="not_in")] = None
    starts_with: str | None = None
    not_starts_with: str | None = None
    at_least: Scalar | None = None
    above: Scalar | None = None
    below: Scalar | None = None
    before: datetime | date | None = None
    present: bool | None = None

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        if len(self.model_fields_set - {"column"}) != 1:
            raise ValueError("state exactly one test beside the column")
        return self


class RowFilter(Settings):
    """Rows stay where every `keep` condition holds and no `drop` group holds in all its conditions."""

    keep: list[Condition] = []
    drop: list[Annotated[list[Condition], Field(min_length=1)]] = []
    drop_duplicate_rows: bool = False


class EventsTable(RowFilter):
    """Rows are events, or lines of events that share (subject, `order`) and become one event.

    An event's name is `event`, or the value of `event_column`, translated by `event_names` where given
    (names not in it are left out). Money is `value`, or `price` times `quantity`, in the manifest's
    currency, or `value_minor` in whole minor units. `absolute` drops the sign of money and units.
    """

    shape: Literal["events"]
    source: str
    subject: Column
    time: Column
    event: str | None = None
    event_column: Column | None = None
    event_names: dict[str, str] = {}
    order: Column | None = None
    value: Column | None = None
    price: Column | None = None
    quantity: Column | None = None
    value_minor: Column | None = None
    units: Column | None = None
    absolute: bool = False
    country: Column | None = None

    @model_validator(mode="after")
    def _roles(self) -> Self:
        faults = []
        if (self.event is None) == (self.event_column is None):
            faults.append("state either event or event_column")
        if self.event_names and self.event_column is None:
            faults.append("event_names needs event_column")
        if (self.price is None) != (self.quantity is None):
            faults.append("price and quantity go together")
        if sum(column is not None for column in (self.value, self.price, self.value_minor)) > 1:
            faults.append("state one of value, price times quantity, value_minor")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class SubjectsTable(RowFilter):
    """One row per data subject; features and labels are read as the plan names them.

    `subject_from_row` numbers the rows of a source without an identifier. `group` columns are for fairness.
    """

    shape: Literal["subjects"]
    source: str
    subject: Column | None = None
    subject_from_row: bool = False
    country: Column | None = None
    group: list[Column] = []

    @model_validator(mode="after")
    def _subject(self) -> Self:
        if (self.subject is None) != self.subject_from_row:
            raise ValueError("state either subject or subject_from_row = true")
        if self.subject_from_row and self.drop_duplicate_rows:
            raise ValueError("rows without an identifier have no duplicates to drop")
        return self


Table = Annotated[EventsTable | SubjectsTable, Field(discriminator="shape")]


class FirstValue(Settings):
    """A person belongs here if `column` of their first row in `table` (by time, then order) is listed."""

    by: Literal["first_value"]
    table: str
    column: Column
    values: Annotated[list[str | int], Field(min_length=1)]


class ColumnValue(Settings):
    """A row of the subject table belongs here if `column` is listed."""

    by: Literal["column"]
    column: Column
    values: Annotated[list[str | int], Field(min_length=1)]


class HashPart(Settings):
    """A person belongs here if the first 28 bits of SHA-256 of the subject id, modulo `parts`, are `part`."""

    by: Literal["hash"]
    parts: Annotated[int, Field(ge=2, le=1000)]
    part: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.part >= self.parts:
            raise ValueError("part counts from 0 to parts - 1")
        return self


class Everyone(Settings):
    """Everyone in the tables belongs here."""

    by: Literal["all"] = "all"


RegionRule = Annotated[FirstValue | ColumnValue | HashPart | Everyone, Field(discriminator="by")]


class Basis(Settings):
    """The lawful basis of one purpose; consent needs records, any other basis a reference.

    Columns name the records' table; records of another basis are objections.
    """

    kind: BasisKind
    reference: Annotated[str, Field(min_length=1)] | None = None
    source: str | None = None
    subject: Column = "subject_id"
    purpose: Column = "purpose"
    state: Column = "state"
    time: Column = "ts"
    expires: Column | None = None

    @model_validator(mode="after")
    def _grounded(self) -> Self:
        if self.kind == "consent" and self.source is None:
            raise ValueError("consent needs a source of consent records")
        if self.kind != "consent" and self.reference is None:
            raise ValueError("a basis other than consent needs a reference to its assessment")
        return self


class TableGates(Settings):
    """Shares of rows that gates of one table may allow, and how old its newest row may be."""

    allowed_shares: Annotated[dict[str, Annotated[float, Field(ge=0, lt=1)]], AfterValidator(_gates)] = {}
    freshness_days: WholeDays | None = None


class Manifest(Settings):
    """A whole manifest."""

    region: Slug
    controllers: Annotated[list[Slug], Field(min_length=1, max_length=1)]
    countries: list[CountryCode] = []
    storage_country: CountryCode
    data: Literal["public", "synthetic", "personal"]
    owned: bool = False
    timezone: Annotated[str, AfterValidator(_zone)] | None = None
    currency: Currency | None = None
    minor_digits: Annotated[int, Field(ge=0, le=4)] = 2
    country_codes: dict[str, CountryCode] = {}
    sources: Annotated[dict[Slug, Source], Field(min_length=1)]
    tables: Annotated[dict[Slug, Table], Field(min_length=1)]
    region_rule: RegionRule = Everyone()
    lawful_basis: dict[Slug, Basis] = {}
    gates: dict[Slug, TableGates] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = [*self._dangling(), *self._misplaced_rule()]
        if len(self.subject_tables) > 1:
            faults.append("a manifest has one subject table at most")
        if self.data == "personal" and any(table.subject_from_row for table in self.subject_tables.values()):
            faults.append("personal rows need an identifier: numbered rows move when one comes or goes")
        if self.currency is None and any(_has_money(table) for table in self.event_tables.values()):
            faults.append("currency is needed where a table has money")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def event_tables(self) -> dict[str, EventsTable]:
        """The event tables by name."""
        return {name: table for name, table in self.tables.items() if isinstance(table, EventsTable)}

    @property
    def subject_tables(self) -> dict[str, SubjectsTable]:
        """The subject table by name; at most one."""
        return {name: table for name, table in self.tables.items() if isinstance(table, SubjectsTable)}

    def basis(self, purpose: str) -> LawfulBasis | None:
        """Returns the lawful basis of purpose, None where none is recorded."""
        basis = self.lawful_basis.get(purpose)
        return None if basis is None else LawfulBasis(purpose, basis.kind, basis.reference)

    def country_code(self, name: str) -> str | None:
        """Returns the ISO code of a country as the source names it, None where it has none."""
        return self.country_codes.get(name, name if name in COUNTRY_CODES else None)

    def _dangling(self) -> Iterator[str]:
        for name, table in self.tables.items():
            if table.source not in self.sources:
                yield f"table {name} names a source that is not in [sources]"
        for purpose, basis in self.lawful_basis.items():
            if basis.source is not None and basis.source not in self.sources:
                yield f"the lawful basis of {purpose} names a source that is not in [sources]"
        for name in self.gates:
            if name not in self.tables and name != PEOPLE:
                yield f"gates are stated for {name}, which is no table"

    def _misplaced_rule(self) -> Iterator[str]:
        rule = self.region_rule
        if isinstance(rule, FirstValue) and rule.table not in self.event_tables:
            yield "region_rule first_value needs an event table"
        if isinstance(rule, FirstValue) and self.subject_tables:
            yield "region_rule first_value cannot place the rows of a subject table"
        if isinstance(rule, ColumnValue) and (self.event_tables or not self.subject_tables):
            yield "region_rule column is for a subject table alone"


def read_manifest(path: Path) -> Manifest:
    """Returns the manifest in a TOML file.

    Raises:
        SourceMissing, SettingsInvalid: see `foundation.toml_file.load`.
    """
    return load(path, Manifest)


def _has_money(table: EventsTable) -> bool:
    return any(column is not None for column in (table.value, table.price, table.value_minor))
