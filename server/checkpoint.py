"""A run's state on disk after each round: safetensors for values, JSON for the journal, both atomic.

The journal names its checkpoint and its SHA-256; a crash between the two leaves the older pair, so a resumed
run asks the last round again and gets the same bytes. Holds no pickle and no region's figures.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from foundation import files
from foundation.errors import CheckpointFailed, FolderUnknown, SourceUnreadable
from foundation.toml_file import Settings

JOURNAL = "journal.json"

Values = dict[str, NDArray[np.float32] | NDArray[np.float64]]


class RoundRecord(Settings):
    """One collected release: who took part, at which attempt, how long, and how far the model moved."""

    kind: Literal["analyse", "train", "evaluate"]
    round: int
    attempt: int
    cohort: tuple[str, ...]
    missing: tuple[str, ...]
    seconds: float
    update_norm: float | None = None


class Journal(Settings):
    """Where a run stands. `round` is the last one whose values are in the checkpoint.

    `attempt` is the next one of the round after it: those before are used up.
    """

    run: str
    plan: str
    round: int = -1
    attempt: int = 0
    attempts_spent: int = 0
    state: Literal["running", "finished", "failed"] = "running"
    reason: str | None = None
    checkpoint: str | None = None
    checkpoint_digest: str | None = None
    history: tuple[RoundRecord, ...] = ()
    upstream: dict[str, dict[str, tuple[int, int]]] = {}


def write(folder: Path, journal: Journal, values: Values) -> Journal:
    """Writes values and journal; returns the journal as written.

    Raises:
        CheckpointFailed: the disk is full or not writable; the pair before stands.
    """
    name = f"round-{journal.round:06d}.safetensors"
    content = save({key: np.ascontiguousarray(value) for key, value in values.items()})
    written = journal.model_copy(
        update={"checkpoint": name, "checkpoint_digest": hashlib.sha256(content).hexdigest()}
    )
    try:
        files.write_atomically(folder / name, content)
    except OSError as error:
        raise CheckpointFailed(f"checkpoint {name}: {error.strerror}") from None
    write_state(folder, written)
    for old in folder.glob("round-*.safetensors"):
        if old.name != name:
            with suppress(OSError):
                old.unlink()
    return written


def write_state(folder: Path, journal: Journal) -> None:
    """Writes the journal alone; raises CheckpointFailed as `write`."""
    try:
        files.write_atomically(folder / JOURNAL, journal.model_dump_json(indent=1).encode())
    except OSError as error:
        raise CheckpointFailed(f"the journal: {error.strerror}") from None


def read(folder: Path) -> tuple[Journal, Values]:
    """Returns the newest journal and its values ({} before the first checkpoint).

    Raises:
        FolderUnknown: no run began here. SourceUnreadable: journal or checkpoint is cut or altered.
    """
    try:
        journal = Journal.model_validate_json((folder / JOURNAL).read_bytes())
    except FileNotFoundError:
        raise FolderUnknown(f"{folder} holds no run") from None
    except ValidationError:
        raise SourceUnreadable(f"journal of {folder}", do="start a new run") from None
    if journal.checkpoint is None:
        return journal, {}
    try:
        content = (folder / journal.checkpoint).read_bytes()
        if hashlib.sha256(content).hexdigest() != journal.checkpoint_digest:
            raise SourceUnreadable(f"checkpoint {journal.checkpoint}", do="start a new run")
        return journal, load(content)
    except (OSError, SafetensorError):
        raise SourceUnreadable(f"checkpoint {journal.checkpoint}", do="start a new run") from None
