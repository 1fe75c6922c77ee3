"""Flower's records are built in three modules only: whatever crosses a border passes one of them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("foundation", "profiles", "privacy", "compliance", "client", "server", "simulations", "console")
RECORDS = {"RecordDict", "ConfigRecord", "ArrayRecord", "MetricRecord", "Message"}
ALLOWED = {"client/app.py", "server/app.py", "simulations/federation.py"}
"""The two apps, and the in-process stand-in for Flower's grid, which builds them as Flower would."""


def built(source):
    """Returns the names of Flower's records that source calls, under whatever name they were imported."""
    tree = ast.parse(source)
    names = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "flwr"
        for alias in node.names
    }
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    plain = {names.get(call.id, call.id) for call in calls if isinstance(call, ast.Name)}
    dotted = {call.attr for call in calls if isinstance(call, ast.Attribute)}
    return (plain | dotted) & RECORDS


def sources():
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_records_are_built_where_they_may_be(path):
    name = path.relative_to(ROOT).as_posix()
    assert not built(path.read_text(encoding="utf-8")) or name in ALLOWED


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_the_modules_that_may_build_records_do(name):
    assert built((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "source",
    [
        "from flwr.app import Message\nMessage(1)",
        "from flwr.app import ConfigRecord as C\nC({})",
        "import flwr\nflwr.app.RecordDict()",
        "from flwr import common\ncommon.ArrayRecord()",
    ],
)
def test_a_record_is_seen_however_it_is_imported(source):
    assert built(source)
