"""Plans are checked and calibrated, simulations run and listed, from the command line."""

from __future__ import annotations

import json

import pytest

from console import central
from console.cli import run
from privacy.plan import read_plan
from server import rounds

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")  # threads share the filters


def edit(path, old, new):
    stated = path.read_text()
    assert old in stated
    path.write_text(stated.replace(old, new))


@pytest.fixture
def told(capsys):
    """Runs a command with --json; returns exit code and the last line of stdout."""

    def command(*arguments):
        capsys.readouterr()
        code = run([*map(str, arguments), "--json"])
        written = capsys.readouterr()
        command.err = written.err
        return code, json.loads(written.out.splitlines()[-1])

    return command


def test_a_plan_is_explained_in_words_with_its_cost(small, told):
    exit_code, found = told("plan", "check", small.plan_path)
    assert exit_code == 0
    assert found["digest"] == small.plan.digest
    assert set(found["epsilon"]) == {"eu", "sea", "us"}
    assert all(0 < cost <= 3.0 for each in found["epsilon"].values() for cost in each.values())
    assert all(sentence in told.err for sentence in found["words"])


def test_a_plan_with_too_little_noise_is_refused_calibrated_and_then_passes(small, told):
    edit(small.plan_path, "noise_multiplier = 6.0", "noise_multiplier = 2.0  # to be calibrated")
    exit_code, error = told("plan", "check", small.plan_path)
    assert (exit_code, error["error"]["code"]) == (2, "FP-201")
    assert "plan calibrate" in error["error"]["do"]
    untouched = small.plan_path.read_text()
    exit_code, found = told("plan", "calibrate", small.plan_path)
    assert exit_code == 0
    assert small.plan_path.read_text() == untouched
    assert told("plan", "calibrate", small.plan_path, "--write") == (0, found)
    assert "# to be calibrated" in small.plan_path.read_text()
    exit_code, passed = told("plan", "check", small.plan_path)
    assert exit_code == 0
    worst = max(cost for each in passed["epsilon"].values() for cost in each.values())
    assert 2.9 < worst <= 3.0
    written = read_plan(small.plan_path)
    assert written.training.noise_multiplier == found["training"]
    assert written.evaluation.noise_multiplier == found["evaluation"]
    assert written.normalisation.noise_multiplier == 8.0


@pytest.mark.parametrize("epsilon", [1.0, 2.5, 8.0])
def test_a_plan_calibrated_for_another_target_passes_at_that_target(small, told, epsilon):
    exit_code, found = told("plan", "calibrate", small.plan_path, "--epsilon", epsilon, "--write")
    assert (exit_code, found["epsilon"]) == (0, epsilon)
    assert read_plan(small.plan_path).budget.epsilon == epsilon
    assert told("plan", "check", small.plan_path)[0] == 0


@pytest.mark.parametrize("epsilon", ["0", "-1"])
def test_a_target_that_is_not_above_zero_is_wrong_usage(small, told, epsilon):
    exit_code, error = told("plan", "calibrate", small.plan_path, "--epsilon", epsilon)
    assert (exit_code, error["error"]["code"]) == (2, "FP-213")


def test_a_target_that_no_noise_reaches_leaves_the_plan_as_it_was(small, told):
    untouched = small.plan_path.read_text()
    exit_code, error = told("plan", "calibrate", small.plan_path, "--epsilon", "0.001", "--write")
    assert (exit_code, error["error"]["code"]) == (2, "FP-201")
    assert small.plan_path.read_text() == untouched


def test_all_faults_of_a_plan_are_told_with_their_lines(small, told):
    edit(small.plan_path, "quorum = 2", "quorum = 2\nquorums = 3")
    edit(small.plan_path, "delta = 1e-5", "delta = 2.0")
    exit_code, error = told("plan", "check", small.plan_path)
    assert (exit_code, error["error"]["code"]) == (2, "FP-201")
    lines = small.plan_path.read_text().splitlines()
    for text in ("quorums = 3", "delta = 2.0"):
        assert f":{lines.index(text) + 1}: " in error["error"]["what"]


def test_a_simulation_is_run_reported_and_its_model_listed(small, told, tmp_path, monkeypatch):
    monkeypatch.setattr(rounds, "CLOSE_SECONDS", 0.3)
    monkeypatch.chdir(tmp_path)
    exit_code, result = told("simulate", small.plan_path, "--out", "out")
    assert exit_code == 0
    assert result["model"] in (tmp_path / "out" / "report.html").read_text()
    assert "never leaves a real region" in told.err
    exit_code, listed = told("central", "models", "out")
    assert [each["name"] for each in listed["models"]] == [result["model"]]
    assert told("central", "models", "out/central") == (exit_code, listed)
    exit_code, again = told("simulate", "--resume", "out")
    assert exit_code == 0
    assert {**again, "seconds": 0, "epsilon": 0, "tasks": 0} == {
        **result,
        "seconds": 0,
        "epsilon": 0,
        "tasks": 0,
    }


def test_a_simulation_without_out_makes_a_folder_of_its_own(small, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    edit(small.folder / "us.policy.toml", "retention", "marketing")
    exit_code, error = told("simulate", small.plan_path)
    assert (exit_code, error["error"]["code"]) == (3, "FP-315")
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("small-plan-")
    assert f"State: runs/{folder.name}" in told.err


def test_a_plan_without_manifests_cannot_be_simulated(small, told, tmp_path):
    stated = small.plan_path.read_text()
    small.plan_path.write_text(stated.split("[simulate.regions]")[0])
    exit_code, error = told("simulate", small.plan_path, "--out", tmp_path / "out")
    assert (exit_code, error["error"]["code"]) == (2, "FP-213")


def test_the_demo_needs_its_plan(told, tmp_path, monkeypatch):
    monkeypatch.setattr(central, "DEMO_PLAN", tmp_path / "absent.toml")
    exit_code, error = told("demo", "--out", tmp_path / "out")
    assert (exit_code, error["error"]["code"]) == (2, "FP-211")
