"""The scale of inputs from released histograms: post-processing of noised counts, then per-row arithmetic.

The coordinator turns summed histograms into a few numbers per input; a region applies them to its rows.
Neither step looks at other people's rows. Inputs are positions in [0, 1] between public bounds.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Mode = Literal["quantile", "standard"]

LARGEST_DEVIATIONS = 4.0
_SMALLEST_DEVIATION = 1e-3


def value_count(mode: Mode, inputs: int, bins: int) -> int:
    """Returns how many numbers describe the scale of `inputs` inputs."""
    return inputs * (bins + 1 if mode == "quantile" else 2)


def histogram_rows(positions: NDArray[np.float32], bins: int) -> NDArray[np.float32]:
    """Returns one-hot histograms, float32 (n, inputs * bins), of positions (n, inputs) in [0, 1].

    Each row has L2 norm sqrt(inputs).
    """
    people, inputs = positions.shape
    places = np.minimum((positions * bins).astype(np.int64), bins - 1) + np.arange(inputs) * bins
    rows = np.zeros((people, inputs * bins), dtype=np.float32)
    rows[np.arange(people)[:, None], places] = 1
    return rows


def from_histograms(mode: Mode, counts: NDArray[np.float64]) -> NDArray[np.float32]:
    """Returns the numbers of the scale, flat float32, from noised counts of shape (inputs, bins).

    Negative counts are noise and are read as zero; an input without any count is read as uniform.
    """
    shares = np.maximum(counts, 0.0)
    totals = shares.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, shares / np.where(totals > 0, totals, 1.0), 1 / counts.shape[1])
    if mode == "quantile":
        values = np.concatenate((np.zeros((len(shares), 1)), np.cumsum(shares, axis=1)), axis=1)
    else:
        middles = (np.arange(counts.shape[1]) + 0.5) / counts.shape[1]
        means = shares @ middles
        variances = shares @ middles**2 - means**2
        values = np.stack((means, np.sqrt(np.maximum(variances, _SMALLEST_DEVIATION**2))), axis=1)
    return values.astype(np.float32).ravel()


def apply(mode: Mode, values: NDArray[np.float32], positions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns normalised inputs, float32 (n, inputs): in [-1, 1] (quantile) or +-4 deviations (standard)."""
    table = values.reshape(positions.shape[1], -1)
    if mode == "standard":
        scaled = (positions - table[:, 0]) / np.maximum(table[:, 1], _SMALLEST_DEVIATION)
        return np.clip(scaled, -LARGEST_DEVIATIONS, LARGEST_DEVIATIONS).astype(np.float32)
    edges = np.linspace(0, 1, table.shape[1])
    columns = [2 * np.interp(positions[:, i], edges, row) - 1 for i, row in enumerate(table)]
    return np.stack(columns, axis=1).astype(np.float32) if columns else positions
