"""The vault: the one place where rows become releases, in one order that never changes.

1. the request is of the closed set, and its slot was not used before (or: the same bytes again)
2. the plan is approved by this region
3. the purpose has a lawful basis; people without one are out
4. there are enough data subjects, by a noised count drawn and charged once per plan
5. charge the ledger (durable); refuse if the reservation has not this much left
6. compute, clip, noise
7. fixed point, seal
8. store the sealed bytes and the receipts
9. append to the border log (one commit with 8)
10. answer

A crash after 5 costs budget, never privacy. What depends on data is refused as `unavailable`; its reason
stays in the subject log. Does not carry answers (`client/courier.py`) and runs in the caller's process.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from client import approval, model_store, request_journal
from client.eligible import EligibleSets, People
from client.folder import RegionFolder
from client.receipts import receipted
from client.releases import ScaledRows, Slotted, charge_of, population_of, require_fit, values_of, vector_of
from client.request_journal import Slot
from client.training import TrainingFacts
from compliance import audit_log
from foundation.errors import (
    BudgetExceeded,
    FedprofileError,
    LedgerBroken,
    ModelRefused,
    PlanNotApproved,
    PurposeRefused,
    RequestConflict,
    RequestSpent,
    RequestUnknown,
    RunClosed,
    TooFewSubjects,
)
from privacy import ledger
from privacy.budget import count_charge, worst_case
from privacy.centre_notices import Closed, Refused, Unavailable, Welcome
from privacy.events import Charge
from privacy.fixed_point import to_words
from privacy.layout import release_grid
from privacy.messages import Asked, read_request, to_bytes
from privacy.noise import CryptographicStream
from privacy.plan import COUNT_NOISE, TRAIN, Plan
from privacy.release import Analyse, Close, Evaluate, Hello, Train
from privacy.seal import Seal, SealContext

TOLD = (
    PlanNotApproved,
    PurposeRefused,
    BudgetExceeded,
    RequestConflict,
    RequestUnknown,
    RequestSpent,
    RunClosed,
    ModelRefused,
)
"""Refusals that depend on settings, requests and the ledger only: the centre is told their code."""

REASONS = 100
"""How many reasons a vault remembers for its region."""

COUNT_DEVIATIONS = 3
"""The noised count must exceed the minimum by this many deviations of its noise."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request past step 5: its people, its charge by population, its ledger entry (0: none)."""

    plan: Plan
    people: People
    charge: tuple[str, Charge] | None
    number: int


@dataclass(slots=True)
class Vault:
    """Answers requests on one open region folder, one at a time.

    `clock` returns aware UTC times. `observed` and `reasons` collect exact training facts, and why requests
    were unavailable, for the region's own eyes.
    """

    folder: RegionFolder
    people: EligibleSets
    seal: Seal
    clock: Callable[[], datetime]
    observed: list[tuple[Slot, TrainingFacts]] = field(default_factory=list)
    reasons: deque[FedprofileError] = field(default_factory=lambda: deque(maxlen=REASONS))
    _scaled: ScaledRows = field(default_factory=ScaledRows)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: bool = False

    def stop(self) -> None:
        """Waits for the answer in hand, then answers nothing any more: the folder is about to close."""
        with self._lock:
            self._stopped = True

    def recover(self) -> None:
        """Verifies ledger and logs and writes down what a crash cut off; call once before answering.

        Raises:
            LedgerBroken, LogBroken: something was altered; the vault must not answer.
        """
        with self.folder.engine.begin() as connection:
            for _ in ledger.read(connection):
                pass
            audit_log.verify(connection, "border")
            last = audit_log.newest(connection, "border", "slot")
            if last is not None and not ledger.has(connection, bytes.fromhex(last["ledger"])):
                raise LedgerBroken("the ledger ends before the border log does")
            audit_log.verify(connection, "subject")
            for slot, digest, number in request_journal.take_lost(connection):
                self._log_slot(connection, slot, digest, number=number, outcome="lost")

    def answer(self, frame: bytes) -> bytes:
        """Returns the bytes that answer frame; never raises, never tells a text."""
        with self._lock:
            if self._stopped:
                return to_bytes(Unavailable())
            try:
                return self._answer(read_request(frame))
            except TOLD as refusal:
                return to_bytes(Refused(code=refusal.code))
            except Exception as fault:  # noqa: BLE001 - an exception's text may hold a row: none passes
                return self._unavailable(fault)

    def _answer(self, asked: Asked) -> bytes:
        match asked.request:
            case Hello() | Close() if asked.blob:
                raise RequestUnknown("a hello or close with a blob")
            case Hello() as hello:
                begun = time.monotonic()
                answer = to_bytes(self._welcome(hello))
                self._wait_for_slot(hello.plan, begun)
                return answer
            case Close() as close:
                return to_bytes(self._close(close))
            case Analyse() | Train() | Evaluate() as request:
                return self._release(request, asked)

    def _welcome(self, hello: Hello) -> Welcome:
        now = self.clock()
        with self.folder.engine.begin() as connection:
            audit_log.append(connection, "border", {"type": "hello", "run": hello.run, "plan": hello.plan})
        with self.folder.engine.begin() as connection:
            plan = self._approved(connection, hello.plan)
            self.people.pass_gates(plan, now)
            ledger.close_others(connection, hello.run)
            counted = approval.noised_count(connection, plan.digest) is not None
            for population, charges in worst_case(plan, self.folder.region, counted=counted).items():
                ledger.reserve(
                    connection,
                    run=hello.run,
                    plan=plan.digest,
                    controller=plan.controller,
                    population=population,
                    charges=charges,
                    limit=self.folder.policy.limits[population],
                    now=now,
                )
        if plan.regions[self.folder.region].contributes:
            self._require_enough(plan, self._count_once(plan, hello.run, now))
        return Welcome(
            region=self.folder.region,
            identity=self.folder.keys.public,
            policy=self.folder.policy.digest,
            budget_left=self._budget_left(plan, now),
        )

    def _count_once(self, plan: Plan, run: str, now: datetime) -> float:
        eligible = self.people.of(plan, TRAIN, now)
        with self.folder.engine.begin() as connection:
            count = approval.noised_count(connection, plan.digest)
            if count is not None:
                return count
            ledger.charge(
                connection,
                run=run,
                plan=plan.digest,
                population=TRAIN,
                request="",
                charge=count_charge(),
                now=now,
            )
            count = len(eligible.subjects) + COUNT_NOISE * float(CryptographicStream().normals(1)[0])
            approval.keep_noised_count(connection, plan.digest, count)
        return count

    def _require_enough(self, plan: Plan, count: float | None) -> None:
        least = self.folder.policy.least_subjects(plan) + COUNT_DEVIATIONS * COUNT_NOISE
        if count is None or count < least:
            raise TooFewSubjects(f"plan {plan.name}")

    def _budget_left(self, plan: Plan, now: datetime) -> dict[str, str]:
        with self.folder.engine.begin() as connection:
            accounts = {
                population: ledger.account(
                    connection, controller=plan.controller, population=population, limit=limit, now=now
                )
                for population, limit in self.folder.policy.limits.items()
            }
        return {population: f"{account.left:.4f}" for population, account in accounts.items()}

    def _close(self, request: Close) -> Closed:
        if request.outcome == "finished":
            model_store.serve(self.folder, request.run)
        with self.folder.engine.begin() as connection:
            ledger.close(connection, request.run)
            entry = {"type": "run_closed", "run": request.run, "outcome": request.outcome}
            audit_log.append(connection, "border", entry)
        return Closed()

    def _approved(self, connection: Connection, digest: str) -> Plan:
        plan = approval.approved(connection, digest)
        controllers = self.folder.manifest.controllers
        self.folder.policy.judge(plan, region=self.folder.region, controllers=controllers)
        return plan

    def _release(self, request: Slotted, asked: Asked) -> bytes:
        slot, begun = Slot.of(request), time.monotonic()
        with self.folder.engine.begin() as connection:  # 1
            known = request_journal.repeated(connection, slot, asked.digest)
        if known is not None:
            return known
        answer = self._first_answer(request, asked, slot)
        self._wait_for_slot(request.plan, begun)
        return answer  # 10

    def _first_answer(self, request: Slotted, asked: Asked, slot: Slot) -> bytes:
        try:
            admitted = self._admit(request, asked, slot)
        except Exception as refusal:  # noqa: BLE001 - whatever it is, the slot is used and logged
            return self._refuse(slot, asked, refusal)
        try:
            return self._compute(admitted, request, asked, slot)
        except Exception as fault:  # noqa: BLE001 - charged already: the answer is lost, the budget too
            return self._lose(slot, asked, admitted, fault)

    def _admit(self, request: Slotted, asked: Asked, slot: Slot) -> Admitted:
        region, now, population = self.folder.region, self.clock(), population_of(request)
        with self.folder.engine.begin() as connection:
            plan = self._approved(connection, request.plan)  # 2
            count = approval.noised_count(connection, plan.digest)
        least = self.folder.policy.least_cohort
        require_fit(plan, request, asked.blob, region=region, least_cohort=least)
        charge = charge_of(plan, request, region)
        eligible = self.people.of(plan, population, now)  # 3
        if charge is not None and population == TRAIN:
            self._require_enough(plan, count)  # 4
        with self.folder.engine.begin() as connection:  # 5
            number = 0
            if charge is None:
                ledger.require_open(connection, run=slot.run, plan=plan.digest, population=population)
            else:
                entry = ledger.charge(
                    connection,
                    run=slot.run,
                    plan=plan.digest,
                    population=population,
                    request=asked.digest,
                    charge=charge,
                    now=now,
                )
                number = entry.sequence
            request_journal.record(connection, slot, asked.digest, state="charged", charge=number)
        return Admitted(plan, eligible, None if charge is None else (population, charge), number)

    def _compute(self, admitted: Admitted, request: Slotted, asked: Asked, slot: Slot) -> bytes:
        plan, region = admitted.plan, self.folder.region
        values, facts = vector_of(  # 6
            plan,
            request,
            asked.blob,
            region=region,
            people=admitted.people,
            kept=self._scaled,
            stream=CryptographicStream(),
        )
        if facts is not None:
            self.observed.append((slot, facts))
        grid = release_grid(plan, request.kind, len(request.cohort))
        context = SealContext(asked.digest, request.cohort)
        words = self.seal.seal(to_words(values, grid), context).tobytes()  # 7
        receipts = receipted(
            asked,
            words,
            region=region,
            keys=self.folder.keys,
            people=None if admitted.charge is None else admitted.people,
            charge=admitted.charge,
            sealing=self.seal.name,
        )
        if isinstance(request, Evaluate):
            self._keep_model(plan, request, asked)
        with self.folder.engine.begin() as connection:  # 8, 9
            request_journal.seal(connection, slot, answer=receipts.answer, regional_receipt=receipts.regional)
            self._log_slot(connection, slot, asked.digest, number=admitted.number, outcome="answered")
        return receipts.answer

    def _refuse(self, slot: Slot, asked: Asked, refusal: Exception) -> bytes:
        if isinstance(refusal, TOLD):
            answer = to_bytes(Refused(code=refusal.code))
        else:
            answer = self._unavailable(refusal)
        with self.folder.engine.begin() as connection:
            request_journal.record(connection, slot, asked.digest, state="refused", answer=answer)
            self._log_slot(connection, slot, asked.digest, number=0, outcome="answered")
        return answer

    def _lose(self, slot: Slot, asked: Asked, admitted: Admitted, fault: Exception) -> bytes:
        answer = self._unavailable(fault)
        with self.folder.engine.begin() as connection:
            request_journal.lose(connection, slot, answer=answer)
            self._log_slot(connection, slot, asked.digest, number=admitted.number, outcome="lost")
        return answer

    def _keep_model(self, plan: Plan, request: Evaluate, asked: Asked) -> None:
        scale, parameters = values_of(plan, asked.blob)
        model = model_store.Model(plan, request.run, self.folder.origin, scale, parameters)
        model_store.keep(self.folder, model)

    def _wait_for_slot(self, digest: str, begun: float) -> None:
        try:
            with self.folder.engine.begin() as connection:
                slot = approval.approved(connection, digest).federation.slot_seconds
        except PlanNotApproved:
            return
        if slot > 0:
            time.sleep(slot - (time.monotonic() - begun) % slot)

    def _log_slot(
        self, connection: Connection, slot: Slot, digest: str, *, number: int, outcome: str
    ) -> None:
        _, chain = ledger.head(connection)
        entry = {"type": "slot", "request": digest, "charge": number, "ledger": chain.hex()}
        audit_log.append(connection, "border", {**entry, **slot.fields, "outcome": outcome})

    def _unavailable(self, fault: Exception) -> bytes:
        """Tells the region why, and returns the notice; a disk that takes no entry changes nothing."""
        if isinstance(fault, FedprofileError):
            reason = type(fault)(fault.what, why=fault.why, do=fault.do)  # without frames that hold rows
        else:
            reason = FedprofileError(f"unexpected {type(fault).__name__}")
        self.reasons.append(reason)
        with suppress(SQLAlchemyError), self.folder.engine.begin() as connection:
            audit_log.append(connection, "subject", {"type": "unavailable", "code": reason.code})
        return to_bytes(Unavailable())
