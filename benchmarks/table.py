"""What every benchmark shares: its arguments, its rows, the machine, and the two ways of telling them.

A row sets our figure beside another one and says whether an aim holds. Does not measure.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
REPORTED = "reported"
"""The aim of a row that claims nothing."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of ours beside one of theirs, both in `unit`; `against` names whose theirs is."""

    what: str
    ours: float
    against: str
    theirs: float
    unit: str
    aim: str = REPORTED
    holds: bool = True

    @property
    def ratio(self) -> float:
        """Ours divided by theirs; 0 where theirs is 0."""
        return self.ours / self.theirs if self.theirs != 0 else 0.0

    @property
    def told(self) -> dict[str, Any]:
        """As the JSON of a benchmark has it, to four digits."""
        figures = {name: _rounded(getattr(self, name)) for name in ("ours", "theirs", "ratio")}
        names = ("what", "ours", "against", "theirs", "unit", "ratio", "aim", "holds")
        fields = asdict(self) | figures
        return {name: fields[name] for name in names}


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the arguments that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="last line of stdout is one JSON object")
    parser.add_argument("--quick", action="store_true", help="a smoke run: its figures mean nothing")
    parser.add_argument("--save", action="store_true", help="write the JSON to benchmarks/results/ too")
    return parser


def machine() -> dict[str, Any]:
    """Returns what the figures depend on; `load` is the one-minute load average at this moment."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "load": _rounded(os.getloadavg()[0]),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "numpy", "flwr")},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def publish(name: str, rows: Sequence[Row], asked: argparse.Namespace, **facts: Any) -> None:
    """Prints the rows as asked, and saves them where asked; `facts` join those of the machine."""
    body = json.dumps(
        {"benchmark": name, "machine": machine() | facts, "rows": [row.told for row in rows]}, indent=1
    )
    if asked.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(body + "\n", encoding="utf-8")
    print(json.dumps(json.loads(body)) if asked.json else _table(rows))


def quantile(values: Iterable[float], share: float) -> float:
    """Returns the smallest value that at least `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median_of(values: Iterable[float]) -> float:
    """Returns the median."""
    return float(median(values))


def _table(rows: Sequence[Row]) -> str:
    head = ("what", "ours", "theirs", "unit", "ratio", "against", "aim", "holds")
    cells = [head, *(tuple(_cell(row.told[name]) for name in head) for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "NO"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
