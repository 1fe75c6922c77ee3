"""Upper rooms import lower ones, never back."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINTER = Path(sys.executable).with_name("lint-imports")


def contracts():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]


def test_the_contracts_of_pyproject_are_kept():
    done = subprocess.run([LINTER, "--no-cache"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert f"{len(contracts())} kept, 0 broken" in done.stdout


def test_every_room_has_its_place():
    (layers,) = [each["layers"] for each in contracts() if each["type"] == "layers"]
    rooms = [room.strip() for layer in layers for room in layer.split("|")]
    assert layers == [
        "console", "simulations", "client | server", "compliance", "privacy", "profiles", "foundation",
    ]  # fmt: skip
    with_python = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert with_python == set(rooms)
