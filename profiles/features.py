"""The feature engine: a long additive cube in, one bounded row per data subject out.

1. The store aggregates rows to (subject, event, ring -> sums, maxima, first, last); rings are the intervals
   between the nested windows of the catalogue.
2. One scatter per measure into (subject, event, ring), then sums (or maxima) run over the rings.
3. Terms and ratios of the catalogue are read off, clamped to public bounds, scaled, mapped to [0, 1].

Integer until step 3, so the order of rows changes nothing. Does not read tables; never looks at other people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from profiles.catalogue import NEVER_DAYS, WINDOWS_DAYS, Feature, Measure, Ratio, Scale, Term

SECONDS_PER_DAY = 86_400

Column = Literal[
    "count", "value", "value_max", "units", "lines", "days", "months", "gaps", "gap_seconds", "first", "last"
]
"""Measures of the cube, all int64: money in minor units, times in seconds since 1970 (UTC)."""

COLUMN_OF: dict[Measure, Column] = {
    "count": "count",
    "value": "value",
    "value_max": "value_max",
    "units": "units",
    "lines": "lines",
    "days": "days",
    "months": "months",
    "gaps": "gaps",
    "gap_days": "gap_seconds",
    "since_last": "last",
    "since_first": "first",
}


@dataclass(frozen=True, slots=True)
class Cube:
    """One row per (subject, event, ring) that has events; indices are int64, rows in any order.

    subject counts from 0 to `subjects` - 1, event is a place in `events`, ring a place in WINDOWS_DAYS.
    """

    subjects: int
    events: tuple[str, ...]
    subject: NDArray[np.int64]
    event: NDArray[np.int64]
    ring: NDArray[np.int64]
    measures: Mapping[Column, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Units:
    """Public constants that give integers a unit: `as_of` in seconds, major units of money per minor unit."""

    as_of_seconds: int
    major_per_minor: float


class Bounded(Protocol):
    """Anything with public bounds and a scale: a catalogue feature or a plan's column."""

    @property
    def low(self) -> float:
        """Smallest value in its own unit."""

    @property
    def high(self) -> float:
        """Largest value in its own unit."""

    @property
    def scale(self) -> Scale:
        """What is done first; log means log(1 + value)."""


def terms_of(features: Iterable[Feature]) -> tuple[Term, ...]:
    """Returns the distinct terms that the features are made of."""
    sides = [
        side
        for feature in features
        for side in (
            (feature.source.above, feature.source.below)
            if isinstance(feature.source, Ratio)
            else (feature.source,)
        )
    ]
    return tuple(dict.fromkeys(sides))


def feature_values(cube: Cube, features: Sequence[Feature], units: Units) -> NDArray[np.float64]:
    """Returns float64 (n_subjects, n_features) in each feature's own unit, not clamped."""
    terms = _terms(cube, terms_of(features), units)
    columns = [_feature(feature, terms) for feature in features]
    return torch.stack(columns, dim=1).numpy() if columns else np.zeros((cube.subjects, 0))


def to_unit_interval(values: NDArray[np.float64], bounds: Sequence[Bounded]) -> NDArray[np.float32]:
    """Returns float32 in [0, 1]: clamped to the public bounds, scaled, mapped linearly.

    | a missing value (nan) -> the low bound | -inf, inf -> the low, the high bound |
    """
    low = np.array([bound.low for bound in bounds], dtype=np.float64)
    high = np.array([bound.high for bound in bounds], dtype=np.float64)
    logarithmic = np.array([bound.scale == "log" for bound in bounds], dtype=bool)
    clamped = np.clip(np.where(np.isnan(values), low, values), low, high)
    for array in (clamped, low, high):
        array[..., logarithmic] = np.log1p(array[..., logarithmic])
    return ((clamped - low) / (high - low)).astype(np.float32)


def _feature(feature: Feature, terms: Mapping[Term, torch.Tensor]) -> torch.Tensor:
    if isinstance(feature.source, Term):
        return terms[feature.source]
    ratio = feature.source
    above, below = terms[ratio.above], terms[ratio.below].clamp(min=ratio.least_below)
    empty = torch.full_like(above, ratio.empty)
    return torch.where(below == 0, empty, ratio.factor * above / torch.where(below == 0, 1.0, below))


def _terms(cube: Cube, terms: Sequence[Term], units: Units) -> dict[Term, torch.Tensor]:
    values: dict[Term, torch.Tensor] = {}
    for column in dict.fromkeys(COLUMN_OF[term.measure] for term in terms):
        nested = _nested(cube, column)
        for term in terms:
            if COLUMN_OF[term.measure] == column:
                values[term] = _term(nested, cube.events.index(term.event), term, units)
    return values


def _nested(cube: Cube, column: Column) -> torch.Tensor:
    """Returns int64 (n_subjects, n_events, n_windows): column over each window; 0 for never."""
    shape = (cube.subjects, len(cube.events), len(WINDOWS_DAYS))
    dense = torch.zeros(shape, dtype=torch.int64)
    place = tuple(torch.from_numpy(index) for index in (cube.subject, cube.event, cube.ring))
    dense.index_put_(place, torch.from_numpy(cube.measures[column]))
    match column:
        case "value_max" | "last":
            return dense.cummax(dim=2).values
        case "first":
            never = torch.iinfo(torch.int64).max
            earliest = torch.where(dense == 0, never, dense).cummin(dim=2).values
            return torch.where(earliest == never, 0, earliest)
        case _:
            return dense.cumsum(dim=2)


def _term(nested: torch.Tensor, event: int, term: Term, units: Units) -> torch.Tensor:
    whole = term.measure in {"since_last", "since_first"}
    window = WINDOWS_DAYS.index(None if whole else term.window_days)
    column = nested[:, event, window]
    if term.from_days > 0:
        column = column - nested[:, event, WINDOWS_DAYS.index(term.from_days)]
    column = column.to(torch.float64)
    match term.measure:
        case "value" | "value_max":
            return column * units.major_per_minor
        case "gap_days":
            return column / SECONDS_PER_DAY
        case "since_last" | "since_first":
            days = (units.as_of_seconds - column) / SECONDS_PER_DAY
            return torch.where(column == 0, float(NEVER_DAYS), days)
        case _:
            return column
