"""The known law of the synthetic world: P(label | history), a function of a person's events before `as_of`.

Promises that nothing at or after `as_of` and no other person enters, that one law holds in all regions
(they differ in who lives there), and that `simulations/shopping.py` draws every label window from these
very numbers. Exact up to the rounding of a sum of money to a cent. Does not learn anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtr

from profiles.catalogue import CART, ORDER, REFUND, VIEW

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

EVENTS = (VIEW, CART, ORDER, REFUND)
"""Names of the events; an event's kind is its place here."""

CHURN, HIGH_VALUE = "churn_90d", "high_value_90d"
TASKS = (CHURN, HIGH_VALUE)

WINDOW_DAYS = 90
ACTIVE_DAYS = 365
HIGH_VALUE_EUROS = 150.0
LAPSED_ORDER_PROBABILITY = 0.03
"""Chance that a person without an order in the last 365 days orders in a window."""

SPEND_DEVIATION = 0.75
"""Standard deviation of the logarithm of what a buyer spends in a window."""

_FEW_ORDERS = 2

DAY = 86_400 * 10**6
"""One day in microseconds."""

NO_ORDER = -1
"""Order number, money and pieces of an event that has none."""


@dataclass(frozen=True, slots=True)
class Events:
    """Columns of equal length, one row an event; `person` counts from 0, `time` is microseconds in UTC."""

    person: Integers
    time: Integers
    kind: Integers
    order: Integers
    value_minor: Integers
    units: Integers

    def rows(self, chosen: Flags | Integers) -> Events:
        """Returns the chosen rows."""
        return Events(
            self.person[chosen],
            self.time[chosen],
            self.kind[chosen],
            self.order[chosen],
            self.value_minor[chosen],
            self.units[chosen],
        )


@dataclass(frozen=True, slots=True)
class History:
    """What the law sees of each person: floats of shape (people,); money in euros, times in days.

    | a person without | has |
    |---|---|
    | any order | recency infinite, not active, mean order 0 |
    | a second order | gap 120 |
    """

    recency: Floats
    tenure: Floats
    gap: Floats
    orders: Floats
    orders_year: Floats
    mean_order: Floats
    views_month: Floats
    views_quarter: Floats
    carts_month: Floats
    refunds: Floats

    @property
    def active(self) -> Flags:
        """True where an order lies in the last 365 days."""
        return self.orders_year > 0


def history(events: Events, people: int, as_of: int, euros_per_minor: float) -> History:
    """Returns the history of persons 0..people-1 from events before as_of (microseconds)."""
    past = events.rows(events.time < as_of)
    age = (as_of - past.time) / DAY

    def count(name: str, days: float = np.inf) -> Floats:
        chosen = (past.kind == EVENTS.index(name)) & (age <= days)
        return np.bincount(past.person[chosen], minlength=people).astype(np.float64)

    bought = past.kind == EVENTS.index(ORDER)
    buyer, bought_age = past.person[bought], age[bought]
    recency, first = np.full(people, np.inf), np.zeros(people)
    np.minimum.at(recency, buyer, bought_age)
    np.maximum.at(first, buyer, bought_age)
    spent = np.bincount(buyer, past.value_minor[bought] * euros_per_minor, minlength=people)
    orders = count(ORDER)
    gap = np.where(orders > 1, (first - np.where(orders > 0, recency, 0)) / np.maximum(orders - 1, 1), 120)
    return History(
        recency=recency,
        tenure=first,
        gap=gap,
        orders=orders,
        orders_year=count(ORDER, ACTIVE_DAYS),
        mean_order=spent / np.maximum(orders, 1),
        views_month=count(VIEW, 30),
        views_quarter=count(VIEW, 90),
        carts_month=count(CART, 30),
        refunds=count(REFUND, ACTIVE_DAYS),
    )


def churn(known: History) -> Floats:
    """Returns P(no order in the 90 days after `as_of` | history), shape (people,).

    Beyond a weighted sum of logarithms: a person late by their own rhythm leaves sooner, and fading
    attention counts only for those who came often.
    """
    recency = np.minimum(known.recency, 10 * ACTIVE_DAYS)
    overdue = np.tanh(2 * np.log((recency + 10) / (known.gap + 10)))
    trend = (3 * known.views_month + 1) / (known.views_quarter + 1)
    logit = (
        -0.40
        + 0.55 * (np.log1p(recency) - 4.2)
        + 1.50 * overdue
        - 0.85 * (np.log1p(known.orders_year) - 1.1)
        - 0.50 * (np.log1p(known.views_month) - 1.0)
        - 0.40 * np.log(trend) * (known.orders_year > _FEW_ORDERS)
        - 0.20 * np.log1p(known.carts_month)
        + 0.30 * np.minimum(known.refunds, 2)
        - 0.10 * (np.log1p(known.tenure) - 5.0)
    )
    return np.where(known.active, expit(logit), 1 - LAPSED_ORDER_PROBABILITY)


def log_spend(known: History) -> Floats:
    """Returns the mean logarithm of the euros that a person spends in the window if they order at all."""
    mean_order = np.maximum(known.mean_order, 1.0)
    mean_log: Floats = (
        2.10
        + 0.60 * np.log(mean_order)
        + 0.40 * np.log1p(known.orders_year / 2)
        + 0.10 * np.log1p(known.views_month)
        + 0.50 * np.tanh(2 * np.log(mean_order / 60)) * (known.orders > 1)
    )
    return mean_log


def high_value(known: History) -> Floats:
    """Returns P(spend in the 90 days after `as_of` reaches 150 euros | history), shape (people,)."""
    reach = ndtr((log_spend(known) - np.log(HIGH_VALUE_EUROS)) / SPEND_DEVIATION)
    return np.asarray((1 - churn(known)) * reach, dtype=np.float64)


def truth(known: History) -> dict[str, Floats]:
    """Returns the probability of each task's label given history."""
    return {CHURN: churn(known), HIGH_VALUE: high_value(known)}
