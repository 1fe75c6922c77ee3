"""Changes noise multipliers inside a plan's text, leaving comments and order as they are."""

from __future__ import annotations

import re

from foundation.errors import SettingsInvalid


def with_noise(text: str, noise: dict[str, float], epsilon: float | None) -> str:
    """Returns text with `noise_multiplier` of each table in noise set, and the budget's epsilon if given.

    Raises:
        SettingsInvalid: a table or its line is not written as [table] and key = value.
    """
    for table, value in noise.items():
        text = _with_value(text, table, "noise_multiplier", value)
    return text if epsilon is None else _with_value(text, "budget", "epsilon", epsilon)


def _with_value(text: str, table: str, key: str, value: float) -> str:
    pattern = re.compile(rf"(?ms)^(\[{table}\][^\[]*?^{key}\s*=\s*)([^\s#]+)")
    changed, count = pattern.subn(lambda found: f"{found[1]}{value:g}", text)
    if count != 1:
        raise SettingsInvalid(
            f"[{table}] {key}", why="the line was not found once", do=f"set {key} = {value:g} by hand"
        )
    return changed
