"""Eligible sets: which people a release is computed from, decided for every request.

A person is in when the region's rule and the snapshot have them, the purpose has a lawful basis for them at
this moment, and the hold-out rule puts them into the population. A judgement is kept only while nothing can
have changed it: the consent source is unwritten, and no record began or ceased to count since.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from client.folder import RegionFolder
from client.source import Version
from client.store import Store
from compliance.consent import LawfulBasis, permitted
from foundation.errors import FedprofileError, GateFailed, NoLawfulBasis
from privacy.plan import HOLDOUT, EventData, Plan
from profiles.quality import GateResult
from profiles.schema import Snapshot


@dataclass(frozen=True, slots=True)
class People:
    """One eligible set: row i of every array is one data subject.

    positions float32 (n, numeric inputs) in [0, 1]; categories float32 (n, category inputs); labels float32
    (n, tasks). `basis` is the lawful basis's kind; `listing` the sorted ids, separated by NUL.
    """

    subjects: NDArray[np.str_]
    countries: NDArray[np.str_]
    positions: NDArray[np.float32]
    categories: NDArray[np.float32]
    labels: NDArray[np.float32]
    basis: str
    listing: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "listing", "\0".join(self.subjects.tolist()).encode())

    @property
    def commitment(self) -> str:
        """SHA-256 over 32 fresh random bytes and the listing: binds the set, tells nothing of it."""
        return hashlib.sha256(secrets.token_bytes(32) + self.listing).hexdigest()


@dataclass(frozen=True, slots=True)
class Judgement:
    """An eligible set and when it holds: from `since`, before `until`, while the source is at `version`."""

    people: People
    version: Version | None
    since: datetime
    until: datetime | None

    def holds(self, version: Version | None, now: datetime) -> bool:
        """Whether judging again at now would give the same people."""
        return self.version == version and self.since <= now and (self.until is None or now < self.until)


@dataclass(slots=True)
class EligibleSets:
    """Reads snapshots once per plan and judges people per request."""

    folder: RegionFolder
    store: Store
    _snapshots: dict[tuple[str, date | None], Snapshot] = field(default_factory=dict)
    _masks: dict[tuple[str, str, date | None], NDArray[np.bool_]] = field(default_factory=dict)
    _judged: dict[tuple[str, str, date | None], Judgement] = field(default_factory=dict)
    _verdicts: dict[str, FedprofileError | None] = field(default_factory=dict)

    def gates(self, plan: Plan, now: datetime) -> tuple[GateResult, ...]:
        """Returns what each data gate found."""
        return self.store.gates(plan, now)

    def pass_gates(self, plan: Plan, now: datetime) -> None:
        """Raises what `run_gates` found; runs the gates where nobody has.

        Raises:
            GateFailed: a gate found more violations than it allows; its counts stay at home.
            SourceMissing and the other errors of the store: the tables cannot be read.
        """
        if plan.digest not in self._verdicts:
            self.run_gates(plan, now)
        verdict = self._verdicts[plan.digest]
        if verdict is not None:
            raise verdict

    def run_gates(self, plan: Plan, now: datetime) -> None:
        """Runs the data gates and keeps what they say; for the time before a run, not in answer to it."""
        try:
            failed = [result for result in self.gates(plan, now) if not result.holds]
        except FedprofileError as error:
            self._verdicts[plan.digest] = error
            return
        names = ", ".join(f"{result.table}.{result.name}" for result in failed)
        told = GateFailed(f"{len(failed)} gates: {names}")
        self._verdicts[plan.digest] = told if failed else None

    def basis_of(self, purpose: str) -> LawfulBasis:
        """Returns the recorded basis of a purpose.

        Raises:
            NoLawfulBasis: the manifest records none.
        """
        stated = self.folder.manifest.lawful_basis.get(purpose)
        if stated is None:
            raise NoLawfulBasis(f"purpose {purpose}")
        return LawfulBasis(purpose, stated.kind, stated.reference)

    def of(self, plan: Plan, population: str, now: datetime) -> People:
        """Returns the population's eligible people: train at train_as_of, hold-out at test_as_of.

        Raises:
            NoLawfulBasis: the manifest records no basis for the purpose.
        """
        as_of = None
        if isinstance(plan.data, EventData):
            as_of = plan.data.test_as_of if population == HOLDOUT else plan.data.train_as_of
        return self.at(plan, population, as_of, now)

    def at(self, plan: Plan, population: str, as_of: date | None, now: datetime) -> People:
        """Returns the population's eligible people at any as_of; raises as `of`."""
        key = (plan.digest, population, as_of)
        version = self.store.consent_version(plan.purpose)
        known = self._judged.get(key)
        if known is None or not known.holds(version, now):
            snapshot = self._snapshot(plan, as_of)
            mask = self._population_mask(plan, population, as_of, snapshot)
            people = self._permitted(plan, snapshot, mask, now)
            until = self.store.next_consent_change(plan.purpose, now)
            known = self._judged[key] = Judgement(people, version, now, until)
        return known.people

    def everyone(self, plan: Plan, as_of: date | None, now: datetime) -> People:
        """Returns all eligible people at as_of, both populations, without labels (for scoring)."""
        snapshot = self.store.snapshot(plan, as_of, labels=False)
        return self._permitted(plan, snapshot, np.ones(len(snapshot), dtype=np.bool_), now)

    def _permitted(self, plan: Plan, snapshot: Snapshot, mask: NDArray[np.bool_], now: datetime) -> People:
        basis, records = self.basis_of(plan.purpose), self.store.consent_records(plan.purpose, now)
        if basis.kind == "consent" or records:
            mask = mask & permitted(snapshot.subjects, basis, records, now)
        labels = snapshot.labels
        if labels is None:
            labels = np.zeros((len(snapshot), len(plan.tasks)), dtype=np.float32)
        return People(
            snapshot.subjects[mask],
            snapshot.countries[mask],
            snapshot.numeric[mask],
            snapshot.onehots[mask],
            labels[mask],
            basis.kind,
        )

    def _snapshot(self, plan: Plan, as_of: date | None) -> Snapshot:
        key = (plan.digest, as_of)
        if key not in self._snapshots:
            self._snapshots[key] = self.store.snapshot(plan, as_of)
        return self._snapshots[key]

    def _population_mask(
        self, plan: Plan, population: str, as_of: date | None, snapshot: Snapshot
    ) -> NDArray[np.bool_]:
        key = (plan.digest, population, as_of)
        if key not in self._masks:
            held_out = self.folder.holdout.held_out(snapshot.subjects, plan.holdout_share)
            self._masks[key] = held_out if population == HOLDOUT else ~held_out
        return self._masks[key]
