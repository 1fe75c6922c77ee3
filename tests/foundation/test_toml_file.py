"""A settings file tells all its faults at once, each with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from foundation.errors import SettingsInvalid, SourceMissing
from foundation.toml_file import Settings, line_of, load, parse, read, validate


class Limit(Settings):
    """A nested table."""

    epsilon: Annotated[float, Field(gt=0)]
    n_max: Annotated[int, Field(ge=1)] = 10


class Policy(Settings):
    """A file."""

    name: str
    limits: dict[str, Limit]
    days: int = 1


class Number(Settings):
    """A table of an array, told from the others by its kind."""

    kind: Literal["number"]
    name: str
    high: float = 1.0


class Category(Settings):
    """Another."""

    kind: Literal["category"]
    name: str
    values: Annotated[list[str], Field(min_length=1)]


Column = Annotated[Number | Category, Field(discriminator="kind")]


class Columns(Settings):
    """A file with tagged tables, in an array and by name."""

    columns: list[Column]
    named: dict[str, Column] = {}


COLUMNS = """
[[columns]]
kind = "number"
name = "a"
high = 2.0

[[columns]]
kind = "category"
name = "b"
values = ["x"]

[named.one]
kind = "number"
name = "c"
high = 3.0
"""


def faults_of(folder, text, model=Policy):
    """Returns (line, place) of each fault, in order."""
    path = folder / "policy.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsInvalid) as refusal:
        load(path, model)
    told = [line.removeprefix(f"{path}:").split(": ")[:2] for line in refusal.value.what.splitlines()]
    return [(int(line), place) for line, place in told]


def test_a_good_file_becomes_a_frozen_model(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('name = "a"\n[limits.train]\nepsilon = 3\n', encoding="utf-8")
    policy = load(path, Policy)
    assert policy.limits["train"].epsilon == 3.0
    with pytest.raises(ValidationError):
        policy.name = "b"


def test_all_faults_are_told_at_once_each_with_its_line(tmp_path):
    text = (
        "# a policy\n"
        "name = 3\n"
        'days = "many"  # not a number\n'
        "\n"
        "[limits.train]  # people trained on\n"
        "epsilon = -1.0\n"
        "n_max = 0\n"
        "\n"
        "[limits.holdout]\n"
        "epsilon = 3.0\n"
        "surprise = true\n"
    )
    assert set(faults_of(tmp_path, text)) == {
        (2, "name"),
        (3, "days"),
        (6, "limits.train.epsilon"),
        (7, "limits.train.n_max"),
        (11, "limits.holdout.surprise"),
    }


def test_a_missing_key_is_told_at_its_table(tmp_path):
    assert faults_of(tmp_path, 'name = "a"\n[limits.train]\nn_max = 5\n') == [(2, "limits.train.epsilon")]


def test_a_missing_key_at_the_top_is_told_at_line_one(tmp_path):
    assert (1, "name") in faults_of(tmp_path, "\n\n[limits.train]\nepsilon = 1.0\n")


def test_a_key_in_an_inline_table_is_told_at_the_inline_table(tmp_path):
    text = 'name = "a"\n[limits]\ntrain = { epsilon = -1.0 }\n'
    assert faults_of(tmp_path, text) == [(3, "limits.train.epsilon")]


def test_dotted_and_quoted_keys_are_found(tmp_path):
    text = 'name = "a"\nlimits.train.epsilon = -1.0\nlimits."holdout".epsilon = -2.0\n'
    assert faults_of(tmp_path, text) == [(2, "limits.train.epsilon"), (3, "limits.holdout.epsilon")]


def test_equal_names_in_other_tables_are_not_confused(tmp_path):
    limits = "[limits.one]\nepsilon = 1.0\n[limits.two]\nepsilon = 0.0\n[limits.three]\nepsilon = 1.0\n"
    text = 'name = "a"\n' + limits
    assert faults_of(tmp_path, text) == [(5, "limits.two.epsilon")]


@pytest.mark.parametrize(
    ("good", "bad"),
    [("high = 2.0", "high = 'many'"), ('values = ["x"]', "values = []"), ("high = 3.0", "high = 'more'")],
)
def test_a_fault_in_a_tagged_table_is_told_at_its_own_line(tmp_path, good, bad):
    text = COLUMNS.replace(good, bad)
    line = text.splitlines().index(bad) + 1
    assert [told for told, _ in faults_of(tmp_path, text, Columns)] == [line]


def test_a_fault_of_the_second_table_of_an_array_is_not_told_at_the_first(tmp_path):
    text = COLUMNS.replace('name = "b"\n', "")
    headers = [number for number, line in enumerate(text.splitlines(), start=1) if line == "[[columns]]"]
    assert [told for told, _ in faults_of(tmp_path, text, Columns)] == headers[1:]


def test_a_text_that_is_not_yet_a_file_is_judged_as_the_file_would_be():
    text, path = 'name = "a"\n[limits.train]\nepsilon = -1.0\n', Path("not-there.toml")
    with pytest.raises(SettingsInvalid, match=r"not-there\.toml:3: limits\.train\.epsilon"):
        validate(parse(text, path), Policy, path, text=text)
    with pytest.raises(SettingsInvalid, match=r"not-there\.toml is not TOML"):
        parse("name =", path)
    assert not path.exists()


def test_a_message_never_quotes_the_value(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('name = "a"\nlimits = "alice@example.org"\n', encoding="utf-8")
    with pytest.raises(SettingsInvalid) as refusal:
        load(path, Policy)
    assert "alice" not in str(refusal.value)


def test_a_file_that_is_not_there_or_a_folder_is_missing(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(SourceMissing):
            read(path)


@pytest.mark.parametrize("content", [b"name = ", b"= 1", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_what_is_not_toml_is_refused(tmp_path, content):
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(SettingsInvalid, match="is not TOML"):
        read(tmp_path / "x.toml")


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=3), st.integers(0, 9))
def test_the_line_of_a_key_is_found_below_any_comment(names, above):
    *table, key = names
    header = f"[{'.'.join(table)}]\n" if table else ""
    text = "# x = 1\n" * above + header + f"{key} = 1\n"
    assert line_of(text, tuple(names)) == above + bool(table) + 1
