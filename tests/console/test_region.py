"""A regional team's day: init, check, approve, budget, refresh, profile; and what no output tells."""

from __future__ import annotations

import io
import json
import sys

import pytest

from client.folder import open_folder
from console.cli import run
from server import rounds

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")  # threads share the filters

MARKER = "leaked-4711"


def edit(path, old, new):
    stated = path.read_text()
    assert old in stated
    path.write_text(stated.replace(old, new))


@pytest.fixture
def told(capsys):
    """Runs a command; returns exit code and JSON; no identifier of a person may be in what it wrote."""

    def command(*arguments):
        capsys.readouterr()
        code = run([*map(str, arguments), "--json"])
        written = capsys.readouterr()
        assert MARKER not in written.out + written.err
        command.err = written.err
        return code, json.loads(written.out.splitlines()[-1])

    return command


@pytest.fixture
def eu(small, told, tmp_path):
    """A region folder of small's eu, made by `region init`; ids of people hold the marker."""
    table = small.folder / "eu.csv"
    table.write_text(table.read_text().replace("eu-", f"eu-{MARKER}-"))
    folder = tmp_path / "eu"
    files = ["--manifest", small.manifest("eu"), "--policy", small.folder / "eu.policy.toml"]
    assert told("region", "init", folder, "--region", "eu", *files) == (
        0,
        {"region": "eu", "folder": str(folder)},
    )
    return folder


@pytest.fixture
def simulated(small, told, tmp_path, monkeypatch):
    """A simulation's eu, with a model to score with."""
    monkeypatch.setattr(rounds, "CLOSE_SECONDS", 0.3)
    table = small.folder / "eu.csv"
    table.write_text(table.read_text().replace("eu-", f"eu-{MARKER}-"))
    assert told("simulate", small.plan_path, "--out", tmp_path / "out")[0] == 0
    return tmp_path / "out" / "regions" / "eu"


def test_a_region_is_made_checked_and_approves_a_plan(small, told, eu):
    exit_code, found = told("region", "check", eu, small.plan_path)
    assert (exit_code, [each["code"] for each in found["problems"]]) == (3, ["FP-301"])
    assert (found["active"], found["trained_on"] + found["held_out"], found["not_permitted"]) == (400, 400, 0)
    assert found["cost"]["train"] < found["left"]["train"] == 3.0
    assert all(violations <= allowed for violations, allowed in found["gates"].values())
    approved = {"plan": "small", "digest": small.plan.digest, "approved": True}
    assert told("region", "approve", eu, small.plan_path, "--yes") == (0, approved)
    assert "Leaves" in told.err
    exit_code, found = told("region", "check", eu, small.plan_path)
    assert (exit_code, found["problems"]) == (0, [])
    assert told("region", "approve", eu, small.plan_path, "--withdraw", "--yes")[1]["approved"] is False
    assert told("region", "check", eu, small.plan_path)[0] == 3
    exit_code, error = told("region", "approve", eu, small.plan_path, "--withdraw", "--yes")
    assert (exit_code, error["error"]["code"]) == (3, "FP-301")


def test_an_approval_that_is_not_confirmed_is_none(small, told, eu, monkeypatch):
    for answer in ("n\n", ""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        exit_code, error = told("region", "approve", eu, small.plan_path)
        assert (exit_code, error["error"]["code"]) == (2, "FP-213")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert told("region", "approve", eu, small.plan_path)[0] == 0


def test_a_folder_is_made_once_and_not_over_another(told, eu, small):
    exit_code, error = told("region", "init", eu, "--region", "eu", "--manifest", small.manifest("eu"))
    assert (exit_code, error["error"]["code"]) == (2, "FP-211")


def test_a_manifest_of_another_region_makes_no_folder(told, small, tmp_path):
    arguments = ["region", "init", tmp_path / "us", "--region", "us", "--manifest", small.manifest("eu")]
    exit_code, error = told(*arguments)
    assert (exit_code, error["error"]["code"]) == (2, "FP-213")
    assert not (tmp_path / "us").exists()


def test_a_fresh_folder_loads_and_says_what_is_missing(told, small, tmp_path):
    folder = tmp_path / "new"
    assert told("region", "init", folder, "--region", "eu")[0] == 0
    exit_code, found = told("region", "check", folder, small.plan_path)
    assert exit_code == 3
    assert found["problems"]
    assert told("region", "budget", folder)[0] == 0


def test_every_problem_is_told_at_once_as_counts(told, eu, small):
    table = small.folder / "eu.csv"
    header, *rows = table.read_text().splitlines()
    broken = [f"{rows[0]}", *rows, f",{rows[1].split(',', 1)[1]}"]
    table.write_text("\n".join([header, *broken]) + "\n")
    edit(eu / "policy.toml", "retention", "marketing")
    exit_code, found = told("region", "check", eu, small.plan_path)
    assert exit_code == 3
    assert {each["code"] for each in found["problems"]} == {"FP-305", "FP-301", "FP-315"}
    assert found["gates"]["people.repeated_subject"] == [1, 0]
    assert found["gates"]["people.missing_subject"] == [1, 0]


def test_a_cell_that_cannot_be_read_is_not_quoted(told, eu, small):
    edit(small.folder / "eu.csv", "-7,0.", f"-7,{MARKER}0.")
    exit_code, found = told("region", "check", eu, small.plan_path)
    assert exit_code == 3
    assert found["active"] is None
    assert "FP-205" in {each["code"] for each in found["problems"]}


def test_the_budget_is_the_ledger(told, simulated):
    exit_code, found = told("region", "budget", simulated, "--events")
    assert exit_code == 0
    accounts = {each["population"]: each for each in found["accounts"]}
    assert accounts["train"]["spent"] > 2
    assert accounts["train"]["left"] == pytest.approx(3.0 - accounts["train"]["spent"])
    kinds = [each["kind"] for each in found["events"]]
    assert kinds == ["count", "histograms", "training", "training", "training", "evaluation"]
    assert told("region", "budget", simulated)[1]["events"] == []


def test_people_are_scored_and_one_is_shown_by_stdin_or_file_only(told, simulated, tmp_path, monkeypatch):
    exit_code, found = told("region", "refresh", simulated)
    assert (exit_code, found["people"], found["origin"], found["tasks"]) == (0, 400, "simulation", ["leaves"])
    assert "for this folder only" in told.err
    identifier = tmp_path / "id"
    identifier.write_text(f"eu-{MARKER}-3\n")
    exit_code, by_file = told(
        "region", "profile", simulated, "--purpose", "retention", "--id-file", identifier
    )
    assert exit_code == 0
    assert set(by_file) == {"purpose", "scores", "model", "origin", "as_of", "stale"}
    assert 0 < by_file["scores"]["leaves"] < 1
    for options in ([], ["--id-file", "-"]):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"eu-{MARKER}-3"))
        assert told("region", "profile", simulated, "--purpose", "retention", *options) == (0, by_file)


@pytest.mark.parametrize("option", ["", "--id", "--identifier", "--subject"])
def test_an_identifier_is_never_an_argument(simulated, option, capsys):
    arguments = ["region", "profile", str(simulated), "--purpose", "retention"]
    assert run([*arguments, *([option] if option else []), "someone"]) == 2
    capsys.readouterr()


@pytest.mark.parametrize(
    ("identifier", "purpose"),
    [("nobody", "retention"), (f"eu-{MARKER}-3", "marketing"), (f"eu-{MARKER}", "retention")],
)
def test_whoever_may_not_be_shown_gets_one_answer(told, simulated, monkeypatch, identifier, purpose):
    told("region", "refresh", simulated)
    monkeypatch.setattr(sys, "stdin", io.StringIO(identifier))
    exit_code, error = told("region", "profile", simulated, "--purpose", purpose)
    assert exit_code == 3
    assert error["error"]["code"] == "FP-314"
    assert identifier not in json.dumps(error)


def test_no_identifier_is_wrong_usage(told, simulated, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(" \n"))
    exit_code, error = told("region", "profile", simulated, "--purpose", "retention")
    assert (exit_code, error["error"]["code"]) == (2, "FP-213")


def test_a_region_without_a_model_scores_nobody(told, eu):
    exit_code, error = told("region", "refresh", eu)
    assert (exit_code, error["error"]["code"]) == (2, "FP-211")


def test_a_subject_table_has_no_as_of(told, simulated):
    exit_code, error = told("region", "refresh", simulated, "--as-of", "2025-01-01")
    assert (exit_code, error["error"]["code"]) == (2, "FP-213")


def test_a_command_on_a_folder_in_use_says_so(told, eu):
    with open_folder(eu):
        exit_code, error = told("region", "budget", eu)
    assert (exit_code, error["error"]["code"]) == (2, "FP-210")
