"""What a federated round costs beyond training: three regions in one process, and Flower's Ray simulation.

The real run, watched: a round is the wall time between two progress reports of the coordinator, and the time
in which any region trains is taken off. What one region does while another trains hides behind that, so there
is the *empty* round too, in which training answers at once. No durable state means region databases in memory
and, because the checkpoint is always flushed, the run folder on tmpfs. Flower's rounds are empty, with
messages of our sizes, and do none of our work on consent, ledger, receipts and logs.
Does not measure training, TLS or a network.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest import mock

from table import REPORTED, Row, arguments, median_of, publish, quantile

from foundation.wire import QUIET, keep_flower_quiet

NAME = "round_overhead"
HERE = Path(__file__).resolve().parent
PLAN = HERE / "plans" / f"{NAME}.toml"
RUNS, MEMORY = HERE.parent / "runs", Path("/dev/shm")  # noqa: S108 - tmpfs is the point
PEER = HERE / "peers" / "flower_ray"

QUICK_PEOPLE = {"eu": 1_000, "us": 1_000, "sea": 1_000}
REPEATS, FSYNCS, BLOCK = 3, 50, 4_096
IN_MEMORY_MS, DURABLE_MS = 20.0, 60.0

Interval = tuple[float, float]


@dataclass(slots=True)
class Watch:
    """What was seen of one run; times of one clock, in seconds."""

    training: list[Interval] = field(default_factory=list)
    vaults: list[Interval] = field(default_factory=list)
    marks: list[tuple[float, int]] = field(default_factory=list)
    flushes: int = 0
    frames: list[tuple[int, int]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def progress(self, what: str, _done: int, _wanted: int) -> None:
        """Marks where each round begins, and the end of the last one."""
        if what in ("training", "evaluating"):
            self.marks.append((time.perf_counter(), self.flushes))

    def flushed(self) -> None:
        """Counts one flush to disk."""
        with self._lock:
            self.flushes += 1

    def timed(self, seen: list[Interval], function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Calls function and keeps when it ran."""
        begun = time.perf_counter()
        try:
            return function(*given, **named)
        finally:
            with self._lock:
                seen.append((begun, time.perf_counter()))


@dataclass(frozen=True, slots=True)
class Way:
    """How a run keeps its state, and whether its training answers at once."""

    durable: bool
    empty: bool

    @property
    def words(self) -> str:
        """As a row tells it."""
        round_ = "empty round" if self.empty else "round beyond training"
        tmpfs = "databases in memory, run folder on tmpfs" if MEMORY.is_dir() else "databases in memory"
        return f"{round_}, {'durable state' if self.durable else f'no durable state ({tmpfs})'}"


WAYS = tuple(Way(durable, empty) for durable in (False, True) for empty in (False, True))


@dataclass(frozen=True, slots=True)
class Rounds:
    """One run's rounds, in milliseconds, and what else was seen of them."""

    beyond_ms: list[float]
    outside_ms: list[float]
    flushes: float
    start_seconds: float
    down: int
    up: int


@dataclass(frozen=True, slots=True)
class Measured:
    """All repeats of one way to run."""

    runs: list[Rounds]

    def beyond(self, share: float) -> float:
        """Returns the median over runs of a quantile of the rounds beyond training."""
        return median_of(quantile(run.beyond_ms, share) for run in self.runs)

    @property
    def outside(self) -> float:
        """The median round outside the vaults."""
        return median_of(quantile(run.outside_ms, 0.5) for run in self.runs)

    @property
    def start_seconds(self) -> float:
        """The median time until the first round of training."""
        return median_of(run.start_seconds for run in self.runs)


def main() -> None:
    """Measures, and prints the rows."""
    parser = arguments(__doc__)
    parser.add_argument("--with-peers", action="store_true", help=f"make {PEER.name}'s environment first")
    asked = parser.parse_args()
    keep_flower_quiet()
    load = os.getloadavg()[0]
    RUNS.mkdir(exist_ok=True)
    folder = Path(mkdtemp(prefix=NAME, dir=RUNS))
    try:
        rows = measure(asked, folder)
    finally:
        shutil.rmtree(folder)
    publish(NAME, rows, asked, load_before=round(load, 2), repeats=1 if asked.quick else REPEATS)


def measure(asked: argparse.Namespace, folder: Path) -> list[Row]:
    """Returns the rows; runs interleave the ways, so that a busy minute falls on all of them."""
    from privacy.plan import read_plan
    from simulations.population import World, write_world

    stated = read_plan(PLAN).simulate.world
    people = QUICK_PEOPLE if asked.quick or stated is None else dict(stated.people)
    write_world(World(people=people), folder / "world")
    memory = MEMORY if MEMORY.is_dir() else folder
    watched: dict[Way, list[Rounds]] = {way: [] for way in WAYS}
    fsyncs, tmpfs = list[float](), list[float]()
    for _ in range(1 if asked.quick else REPEATS):
        fsyncs += fsync_ms(folder)
        for way in WAYS:
            watched[way].append(run_once(folder, folder if way.durable else memory, way))
        fsyncs += fsync_ms(folder)
        tmpfs += fsync_ms(memory)
    ways = {way: Measured(runs) for way, runs in watched.items()}
    return [
        *our_rows(ways, f"{sum(people.values()):,} people", quantile(fsyncs, 0.5), quantile(tmpfs, 0.5)),
        *peer_rows(asked, ways),
    ]


def run_once(world: Path, base: Path, way: Way) -> Rounds:
    """Runs the plan once in a fresh folder under base."""
    from simulations.simulate import simulate

    out, watch = Path(mkdtemp(prefix=NAME, dir=base)), Watch()
    try:
        (out / "world").symlink_to(world / "world")
        with watching(watch, empty=way.empty):
            begun = time.perf_counter()
            simulate(PLAN, out, progress=watch.progress, then=lambda _: {}, durable=way.durable)
    finally:
        shutil.rmtree(out)
    return rounds_of(watch, begun)


@contextmanager
def watching(watch: Watch, *, empty: bool) -> Iterator[None]:
    """Times training and vaults and counts flushes while the block runs."""
    from sqlalchemy import Engine, event

    from client import releases, training
    from client.vault import Vault

    answer, fsync = Vault.answer, os.fsync
    train = stub if empty else training.train

    def answered(vault: Vault, frame: bytes) -> bytes:
        reply: bytes = watch.timed(watch.vaults, answer, vault, frame)
        if watch.marks:
            watch.frames.append((len(frame), len(reply)))
        return reply

    def counted(handle: int) -> None:
        watch.flushed()
        fsync(handle)

    def begun(connection: Any) -> None:
        connection.info["changes"] = connection.connection.driver_connection.total_changes

    def committed(connection: Any) -> None:
        if connection.connection.driver_connection.total_changes > connection.info["changes"]:
            watch.flushed()

    event.listen(Engine, "begin", begun)
    event.listen(Engine, "commit", committed)
    try:
        with (
            mock.patch.object(releases, "train", partial(watch.timed, watch.training, train)),
            mock.patch.object(Vault, "answer", answered),
            mock.patch.object(os, "fsync", counted),
        ):
            yield
    finally:
        event.remove(Engine, "begin", begun)
        event.remove(Engine, "commit", committed)


def stub(_plan: Any, *, start: Any, **_named: Any) -> Any:
    """Stands for training that takes no time and learns nothing."""
    from client.training import Trained, TrainingFacts

    return Trained(start.copy(), TrainingFacts(0.0, 0.0, 0.0, 0.0))


def rounds_of(watch: Watch, begun: float) -> Rounds:
    """Returns what the watch saw, round by round."""
    times = [at for at, _ in watch.marks]
    spans = list(pairwise(times))
    down, up = watch.frames[0]
    return Rounds(
        beyond_ms=[1_000 * (b - a - covered(watch.training, a, b)) for a, b in spans],
        outside_ms=[1_000 * (b - a - covered(watch.vaults, a, b)) for a, b in spans],
        flushes=(watch.marks[-1][1] - watch.marks[0][1]) / len(spans),
        start_seconds=times[0] - begun,
        down=down,
        up=up,
    )


def covered(intervals: list[Interval], begin: float, end: float) -> float:
    """Returns how much of begin to end lies in any of the intervals."""
    total, reached = 0.0, begin
    for start, stop in sorted(intervals):
        total += max(0.0, min(stop, end) - max(start, reached))
        reached = max(reached, min(stop, end))
    return total


def fsync_ms(folder: Path) -> list[float]:
    """Returns the milliseconds of single writes of a block, each made durable, in a file under folder."""
    took, path = list[float](), folder / "block"
    with path.open("wb", buffering=0) as file:
        for _ in range(FSYNCS):
            begun = time.perf_counter()
            file.write(bytes(BLOCK))
            os.fsync(file.fileno())
            took.append(1_000 * (time.perf_counter() - begun))
    path.unlink()
    return took


def our_rows(ways: dict[Way, Measured], people: str, fsync: float, tmpfs: float) -> list[Row]:
    """Returns what a round costs, against the aims and against the disk."""
    rows = []
    for way, measured in ways.items():
        middle, what = measured.beyond(0.5), f"{way.words}, {people}"
        aim = f"<= {DURABLE_MS:g} ms" if way.durable else f"< {IN_MEMORY_MS:g} ms"
        limit = DURABLE_MS if way.durable else IN_MEMORY_MS
        holds = middle <= limit if way.durable else middle < limit
        rows += [
            Row(
                f"{what}, p50",
                middle,
                "the aim",
                limit,
                "ms",
                *((REPORTED, True) if way.empty else (aim, holds)),
            ),
            Row(f"{what}, p95", measured.beyond(0.95), "its p50", middle, "ms"),
        ]
    memory, durable = ways[Way(durable=False, empty=True)], ways[Way(durable=True, empty=True)]
    flushes = median_of(run.flushes for run in durable.runs)
    return [
        *rows,
        Row(
            "outside the vaults: messages, coordinator, checkpoint, no durable state, p50",
            memory.outside,
            "the whole empty round",
            memory.beyond(0.5),
            "ms",
        ),
        Row(
            "durable state of an empty round: with minus without, p50",
            durable.beyond(0.5) - memory.beyond(0.5),
            f"{flushes:g} fsyncs a round, one after another",
            flushes * fsync,
            "ms",
        ),
        Row(f"fsync of {BLOCK} bytes, p50", fsync, "the same on tmpfs", tmpfs, "ms"),
    ]


def peer_rows(asked: argparse.Namespace, ways: dict[Way, Measured]) -> list[Row]:
    """Returns the rows against Flower's Ray simulation; none, and a line that says so, without it."""
    python = PEER / ".venv" / "bin" / "python"
    if asked.with_peers and not python.exists():
        make_peer(python)
    if asked.quick or not python.exists():
        why = "a quick run asks no peers" if asked.quick else f"no {python}: run with --with-peers"
        print(f"No row against Flower's Ray simulation: {why}.", file=sys.stderr)
        return []
    memory, durable = ways[Way(durable=False, empty=True)], ways[Way(durable=True, empty=True)]
    runs = [peer_run(python, memory.runs[0]) for _ in range(REPEATS)]
    round_ms = median_of(quantile(run["round_ms"], 0.5) for run in runs)
    against = " with ".join(f"{name} {number}" for name, number in runs[0]["versions"].items())
    start = median_of(run["start_seconds"] for run in runs)
    aim = "below Flower's"
    figures = [
        ("empty round, no durable state, p50", memory.beyond(0.5), round_ms, "ms"),
        ("empty round, durable state, p50", durable.beyond(0.5), round_ms, "ms"),
        ("start until the first round; ours reads tables, checks gates", durable.start_seconds, start, "s"),
    ]
    return [
        Row(what, ours, f"{against}, empty rounds", theirs, unit, aim, ours < theirs)
        for what, ours, theirs, unit in figures
    ]


def peer_run(python: Path, like: Rounds) -> dict[str, Any]:
    """Runs the peer once with messages of our sizes and returns what it printed last."""
    sizes = ["--down", str(like.down), "--up", str(like.up), "--rounds", str(len(like.beyond_ms))]
    done = subprocess.run(
        [python, PEER / "run.py", *sizes],
        check=True,
        stdout=subprocess.PIPE,
        env=os.environ | QUIET,
        timeout=300,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def make_peer(python: Path) -> None:
    """Makes the peer's environment; its packages never enter ours."""
    maker = shutil.which("python3.11") or sys.executable
    subprocess.run([maker, "-m", "venv", PEER / ".venv"], check=True)
    wanted = ["-m", "pip", "install", "--quiet", "-r", str(PEER / "requirements.txt")]
    subprocess.run([str(python), *wanted], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
