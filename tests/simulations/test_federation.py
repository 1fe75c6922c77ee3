"""A federation in one process: what Flower could not carry fails here too, and faults come on demand."""

from __future__ import annotations

import threading
import time

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp

from client.app import client_app
from server.app import GridChannel, server_app
from server.channel import Lost
from simulations import federation
from simulations.federation import Fault, federate

REGIONS = ("eu", "us")


class Echo:
    """Answers with the region's name and the frame."""

    def __init__(self, region):
        self.region = region

    def answer(self, frame):
        """Returns region:frame."""
        return self.region.encode() + b":" + frame


def echoes():
    return client_app(lambda context: Echo(context.node_config["region"]))


def ask(frames, *, faults=None, seconds=5.0, rounds=1, client=None):
    """Returns each round's answers, by node, of a federation whose server only asks."""
    answers = []

    def main(channel, _context):
        for number in range(rounds):
            frame = frames + b"%d" % number
            answers.append(channel.ask(dict.fromkeys(channel.nodes(), frame), seconds))

    federate(server_app(main), client or echoes(), REGIONS, faults=faults)
    return answers


def test_every_region_answers_for_itself():
    assert ask(b"q") == [{2: b"eu:q0", 3: b"us:q0"}]


def test_every_message_makes_the_round_trip_through_protobuf(monkeypatch):
    carried, real = [], federation._carried

    def watch(message):
        copy = real(message)
        carried.append((message.metadata.dst_node_id, copy is message, copy.content == message.content))
        return copy

    monkeypatch.setattr(federation, "_carried", watch)
    ask(b"q", rounds=2)
    assert sorted(carried) == sorted([(2, False, True), (3, False, True)] * 2 + [(1, False, True)] * 4)


@pytest.mark.parametrize("content", [object(), {"a": object()}, [1, "a"], None])
def test_content_that_flower_cannot_carry_fails(content):
    def unserialisable(grid, _context):
        record = ConfigRecord({"frame": b""})
        record.__dict__["_data"]["frame"] = content
        list(grid.push_messages([Message(RecordDict({"fedprofile": record}), 2, "query")]))

    app = ServerApp()
    app.main()(unserialisable)
    with pytest.raises((TypeError, ValueError, KeyError, AttributeError)):
        federate(app, echoes(), REGIONS)


def test_an_answer_with_unserialisable_content_fails():
    app = client_app(lambda _: Broken())
    with pytest.raises((TypeError, ValueError, KeyError)):
        ask(b"q", client=app)


class Broken:
    """A link whose answer is no bytes."""

    def answer(self, _frame):
        """Returns no bytes."""
        return object()


def test_a_link_that_raises_becomes_a_notice_without_its_text():
    class Leaky:
        """Fails with a row in its message."""

        def answer(self, _frame):
            """Fails."""
            raise RuntimeError("row of person-MARKER")

    ((two, _three),) = [each.values() for each in ask(b"q", client=client_app(lambda _: Leaky()))]
    assert b"unavailable" in two
    assert b"MARKER" not in two


@pytest.mark.parametrize("kind", ["lost", "crash"])
def test_a_lost_or_crashed_node_answers_up_to_its_fault(kind):
    first, second = ask(b"q", faults={"us": Fault(kind, after=1)}, rounds=2, seconds=0.3)
    assert first == {2: b"eu:q0", 3: b"us:q0"}
    assert second[2] == b"eu:q1"
    assert isinstance(second[3], Lost)


def test_a_crash_is_known_at_once_a_loss_at_the_deadline():
    for kind, quick in (("crash", True), ("lost", False)):
        begun = time.monotonic()
        ask(b"q", faults={"us": Fault(kind)}, seconds=0.5)
        assert (time.monotonic() - begun < 0.4) == quick


def test_a_late_answer_is_ignored_and_the_next_round_gets_its_own():
    first, second = ask(b"q", faults={"us": Fault("late", seconds=0.3)}, rounds=2, seconds=0.2)
    assert first == {2: b"eu:q0", 3: Lost("no answer in time")}
    assert second[2] == b"eu:q1"
    assert second[3] != b"us:q0"


def test_a_late_answer_within_the_deadline_counts():
    assert ask(b"q", faults={"us": Fault("late", seconds=0.1)}) == [{2: b"eu:q0", 3: b"us:q0"}]


def test_an_error_of_the_coordinator_comes_out():
    def main(_channel, _context):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        federate(server_app(main), echoes(), REGIONS)
    assert ask(b"q")[0][2] == b"eu:q0"  # and the next federation runs


def test_send_and_receive_gathers_all_replies_and_ends_at_its_timeout():
    seen = []

    def main(grid, _context):
        messages = [
            Message(RecordDict({"fedprofile": ConfigRecord({"frame": b"q"})}), node, "query")
            for node in grid.get_node_ids()
        ]
        seen.append(len(list(grid.send_and_receive(messages, timeout=0.5))))

    app = ServerApp()
    app.main()(main)
    federate(app, echoes(), REGIONS)
    federate(app, echoes(), REGIONS, faults={"us": Fault("lost")})
    assert seen == [2, 1]


def test_one_federation_at_a_time():
    running, most = [], []

    def main(channel, _context):
        running.append(1)
        most.append(len(running))
        GridChannel(channel.grid).ask({2: b"q"}, 5.0)
        running.pop()

    threads = [
        threading.Thread(target=federate, args=(server_app(main), echoes(), REGIONS)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]
