"""Event tables as snapshots: who is active at an `as_of`, what they did before it, what after.

1. Occurrences of the events that a plan reads are cleaned once and kept in the engine as integer facts.
2. At an `as_of`, facts before it become the cube and the features, facts from it on become labels.

Does not read subject tables (`client/subject_rows.py`), nor decide who may be processed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.columns import countries, integers, texts
from client.cube import active_people, cube_of, facts_of, occurrences_of, totals_of
from client.manifest import Manifest
from client.people import people_of
from client.source import forget, materialise, reading
from foundation.errors import SettingsInvalid
from privacy.plan import ColumnIs, EventData, NoEvent, Plan, SumAtLeast, Task, midnight
from profiles.features import (
    COLUMN_OF,
    SECONDS_PER_DAY,
    Cube,
    Units,
    feature_values,
    terms_of,
    to_unit_interval,
)
from profiles.labels import EventLabel, Totals, Window, label_matrix, windows_of
from profiles.schema import Snapshot


@dataclass(frozen=True, slots=True)
class Active:
    """The active people at one as_of: sorted person numbers, and the engine's table of them."""

    table: Any
    person: NDArray[np.int64]
    subjects: NDArray[np.str_]
    countries: NDArray[np.str_]

    def place(self, person: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns each person's row in the snapshot."""
        return np.searchsorted(self.person, person).astype(np.int64)


@dataclass(frozen=True, slots=True)
class History:
    """The region's people and their facts about `events`, kept in the engine's memory."""

    manifest: Manifest
    events: tuple[str, ...]
    people: Any
    facts: Any

    def active(self, data: EventData, as_of: date) -> Active:
        """Returns who has the active event in the days before as_of.

        Raises:
            CountryUnknown: people of a country without a code, more than the gates allow.
        """
        at = _seconds_of(as_of)
        event, since = self.events.index(data.active_event), at - SECONDS_PER_DAY * data.active_days
        active = active_people(self.facts, event, since, at)
        found = self._fetch(self.people.filter(self.people.person.isin(active.person)).order_by("person"))
        return Active(
            active, integers(found["person"]), texts(found["subject"]), countries(found, self.manifest)
        )

    def snapshot(self, plan: Plan, data: EventData, as_of: date, *, labels: bool) -> Snapshot:
        """Returns the active people's features before as_of, and their labels from it on."""
        active = self.active(data, as_of)
        units = Units(_seconds_of(as_of), _major_per_minor(self.manifest, data))
        values = feature_values(self._cube(plan, active, units), plan.features, units)
        return Snapshot(
            active.subjects,
            to_unit_interval(values, plan.features),
            np.zeros((len(active.person), 0), dtype=np.float32),
            self._labels(plan, active, units) if labels else None,
            active.countries,
        )

    def _cube(self, plan: Plan, active: Active, units: Units) -> Cube:
        measures = tuple(dict.fromkeys(COLUMN_OF[term.measure] for term in terms_of(plan.features)))
        columns = self._fetch(cube_of(self.facts, active.table, units.as_of_seconds, measures))
        return Cube(
            len(active.person),
            self.events,
            active.place(integers(columns["person"])),
            integers(columns["event"]),
            integers(columns["ring"]),
            {measure: integers(columns[measure]) for measure in measures},
        )

    def _labels(self, plan: Plan, active: Active, units: Units) -> NDArray[np.float32]:
        rules = [_label(task) for task in plan.tasks.values()]
        windows = windows_of(rules)
        columns = self._fetch(totals_of(self.facts, active.table, units.as_of_seconds, windows, self.events))
        place = active.place(integers(columns["person"]))
        totals = {}
        for index, window in enumerate(windows):
            count, minor = (np.zeros(len(active.person), dtype=np.int64) for _ in range(2))
            count[place] = integers(columns[f"count_{index}"])
            minor[place] = integers(columns[f"minor_{index}"])
            totals[window] = Totals(count, minor.astype(np.float64) * units.major_per_minor)
        return label_matrix(rules, totals)

    def _fetch(self, expression: Any) -> Any:
        with reading(f"the tables of region {self.manifest.region}"):
            return expression.to_pyarrow()


def load_history(
    connection: Any, manifest: Manifest, rows: Mapping[str, Any], events: tuple[str, ...]
) -> History:
    """Returns the history of these events; in place of the one that connection kept before."""
    rule = manifest.region_rule
    found = occurrences_of(manifest.event_tables, rows, events, rule)
    with reading(f"the tables of region {manifest.region}"):
        found = materialise(connection, "occurrences", found)
        people = people_of(found, rule)
        people = materialise(connection, "people", people)
        facts = materialise(connection, "facts", facts_of(found, people))
        forget(connection, "occurrences")
    return History(manifest, events, people, facts)


def events_of(plan: Plan, data: EventData) -> tuple[str, ...]:
    """Returns the events that the plan reads, sorted."""
    labels = (task.event for task in plan.tasks.values() if not isinstance(task, ColumnIs))
    features = (term.event for term in terms_of(plan.features))
    return tuple(sorted({data.active_event, *labels, *features}))


def _major_per_minor(manifest: Manifest, data: EventData) -> float:
    """Returns units of the plan's currency per minor unit of the region's."""
    currency, minor = manifest.currency, 10.0**manifest.minor_digits
    if currency is None or currency == data.currency:
        return 1.0 / minor
    if currency not in data.exchange_rates:
        raise SettingsInvalid(f"the plan states no exchange rate from {currency} to {data.currency}")
    return data.exchange_rates[currency] / minor


def _label(task: Task) -> EventLabel:
    match task:
        case ColumnIs():
            raise TypeError("a task over a column has no window")
        case SumAtLeast():
            return EventLabel("sum_at_least", Window(task.event, task.days), task.minimum)
        case NoEvent():
            return EventLabel("no_event", Window(task.event, task.days))
        case _:
            return EventLabel("event", Window(task.event, task.days))


def _seconds_of(day: date) -> int:
    return int(midnight(day).timestamp())
