"""What the report shows beside the result: the plan in words, who answered, curves, kinds, stages."""

from __future__ import annotations

from collections import defaultdict
from importlib.metadata import version
from typing import Any

import numpy as np

from client.training import TrainingFacts
from compliance import audit_log
from privacy import ledger
from privacy.plan_words import plan_words, task_words
from simulations.regions import utc_now
from simulations.result import POPULATIONS
from simulations.simulate import Simulated

PACKAGES = ("fedprofile", "flwr", "opacus", "torch", "dp-accounting", "duckdb")


def details_of(done: Simulated) -> dict[str, Any]:
    """Returns the details that `console.report` renders, see there for the shape."""
    plan, told = done.plan, done.evaluations
    return {
        "plan": {
            "name": plan.name,
            "purpose": plan.purpose,
            "controller": plan.controller,
            "digest": plan.digest,
            "tasks": {name: task_words(task, plan) for name, task in plan.tasks.items()},
            "words": plan_words(plan),
        },
        "created": utc_now().isoformat(timespec="seconds"),
        "simulation": True,
        "versions": {name: version(name) for name in PACKAGES},
        "regions": {name: _region(done, name) for name in sorted(plan.regions)},
        "curve": _curve(done),
        "reliability": {
            task: [{"score": b.score, "rate": b.rate, "count": b.count} for b in each.reliability]
            for task, each in told.items()
        },
        "calibration_error": {task: each.calibration_error for task, each in told.items()},
        "left": _left(done),
        "stages": [{"name": name, "seconds": seconds} for name, seconds in done.stages.done],
        "epsilon_decided_by": {name: _decided(done, name) for name in sorted(plan.regions)},
    }


def _region(done: Simulated, name: str) -> dict[str, Any]:
    share, history = done.plan.regions[name], done.finished.journal.history
    with done.regions[name].folder.engine.begin() as connection:
        head = audit_log.head(connection, "border")
    return {
        "public_size": share.public_size,
        "weight": share.weight,
        "contributes": share.contributes,
        "answered": sum(name in record.cohort for record in history),
        "missing": sum(name not in record.cohort for record in history),
        "log_head": f"{head.size}:{head.root}",
        "isolation": "in process, no seal",
    }


def _curve(done: Simulated) -> list[dict[str, Any]]:
    seen: dict[int, list[tuple[float, TrainingFacts]]] = defaultdict(list)
    for name, region in done.regions.items():
        for slot, facts in region.vault.observed:
            seen[slot.round].append((done.plan.regions[name].weight, facts))
    return [
        {
            "round": record.round,
            "attempt": record.attempt + 1,
            "seconds": record.seconds,
            "update_norm": record.update_norm,
            "share_clipped": _mean(seen[record.round], "share_clipped"),
            "mean_norm": _mean(seen[record.round], "mean_norm"),
            "signal_to_noise": _mean(seen[record.round], "signal_to_noise"),
            "loss": _mean(seen[record.round], "loss"),
        }
        for record in done.finished.journal.history
        if record.kind == "train"
    ]


def _mean(seen: list[tuple[float, TrainingFacts]], fact: str) -> float | None:
    if not seen:
        return None
    weights = [weight for weight, _ in seen]
    return float(np.average([getattr(facts, fact) for _, facts in seen], weights=weights))


def _left(done: Simulated) -> dict[str, dict[str, dict[str, int]]]:
    upstream = done.finished.journal.upstream
    return {
        name: {
            kind: {"messages": messages, "bytes": size}
            for kind, (messages, size) in upstream.get(name, {}).items()
        }
        for name in sorted(done.plan.regions)
    }


def _decided(done: Simulated, name: str) -> dict[str, str]:
    folder, now = done.regions[name].folder, utc_now()
    with folder.engine.begin() as connection:
        return {
            population: ledger.account(
                connection,
                controller=done.plan.controller,
                population=population,
                limit=folder.policy.limits[population],
                now=now,
            ).spent.decided_by
            for population in POPULATIONS
        }
