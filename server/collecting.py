"""One release from a whole cohort: an attempt, and another one without those who are missing.

Each attempt has fresh noise and a fresh charge in every region, so attempts are limited by the plan. A region
whose slot was used up by a crash stays: the next attempt is a slot of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from foundation.errors import AttemptsSpent, ReleaseInconsistent, RequestConflict, RequestSpent, by_code
from privacy.centre_notices import Refused
from privacy.messages import read_answer, to_bytes
from privacy.plan import Plan
from privacy.release import Analyse, Evaluate, Receipt, Train
from server.aggregation import Accepted, accepted, opened, vector_bytes
from server.channel import Channel, Lost
from server.checkpoint import RoundRecord
from server.cohort import Cohort

Slotted = Analyse | Train | Evaluate
Build = Callable[[int, tuple[str, ...]], Slotted]
"""Makes a request for an attempt and its cohort."""


@dataclass(frozen=True, slots=True)
class Collected:
    """A request that every region of its cohort answered, the opened sum, and the record of it."""

    request: Slotted
    total: NDArray[np.float64]
    record: RoundRecord


@dataclass(slots=True)
class Collector:
    """Collects releases for one run and counts what came.

    `attempt` is the next one of the round in hand; `note` is told (attempt, attempts_spent) before it is
    asked, so that a resumed run does not ask a used-up one again.
    """

    plan: Plan
    channel: Channel
    cohort: Cohort
    note: Callable[[int, int], None]
    attempt: int = 0
    attempts_spent: int = 0
    used_up: bool = False
    receipts: list[Receipt] = field(default_factory=list)

    def collect(self, build: Build, blob: bytes) -> Collected:
        """Returns the sum over a cohort that answered whole.

        Raises:
            QuorumMissed: too few regions are left. AttemptsSpent: no spare attempt is left.
        """
        begun, lost = monotonic(), set[str]()
        while True:
            request = build(self.attempt, self.cohort.regions)
            releases = self._ask(request, blob)
            if len(releases) == len(request.cohort):
                break
            lost |= set(request.cohort) - set(releases)
            if self.used_up or self.cohort.has_quorum:
                self._next_attempt(request, lost)
            self.cohort.require_quorum()
        self.receipts += [each.receipt for each in releases.values()]
        record = RoundRecord(
            kind=request.kind,
            round=request.round,
            attempt=self.attempt,
            cohort=request.cohort,
            missing=tuple(sorted(lost)),
            seconds=monotonic() - begun,
        )
        self.attempt = 0
        return Collected(request, opened(self.plan, request, list(releases.values())), record)

    def _next_attempt(self, request: Slotted, lost: set[str]) -> None:
        """Counts an attempt that is used up, and writes so down before the next one is asked."""
        self.attempt += 1
        if isinstance(request, Evaluate):
            left = self.plan.evaluation.spare_attempts - self.attempt
        else:
            self.attempts_spent += 1
            left = self.plan.federation.spare_attempts - self.attempts_spent
        self.note(self.attempt, self.attempts_spent)
        if left < 0:
            away = ", ".join(sorted(lost))
            raise AttemptsSpent(f"{request.kind}, round {request.round}, without {away}")

    def _ask(self, request: Slotted, blob: bytes) -> dict[str, Accepted]:
        frame = to_bytes(request, blob)
        nodes = {self.cohort.members[name].node: name for name in request.cohort}
        replies = self.channel.ask(dict.fromkeys(nodes, frame), self.plan.federation.round_seconds)
        releases: dict[str, Accepted] = {}
        self.used_up = False
        for node, name in nodes.items():
            reply = replies.get(node, Lost("no answer"))
            try:
                releases[name] = self._accept(request, name, frame, reply)
            except (RequestConflict, RequestSpent):
                self.used_up = True  # the region is there: another attempt finds it
            except ReleaseInconsistent as error:
                self.used_up |= isinstance(reply, bytes)
                self.cohort.drop(name, error.what)
        return releases

    def _accept(self, request: Slotted, region: str, frame: bytes, reply: bytes | Lost) -> Accepted:
        if isinstance(reply, Lost):
            raise ReleaseInconsistent(f"region {region}: {reply.reason}")
        self.cohort.count(region, request.kind, len(reply))
        answered = read_answer(reply)
        if isinstance(answered.answer, Refused):
            self._refused(region, answered.answer)
        return accepted(
            answered,
            region=region,
            identity=self.cohort.members[region].identity,
            frame=frame,
            size=vector_bytes(self.plan, request),
        )

    def _refused(self, region: str, refusal: Refused) -> NoReturn:
        kind = by_code(refusal.code)
        if kind in (RequestConflict, RequestSpent):
            raise kind(f"region {region}")
        self.cohort.refusals.append(refusal)
        raise ReleaseInconsistent(f"region {region} refused with {refusal.code}")
