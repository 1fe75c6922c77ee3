"""A plan is answered after approval of its digest and until that is withdrawn."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from client import approval
from client.folder import open_folder
from client.settings import Policy
from client.tables import approvals
from compliance import audit_log
from foundation.errors import PlanNotApproved, PurposeRefused

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


@pytest.fixture
def folder(eu_folder):
    with open_folder(eu_folder) as opened:
        yield opened


def approved(folder, digest):
    with folder.engine.begin() as connection:
        return approval.approved(connection, digest)


def types(folder):
    with folder.engine.begin() as connection:
        rows = connection.execute(select(audit_log.leaves.c.entry).filter_by(log="border")).all()
    return [json.loads(row.entry)["type"] for row in rows]


def test_an_approved_plan_comes_back_as_it_was_read(folder, small):
    approval.approve(folder, small.plan, NOW)
    kept = approved(folder, small.plan.digest)
    assert kept.digest == small.plan.digest
    assert kept.model_dump(exclude={"simulate"}) == small.plan.model_dump(exclude={"simulate"})


def test_another_plan_is_not_approved_with_it(folder, small):
    approval.approve(folder, small.plan, NOW)
    with pytest.raises(PlanNotApproved):
        approved(folder, "0" * 64)


def test_an_approved_text_that_was_altered_is_no_longer_approved(folder, small):
    approval.approve(folder, small.plan, NOW)
    with folder.engine.begin() as connection:
        (text,) = connection.execute(select(approvals.c.plan)).one()
        weaker = text.replace('"noise_multiplier":6.0', '"noise_multiplier":0.6')
        assert weaker != text
        connection.execute(approvals.update().values(plan=weaker))
    with pytest.raises(PlanNotApproved):
        approved(folder, small.plan.digest)


def test_where_a_simulation_finds_its_tables_is_not_part_of_what_is_approved(folder, small):
    approval.approve(folder, small.plan, NOW)
    elsewhere = type(small.plan).model_validate(small.plan.model_dump() | {"simulate": {}})
    assert approved(folder, elsewhere.digest).simulate == elsewhere.simulate


def test_approving_twice_is_logged_once(folder, small):
    for _ in range(2):
        approval.approve(folder, small.plan, NOW)
    assert types(folder) == ["plan_approved"]


def test_a_withdrawn_plan_is_not_approved_until_it_is_approved_again(folder, small):
    approval.approve(folder, small.plan, NOW)
    approval.withdraw(folder, small.plan, NOW)
    with pytest.raises(PlanNotApproved):
        approved(folder, small.plan.digest)
    with pytest.raises(PlanNotApproved):
        approval.withdraw(folder, small.plan, NOW)
    approval.approve(folder, small.plan, NOW)
    approved(folder, small.plan.digest)
    assert types(folder) == ["plan_approved", "plan_withdrawn", "plan_approved"]


def test_approving_again_keeps_the_count_that_was_drawn(folder, small):
    approval.approve(folder, small.plan, NOW)
    with folder.engine.begin() as connection:
        approval.keep_noised_count(connection, small.plan.digest, 321.5)
    approval.withdraw(folder, small.plan, NOW)
    approval.approve(folder, small.plan, NOW)
    with folder.engine.begin() as connection:
        assert approval.noised_count(connection, small.plan.digest) == 321.5


def test_a_plan_that_nobody_approved_has_no_count(folder):
    with folder.engine.begin() as connection:
        assert approval.noised_count(connection, "0" * 64) is None


def test_the_policy_is_asked_first_and_a_refused_plan_leaves_no_trace(folder, small):
    strict = replace(folder, policy=Policy(purposes=["growth"]))
    with pytest.raises(PurposeRefused):
        approval.approve(strict, small.plan, NOW)
    with folder.engine.begin() as connection:
        assert connection.execute(select(approvals)).all() == []
    assert types(folder) == []


def test_a_plan_for_other_regions_cannot_be_approved(folder, small):
    foreign = replace(folder, manifest=folder.manifest.model_copy(update={"region": "mars"}))
    with pytest.raises(PurposeRefused, match="does not name region mars"):
        approval.approve(foreign, small.plan, NOW)
