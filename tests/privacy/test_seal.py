"""The seal that masks nothing says so."""

from __future__ import annotations

import numpy as np

from privacy.seal import IdentitySeal, Seal, SealContext


def test_the_identity_seal_changes_nothing_and_is_called_none():
    seal: Seal = IdentitySeal()
    words = np.arange(5, dtype=np.uint64)
    assert (seal.seal(words, SealContext("ab" * 32, ("eu", "us"))) == words).all()
    assert seal.name == "none"
