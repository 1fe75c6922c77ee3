"""The courier and the ClientApp carry bytes; what goes wrong behind them leaves as one notice."""

from __future__ import annotations

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from client.app import client_app
from client.courier import carry
from foundation.wire import FRAME, RECORD
from privacy.centre_notices import Unavailable
from privacy.messages import to_bytes

UNAVAILABLE = to_bytes(Unavailable())
ROW = "SECRET-ROW"


class Answering:
    """A link that gives one answer, or fails."""

    def __init__(self, answer):
        self.given, self.asked = answer, []

    def answer(self, frame):
        """Keeps what was asked."""
        self.asked.append(frame)
        if isinstance(self.given, BaseException):
            raise self.given
        return self.given


@pytest.fixture
def reply_of(monkeypatch):
    for name, value in (("_task_id", 1), ("_run_id", 1), ("_node_id", 1)):
        monkeypatch.setattr(TaskIdentity, name, value)

    def asked(link, content, link_of=None):
        app = client_app((lambda _: link) if link_of is None else link_of)
        message = Message(RecordDict({RECORD: ConfigRecord({FRAME: content})}), 2, "query")
        context = Context(run_id=1, node_id=2, node_config={}, state=RecordDict(), run_config={})
        return app(message, context)

    return asked


def test_an_answers_bytes_are_carried_as_they_are():
    link = Answering(b"\0sealed\xff")
    assert carry(lambda: link.answer(b"frame")) == b"\0sealed\xff"
    assert link.asked == [b"frame"]


@pytest.mark.parametrize("error", [ValueError(ROW), OSError(ROW), MemoryError(ROW), KeyError(ROW)])
def test_a_link_that_fails_is_unavailable(error):
    assert carry(lambda: Answering(error).answer(b"")) == UNAVAILABLE


def test_what_is_meant_to_end_the_process_is_not_held_up():
    with pytest.raises(KeyboardInterrupt):
        carry(lambda: Answering(KeyboardInterrupt()).answer(b""))


def test_a_reply_is_one_record_with_one_field(reply_of):
    reply = reply_of(Answering(b"sealed"), b"frame")
    assert not reply.has_error()
    assert list(reply.content) == [RECORD]
    assert dict(reply.content.config_records[RECORD]) == {FRAME: b"sealed"}


@pytest.mark.parametrize("error", [ValueError(ROW), RuntimeError(ROW)])
def test_an_error_in_the_link_never_reaches_flower_as_text(reply_of, error, caplog, capfd):
    reply = reply_of(Answering(error), b"frame")
    assert not reply.has_error()
    assert reply.content.config_records[RECORD][FRAME] == UNAVAILABLE
    assert ROW not in str(reply.content) + str(reply.metadata) + caplog.text + "".join(capfd.readouterr())


def test_a_link_that_cannot_be_made_is_unavailable_too(reply_of, caplog, capfd):
    def no_link(_):
        raise ValueError(ROW)

    reply = reply_of(None, b"frame", no_link)
    assert not reply.has_error()
    assert reply.content.config_records[RECORD][FRAME] == UNAVAILABLE
    assert ROW not in str(reply.content) + str(reply.metadata) + caplog.text + "".join(capfd.readouterr())


def test_a_message_without_the_record_is_unavailable(reply_of, monkeypatch):
    monkeypatch.setattr("client.app.RECORD", "another")
    reply = reply_of(Answering(b"sealed"), b"frame")
    assert not reply.has_error()
    assert reply.content.config_records["another"][FRAME] == UNAVAILABLE


@pytest.mark.parametrize("content", ["text", 7, [b"a", b"b"]])
def test_a_frame_that_is_not_bytes_is_asked_as_an_empty_one(reply_of, content):
    link = Answering(b"refused")
    reply_of(link, content)
    assert link.asked == [b""]


@pytest.mark.usefixtures("reply_of")
def test_nodes_keep_no_state():
    app = client_app(lambda _: Answering(b"sealed"))
    message = Message(RecordDict({RECORD: ConfigRecord({FRAME: b"frame"})}), 2, "query")
    context = Context(run_id=1, node_id=2, node_config={}, state=RecordDict(), run_config={})
    app(message, context)
    assert len(context.state) == 0
