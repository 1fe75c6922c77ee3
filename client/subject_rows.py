"""Rows of a subject table as numbers: features, categories and labels as the plan names its columns.

One row per data subject; the region's rule and the manifest's filters are applied. Does not clamp or scale
(`profiles/features.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ibis

from client.manifest import ColumnValue, Manifest, SubjectsTable
from client.people import belongs
from client.rows import filter_columns, filtered, role_of, text
from client.source import Needed, require_columns
from privacy.plan import CategoryColumn, ColumnIs, NumericColumn, Plan

_ROW_DIGITS = 12


def subject_rows(name: str, table: SubjectsTable, opened: Any, manifest: Manifest, plan: Plan) -> Any:
    """Returns (subject, country as named, number_i, category_i, label_i) of the region's rows.

    number_i is float64 (null where missing), category_i and label_i are truth, in the order of the plan.

    Raises:
        ColumnMissing, ColumnTypeWrong: the table does not fit the manifest or the plan.
    """
    rule = manifest.region_rule
    place = rule.column if isinstance(rule, ColumnValue) else None
    require_columns(f"table {name}", opened, _needed(table, place, plan))
    numbered = opened.mutate(**{_ROW: ibis.row_number()}) if table.subject is None else opened
    rows = filtered(numbered, table)
    shaped = rows.select(
        subject=_subject(rows, table),
        place=text(rows, place),
        country=text(rows, table.country),
        **_numbers(rows, plan),
        **_truths(rows, plan),
    )
    return shaped.filter(belongs(shaped, rule)).drop("place")


def numeric_columns(plan: Plan) -> list[NumericColumn]:
    """Returns the plan's numeric columns in order."""
    return [column for column in plan.inputs.columns if isinstance(column, NumericColumn)]


def categories(plan: Plan) -> list[tuple[CategoryColumn, bool | int | str]]:
    """Returns every (column, value) that becomes a 0/1 input, in order."""
    return [
        (column, value)
        for column in plan.inputs.columns
        if isinstance(column, CategoryColumn)
        for value in column.values
    ]


def column_tasks(plan: Plan) -> list[ColumnIs]:
    """Returns the plan's tasks over columns, in order."""
    return [task for task in plan.tasks.values() if isinstance(task, ColumnIs)]


_ROW = "fedprofile_row"


def _subject(rows: Any, table: SubjectsTable) -> Any:
    if table.subject is None:
        return rows[_ROW].cast("string").lpad(_ROW_DIGITS, "0")
    return rows[table.subject].cast("string")


def _numbers(rows: Any, plan: Plan) -> dict[str, Any]:
    return {
        f"number_{place}": rows[column.name].cast("float64")
        for place, column in enumerate(numeric_columns(plan))
    }


def _truths(rows: Any, plan: Plan) -> dict[str, Any]:
    truths = {
        f"category_{place}": (rows[column.name] == value).fill_null(False)
        for place, (column, value) in enumerate(categories(plan))
    }
    for place, task in enumerate(column_tasks(plan)):
        truths[f"label_{place}"] = (rows[task.column] == task.value).fill_null(False)
    return truths


def _needed(table: SubjectsTable, place: str | None, plan: Plan) -> Iterator[Needed]:
    if table.subject is not None:
        yield Needed(table.subject, "identifier")
    if table.country is not None:
        yield Needed(table.country, "text")
    if place is not None:
        yield Needed(place, "category")
    yield from (Needed(column, "category") for column in table.group)
    yield from filter_columns(table)
    yield from (Needed(column.name, "number") for column in numeric_columns(plan))
    yield from (Needed(column.name, role_of(value)) for column, value in categories(plan))
    yield from (Needed(task.column, role_of(task.value)) for task in column_tasks(plan))
