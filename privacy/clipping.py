"""Bounded contributions: the bound travels with the sum, so that noise cannot be set for another number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foundation import require


@dataclass(frozen=True, slots=True)
class BoundedSum:
    """A sum over data subjects, each of L2 norm <= clipping_norm; float64 of shape (d,)."""

    values: NDArray[np.float64]
    clipping_norm: float
    unusable: int
    """Contributions that were not finite and were left out; never leaves the region."""


def clipped_sum(contributions: NDArray[np.floating], clipping_norm: float) -> BoundedSum:
    """Returns the sum of contributions of shape (n_subjects, d), one row per data subject, each clipped.

    | no subjects -> zeros | norm <= bound -> unchanged | norm > bound -> scaled to the bound |
    | norm = 0 -> unchanged | the norm is nan or infinite -> the row is zeroed and counted |
    """
    require.positive(clipping_norm=clipping_norm)
    rows = np.asarray(contributions, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        usable = np.asarray(np.isfinite(np.linalg.norm(rows, axis=1)))
    rows = np.where(usable[:, None], rows, 0.0)
    factors = clipping_norm / np.maximum(np.linalg.norm(rows, axis=1), clipping_norm)
    return BoundedSum(factors @ rows, clipping_norm, int((~usable).sum()))
