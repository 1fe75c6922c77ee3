"""Who takes part: hello to every node, welcomes and refusals, quorum. Names who is missing, always."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from foundation.errors import QuorumMissed, RegionNameTaken, ReleaseInconsistent, by_code
from privacy.centre_notices import Refused, Unavailable, Welcome
from privacy.messages import AnyAnswer, read_answer, to_bytes
from privacy.plan import Plan
from privacy.release import Hello
from server.channel import Channel, Lost, Node

PAUSE_SECONDS = 0.2
GREETINGS = 5
"""Into how many slices the time for hello is cut."""


@dataclass(frozen=True, slots=True)
class Member:
    """A region that said welcome: its node, its identity key (hex), its budget left per population."""

    node: Node
    identity: str
    budget_left: dict[str, str]


Upstream = dict[str, dict[str, tuple[int, int]]]
"""Messages and bytes that came from each region, by kind of request."""


@dataclass(slots=True)
class Cohort:
    """The regions of a run that are there; shrinks when one is lost."""

    plan: Plan
    run: str
    channel: Channel
    progress: Callable[[int, int], None]
    members: dict[str, Member] = field(default_factory=dict)
    refusals: list[AnyAnswer] = field(default_factory=list)
    lost: dict[str, Member] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    upstream: Upstream = field(default_factory=dict)

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of those who are there, sorted."""
        return tuple(sorted(self.members))

    @property
    def missing(self) -> tuple[str, ...]:
        """Names in the plan who are not there, sorted."""
        return tuple(sorted(set(self.plan.regions) - set(self.members)))

    def gather(self) -> None:
        """Says hello to nodes as they appear, until all regions answered or the time limit.

        Raises:
            QuorumMissed: too few are there in time. A refusal's own class: too few, because regions refused.
            RegionNameTaken: two nodes bear one region's name.
        """
        hello = to_bytes(Hello(run=self.run, plan=self.plan.digest))
        deadline = time.monotonic() + self.plan.federation.hello_seconds
        heard: set[Node] = set()
        while len(self.members) + len(self.refusals) < len(self.plan.regions):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            silent = [node for node in self.channel.nodes() if node not in heard]
            # A silent node is greeted again: one that hangs must not keep others from being seen.
            slice_seconds = min(left, self.plan.federation.hello_seconds / GREETINGS)
            replies = self.channel.ask(dict.fromkeys(silent, hello), slice_seconds)
            heard |= {node for node, reply in replies.items() if self._hear(node, reply)}
            self.progress(len(self.members), len(self.plan.regions))
            if not silent:
                time.sleep(min(PAUSE_SECONDS, left))
        self.require_quorum()

    @property
    def has_quorum(self) -> bool:
        """Whether the plan's quorum is there."""
        return len(self.members) >= self.plan.federation.quorum

    def require_quorum(self) -> None:
        """Raises QuorumMissed, or the class of the first refusal, below the plan's quorum."""
        if self.has_quorum:
            return
        needed, away = self.plan.federation.quorum, ", ".join(self.missing)
        who = f"{len(self.members)} of {needed} regions, missing {away}"
        codes = sorted({each.code for each in self.refusals if isinstance(each, Refused)})
        if codes:
            raise by_code(codes[0])(f"{who} ({', '.join(codes)} from a region)")
        raise QuorumMissed(who)

    def drop(self, region: str, reason: str) -> None:
        """Takes a region out of the run; `reasons` says why."""
        self.lost[region] = self.members.pop(region)
        self.reasons[region] = reason

    def count(self, region: str, kind: str, size: int) -> None:
        """Counts a message of `size` bytes that a region sent."""
        messages, total = self.upstream.setdefault(region, {}).get(kind, (0, 0))
        self.upstream[region][kind] = (messages + 1, total + size)

    def _hear(self, node: Node, reply: bytes | Lost) -> bool:
        """Takes note of an answer to hello; returns whether it was one."""
        if isinstance(reply, Lost):
            return False
        try:
            answer = read_answer(reply).answer
        except ReleaseInconsistent:
            return True
        if isinstance(answer, Refused | Unavailable):
            self.refusals.append(answer)
        elif isinstance(answer, Welcome) and answer.region in self.plan.regions:
            if answer.region in self.members:
                raise RegionNameTaken(f"region {answer.region}")
            self.count(answer.region, "hello", len(reply))
            left = {str(name): epsilon for name, epsilon in answer.budget_left.items()}
            self.members[answer.region] = Member(node, answer.identity, left)
        return True
