"""Who may be processed for a purpose: a lawful basis, consent records, and one judgement.

Where consent is the basis, the newest record must be `given` or `renewed` and not expired. Every other
basis permits unless the person objected, opted out or withdrew and has not given consent since. No basis
permits nobody. Does not read records (the store does) and keeps none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foundation.errors import NoLawfulBasis

BasisKind = Literal[
    "consent", "contract", "legitimate_interests", "public_task", "legal_obligation", "vital_interests"
]


class ConsentState(StrEnum):
    """States of a consent record."""

    REQUESTED = "requested"
    DEFERRED = "deferred"
    GIVEN = "given"
    REFUSED = "refused"
    RENEWED = "renewed"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    TERMINATED = "terminated"
    INVALIDATED = "invalidated"
    OBJECTED = "objected"
    OPTED_OUT = "opted_out"


PERMITTING: frozenset[ConsentState] = frozenset({ConsentState.GIVEN, ConsentState.RENEWED})
STOPPING: frozenset[ConsentState] = frozenset(
    {ConsentState.OBJECTED, ConsentState.OPTED_OUT, ConsentState.WITHDRAWN}
)


@dataclass(frozen=True, slots=True)
class LawfulBasis:
    """What a region rests a processing purpose on; `reference` names its record of the assessment."""

    purpose: str
    kind: BasisKind
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """One change of one person's consent for one purpose; times are aware."""

    subject: str
    state: ConsentState
    at: datetime
    expires: datetime | None = None


def permitted(
    subjects: NDArray[np.str_],
    basis: LawfulBasis | None,
    records: Iterable[ConsentRecord],
    as_of: datetime,
    erased: AbstractSet[str] = frozenset(),
) -> NDArray[np.bool_]:
    """Returns bool (n,): which subjects may be processed at as_of, in the order of subjects.

    | no record -> consent: no, other bases: yes | a record after as_of -> ignored |
    | two records of one moment -> the one that permits less decides | expires <= as_of -> expired |
    | erased -> never |

    Raises:
        NoLawfulBasis: basis is None.
    """
    if basis is None:
        raise NoLawfulBasis("no lawful basis is recorded for this purpose")
    histories = _histories(records, as_of)
    judge = _consents if basis.kind == "consent" else _does_not_object
    return np.fromiter(
        (
            subject not in erased and judge(histories.get(subject, []), as_of)
            for subject in map(str, subjects)
        ),
        dtype=np.bool_,
        count=len(subjects),
    )


def _histories(records: Iterable[ConsentRecord], as_of: datetime) -> dict[str, list[ConsentRecord]]:
    """Returns each subject's records up to as_of, oldest first; at one moment the permitting ones first."""
    histories: defaultdict[str, list[ConsentRecord]] = defaultdict(list)
    for record in records:
        if record.at <= as_of:
            histories[record.subject].append(record)
    for history in histories.values():
        history.sort(key=lambda record: (record.at, not _permits(record, as_of)))
    return histories


def _permits(record: ConsentRecord, as_of: datetime) -> bool:
    return record.state in PERMITTING and (record.expires is None or as_of < record.expires)


def _consents(history: list[ConsentRecord], as_of: datetime) -> bool:
    return len(history) > 0 and _permits(history[-1], as_of)


def _does_not_object(history: list[ConsentRecord], as_of: datetime) -> bool:
    stopped = False
    for record in history:
        if record.state in STOPPING:
            stopped = True
        elif _permits(record, as_of):
            stopped = False
    return not stopped
