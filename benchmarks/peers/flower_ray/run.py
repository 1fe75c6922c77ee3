"""Empty federated rounds in Flower's Ray simulation: no training, no privacy, messages of a given size.

Polls as our coordinator does, so that Flower's own pauses between pulls do not count against it. Run by
`benchmarks/round_overhead.py` in an environment of its own; prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from importlib.metadata import version
from itertools import pairwise
from typing import Any

os.environ.update(
    {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
)

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

NODES = 3
PAUSE_SECONDS = 0.0005
ROUND_SECONDS = 60.0


def main() -> None:
    """Runs the rounds and prints what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--down", type=int, default=1_000, help="bytes of a request")
    parser.add_argument("--up", type=int, default=1_000, help="bytes of an answer")
    asked = parser.parse_args()
    ended: list[float] = []
    begun = time.monotonic()
    run_simulation(
        server_app=server_app(asked.rounds, asked.down, ended),
        client_app=client_app(asked.up),
        num_supernodes=NODES,
        backend_config=backend(),
    )
    rounds = [after - before for before, after in pairwise(ended)]
    result = {
        "start_seconds": ended[0] - begun,
        "round_ms": [1_000 * each for each in rounds],
        "versions": {name: version(name) for name in ("flwr", "ray")},
    }
    print(json.dumps(result), flush=True)


def backend() -> Any:
    """Returns Ray's settings: an actor for every node, no dashboard."""
    return {
        "init_args": {"num_cpus": NODES, "include_dashboard": False, "log_to_driver": False},
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    }


def server_app(rounds: int, down: int, ended: list[float]) -> ServerApp:
    """Returns a ServerApp that notes when each round ended; the first one starts Ray's actors."""
    app = ServerApp()

    @app.main()
    def run(grid: Grid, _context: Context) -> None:
        nodes: list[int] = []
        while len(nodes) < NODES:
            nodes = list(grid.get_node_ids())
        for number in range(rounds + 1):
            ask(grid, nodes, number.to_bytes(8, "big") + bytes(down - 8))
            ended.append(time.monotonic())

    return app


def ask(grid: Grid, nodes: list[int], frame: bytes) -> None:
    """Sends frame to each node and waits until all have answered."""
    waiting = set(
        grid.push_messages(
            Message(
                RecordDict({"frame": ConfigRecord({"frame": frame})}), dst_node_id=node, message_type="query"
            )
            for node in nodes
        )
    )
    deadline = time.monotonic() + ROUND_SECONDS
    while waiting:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(waiting)} nodes did not answer")
        replies = list(grid.pull_messages(list(waiting)))
        for reply in replies:
            if reply.has_error():
                raise RuntimeError(reply.error.reason)
            waiting.discard(reply.metadata.reply_to_message_id)
        if not replies:
            time.sleep(PAUSE_SECONDS)


def client_app(up: int) -> ClientApp:
    """Returns a ClientApp that answers at once with `up` bytes."""
    app = ClientApp()

    @app.query()
    def query(message: Message, _context: Context) -> Message:
        return Message(RecordDict({"frame": ConfigRecord({"frame": bytes(up)})}), reply_to=message)

    return app


if __name__ == "__main__":
    main()
