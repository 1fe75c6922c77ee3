"""`fedprofile simulate`: the whole federation in this process, its result and its report's details.

State lives under one folder: region folders with their ledgers, a central folder per run with journal and
checkpoint, models, result. The same folder goes on with the same ledgers. Does not print or render.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

import numpy as np
from flwr.app import Context
from numpy.typing import NDArray

from client.app import client_app
from client.courier import Link
from client.training import build_model
from foundation import files
from foundation.errors import (
    AttemptsSpent,
    FedprofileError,
    FolderMismatch,
    FolderUnknown,
    QuorumMissed,
)
from privacy.plan import Plan, read_plan
from profiles.model import initial_parameters
from server import checkpoint, models
from server.app import server_app
from server.channel import Channel
from server.checkpoint import JOURNAL, Journal, Values
from server.evaluation import TaskEvaluation, evaluate
from server.models import ModelRecord
from server.rounds import Finished, Progress, Run
from simulations.federation import Fault, federate
from simulations.regions import Region, open_regions, read_manifests, utc_now

Outcome = TypeVar("Outcome")

CENTRAL, MODELS, PLAN, SIMULATION = "central", "models", "plan.toml", "simulation.json"


@dataclass(slots=True)
class Stages:
    """How long each stage took, in order."""

    done: list[tuple[str, float]] = field(default_factory=list)
    _since: float = field(default_factory=time.monotonic)

    def end(self, name: str) -> None:
        """Ends the stage that has run since the last end."""
        now = time.monotonic()
        self.done.append((name, now - self._since))
        self._since = now


@dataclass(frozen=True, slots=True)
class Simulated:
    """A finished simulation, with the regions still open."""

    plan: Plan
    out: Path
    regions: dict[str, Region]
    finished: Finished
    evaluations: dict[str, TaskEvaluation]
    model: ModelRecord
    stages: Stages
    begun: datetime


def simulate(
    plan_path: Path,
    out: Path,
    *,
    progress: Progress,
    then: Callable[[Simulated], Outcome],
    plan: Plan | None = None,
    resume: bool = False,
    faults: dict[str, Fault] | None = None,
    durable: bool = True,
) -> Outcome:
    """Runs the plan and returns what `then` makes of it while the regions are open.

    `plan` stands in for the one at plan_path (another fold, say); its manifests start there all the same.

    Raises:
        Any coded error of the plan, the manifests, the regions and the run; state stays resumable.
    """
    plan, begun, stages = read_plan(plan_path) if plan is None else plan, utc_now(), Stages()
    manifests = read_manifests(plan, _base(plan_path, out))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise FolderUnknown(f"{out} cannot be a folder", do="name another --out") from None
    with files.exclusive(out):
        progress("opening regions", 0, len(manifests))
        with open_regions(plan, manifests, out, durable=durable) as regions:
            journal, values, folder = _journal(plan, out, resume=resume)
            _remember(plan_path, out)
            stages.end("opening regions, reading tables")

            def run(channel: Channel, initial: NDArray[np.float32]) -> Finished:
                return Run(plan, folder, channel, progress, journal, values).go(initial)

            finished = _federate(plan, regions, run, faults)
            stages.end("rounds")
            generator = np.random.default_rng(int(journal.run[:8], 16))
            evaluations = evaluate(plan, finished.counts, finished.evaluated, generator)
            model = models.register(
                out / CENTRAL / MODELS, plan, finished, evaluations, origin="simulation", now=utc_now()
            )
            stages.end("intervals")
            return then(Simulated(plan, out, regions, finished, evaluations, model, stages, begun))


def _federate(
    plan: Plan,
    regions: dict[str, Region],
    run: Callable[[Channel, NDArray[np.float32]], Finished],
    faults: dict[str, Fault] | None,
) -> Finished:
    left: list[Finished] = []
    model = build_model(plan, plan.numeric_inputs + plan.category_inputs)
    initial = initial_parameters(model, int(plan.digest[:8], 16))

    def main(channel: Channel, _context: Context) -> None:
        left.append(run(channel, initial))

    def link_of(context: Context) -> Link:
        return regions[str(context.node_config["region"])].vault

    try:
        federate(server_app(main), client_app(link_of), regions, faults=faults)
    except (QuorumMissed, AttemptsSpent) as missed:
        raise _at_home(regions, missed) from None
    return left[0]


def _at_home(regions: dict[str, Region], missed: FedprofileError) -> FedprofileError:
    """Returns why a region was unavailable, which only a simulator may know; else what the centre knows."""
    for name, region in regions.items():
        for reason in region.vault.reasons:
            what = f"region {name}: {reason.what} (the centre knows only: {missed.what})"
            return type(reason)(what, why=reason.why, do=f"{reason.do}; then --resume")
    return missed


def _journal(plan: Plan, out: Path, *, resume: bool) -> tuple[Journal, Values, Path]:
    if resume:
        folder = out / CENTRAL / _latest(out)
        journal, values = checkpoint.read(folder)
        if journal.plan != plan.digest:
            raise FolderMismatch(f"the run in {out} is of another plan")
        return journal, values, folder
    journal = Journal(run=token_hex(16), plan=plan.digest)
    folder = out / CENTRAL / journal.run
    folder.mkdir(parents=True)
    checkpoint.write_state(folder, journal)
    text = json.dumps({"run": journal.run})
    files.write_atomically(out / CENTRAL / JOURNAL, text.encode())
    return journal, {}, folder


def _latest(out: Path) -> str:
    try:
        return str(json.loads((out / CENTRAL / JOURNAL).read_text())["run"])
    except (OSError, ValueError, KeyError):
        raise FolderUnknown(f"{out} holds no run to resume") from None


def _remember(plan_path: Path, out: Path) -> None:
    if plan_path.resolve() != (out / PLAN).resolve():
        files.write_atomically(out / PLAN, plan_path.read_bytes())
        text = json.dumps({"base": str(plan_path.parent.resolve())})
        files.write_atomically(out / SIMULATION, text.encode())


def _base(plan_path: Path, out: Path) -> Path:
    if plan_path.resolve() != (out / PLAN).resolve():
        return plan_path.parent
    try:
        return Path(json.loads((out / SIMULATION).read_text())["base"])
    except (OSError, ValueError, KeyError):
        raise FolderUnknown(f"{out} holds no simulation") from None
