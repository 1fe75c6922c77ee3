"""A Flower federation in this process: the unchanged ServerApp and ClientApps on a grid without Ray.

Every message makes the round trip through protobuf, so what Flower could not carry fails here too. Faults
come on demand: a node that is late, that loses messages, or that crashes. Flower's private names are used in
this module only (flwr 1.41); Flower's run id and node id are process-wide, so one federation at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

RUN_ID = 1
SERVER_NODE = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong at a node from its message number `after` on: nothing, late, lost or crash."""

    kind: Literal["none", "late", "lost", "crash"] = "none"
    after: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class LocalGrid(Grid):
    """Runs each node's ClientApp in a thread; node ids count from 2."""

    app: ClientApp
    contexts: dict[int, Context]
    faults: dict[int, Fault] = field(default_factory=dict)
    _pool: ThreadPoolExecutor = field(default_factory=ThreadPoolExecutor)
    _pending: dict[str, Future[Message | None]] = field(default_factory=dict)
    _received: dict[int, int] = field(default_factory=dict)
    _run: Run = field(default_factory=lambda: Run.create_empty(run_id=RUN_ID))

    def set_run(self, run: Run) -> None:
        """Keeps Flower's run."""
        self._run = run

    @property
    def run(self) -> Run:
        """Flower's run; ours has its own id."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Returns a message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Returns all nodes."""
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hands messages to their nodes and returns their ids."""
        ids = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = uuid4().hex
            carried = _carried(message)
            self._pending[carried.metadata.message_id] = self._pool.submit(self._handle, carried)
            ids.append(carried.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Returns the replies that are there."""
        done = [each for each in message_ids if each in self._pending and self._pending[each].done()]
        replies = [self._pending.pop(each).result() for each in done]
        return [reply for reply in replies if reply is not None]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Pushes, then polls until all replies are there or the time is over."""
        waiting, replies = set(self.push_messages(messages)), list[Message]()
        deadline = time.monotonic() + (timeout if timeout is not None else float("inf"))
        while waiting and time.monotonic() < deadline:
            got = list(self.pull_messages(waiting))
            replies += got
            waiting -= {each.metadata.reply_to_message_id for each in got}
            time.sleep(0.001)
        return replies

    def shut_down(self) -> None:
        """Ends the threads; a late node's answer is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _handle(self, message: Message) -> Message | None:
        node = message.metadata.dst_node_id
        fault, number = self.faults.get(node, Fault()), self._received.get(node, 0)
        self._received[node] = number + 1
        kind = fault.kind if number >= fault.after else "none"
        if kind == "lost":
            return None
        if kind == "crash":
            return Message(
                Error(ErrorCode.CLIENT_APP_CRASHED, "the node crashed on demand"), reply_to=message
            )
        if kind == "late":
            time.sleep(fault.seconds)
        reply = self.app(message, self.contexts[node])
        reply.metadata.__dict__["_message_id"] = uuid4().hex
        return _carried(reply)


def federate(
    server: ServerApp,
    client: ClientApp,
    regions: Iterable[str],
    *,
    faults: dict[str, Fault] | None = None,
) -> None:
    """Runs server against one node per region (node_config region=NAME) until it returns or raises."""
    with _one_at_a_time:
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, RUN_ID, SERVER_NODE
        names = dict(enumerate(regions, start=SERVER_NODE + 1))
        contexts = {node: _context(node, {"region": name}) for node, name in names.items()}
        wanted = {node: (faults or {}).get(name, Fault()) for node, name in names.items()}
        grid = LocalGrid(client, contexts, wanted)
        try:
            server(grid, _context(SERVER_NODE, {}))
        finally:
            grid.shut_down()


_one_at_a_time = threading.Lock()


def _context(node: int, config: dict[str, str]) -> Context:
    return Context(run_id=RUN_ID, node_id=node, node_config=dict(config), state=RecordDict(), run_config={})


def _carried(message: Message) -> Message:
    return message_from_proto(ProtoMessage.FromString(message_to_proto(message).SerializeToString()))
