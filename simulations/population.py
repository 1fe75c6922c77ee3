"""Synthetic people of three regions with a known truth: events, consents and P(label | history) as Parquet.

Promises that one seed gives identical tables, that a person's rows do not depend on how many others there
are, and that memory stays flat: people come in chunks, one row group each. `manifest.json` is written
last: a folder without it is not a whole world. Does not touch real rows; see `simulations/oracle.py` for
the law and `simulations/shopping.py` for what people do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from foundation import canonical, require
from foundation.errors import SourceMissing, UsageWrong
from foundation.files import write_atomically
from simulations import shopping
from simulations.oracle import DAY, EVENTS, NO_ORDER, TASKS, WINDOW_DAYS, Events, Floats, Integers
from simulations.shopping import MARKETS, Window

WORLD_FORMAT = 1
"""Raised whenever the same seed gives other rows."""

CHUNK = 2_000
"""People drawn together from one generator; part of the format."""

PURPOSE = "retention"
STATES = ("given", "renewed", "refused", "withdrawn", "expired")
GIVEN, RENEWED, REFUSED, WITHDRAWN, EXPIRED = range(len(STATES))

REFUSED_SHARE = 0.06
WITHDRAWN_EARLY_SHARE = 0.03
WITHDRAWN_LATE_SHARE = 0.015
EXPIRED_SHARE = 0.01
RENEWED_SHARE = 0.05
"""Shares of people; the others gave consent once, without expiry."""

_NEVER = -1
_TIME = pa.timestamp("us", tz="UTC")

EVENT_SCHEMA = pa.schema([
    ("subject_id", pa.string()),
    ("ts", _TIME),
    ("event", pa.string()),
    ("order_id", pa.string()),
    ("value_minor", pa.int64()),
    ("units", pa.int32()),
    ("country", pa.string()),
])  # fmt: skip
CONSENT_SCHEMA = pa.schema([
    ("subject_id", pa.string()),
    ("purpose", pa.string()),
    ("state", pa.string()),
    ("ts", _TIME),
    ("expires_at", _TIME),
])  # fmt: skip
TRUTH_SCHEMA = pa.schema([
    ("subject_id", pa.string()),
    ("as_of", pa.date32()),
    *((task, pa.float64()) for task in TASKS),
])  # fmt: skip

Names: TypeAlias = npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class World:
    """What a world is made from: people per region, the seed, and the two snapshots (UTC midnights).

    Raises:
        UsageWrong: a region is unknown, or the first label window reaches past the second snapshot.
        ValueError: a region has no people, or the seed is negative.
    """

    people: dict[str, int] = field(default_factory=lambda: {"eu": 10_000, "us": 6_000, "sea": 4_000})
    seed: int = 1
    train_as_of: date = date(2025, 6, 1)
    test_as_of: date = date(2025, 9, 1)

    def __post_init__(self) -> None:
        """Refuses worlds whose truth would not hold."""
        require.positive(**self.people)
        require.non_negative(seed=self.seed)
        if unknown := self.people.keys() - MARKETS.keys():
            raise UsageWrong(
                f"regions {', '.join(sorted(unknown))} of a world", why="no market is defined for them"
            )
        if (self.test_as_of - self.train_as_of).days < WINDOW_DAYS:
            raise UsageWrong(
                "the snapshots of a world",
                why=f"the second must come at least {WINDOW_DAYS} days after the first",
                do="choose a later test_as_of",
            )


@dataclass(frozen=True, slots=True)
class Consents:
    """Consent records as columns; `expires` is -1 where a record has no expiry. Times in microseconds."""

    person: Integers
    state: Integers
    time: Integers
    expires: Integers


@dataclass(frozen=True, slots=True)
class Chunk:
    """Everything about consecutive people; `windows` in the order of the snapshots."""

    people: int
    countries: Names
    events: Events
    consents: Consents
    windows: tuple[Window, Window]


def microseconds(day: date) -> int:
    """Returns the UTC midnight that begins day, in microseconds since 1970."""
    return (day - date(1970, 1, 1)).days * DAY


def chunks(world: World, region: str) -> Iterator[Chunk]:
    """Yields the region's people in order, at most CHUNK at a time."""
    for number in range(-(-world.people[region] // CHUNK)):
        yield _chunk(world, region, number, min(CHUNK, world.people[region] - number * CHUNK))


def _chunk(world: World, region: str, number: int, people: int) -> Chunk:
    """Draws CHUNK people and keeps the first: who else is there changes nobody's rows."""
    seeds = np.random.SeedSequence([world.seed, number, *region.encode()]).spawn(3)
    homes, shop, wishes = (np.random.default_rng(seed) for seed in seeds)
    market = MARKETS[region]
    train, test = microseconds(world.train_as_of), microseconds(world.test_as_of)
    events = shopping.past(market, CHUNK, train, shop)
    first, events = shopping.window(market, events, CHUNK, train, shop)
    second, events = shopping.window(market, events, CHUNK, test, shop)
    consents = _consents(events, train, test, wishes)
    written = (events.person < people) & (events.time < test + WINDOW_DAYS * DAY)
    countries = homes.choice(np.array(list(market.countries)), CHUNK, p=list(market.countries.values()))
    return Chunk(people, countries[:people], events.rows(written), consents, (first, second))


def _consents(events: Events, train: int, test: int, generator: np.random.Generator) -> Consents:
    """One first record a person, shortly before their first event; then renewals, withdrawals, expiries."""
    first = np.full(CHUNK, train)
    np.minimum.at(first, events.person, events.time)
    given = first - (generator.random(CHUNK) * DAY).astype(np.int64)
    before = given + (generator.random(CHUNK) * (train - given)).astype(np.int64)
    between = train + (generator.random(CHUNK) * (test - train)).astype(np.int64)
    shares = (REFUSED_SHARE, WITHDRAWN_EARLY_SHARE, WITHDRAWN_LATE_SHARE, EXPIRED_SHARE, RENEWED_SHARE)
    fate = np.searchsorted(np.cumsum(shares), generator.random(CHUNK), side="right")
    refused, early, late, expired, renewed = (np.flatnonzero(fate == place) for place in range(len(shares)))
    state, expires = np.full(CHUNK, GIVEN), np.full(CHUNK, _NEVER)
    state[refused] = REFUSED
    for fading in (expired, renewed):
        expires[fading] = before[fading]
    noted = expired[::2]
    renewal = given + ((before - given) * 0.9).astype(np.int64)
    records = [
        (np.arange(CHUNK), state, given, expires),
        (early, np.full(len(early), WITHDRAWN), before[early], np.full(len(early), _NEVER)),
        (late, np.full(len(late), WITHDRAWN), between[late], np.full(len(late), _NEVER)),
        (noted, np.full(len(noted), EXPIRED), before[noted], np.full(len(noted), _NEVER)),
        (renewed, np.full(len(renewed), RENEWED), renewal[renewed], np.full(len(renewed), _NEVER)),
    ]
    person, states, time, until = (np.concatenate(column) for column in zip(*records, strict=True))
    order = np.lexsort((time, person))
    return Consents(person[order], states[order], time[order], until[order])


def write_world(world: World, folder: Path) -> None:
    """Writes `folder/REGION/{events,consent,truth}.parquet` for each region, then `folder/manifest.json`."""
    manifest = folder / "manifest.json"
    manifest.unlink(missing_ok=True)
    for region in world.people:
        (folder / region).mkdir(parents=True, exist_ok=True)
        _write_region(world, region, folder / region)
    facts = {
        "format": WORLD_FORMAT,
        "numpy": np.__version__,
        "people": world.people,
        "pyarrow": pa.__version__,
        "seed": world.seed,
        "tasks": list(TASKS),
        "test_as_of": world.test_as_of,
        "train_as_of": world.train_as_of,
    }
    write_atomically(manifest, canonical.encode(canonical.decimals(facts)) + b"\n")


def _write_region(world: World, region: str, folder: Path) -> None:
    with (
        pq.ParquetWriter(folder / "events.parquet", EVENT_SCHEMA, compression="zstd") as events,
        pq.ParquetWriter(folder / "consent.parquet", CONSENT_SCHEMA, compression="zstd") as consents,
        pq.ParquetWriter(folder / "truth.parquet", TRUTH_SCHEMA, compression="zstd") as truth,
    ):
        for number, chunk in enumerate(chunks(world, region)):
            start = number * CHUNK
            subjects = pa.array([f"{region}-{start + place:06d}" for place in range(chunk.people)])
            events.write_table(_event_table(chunk, subjects))
            consents.write_table(_consent_table(chunk, subjects))
            for as_of, window in zip((world.train_as_of, world.test_as_of), chunk.windows, strict=True):
                truth.write_table(_truth_table(chunk, window, as_of, subjects))


def _named(names: tuple[str, ...], places: Integers) -> pa.Array:
    return pa.array(names).take(pa.array(places))


def _event_table(chunk: Chunk, subjects: pa.Array) -> pa.Table:
    rows = chunk.events
    without = rows.order == NO_ORDER
    subject = subjects.take(pa.array(rows.person))
    order = pa.array(rows.order, mask=without).cast(pa.string())
    columns = [
        subject,
        pa.array(rows.time).cast(_TIME),
        _named(EVENTS, rows.kind),
        pc.binary_join_element_wise(subject, order, "-"),
        pa.array(rows.value_minor, mask=without),
        pa.array(rows.units.astype(np.int32), mask=without),
        pa.array(chunk.countries).take(pa.array(rows.person)),
    ]
    return pa.table(columns, schema=EVENT_SCHEMA)


def _consent_table(chunk: Chunk, subjects: pa.Array) -> pa.Table:
    records = chunk.consents
    kept = records.person < chunk.people
    expires = records.expires[kept]
    columns = [
        subjects.take(pa.array(records.person[kept])),
        pa.array([PURPOSE]).take(pa.array(np.zeros(len(expires), dtype=np.int64))),
        _named(STATES, records.state[kept]),
        pa.array(records.time[kept]).cast(_TIME),
        pa.array(expires, mask=expires == _NEVER).cast(_TIME),
    ]
    return pa.table(columns, schema=CONSENT_SCHEMA)


def _truth_table(chunk: Chunk, window: Window, as_of: date, subjects: pa.Array) -> pa.Table:
    """Rows of the people active at as_of."""
    active = np.flatnonzero(window.known.active[: chunk.people])
    columns = [
        subjects.take(pa.array(active)),
        pa.array([as_of] * len(active), type=pa.date32()),
        *(pa.array(window.truth[task][active]) for task in TASKS),
    ]
    return pa.table(columns, schema=TRUTH_SCHEMA)


def read_truth(folder: Path, region: str, as_of: date) -> tuple[Names, dict[str, Floats]]:
    """Returns the identifiers of the people active at as_of and P(label | history) per task, in one order.

    Raises:
        SourceMissing: the folder holds no whole world, or the world has no such region or snapshot.
    """
    path = folder / region / "truth.parquet"
    if not ((folder / "manifest.json").is_file() and path.is_file()):
        raise SourceMissing(f"synthetic truth {path}", do="write the world first")
    rows = pq.read_table(path, filters=[("as_of", "=", as_of)])
    if rows.num_rows == 0:
        raise SourceMissing(f"snapshot {as_of} in {path}", do="ask for one of the world's two snapshots")
    subjects = np.asarray(rows["subject_id"].to_numpy(), dtype=np.str_)
    return subjects, {task: rows[task].to_numpy() for task in TASKS}
