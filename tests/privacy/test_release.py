"""Both doors of the border are closed sets: no field could carry a text."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import pytest
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from foundation.toml_file import Settings
from privacy import centre_notices, release
from privacy.messages import AnyAnswer, AnyRequest
from privacy.release import Hello, Receipt, Release, Train

MODELS = {
    value
    for module in (release, centre_notices)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, Settings) and value.__module__ == module.__name__
}
PEOPLE = ("count", "size", "rows", "people", "subjects", "examples", "n_")


def loose(kind: Any, bound: bool = False) -> list[str]:  # noqa: FBT001, FBT002 - recursion over types
    """Returns what in an annotation could carry a text or a real number."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return loose(inner[0], bound or any(is_bound(each) for each in inner[1:]))
    if origin is Literal or kind is type(None):
        return []
    if origin in (tuple, list, dict, Union, types.UnionType):
        return [each for part in inner if part is not Ellipsis for each in loose(part)]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [] if kind in MODELS else [kind.__name__]
    return [] if bound and kind in (str, int) else [str(kind)]


def is_bound(limit: Any) -> bool:
    if isinstance(limit, FieldInfo):
        return any(is_bound(each) for each in limit.metadata)
    return bool(getattr(limit, "pattern", None)) or isinstance(limit, annotated_types.Ge | annotated_types.Le)


@pytest.mark.parametrize(
    "model", sorted(MODELS, key=lambda each: each.__name__), ids=lambda each: each.__name__
)
def test_every_field_is_a_literal_a_pattern_or_a_bounded_integer(model):
    for name, field in model.model_fields.items():
        kind = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        assert not loose(kind), name


@pytest.mark.parametrize(
    "model", sorted(MODELS, key=lambda each: each.__name__), ids=lambda each: each.__name__
)
def test_models_are_frozen_and_refuse_unknown_fields(model):
    assert model.model_config["frozen"] is True
    assert model.model_config["extra"] == "forbid"


def test_only_a_charge_counts_and_it_counts_releases():
    counted = {
        (model.__name__, name)
        for model in MODELS
        for name in model.model_fields
        if any(word in name for word in PEOPLE)
    }
    assert counted == {("ReceiptCharge", "count")}


def test_the_sets_are_these():
    requests = {each.__name__ for each in get_args(AnyRequest)}
    answers = {each.__name__ for each in get_args(AnyAnswer)}
    assert requests == {"Hello", "Analyse", "Train", "Evaluate", "Close"}
    assert answers == {"Welcome", "Release", "Closed", "Refused", "Unavailable"}


def test_unavailable_has_one_form():
    assert set(centre_notices.Unavailable.model_fields) == {"kind"}


@pytest.mark.parametrize("run", ["", "0" * 31, "0" * 33, "G" * 32, "A" * 32, "0" * 32 + "\n", "é" * 32])
def test_an_id_is_exactly_its_digits(run):
    with pytest.raises(ValidationError):
        Hello(run=run, plan="0" * 64)


@pytest.mark.parametrize(
    "change",
    [
        *({"round": value} for value in (-1, 10**7, 1.0, "1", True)),
        {"cohort": ("eu",)},
        {"cohort": ("eu", "Alice Smith")},
        {"protocol": 2},
        {"kind": "hello"},
        {"subject": "anna"},
    ],
    ids=str,
)
def test_a_slot_is_small_whole_numbers_and_names(change):
    slot = {"run": "0" * 32, "plan": "0" * 64, "round": 1, "attempt": 0, "cohort": ("eu", "us")}
    Train.model_validate(slot)
    with pytest.raises(ValidationError):
        Train.model_validate(slot | change)


def test_a_receipt_states_unit_relation_and_what_masks_do():
    fixed = {name: field.default for name, field in Receipt.model_fields.items() if not field.is_required()}
    assert fixed == {
        "unit": "data subject",
        "relation": "add or remove one",
        "charged_as": "masks broken",
    }
    assert set(Release.model_fields) == {"kind", "receipt", "signature"}
