"""Two streams: people read stderr, scripts the last line of stdout; an unexpected fault tells no value."""

from __future__ import annotations

import json

import pytest

from console import cli
from console.output import answer, crashed, failed, progress_bar, table
from foundation.errors import BudgetExceeded, FedprofileError

MARKER = "MARKER-4711"


def test_an_answer_is_one_line_of_json_on_stdout_and_only_where_asked_for(capsys):
    answer({"a": 1, "text": "é\n"}, as_json=True)
    told = capsys.readouterr()
    assert told.out.count("\n") == 1
    assert json.loads(told.out) == {"a": 1, "text": "é\n"}
    answer({"a": 1}, as_json=False)
    assert capsys.readouterr().out == ""


def test_a_figure_that_json_cannot_hold_is_no_answer(capsys):
    with pytest.raises(ValueError, match="JSON"):
        answer({"a": float("nan")}, as_json=True)
    assert capsys.readouterr().out == ""


def test_an_error_tells_what_why_what_to_do_and_its_code(capsys):
    error = BudgetExceeded("population train [of eu]")
    assert failed(error, as_json=True) == 3
    told = capsys.readouterr()
    for part in ("FP-302", "population train [of eu]", error.why, error.do):
        assert part in told.err
    assert json.loads(told.out) == error.as_json()


def test_an_unexpected_fault_tells_its_kind_and_place_never_its_text(capsys):
    def inner():
        raise KeyError(MARKER)

    with pytest.raises(KeyError) as fault:
        inner()
    assert crashed(fault.value, as_json=True) == 1
    told = capsys.readouterr()
    assert MARKER not in told.out + told.err
    assert "inner" in told.err
    assert json.loads(told.out)["error"]["code"] == FedprofileError.code
    assert "KeyError" in json.loads(told.out)["error"]["what"]


def test_a_fault_in_a_command_ends_with_1(monkeypatch, capsys):
    def broken(_path):
        raise RuntimeError(MARKER)

    monkeypatch.setattr("privacy.plan.read_plan", broken)
    assert cli.run(["plan", "check", "plan.toml", "--json"]) == 1
    told = capsys.readouterr()
    assert MARKER not in told.out + told.err
    assert json.loads(told.out.splitlines()[-1])["error"]["code"] == "FP-101"


def test_names_in_brackets_are_text_not_markup(capsys):
    table("[bold]t", ["[red]c"], [["[x]"]])
    assert "[x]" in capsys.readouterr().err


def test_progress_writes_nothing_to_stdout(capsys):
    with progress_bar() as move:
        move("training", 1, 2)
    assert capsys.readouterr().out == ""
