"""The courier: hands a request's bytes to the vault and the answer's bytes back. Sees neither rows nor keys.

A vault that fails becomes the notice `unavailable`; no text of an error ever leaves. Sets no deadline: the
coordinator has its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from privacy.centre_notices import Unavailable
from privacy.messages import to_bytes


class Link(Protocol):
    """The way to the vault: a call in this process, or a socket."""

    def answer(self, frame: bytes) -> bytes:
        """Returns the answer's bytes."""
        ...


def carry(ask: Callable[[], bytes]) -> bytes:
    """Returns the answer that ask gets from the vault, or `unavailable`."""
    try:
        return ask()
    except Exception:  # noqa: BLE001 - Flower would send the exception's text to the centre
        return to_bytes(Unavailable())
