"""Scores of a region's own customers: one row per person and task, by the folder's newest model.

A refresh replaces a purpose's scores in one transaction, so people who are no longer permitted vanish with
it. Scores stay in the region. A reader past the freshness limit gets a refusal, or the score marked stale.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
from sqlalchemy import select

from client.eligible import EligibleSets
from client.evaluation import logits
from client.folder import RegionFolder
from client.model_store import Model, latest
from client.releases import scaled_rows
from client.tables import scores
from compliance import audit_log
from compliance.consent import permitted
from foundation.errors import NoLawfulBasis, ProfileStale, SubjectUnknown, UsageWrong
from privacy.plan import EventData, Plan, midnight

FRESH_HOURS = 72


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh wrote: people scored, by which model, as of when."""

    people: int
    tasks: tuple[str, ...]
    model: str
    purpose: str
    as_of: datetime
    origin: str


@dataclass(frozen=True, slots=True)
class Profile:
    """One person's scores for one purpose; probabilities by task."""

    purpose: str
    scores: dict[str, float]
    model: str
    origin: str
    as_of: datetime
    stale: bool


def refresh(folder: RegionFolder, people: EligibleSets, *, now: datetime, as_of: date | None) -> Refreshed:
    """Scores every permitted person with the folder's latest model.

    as_of defaults to the day of now; in a simulation's folder, to the plan's test snapshot.

    Raises:
        FolderUnknown: there is no model yet. ModelForeign: the model is not this folder's kind.
        PurposeRefused, NoLawfulBasis: the policy or the manifest no longer allows the purpose.
    """
    model = latest(folder)
    plan = model.plan
    folder.policy.judge(plan, region=folder.region, controllers=folder.manifest.controllers)
    day, moment = _snapshot_day(folder, plan, now, as_of)
    eligible = people.everyone(plan, day, now)
    rows = scaled_rows(plan, eligible, model.scale)
    probabilities = 1 / (1 + np.exp(-logits(plan, model.parameters, rows.inputs).astype(np.float64)))
    facts = _facts(folder, model, now, moment)
    written = [
        {**facts, "subject": str(subject), "country": str(country), "task": task, "score": float(score)}
        for subject, country, given in zip(eligible.subjects, eligible.countries, probabilities, strict=True)
        for task, score in zip(plan.tasks, given, strict=True)
    ]
    with folder.engine.begin() as connection:
        mine = (scores.c.controller == plan.controller) & (scores.c.purpose == plan.purpose)
        connection.execute(scores.delete().where(mine))
        if written:
            connection.execute(scores.insert(), written)
        entry = {"type": "scores_refreshed", "model": model.name, "plan": plan.digest}
        audit_log.append(connection, "border", entry)
    return Refreshed(
        len(eligible.subjects), tuple(plan.tasks), model.name, plan.purpose, moment, model.origin
    )


def profile(
    folder: RegionFolder,
    people: EligibleSets,
    subject: str,
    *,
    controller: str,
    purpose: str,
    now: datetime,
    allow_stale: bool = False,
) -> Profile:
    """Returns one person's scores for a controller's purpose; one answer for whoever may not be shown.

    Raises:
        SubjectUnknown: there is no score that may be shown for the identifier and purpose.
        ProfileStale: the scores are past 72 hours and allow_stale is not set.
    """
    whose = {"subject": subject, "controller": controller, "purpose": purpose}
    allowed = _permitted(people, subject, purpose, now)
    with folder.engine.begin() as connection:
        rows = connection.execute(select(scores).filter_by(**whose)).all()
        shown = allowed and len(rows) > 0
        entry = {"type": "profile_read", "controller": controller, "purpose": purpose, "shown": shown}
        audit_log.append(connection, "subject", entry)
    if not shown:
        raise SubjectUnknown("the identifier given")
    first = rows[0]
    as_of = datetime.fromisoformat(first.as_of)
    stale = now - as_of > timedelta(hours=FRESH_HOURS)
    if stale and not allow_stale:
        raise ProfileStale(f"as of {as_of.date()}")
    return Profile(purpose, {row.task: row.score for row in rows}, first.model, first.origin, as_of, stale)


def _permitted(people: EligibleSets, subject: str, purpose: str, now: datetime) -> bool:
    try:
        basis = people.basis_of(purpose)
    except NoLawfulBasis:
        return False
    records = people.store.consent_records(purpose, now)
    return bool(permitted(np.array([subject]), basis, records, now)[0])


def _snapshot_day(
    folder: RegionFolder, plan: Plan, now: datetime, as_of: date | None
) -> tuple[date | None, datetime]:
    if not isinstance(plan.data, EventData):
        if as_of is not None:
            raise UsageWrong("subject tables have no --as-of", do="leave it out")
        return None, now
    if as_of is None:
        as_of = plan.data.test_as_of if folder.origin == "simulation" else now.date()
    return as_of, midnight(as_of)


def _facts(folder: RegionFolder, model: Model, now: datetime, as_of: datetime) -> dict[str, str]:
    return {
        "controller": model.plan.controller,
        "purpose": model.plan.purpose,
        "storage_country": folder.manifest.storage_country,
        "model": model.name,
        "origin": model.origin,
        "as_of": as_of.isoformat(),
        "refreshed_at": now.isoformat(),
    }
