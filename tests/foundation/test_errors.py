"""Every coded error says what, why and what to do, under a code of its own."""

from __future__ import annotations

import pickle
import re

import pytest

from foundation import errors
from foundation.errors import FedprofileError, by_code


def tree(base: type[FedprofileError]) -> list[type[FedprofileError]]:
    return [base] + [each for child in base.__subclasses__() for each in tree(child)]


ALL = [each for each in tree(FedprofileError) if each.__module__ == errors.__name__]


def test_codes_are_unique():
    codes = [each.code for each in ALL]
    assert len(set(codes)) == len(codes) > 30


@pytest.mark.parametrize("error", ALL, ids=lambda each: each.__name__)
def test_each_error_has_code_exit_code_reason_remedy_and_docstring(error):
    assert re.fullmatch(r"FP-[1-5]\d\d", error.code)
    assert error("it").exit_code == int(error.code[3])
    assert error.why
    assert error.why[-1] != "."
    assert error.do
    assert error.do[-1] != "."
    assert error.__doc__
    assert "code" in vars(error)


@pytest.mark.parametrize("error", ALL, ids=lambda each: each.__name__)
def test_a_message_says_what_why_what_to_do_and_the_code(error):
    remedy = error.do[0].upper() + error.do[1:]
    assert str(error("the fact")) == f"the fact: {error.why}. {remedy}. [{error.code}]"


def test_reason_and_remedy_may_be_told_case_by_case():
    told = errors.UsageWrong("x", why="because", do="do that")
    assert str(told) == "x: because. Do that. [FP-213]"
    assert told.as_json() == {"error": {"code": "FP-213", "what": "x", "why": "because", "do": "do that"}}
    assert errors.UsageWrong("x").why == errors.UsageWrong.why


@pytest.mark.parametrize("error", ALL, ids=lambda each: each.__name__)
def test_an_error_survives_another_process(error):
    told = error("x", why="because")
    back = pickle.loads(pickle.dumps(told))  # noqa: S301 - bytes of our own
    assert (type(back), str(back)) == (error, str(told))


@pytest.mark.parametrize("error", ALL, ids=lambda each: each.__name__)
def test_a_code_finds_its_class(error):
    assert by_code(error.code) is error


def test_an_unknown_code_is_the_base():
    assert by_code("FP-999") is FedprofileError
