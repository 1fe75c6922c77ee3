"""The benchmark of a round's overhead in small: it runs, and its JSON has the documented shape."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "round_overhead.py"
RESULT = ROOT / "benchmarks" / "results" / "round_overhead.json"
KINDS = {
    "what": str,
    "ours": float,
    "against": str,
    "theirs": float,
    "unit": str,
    "ratio": float,
    "aim": str,
    "holds": bool,
}
MACHINE = {"cpu", "cores", "python", "torch", "date"}


def require_shape(result):
    assert set(result) == {"benchmark", "machine", "rows"}
    assert result["benchmark"] == "round_overhead"
    assert set(result["machine"]) >= MACHINE
    assert len(result["rows"]) > 0
    for row in result["rows"]:
        assert {name: type(value) for name, value in row.items()} == KINDS


@pytest.mark.slow
def test_a_quick_run_ends_with_one_json_object_of_the_documented_shape():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--quick", "--json"], capture_output=True, text=True, timeout=300, check=True
    )
    result = json.loads(done.stdout.splitlines()[-1])
    require_shape(result)
    aims = {row["aim"] for row in result["rows"]}
    assert {"< 20 ms", "<= 60 ms"} <= aims
    assert all(row["ours"] > 0 for row in result["rows"] if row["aim"].endswith(" ms"))
    assert "a quick run asks no peers" in done.stderr


def test_the_committed_result_has_the_documented_shape_and_a_peer():
    result = json.loads(RESULT.read_text())
    require_shape(result)
    assert any("flwr" in row["against"] for row in result["rows"])


def test_time_in_which_any_region_trains_is_counted_once():
    program = (
        "from round_overhead import covered;"
        "print(covered([(1, 3), (2, 4), (2, 3), (6, 9), (0, 0.5)], 0.25, 8))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=SCRIPT.parent, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == 0.25 + 3 + 2
