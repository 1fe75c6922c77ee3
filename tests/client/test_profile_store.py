"""Scores of a region's own people: who is scored, who may be shown, and for how long."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import select

from client import model_store, profile_store
from client.eligible import EligibleSets
from client.folder import make_folder, open_folder
from client.model_store import Model
from client.settings import Policy
from client.store import Store
from client.tables import scores
from compliance import audit_log
from foundation.errors import (
    FolderUnknown,
    ModelForeign,
    ProfileStale,
    PurposeRefused,
    SubjectUnknown,
    UsageWrong,
)
from privacy.layout import parameter_count

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
PURPOSE = "retention"
CONSENT = """timezone = "UTC"
[sources.consents]
kind = "csv"
path = "consents.csv"
"""
BASIS = """
[lawful_basis.retention]
kind = "consent"
source = "consents"
subject = "person"
"""


def consents(small, *changed):
    given = [f"eu-{i},retention,given,2025-01-01 00:00:00" for i in range(400)]
    later = [f"{person},retention,{state},{at}" for person, state, at in changed]
    text = "\n".join(["person,purpose,state,ts", *given, *later]) + "\n"
    (small.folder / "consents.csv").write_text(text)


def model(plan, origin="real", value=0.5):
    scale = np.tile(np.linspace(0, 1, plan.normalisation.bins + 1), plan.numeric_inputs)
    parameters = np.full(parameter_count(plan), value, dtype=np.float32)
    return Model(plan, "a" * 32, origin, scale.astype(np.float32), parameters)


@contextmanager
def opened(small, path, *, made=None):
    if not path.exists():
        text = small.manifest("eu").read_text()
        text = text[: text.index("[lawful_basis")] + BASIS
        text = text.replace("[sources.people]", CONSENT + "[sources.people]", 1)
        make_folder(path, manifest=text, policy='purposes = ["retention"]\n', base=small.folder)
    with open_folder(path) as folder:
        if made is not None:
            model_store.keep(folder, made)
            model_store.serve(folder, made.run)
        store = Store(folder.manifest, base=folder.base)
        yield folder, EligibleSets(folder, store)
        store.close()


@pytest.fixture
def scored(small, tmp_path):
    consents(small)
    with opened(small, tmp_path / "eu", made=model(small.plan)) as (folder, people):
        profile_store.refresh(folder, people, now=NOW, as_of=None)
        yield folder, people


def shown(folder, people, subject, now=NOW, **more):
    asked = {"controller": "example-shop", "purpose": PURPOSE} | more
    return profile_store.profile(folder, people, subject, now=now, **asked)


def rows_of(folder):
    with folder.engine.begin() as connection:
        return connection.execute(select(scores)).all()


def log(folder, name):
    with folder.engine.begin() as connection:
        rows = connection.execute(select(audit_log.leaves.c.entry).filter_by(log=name).order_by("place"))
        return [json.loads(row.entry) for row in rows]


def test_a_refresh_writes_one_score_per_person_and_task_with_all_that_is_known_of_it(scored, small):
    folder, _ = scored
    written, name = rows_of(folder), model(small.plan).name
    assert len(written) == len({(row.subject, row.task) for row in written}) == 400
    first = written[0]
    assert (first.controller, first.purpose, first.task) == ("example-shop", PURPOSE, "leaves")
    assert (first.country, first.storage_country, first.model, first.origin) == ("DE", "DE", name, "real")
    assert (first.as_of, first.refreshed_at) == (NOW.isoformat(), NOW.isoformat())
    assert all(0 < row.score < 1 for row in written)


def test_a_refresh_tells_what_it_did_and_logs_no_count(scored, small):
    folder, people = scored
    told = profile_store.refresh(folder, people, now=NOW, as_of=None)
    assert (told.people, told.tasks, told.purpose, told.as_of) == (400, ("leaves",), PURPOSE, NOW)
    entry = log(folder, "border")[-1]
    assert entry == {"type": "scores_refreshed", "model": told.model, "plan": small.plan.digest}


def test_a_score_is_the_models_own(scored, small):
    folder, people = scored
    eligible = people.everyone(small.plan, None, NOW)
    place = list(eligible.subjects).index("eu-7")
    inputs = np.concatenate((2 * eligible.positions[place] - 1, eligible.categories[place]))
    expected = 1 / (1 + np.exp(-(0.5 * inputs.sum() + 0.5)))
    assert shown(folder, people, "eu-7").scores["leaves"] == pytest.approx(expected, abs=1e-5)


def test_a_refresh_replaces_all_scores_of_the_purpose(scored, small):
    folder, people = scored
    newer = replace(model(small.plan, value=-0.5), run="b" * 32)
    model_store.keep(folder, newer)
    model_store.serve(folder, newer.run)
    profile_store.refresh(folder, people, now=NOW, as_of=None)
    assert {row.model for row in rows_of(folder)} == {newer.name}


def test_scores_of_another_purpose_are_left_alone(scored):
    folder, people = scored
    other = dict(rows_of(folder)[0]._mapping) | {"purpose": "growth", "score": 0.125}
    with folder.engine.begin() as connection:
        connection.execute(scores.insert(), [other])
    profile_store.refresh(folder, people, now=NOW, as_of=None)
    assert [row.score for row in rows_of(folder) if row.purpose == "growth"] == [0.125]


def test_withdrawn_people_are_refused_at_once_and_vanish_with_the_next_refresh(scored, small):
    folder, people = scored
    assert shown(folder, people, "eu-3").scores
    consents(small, ("eu-3", "withdrawn", "2026-01-15 11:00:00"))
    with pytest.raises(SubjectUnknown):
        shown(folder, people, "eu-3")
    assert shown(folder, people, "eu-4").scores
    profile_store.refresh(folder, people, now=NOW, as_of=None)
    assert "eu-3" not in {row.subject for row in rows_of(folder)}
    assert len(rows_of(folder)) == 399


def test_nobody_permitted_leaves_no_scores(scored, small):
    folder, people = scored
    consents(small, *((f"eu-{i}", "withdrawn", "2026-01-15 11:00:00") for i in range(400)))
    assert profile_store.refresh(folder, people, now=NOW, as_of=None).people == 0
    assert rows_of(folder) == []


def test_unknown_and_unpermitted_people_get_the_same_error(scored, small):
    folder, people = scored
    consents(small, ("eu-3", "withdrawn", "2026-01-15 11:00:00"))
    told = []
    for subject in ("eu-3", "nobody", ""):
        with pytest.raises(SubjectUnknown) as refusal:
            shown(folder, people, subject)
        told.append(str(refusal.value))
    assert len(set(told)) == 1
    assert "eu-3" not in told[0]


@pytest.mark.parametrize(
    "other", [{"purpose": "growth"}, {"controller": "other-shop"}], ids=lambda o: next(iter(o))
)
def test_a_score_is_shown_to_its_own_controller_for_its_own_purpose_only(scored, other):
    folder, people = scored
    with pytest.raises(SubjectUnknown):
        shown(folder, people, "eu-3", **other)


def test_every_read_is_logged_at_home_without_naming_the_person(scored):
    folder, people = scored
    border = len(log(folder, "border"))
    shown(folder, people, "eu-3")
    with pytest.raises(SubjectUnknown):
        shown(folder, people, "nobody")
    reads = [entry for entry in log(folder, "subject") if entry["type"] == "profile_read"]
    assert [entry["shown"] for entry in reads] == [True, False]
    assert all(set(entry) == {"type", "controller", "purpose", "shown"} for entry in reads)
    assert {entry["controller"] for entry in reads} == {"example-shop"}
    assert len(log(folder, "border")) == border


def test_a_withdrawn_person_is_logged_as_not_shown(scored, small):
    folder, people = scored
    consents(small, ("eu-3", "withdrawn", "2026-01-15 11:00:00"))
    with pytest.raises(SubjectUnknown):
        shown(folder, people, "eu-3")
    assert log(folder, "subject")[-1]["shown"] is False


def test_without_a_lawful_basis_everyone_is_unknown(scored):
    folder, people = scored
    people.folder = replace(folder, manifest=folder.manifest.model_copy(update={"lawful_basis": {}}))
    for subject in ("eu-3", "nobody"):
        with pytest.raises(SubjectUnknown):
            shown(folder, people, subject)
    assert [entry["shown"] for entry in log(folder, "subject")[-2:]] == [False, False]


@pytest.mark.parametrize(("hours", "stale"), [(0, False), (72, False), (72.01, True), (1000, True)])
def test_a_stale_score_is_refused_or_marked(scored, hours, stale):
    folder, people = scored
    later = NOW + timedelta(hours=hours)
    assert shown(folder, people, "eu-3", now=later, allow_stale=True).stale is stale
    if stale:
        with pytest.raises(ProfileStale):
            shown(folder, people, "eu-3", now=later)
    else:
        assert shown(folder, people, "eu-3", now=later).as_of == NOW


def test_a_withdrawal_is_told_before_staleness(scored, small):
    folder, people = scored
    consents(small, ("eu-3", "withdrawn", "2026-01-15 11:00:00"))
    with pytest.raises(SubjectUnknown):
        shown(folder, people, "eu-3", now=NOW + timedelta(days=30))


def test_without_a_model_there_is_nothing_to_refresh(small, tmp_path):
    consents(small)
    with opened(small, tmp_path / "eu") as (folder, people), pytest.raises(FolderUnknown):
        profile_store.refresh(folder, people, now=NOW, as_of=None)


def test_a_simulations_model_scores_nobody_in_a_real_folder(small, tmp_path):
    consents(small)
    made = model(small.plan, origin="simulation")
    with opened(small, tmp_path / "eu", made=made) as (folder, people):
        with pytest.raises(ModelForeign):
            profile_store.refresh(folder, people, now=NOW, as_of=None)
        assert rows_of(folder) == []


def test_a_policy_that_no_longer_allows_the_purpose_stops_the_refresh(scored):
    folder, people = scored
    before = rows_of(folder)
    with pytest.raises(PurposeRefused):
        profile_store.refresh(
            replace(folder, policy=Policy(purposes=["growth"])), people, now=NOW, as_of=None
        )
    assert rows_of(folder) == before


def test_a_failure_halfway_keeps_the_scores_that_were_there(scored, monkeypatch):
    folder, people = scored
    before = rows_of(folder)

    def full(*_):
        raise OSError(28, "disk full")

    monkeypatch.setattr(profile_store.audit_log, "append", full)
    with pytest.raises(OSError, match="disk full"):
        profile_store.refresh(folder, people, now=NOW, as_of=None)
    monkeypatch.undo()
    assert rows_of(folder) == before


def test_a_subject_table_has_no_day(scored):
    folder, people = scored
    with pytest.raises(UsageWrong):
        profile_store.refresh(folder, people, now=NOW, as_of=date(2026, 1, 1))
