"""Append-only budget ledger of one region: check, record, change, in that order.

Entries are canonical bytes in a hash chain (each names the hash before it). A run first reserves its plan's
worst case, judged against the limit once; afterwards a charge only has to fit the reservation, which is a
counter. Survives a crash between any two statements: budget may be overcounted, never undercounted. Does
not decide who is in a population, and does not add noise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Integer, LargeBinary, String, Table, func, select

from foundation import canonical
from foundation.database import metadata
from foundation.errors import BudgetExceeded, LedgerBroken, RequestConflict, RunClosed
from privacy.accounting import Spent, spent
from privacy.budget import PERIOD_DAYS, Limit
from privacy.events import RELATION, UNIT, Charge

GENESIS = bytes(32)

entries = Table(
    "ledger_entry",
    metadata,
    Column("sequence", Integer, primary_key=True),
    Column("controller", String, nullable=False),
    Column("population", String, nullable=False),
    Column("run", String, nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("releases", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

reservations = Table(
    "ledger_reservation",
    metadata,
    Column("run", String, primary_key=True),
    Column("population", String, primary_key=True),
    Column("controller", String, nullable=False),
    Column("plan", String, nullable=False),
    Column("charges", String, nullable=False),
    Column("open", Integer, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One charge as it was recorded."""

    sequence: int
    controller: str
    population: str
    run: str
    plan: str
    request: str
    charge: Charge
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Account:
    """What a population has spent and may spend; epsilons at `limit.delta`."""

    spent: Spent
    reserved: float
    lifetime: float
    limit: Limit
    since: datetime

    @property
    def left(self) -> float:
        """Epsilon between what is spent or reserved and the limit."""
        return max(0.0, self.limit.epsilon - max(self.spent.epsilon, self.reserved))


def read(connection: Connection, *, controller: str | None = None) -> Iterator[Entry]:
    """Yields all entries in order, verifying the chain on the way.

    Raises:
        LedgerBroken: a hash, the order, or a copied column does not hold.
    """
    previous = GENESIS
    for place, row in enumerate(connection.execute(select(entries).order_by(entries.c.sequence)), start=1):
        if row.sequence != place or row.hash != _chained(previous, row.body):
            raise LedgerBroken(f"ledger entry {place}")
        previous = row.hash
        entry = _entry(place, row.body)
        copied = (row.controller, row.population, row.run, row.kind, row.releases)
        if copied != (entry.controller, entry.population, entry.run, entry.charge.kind, entry.charge.count):
            raise LedgerBroken(f"ledger entry {place}")
        if controller is None or entry.controller == controller:
            yield entry


def head(connection: Connection) -> tuple[int, bytes]:
    """Returns number and hash of the last entry; (0, 32 zero bytes) where there is none."""
    last = _last(connection)
    return (0, GENESIS) if last is None else (last.sequence, last.hash)


def account(
    connection: Connection, *, controller: str, population: str, limit: Limit, now: datetime
) -> Account:
    """Returns the population's account for the rolling period that ends now."""
    return _account(connection, (controller, population), limit, now, asked=("", []))


def forecast(
    connection: Connection,
    *,
    plan: str,
    controller: str,
    population: str,
    charges: list[Charge],
    limit: Limit,
    now: datetime,
) -> float:
    """Returns the period's epsilon if plan spent charges on top of all that is spent and reserved."""
    whose = (controller, population)
    return _account(connection, whose, limit, now, asked=(plan, charges)).reserved


def reserve(
    connection: Connection,
    *,
    run: str,
    plan: str,
    controller: str,
    population: str,
    charges: list[Charge],
    limit: Limit,
    now: datetime,
) -> None:
    """Reserves charges for run; does nothing where the run has reserved already.

    Raises:
        BudgetExceeded: spent, reserved and asked together would exceed the limit.
        RunClosed: the run's reservation was closed.
        RequestConflict: the run began with another plan.
    """
    if (known := _reservation(connection, run, population)) is not None:
        if not known.open:
            raise RunClosed(f"run {run[:8]}")
        if (known.plan, known.controller) != (plan, controller):
            raise RequestConflict(f"run {run[:8]}", why="it began with another plan")
        return
    worst = forecast(
        connection,
        plan=plan,
        controller=controller,
        population=population,
        charges=charges,
        limit=limit,
        now=now,
    )
    if worst > limit.epsilon:
        raise BudgetExceeded(
            f"population {population}: epsilon {worst:.3f} needed, "
            f"the limit is {limit.epsilon:g} per {PERIOD_DAYS} days"
        )
    connection.execute(
        reservations.insert().values(
            run=run,
            population=population,
            controller=controller,
            plan=plan,
            charges=_written(charges),
            open=1,
        )
    )


def charge(
    connection: Connection,
    *,
    run: str,
    plan: str,
    population: str,
    request: str,
    charge: Charge,
    now: datetime,
) -> Entry:
    """Records charge against the run's reservation and returns the entry; the caller commits.

    Raises:
        RunClosed: the run has no open reservation for the plan.
        BudgetExceeded: the reservation has not this much left.
    """
    reserved = require_open(connection, run=run, plan=plan, population=population)
    if _left(connection, reserved, charge) < charge.count:
        raise BudgetExceeded(f"run {run[:8]} has used what it reserved for {charge.kind}")
    last = _last(connection)
    sequence, previous = (0, GENESIS) if last is None else (last.sequence, last.hash)
    if last is not None:  # a clock that goes back must not shorten the period
        now = max(now, datetime.fromisoformat(json.loads(last.body)["recorded_at"]))
    entry = Entry(sequence + 1, reserved.controller, population, run, reserved.plan, request, charge, now)
    body = _body(entry)
    connection.execute(
        entries.insert().values(
            sequence=entry.sequence,
            controller=entry.controller,
            population=population,
            run=run,
            kind=charge.kind,
            releases=charge.count,
            body=body,
            hash=_chained(previous, body),
        )
    )
    return entry


def require_open(connection: Connection, *, run: str, plan: str, population: str) -> Any:
    """Returns the run's open reservation for the plan; raises RunClosed where there is none."""
    reserved = _reservation(connection, run, population)
    if reserved is None or not reserved.open or reserved.plan != plan:
        raise RunClosed(f"run {run[:8]} has no open reservation for this plan")
    return reserved


def has(connection: Connection, entry_hash: bytes) -> bool:
    """Whether an entry of this hash is in the ledger; 32 zero bytes are always."""
    found = connection.execute(select(entries.c.sequence).where(entries.c.hash == entry_hash)).first()
    return entry_hash == GENESIS or found is not None


def close(connection: Connection, run: str) -> None:
    """Frees what the run reserved and did not use; the run can charge nothing any more."""
    connection.execute(reservations.update().where(reservations.c.run == run).values(open=0))


def close_others(connection: Connection, run: str) -> None:
    """Closes every other run: a vault serves one run at a time, and an abandoned one frees its budget."""
    connection.execute(reservations.update().where(reservations.c.run != run).values(open=0))


def _last(connection: Connection) -> Any | None:
    return connection.execute(select(entries).order_by(entries.c.sequence.desc()).limit(1)).one_or_none()


def _account(
    connection: Connection,
    whose: tuple[str, str],
    limit: Limit,
    now: datetime,
    asked: tuple[str, list[Charge]],
) -> Account:
    controller, population = whose
    since = now - timedelta(days=PERIOD_DAYS)
    mine = [entry for entry in read(connection, controller=controller) if entry.population == population]
    period = [entry for entry in mine if entry.recorded_at > since]
    held = [*_held(connection, controller, population), asked]
    charges, plans = [entry.charge for entry in period], {entry.plan for entry in period}
    promised = charges + [each for _, more in held for each in more]
    promising = plans | {plan for plan, more in held if more}
    everything = spent([entry.charge for entry in mine], delta=limit.delta, plans=len({e.plan for e in mine}))
    return Account(
        spent=spent(charges, delta=limit.delta, plans=len(plans)),
        reserved=spent(promised, delta=limit.delta, plans=len(promising)).epsilon,
        lifetime=everything.epsilon,
        limit=limit,
        since=since,
    )


def _held(connection: Connection, controller: str, population: str) -> Iterator[tuple[str, list[Charge]]]:
    rows = connection.execute(
        select(reservations).where(
            reservations.c.controller == controller,
            reservations.c.population == population,
            reservations.c.open == 1,
        )
    )
    for row in rows:
        left = [(each, _left(connection, row, each)) for each in _charges(row.charges)]
        yield row.plan, [Charge(e.kind, e.noise_multiplier, e.sampling_rate, n) for e, n in left if n > 0]


def _left(connection: Connection, reservation: Any, wanted: Charge) -> int:
    allowed = sum(
        each.count
        for each in _charges(reservation.charges)
        if (each.kind, each.noise_multiplier, each.sampling_rate)
        == (wanted.kind, wanted.noise_multiplier, wanted.sampling_rate)
    )
    used = connection.execute(
        select(func.coalesce(func.sum(entries.c.releases), 0)).where(
            entries.c.run == reservation.run,
            entries.c.population == reservation.population,
            entries.c.kind == wanted.kind,
        )
    ).scalar_one()
    return int(allowed - used)


def _reservation(connection: Connection, run: str, population: str) -> Any | None:
    return connection.execute(
        select(reservations).where(reservations.c.run == run, reservations.c.population == population)
    ).one_or_none()


def _written(charges: list[Charge]) -> str:
    return json.dumps([asdict(each) for each in charges], sort_keys=True)


def _charges(body: str) -> list[Charge]:
    return [Charge(**each) for each in json.loads(body)]


def _body(entry: Entry) -> bytes:
    charge = entry.charge
    told = {
        "kind": charge.kind,
        "noise_multiplier": repr(float(charge.noise_multiplier)),
        "sampling_rate": repr(float(charge.sampling_rate)),
        "count": charge.count,
    }
    return canonical.encode(
        {
            "sequence": entry.sequence,
            "controller": entry.controller,
            "population": entry.population,
            "run": entry.run,
            "plan": entry.plan,
            "request": entry.request,
            "charge": told,
            "recorded_at": entry.recorded_at.isoformat(),
            "unit": UNIT,
            "relation": RELATION,
        }
    )


def _entry(sequence: int, body: bytes) -> Entry:
    fields = json.loads(body)
    told = fields["charge"]
    charge = Charge(
        told["kind"], float(told["noise_multiplier"]), float(told["sampling_rate"]), told["count"]
    )
    return Entry(
        sequence,
        fields["controller"],
        fields["population"],
        fields["run"],
        fields["plan"],
        fields["request"],
        charge,
        datetime.fromisoformat(fields["recorded_at"]),
    )


def _chained(previous: bytes, body: bytes) -> bytes:
    return hashlib.sha256(previous + body).digest()
