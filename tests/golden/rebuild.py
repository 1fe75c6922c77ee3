"""Rebuilds the golden files of our own formats: `python tests/golden/rebuild.py`, then read the difference.

A difference means that stored entries, signatures and approvals of older versions no longer hold: bump the
protocol. `merkle_certificate_transparency.json` is not ours and is never rebuilt.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foundation import canonical
from foundation.database import metadata, open_database
from privacy import ledger
from privacy.budget import Limit
from privacy.centre_notices import Closed, Refused, Unavailable, Welcome
from privacy.events import Charge
from privacy.messages import to_bytes
from privacy.plan import read_plan
from privacy.release import (
    Analyse,
    Close,
    Evaluate,
    Hello,
    HistogramQuery,
    Receipt,
    ReceiptCharge,
    Release,
    Train,
)

HERE = Path(__file__).parent
PLAN = HERE / "plan.toml"

CANONICAL: dict[str, Any] = {
    "empty": {},
    "order": {"b": 1, "a": 2, "B": 3, "aa": 4, "": 5},
    "values": [None, True, False, 0, -1, 9007199254740991, "", [], {}],
    "text": {"control": "\u0000\b\t\n\f\r\u001f\u007f", "escape": '"\\/', "wide": "é€😀"},
    "nested": {"a": [{"c": 1, "b": [[]]}]},
}

RUN, PLAN_DIGEST = "0123456789abcdef" * 2, "ab" * 32
SLOT: dict[str, Any] = {
    "run": RUN, "plan": PLAN_DIGEST, "round": 3, "step": 0, "attempt": 4, "cohort": ("eu", "sea", "us")
}  # fmt: skip
RECEIPT = Receipt(
    region="eu", run=RUN, plan=PLAN_DIGEST, request="cd" * 32, kind="train",
    charges=(ReceiptCharge(population="train", noise_multiplier="1.5", sampling_rate="0.02", count=20),),
    sealing="none", isolation="in process", words="ef" * 32, regional="01" * 32,
)  # fmt: skip
MESSAGES = {
    "hello": (Hello(run=RUN, plan=PLAN_DIGEST), b""),
    "analyse": (Analyse(**SLOT, queries=(HistogramQuery(bins=16),)), b""),
    "train": (Train(**SLOT), b"\x00\x00\x80\x3f"),
    "evaluate": (Evaluate(**SLOT), b"\xff"),
    "close": (Close(run=RUN, plan=PLAN_DIGEST, outcome="finished"), b""),
    "welcome": (
        Welcome(
            region="eu", identity="23" * 32, policy="45" * 32, budget_left={"train": "1.5", "holdout": "3.0"}
        ),
        b"",
    ),
    "release": (Release(receipt=RECEIPT, signature="67" * 64), b"\x01\x02"),
    "closed": (Closed(), b""),
    "refused": (Refused(code="FP-301"), b""),
    "unavailable": (Unavailable(), b""),
}  # fmt: skip
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def canonical_cases() -> list[dict[str, Any]]:
    """Returns name, value, bytes and digest of each value."""
    return [
        {
            "name": name,
            "value": value,
            "bytes": canonical.encode(value).hex(),
            "sha256": hashlib.sha256(canonical.encode(value)).hexdigest(),
        }
        for name, value in CANONICAL.items()
    ]


def message_frames() -> dict[str, str]:
    """Returns the frame of one message of each kind, as hex."""
    return {name: to_bytes(header, blob).hex() for name, (header, blob) in MESSAGES.items()}


def ledger_chain() -> list[dict[str, str]]:
    """Returns body and hash of each entry of a small ledger."""
    charges = [Charge("count", 20.0, 1.0, 1), Charge("training", 1.96, 0.02, 20)]
    engine = open_database(None)
    metadata.create_all(engine, tables=[ledger.entries, ledger.reservations])
    with engine.begin() as connection:
        ledger.reserve(
            connection, run=RUN, plan=PLAN_DIGEST, controller="shop", population="train",
            charges=charges, limit=Limit(3.0, 100_000), now=AT,
        )  # fmt: skip
        for each in charges:
            ledger.charge(connection, run=RUN, population="train", request="cd" * 32, charge=each, now=AT)
        rows = connection.execute(ledger.entries.select()).all()
    engine.dispose()
    return [{"body": row.body.decode(), "hash": row.hash.hex()} for row in rows]


def write(name: str, content: object) -> None:
    """Writes one golden file."""
    text = json.dumps(content, indent=1, ensure_ascii=True) + "\n"
    (HERE / name).write_text(text, encoding="utf-8")


def main() -> None:
    """Writes them all."""
    write("canonical.json", canonical_cases())
    write("messages.json", message_frames())
    write("ledger.json", ledger_chain())
    write("plan_digest.json", {"digest": read_plan(PLAN).digest})


if __name__ == "__main__":
    main()
