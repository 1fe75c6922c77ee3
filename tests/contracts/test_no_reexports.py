"""A room's `__init__` says what the room is, no more: a re-export would load what nobody asked for."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("foundation", "profiles", "privacy", "compliance", "client", "server", "simulations", "console")
INITS = [path for room in ROOMS for path in sorted((ROOT / room).rglob("__init__.py"))]
MODULES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def name(path):
    return path.relative_to(ROOT).as_posix()


def test_every_room_has_one():
    assert {path.parent.name for path in INITS} >= set(ROOMS)


@pytest.mark.parametrize("path", INITS, ids=name)
def test_an_init_holds_a_docstring_only(path):
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)
    assert isinstance(body[0].value, ast.Constant)
    assert isinstance(body[0].value.value, str)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_product_code_has_docstrings_and_neither_assert_nor_bare_except(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert not [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type is None
    ]


def test_no_module_hides_what_it_holds_behind_a_vague_name():
    vague = {"utils", "util", "common", "helpers", "helper", "misc"}
    assert not [name(path) for path in MODULES if path.stem in vague or path.parent.name in vague]
