"""Who is held out: a property of one subject id and a constant, fixed for the folder's life.

Never a shuffle, a quota, or drawn per run: then one person's arrival would move others. A real region keys
the hash with its own secret; a simulation may ask for one of five folds of a public hash.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foundation.keys import keyed_hash
from privacy.plan import FOLDS

_SCALE = 2.0**-64


@dataclass(frozen=True, slots=True)
class KeyedShare:
    """Held out where HMAC(secret, id), read as a fraction, is below the plan's share."""

    secret: bytes

    name = "keyed"

    def held_out(self, subjects: NDArray[np.str_], share: float) -> NDArray[np.bool_]:
        """Returns bool (n,), true for hold-out people."""
        hashes = (keyed_hash(self.secret, "holdout", str(each))[:8] for each in subjects)
        return np.fromiter(
            (int.from_bytes(h, "big") * _SCALE < share for h in hashes), np.bool_, len(subjects)
        )


@dataclass(frozen=True, slots=True)
class PublicFold:
    """Held out where SHA-256("fold" + id) mod 5 is the fold; for simulations, share 0.2 only."""

    fold: int

    @property
    def name(self) -> str:
        """As the folder's fact."""
        return f"fold {self.fold}"

    def held_out(self, subjects: NDArray[np.str_], share: float) -> NDArray[np.bool_]:
        """Returns bool (n,), true for hold-out people.

        Raises:
            ValueError: the plan's share is not one fold.
        """
        if share != 1 / FOLDS:
            raise ValueError(f"a fold holds out {1 / FOLDS}, the plan {share}")
        hashes = (hashlib.sha256(b"fold" + str(each).encode()).digest() for each in subjects)
        return np.fromiter(
            (int.from_bytes(h, "big") % FOLDS == self.fold for h in hashes), np.bool_, len(subjects)
        )


HoldoutRule = KeyedShare | PublicFold
