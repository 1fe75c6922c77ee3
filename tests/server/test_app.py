"""The channel over a Flower grid: deadlines of our own, failed nodes, late answers."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from flwr.app import ConfigRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from foundation.wire import FRAME, RECORD
from server.app import GridChannel
from server.channel import Lost

HELD = 0.15


@pytest.fixture(autouse=True)
def _identity(monkeypatch):
    """Flower's process-wide identity, without which no message can be made."""
    for name, value in {"task_id": 1, "run_id": 1, "node_id": 1}.items():
        monkeypatch.setattr(TaskIdentity, f"_{name}", value)


class FakeGrid:
    """A grid whose nodes answer after so many pulls, fail, or never answer."""

    def __init__(self, answers):
        self.answers, self.pulled, self.pushed = answers, 0, []

    def get_node_ids(self):
        """Returns all nodes."""
        return list(self.answers)

    def push_messages(self, messages):
        """Keeps messages and returns their ids."""
        self.pushed += list(messages)
        return [f"message-{message.metadata.dst_node_id}" for message in self.pushed]

    def pull_messages(self, ids):
        """Returns the replies that are due at this pull."""
        self.pulled += 1
        ready = [each for each in ids if self.pulled >= self.answers[int(each.split("-")[1])][0]]
        return [self.reply(each, self.answers[int(each.split("-")[1])][1]) for each in ready]

    def reply(self, name, content):
        """Returns a reply with content, or a failure where it is None."""
        return SimpleNamespace(
            metadata=SimpleNamespace(reply_to_message_id=name),
            has_error=lambda: content is None,
            content=content,
        )


def framed(frame):
    return RecordDict({RECORD: ConfigRecord({FRAME: frame})})


def ask(grid, seconds=HELD):
    begun = time.monotonic()
    channel = GridChannel(grid)
    return channel.ask(dict.fromkeys(channel.nodes(), b"asked"), seconds), time.monotonic() - begun


def test_answers_come_back_by_node_whatever_their_order():
    answers, seconds = ask(FakeGrid({2: (3, framed(b"two")), 3: (1, framed(b"three"))}), 5.0)
    assert answers == {2: b"two", 3: b"three"}
    assert seconds < 1.0


def test_a_node_that_never_answers_is_lost_at_the_deadline():
    answers, seconds = ask(FakeGrid({2: (1, framed(b"two")), 3: (10**9, framed(b""))}))
    assert answers == {2: b"two", 3: Lost("no answer in time")}
    assert HELD <= seconds < HELD + 0.35


@pytest.mark.parametrize(
    "content",
    [
        None,
        RecordDict(),
        RecordDict({RECORD: ConfigRecord()}),
        RecordDict({RECORD: ConfigRecord({FRAME: "text"})}),
    ],
    ids=["failed", "empty", "no frame", "text"],
)
def test_a_node_that_fails_or_sends_no_frame_is_lost_at_once(content):
    answers, seconds = ask(FakeGrid({2: (1, content)}), 5.0)
    assert isinstance(answers[2], Lost)
    assert seconds < 1.0


def test_every_frame_travels_as_one_bytes_field():
    grid = FakeGrid({2: (1, framed(b"two"))})
    ask(grid)
    (message,) = grid.pushed
    assert dict(message.content.config_records[RECORD]) == {FRAME: b"asked"}
    assert message.metadata.message_type == "query"


def test_nobody_asked_is_answered_at_once():
    answers, seconds = ask(FakeGrid({}), 5.0)
    assert answers == {}
    assert seconds < 1.0
