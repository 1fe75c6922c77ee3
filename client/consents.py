"""Reads consent records from the region's source, and counts those that no judgement can use.

A record that cannot be read never permits: an unknown state, or a grant without a time, is invalidated.
Does not judge (`compliance/consent.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import ibis

from client.manifest import Basis
from client.rows import seconds
from client.source import Needed, reading, require_columns
from compliance.consent import PERMITTING, ConsentRecord, ConsentState
from profiles.quality import GateResult, judge

_STATES = {state.value: state for state in ConsentState}


def consent_rows(purpose: str, basis: Basis, opened: Any, zone: str | None) -> Any:
    """Returns (subject, state, seconds, expires) of the purpose's records; state in lower case with _.

    Raises:
        ColumnMissing, ColumnTypeWrong, TimezoneMissing: the source does not fit the manifest.
    """
    what = f"source {basis.source}"
    needed = [
        Needed(basis.subject, "identifier"),
        Needed(basis.purpose, "text"),
        Needed(basis.state, "text"),
        Needed(basis.time, "time"),
    ]
    ends = basis.expires
    require_columns(what, opened, needed + ([] if ends is None else [Needed(ends, "time")]))
    rows = opened.filter(opened[basis.purpose] == purpose)
    return rows.select(
        subject=rows[basis.subject].cast("string"),
        state=rows[basis.state].strip().lower().replace(" ", "_"),
        seconds=seconds(rows[basis.time], zone, what),
        expires=ibis.null("int64") if ends is None else seconds(rows[ends], zone, what),
    )


def records_of(purpose: str, rows: Any, as_of: datetime) -> tuple[ConsentRecord, ...]:
    """Returns the records up to as_of; one without a time counts as of as_of, and does not permit."""
    known = rows.filter(
        rows.subject.notnull(), (rows.seconds <= int(as_of.timestamp())) | rows.seconds.isnull()
    )
    with reading(f"the consent records of {purpose}"):
        columns = known.to_pyarrow().to_pydict()
    return tuple(
        _record(subject, state, at, expires, as_of)
        for subject, state, at, expires in zip(
            columns["subject"], columns["state"], columns["seconds"], columns["expires"], strict=True
        )
    )


def next_change(purpose: str, rows: Any, after: datetime) -> datetime | None:
    """Returns the first moment after `after` at which a record begins or ends to count; None for never."""
    moment = int(after.timestamp())
    found = rows.aggregate(
        begins=rows.seconds.min(where=rows.seconds > moment),
        ends=rows.expires.min(where=rows.expires > moment),
    )
    with reading(f"the consent records of {purpose}"):
        told = found.to_pyarrow().to_pylist()[0].values()
    return min((datetime.fromtimestamp(each, UTC) for each in told if each is not None), default=None)


def consent_gates(purpose: str, rows: Any) -> Iterator[GateResult]:
    """Yields the gates of the purpose's records."""
    aggregated = rows.aggregate(
        rows=rows.count(),
        missing_subject=rows.subject.isnull().sum(),
        missing_time=rows.seconds.isnull().sum(),
        unknown_state=(~rows.state.isin(list(_STATES)).fill_null(False)).sum(),
    )
    with reading(f"the consent records of {purpose}"):
        counts = aggregated.to_pyarrow().to_pylist()[0]
    total = counts.pop("rows")
    for gate, violations in counts.items():
        yield judge(gate, f"consent for {purpose}", 0 if violations is None else violations, rows=total)


def _record(
    subject: str, text: str | None, at: int | None, expires: int | None, as_of: datetime
) -> ConsentRecord:
    state = _STATES.get("" if text is None else text, ConsentState.INVALIDATED)
    ends = None if expires is None else datetime.fromtimestamp(expires, UTC)
    if at is None:
        state = ConsentState.INVALIDATED if state in PERMITTING else state
        return ConsentRecord(subject, state, as_of, ends)
    return ConsentRecord(subject, state, datetime.fromtimestamp(at, UTC), ends)
