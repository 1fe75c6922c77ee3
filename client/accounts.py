"""The ledger as a region's team reads it: one account per controller and population, and every entry."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from client.folder import RegionFolder
from privacy import ledger


def accounts(folder: RegionFolder, now: datetime) -> list[dict[str, Any]]:
    """Returns the account of each of the manifest's controllers and each population."""
    with folder.engine.begin() as connection:
        return [
            {
                "controller": controller,
                "population": population,
                "spent": found.spent.epsilon,
                "decided_by": found.spent.decided_by,
                "reserved": found.reserved,
                "limit": limit.epsilon,
                "left": found.left,
                "lifetime": found.lifetime,
                "delta": limit.delta,
                "n_max": limit.n_max,
                "since": found.since.isoformat(),
            }
            for controller in folder.manifest.controllers
            for population, limit in folder.policy.limits.items()
            for found in [
                ledger.account(connection, controller=controller, population=population, limit=limit, now=now)
            ]
        ]


def ledger_entries(folder: RegionFolder) -> list[dict[str, Any]]:
    """Returns every ledger entry, oldest first; the chain is verified on the way."""
    with folder.engine.begin() as connection:
        return [
            {
                "sequence": entry.sequence,
                "recorded_at": entry.recorded_at.isoformat(timespec="seconds"),
                "controller": entry.controller,
                "population": entry.population,
                "run": entry.run,
                "plan": entry.plan,
                **asdict(entry.charge),
            }
            for entry in ledger.read(connection)
        ]
