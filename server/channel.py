"""How the coordinator reaches regions: frames out, frames back, a deadline, and nothing endless."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

Node = int


@dataclass(frozen=True, slots=True)
class Lost:
    """No frame came back: the deadline passed, or the node failed."""

    reason: str


class Channel(Protocol):
    """Carries frames to nodes; `server/app.py` does it over a Flower grid."""

    def nodes(self) -> list[Node]:
        """Returns the nodes that are there now."""
        ...

    def ask(self, frames: dict[Node, bytes], seconds: float) -> dict[Node, bytes | Lost]:
        """Returns an answer, or that there is none, for every node asked, after at most `seconds`."""
        ...
