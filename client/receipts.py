"""Receipts of a release: the one that travels, signed and public, and the one that stays.

The travelling receipt holds public parameters and a blinded digest of the regional one, drawn afresh each
time, so that equal eligible sets never look equal.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from client.eligible import People
from foundation import canonical
from foundation.keys import RegionKeys
from privacy.events import Charge
from privacy.messages import Asked, to_bytes
from privacy.release import Receipt, Release

NONCE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Receipts:
    """The release as it travels, and the regional receipt (nonce and body) that opens its digest."""

    answer: bytes
    regional: bytes


def receipted(
    asked: Asked,
    words: bytes,
    *,
    region: str,
    keys: RegionKeys,
    people: People | None,
    charge: tuple[str, Charge] | None,
    sealing: str,
) -> Receipts:
    """Returns the signed release of words, and what an auditor may open later.

    people is None, and so is charge (population, charge), where the region contributes nobody.
    """
    body = canonical.encode(
        {
            "request": asked.digest,
            "eligible": 0 if people is None else len(people.subjects),
            "eligible_set": None if people is None else people.commitment,
            "basis": None if people is None else people.basis,
        }
    )
    regional = secrets.token_bytes(NONCE_BYTES) + body
    receipt = Receipt.model_validate(
        {
            "region": region,
            **asked.request.model_dump(include={"run", "plan", "kind"}),
            "request": asked.digest,
            "charges": [] if charge is None else [_told(*charge)],
            "sealing": sealing,
            "isolation": "in process",
            "words": hashlib.sha256(words).hexdigest(),
            "regional": hashlib.sha256(regional).hexdigest(),
        }
    )
    signature = keys.sign(canonical.encode(receipt.model_dump(mode="json")))
    return Receipts(to_bytes(Release(receipt=receipt, signature=signature), words), regional)


def _told(population: str, charge: Charge) -> dict[str, str | int]:
    return {
        "population": population,
        "noise_multiplier": repr(charge.noise_multiplier),
        "sampling_rate": repr(charge.sampling_rate),
        "count": charge.count,
    }
