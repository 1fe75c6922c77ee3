"""Canonical bytes: equal values give equal bytes, so that digests and signatures mean something.

JSON with sorted ASCII keys and no floats (RFC 8785 restricted to the values where a plain encoder and
the RFC agree). Real numbers are written as decimal strings by `decimals`. Does not read JSON back
leniently: stored bytes are hashed as they are.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date, datetime
from typing import Any

LARGEST_INTEGER = 2**53 - 1

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def decimals(value: Any) -> Any:
    """Returns value with floats and dates as strings (shortest repr, ISO 8601), ready for `encode`."""
    match value:
        case bool() | int() | str() | None:
            return value
        case float():
            return repr(float(value))
        case datetime() | date():
            return value.isoformat()
        case dict():
            return {key: decimals(item) for key, item in value.items()}
        case list() | tuple():
            return [decimals(item) for item in value]
        case _:
            raise TypeError(f"no canonical form for {type(value).__name__}")


def encode(value: Any) -> bytes:
    """Returns canonical JSON of null, booleans, integers, strings, lists and string-keyed dicts.

    Raises:
        TypeError: a float, an integer beyond 2^53, a key that is not an ASCII string, or any other type.
    """
    _check(value)
    try:
        return _ENCODER.encode(value).encode()
    except UnicodeEncodeError:
        raise TypeError("canonical text is valid Unicode") from None


def digest(value: Any) -> str:
    """Returns the SHA-256 of `encode(value)` as 64 hex digits."""
    return hashlib.sha256(encode(value)).hexdigest()


def _check(value: Any) -> None:
    match value:
        case int() if abs(value) > LARGEST_INTEGER:
            raise TypeError("canonical integers are exact in a double")
        case bool() | int() | str() | None:
            return
        case dict():
            for key, item in value.items():
                if not (isinstance(key, str) and key.isascii()):
                    raise TypeError("canonical keys are ASCII strings")
                _check(item)
        case list() | tuple():
            for item in value:
                _check(item)
        case _:
            raise TypeError(f"no canonical form for {type(value).__name__}")
