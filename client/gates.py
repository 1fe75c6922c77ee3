"""One aggregate query per table that counts what the gates of `profiles/quality.py` name.

Only counts come back from the engine. Does not refuse anything and does not clean: `client/rows.py` leaves
out what cannot be counted, whether or not a gate allows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import ibis

from client.manifest import EventsTable, Manifest, TableGates
from client.people import own_rows
from client.source import reading
from client.subject_rows import numeric_columns
from privacy.plan import Plan
from profiles.features import SECONDS_PER_DAY
from profiles.quality import GateResult, judge
from profiles.schema import COUNTRY_CODES


# A builtin of the engine: ibis takes its types from the decorator.
@ibis.udf.scalar.builtin(signature=(("float64",), "boolean"))
def isfinite(number):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Whether a number is neither nan nor infinite.

    DuckDB 2.0 decides isnan() from a parquet file's minimum and maximum, which leave nan out.
    """


def event_gates(
    name: str, table: EventsTable, rows: Any, people: Any, manifest: Manifest, *, now: datetime
) -> Iterator[GateResult]:
    """Yields the gates of one event table, over the region's own rows."""
    now_seconds = int(now.timestamp())
    own = own_rows(rows, manifest.region_rule, people)
    aggregates = {
        "rows": own.count(),
        "newest": own.seconds.max(),
        "missing_subject": own.subject.isnull().sum(),
        "missing_time": (own.seconds.fill_null(0) <= 0).sum(),
        "future_time": (own.seconds > now_seconds).sum(),
        "missing_event": own.event.isnull().sum(),
        "money_outside": own.bad_money.sum(),
        "unknown_country": _without_code(own.country, manifest).sum(),
    }
    if table.order is None:
        distinct = own.select("subject", "event", "seconds", "minor", "units").distinct().count()
        aggregates["repeated_event"] = own.count() - distinct.as_scalar()
    yield from _judged(name, own.aggregate(**aggregates), manifest, now_seconds)


def people_gates(people: Any, manifest: Manifest) -> Iterator[GateResult]:
    """Yields the gates over the region's people."""
    if manifest.countries:
        foreign = _foreign(people.country, manifest).sum()
        counted = people.aggregate(rows=people.count(), foreign_country=foreign)
        yield from _judged("people", counted, manifest, None)


def subject_gates(name: str, rows: Any, manifest: Manifest, plan: Plan) -> Iterator[GateResult]:
    """Yields the gates of a subject table, over the region's own rows."""
    missing, outside = [], []
    for place, column in enumerate(numeric_columns(plan)):
        number = rows[f"number_{place}"]
        lost = number.isnull() | ~isfinite(number).fill_null(False)
        missing.append(lost.cast("int64"))
        outside.append((~lost & ~number.between(column.low, column.high)).fill_null(False).cast("int64"))
    aggregates = {
        "rows": rows.count(),
        "missing_subject": rows.subject.isnull().sum(),
        "repeated_subject": rows.subject.count() - rows.subject.nunique(),
        "unknown_country": _without_code(rows.country, manifest).sum(),
    }
    if missing:
        aggregates["missing_number"] = sum(missing[1:], missing[0]).sum()
        aggregates["outside_bounds"] = sum(outside[1:], outside[0]).sum()
    if manifest.countries:
        aggregates["foreign_country"] = _foreign(rows.country, manifest).sum()
    yield from _judged(name, rows.aggregate(**aggregates), manifest, None)


def _without_code(named: Any, manifest: Manifest) -> Any:
    return named.notin(sorted({*COUNTRY_CODES, *manifest.country_codes})).fill_null(False)


def _foreign(named: Any, manifest: Manifest) -> Any:
    names = sorted({*COUNTRY_CODES, *manifest.country_codes})
    foreign = [name for name in names if manifest.country_code(name) not in manifest.countries]
    return named.isin(foreign).fill_null(False)


def _judged(table: str, aggregated: Any, manifest: Manifest, now_seconds: int | None) -> Iterator[GateResult]:
    with reading(f"table {table}"):
        counted: Mapping[str, int | None] = aggregated.to_pyarrow().to_pylist()[0]
    counts = {name: 0 if count is None else count for name, count in counted.items()}
    rows, newest = counts.pop("rows"), counts.pop("newest", None)
    settings = manifest.gates.get(table, TableGates())
    for gate, violations in counts.items():
        yield judge(gate, table, violations, rows=rows, share=settings.allowed_shares.get(gate))
    if settings.freshness_days is not None and newest is not None and now_seconds is not None:
        old = now_seconds - newest > settings.freshness_days * SECONDS_PER_DAY
        yield judge("stale", table, int(old), rows=rows)
