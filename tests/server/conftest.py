"""A coordinator's world without Flower: regions that keep the repeat rule, and a channel with faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.receipts import receipted
from foundation.keys import RegionKeys
from privacy.centre_notices import Closed, Refused, Welcome
from privacy.fixed_point import to_words
from privacy.layout import release_grid, release_shape
from privacy.messages import Asked, read_request, to_bytes
from privacy.plan import Plan
from privacy.release import Close, Hello
from server import checkpoint
from server.channel import Lost
from server.checkpoint import Journal
from server.rounds import Run

RUN = "ab" * 16
POLICY_DIGEST = "0" * 64


def changed(plan: Plan, **tables: dict[str, object]) -> Plan:
    """Returns the plan with some keys of some tables changed, validated anew."""
    stated = plan.model_dump()
    for table, keys in tables.items():
        stated[table] = {**stated[table], **keys}
    return Plan.model_validate(stated)


@dataclass
class FakeRegion:
    """Answers like a vault, from no rows: values depend on its name, the round and the model alone.

    `charged` lists every slot that got fresh values, in order.
    """

    name: str
    plan: Plan
    keys: RegionKeys
    sealed: dict[tuple[object, ...], tuple[str, bytes]] = field(default_factory=dict)
    charged: list[tuple[object, ...]] = field(default_factory=list)
    refuses: str | None = None

    def answer(self, frame: bytes) -> bytes:
        """Returns the answer to any request."""
        asked = read_request(frame)
        if self.refuses is not None:
            return to_bytes(Refused(code=self.refuses))
        if isinstance(asked.request, Hello):
            return to_bytes(self.welcome())
        return to_bytes(Closed()) if isinstance(asked.request, Close) else self._release(asked)

    def welcome(self) -> Welcome:
        """Returns the answer to hello."""
        return Welcome(
            region=self.name, identity=self.keys.public, policy=POLICY_DIGEST, budget_left={"train": "1.0"}
        )

    def values(self, asked: Asked) -> np.ndarray:
        """Returns what the region contributes, in the shape of the release."""
        shape = release_shape(self.plan, asked.request.kind)
        seed = [*self.name.encode(), asked.request.round, *asked.blob[-20:]]
        return np.random.default_rng(seed).normal(30 if asked.request.kind == "evaluate" else 0.1, 1, shape)

    def released(self, asked: Asked, words: bytes | None = None) -> bytes:
        """Returns a signed release of words, or of the region's values."""
        if words is None:
            grid = release_grid(self.plan, asked.request.kind, len(asked.request.cohort))
            words = to_words(self.values(asked).ravel(), grid).tobytes()
        return receipted(
            asked, words, region=self.name, keys=self.keys, people=None, charge=None, sealing="none"
        ).answer

    def _release(self, asked: Asked) -> bytes:
        request = asked.request
        slot = (request.run, request.round, request.step, request.attempt, request.kind)
        digest, answer = self.sealed.get(slot, (None, b""))
        if digest is None:
            self.charged.append(slot)
            self.sealed[slot] = asked.digest, self.released(asked)
            return self.sealed[slot][1]
        return answer if digest == asked.digest else to_bytes(Refused(code="FP-306"))


@dataclass
class FakeChannel:
    """Hands frames to regions at once; `fault(region, request)` may return another reply, or Lost."""

    regions: dict[int, FakeRegion]
    fault: Callable[[FakeRegion, Asked], bytes | Lost | None] = lambda _region, _asked: None
    asked: list[tuple[str, object]] = field(default_factory=list)

    def nodes(self) -> list[int]:
        """Returns all nodes."""
        return list(self.regions)

    def ask(self, frames: dict[int, bytes], seconds: float) -> dict[int, bytes | Lost]:
        """Returns every node's reply at once."""
        assert seconds > 0
        return {node: self._reply(self.regions[node], frame) for node, frame in frames.items()}

    def _reply(self, region: FakeRegion, frame: bytes) -> bytes | Lost:
        asked = read_request(frame)
        self.asked.append((region.name, asked.request))
        instead = self.fault(region, asked)
        return region.answer(frame) if instead is None else instead


@pytest.fixture
def world(small, tmp_path):
    """A plan with short limits, fake regions of it, and ways to begin and resume a run."""
    plan = changed(small.plan, federation={"hello_seconds": 0.3, "round_seconds": 1.0})

    def regions(of=plan):
        made = {}
        for node, name in enumerate(sorted(of.regions), start=2):
            made[node] = FakeRegion(name, of, RegionKeys(Ed25519PrivateKey.generate(), bytes(32)))
        return made

    def initial(of=plan):
        return np.zeros(release_shape(of, "train"), dtype=np.float32)

    def go(channel, folder=tmp_path / "run", of=plan, progress=lambda *_: None):
        """Begins a run in folder, or resumes the one there, and runs it to its end."""
        if not (folder / checkpoint.JOURNAL).is_file():
            folder.mkdir(parents=True)
            checkpoint.write_state(folder, Journal(run=RUN, plan=of.digest))
        journal, values = checkpoint.read(folder)
        return Run(of, folder, channel, progress, journal, values).go(initial(of))

    return SimpleNamespace(
        plan=plan, run=RUN, regions=regions, channel=FakeChannel, go=go, changed=changed, initial=initial
    )
