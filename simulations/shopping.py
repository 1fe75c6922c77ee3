"""Draws what synthetic people do: years of shopping, then label windows after the known law.

The past is BG/NBD-like (Gamma rates, Beta drop-out after an order) with log-normal, heavy-tailed money and
browsing that fades after an order. Each window is drawn from `simulations/oracle.py` and from nothing
else: no latent trait of a person reaches a label. Does not imitate seasons, hours or products.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from simulations import oracle
from simulations.oracle import DAY, EVENTS, NO_ORDER, WINDOW_DAYS, Events, Flags, Floats, History, Integers

VIEW, CART, ORDER, REFUND = range(len(EVENTS))

PAST_DAYS = 1_095
"""First orders lie at most this long before the first snapshot."""

_MOST_ORDERS = 60
_MINUTE = DAY // 1_440
_LEAST_MINOR = 300
_LEAST_AGE_DAYS = 1e-4
_CART_SHARE = 0.10


@dataclass(frozen=True, slots=True)
class Market:
    """How a region's people shop: rates are per week, prices are the median order in euros."""

    countries: dict[str, float]
    currency: str
    euros_per_unit: float
    rate_shape: float
    rate_weeks: float
    price: float
    price_spread: float
    attention: float
    refund_share: float

    @property
    def euros_per_minor(self) -> float:
        """Euros in one cent of the region's currency."""
        return self.euros_per_unit / 100


MARKETS: dict[str, Market] = {
    "eu": Market(
        {"DE": 0.30, "FR": 0.22, "ES": 0.14, "IT": 0.15, "NL": 0.09, "PL": 0.10},
        "EUR", 1.0, 0.50, 4.8, 38.0, 0.80, 0.9, 0.06,
    ),
    "us": Market({"US": 1.0}, "USD", 0.92, 0.60, 4.4, 43.0, 0.90, 1.0, 0.08),
    "sea": Market(
        {"ID": 0.30, "TH": 0.20, "VN": 0.18, "SG": 0.08, "MY": 0.12, "PH": 0.12},
        "SGD", 0.68, 0.65, 4.8, 28.0, 0.85, 1.2, 0.04,
    ),
}  # fmt: skip
"""Regions by name; exchange rates are public constants."""

DROP_OUT = (0.69, 2.0)
"""Beta parameters of the chance that an order is a person's last (measured on CDNOW)."""


@dataclass(frozen=True, slots=True)
class Window:
    """One snapshot of a chunk: the truth, and what was drawn from it (booleans of shape (people,))."""

    known: History
    truth: dict[str, Floats]
    drawn: dict[str, Flags]


def _events(
    person: Integers,
    time: Integers | Floats,
    kind: int,
    *,
    order: Integers | None = None,
    value_minor: Integers | None = None,
    units: Integers | None = None,
) -> Events:
    """One row an event; NO_ORDER stands where an event has no order."""
    none = np.full(len(person), NO_ORDER)
    return Events(
        person=person,
        time=np.asarray(time).astype(np.int64),
        kind=np.full(len(person), kind),
        order=none if order is None else order,
        value_minor=none if value_minor is None else value_minor,
        units=none if units is None else units,
    )


def join(parts: list[Events]) -> Events:
    """Returns all rows of parts, by person, then time, then kind."""
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Events)
    }
    together = Events(**columns)
    return together.rows(np.lexsort((together.kind, together.time, together.person)))


def past(market: Market, people: int, as_of: int, generator: np.random.Generator) -> Events:
    """Returns everything that people do before as_of, and the browsing that trails after it."""
    orders, dropped = _past_orders(market, people, as_of, generator)
    attention = generator.gamma(1.2, market.attention / 1.2, people)
    visits = _visits(orders, attention, 0, generator)
    wandering = _wandering(orders, dropped, attention, as_of, generator)
    refunds = _refunds(market, orders, generator)
    return join([orders, refunds, visits, *_with_carts(wandering, generator)])


def _past_orders(
    market: Market, people: int, as_of: int, generator: np.random.Generator
) -> tuple[Events, Flags]:
    rate = np.maximum(generator.gamma(market.rate_shape, 1 / market.rate_weeks, people), 1e-4)
    first = PAST_DAYS * generator.random(people) ** 1.2 + 0.01
    gaps = generator.exponential(7 / rate, (_MOST_ORDERS - 1, people)).T
    age = first[:, None] - np.cumsum(np.column_stack([np.zeros(people), gaps]), axis=1)
    kept = generator.geometric(np.maximum(generator.beta(*DROP_OUT, people), 1e-3))
    happened = (age > _LEAST_AGE_DAYS) & (np.arange(_MOST_ORDERS) < kept[:, None])
    dropped = happened.sum(axis=1) >= kept
    person, order = np.nonzero(happened)
    level = market.price * generator.lognormal(0.0, market.price_spread, people)
    euros = level[person] * generator.lognormal(0.0, 0.45, len(person))
    value = np.maximum(np.rint(euros / market.euros_per_minor), _LEAST_MINOR).astype(np.int64)
    time = as_of - age[person, order] * DAY
    return _events(
        person, time, ORDER, order=order, value_minor=value, units=1 + generator.poisson(1.2, len(person))
    ), dropped


def _visits(orders: Events, attention: Floats, floor: int, generator: np.random.Generator) -> Events:
    """Views that lead to an order (none before floor), its cart, and views that fade."""
    focus = attention[orders.person]
    before, after = generator.poisson(1 + 2.5 * focus), generator.poisson(2.0 * focus)
    lead, trail = np.repeat(orders.person, before), np.repeat(orders.person, after)
    room = np.repeat(orders.time - floor, before)
    ahead = generator.exponential(4 * DAY, len(lead))
    sooner = np.repeat(orders.time, before) - np.where(
        ahead < room, ahead, room * generator.random(len(lead))
    )
    later = np.repeat(orders.time, after) + generator.exponential(20 * DAY, len(trail))
    filled = orders.time - generator.uniform(1, 30, len(orders.time)) * _MINUTE
    return join([
        _events(lead, sooner, VIEW),
        _events(trail, later, VIEW),
        _events(orders.person, np.maximum(filled, floor), CART),
    ])  # fmt: skip


def _wandering(
    orders: Events, dropped: Flags, attention: Floats, as_of: int, generator: np.random.Generator
) -> Events:
    people = len(dropped)
    first, last = np.full(people, as_of), np.zeros(people, dtype=np.int64)
    np.minimum.at(first, orders.person, orders.time)
    np.maximum.at(last, orders.person, orders.time)
    fading = last + generator.exponential(45 * DAY, people)
    days = (np.where(dropped, np.minimum(fading, as_of), as_of) - first) / DAY
    person = np.repeat(np.arange(people), generator.poisson(0.030 * attention * days))
    return _events(person, first[person] + generator.random(len(person)) * days[person] * DAY, VIEW)


def _with_carts(views: Events, generator: np.random.Generator) -> tuple[Events, Events]:
    carted = generator.random(len(views.person)) < _CART_SHARE
    person, time = views.person[carted], views.time[carted]
    return views, _events(person, time + 2 * _MINUTE, CART)


def _refunds(market: Market, orders: Events, generator: np.random.Generator) -> Events:
    chosen = generator.random(len(orders.person)) < market.refund_share
    delay = generator.uniform(2, 21, len(orders.person)) * DAY
    some = orders.rows(chosen)
    return _events(
        some.person,
        some.time + delay[chosen],
        REFUND,
        order=some.order,
        value_minor=some.value_minor,
        units=some.units,
    )


def window(
    market: Market, events: Events, people: int, as_of: int, generator: np.random.Generator
) -> tuple[Window, Events]:
    """Returns the snapshot at as_of and the events with the 90 days after it added."""
    known = oracle.history(events, people, as_of, market.euros_per_minor)
    truth = oracle.truth(known)
    ordering = generator.random(people) >= truth[oracle.CHURN]
    total = _window_spend(market, known, generator)
    high = ordering & (total * market.euros_per_minor >= oracle.HIGH_VALUE_EUROS)
    orders = _window_orders(known, ordering, total, as_of, generator)
    visits = _visits(orders, np.full(people, market.attention), as_of, generator)
    browsing = _window_browsing(known, ordering, as_of, generator)
    refunds = _refunds(market, orders, generator)
    added = [events, orders, refunds, visits, *_with_carts(browsing, generator)]
    return Window(known, truth, {oracle.CHURN: ~ordering, oracle.HIGH_VALUE: high}), join(added)


def _window_spend(market: Market, known: History, generator: np.random.Generator) -> Integers:
    euros = np.exp(
        oracle.log_spend(known) + oracle.SPEND_DEVIATION * generator.standard_normal(len(known.gap))
    )
    return np.maximum(np.rint(euros / market.euros_per_minor), _LEAST_MINOR).astype(np.int64)


def _window_orders(
    known: History, ordering: Flags, total: Integers, as_of: int, generator: np.random.Generator
) -> Events:
    """Orders at random times of the window whose values add up to the cent to a buyer's total."""
    wished = 1 + generator.poisson(np.minimum(known.orders_year, 40) / 6)
    count = np.where(ordering, np.minimum(wished, total // _LEAST_MINOR), 0)
    person = np.repeat(np.arange(len(count)), count)
    place = np.arange(len(person)) - np.repeat(np.cumsum(count) - count, count)
    moments = generator.random(len(person)) * WINDOW_DAYS * DAY
    return _events(
        person,
        as_of + moments[np.lexsort((moments, person))],
        ORDER,
        order=known.orders[person].astype(np.int64) + place,
        value_minor=_split(np.where(count > 0, total, 0), count, generator),
        units=1 + generator.poisson(1.2, len(person)),
    )


def _split(totals: Integers, counts: Integers, generator: np.random.Generator) -> Integers:
    """Returns counts[i] random values of at least 1 that add up to totals[i], for each i in order."""
    row = np.repeat(np.arange(len(counts)), counts)
    last = np.cumsum(counts) - 1
    weight = generator.gamma(4.0, size=len(row))
    reached = np.cumsum(weight)
    before = (reached - weight)[(last - counts + 1)[row]]
    share = (reached - before) / np.bincount(row, weight, minlength=len(counts))[row]
    share[last[counts > 0]] = 1.0
    upper = np.rint(share * (totals - counts)[row]).astype(np.int64)
    upper += (np.cumsum(totals - counts) - (totals - counts))[row]
    values: Integers = 1 + np.diff(upper, prepend=0)
    return values


def _window_browsing(known: History, ordering: Flags, as_of: int, generator: np.random.Generator) -> Events:
    """Views at the pace of the last 90 days; the attention of those who do not order fades."""
    pace = np.minimum(known.views_quarter, 60)
    count = generator.poisson(np.where(ordering, 0.5 * pace + 1, 0.4 * pace + 0.2))
    person = np.repeat(np.arange(len(count)), count)
    moment = generator.random(len(person)) ** np.where(ordering[person], 1, 2)
    return _events(person, as_of + moment * WINDOW_DAYS * DAY, VIEW)
