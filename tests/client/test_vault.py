"""The vault's numbered order: what it answers, refuses, charges, and keeps at home."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

import client.vault
from client import approval, model_store, request_journal
from client.approval import approve
from client.eligible import EligibleSets
from client.folder import open_folder
from client.settings import Policy
from client.store import Store
from client.tables import requests
from client.vault import Vault
from compliance import audit_log
from foundation.errors import FedprofileError, GateFailed, LedgerBroken, LogBroken
from privacy import ledger, messages
from privacy.layout import parameter_count, release_grid, scale_count
from privacy.messages import read_answer, to_bytes
from privacy.release import Analyse, Close, Evaluate, Hello, HistogramQuery, Train
from privacy.seal import IdentitySeal
from profiles.quality import judge

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
RUN, NEWER = "a" * 32, "b" * 32
COHORT = ("eu", "sea", "us")
ROW = "SECRET-ROW"


class PowerCut(BaseException):
    """Ends what is being done, as a dying process does."""


def hello(plan, run=RUN):
    return to_bytes(Hello(run=run, plan=plan.digest))


def analyse(plan, **changes):
    asked = {"run": RUN, "plan": plan.digest, "round": 0, "attempt": 0, "cohort": COHORT}
    queries = (HistogramQuery(bins=plan.normalisation.bins),)
    return to_bytes(Analyse.model_validate(asked | {"queries": queries} | changes))


def train(plan, blob=None, **changes):
    asked = {"run": RUN, "plan": plan.digest, "round": 1, "attempt": 0, "cohort": COHORT}
    return to_bytes(Train.model_validate(asked | changes), values(plan) if blob is None else blob)


def evaluate(plan, blob=None, **changes):
    asked = {"run": RUN, "plan": plan.digest, "round": 4, "attempt": 0, "cohort": COHORT}
    return to_bytes(Evaluate.model_validate(asked | changes), values(plan) if blob is None else blob)


def close(plan, run=RUN, outcome="finished"):
    return to_bytes(Close(run=run, plan=plan.digest, outcome=outcome))


def values(plan, parameters=0.0):
    scale = np.tile(np.linspace(0, 1, plan.normalisation.bins + 1), plan.numeric_inputs)
    return np.concatenate((scale, np.full(parameter_count(plan), parameters))).astype("<f4").tobytes()


def whole_run(plan):
    return [hello(plan), analyse(plan), train(plan), evaluate(plan), close(plan)]


@contextmanager
def vault_on(path, plan=None):
    with open_folder(path) as folder:
        store = Store(folder.manifest, base=folder.base)
        if plan is not None:
            approve(folder, plan, NOW)
        vault = Vault(folder, EligibleSets(folder, store), IdentitySeal(), lambda: NOW)
        vault.recover()
        yield vault
        store.close()


def changed(plan, **parts):
    """Returns the plan with some settings changed, read as a file would be: a digest of its own."""
    settings_of = plan.model_dump()
    for name, part in parts.items():
        settings_of[name] = settings_of[name] | part if isinstance(part, dict) else part
    return type(plan).model_validate(settings_of)


def richer(vault):
    budget = {"train": {"epsilon": 30.0}, "holdout": {"epsilon": 30.0}}
    policy = Policy(purposes=["retention"], minimum_subjects=20, budget=budget)
    vault.folder = replace(vault.folder, policy=policy)
    return vault


def told(answer):
    return getattr(read_answer(answer).answer, "code", read_answer(answer).answer.kind)


def charges(vault, population=None):
    with vault.folder.engine.begin() as connection:
        entries = list(ledger.read(connection))
    return [each.charge.kind for each in entries if population in {None, each.population}]


def log(vault, name="border"):
    with vault.folder.engine.begin() as connection:
        audit_log.verify(connection, name)
        rows = connection.execute(select(audit_log.leaves).filter_by(log=name).order_by("place")).all()
    return [json.loads(row.entry) for row in rows]


def regional_receipts(vault):
    with vault.folder.engine.begin() as connection:
        rows = connection.execute(select(requests.c.regional_receipt).order_by("round")).all()
    return [json.loads(row.regional_receipt[32:]) for row in rows if row.regional_receipt is not None]


def raising(error):
    def raise_it(*_, **__):
        raise error

    return raise_it


def counting(monkeypatch):
    computed = []
    original = client.vault.vector_of

    def vector_of(plan, request, *rest, **more):
        computed.append(request.kind)
        return original(plan, request, *rest, **more)

    monkeypatch.setattr(client.vault, "vector_of", vector_of)
    return computed


# The whole order


def test_a_run_is_answered_from_hello_to_close(eu_vault, small):
    answers = [told(eu_vault.answer(frame)) for frame in whole_run(small.plan)]
    assert answers == ["welcome", "release", "release", "release", "closed"]
    assert charges(eu_vault) == ["count", "histograms", "training", "evaluation"]


def test_each_release_is_charged_to_the_population_whose_rows_it_reads(eu_vault, small):
    for frame in whole_run(small.plan):
        eu_vault.answer(frame)
    assert charges(eu_vault, "train") == ["count", "histograms", "training"]
    assert charges(eu_vault, "holdout") == ["evaluation"]


def test_the_border_log_names_each_slot_its_charge_and_the_ledgers_head(eu_vault, small):
    for frame in whole_run(small.plan):
        eu_vault.answer(frame)
    entries = log(eu_vault)
    types = ["plan_approved", "hello", "slot", "slot", "slot", "run_closed"]
    assert [entry["type"] for entry in entries] == types
    assert [entry["charge"] for entry in entries if entry["type"] == "slot"] == [2, 3, 4]
    with eu_vault.folder.engine.begin() as connection:
        assert entries[-2]["ledger"] == ledger.head(connection)[1].hex()


def test_a_failed_run_leaves_no_model_to_score_with(eu_vault, small):
    for frame in (hello(small.plan), evaluate(small.plan), close(small.plan, outcome="failed")):
        eu_vault.answer(frame)
    assert not (eu_vault.folder.path / "models" / model_store.LATEST).exists()


def test_a_finished_run_serves_the_model_that_was_evaluated(eu_vault, small):
    for frame in (hello(small.plan), evaluate(small.plan, values(small.plan, 0.5)), close(small.plan)):
        eu_vault.answer(frame)
    model = model_store.latest(eu_vault.folder)
    assert (model.run, model.plan.digest, set(model.parameters)) == (RUN, small.plan.digest, {0.5})


def test_the_noised_count_is_drawn_and_charged_once_per_plan(eu_vault, small):
    for run in (RUN, RUN, NEWER, "c" * 32):
        assert told(richer(eu_vault).answer(hello(small.plan, run))) == "welcome"
    assert charges(eu_vault) == ["count"]


def test_answers_wait_for_the_next_boundary_of_the_plans_time_slot(eu_vault, small, monkeypatch):
    plan = changed(small.plan, federation={"slot_seconds": 7.0})
    approve(eu_vault.folder, plan, NOW)
    waits = []
    monkeypatch.setattr(client.vault.time, "sleep", waits.append)
    for frame in (hello(plan), analyse(plan), train(plan)):
        eu_vault.answer(frame)
    assert len(waits) == 3
    monkeypatch.setattr(EligibleSets, "of", raising(FedprofileError(ROW)))
    assert told(eu_vault.answer(train(plan, attempt=1))) == "unavailable"
    assert len(waits) == 4, "a refusal takes as long"
    assert all(0 < wait <= 7 for wait in waits)


# The repeat rule


@pytest.mark.parametrize("ask", [analyse, train, evaluate])
def test_the_identical_request_gets_the_identical_bytes_and_costs_nothing_more(eu_vault, small, ask):
    eu_vault.answer(hello(small.plan))
    first = eu_vault.answer(ask(small.plan))
    before = charges(eu_vault), log(eu_vault)
    assert eu_vault.answer(ask(small.plan)) == first
    assert (charges(eu_vault), log(eu_vault)) == before


def test_a_reopened_folder_gives_the_bytes_that_it_gave_before(eu_folder, small):
    frames = whole_run(small.plan)[1:4]
    with vault_on(eu_folder, small.plan) as vault:
        vault.answer(hello(small.plan))
        first = [vault.answer(frame) for frame in frames]
    with vault_on(eu_folder) as vault:
        assert [vault.answer(frame) for frame in frames] == first
        assert len(charges(vault)) == 4


def test_a_closed_run_still_gives_the_bytes_that_it_gave(eu_vault, small):
    eu_vault.answer(hello(small.plan))
    first = eu_vault.answer(train(small.plan))
    eu_vault.answer(close(small.plan))
    assert eu_vault.answer(train(small.plan)) == first


def test_another_content_in_a_used_slot_is_refused_for_ever(eu_folder, small):
    other = train(small.plan, values(small.plan, 0.25))
    with vault_on(eu_folder, small.plan) as vault:
        vault.answer(hello(small.plan))
        first = vault.answer(train(small.plan))
        assert [told(vault.answer(other)) for _ in range(2)] == ["FP-306"] * 2
    with vault_on(eu_folder) as vault:
        assert told(vault.answer(other)) == "FP-306"
        assert told(vault.answer(train(small.plan, cohort=COHORT[:2]))) == "FP-306"
        assert vault.answer(train(small.plan)) == first
        assert charges(vault).count("training") == 1


def test_a_refused_slot_stays_refused_even_for_a_request_that_would_do(eu_vault, small):
    eu_vault.answer(hello(small.plan))
    refused = eu_vault.answer(train(small.plan, b""))
    assert told(refused) == "FP-313"
    assert told(eu_vault.answer(train(small.plan))) == "FP-306"
    assert eu_vault.answer(train(small.plan, b"")) == refused


def test_a_charge_that_lost_its_answer_is_counted_once_logged_once_and_never_answered(
    eu_folder, small, monkeypatch
):
    with vault_on(eu_folder, small.plan) as vault:
        vault.answer(hello(small.plan))
        monkeypatch.setattr(request_journal, "seal", raising(PowerCut()))
        with pytest.raises(PowerCut):
            vault.answer(train(small.plan))
        monkeypatch.undo()
    computed = counting(monkeypatch)
    for _ in range(2):
        with vault_on(eu_folder) as vault:
            assert [told(vault.answer(train(small.plan))) for _ in range(2)] == ["FP-308"] * 2
            assert charges(vault).count("training") == 1
            lost = [entry for entry in log(vault) if entry.get("outcome") == "lost"]
            assert [(entry["kind"], entry["charge"]) for entry in lost] == [("train", 2)]
    assert computed == []


def test_a_lost_charge_leaves_the_next_attempt_to_the_plans_spare_one(eu_folder, small, monkeypatch):
    with vault_on(eu_folder, small.plan) as vault:
        vault.answer(hello(small.plan))
        with monkeypatch.context() as patched:
            patched.setattr(request_journal, "seal", raising(PowerCut()))
            with pytest.raises(PowerCut):
                vault.answer(analyse(small.plan))
    with vault_on(eu_folder) as vault:
        assert told(vault.answer(analyse(small.plan, attempt=1))) == "release"
        assert told(vault.answer(analyse(small.plan, attempt=2))) == "FP-302"


# What is not of the closed set


def mutated(frame):
    length = int.from_bytes(frame[:4], "big")
    header, blob = json.loads(frame[4 : 4 + length]), frame[4 + length :]

    def made(changed):
        text = json.dumps(changed, sort_keys=True, separators=(",", ":")).encode()
        return len(text).to_bytes(4, "big") + text + blob

    yield from (made({k: v for k, v in header.items() if k != name}) for name in header)
    yield made(header | {"more": 1})
    yield made(header | {"kind": "dump"})
    yield made(header | {"protocol": 2})
    yield made(header | {"protocol": True})
    yield made(header | {"kind": 1.5})
    yield made(header | {"run": "A" * 32})
    yield made(header | {"plan": "../" + header["plan"][3:]})
    yield made(header | {"round": "1"})
    yield made(header | {"round": -1})
    yield made(header | {"round": True})
    yield made(header | {"attempt": 10**7})
    yield made(header | {"cohort": ["eu"]})
    yield made(header | {"cohort": "eu"})
    yield made([header])
    yield frame[: 4 + length - 1]
    yield frame[:3]
    yield b""
    yield (2**32 - 1).to_bytes(4, "big") + frame[4:]
    yield (length + 1).to_bytes(4, "big") + frame[4 : 4 + length] + b" " + blob
    yield frame[:4] + frame[4 : 4 + length].replace(b'"kind"', b'"kinD"') + blob


def test_a_frame_that_is_not_of_the_closed_set_is_refused_and_charges_nothing(eu_vault, small):
    eu_vault.answer(hello(small.plan))
    codes = [told(eu_vault.answer(frame)) for frame in mutated(train(small.plan))]
    assert codes == ["FP-307"] * len(codes)
    assert charges(eu_vault) == ["count"]
    assert told(eu_vault.answer(train(small.plan))) == "release"


def test_a_frame_beyond_the_largest_size_is_refused(eu_vault, small, monkeypatch):
    monkeypatch.setattr(messages, "MOST_BLOB_BYTES", 100)
    assert told(eu_vault.answer(train(small.plan, bytes(101)))) == "FP-307"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
def test_noise_on_the_line_is_answered_without_a_charge(eu_vault, small, junk, place, byte):
    frame = bytearray(train(small.plan))
    frame[place % len(frame)] = byte
    for each in (junk, len(junk).to_bytes(4, "big") + junk, bytes(frame[: place % len(frame)])):
        assert read_answer(eu_vault.answer(each)).answer.kind in {"refused", "unavailable"}
    assert charges(eu_vault) == []


NOT_OF_THE_PLAN = {
    "cohort not sorted": (train, {"cohort": ("sea", "eu", "us")}),
    "a region twice": (train, {"cohort": ("eu", "eu", "us")}),
    "an unknown region": (train, {"cohort": ("eu", "mars", "us")}),
    "without this region": (train, {"cohort": ("sea", "us")}),
    "round beyond the plan": (train, {"round": 5}),
    "a step that no mode has": (train, {"step": 1}),
    "other bins": (analyse, {"queries": (HistogramQuery(bins=16),)}),
}


@pytest.mark.parametrize(("ask", "changes"), NOT_OF_THE_PLAN.values(), ids=NOT_OF_THE_PLAN)
def test_a_request_that_is_not_the_plans_is_refused_uncharged(eu_vault, small, ask, changes):
    eu_vault.answer(hello(small.plan))
    assert told(eu_vault.answer(ask(small.plan, **changes))) == "FP-307"
    assert charges(eu_vault) == ["count"]


def test_an_analysis_with_a_blob_is_refused(eu_vault, small):
    eu_vault.answer(hello(small.plan))
    assert told(eu_vault.answer(analyse(small.plan) + b"x")) == "FP-307"


@pytest.mark.parametrize("ask", [hello, close])
def test_a_hello_or_close_with_a_blob_is_refused(eu_vault, small, ask):
    assert told(eu_vault.answer(ask(small.plan) + b"x")) == "FP-307"
    assert [entry["type"] for entry in log(eu_vault)] == ["plan_approved"]


def test_a_cohort_below_the_plans_quorum_is_refused(eu_vault, small):
    plan = changed(small.plan, federation={"quorum": 3})
    approve(eu_vault.folder, plan, NOW)
    eu_vault.answer(hello(plan))
    assert told(eu_vault.answer(train(plan, cohort=("eu", "us")))) == "FP-307"
    assert told(eu_vault.answer(train(plan, attempt=1))) == "release"


def bad_models(plan):
    scales, parameters = scale_count(plan), parameter_count(plan)
    good = np.frombuffer(values(plan), dtype="<f4")
    for wrong in (np.nan, np.inf, -np.inf):
        for place in (0, scales, scales + parameters - 1):
            changed = good.copy()
            changed[place] = wrong
            yield changed.tobytes()
    yield from (b"", good.tobytes() + b"x", good[:-1].tobytes(), good.tobytes() + bytes(4))
    too_large = good.copy()
    too_large[-1] = plan.training.norm_bound * 1.01
    yield too_large.tobytes()
    yield np.concatenate((good[:scales], np.full(parameters, 3e38, "<f4"))).tobytes()


@pytest.mark.parametrize("ask", [train, evaluate])
def test_a_model_not_of_the_plan_is_refused_uncharged(eu_vault, small, ask):
    eu_vault.answer(hello(small.plan))
    codes = [
        told(eu_vault.answer(ask(small.plan, blob, attempt=attempt)))
        for attempt, blob in enumerate(bad_models(small.plan))
    ]
    assert codes == ["FP-313"] * len(codes)
    assert charges(eu_vault) == ["count"]


def crafted(plan):
    """Values that are finite, and make a logit infinite for whoever is in the last bin of both inputs."""
    scale = np.linspace(0, 1, plan.normalisation.bins + 1)
    scale[-1] = 1.6e38
    parameters = np.zeros(parameter_count(plan))
    parameters[:2] = 700, -700
    return np.concatenate((scale, scale, parameters)).astype("<f4").tobytes()


@pytest.mark.parametrize("present", [False, True])
def test_a_crafted_model_is_refused_whether_or_not_the_person_it_asks_for_is_there(eu_folder, small, present):
    header, *rows = (small.folder / "eu.csv").read_text().splitlines()
    rows = [row for row in rows if float(row.split(",")[1]) < 0.875]
    wanted = [f"wanted-{i},0.99,49,web,1" for i in range(8 if present else 0)]
    (small.folder / "eu.csv").write_text("\n".join([header, *rows, *wanted]) + "\n")
    with vault_on(eu_folder, small.plan) as vault:
        vault.answer(hello(small.plan))
        asked = [ask(small.plan, crafted(small.plan)) for ask in (train, evaluate)]
        assert [told(vault.answer(frame)) for frame in asked] == ["FP-313"] * 2


# Plans, policies, runs, budgets


def test_a_plan_that_was_not_approved_is_refused(eu_vault, small):
    plan = changed(small.plan, name="another")
    asked = [ask(plan) for ask in (hello, analyse, train, evaluate)]
    assert [told(eu_vault.answer(frame)) for frame in asked] == ["FP-301"] * 4


def test_a_withdrawn_plan_gets_no_further_answer(eu_vault, small):
    eu_vault.answer(hello(small.plan))
    approval.withdraw(eu_vault.folder, small.plan, NOW)
    assert [told(eu_vault.answer(ask(small.plan))) for ask in (train, hello)] == ["FP-301"] * 2
    assert charges(eu_vault) == ["count"]


def narrowed(folder, what):
    match what:
        case "purpose":
            return replace(folder, policy=Policy(purposes=["growth"], minimum_subjects=20))
        case "cohort":
            return replace(folder, policy=Policy(purposes=["retention"], cohort_of_two=False))
        case "controller":
            return replace(
                folder, manifest=folder.manifest.model_copy(update={"controllers": ["other-shop"]})
            )
        case _:
            return replace(folder, manifest=folder.manifest.model_copy(update={"region": "mars"}))


@pytest.mark.parametrize("what", ["purpose", "cohort", "controller", "region"])
def test_a_policy_narrowed_after_approval_refuses_at_once(eu_vault, small, what):
    eu_vault.answer(hello(small.plan))
    eu_vault.folder = narrowed(eu_vault.folder, what)
    assert [told(eu_vault.answer(ask(small.plan))) for ask in (train, evaluate, hello)] == ["FP-315"] * 3
    assert charges(eu_vault) == ["count"]


def test_a_closed_run_is_charged_nothing_more(eu_vault, small):
    eu_vault.answer(hello(small.plan))
    eu_vault.answer(close(small.plan))
    assert [told(eu_vault.answer(ask(small.plan))) for ask in (train, evaluate, hello)] == ["FP-309"] * 3
    assert charges(eu_vault) == ["count"]


def test_a_newer_run_closes_the_older(eu_vault, small):
    richer(eu_vault).answer(hello(small.plan))
    assert told(eu_vault.answer(hello(small.plan, NEWER))) == "welcome"
    assert told(eu_vault.answer(train(small.plan))) == "FP-309"
    assert told(eu_vault.answer(hello(small.plan))) == "FP-309"
    assert told(eu_vault.answer(train(small.plan, run=NEWER))) == "release"


def test_a_run_that_was_never_opened_is_charged_nothing(eu_vault, small):
    answers = [told(eu_vault.answer(ask(small.plan, run=NEWER))) for ask in (analyse, train, evaluate)]
    assert set(answers) <= {"FP-309", "unavailable"}
    assert charges(eu_vault) == []


@pytest.mark.parametrize(("ask", "allowed"), [(analyse, 2), (train, 4), (evaluate, 1)])
def test_a_used_up_reservation_refuses_before_anything_is_computed(
    eu_vault, small, monkeypatch, ask, allowed
):
    computed = counting(monkeypatch)
    eu_vault.answer(hello(small.plan))
    answers = [told(eu_vault.answer(ask(small.plan, attempt=attempt))) for attempt in range(allowed + 2)]
    assert answers == ["release"] * allowed + ["FP-302"] * 2
    assert len(computed) == allowed


def test_a_run_charges_the_plan_that_it_began_with_and_no_other(eu_vault, small):
    both = eu_vault.folder.manifest.model_copy(update={"controllers": ["example-shop", "other-shop"]})
    richer(eu_vault).folder = replace(eu_vault.folder, manifest=both)
    other = changed(small.plan, controller="other-shop", name="second")
    approve(eu_vault.folder, other, NOW)
    assert told(eu_vault.answer(hello(small.plan))) == "welcome"
    assert told(eu_vault.answer(hello(other))) == "FP-306"
    assert told(eu_vault.answer(train(other))) in {"FP-309", "unavailable"}
    assert told(eu_vault.answer(train(small.plan, attempt=1))) == "release"
    with eu_vault.folder.engine.begin() as connection:
        charged = {(entry.controller, entry.plan) for entry in ledger.read(connection)}
    assert charged == {("example-shop", small.plan.digest)}


def test_a_greeting_is_repeated_for_the_running_run_and_reserves_nothing_more(eu_vault, small):
    first = eu_vault.answer(hello(small.plan))
    assert [eu_vault.answer(hello(small.plan)) for _ in range(2)] == [first] * 2
    assert charges(eu_vault) == ["count"]


def test_a_run_beyond_the_budget_is_refused_and_the_running_one_goes_on(eu_vault, small):
    eu_vault.answer(hello(small.plan))
    plan = changed(small.plan, training={"noise_multiplier": 0.5})
    approve(eu_vault.folder, plan, NOW)
    assert told(eu_vault.answer(hello(plan, NEWER))) == "FP-302"
    assert told(eu_vault.answer(train(small.plan))) == "release"


def test_a_region_that_does_not_contribute_sends_zeros_uncharged(eu_vault, small):
    plan = changed(small.plan, regions={"eu": {"public_size": 400, "weight": 0.5, "contributes": False}})
    approve(eu_vault.folder, plan, NOW)
    assert told(eu_vault.answer(hello(plan))) == "welcome"
    for ask in (analyse, train):
        answered = read_answer(eu_vault.answer(ask(plan)))
        assert not any(answered.blob)
        assert answered.answer.receipt.charges == ()
    assert charges(eu_vault) == []
    assert [receipt["eligible_set"] for receipt in regional_receipts(eu_vault)] == [None, None]


def test_a_region_that_does_not_contribute_answers_in_an_open_run_only(eu_vault, small):
    plan = changed(small.plan, regions={"eu": {"public_size": 400, "weight": 0.5, "contributes": False}})
    approve(eu_vault.folder, plan, NOW)
    assert told(eu_vault.answer(train(plan))) == "FP-309"
    eu_vault.answer(hello(plan))
    eu_vault.answer(close(plan))
    assert told(eu_vault.answer(train(plan, attempt=1))) == "FP-309"


# What depends on data stays at home


def failing_gate(*_):
    return (judge("missing_subject", "people", 3, rows=400),)


def test_a_failed_gate_is_unavailable_and_its_reason_stays_at_home(eu_vault, small, monkeypatch):
    monkeypatch.setattr(Store, "gates", failing_gate)
    answer = eu_vault.answer(hello(small.plan))
    assert answer == to_bytes(read_answer(answer).answer)
    assert told(answer) == "unavailable"
    assert [entry["code"] for entry in log(eu_vault, "subject")] == ["FP-305"]
    assert [entry["type"] for entry in log(eu_vault)] == ["plan_approved", "hello"]


def test_a_failed_gate_leaves_the_running_run_open(eu_vault, small, monkeypatch):
    richer(eu_vault).answer(hello(small.plan))
    plan = changed(small.plan, name="second")
    approve(eu_vault.folder, plan, NOW)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "gates", failing_gate)
        assert told(eu_vault.answer(hello(plan, NEWER))) == "unavailable"
    assert told(eu_vault.answer(train(small.plan))) == "release"


def test_too_few_subjects_is_unavailable_and_charged_the_count_alone(eu_vault, small):
    policy = Policy(purposes=["retention"], minimum_subjects=100_000)
    eu_vault.folder = replace(eu_vault.folder, policy=policy)
    answers = [told(eu_vault.answer(ask(small.plan))) for ask in (hello, hello, analyse, train)]
    assert answers == ["unavailable"] * 4
    assert charges(eu_vault) == ["count"]
    assert {entry["code"] for entry in log(eu_vault, "subject")} == {"FP-303"}


def test_the_minimum_is_judged_by_the_noised_count(eu_vault, small):
    eu_vault.answer(hello(small.plan))
    with eu_vault.folder.engine.begin() as connection:
        approval.keep_noised_count(connection, small.plan.digest, 79.9)
    assert told(eu_vault.answer(train(small.plan))) == "unavailable"
    with eu_vault.folder.engine.begin() as connection:
        approval.keep_noised_count(connection, small.plan.digest, 80.1)
    assert told(eu_vault.answer(train(small.plan, attempt=1))) == "release"


def test_a_purpose_without_a_lawful_basis_is_unavailable(eu_vault, small):
    folder = eu_vault.folder
    stripped = replace(folder, manifest=folder.manifest.model_copy(update={"lawful_basis": {}}))
    eu_vault.people.folder = stripped
    answers = [told(eu_vault.answer(ask(small.plan))) for ask in (hello, analyse, train, evaluate)]
    assert answers == ["unavailable"] * 4
    assert charges(eu_vault) == []
    assert {entry["code"] for entry in log(eu_vault, "subject")} == {"FP-304"}


@pytest.mark.parametrize("error", [FedprofileError(ROW), MemoryError(ROW), KeyError(ROW)], ids=type)
def test_a_refusal_before_the_charge_uses_its_slot_and_lengthens_the_border_log_as_an_answer_does(
    eu_vault, small, monkeypatch, error
):
    eu_vault.answer(hello(small.plan))
    before = len(log(eu_vault))
    monkeypatch.setattr(EligibleSets, "of", raising(error))
    refused = eu_vault.answer(train(small.plan))
    assert told(refused) == "unavailable"
    assert len(log(eu_vault)) == before + 1
    assert log(eu_vault)[-1]["outcome"] == "answered"
    monkeypatch.undo()
    assert eu_vault.answer(train(small.plan)) == refused
    assert charges(eu_vault) == ["count"]


def test_the_region_is_told_why_without_the_text_of_a_foreign_error(eu_vault, small, monkeypatch):
    eu_vault.answer(hello(small.plan))
    for attempt, error in enumerate((ValueError(ROW), GateFailed("gate x"))):
        with monkeypatch.context() as patched:
            patched.setattr(EligibleSets, "of", raising(error))
            eu_vault.answer(train(small.plan, attempt=attempt))
    assert [each.code for each in eu_vault.reasons] == ["FP-101", "FP-305"]
    assert "ValueError" in str(eu_vault.reasons[0])
    assert ROW not in "".join(map(str, eu_vault.reasons))
    assert all(each.__traceback__ is None and each.__context__ is None for each in eu_vault.reasons)


def test_a_vault_remembers_a_bounded_number_of_reasons(eu_vault):
    for _ in range(client.vault.REASONS + 5):
        eu_vault._unavailable(ValueError(ROW))
    assert len(eu_vault.reasons) == client.vault.REASONS


@pytest.mark.parametrize("error", [ValueError(ROW), FedprofileError(ROW)], ids=["foreign", "own"])
@pytest.mark.parametrize(
    "place",
    [
        (Store, "gates"),
        (Store, "snapshot"),
        (Store, "consent_records"),
        (client.vault, "vector_of"),
        (client.vault, "to_words"),
        (model_store, "keep"),
    ],
    ids=lambda place: place[1],
)
def test_the_text_of_an_error_reaches_no_answer_no_database_and_no_log(
    *, eu_vault, small, monkeypatch, caplog, capfd, place, error
):
    caplog.set_level(logging.DEBUG)
    if place[1] not in {"gates", "snapshot", "consent_records"}:
        eu_vault.answer(hello(small.plan))
    monkeypatch.setattr(*place, raising(error))
    answers = [eu_vault.answer(frame) for frame in whole_run(small.plan)[:4]]
    monkeypatch.undo()
    assert "unavailable" in [told(answer) for answer in answers]
    assert ROW.encode() not in b"".join(answers)
    state = b"".join(path.read_bytes() for path in eu_vault.folder.path.rglob("*") if path.is_file())
    assert ROW.encode() not in state
    assert ROW not in caplog.text
    assert ROW not in "".join(capfd.readouterr())


def test_a_fault_after_the_charge_costs_budget_once_and_is_never_answered(eu_vault, small, monkeypatch):
    eu_vault.answer(hello(small.plan))
    before = len(log(eu_vault))
    with monkeypatch.context() as patched:
        patched.setattr(client.vault, "vector_of", raising(ValueError(ROW)))
        lost = eu_vault.answer(train(small.plan))
    assert told(lost) == "unavailable"
    assert eu_vault.answer(train(small.plan)) == lost
    assert charges(eu_vault) == ["count", "training"]
    assert [(entry["outcome"], entry["charge"]) for entry in log(eu_vault)[before:]] == [("lost", 2)]


# One person more


def sizes(path, plan):
    with vault_on(path, plan) as vault:
        answers = [len(vault.answer(frame)) for frame in whole_run(plan)]
        return answers, charges(vault), len(log(vault)), len(log(vault, "subject"))


def test_one_person_more_changes_no_size_no_charge_and_no_length_of_a_log(eu_folder, small, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(eu_folder, copy)
    fewer = sizes(eu_folder, small.plan)
    with (small.folder / "eu.csv").open("a") as file:
        file.write("eu-new,0.5,9,web,1\n")
    assert sizes(copy, small.plan) == fewer


def test_the_grid_of_a_release_is_the_plans_alone(eu_vault, small):
    eu_vault.answer(hello(small.plan))
    for ask, kind in ((analyse, "analyse"), (train, "train"), (evaluate, "evaluate")):
        answered = read_answer(eu_vault.answer(ask(small.plan)))
        grid = release_grid(small.plan, kind, 3)
        assert len(answered.blob) % grid.unsigned.itemsize == 0


# Full disks and altered folders


def test_a_full_disk_at_the_seal_is_unavailable_and_the_ledger_stands(eu_folder, small):
    def full(_connection, _cursor, statement, *_):
        if statement.startswith("UPDATE border_request"):
            raise sqlite3.OperationalError("database or disk is full")

    with vault_on(eu_folder, small.plan) as vault:
        vault.answer(hello(small.plan))
        event.listen(vault.folder.engine, "before_cursor_execute", full)
        assert told(vault.answer(train(small.plan))) == "unavailable"
        event.remove(vault.folder.engine, "before_cursor_execute", full)
        assert told(vault.answer(train(small.plan))) == "FP-308"
    with vault_on(eu_folder) as vault:
        assert charges(vault) == ["count", "training"]
        assert log(vault)[-1]["outcome"] == "lost"
        assert told(vault.answer(train(small.plan, attempt=1))) == "release"


def test_a_disk_that_takes_nothing_is_unavailable_and_never_an_error(eu_folder, small):
    def full(_connection, _cursor, statement, *_):
        if statement.startswith(("UPDATE", "INSERT")):
            raise sqlite3.OperationalError("database or disk is full")

    with vault_on(eu_folder, small.plan) as vault:
        vault.answer(hello(small.plan))
        event.listen(vault.folder.engine, "before_cursor_execute", full)
        answers = [told(vault.answer(frame)) for frame in whole_run(small.plan)]
        assert answers == ["unavailable"] * 5
        event.remove(vault.folder.engine, "before_cursor_execute", full)
        assert told(vault.answer(train(small.plan))) == "release"
        assert charges(vault) == ["count", "training"]


def test_a_database_that_cannot_grow_answers_unavailable_and_stays_whole(eu_folder, small):
    with vault_on(eu_folder, small.plan) as vault:
        vault.answer(hello(small.plan))

        def no_room(connection, *_):
            connection.execute("PRAGMA max_page_count=1")  # rounded up to the present size

        event.listen(vault.folder.engine, "connect", no_room)
        vault.folder.engine.dispose()
        answers = [told(vault.answer(train(small.plan, attempt=attempt))) for attempt in range(12)]
        assert "unavailable" in answers
    with vault_on(eu_folder) as vault:
        again = [told(vault.answer(train(small.plan, attempt=attempt))) for attempt in range(12)]
        assert charges(vault).count("training") <= small.plan.most_attempts
        kept = [(old, new) for old, new in zip(answers, again, strict=True) if old == "release"]
        assert all(new == "release" for _, new in kept)
        log(vault), log(vault, "subject")


def test_a_models_folder_that_cannot_be_written_is_unavailable(eu_vault, small, monkeypatch):
    eu_vault.answer(hello(small.plan))
    monkeypatch.setattr(model_store.files, "write_atomically", raising(OSError(28, ROW)))
    assert told(eu_vault.answer(evaluate(small.plan))) == "unavailable"


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        (
            "UPDATE ledger_entry SET body = CAST(replace(body, '6.0', '9.0') AS BLOB) WHERE sequence = 2",
            LedgerBroken,
        ),
        ("UPDATE ledger_entry SET releases = 0", LedgerBroken),
        ("DELETE FROM ledger_entry WHERE sequence = 1", LedgerBroken),
        ("DELETE FROM ledger_entry WHERE sequence = 2", LedgerBroken),
        (
            "UPDATE log_node SET hash = zeroblob(32) WHERE log = 'border' AND level = 0 AND place = 0",
            LogBroken,
        ),
        ("UPDATE log_leaf SET entry = x'7b7d' WHERE place = 1", LogBroken),
        ("DELETE FROM log_leaf WHERE log = 'border' AND place = 1", LogBroken),
        ("DELETE FROM log_node WHERE log = 'border'", LogBroken),
    ],
)
def test_an_altered_folder_does_not_get_past_recover(eu_folder, small, statement, error):
    with vault_on(eu_folder, small.plan) as vault:
        for frame in (hello(small.plan), train(small.plan)):
            vault.answer(frame)
    with sqlite3.connect(eu_folder / "state.sqlite") as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(error), vault_on(eu_folder):
        pass
