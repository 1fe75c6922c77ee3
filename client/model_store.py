"""Models that a region folder may score with: safetensors files with the plan inside.

A model of a simulation carries its origin and is refused by a real region's folder, and the reverse.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from client.folder import MODELS, RegionFolder
from foundation import files
from foundation.errors import FolderUnknown, ModelForeign, SourceUnreadable
from privacy.layout import model_name, parameter_count, scale_count
from privacy.plan import Plan

LATEST = "latest.json"


@dataclass(frozen=True, slots=True)
class Model:
    """Scale values and parameters, float32, of one plan, made by one run."""

    plan: Plan
    run: str
    origin: str
    scale: NDArray[np.float32]
    parameters: NDArray[np.float32]

    @property
    def name(self) -> str:
        """Content address: see `privacy.layout.model_name`."""
        return model_name(self.plan, self.scale, self.parameters)


def keep(folder: RegionFolder, model: Model) -> None:
    """Writes the model, to be served once its run finishes."""
    metadata = {"plan": model.plan.model_dump_json(), "run": model.run, "origin": model.origin}
    content = save({"scale": model.scale, "parameters": model.parameters}, metadata=metadata)
    files.write_atomically(folder.path / MODELS / f"{model.name}.safetensors", content)
    files.write_atomically(folder.path / MODELS / f"{model.run}.run", model.name.encode())


def serve(folder: RegionFolder, run: str) -> None:
    """Makes the run's model the one that the folder scores with; nothing where the run left none."""
    pointer = folder.path / MODELS / f"{run}.run"
    if pointer.is_file():
        name = pointer.read_text()
        content = (folder.path / MODELS / f"{name}.safetensors").read_bytes()
        text = json.dumps({"model": name, "sha256": hashlib.sha256(content).hexdigest()})
        files.write_atomically(folder.path / MODELS / LATEST, text.encode())


def latest(folder: RegionFolder) -> Model:
    """Returns the model that the folder scores with.

    Raises:
        FolderUnknown: there is none yet. SourceUnreadable: the file is cut or altered.
        ModelForeign: it is a simulation's in a real folder, or the reverse.
    """
    pointer = folder.path / MODELS / LATEST
    if not pointer.is_file():
        raise FolderUnknown(
            f"{folder.path} has no model",
            why="no run has finished here",
            do="simulate the plan; deployed runs come later",
        )
    try:
        told = json.loads(pointer.read_text())
        name, digest = str(told["model"]), str(told["sha256"])
        content = (folder.path / MODELS / f"{name}.safetensors").read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        raise SourceUnreadable(f"the model of {folder.path}", do="run the plan again") from None
    model = _read(name, content)
    if model.name != name or hashlib.sha256(content).hexdigest() != digest:
        raise SourceUnreadable(f"model {name}", why="the file was altered", do="run the plan again")
    if model.origin != folder.origin:
        raise ModelForeign(f"model {name} of a {model.origin} in a folder of origin {folder.origin}")
    return model


def _read(name: str, content: bytes) -> Model:
    try:
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        plan = Plan.model_validate_json(metadata["plan"])
        model = Model(plan, metadata["run"], metadata["origin"], tensors["scale"], tensors["parameters"])
    except (SafetensorError, ValueError, KeyError):
        raise SourceUnreadable(f"model {name}", do="run the plan again") from None
    if (len(model.scale), len(model.parameters)) != (scale_count(plan), parameter_count(plan)):
        raise SourceUnreadable(f"model {name}", do="run the plan again")
    return model
