"""The data store of one region: snapshots, gates and consent records, read through the manifest.

1. Open the sources; check columns, types, time zones (`client/source.py`, `client/rows.py`).
2. Event tables: people by the region's rule, compact facts, a cube at an `as_of` (`client/history.py`).
3. Subject tables: columns as the plan names them (`client/subject_rows.py`).
4. Gates count what does not fit (`client/gates.py`).

Rows stay in the engine's memory, one small fact per event; only aggregates per person reach Python. Does
not decide who may be processed (`compliance/consent.py`), hold anyone out, or add noise (the vault does).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from client.columns import countries, stacked, texts
from client.consents import consent_gates, consent_rows, next_change, records_of
from client.gates import event_gates, people_gates, subject_gates
from client.history import History, events_of, load_history
from client.manifest import Manifest
from client.rows import event_rows
from client.source import Version, connect, open_source, path_of, reading, roles_of, version_of
from client.subject_rows import categories, column_tasks, numeric_columns, subject_rows
from compliance.consent import ConsentRecord
from foundation.errors import CountryUnknown, GateFailed, SettingsInvalid
from privacy.plan import EventData, Plan
from profiles.features import to_unit_interval
from profiles.labels import one_class
from profiles.quality import GateResult, judge
from profiles.schema import Snapshot


class Store:
    """A region's tables behind its manifest; relative paths start at `base`, the manifest's folder."""

    def __init__(self, manifest: Manifest, *, base: Path) -> None:
        self.manifest = manifest
        self._base = base
        self._opened: dict[str, tuple[Version, Any]] = {}
        self._kept: History | None = None

    def close(self) -> None:
        """Frees the engine and its memory; the store opens it again, and reads again, when asked."""
        if "_connection" in self.__dict__:
            self._connection.disconnect()
        for name in ("_connection", "_rows"):
            self.__dict__.pop(name, None)
        self._opened.clear()
        self._kept = None

    def snapshot(self, plan: Plan, as_of: date | None, *, labels: bool = True) -> Snapshot:
        """Returns the region's active people at as_of (all people of a subject table, where it is None).

        Raises:
            SourceMissing, SourceUnreadable, ColumnMissing, ColumnTypeWrong, TimezoneMissing: the sources.
            CountryUnknown, GateFailed, SettingsInvalid: rows or plan do not fit the manifest.
        """
        if isinstance(plan.data, EventData):
            return self._history(plan, plan.data).snapshot(plan, plan.data, _required(as_of), labels=labels)
        return self._subject_snapshot(plan, labels=labels)

    def active_count(self, plan: Plan, as_of: date | None) -> int:
        """Returns how many people `snapshot` would hold; the number stays inside the region."""
        if isinstance(plan.data, EventData):
            return len(self._history(plan, plan.data).active(plan.data, _required(as_of)).person)
        with reading("the subject table"):
            return int(self._subject_rows(plan).subject.nunique().to_pyarrow().as_py())

    def gates(self, plan: Plan, now: datetime) -> tuple[GateResult, ...]:
        """Returns what every gate found; errors of sources and columns are raised as in `snapshot`."""
        found = (
            self._event_gates(plan, plan.data, now)
            if isinstance(plan.data, EventData)
            else self._subject_gates(plan)
        )
        records = self._consent_rows(plan.purpose)
        return (*found, *(() if records is None else consent_gates(plan.purpose, records)))

    def consent_records(self, purpose: str, as_of: datetime) -> tuple[ConsentRecord, ...]:
        """Returns the purpose's records up to as_of, in any order; none where the manifest names no source.

        Raises:
            SourceMissing, SourceUnreadable, ColumnMissing, ColumnTypeWrong, TimezoneMissing: the source.
        """
        rows = self._consent_rows(purpose)
        return () if rows is None else records_of(purpose, rows, as_of)

    def next_consent_change(self, purpose: str, after: datetime) -> datetime | None:
        """Returns when the records as they stand next begin or cease to count; raises as consent_records."""
        rows = self._consent_rows(purpose)
        return None if rows is None else next_change(purpose, rows, after)

    def consent_version(self, purpose: str) -> Version | None:
        """Returns what changes whenever the source of the purpose's records is written; None without one."""
        basis = self.manifest.lawful_basis.get(purpose)
        if basis is None or basis.source is None:
            return None
        return version_of(path_of(self.manifest.sources[basis.source], self._base))

    @cached_property
    def _connection(self) -> Any:
        return connect()

    @cached_property
    def _rows(self) -> dict[str, Any]:
        tables = self.manifest.event_tables
        if not tables:
            raise SettingsInvalid("the plan asks for events, and the manifest has no table of shape events")
        return {
            name: event_rows(name, table, self._open(table.source), self.manifest)
            for name, table in tables.items()
        }

    def _open(self, source: str) -> Any:
        stated = self.manifest.sources[source]
        version = version_of(path_of(stated, self._base))
        if source not in self._opened or self._opened[source][0] != version:
            roles = roles_of(self.manifest, source)
            found = open_source(self._connection, source, stated, self._base, roles)
            self._opened[source] = (version, found)
        return self._opened[source][1]

    def _history(self, plan: Plan, data: EventData) -> History:
        """Returns the history of the plan's events, read once and kept until other events are asked."""
        events = events_of(plan, data)
        if self._kept is None or self._kept.events != events:
            self._kept = None
            self._kept = load_history(self._connection, self.manifest, self._rows, events)
        return self._kept

    def _event_gates(self, plan: Plan, data: EventData, now: datetime) -> Iterator[GateResult]:
        people = self._history(plan, data).people
        for name, table in self.manifest.event_tables.items():
            yield from event_gates(name, table, self._rows[name], people, self.manifest, now=now)
        yield from people_gates(people, self.manifest)
        dates = dict.fromkeys((data.train_as_of, data.test_as_of))
        with suppress(CountryUnknown):  # counted above
            yield from _run_gates([self.snapshot(plan, as_of) for as_of in dates])

    def _subject_gates(self, plan: Plan) -> Iterator[GateResult]:
        yield from subject_gates(self._subject_table_name(), self._subject_rows(plan), self.manifest, plan)
        with suppress(CountryUnknown, GateFailed):  # counted above
            yield from _run_gates([self.snapshot(plan, None)])

    def _subject_table_name(self) -> str:
        if not self.manifest.subject_tables:
            raise SettingsInvalid(
                "the plan asks for columns, and the manifest has no table of shape subjects"
            )
        return next(iter(self.manifest.subject_tables))

    def _subject_rows(self, plan: Plan) -> Any:
        name = self._subject_table_name()
        table = self.manifest.subject_tables[name]
        return subject_rows(name, table, self._open(table.source), self.manifest, plan)

    def _subject_snapshot(self, plan: Plan, *, labels: bool) -> Snapshot:
        name, rows = self._subject_table_name(), self._subject_rows(plan)
        with reading(f"table {name}"):
            columns = rows.filter(rows.subject.notnull()).order_by("subject").to_pyarrow()
        subjects, bounds = texts(columns["subject"]), numeric_columns(plan)
        if len(np.unique(subjects)) != len(subjects):
            raise GateFailed(f"table {name} has more than one row for a subject")
        onehots = stacked(columns, "category", len(categories(plan)))
        targets = stacked(columns, "label", len(column_tasks(plan)))
        return Snapshot(
            subjects,
            to_unit_interval(stacked(columns, "number", len(bounds)), bounds),
            onehots.astype(np.float32),
            targets.astype(np.float32) if labels else None,
            countries(columns, self.manifest),
        )

    def _consent_rows(self, purpose: str) -> Any | None:
        basis = self.manifest.lawful_basis.get(purpose)
        if basis is None or basis.source is None:
            return None
        return consent_rows(purpose, basis, self._open(basis.source), self.manifest.timezone)


def _required(as_of: date | None) -> date:
    if as_of is None:
        raise SettingsInvalid("a snapshot of events needs an as_of")
    return as_of


def _run_gates(snapshots: Sequence[Snapshot]) -> Iterator[GateResult]:
    """Yields the gates over whole snapshots, the first of which is trained on."""
    first = snapshots[0]
    empty = sum(len(snapshot) == 0 for snapshot in snapshots)
    yield judge("empty_region", "people", empty, rows=len(first))
    yield judge(
        "one_class", "people", 0 if first.labels is None else one_class(first.labels), rows=len(first)
    )
