"""Bounded contributions of training people to an analyse release: histograms of every numeric input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privacy.clipping import BoundedSum, clipped_sum
from privacy.layout import release_norm
from privacy.plan import Plan
from profiles.normalisation import histogram_rows

CHUNK = 4096


def histograms(plan: Plan, positions: NDArray[np.float32]) -> BoundedSum:
    """Returns the summed one-hot histograms, float64 (inputs * bins,), of positions (n, inputs) in [0, 1]."""
    bins, norm = plan.normalisation.bins, release_norm(plan, "analyse")
    chunks = [positions[start : start + CHUNK] for start in range(0, max(1, len(positions)), CHUNK)]
    sums = [clipped_sum(histogram_rows(chunk, bins), norm) for chunk in chunks]
    total = np.sum([each.values for each in sums], axis=0)
    return BoundedSum(total, norm, sum(each.unusable for each in sums))
