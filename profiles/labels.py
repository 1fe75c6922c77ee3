"""Label rules over the window after `as_of`, and over columns of a subject table.

A label is a function of one data subject's rows and of constants of the plan: "the best fifth" is not one.
Says what must be aggregated and turns the aggregates into 0 and 1; does not read rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Window:
    """Events of one name with `as_of <= time < as_of + days`."""

    event: str
    days: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Per subject, over one window: how many events, and their value in major units of the plan's currency.

    count: int64 (n,). value: float64 (n,).
    """

    count: NDArray[np.int64]
    value: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EventLabel:
    """1 where the window holds no event, any event, or a value of at least `minimum`."""

    kind: Literal["no_event", "event", "sum_at_least"]
    window: Window
    minimum: float = 0.0


def windows_of(labels: Sequence[EventLabel]) -> tuple[Window, ...]:
    """Returns the distinct windows that the labels need, in order of first use."""
    return tuple(dict.fromkeys(label.window for label in labels))


def label_matrix(labels: Sequence[EventLabel], totals: Mapping[Window, Totals]) -> NDArray[np.float32]:
    """Returns float32 (n_subjects, n_labels) of 0 and 1, columns in the order of labels."""
    return np.stack([_column(label, totals[label.window]) for label in labels], axis=1)


def one_class(labels: NDArray[np.float32]) -> int:
    """Returns how many label columns hold a single value (all of them where there are no rows)."""
    if len(labels) == 0:
        return int(labels.shape[1])
    return int(np.count_nonzero(np.ptp(labels, axis=0) == 0))


def _column(label: EventLabel, totals: Totals) -> NDArray[np.float32]:
    match label.kind:
        case "no_event":
            return np.asarray(totals.count == 0, dtype=np.float32)
        case "event":
            return np.asarray(totals.count > 0, dtype=np.float32)
        case "sum_at_least":
            return np.asarray(totals.value >= label.minimum, dtype=np.float32)
