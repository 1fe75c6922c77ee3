"""Data quality gates as data: what each counts, and what share of rows it allows.

Gates count violations; they never print, keep or return a value. The store runs one aggregate query per
table and judges the counts here. Does not stop a run by itself: the vault refuses where a gate fails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate. `allowed_share` of the table's rows may violate it, 0 to 1; a manifest may change it.

    A `fixed` gate guards the privacy unit or the meaning of a run and is not for a manifest to change.
    """

    name: str
    counts: str
    allowed_share: float = 0.0
    fixed: bool = False


GATES: dict[str, Gate] = {
    gate.name: gate
    for gate in (
        Gate("missing_subject", "rows without a subject"),
        Gate("repeated_subject", "rows of a subject table beyond the first of a subject", fixed=True),
        Gate("missing_time", "rows without a time"),
        Gate("future_time", "rows with a time after now"),
        Gate("missing_event", "rows without an event name"),
        Gate("repeated_event", "rows equal to another in subject, event, time, value and units", 0.05),
        Gate("money_outside", "rows whose money is negative, not a number, or above any sensible value"),
        Gate("unknown_country", "rows whose country is neither mapped nor an ISO 3166 code"),
        Gate("foreign_country", "people whose country is not among the region's"),
        Gate("missing_number", "rows with a numeric column empty or not a number"),
        Gate("outside_bounds", "rows with a numeric column outside the plan's public bounds", 0.1),
        Gate("unknown_state", "consent records whose state is none that is known"),
        Gate("stale", "1 where the newest row is older than the manifest's freshness_days", fixed=True),
        Gate("empty_region", "1 for each as_of without an active person", fixed=True),
        Gate("one_class", "tasks whose labels are all equal", fixed=True),
    )
}

MOST_MINOR_UNITS = 10**12
"""Money of one row above this (10,000,000,000.00) is a fault of the source."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a gate found in one table; stays inside the region."""

    name: str
    table: str
    violations: int
    allowed: int

    @property
    def holds(self) -> bool:
        """Whether no more violations were found than are allowed."""
        return self.violations <= self.allowed


def judge(name: str, table: str, violations: int, *, rows: int, share: float | None = None) -> GateResult:
    """Returns the result of gate `name`; `share` is the manifest's, None takes the gate's own."""
    gate = GATES[name]
    allowed_share = gate.allowed_share if share is None or gate.fixed else share
    return GateResult(name, table, violations, math.floor(allowed_share * rows))
