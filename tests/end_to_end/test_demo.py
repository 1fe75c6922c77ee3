"""The demo: three synthetic regions end to end, in under a minute."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXECUTABLE = Path(sys.executable).parent / "fedprofile"
MOST_SECONDS = 60


def test_the_demo_ends_in_time_with_a_result_and_a_report(tmp_path):
    begun = time.monotonic()
    command = [EXECUTABLE, "demo", "--out", tmp_path / "demo", "--json"]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=300)
    seconds = time.monotonic() - begun
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert done.stdout.count("\n") == 1
    assert result["regions"] == ["eu", "sea", "us"]
    assert Path(result["report"]).read_text().startswith("<!")
    for task in result["tasks"].values():
        assert task["ci"][0] <= task["auc"] <= task["ci"][1]
        assert 0.5 < task["auc_exact"] <= task["auc_oracle"] + 0.02
    for populations in result["epsilon"].values():
        assert all(0 < each["spent"] <= each["limit"] for each in populations.values())
    assert "Report:" in done.stderr
    assert seconds < MOST_SECONDS
