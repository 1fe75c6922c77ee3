"""Plans that this region has approved, by digest; nothing else is answered."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from sqlalchemy import Connection, select

from client.folder import RegionFolder
from client.tables import approvals
from compliance import audit_log
from foundation.errors import PlanNotApproved
from privacy.plan import Plan


def approve(folder: RegionFolder, plan: Plan, now: datetime) -> None:
    """Records the plan's digest as approved; the policy is asked first.

    Raises:
        PurposeRefused: the region's policy does not allow the plan.
    """
    folder.policy.judge(plan, region=folder.region, controllers=folder.manifest.controllers)
    with folder.engine.begin() as connection:
        known = connection.execute(select(approvals).filter_by(digest=plan.digest)).one_or_none()
        if known is not None and known.withdrawn_at is None:
            return
        values = {"approved_at": now.isoformat(), "withdrawn_at": None}
        if known is None:
            body = plan.model_dump_json(exclude={"simulate"})
            connection.execute(approvals.insert().values(digest=plan.digest, plan=body, **values))
        else:
            connection.execute(approvals.update().filter_by(digest=plan.digest).values(**values))
        audit_log.append(connection, "border", {"type": "plan_approved", "plan": plan.digest})


def withdraw(folder: RegionFolder, plan: Plan, now: datetime) -> None:
    """Withdraws an approval; a run of the plan gets no further answer.

    Raises:
        PlanNotApproved: it was not approved.
    """
    with folder.engine.begin() as connection:
        approved(connection, plan.digest)
        connection.execute(
            approvals.update().filter_by(digest=plan.digest).values(withdrawn_at=now.isoformat())
        )
        audit_log.append(connection, "border", {"type": "plan_withdrawn", "plan": plan.digest})


def approved(connection: Connection, digest: str) -> Plan:
    """Returns the approved plan of this digest.

    Raises:
        PlanNotApproved: there is none, or the approval was withdrawn.
    """
    row = connection.execute(select(approvals).filter_by(digest=digest)).one_or_none()
    if row is None or row.withdrawn_at is not None:
        raise PlanNotApproved(f"plan {digest[:12]}")
    plan = _parsed(row.plan)
    if plan.digest != digest:
        raise PlanNotApproved(f"plan {digest[:12]}", why="what was approved now means something else")
    return plan


def newest_approved(folder: RegionFolder) -> Plan:
    """Returns the plan approved last; raises PlanNotApproved where there is none."""
    query = select(approvals.c.digest).where(approvals.c.withdrawn_at.is_(None))
    with folder.engine.begin() as connection:
        digest = connection.execute(query.order_by(approvals.c.approved_at.desc()).limit(1)).scalar()
        if digest is None:
            raise PlanNotApproved("no plan", do="name a plan")
        return approved(connection, digest)


@lru_cache(maxsize=16)
def _parsed(body: str) -> Plan:
    return Plan.model_validate_json(body)


def noised_count(connection: Connection, digest: str) -> float | None:
    """Returns the eligible count drawn for this plan; None where none was drawn."""
    return connection.execute(
        select(approvals.c.noised_count).where(approvals.c.digest == digest)
    ).scalar_one_or_none()


def keep_noised_count(connection: Connection, digest: str, count: float) -> None:
    """Keeps the count, so that it is drawn and charged once per plan."""
    connection.execute(approvals.update().filter_by(digest=digest).values(noised_count=count))
