"""A region's folder: manifest, policy, keys, one database, models. Owned by the region.

    region.toml   manifest: sources, roles of columns, lawful bases
    policy.toml   what the region accepts
    keys/         identity and subject secret (0600)
    state.sqlite  ledger, logs, requests, approvals, scores
    models/       models that this folder may score with

One process at a time: `open_folder` holds the folder's lock until closed. What a folder was made for (a real
region or a simulation, and its hold-out rule) is fixed for its life.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, select

from client import tables
from client.holdout import HoldoutRule, KeyedShare, PublicFold
from client.manifest import Manifest
from client.settings import Policy
from foundation import files
from foundation.database import open_database
from foundation.errors import FolderMismatch, FolderUnknown, UsageWrong
from foundation.keys import RegionKeys, load_keys, make_keys
from foundation.toml_file import load, parse, validate

Origin = Literal["real", "simulation"]

MANIFEST, POLICY, STATE, MODELS, KEYS = "region.toml", "policy.toml", "state.sqlite", "models", "keys"
PARTS = (MANIFEST, POLICY, STATE, f"{STATE}-wal", f"{STATE}-shm", MODELS, KEYS)
MAKING = ".making"
"""Stands in the folder until it is made to its end."""


@dataclass(frozen=True, slots=True)
class RegionFolder:
    """An open region folder."""

    path: Path
    manifest: Manifest
    policy: Policy
    keys: RegionKeys
    engine: Engine
    origin: Origin
    holdout: HoldoutRule
    base: Path
    """Where relative paths in the manifest start."""

    @property
    def region(self) -> str:
        """The region's name."""
        return self.manifest.region


def make_folder(
    path: Path,
    *,
    manifest: str,
    policy: str,
    origin: Origin = "real",
    fold: int | None = None,
    base: Path | None = None,
) -> None:
    """Makes a region folder from the texts of its two settings files, with fresh keys.

    `base` is where relative paths in the manifest start, the folder itself by default; `fold` is for
    simulations. A folder that a crash left half made is made again.

    Raises:
        FolderUnknown: there is a region folder, or a part of one, already.
        SettingsInvalid: a settings file has faults; nothing is written.
        UsageWrong: a fold for a real region.
    """
    if origin == "real" and fold is not None:
        raise UsageWrong("a real region's hold-out is keyed", why="folds are for simulations")
    validate(parse(manifest, path / MANIFEST), Manifest, path / MANIFEST, text=manifest)
    accepted = validate(parse(policy, path / POLICY), Policy, path / POLICY, text=policy)
    _clear(path)
    path.mkdir(parents=True, exist_ok=True, mode=files.PRIVATE_FOLDER)
    path.chmod(files.PRIVATE_FOLDER)
    files.write_atomically(path / MAKING, b"")
    for name in (KEYS, MODELS):
        (path / name).mkdir(mode=files.PRIVATE_FOLDER)
    make_keys(path / KEYS)
    facts = {
        "origin": origin,
        "holdout": "keyed" if fold is None else PublicFold(fold).name,
        "holdout_share": repr(accepted.holdout_share),
        "base": str((path if base is None else base).resolve()),
    }
    engine = open_database(path / STATE)
    _upgrade(engine)
    with engine.begin() as connection:
        rows = [{"name": name, "value": value} for name, value in facts.items()]
        connection.execute(tables.facts.insert(), rows)
    engine.dispose()
    files.write_atomically(path / POLICY, policy.encode())
    files.write_atomically(path / MANIFEST, manifest.encode())
    (path / MAKING).unlink()


def is_made(path: Path) -> bool:
    """Whether path is a region folder that was made to its end."""
    return (path / MANIFEST).is_file() and not (path / MAKING).exists()


def _clear(path: Path) -> None:
    """Removes what a crash left half made; refuses to touch anything else of a region folder's."""
    parts = [part for part in (path / name for name in PARTS) if part.exists()]
    if parts and not (path / MAKING).exists():
        raise FolderUnknown(f"{path} holds {parts[0].name} already", do="choose another folder")
    for part in parts:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink()


@contextmanager
def open_folder(path: Path, *, durable: bool = True) -> Iterator[RegionFolder]:
    """Opens a region folder and holds its lock.

    `durable=False` keeps the database in memory: for benchmarks, nothing survives.

    Raises:
        FolderUnknown: it is not a region folder. FolderBusy: another process works in it.
        SettingsInvalid: a settings file has faults.
    """
    if (path / MAKING).exists():
        raise FolderUnknown(f"{path} was not made to its end", do="make it again with region init")
    if not (path / MANIFEST).is_file():
        raise FolderUnknown(f"{path} is not a region folder")
    with files.exclusive(path):
        manifest, policy = load(path / MANIFEST, Manifest), load(path / POLICY, Policy)
        keys = load_keys(path / KEYS)
        engine = open_database(path / STATE)
        try:
            _upgrade(engine)
            origin, holdout, base = _facts(path, engine, keys, policy)
            if not durable:
                engine.dispose()
                engine = open_database(None)
                _upgrade(engine)
            yield RegionFolder(path, manifest, policy, keys, engine, origin, holdout, base)
        finally:
            engine.dispose()


def require_same(folder: RegionFolder, *, origin: Origin, fold: int | None) -> None:
    """Raises FolderMismatch unless the folder was made for this origin and fold."""
    rule = "keyed" if fold is None else PublicFold(fold).name
    if (folder.origin, folder.holdout.name) != (origin, rule):
        raise FolderMismatch(f"{folder.path} was made for {folder.origin}, hold-out {folder.holdout.name}")


def _facts(path: Path, engine: Engine, keys: RegionKeys, policy: Policy) -> tuple[Origin, HoldoutRule, Path]:
    with engine.begin() as connection:
        known = {row.name: row.value for row in connection.execute(select(tables.facts))}
    if known.get("holdout_share", "") != repr(policy.holdout_share):
        raise FolderMismatch(f"{path} was made with holdout_share {known.get('holdout_share')}")
    base = Path(known.get("base", path))
    match known.get("origin"), known.get("holdout", "").split():
        case ("real" | "simulation") as origin, ["keyed"]:
            return origin, KeyedShare(keys.subject_secret), base
        case "simulation" as origin, ["fold", number]:
            return origin, PublicFold(int(number)), base
        case _:
            raise FolderUnknown(f"{path} was not made to its end", do="make it again with region init")


def _upgrade(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
