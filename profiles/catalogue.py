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

MONTH_DAYS = 30
WINDOWS_DAYS: tuple[int | None, ...] = (30, 90, 180, 270, 360, None)
"""Nested windows that end at `as_of`, each whole months of 30 days; None is the whole history."""

NEVER_DAYS = 3_650
"""Value of a `since` measure for a person without the event."""

Measure = Literal[
    "count",
    "value",
    "value_max",
    "units",
    "lines",
    "days",
    "months",
    "gaps",
    "gap_days",
    "since_last",
    "since_first",
]
Scale = Literal["linear", "log"]


@dataclass(frozen=True, slots=True)
class Term:
    """One measure of one event over one window, from `window_days` to `from_days` before `as_of`.

    Units: count, units, lines, days, months and gaps are numbers (days and months are those with the event);
    value and value_max are in the plan's currency (major units); gap_days sums the days between one event and
    the one before it; since_last and since_first are days before `as_of` over the whole history.
    """

    event: str
    measure: Measure
    window_days: int | None = None
    from_days: int = 0


@dataclass(frozen=True, slots=True)
class Ratio:
    """factor * above / max(below, least_below), or `empty` where that divisor is zero."""

    above: Term
    below: Term
    empty: float = 0.0
    least_below: float = 0.0
    factor: float = 1.0


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


_Sum = tuple[str, str, Measure, str, tuple[float, ...]]

_SUMS: tuple[_Sum, ...] = (
    ("orders", ORDER, "count", "number of orders", (10, 30, 60, 80, 100, 200)),
    ("spend", ORDER, "value", "money spent", (5e3, 1e4, 2e4, 3e4, 5e4, 1e5)),
    ("order_days", ORDER, "days", "number of days with an order", (10, 30, 60, 80, 100, 200)),
    ("units", ORDER, "units", "pieces bought", (1e4, 2e4, 4e4, 6e4, 1e5, 2e5)),
    ("lines", ORDER, "lines", "order lines", (500, 1_000, 2_000, 3_000, 5_000, 10_000)),
    ("refunds", REFUND, "count", "number of refunds", (5, 15, 30, 40, 50, 100)),
    ("refund_value", REFUND, "value", "money refunded", (1e3, 2e3, 5e3, 5e3, 1e4, 2e4)),
    ("views", VIEW, "count", "number of product views", (100, 300, 600, 900, 1_000, 2_000)),
    ("carts", CART, "count", "number of products put into a cart", (50, 100, 200, 300, 300, 500)),
)
"""Name, event, measure, words, and the upper bound for each window; the lower bound is 0."""

_YEAR = 360

_SINGLE: tuple[Feature, ...] = (
    Feature("days_since_last_order", "days since the last order", Term(ORDER, "since_last"), 0, 365),
    Feature(
        "days_since_last_order_linear",
        "days since the last order, on a linear scale",
        Term(ORDER, "since_last"),
        0,
        365,
        "linear",
    ),
    Feature("tenure_days", "days since the first order", Term(ORDER, "since_first"), 0, 730, "linear"),
    Feature("days_since_last_view", "days since the last product view", Term(VIEW, "since_last"), 0, 365),
    Feature("days_since_last_refund", "days since the last refund", Term(REFUND, "since_last"), 0, 730),
    Feature(
        "order_months_180d",
        "months of 30 days with an order in the last 180 days",
        Term(ORDER, "months", 180),
        0,
        6,
        "linear",
    ),
    Feature(
        "order_months_360d",
        "months of 30 days with an order in the last 360 days",
        Term(ORDER, "months", _YEAR),
        0,
        12,
        "linear",
    ),
    Feature(
        "orders_year_ago",
        "number of orders from 360 to 270 days ago",
        Term(ORDER, "count", _YEAR, 270),
        0,
        30,
    ),
    Feature(
        "spend_year_ago", "money spent from 360 to 270 days ago", Term(ORDER, "value", _YEAR, 270), 0, 1e4
    ),
    Feature("largest_order_value", "value of the largest order", Term(ORDER, "value_max"), 0, 1e4),
    Feature(
        "largest_order_value_360d",
        "value of the largest order in the last 360 days",
        Term(ORDER, "value_max", _YEAR),
        0,
        1e4,
    ),
)


def _mean(name: str, words: str, measure: Measure, high: float, days: int | None = None) -> Feature:
    above, below = Term(ORDER, measure, days), Term(ORDER, "count", days)
    return Feature(name, f"mean {words} of an order {_window(days)[1]}", Ratio(above, below), 0, high)


def _monthly(name: str, words: str, measure: Measure, high: float) -> Feature:
    rate = Ratio(Term(ORDER, measure), Term(ORDER, "since_first"), least_below=MONTH_DAYS, factor=MONTH_DAYS)
    return Feature(name, f"{words} a month of 30 days since the first order", rate, 0, high)


def _gap(days: int | None) -> Feature:
    suffix, when = _window(days)
    ratio = Ratio(Term(ORDER, "gap_days", days), Term(ORDER, "gaps", days), empty=365)
    return Feature(
        f"mean_gap_days_{suffix}", f"mean days between two orders {when}; 365 with none", ratio, 0, 365
    )


def _window(days: int | None) -> tuple[str, str]:
    return ("all", "in the whole history") if days is None else (f"{days}d", f"in the last {days} days")


def _compile() -> tuple[Feature, ...]:
    sums = [
        Feature(f"{name}_{suffix}", f"{words} {when}", Term(event, measure, days), 0, high)
        for name, event, measure, words, highs in _SUMS
        for days, high in zip(WINDOWS_DAYS, highs, strict=True)
        for suffix, when in [_window(days)]
    ]
    ratios = [
        _mean("mean_order_value", "value", "value", 5e3),
        _mean("mean_order_value_360d", "value", "value", 5e3, _YEAR),
        _mean("units_per_order", "pieces", "units", 5e3),
        _mean("units_per_order_360d", "pieces", "units", 5e3, _YEAR),
        _mean("lines_per_order", "lines", "lines", 200),
        _mean("lines_per_order_360d", "lines", "lines", 200, _YEAR),
        _monthly("orders_a_month", "orders", "count", 20),
        _monthly("spend_a_month", "money spent", "value", 1e4),
        _gap(None),
        _gap(_YEAR),
    ]
    return (*sums, *_SINGLE, *ratios)


CATALOGUE: dict[str, Feature] = {feature.name: feature for feature in _compile()}
"""Every event feature by name; a plan picks from these."""
