"""Events as compact facts, and the long additive cube over them.

Occurrences are cleaned events of the sources, whoever's. Facts are those of the region's people as integers:
(person, event, seconds, minor, units, lines, gap). Lines of one order on one UTC day are one occurrence, so
that a line after `as_of`, a midnight, never changes what was before. A gap is the time since the fact of the
same person and event before it.
Does not compute features (`profiles/features.py`): the engine adds, people's rows stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import ibis

from client.manifest import EventsTable, FirstValue, RegionRule
from client.rows import clean
from profiles.catalogue import MONTH_DAYS, WINDOWS_DAYS
from profiles.features import SECONDS_PER_DAY, Column
from profiles.labels import Window


def occurrences_of(
    tables: Mapping[str, EventsTable], rows: Mapping[str, Any], events: Sequence[str], rule: RegionRule
) -> Any:
    """Returns the events that a plan or the region's rule reads, one row each; `placed` if the rule reads it.

    `event` is a place in events, -1 for one that only the rule reads.
    """
    parts = []
    for name, table in tables.items():
        decides = isinstance(rule, FirstValue) and rule.table == name
        found = clean(rows[name])
        found = found if decides else found.filter(found.event.isin(list(events)))
        placed = ibis.literal(decides or not isinstance(rule, FirstValue))
        parts.append(_occurrences(table, found, events).mutate(placed=placed))
    return reduce(lambda one, other: one.union(other), parts)


def facts_of(occurrences: Any, people: Any) -> Any:
    """Returns the facts of the region's people."""
    read = occurrences.filter(occurrences.event >= 0)
    own = read.inner_join(people.select("person", "subject"), "subject")
    before = own.seconds.lag().over(group_by=[own.person, own.event], order_by=own.seconds)
    return own.select("person", "event", "seconds", "minor", "units", "lines", gap=own.seconds - before)


def active_people(facts: Any, event: int, since_seconds: int, as_of_seconds: int) -> Any:
    """Returns the distinct `person` with the event in [since, as_of)."""
    within = (facts.event == event) & facts.seconds.between(since_seconds, as_of_seconds - 1)
    return facts.filter(within).select("person").distinct()


def cube_of(facts: Any, active: Any, as_of_seconds: int, columns: Sequence[Column]) -> Any:
    """Returns (person, event, ring, *columns) over the active people's facts before as_of."""
    past = facts.filter(facts.seconds < as_of_seconds, facts.person.isin(active.person))
    past = past.mutate(ring=_ring(past.seconds, as_of_seconds))
    measures = {
        "count": past.count(),
        "value": past.minor.sum().fill_null(0),
        "value_max": past.minor.max().fill_null(0),
        "units": past.units.sum(),
        "lines": past.lines.sum(),
        "days": (past.seconds // SECONDS_PER_DAY).nunique(),
        "months": ((as_of_seconds - 1 - past.seconds) // (MONTH_DAYS * SECONDS_PER_DAY)).nunique(),
        "gaps": past.gap.count(),
        "gap_seconds": past.gap.sum().fill_null(0),
        "first": past.seconds.min(),
        "last": past.seconds.max(),
    }
    return past.group_by("person", "event", "ring").agg(
        **{column: measures[column].cast("int64") for column in columns}
    )


def totals_of(
    facts: Any, active: Any, as_of_seconds: int, windows: Sequence[Window], events: Sequence[str]
) -> Any:
    """Returns (person, count_0, minor_0, count_1, ...) per window after as_of, where there are facts."""
    end = as_of_seconds + SECONDS_PER_DAY * max(window.days for window in windows)
    ahead = facts.filter(facts.seconds.between(as_of_seconds, end - 1), facts.person.isin(active.person))
    totals = {}
    for place, window in enumerate(windows):
        inside = (ahead.event == events.index(window.event)) & (
            ahead.seconds < as_of_seconds + SECONDS_PER_DAY * window.days
        )
        totals[f"count_{place}"] = ahead.count(where=inside)
        totals[f"minor_{place}"] = ahead.minor.sum(where=inside).fill_null(0).cast("int64")
    return ahead.group_by("person").agg(**totals)


_KEYS = ("subject", "event", "item", "day")
_COLUMNS = ("subject", "event", "item", "seconds", "minor", "units", "lines", "country", "place")


def _occurrences(table: EventsTable, rows: Any, events: Sequence[str]) -> Any:
    codes = [(name, place) for place, name in enumerate(events)]
    rows = rows.mutate(event=rows.event.cases(*codes, else_=-1).cast("int64"))
    single = rows if table.order is None else rows.filter(rows.item.isnull())
    found = single.mutate(lines=ibis.literal(1, "int64")).select(*_COLUMNS)
    if table.order is None:
        return found
    return found.union(_orders(rows.filter(rows.item.notnull())).select(*_COLUMNS))


def _orders(lines: Any) -> Any:
    lines = lines.mutate(day=lines.seconds // SECONDS_PER_DAY)
    return lines.group_by(*_KEYS).agg(
        seconds=lines.seconds.min(),
        minor=lines.minor.sum().cast("int64"),
        units=lines.units.sum().cast("int64"),
        lines=lines.count(),
        country=lines.country.min(),
        place=lines.place.min(),
    )


def _ring(seconds: Any, as_of_seconds: int) -> Any:
    branches = [
        (seconds >= as_of_seconds - SECONDS_PER_DAY * days, ring)
        for ring, days in enumerate(WINDOWS_DAYS)
        if days is not None
    ]
    return ibis.cases(*branches, else_=len(WINDOWS_DAYS) - 1).cast("int64")
