"""The coordinator's Flower ServerApp: a channel over the grid, and one run.

Polls with its own deadline (`push_messages`, `pull_messages`): Flower's own loops wait for ever or in steps
of three seconds. Everything else is in `server/rounds.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from foundation.wire import FRAME, RECORD
from server.channel import Channel, Lost, Node

QUERY = "query"
LEAST_PAUSE, MOST_PAUSE = 0.0005, 0.3
PATIENCE = 0.05
"""The pause between two looks, as a share of the time waited: an answer is seen at most so much late."""


@dataclass(frozen=True, slots=True)
class GridChannel:
    """Frames over a Flower grid."""

    grid: Grid

    def nodes(self) -> list[Node]:
        """Returns the ids of the connected nodes."""
        return list(self.grid.get_node_ids())

    def ask(self, frames: dict[Node, bytes], seconds: float) -> dict[Node, bytes | Lost]:
        """Returns each node's answer, or Lost after at most `seconds`."""
        begun = time.monotonic()
        deadline = begun + seconds
        pushed = self.grid.push_messages([_message(node, frame) for node, frame in frames.items()])
        waiting = dict(zip(pushed, frames, strict=True))
        answers: dict[Node, bytes | Lost] = {}
        while waiting and time.monotonic() < deadline:
            replies = list(self.grid.pull_messages(list(waiting)))
            for reply in replies:
                answers[waiting.pop(reply.metadata.reply_to_message_id)] = _frame(reply)
            if not replies:
                now = time.monotonic()
                pause = min(max(LEAST_PAUSE, PATIENCE * (now - begun)), MOST_PAUSE)
                time.sleep(min(pause, max(0.0, deadline - now)))
        return {node: answers.get(node, Lost("no answer in time")) for node in frames}


def server_app(main: Callable[[Channel, Context], None]) -> ServerApp:
    """Returns a ServerApp that gives main a channel over its grid."""
    app = ServerApp()

    @app.main()
    def run(grid: Grid, context: Context) -> None:
        main(GridChannel(grid), context)

    return app


def _message(node: Node, frame: bytes) -> Message:
    return Message(RecordDict({RECORD: ConfigRecord({FRAME: frame})}), dst_node_id=node, message_type=QUERY)


def _frame(reply: Message) -> bytes | Lost:
    if reply.has_error():
        return Lost("the node failed")
    record = reply.content.config_records.get(RECORD)
    frame = None if record is None else record.get(FRAME)
    return frame if isinstance(frame, bytes) else Lost("no frame")
