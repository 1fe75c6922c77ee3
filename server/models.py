"""The registry of models at the centre: versions, lineage, metrics, epsilon, state.

One JSON record beside each safetensors file, both written atomically. A model of a simulation stays a
candidate of that simulation's folder.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError
from safetensors.numpy import save

from foundation import files
from foundation.errors import SourceUnreadable
from foundation.toml_file import Settings
from privacy.layout import model_name
from privacy.plan import Plan
from server.evaluation import TaskEvaluation
from server.rounds import Finished

State = Literal["candidate", "serving", "superseded", "retired", "shredded"]


class TaskMetric(Settings):
    """A task's released AUC and its 95 % interval; None where it could not be told."""

    auc: float | None
    interval: tuple[float, float] | None


class ModelRecord(Settings):
    """What is known of one model: which run and plan made it, with whom, how good, and its state."""

    name: str
    plan: str
    plan_digest: str
    run: str
    made_at: datetime
    origin: Literal["real", "simulation"]
    state: State = "candidate"
    regions: tuple[str, ...]
    rounds: int
    tasks: dict[str, TaskMetric]


def register(
    folder: Path,
    plan: Plan,
    finished: Finished,
    evaluations: dict[str, TaskEvaluation],
    *,
    origin: Literal["real", "simulation"],
    now: datetime,
) -> ModelRecord:
    """Writes the finished run's model and its record to folder and returns the record."""
    record = ModelRecord(
        name=model_name(plan, finished.scale, finished.parameters),
        plan=plan.name,
        plan_digest=plan.digest,
        run=finished.journal.run,
        made_at=now,
        origin=origin,
        regions=finished.evaluated,
        rounds=plan.training.rounds,
        tasks={
            task: TaskMetric(auc=told.pooled.auc, interval=told.pooled.interval)
            for task, told in evaluations.items()
        },
    )
    folder.mkdir(parents=True, exist_ok=True)
    content = save({"scale": finished.scale, "parameters": finished.parameters})
    files.write_atomically(folder / f"{record.name}.safetensors", content)
    files.write_atomically(folder / f"{record.name}.json", record.model_dump_json(indent=1).encode())
    return record


def records(folder: Path) -> list[ModelRecord]:
    """Returns all records, newest first.

    Raises:
        SourceUnreadable: a record is cut or altered.
    """
    found = []
    for path in folder.glob("*.json"):
        try:
            found.append(ModelRecord.model_validate_json(path.read_bytes()))
        except ValidationError:
            raise SourceUnreadable(f"model record {path}") from None
    return sorted(found, key=lambda record: record.made_at, reverse=True)
