"""Whole simulations of the small federation: faults on demand, resuming, ledgers that go on."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from client.folder import open_folder
from client.tables import requests
from compliance import audit_log
from foundation.errors import BudgetExceeded, FolderMismatch, FolderUnknown, QuorumMissed
from privacy import ledger
from privacy.plan import HOLDOUT, read_plan
from server import checkpoint, rounds
from simulations.federation import Fault
from simulations.regions import open_regions, read_manifests, utc_now
from simulations.simulate import simulate

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")  # threads share the filters

REGIONS = ("eu", "sea", "us")


def charges(out, region):
    """Every ledger entry of a region, verified, as (run, population, kind)."""
    with open_folder(out / "regions" / region) as folder, folder.engine.begin() as connection:
        audit_log.verify(connection, "border")
        audit_log.verify(connection, "subject")
        return [(each.run, each.population, each.charge.kind) for each in ledger.read(connection)]


def slots(out, region):
    """Every request slot of a region with its state."""
    with open_folder(out / "regions" / region) as folder, folder.engine.begin() as connection:
        rows = connection.execute(select(requests).order_by("round", "attempt"))
        return [(row.kind, row.round, row.attempt, row.state) for row in rows]


@pytest.fixture
def run(small, tmp_path, monkeypatch):
    """Simulates small, with short limits, into one folder."""
    monkeypatch.setattr(rounds, "CLOSE_SECONDS", 0.3)
    out = tmp_path / "out"

    def go(faults=None, *, resume=False, plan=None, then=lambda done: done):
        path = out / "plan.toml" if resume else plan or small.plan_path
        return simulate(path, out, progress=lambda *_: None, then=then, resume=resume, faults=faults)

    go.out = out
    return go


def test_a_run_charges_each_release_once_and_the_next_run_goes_on_with_the_same_ledgers(run):
    done = run(then=lambda done: (done.finished.journal, done.model, done.evaluations))
    journal, model, evaluations = done
    once = [
        ("train", "count"),
        ("train", "histograms"),
        *[("train", "training")] * 3,
        ("holdout", "evaluation"),
    ]
    for region in REGIONS:
        assert charges(run.out, region) == [(journal.run, *each) for each in once]
        assert [state for *_, state in slots(run.out, region)] == ["sealed"] * 5
    assert model.origin == "simulation"
    assert set(evaluations) == {"leaves"}
    with pytest.raises(BudgetExceeded) as caught:
        run()
    assert caught.value.exit_code == 3
    for region in REGIONS:
        assert len(charges(run.out, region)) == len(once)
    latest = json.loads((run.out / "central" / "journal.json").read_text())["run"]
    refused, _ = checkpoint.read(run.out / "central" / latest)
    assert (refused.state, refused.reason, refused.round) == ("failed", "FP-302", -1)


@pytest.mark.parametrize(
    ("kind", "after", "answered"),
    [("lost", 3, 1), ("crash", 3, 1), ("late", 2, 0)],
)
def test_a_region_that_fails_in_training_is_left_out_and_the_run_ends(run, small, kind, after, answered):
    stated = small.plan_path.read_text()
    small.plan_path.write_text(stated.replace("round_seconds = 20", "round_seconds = 5"))
    faults = {"sea": Fault(kind, after=after, seconds=6.0)}
    journal = run(faults, then=lambda done: done.finished.journal)
    trained = [each for each in journal.history if each.kind == "train"]
    assert [each.cohort for each in trained] == [REGIONS] * answered + [("eu", "us")] * (3 - answered)
    assert trained[answered].missing == ("sea",)
    assert journal.attempts_spent == 1
    for region in ("eu", "us"):
        assert [kind for *_, kind in charges(run.out, region)].count("training") == 4


def test_a_quorum_missed_is_resumed_and_no_release_is_charged_twice(run):
    faults = {name: Fault("crash", after=3) for name in ("sea", "us")}
    with pytest.raises(QuorumMissed, match="missing sea, us"):
        run(faults)
    journal = run(resume=True, then=lambda done: done.finished.journal)
    assert journal.state == "finished"
    assert [each.cohort for each in journal.history] == [REGIONS] * 5
    for region in REGIONS:
        kinds = [kind for run_, _, kind in charges(run.out, region) if run_ == journal.run]
        assert sorted(kinds) == ["count", "evaluation", "histograms", *["training"] * 3]


def test_the_folder_remembers_where_the_manifests_are(run, small, tmp_path):
    with pytest.raises(QuorumMissed):
        run({name: Fault("crash", after=2) for name in ("sea", "us")})
    moved = tmp_path / "elsewhere.toml"
    small.plan_path.rename(moved)
    assert run(resume=True).finished.journal.state == "finished"


def test_resuming_where_nothing_ran_says_so(small, tmp_path):
    (tmp_path / "plan.toml").write_text(small.plan_path.read_text())
    with pytest.raises(FolderUnknown):
        simulate(tmp_path / "plan.toml", tmp_path, progress=lambda *_: None, then=lambda _: {}, resume=True)


def test_a_run_is_not_resumed_under_another_plan(run):
    with pytest.raises(QuorumMissed):
        run({name: Fault("crash", after=2) for name in ("sea", "us")})
    kept = run.out / "plan.toml"
    kept.write_text(kept.read_text().replace("learning_rate = 1.0", "learning_rate = 0.5"))
    with pytest.raises(FolderMismatch, match="of another plan"):
        run(resume=True)


def with_fold(small, fold):
    """Writes small's plan with a hold-out fold beside it."""
    path = small.folder / f"fold{fold}.toml"
    table = "[simulate.regions]"
    path.write_text(small.plan_path.read_text().replace(table, f"[simulate]\nfold = {fold}\n{table}"))
    return path


def test_a_fold_is_fixed_for_the_folders_life(run, small):
    assert run(plan=with_fold(small, 1)).finished.journal.state == "finished"
    for plan in (with_fold(small, 2), small.plan_path):
        with pytest.raises(FolderMismatch):
            run(plan=plan)


def test_folds_hold_out_different_people(small, tmp_path):
    held = []
    for fold in range(5):
        plan = read_plan(with_fold(small, fold))
        manifests = read_manifests(plan, small.folder)
        with open_regions(plan, manifests, tmp_path / f"out{fold}") as regions:
            held.append(set(regions["sea"].people.of(plan, HOLDOUT, utc_now()).subjects))
    assert all(held)
    assert sum(map(len, held)) == len(set().union(*held)) == 210
