"""`region check`: every obstacle at once, as counts for the region's eyes; nothing is changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from client.accounts import accounts, ledger_entries
from client.approval import approve, withdraw
from client.check import budget_of, check
from client.eligible import EligibleSets
from client.folder import open_folder
from client.settings import Policy
from client.store import Store
from foundation.errors import SourceUnreadable
from privacy import ledger
from privacy.budget import worst_case
from profiles.quality import judge

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
RUN = "a" * 32


@pytest.fixture
def region(eu_folder):
    with open_folder(eu_folder) as folder:
        store = Store(folder.manifest, base=folder.base)
        yield folder, EligibleSets(folder, store)
        store.close()


def codes(found):
    return {problem.code for problem in found.problems}


def reserve(folder, plan, run=RUN):
    with folder.engine.begin() as connection:
        for population, charges in worst_case(plan, "eu").items():
            ledger.reserve(
                connection,
                run=run,
                plan=plan.digest,
                controller=plan.controller,
                population=population,
                charges=charges,
                limit=folder.policy.limits[population],
                now=NOW,
            )


def changed(plan, **parts):
    settings = plan.model_dump()
    for name, part in parts.items():
        settings[name] = settings[name] | part if isinstance(part, dict) else part
    return type(plan).model_validate(settings)


def test_an_approved_plan_with_enough_people_and_budget_has_no_problem(region, small):
    folder, people = region
    approve(folder, small.plan, NOW)
    found = check(folder, people, small.plan, NOW)
    assert (found.problems, found.approved, found.region, found.plan) == ((), True, "eu", "small")
    assert found.active == found.trained_on + found.held_out == 400
    assert (found.not_permitted, found.least) == (0, 80)
    assert all(gate.holds for gate in found.gates)
    assert 0 < found.cost["train"] < found.left["train"] == 3


def test_a_check_changes_nothing(region, small):
    folder, people = region
    with folder.engine.begin() as connection:
        before = list(connection.connection.iterdump())
    check(folder, people, small.plan, NOW)
    with folder.engine.begin() as connection:
        assert list(connection.connection.iterdump()) == before


def test_a_plan_that_is_not_approved_or_withdrawn_is_told(region, small):
    folder, people = region
    assert codes(check(folder, people, small.plan, NOW)) == {"FP-301"}
    approve(folder, small.plan, NOW)
    withdraw(folder, small.plan, NOW)
    found = check(folder, people, small.plan, NOW)
    assert (codes(found), found.approved) == ({"FP-301"}, False)


def test_all_obstacles_are_told_at_once(region, small, monkeypatch):
    folder, people = region
    strict = replace(folder, policy=Policy(purposes=["growth"], minimum_subjects=1000))
    failed = judge("missing_subject", "people", 3, rows=400)
    monkeypatch.setattr(people.store, "gates", lambda *_: (failed,), raising=False)
    plan = changed(small.plan, training={"noise_multiplier": 0.5})
    found = check(strict, people, plan, NOW)
    assert codes(found) == {"FP-301", "FP-302", "FP-303", "FP-305", "FP-315"}


def test_tables_that_cannot_be_read_are_a_problem_and_the_rest_is_still_told(region, small, monkeypatch):
    folder, people = region

    def unreadable(*_):
        raise SourceUnreadable("source people")

    monkeypatch.setattr(people.store, "gates", unreadable, raising=False)
    found = check(folder, people, small.plan, NOW)
    assert codes(found) == {"FP-203", "FP-301"}
    assert (found.active, found.trained_on, found.held_out, found.not_permitted) == (None,) * 4
    assert found.cost["train"] > 0


def test_a_missing_basis_is_a_problem(region, small):
    folder, people = region
    people.folder = replace(folder, manifest=folder.manifest.model_copy(update={"lawful_basis": {}}))
    assert "FP-304" in codes(check(people.folder, people, small.plan, NOW))


def test_a_plan_for_other_regions_costs_nothing_here(region, small):
    folder, people = region
    foreign = replace(folder, manifest=folder.manifest.model_copy(update={"region": "mars"}))
    found = check(foreign, people, small.plan, NOW)
    assert codes(found) == {"FP-301", "FP-315"}
    assert (found.cost, found.left) == ({}, {})


def test_a_region_that_does_not_contribute_needs_no_minimum(region, small):
    folder, people = region
    plan = changed(small.plan, regions={"eu": {"public_size": 400, "weight": 0.5, "contributes": False}})
    strict = replace(folder, policy=Policy(purposes=["retention"], minimum_subjects=1000))
    assert codes(check(strict, people, plan, NOW)) == {"FP-301"}


def test_what_a_check_forecasts_is_what_the_ledger_decides(region, small):
    folder, _ = region
    assert budget_of(folder, small.plan, NOW).exceeded == ()
    reserve(folder, small.plan)
    after = budget_of(folder, small.plan, NOW)
    assert [problem.code for problem in after.exceeded] == ["FP-302"] * len(after.exceeded)
    assert after.exceeded
    assert all(after.left[each] <= 3 - after.cost[each] + 1e-9 for each in after.left)


def test_an_account_is_shown_per_controller_and_population(region, small):
    folder, _ = region
    both = folder.manifest.model_copy(update={"controllers": ["example-shop", "other-shop"]})
    reserve(folder, small.plan)
    told = accounts(replace(folder, manifest=both), NOW)
    assert [(each["controller"], each["population"]) for each in told] == [
        (controller, population)
        for controller in ("example-shop", "other-shop")
        for population in ("train", "holdout")
    ]
    assert [each["reserved"] > 0 for each in told] == [True, True, False, False]
    assert all(each["spent"] == 0 and each["limit"] == 3 for each in told)


def test_ledger_entries_are_shown_as_they_were_charged(region, small):
    folder, _ = region
    reserve(folder, small.plan)
    charge = worst_case(small.plan, "eu")["train"][0]
    with folder.engine.begin() as connection:
        ledger.charge(
            connection,
            run=RUN,
            plan=small.plan.digest,
            population="train",
            request="",
            charge=charge,
            now=NOW,
        )
    (told,) = ledger_entries(folder)
    assert (told["sequence"], told["kind"], told["noise_multiplier"], told["run"]) == (1, "count", 20.0, RUN)
    assert told["recorded_at"] == "2026-01-15T12:00:00+00:00"
