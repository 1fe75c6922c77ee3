"""The repeat rule: one slot, one content, one answer, for ever.

A slot is (run, round, step, attempt, kind). The identical request gets the bytes that it got before; any
other content in the slot is refused; a slot that was charged and lost its answer is refused. The unsealed
vector and its noise are never stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, select

from client.tables import requests
from foundation.errors import RequestConflict, RequestSpent
from privacy.release import Analyse, Evaluate, Train

State = Literal["charged", "sealed", "refused", "lost"]


@dataclass(frozen=True, slots=True)
class Slot:
    """The identity of one release request."""

    run: str
    round: int
    step: int
    attempt: int
    kind: str

    @classmethod
    def of(cls, request: Analyse | Train | Evaluate) -> Slot:
        """The slot that a request is for."""
        return cls(request.run, request.round, request.step, request.attempt, request.kind)

    @property
    def fields(self) -> dict[str, Any]:
        """As columns, and as fields of a log entry."""
        return {
            "run": self.run,
            "round": self.round,
            "step": self.step,
            "attempt": self.attempt,
            "kind": self.kind,
        }


def repeated(connection: Connection, slot: Slot, digest: str) -> bytes | None:
    """Returns the bytes that the identical request got before; None where the slot is unused.

    Raises:
        RequestConflict: the slot was used by another content.
        RequestSpent: it was charged and its answer is lost.
    """
    row = connection.execute(select(requests).filter_by(**slot.fields)).one_or_none()
    if row is None:
        return None
    if row.digest != digest:
        raise RequestConflict(f"{slot.kind}, round {slot.round}, attempt {slot.attempt}")
    if row.answer is None:
        raise RequestSpent(f"{slot.kind}, round {slot.round}, attempt {slot.attempt}")
    return bytes(row.answer)


def record(
    connection: Connection,
    slot: Slot,
    digest: str,
    *,
    state: State,
    charge: int = 0,
    answer: bytes | None = None,
) -> None:
    """Records a slot's first use; `charge` is the ledger entry's number, 0 for none."""
    connection.execute(
        requests.insert().values(**slot.fields, digest=digest, state=state, charge=charge, answer=answer)
    )


def seal(connection: Connection, slot: Slot, *, answer: bytes, regional_receipt: bytes) -> None:
    """Stores the answer of a charged slot."""
    connection.execute(
        requests.update()
        .filter_by(**slot.fields)
        .values(state="sealed", answer=answer, regional_receipt=regional_receipt)
    )


def lose(connection: Connection, slot: Slot, *, answer: bytes) -> None:
    """Stores that a charged slot's release was lost, and what is answered in its place."""
    connection.execute(requests.update().filter_by(**slot.fields).values(state="lost", answer=answer))


def take_lost(connection: Connection) -> list[tuple[Slot, str, int]]:
    """Marks every charged slot without an answer as lost; returns slot, digest and charge of each."""
    rows = connection.execute(select(requests).filter_by(state="charged")).all()
    connection.execute(requests.update().filter_by(state="charged").values(state="lost"))
    return [(Slot(r.run, r.round, r.step, r.attempt, r.kind), r.digest, r.charge) for r in rows]
