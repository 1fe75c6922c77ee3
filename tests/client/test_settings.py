"""policy.toml: what a region accepts, with every reason when it does not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from client.manifest import read_manifest
from client.settings import Policy, PopulationBudget
from client.starting import starting_manifest, starting_policy
from foundation.errors import PurposeRefused
from foundation.toml_file import load
from privacy.budget import Limit

OPEN = Policy(purposes=["retention"])


def changed(plan, **parts):
    settings = plan.model_dump()
    for name, part in parts.items():
        settings[name] = settings[name] | part if isinstance(part, dict) else part
    return type(plan).model_validate(settings)


def reasons(policy, plan, region="eu", controllers=("example-shop",)):
    try:
        policy.judge(plan, region=region, controllers=list(controllers))
    except PurposeRefused as refusal:
        return refusal.why
    return ""


def test_a_plan_that_asks_no_more_than_the_policy_allows_is_accepted(small):
    assert reasons(OPEN, small.plan) == ""


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        ("purpose retention", lambda plan: reasons(Policy(purposes=["growth"]), plan)),
        ("does not name region mars", lambda plan: reasons(OPEN, plan, region="mars")),
        ("controller example-shop", lambda plan: reasons(OPEN, plan, controllers=["other"])),
        ("needs 3 regions", lambda plan: reasons(Policy(purposes=["retention"], cohort_of_two=False), plan)),
        ("delta 0.001 exceeds", lambda plan: reasons(OPEN, changed(plan, budget={"delta": 0.001}))),
    ],
)
def test_each_reason_is_told(small, told, asked):
    assert told in asked(small.plan)


def test_all_reasons_are_told_at_once(small):
    told = reasons(Policy(purposes=["growth"], cohort_of_two=False), small.plan, "mars", ["other"])
    assert told.count(";") == 3


def test_the_plans_delta_may_not_exceed_the_smallest_of_the_populations(small):
    policy = Policy(purposes=["retention"], budget={"holdout": PopulationBudget(n_max=100_000)})
    assert "delta" in reasons(policy, small.plan)


def test_the_stricter_minimum_holds(small):
    plan = changed(small.plan, federation={"minimum_subjects": 300})
    assert [Policy(purposes=["retention"], minimum_subjects=n).least_subjects(plan) for n in (20, 500)] == [
        300,
        500,
    ]


def test_delta_comes_from_a_public_bound_and_never_from_a_count():
    limits = OPEN.limits
    assert limits == {"train": Limit(3.0, 10_000), "holdout": Limit(3.0, 10_000)}
    assert limits["train"].delta == 1e-5


def test_one_population_may_have_a_budget_of_its_own():
    policy = Policy(purposes=["retention"], budget={"train": PopulationBudget(epsilon=1.0)})
    assert [policy.limits[each].epsilon for each in ("train", "holdout")] == [1.0, 3.0]


def test_every_setting_is_in_the_digest():
    others = [
        OPEN,
        Policy(purposes=["retention", "growth"]),
        Policy(purposes=["retention"], minimum_subjects=101),
        Policy(purposes=["retention"], cohort_of_two=False),
        Policy(purposes=["retention"], budget={"train": PopulationBudget(epsilon=2.0)}),
    ]
    assert len({each.digest for each in others}) == len(others)
    assert Policy(purposes=["retention"]).digest == OPEN.digest


@pytest.mark.parametrize(
    "wrong",
    [
        {"purposes": []},
        {"purposes": ["Not A Slug"]},
        {"minimum_subjects": -1},
        {"budget": {"train": {"epsilon": 0}}},
        {"budget": {"train": {"epsilon": float("inf")}}},
        {"budget": {"train": {"n_max": 12_345}}},
        {"budget": {"everyone": {}}},
        {"unknown": 1},
    ],
)
def test_a_policy_that_means_nothing_is_refused(wrong):
    with pytest.raises(ValidationError):
        Policy.model_validate({"purposes": ["retention"]} | wrong)


def test_a_policy_cannot_be_changed_in_place():
    with pytest.raises(ValidationError):
        OPEN.minimum_subjects = 0


def test_the_starting_policy_is_the_default_one(tmp_path):
    (tmp_path / "policy.toml").write_text(starting_policy())
    started = load(tmp_path / "policy.toml", Policy)
    assert started.limits == OPEN.limits
    assert (started.minimum_subjects, started.cohort_of_two) == (OPEN.minimum_subjects, OPEN.cohort_of_two)


def test_the_starting_manifest_loads(tmp_path):
    (tmp_path / "region.toml").write_text(starting_manifest("north"))
    assert read_manifest(tmp_path / "region.toml").region == "north"


def test_a_plan_that_holds_out_another_share_is_refused(small):
    policy = Policy(purposes=["retention"], minimum_subjects=20)
    other = small.plan.model_copy(update={"holdout_share": 0.5})
    with pytest.raises(PurposeRefused, match=r"holds out 0\.5, this region 0\.2"):
        policy.judge(other, region="eu", controllers=["example-shop"])
