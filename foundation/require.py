"""Checks of arguments whose keyword names the field: `require.positive(clipping_norm=c)`.

Does not check rows or files: those have coded errors of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable


def _each(fields: dict[str, float], holds: Callable[[float], bool], rule: str) -> None:
    for name, value in fields.items():
        if not (math.isfinite(value) and holds(value)):
            raise ValueError(f"{name} must be {rule}, got {value!r}")


def positive(**fields: float) -> None:
    """Raises ValueError unless every field is finite and > 0."""
    _each(fields, lambda value: value > 0, "> 0")


def non_negative(**fields: float) -> None:
    """Raises ValueError unless every field is finite and >= 0."""
    _each(fields, lambda value: value >= 0, ">= 0")


def probability(**fields: float) -> None:
    """Raises ValueError unless every field lies in (0, 1]."""
    _each(fields, lambda value: 0 < value <= 1, "in (0, 1]")
