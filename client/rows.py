"""Rows of an event table in one form, whatever their source: filtered, in UTC seconds and minor units.

1. Duplicate rows go if the manifest says so, then `keep` and `drop` are applied.
2. Columns take their roles; what cannot be converted becomes null and is marked, never guessed.
3. `clean` leaves out marked rows; gates count them first.

Does not know regions (`client/people.py`) and holds nothing: these are expressions for the engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import reduce
from operator import and_
from typing import Any

import ibis

from client.manifest import Condition, EventsTable, FirstValue, Manifest, RowFilter, Scalar
from client.source import Needed, Role, require_columns
from foundation.errors import TimezoneMissing
from profiles.quality import MOST_MINOR_UNITS

_DECIMALS_OF_MONEY = 6


# Builtins of the engine: ibis takes their types from the decorators.
@ibis.udf.scalar.builtin(name="timezone", signature=((str, "timestamp(6)"), "timestamp('UTC')"))
def _in_zone(zone, at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """A local time of zone as a moment; the earlier one where clocks go back."""


@ibis.udf.scalar.builtin(signature=(("timestamp('UTC')",), "int64"))
def epoch_ms(at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Milliseconds since 1970."""


@ibis.udf.scalar.builtin(signature=(("float64", "int32"), "float64"))
def round_even(number, digits):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Number rounded, halves to the even neighbour."""


def event_rows(name: str, table: EventsTable, opened: Any, manifest: Manifest) -> Any:
    """Returns one row per source row with these columns, null where they cannot be had.

    subject, event, item (the order), country (as named), place (the region rule's column): text. seconds
    (UTC), minor (money), units: int64. bad_money: truth.

    Raises:
        ColumnMissing, ColumnTypeWrong, TimezoneMissing: the table does not fit the manifest.
    """
    rule = manifest.region_rule
    place = rule.column if isinstance(rule, FirstValue) and rule.table == name else None
    require_columns(f"table {name}", opened, _needed(table, place))
    rows = filtered(opened, table)
    if table.event_names:
        rows = rows.filter(rows[str(table.event_column)].isin(list(table.event_names)))
    amount, minor = _money(rows, table, manifest.minor_digits)
    return rows.select(
        subject=rows[table.subject].cast("string"),
        event=_event(rows, table),
        item=text(rows, table.order),
        country=text(rows, table.country),
        place=text(rows, place),
        seconds=seconds(rows[table.time], manifest.timezone, f"table {name}: {table.time}"),
        minor=minor,
        units=_units(rows, table),
        bad_money=amount.notnull() & ~minor.between(0, MOST_MINOR_UNITS).fill_null(False),
    )


def clean(rows: Any) -> Any:
    """Returns the rows that can be counted: with subject, time and event, and without bad money."""
    return rows.filter(rows.subject.notnull(), rows.seconds > 0, rows.event.notnull(), ~rows.bad_money)


def filtered(opened: Any, filters: RowFilter) -> Any:
    """Returns the rows that the manifest's filters leave."""
    rows = opened.distinct() if filters.drop_duplicate_rows else opened
    keep = [_holds(rows, condition) for condition in filters.keep]
    drop = [~reduce(and_, [_holds(rows, each) for each in group]) for group in filters.drop]
    return rows.filter(*keep, *drop) if keep or drop else rows


def filter_columns(filters: RowFilter) -> Iterator[Needed]:
    """Yields the columns that the filters read."""
    for condition in (*filters.keep, *(each for group in filters.drop for each in group)):
        for role in _condition_roles(condition):
            yield Needed(condition.column, role)


def seconds(column: Any, zone: str | None, what: str) -> Any:
    """Returns a time column as int64 seconds since 1970 UTC, rounded down.

    Raises:
        TimezoneMissing: the times carry no zone and zone is None.
    """
    if column.type().is_date() or column.type().timezone is None:
        if zone is None:
            raise TimezoneMissing(what)
        column = _in_zone(zone, column.cast("timestamp(6)"))
    return (epoch_ms(column) // 1000).cast("int64")


def text(rows: Any, column: str | None) -> Any:
    """Returns column as text, or null where there is none."""
    return ibis.null("string") if column is None else rows[column].cast("string")


def _needed(table: EventsTable, place: str | None) -> list[Needed]:
    roles: list[tuple[str | None, Role]] = [
        (table.subject, "identifier"),
        (table.time, "time"),
        (table.event_column, "text"),
        (table.order, "identifier"),
        (table.value, "number"),
        (table.price, "number"),
        (table.quantity, "number"),
        (table.value_minor, "integer"),
        (table.units, "number"),
        (table.country, "text"),
        (place, "category"),
    ]
    return [Needed(column, role) for column, role in roles if column is not None] + list(
        filter_columns(table)
    )


def _event(rows: Any, table: EventsTable) -> Any:
    if table.event_column is None:
        return ibis.literal(table.event)
    named = rows[table.event_column]
    return named.cases(*table.event_names.items(), else_=None) if table.event_names else named


def _money(rows: Any, table: EventsTable, digits: int) -> tuple[Any, Any]:
    """Returns the amount as the source states it, and int64 minor units, half-even; null if unfit."""
    if table.value_minor is not None:
        minor = rows[table.value_minor].cast("int64")
        return minor, minor.abs() if table.absolute else minor
    if table.value is not None:
        amount = rows[table.value].cast("float64")
    elif table.price is not None and table.quantity is not None:
        amount = rows[table.price].cast("float64") * rows[table.quantity].cast("float64")
    else:
        return ibis.null("float64"), ibis.null("int64")
    return amount, half_even((amount.abs() if table.absolute else amount) * 10.0**digits)


def half_even(amount: Any) -> Any:
    """Returns float64 rounded to int64, halves to even; null if it does not fit.

    Binary fractions are first rounded to six decimals, so that 267.49999999999994 is the half it stands for.
    """
    return round_even(amount.round(_DECIMALS_OF_MONEY), 0).try_cast("int64")


def _units(rows: Any, table: EventsTable) -> Any:
    if table.units is None:
        return ibis.literal(0, "int64")
    units = half_even(rows[table.units].cast("float64")).fill_null(0)
    return units.abs() if table.absolute else units


def _holds(rows: Any, condition: Condition) -> Any:
    """Returns whether the condition holds, never null."""
    column = rows[condition.column]
    match next(iter(condition.model_fields_set - {"column"})), condition:
        case "equals", Condition(equals=value):
            holds = column == value
        case "not_equals", Condition(not_equals=value):
            holds = column != value
        case "among", Condition(among=values):
            holds = column.isin(values)
        case "not_among", Condition(not_among=values):
            holds = column.notin(values)
        case "starts_with", Condition(starts_with=start):
            holds = column.startswith(start)
        case "not_starts_with", Condition(not_starts_with=start):
            holds = ~column.startswith(start)
        case "at_least", Condition(at_least=value):
            holds = column >= value
        case "above", Condition(above=value):
            holds = column > value
        case ("below", Condition(below=value)) | ("before", Condition(before=value)):
            holds = column < value
        case _:
            holds = column.notnull() if condition.present else column.isnull()
    return holds.fill_null(False)


_SCALAR_ROLES: tuple[tuple[type, Role], ...] = (
    (bool, "truth"),
    (int, "number"),
    (float, "number"),
    (str, "text"),
    (date, "time"),
)


def _condition_roles(condition: Condition) -> Iterator[Role]:
    for field in condition.model_fields_set - {"column", "present"}:
        stated = getattr(condition, field)
        for value in stated if isinstance(stated, list) else [stated]:
            yield role_of(value)


def role_of(value: Scalar) -> Role:
    """Returns the role that a column must be able to play to be compared with value."""
    return next(role for kind, role in _SCALAR_ROLES if isinstance(value, kind))
