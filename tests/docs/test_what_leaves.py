"""The page on what leaves names every member and field of the two closed sets."""

from pathlib import Path
from typing import get_args

import pytest

from privacy import centre_notices, messages, release

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/explanation/what-leaves.md").read_text(encoding="utf-8")


def kind_of(model: type) -> str:
    return model.model_fields["kind"].default


@pytest.mark.parametrize("model", get_args(messages.AnyRequest) + get_args(messages.AnyAnswer), ids=kind_of)
def test_every_request_and_answer_is_on_the_page(model):
    if kind_of(model) != "release":
        assert f"`{kind_of(model)}`" in PAGE


@pytest.mark.parametrize("field", sorted(release.Receipt.model_fields))
def test_every_field_of_the_receipt_is_on_the_page(field):
    assert f"`{field}`" in PAGE


@pytest.mark.parametrize(
    "field",
    sorted(
        name
        for notice in (centre_notices.Welcome, centre_notices.Refused)
        for name in notice.model_fields
        if name != "kind"
    ),
)
def test_every_field_of_a_notice_is_on_the_page(field):
    assert f"`{field}`" in PAGE


def test_the_page_names_nothing_that_the_code_does_not_have():
    table = PAGE.split("## Notices")[1].split("## What the centre sends in")[0]
    named = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    assert named == {kind_of(model) for model in get_args(messages.AnyAnswer)} - {"release"}
