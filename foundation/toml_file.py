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
_HEADER = re.compile(r"^\s*\[{1,2}\s*([^\]]+?)\s*\]{1,2}\s*(?:#.*)?$")
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
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise SourceMissing(f"settings file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path} is not TOML", why=str(error)) from None


def load(path: Path, model: type[Model]) -> Model:
    """Returns the file as a model.

    Raises:
        SourceMissing, SettingsInvalid: as `read`; SettingsInvalid lists all faults with their lines.
    """
    return validate(read(path), model, path)


def validate(tables: dict[str, Any], model: type[Model], path: Path) -> Model:
    """Returns tables (read from path) as a model; raises SettingsInvalid naming all faults."""
    try:
        return model.model_validate(tables)
    except ValidationError as error:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        faults = [
            f"{path}:{line_of(text, fault['loc'])}: {'.'.join(map(str, fault['loc'])) or 'file'}: "
            f"{fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise SettingsInvalid("\n".join(faults)) from None


def line_of(text: str, location: tuple[int | str, ...]) -> int:
    """Returns the 1-based line of the deepest part of location that the text names; 1 if none."""
    names = [part for part in location if isinstance(part, str)]
    best, best_depth, table = 1, 0, []
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _parts(header[1])
            here = table
        elif key := _KEY.match(line):
            here = table + _parts(key[1])
        else:
            continue
        depth = len(here)
        if depth > best_depth and here == names[:depth]:
            best, best_depth = number, depth
    return best


def _parts(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]
