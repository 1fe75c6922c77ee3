"""TOML settings files read into pydantic models, every fault at once, each with its line.

`tomllib` gives no positions, so the line of a key is found by scanning the text for its table header and
name; a key inside an inline table gets the line of the inline table.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from foundation.errors import SettingsInvalid, SourceMissing

Model = TypeVar("Model", bound=BaseModel)
_HEADER = re.compile(r"^\s*(\[{1,2})\s*([^\]]+?)\s*\]{1,2}\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*([A-Za-z0-9_\-.\"']+)\s*=")


class Settings(BaseModel):
    """Base of every model read from outside: frozen, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read(path: Path) -> dict[str, Any]:
    """Returns the file's tables.

    Raises:
        SourceMissing: there is no such file.
        SettingsInvalid: it is not UTF-8 TOML.
    """
    try:
        return parse(path.read_text(encoding="utf-8"), path)
    except OSError:
        raise SourceMissing(f"settings file {path}") from None
    except UnicodeDecodeError:
        raise SettingsInvalid(f"{path} is not TOML", why="it is not UTF-8") from None


def parse(text: str, path: Path) -> dict[str, Any]:
    """Returns the tables of text, which is or will be at path; raises SettingsInvalid if it is not TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid(f"{path} is not TOML", why=str(error)) from None


def load(path: Path, model: type[Model]) -> Model:
    """Returns the file as a model.

    Raises:
        SourceMissing, SettingsInvalid: as `read`; SettingsInvalid lists all faults with their lines.
    """
    tables = read(path)
    return validate(tables, model, path, text=path.read_text(encoding="utf-8"))


def validate(tables: dict[str, Any], model: type[Model], path: Path, *, text: str = "") -> Model:
    """Returns tables, which are those of text, as a model; raises SettingsInvalid naming all faults."""
    try:
        return model.model_validate(tables)
    except ValidationError as error:
        faults = [
            f"{path}:{line_of(text, fault['loc'])}: {'.'.join(map(str, fault['loc'])) or 'file'}: "
            f"{fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise SettingsInvalid("\n".join(faults)) from None


def line_of(text: str, location: tuple[int | str, ...]) -> int:
    """Returns the 1-based line of the deepest part of location that the text names; 1 if none.

    Parts of location that the text does not show (a union's tag, a place in an inline array) are skipped.
    """
    best, best_depth = 1, 0
    table: list[int | str] = []
    counts: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _table(_parts(header[2]), counts, array=len(header[1]) > 1)
            here = table
        elif key := _KEY.match(line):
            here = [*table, *_parts(key[1])]
        else:
            continue
        depth = _depth(here, location)
        if depth > best_depth:
            best, best_depth = number, depth
    return best


def _table(names: list[str], counts: dict[tuple[str, ...], int], *, array: bool) -> list[int | str]:
    """Returns a table's path, with its place after the name of an array of tables."""
    if array:
        counts[tuple(names)] = counts.get(tuple(names), -1) + 1
    path: list[int | str] = []
    for depth, name in enumerate(names, start=1):
        path.append(name)
        if (place := counts.get(tuple(names[:depth]))) is not None:
            path.append(place)
    return path


def _depth(here: list[int | str], location: tuple[int | str, ...]) -> int:
    """Returns how far into location here leads: its parts in order, the first one first; 0 for not at all."""
    if here[:1] != list(location[:1]):
        return 0
    reached = 0
    for part in here:
        if part not in location[reached:]:
            return 0
        reached = location.index(part, reached) + 1
    return reached


def _parts(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]
