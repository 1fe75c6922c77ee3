"""A plan's digest covers every setting and nothing else; a bad plan is told all its faults."""

from __future__ import annotations

import copy
import dataclasses
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from foundation.errors import SettingsInvalid
from privacy.plan import Plan, midnight, read_plan
from profiles.catalogue import CATALOGUE, ORDER

GOLDEN = Path(__file__).parents[1] / "golden"
COMMON: dict[str, Any] = {
    "name": "p",
    "purpose": "retention",
    "controller": "shop",
    "holdout_share": 0.25,
    "normalisation": {"mode": "quantile", "bins": 8, "noise_multiplier": 4.5},
    "model": {"kind": "mlp", "hidden": 5},
    "training": {"mode": "local", "rounds": 4, "local_steps": 6, "sampling_rate": 0.5,
                 "noise_multiplier": 1.5, "clipping_norm": 0.75, "learning_rate": 0.5, "momentum": 0.25,
                 "averaged_rounds": 2,
                 "norm_bound": 50.0},
    "evaluation": {"noise_multiplier": 2.5, "bins": 5, "logit_range": 3.5, "logit_centre": -1.5,
                   "told_alone_at": 200, "spare_attempts": 1},
    "budget": {"epsilon": 3.0, "delta": 1e-5, "retrainings_per_period": 2},
    "federation": {"quorum": 2, "minimum_subjects": 50, "spare_attempts": 2, "hello_seconds": 5.0,
                   "round_seconds": 7.0, "slot_seconds": 1.0},
    "sealing": {"word_bits": 64, "units_per_sigma": 1024},
    "regions": {"eu": {"public_size": 5000, "weight": 0.5, "contributes": True},
                "sea": {"public_size": 200, "weight": 0.25, "contributes": True},
                "us": {"public_size": 3000, "weight": 0.25, "contributes": False}},
}  # fmt: skip
EVENTS = COMMON | {
    "tasks": {
        "churn": {"kind": "no_event", "event": ORDER, "days": 90},
        "buys": {"kind": "event", "event": ORDER, "days": 60},
        "worth": {"kind": "sum_at_least", "event": ORDER, "days": 30, "minimum": 150.5},
    },
    "data": {"shape": "events", "train_as_of": date(2024, 1, 1), "test_as_of": date(2024, 6, 1),
             "active_event": ORDER, "active_days": 365, "currency": "EUR", "exchange_rates": {"USD": 0.9}},
    "inputs": {"catalogue": ["orders_30d", "spend_all", "views_90d"], "columns": []},
}  # fmt: skip
SUBJECTS = COMMON | {
    "tasks": {"one": {"kind": "column", "column": "bought", "value": True},
              "two": {"kind": "column", "column": "plan", "value": "gold"},
              "three": {"kind": "column", "column": "visits", "value": 3}},
    "data": {"shape": "subjects"},
    "inputs": {"catalogue": [], "columns": [
        {"kind": "numeric", "name": "pages", "low": 1.5, "high": 9.5, "scale": "log"},
        {"kind": "category", "name": "device", "values": ["phone", "desk", 7, True]}]},
}  # fmt: skip
FORMS = {"events": EVENTS, "subjects": SUBJECTS}
FIXED = {"kind", "shape", "mode", "catalogue", "columns", "word_bits"}
"""Tags with one value in their place, and lists that a plan's shape leaves empty."""


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Returns the path of every scalar, and of every list and dict itself."""
    if isinstance(value, dict):
        return ([path] if path else []) + [p for k, v in value.items() for p in leaves(v, (*path, k))]
    if isinstance(value, list):
        return [path] + [p for i, v in enumerate(value) for p in leaves(v, (*path, i))]
    return [path]


def others(value: Any) -> list[Any]:
    """Returns values of the same type, to try in the place of value."""
    found: list[Any] = []
    match value:
        case bool():
            found = [not value, int(value)]
        case int():
            found = [value + 1, value - 1, value + 10, 32, 2 * value, "x"]
        case float():
            found = [value * 0.875, value * 1.125, -value]
        case date():
            found = [date(value.year, value.month, value.day + 1)]
        case str():
            found = ["linear", "standard", "logistic", "spend_90d", "USD", value + "x", 4]
        case list():
            found = [value[::-1], value[:-1]]
        case dict():
            found = [{f"{k}x": v for k, v in value.items()}, {f"{k[:-1]}Z": v for k, v in value.items()}]
    return found


def changed(form: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Returns form with value at path."""
    result = copy.deepcopy(form)
    place = result
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return result


def at(form: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        form = form[part]
    return form


def plan_or_none(form: dict[str, Any]) -> Plan | None:
    try:
        return Plan.model_validate(form)
    except ValidationError:
        return None


PATHS = [
    (shape, path)
    for shape, form in FORMS.items()
    for path in leaves(Plan.model_validate(form).model_dump(exclude={"simulate"}))
]


def test_the_forms_state_every_field():
    for form in FORMS.values():
        stated = Plan.model_validate(form).model_dump(exclude={"simulate"})
        assert sorted(map(repr, leaves(stated))) == sorted(map(repr, leaves(form)))


@pytest.mark.parametrize(("shape", "path"), PATHS, ids=str)
def test_any_other_value_of_any_field_is_another_digest(shape, path):
    form = FORMS[shape]
    plans = [plan_or_none(changed(form, path, value)) for value in others(at(form, path))]
    valid = [plan for plan in plans if plan is not None]
    names = {"data", "federation", "budget", "evaluation", "training", "model", "normalisation", "sealing",
             "inputs", "regions", "tasks"}  # fmt: skip
    is_table = path[-1] in names or isinstance(at(form, path), dict)
    told = Plan.model_validate(form)
    assert any(repr(plan) != repr(told) for plan in valid) or path[-1] in FIXED or is_table
    assert all((plan.digest == told.digest) == (repr(plan) == repr(told)) for plan in valid)


@pytest.mark.parametrize("shape", FORMS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_two_changes_are_never_the_digest_of_one(shape, data):
    form = FORMS[shape]
    plans = {}
    for _ in range(2):
        path = data.draw(st.sampled_from([path for each, path in PATHS if each == shape]))
        values = others(at(form, path))
        if (
            values
            and (plan := plan_or_none(changed(form, path, data.draw(st.sampled_from(values))))) is not None
        ):
            plans.setdefault(plan.digest, plan.model_dump(exclude={"simulate"}))
            assert plans[plan.digest] == plan.model_dump(exclude={"simulate"})


@pytest.mark.parametrize("shape", FORMS)
def test_what_simulate_says_is_outside_the_digest(shape):
    form = FORMS[shape] | {"holdout_share": 0.2}
    simulate = {"regions": {"eu": "eu.toml"}, "fold": 3}
    assert Plan.model_validate(form | {"simulate": simulate}).digest == Plan.model_validate(form).digest


def test_a_fold_holds_out_the_share_that_the_plan_states():
    with pytest.raises(ValidationError, match="a fold holds out"):
        Plan.model_validate(EVENTS | {"simulate": {"fold": 3}})


def test_true_and_one_are_other_values_of_a_label():
    digests = {
        Plan.model_validate(changed(SUBJECTS, ("tasks", "one", "value"), value)).digest
        for value in (True, 1, "1", "true", False, 0)
    }
    assert len(digests) == 6


def test_a_changed_definition_in_the_catalogue_is_another_plan(monkeypatch):
    digest = Plan.model_validate(EVENTS).digest
    feature = CATALOGUE["spend_all"]
    for change in ({"high": 2e6}, {"scale": "linear"}, {"definition": "other words"}):
        monkeypatch.setitem(CATALOGUE, "spend_all", dataclasses.replace(feature, **change))
        assert Plan.model_validate(EVENTS).digest != digest


def test_the_digest_of_the_golden_plan():
    told = json.loads((GOLDEN / "plan_digest.json").read_text(encoding="utf-8"))
    assert read_plan(GOLDEN / "plan.toml").digest == told["digest"]


def scalar(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else json.dumps(value)


def inline(value: Any) -> str:
    match value:
        case dict():
            return "{ " + ", ".join(f"{k} = {inline(v)}" for k, v in value.items()) + " }"
        case list():
            return "[\n  " + ", # comment\n  ".join(map(inline, value)) + "\n]"
    return scalar(value)


def toml(value: dict[str, Any], draw: Any, path: tuple[str, ...] = ()) -> str:
    """Returns value as TOML: keys of a table in any order, subtables under headers or inline."""
    keys = list(value) if path == ("tasks",) else draw(st.permutations(list(value)))
    lines, tables = [f"[{'.'.join(path)}]  # table"] if path else [], []
    for key in keys:
        under = isinstance(value[key], dict) and not (path and draw(st.booleans()))
        if under:
            tables.append(toml(value[key], draw, (*path, key)))
        else:
            content = inline_of(value[key])
            lines.append(
                f"{' ' * draw(st.integers(0, 3))}{key}={content}{draw(st.sampled_from(['', '  # x']))}"
            )
    return "\n".join([*lines, "", *tables])


def inline_of(value: Any) -> str:
    return inline(value).replace("\n", " ").replace("# comment", "") if has_table(value) else inline(value)


def has_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(has_table, value)))


@pytest.mark.parametrize("shape", FORMS)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_the_layout_of_the_file_changes_nothing(tmp_path_factory, shape, data):
    path = tmp_path_factory.mktemp("plan") / "plan.toml"
    path.write_text(toml(FORMS[shape], data.draw), encoding="utf-8")
    assert read_plan(path).digest == Plan.model_validate(FORMS[shape]).digest


def test_whole_numbers_may_be_written_without_a_point():
    assert (
        Plan.model_validate(changed(EVENTS, ("budget", "epsilon"), 3)).digest
        == Plan.model_validate(EVENTS).digest
    )


BAD = [
    (EVENTS, ("name",), "A plan"),
    (EVENTS, ("purpose",), ""),
    (EVENTS, ("tasks",), {}),
    (EVENTS, ("tasks", "churn", "days"), 0),
    (EVENTS, ("tasks", "churn", "kind"), "unknown"),
    (EVENTS, ("tasks", "worth", "minimum"), float("inf")),
    (EVENTS, ("tasks", "churn"), {"kind": "column", "column": "x", "value": True}),
    (SUBJECTS, ("tasks", "one"), {"kind": "event", "event": ORDER, "days": 1}),
    (EVENTS, ("data", "currency"), "eur"),
    (EVENTS, ("data", "exchange_rates", "USD"), 0.0),
    (EVENTS, ("inputs", "catalogue"), []),
    (EVENTS, ("inputs", "catalogue"), ["no_such_feature"]),
    (EVENTS, ("inputs", "catalogue"), ["spend_all", "spend_all"]),
    (EVENTS, ("inputs", "columns"), [{"kind": "category", "name": "x", "values": ["a"]}]),
    (EVENTS, ("inputs",), SUBJECTS["inputs"]),
    (SUBJECTS, ("inputs",), EVENTS["inputs"]),
    (SUBJECTS, ("inputs", "columns"), SUBJECTS["inputs"]["columns"][1:]),
    (SUBJECTS, ("inputs", "columns", 0, "high"), 1.5),
    (SUBJECTS, ("inputs", "columns", 0, "high"), float("nan")),
    (SUBJECTS, ("inputs", "columns", 0, "low"), -1.0),
    (SUBJECTS, ("inputs", "columns", 0, "high"), float("inf")),
    (SUBJECTS, ("inputs", "columns", 0, "low"), -float("inf")),
    (SUBJECTS, ("inputs", "columns", 1, "values"), []),
    (SUBJECTS, ("inputs", "columns", 1, "values"), ["a", "a"]),
    (EVENTS, ("normalisation", "bins"), 3),
    (EVENTS, ("normalisation", "noise_multiplier"), 0.0),
    (EVENTS, ("normalisation", "noise_multiplier"), float("nan")),
    (EVENTS, ("normalisation", "noise_multiplier"), 0.19),
    (EVENTS, ("training", "noise_multiplier"), 0.19),
    (EVENTS, ("training", "noise_multiplier"), float("inf")),
    (EVENTS, ("evaluation", "noise_multiplier"), 0.19),
    (EVENTS, ("training", "mode"), "distributed"),
    (EVENTS, ("training", "sampling_rate"), 0.0),
    (EVENTS, ("training", "sampling_rate"), 1.01),
    (EVENTS, ("training", "clipping_norm"), float("inf")),
    (EVENTS, ("training", "momentum"), 1.0),
    (EVENTS, ("training", "averaged_rounds"), 5),
    (EVENTS, ("evaluation", "logit_centre"), float("inf")),
    (EVENTS, ("holdout_share",), 1.0),
    (EVENTS, ("budget", "delta"), 0.01),
    (EVENTS, ("budget", "delta"), 0.0),
    (EVENTS, ("federation", "quorum"), 1),
    (EVENTS, ("federation", "quorum"), 4),
    (EVENTS, ("federation", "slot_seconds"), float("inf")),
    (EVENTS, ("sealing", "word_bits"), 32),
    (EVENTS, ("regions", "eu", "public_size"), 5432),
    (EVENTS, ("regions", "eu", "public_size"), 9),
    (EVENTS, ("regions", "eu", "weight"), 1.5),
    (EVENTS, ("regions",), {"eu": COMMON["regions"]["eu"]}),
    (EVENTS, ("regions",), {name: {"public_size": 10, "weight": 1, "contributes": False} for name in "ab"}),
    (EVENTS, ("simulate",), {"fold": 5}),
    (EVENTS, ("surprise",), 1),
]  # fmt: skip


@pytest.mark.parametrize(("form", "path", "value"), BAD, ids=lambda each: str(each)[:40])
def test_a_bad_plan_is_refused(form, path, value):
    with pytest.raises(ValidationError):
        Plan.model_validate(changed(form, path, value))


def test_a_feature_that_is_constant_inside_a_region_is_refused(monkeypatch):
    feature = dataclasses.replace(CATALOGUE["spend_all"], region_constant=True)
    monkeypatch.setitem(CATALOGUE, "spend_all", feature)
    with pytest.raises(ValidationError, match="constant inside a region"):
        Plan.model_validate(EVENTS)


def test_all_faults_of_a_file_are_told_at_once(tmp_path):
    text = (GOLDEN / "plan.toml").read_text(encoding="utf-8")
    for good, bad in [
        ("delta = 1e-6", "delta = 1"),
        ("public_size = 2000", "public_size = 2001"),
        ('name = "golden"', 'name = "Golden Plan"'),
        ("sampling_rate = 0.02", "sampling_rate = 2.0"),
    ]:
        text = text.replace(good, bad, 1)
    path = tmp_path / "plan.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsInvalid) as refusal:
        read_plan(path)
    told = refusal.value.what.splitlines()
    bad = {"delta = 1", "public_size = 2001", 'name = "Golden Plan"', "sampling_rate = 2.0"}
    lines = {number for number, line in enumerate(text.splitlines(), start=1) if line in bad}
    assert {int(line.removeprefix(f"{path}:").split(":")[0]) for line in told} == lines
    assert len(told) == 4


@pytest.mark.parametrize(
    ("size", "round_"),
    [(10, True), (99, True), (101, False), (110, True), (3456, False), (3400, True), (123_000, False)],
)
def test_a_public_size_has_two_leading_digits(size, round_):
    plan = plan_or_none(changed(EVENTS, ("regions", "eu", "public_size"), size))
    assert (plan is not None) == round_


def test_numbers_that_follow_from_a_plan():
    plan = Plan.model_validate(SUBJECTS)
    assert (plan.numeric_inputs, plan.category_inputs) == (1, 4)
    assert plan.training_size("eu") == 3750
    assert plan.holdout_size("eu") == 1250
    assert plan.told_alone == ("eu", "us")
    assert plan.most_attempts == 6
    assert plan.features == ()
    assert [each.name for each in Plan.model_validate(EVENTS).features] == EVENTS["inputs"]["catalogue"]


def test_a_plan_cannot_be_changed_after_it_was_read():
    plan = Plan.model_validate(EVENTS)
    with pytest.raises(ValidationError):
        plan.training.rounds = 5


def test_a_changed_copy_has_a_digest_and_features_of_its_own():
    plan = Plan.model_validate(EVENTS)
    before = plan.digest, plan.features
    inputs = plan.inputs.model_copy(update={"catalogue": ["spend_all"]})
    changed_copy = plan.model_copy(update={"inputs": inputs})
    assert [each.name for each in changed_copy.features] == ["spend_all"]
    assert changed_copy.digest == Plan.model_validate(changed_copy.model_dump()).digest != plan.digest
    assert (plan.digest, plan.features) == before


def test_the_order_of_tasks_in_a_file_changes_nothing():
    there = Plan.model_validate(EVENTS)
    back = Plan.model_validate(EVENTS | {"tasks": dict(reversed(EVENTS["tasks"].items()))})
    assert (there.digest, tuple(there.tasks)) == (back.digest, tuple(back.tasks))


def test_a_day_begins_at_utc_midnight():
    assert midnight(date(2024, 2, 29)).isoformat() == "2024-02-29T00:00:00+00:00"
