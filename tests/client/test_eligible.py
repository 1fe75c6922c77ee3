"""Eligible sets: decided anew for every request, one person at a time."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from client.eligible import EligibleSets
from client.folder import make_folder, open_folder
from client.store import Store
from foundation.errors import FedprofileError, GateFailed, NoLawfulBasis, SourceMissing
from profiles.quality import judge

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
POLICY = 'purposes = ["retention"]\nminimum_subjects = 20\n'
CONSENT = """
[sources.consents]
kind = "csv"
path = "consents.csv"

[lawful_basis.retention]
kind = "{kind}"
{reference}
source = "consents"
subject = "person"
"""


def consents(small, *changed):
    """Writes consent records: everyone gave consent long ago; changed are (person, state, time)."""
    given = [f"eu-{i},retention,given,2025-01-01 00:00:00" for i in range(400)]
    later = [f"{person},retention,{state},{at}" for person, state, at in changed]
    text = "\n".join(["person,purpose,state,ts", *given, *later]) + "\n"
    (small.folder / "consents.csv").write_text(text)


@contextmanager
def sets(small, path, *, kind=None):
    if not path.exists():
        text = small.manifest("eu").read_text()
        if kind is not None:
            stated = CONSENT.format(kind=kind, reference="" if kind == "consent" else 'reference = "a-1"')
            text = text[: text.index("[lawful_basis")].replace('data = "s', 'timezone = "UTC"\ndata = "s')
            text += stated
        make_folder(path, manifest=text, policy=POLICY, base=small.folder)
    with open_folder(path) as folder:
        store = Store(folder.manifest, base=folder.base)
        yield EligibleSets(folder, store)
        store.close()


def by_subject(people):
    rows = zip(people.subjects, people.positions, people.categories, people.labels, strict=True)
    return {str(subject): tuple(np.concatenate(parts)) for subject, *parts in rows}


def test_holdout_and_training_people_are_disjoint_and_together_everyone(small, tmp_path):
    with sets(small, tmp_path / "eu") as people:
        train, holdout = (set(people.of(small.plan, each, NOW).subjects) for each in ("train", "holdout"))
        everyone = set(people.everyone(small.plan, None, NOW).subjects)
    assert train.isdisjoint(holdout)
    assert train | holdout == everyone
    assert len(everyone) == 400


def test_one_person_more_changes_nobody_elses_row_or_side(small, tmp_path):
    path = tmp_path / "eu"
    with sets(small, path) as people:
        before = {each: by_subject(people.of(small.plan, each, NOW)) for each in ("train", "holdout")}
    with (small.folder / "eu.csv").open("a") as file:
        file.write("a-newcomer,1.0,50,app,1\n")
    with sets(small, path) as people:
        after = {each: by_subject(people.of(small.plan, each, NOW)) for each in ("train", "holdout")}
    newcomer = [side for side, rows in after.items() if rows.pop("a-newcomer", None) is not None]
    assert len(newcomer) == 1
    assert after == before


def test_withdrawn_consent_removes_the_subject_from_the_next_request(small, tmp_path):
    consents(small)
    with sets(small, tmp_path / "eu", kind="consent") as people:
        before = by_subject(people.of(small.plan, "train", NOW))
        gone = min(before)
        consents(small, (gone, "withdrawn", "2026-01-15 11:59:59"))
        after = by_subject(people.of(small.plan, "train", NOW))
    assert set(before) - set(after) == {gone}
    assert after.items() <= before.items()


def test_consent_that_is_given_again_brings_the_subject_back(small, tmp_path):
    consents(small, ("eu-1", "withdrawn", "2025-06-01 00:00:00"))
    with sets(small, tmp_path / "eu", kind="consent") as people:
        assert "eu-1" not in people.everyone(small.plan, None, NOW).subjects
        consents(
            small,
            ("eu-1", "withdrawn", "2025-06-01 00:00:00"),
            ("eu-1", "renewed", "2025-07-01 00:00:00"),
        )
        assert "eu-1" in people.everyone(small.plan, None, NOW).subjects


def test_a_withdrawal_counts_from_its_own_moment(small, tmp_path):
    consents(small, ("eu-1", "withdrawn", "2026-01-15 12:00:00"))
    with sets(small, tmp_path / "eu", kind="consent") as people:
        earlier = people.everyone(small.plan, None, NOW - timedelta(seconds=1))
        assert "eu-1" in earlier.subjects
        assert "eu-1" not in people.everyone(small.plan, None, NOW).subjects


def test_an_objection_removes_the_subject_under_any_other_basis(small, tmp_path):
    consents(small, ("eu-1", "objected", "2026-01-01 00:00:00"))
    with sets(small, tmp_path / "eu", kind="legitimate_interests") as people:
        everyone = people.everyone(small.plan, None, NOW)
    assert len(everyone.subjects) == 399
    assert "eu-1" not in everyone.subjects
    assert everyone.basis == "legitimate_interests"


def test_consent_without_any_record_permits_nobody(small, tmp_path):
    consents(small)
    with sets(small, tmp_path / "eu", kind="consent") as people:
        people.store.consent_records = lambda *_: ()
        assert len(people.of(small.plan, "train", NOW).subjects) == 0


def test_rows_are_read_once_and_people_judged_whenever_the_records_are_written(small, tmp_path, monkeypatch):
    consents(small)
    with sets(small, tmp_path / "eu", kind="consent") as people:
        people.of(small.plan, "train", NOW)
        monkeypatch.setattr(people.store, "snapshot", None)
        consents(small, ("eu-1", "opted_out", "2026-01-15 11:00:00"))
        both = [people.of(small.plan, each, NOW).subjects for each in ("train", "holdout")]
    assert "eu-1" not in np.concatenate(both)


def test_a_rewrite_of_the_same_size_and_time_is_seen(small, tmp_path):
    consents(small, ("eu-1", "renewed", "2026-01-01 00:00:00"))
    path = small.folder / "consents.csv"
    before = path.stat()
    with sets(small, tmp_path / "eu", kind="consent") as people:
        assert "eu-1" in people.everyone(small.plan, None, NOW).subjects
        path.write_text(path.read_text().replace("renewed", "expired"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size
        assert "eu-1" not in people.everyone(small.plan, None, NOW).subjects


def test_a_judgement_is_not_kept_past_the_next_record_that_begins_or_ends(small, tmp_path):
    consents(
        small, ("eu-1", "withdrawn", "2026-01-15 12:00:10"), ("eu-2", "withdrawn", "2026-01-15 12:00:20")
    )
    with sets(small, tmp_path / "eu", kind="consent") as people:
        seen = [
            {
                str(each)
                for side in ("train", "holdout")
                for each in people.of(small.plan, side, NOW + timedelta(seconds=later)).subjects
            }
            for later in (0, 9.9, 10, 19.9, 20, 5)
        ]
    assert [400 - len(each) for each in seen] == [0, 0, 1, 1, 2, 0]


def test_missing_records_are_an_error_and_never_everyone(small, tmp_path):
    consents(small)
    with sets(small, tmp_path / "eu", kind="legitimate_interests") as people:
        people.of(small.plan, "train", NOW)
        (small.folder / "consents.csv").unlink()
        with pytest.raises(SourceMissing):
            people.of(small.plan, "train", NOW)


def test_a_cut_file_of_records_is_an_error_and_never_everyone(small, tmp_path):
    consents(small)
    with sets(small, tmp_path / "eu", kind="legitimate_interests") as people:
        people.of(small.plan, "train", NOW)
        (small.folder / "consents.csv").write_text("person,purpose\neu-1,retention\n")
        with pytest.raises(FedprofileError):
            people.of(small.plan, "train", NOW)


def test_a_purpose_without_a_basis_has_nobody(small, tmp_path):
    plan = type(small.plan).model_validate(small.plan.model_dump() | {"purpose": "growth"})
    with sets(small, tmp_path / "eu") as people, pytest.raises(NoLawfulBasis):
        people.of(plan, "train", NOW)


def test_scoring_never_sees_labels(small, tmp_path):
    with sets(small, tmp_path / "eu") as people:
        assert not people.everyone(small.plan, None, NOW).labels.any()


def test_the_commitment_to_a_set_is_blind(small, tmp_path):
    with sets(small, tmp_path / "eu") as people:
        train = people.of(small.plan, "train", NOW)
        assert train.commitment != train.commitment
        assert len(train.commitment) == 64


def test_the_verdict_of_the_gates_stands_until_they_run_again(small, tmp_path, monkeypatch):
    with sets(small, tmp_path / "eu") as people:
        with monkeypatch.context() as patched:
            failed = judge("missing_subject", "people", 17, rows=400)
            patched.setattr(people.store, "gates", lambda *_: (failed,), raising=False)
            people.run_gates(small.plan, NOW)
        for _ in range(2):
            with pytest.raises(GateFailed) as refusal:
                people.pass_gates(small.plan, NOW)
            assert "17" not in str(refusal.value)
        people.run_gates(small.plan, NOW)
        monkeypatch.setattr(people.store, "gates", None, raising=False)
        people.pass_gates(small.plan, NOW)
