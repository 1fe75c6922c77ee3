"""The catalogue: every feature as data, with its definition, public bounds and scale.

A feature is a function of one data subject's rows before `as_of` and of public constants; nothing here
depends on other people. Bounds are public: values outside are clamped, never used to set a bound.
Does not compute anything: `profiles/features.py` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ORDER = "Order Completed"
REFUND = "Order Refunded"
VIEW = "Product Viewed"
CART = "Product Added"

WINDOWS_DAYS: tuple[int | None, ...] = (30, 90, 180, 365, None)
"""Nested windows that end at `as_of`; None is the whole history."""

NEVER_DAYS = 3_650
"""Value of a `since` measure for a person without the event."""

Measure = Literal[
    "count", "value", "value_max", "units", "lines", "days", "gaps", "gap_days", "since_last", "since_first"
]
Scale = Literal["linear", "log"]


@dataclass(frozen=True, slots=True)
class Term:
    """One measure of one event over one window.

    Units: count, units, lines, days and gaps are numbers; value and value_max are in the plan's currency
    (major units); gap_days sums the days between one event and the one before it; since_last and
    since_first are days before `as_of` and always look at the whole history.
    """

    event: str
    measure: Measure
    window_days: int | None = None


@dataclass(frozen=True, slots=True)
class Ratio:
    """above / below, or `empty` where below is zero."""

    above: Term
    below: Term
    empty: float = 0.0


@dataclass(frozen=True, slots=True)
class Feature:
    """One numeric feature with public bounds in its own unit.

    Scale log means log(1 + value) before anything else. `region_constant` says that the value is (almost)
    one number inside a region, so that sharing its weight would wreck an average.
    """

    name: str
    definition: str
    source: Term | Ratio
    low: float
    high: float
    scale: Scale = "log"
    region_constant: bool = False


_SUMS: tuple[tuple[str, str, Measure, str, float], ...] = (
    ("orders", ORDER, "count", "number of orders", 1_000),
    ("spend", ORDER, "value", "money spent", 1_000_000),
    ("order_days", ORDER, "days", "number of days with an order", 366),
    ("units", ORDER, "units", "pieces bought", 1_000_000),
    ("lines", ORDER, "lines", "order lines", 20_000),
    ("refunds", REFUND, "count", "number of refunds", 500),
    ("refund_value", REFUND, "value", "money refunded", 200_000),
    ("views", VIEW, "count", "number of product views", 20_000),
    ("carts", CART, "count", "number of products put into a cart", 5_000),
)

_SINCE: tuple[tuple[str, str, Measure, str], ...] = (
    ("days_since_last_order", ORDER, "since_last", "days since the last order"),
    ("tenure_days", ORDER, "since_first", "days since the first order"),
    ("days_since_last_view", VIEW, "since_last", "days since the last product view"),
    ("days_since_last_refund", REFUND, "since_last", "days since the last refund"),
)

_ALL_ORDERS = Term(ORDER, "count")
_RATIOS: tuple[tuple[str, str, Term, Term, float, float], ...] = (
    ("mean_order_value", "mean value of an order", Term(ORDER, "value"), _ALL_ORDERS, 100_000, 0),
    ("mean_order_value_365d", "mean value of an order in the last 365 days",
     Term(ORDER, "value", 365), Term(ORDER, "count", 365), 100_000, 0),
    ("units_per_order", "mean pieces of an order", Term(ORDER, "units"), _ALL_ORDERS, 50_000, 0),
    ("lines_per_order", "mean lines of an order", Term(ORDER, "lines"), _ALL_ORDERS, 1_000, 0),
    ("value_per_unit", "mean value of a piece", Term(ORDER, "value"), Term(ORDER, "units"), 10_000, 0),
    ("mean_gap_days", "mean days between two orders; 730 with fewer than two orders",
     Term(ORDER, "gap_days"), Term(ORDER, "gaps"), 730, 730),
    ("mean_gap_days_365d", "mean days between two orders of the last 365 days; 730 with none",
     Term(ORDER, "gap_days", 365), Term(ORDER, "gaps", 365), 730, 730),
)  # fmt: skip


def _window(days: int | None) -> tuple[str, str]:
    return ("all", "in the whole history") if days is None else (f"{days}d", f"in the last {days} days")


def _compile() -> tuple[Feature, ...]:
    sums = [
        Feature(f"{name}_{suffix}", f"{words} {when}", Term(event, measure, days), 0, high)
        for name, event, measure, words, high in _SUMS
        for days in WINDOWS_DAYS
        for suffix, when in [_window(days)]
    ]
    since = [
        Feature(name, f"{words}; {NEVER_DAYS} with none", Term(event, measure), 0, NEVER_DAYS)
        for name, event, measure, words in _SINCE
    ]
    largest = Feature(
        "largest_order_value", "value of the largest order", Term(ORDER, "value_max"), 0, 200_000
    )
    ratios = [
        Feature(name, words, Ratio(above, below, empty), 0, high)
        for name, words, above, below, high, empty in _RATIOS
    ]
    return (*sums, *since, largest, *ratios)


CATALOGUE: dict[str, Feature] = {feature.name: feature for feature in _compile()}
"""Every event feature by name; a plan picks from these."""
