"""One release from a whole cohort: an attempt, and another one without those who are missing.

Each attempt has fresh noise and a fresh charge in every region, so attempts are limited by the plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from foundation.errors import AttemptsSpent, ReleaseInconsistent
from privacy.centre_notices import Refused
from privacy.messages import read_answer, to_bytes
from privacy.plan import Plan
from privacy.release import Analyse, Evaluate, Receipt, Train
from server.aggregation import Accepted, accepted, opened
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
    """Collects releases for one run and counts what came."""

    plan: Plan
    channel: Channel
    cohort: Cohort
    attempts_spent: int = 0
    receipts: list[Receipt] = field(default_factory=list)

    def collect(self, build: Build, blob: bytes) -> Collected:
        """Returns the sum over a cohort that answered whole.

        Raises:
            QuorumMissed: too few regions are left. AttemptsSpent: no spare attempt is left.
        """
        begun, attempt, lost = monotonic(), 0, set[str]()
        while True:
            request = build(attempt, self.cohort.regions)
            releases = self._ask(request, blob)
            if len(releases) == len(request.cohort):
                break
            lost |= set(request.cohort) - set(releases)
            self.cohort.require_quorum()
            attempt += 1
            if attempt > self._spare(request):
                away = ", ".join(sorted(lost))
                raise AttemptsSpent(f"{request.kind}, round {request.round}, missing {away}")
        if not isinstance(request, Evaluate):
            self.attempts_spent += attempt
        self.receipts += [each.receipt for each in releases.values()]
        record = RoundRecord(
            kind=request.kind,
            round=request.round,
            attempt=attempt,
            cohort=request.cohort,
            missing=tuple(sorted(lost)),
            seconds=monotonic() - begun,
        )
        return Collected(request, opened(self.plan, request, list(releases.values())), record)

    def _spare(self, request: Slotted) -> int:
        if isinstance(request, Evaluate):
            return self.plan.evaluation.spare_attempts
        return self.plan.federation.spare_attempts - self.attempts_spent

    def _ask(self, request: Slotted, blob: bytes) -> dict[str, Accepted]:
        frame = to_bytes(request, blob)
        nodes = {self.cohort.members[name].node: name for name in request.cohort}
        replies = self.channel.ask(dict.fromkeys(nodes, frame), self.plan.federation.round_seconds)
        releases: dict[str, Accepted] = {}
        for node, name in nodes.items():
            reply = replies.get(node, Lost("no answer"))
            try:
                releases[name] = self._accept(request.kind, name, frame, reply)
            except ReleaseInconsistent as error:
                self.cohort.drop(name, error.what)
        return releases

    def _accept(self, kind: str, region: str, frame: bytes, reply: bytes | Lost) -> Accepted:
        if isinstance(reply, Lost):
            raise ReleaseInconsistent(f"region {region}: {reply.reason}")
        self.cohort.count(region, kind, len(reply))
        answered = read_answer(reply)
        if isinstance(answered.answer, Refused):
            self.cohort.refusals.append(answered.answer)
            raise ReleaseInconsistent(f"region {region} refused with {answered.answer.code}")
        identity = self.cohort.members[region].identity
        return accepted(answered, region=region, identity=identity, frame=frame)
