"""The seal around a noised vector, as an interface, and the identity that stands in for it.

A seal turns one region's words into words that open only in the sum over the cohort. `IdentitySeal` masks
nothing: what leaves is the region's own noised vector, private by its full local noise alone. Reports and
receipts say so (`sealing: none`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from privacy.fixed_point import Words


@dataclass(frozen=True, slots=True)
class SealContext:
    """What a mask must be bound to: the whole request and the cohort (identities sorted)."""

    request: str
    cohort: tuple[str, ...]


class Seal(Protocol):
    """Masks one vector for one context, once."""

    @property
    def name(self) -> str:
        """As receipts tell it."""
        ...

    def seal(self, words: Words, context: SealContext) -> Words:
        """Returns words of the same shape and type; their sum over the cohort is the sum of the inputs."""
        ...


@dataclass(frozen=True, slots=True)
class IdentitySeal:
    """No mask."""

    name: str = "none"

    def seal(self, words: Words, context: SealContext) -> Words:  # noqa: ARG002 - nothing to bind
        """Returns the words as they are."""
        return words
