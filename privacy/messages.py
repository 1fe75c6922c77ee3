"""Requests and answers as bytes: a length, a canonical JSON header, and one blob.

    4 bytes big-endian header length | header | blob

The request digest is SHA-256 over these bytes, so it covers every field and the blob. Anything that is not
exactly one member of the closed sets is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from foundation import canonical
from foundation.errors import FedprofileError, ReleaseInconsistent, RequestUnknown
from privacy.centre_notices import Closed, Refused, Unavailable, Welcome
from privacy.release import Analyse, Close, Evaluate, Hello, Release, Train

Header = TypeVar("Header", bound=BaseModel)

MOST_HEADER_BYTES = 1 << 16
MOST_BLOB_BYTES = 1 << 28
_LENGTH_BYTES = 4

AnyRequest: TypeAlias = Hello | Analyse | Train | Evaluate | Close
AnyAnswer: TypeAlias = Welcome | Release | Closed | Refused | Unavailable

_REQUESTS: TypeAdapter[AnyRequest] = TypeAdapter(Annotated[AnyRequest, Field(discriminator="kind")])
_ANSWERS: TypeAdapter[AnyAnswer] = TypeAdapter(Annotated[AnyAnswer, Field(discriminator="kind")])


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with its blob and the digest of the bytes that carried it."""

    request: AnyRequest
    blob: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer with its blob."""

    answer: AnyAnswer
    blob: bytes


def to_bytes(header: BaseModel, blob: bytes = b"") -> bytes:
    """Returns the frame of a request or answer."""
    text = canonical.encode(header.model_dump(mode="json"))
    return len(text).to_bytes(_LENGTH_BYTES, "big") + text + blob


def read_request(frame: bytes) -> Asked:
    """Returns the request in frame.

    Raises:
        RequestUnknown: it is not one of the closed set, or is too large.
    """
    header, blob = _parsed(frame, _REQUESTS, RequestUnknown("a request was not understood"))
    return Asked(header, blob, hashlib.sha256(frame).hexdigest())


def read_answer(frame: bytes) -> Answered:
    """Returns the answer in frame.

    Raises:
        ReleaseInconsistent: it is not one of the closed set, or is too large.
    """
    return Answered(*_parsed(frame, _ANSWERS, ReleaseInconsistent("a region's answer was not understood")))


def _parsed(frame: bytes, members: TypeAdapter[Header], refusal: FedprofileError) -> tuple[Header, bytes]:
    """Returns the one member whose frame this is, byte for byte; raises refusal for anything else."""
    try:
        header, blob = _split(frame)
        member = members.validate_python(header)
        exact = to_bytes(member, blob) == frame
    except (ValueError, TypeError, RecursionError, ValidationError):
        raise refusal from None
    if not exact:
        raise refusal
    return member, blob


def _split(frame: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(frame[:_LENGTH_BYTES], "big")
    text, blob = frame[_LENGTH_BYTES : _LENGTH_BYTES + length], frame[_LENGTH_BYTES + length :]
    if not 0 < length <= MOST_HEADER_BYTES or len(text) != length or len(blob) > MOST_BLOB_BYTES:
        raise ValueError("sizes")
    header = json.loads(text)
    if not isinstance(header, dict):
        raise TypeError("not an object")
    return header, blob
