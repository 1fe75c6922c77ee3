"""The region's Flower ClientApp: wraps bytes into records and nothing else.

Everything about people happens behind `link`. Code that the centre could replace guards nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.courier import Link, carry
from foundation.wire import FRAME, RECORD


def client_app(link_of: Callable[[Context], Link]) -> ClientApp:
    """Returns a ClientApp that answers queries through the link of its node's context."""
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        def ask() -> bytes:
            frame = message.content.config_records[RECORD][FRAME]
            return link_of(context).answer(frame if isinstance(frame, bytes) else b"")

        answer = carry(ask)
        return Message(RecordDict({RECORD: ConfigRecord({FRAME: answer})}), reply_to=message)

    return app
