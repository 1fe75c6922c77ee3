"""Real vectors as words of a public grid, so that sums are exact and wrap as the mask needs.

Noise is added before a value is put on the grid, so rounding is post-processing. Values beyond the
largest that a cohort can add up without wrapping are clamped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foundation import require

Words = NDArray[np.uint32] | NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Grid:
    """Step size in the value's unit, bits of a word, and the most regions that may be summed."""

    step: float
    word_bits: Literal[32, 64]
    regions: int

    def __post_init__(self) -> None:
        require.positive(step=self.step, regions=self.regions)

    @property
    def largest(self) -> int:
        """Largest magnitude of one region's integer: floor((2^(w-1) - 1) / regions)."""
        return int((1 << (self.word_bits - 1)) - 1) // self.regions

    @property
    def unsigned(self) -> np.dtype[np.unsignedinteger]:
        """Little-endian word type on the wire."""
        return np.dtype(f"<u{self.word_bits // 8}")


def to_words(values: NDArray[np.floating], grid: Grid) -> Words:
    """Returns values / step rounded to nearest, clamped, in two's complement.

    Raises:
        ValueError: a value is not finite.
    """
    if not np.isfinite(values).all():
        raise ValueError("values must be finite")
    with np.errstate(over="ignore"):
        scaled = np.asarray(values, dtype=np.float64) / grid.step
    bound = np.nextafter(float(grid.largest), 0.0)
    integers = np.rint(np.clip(scaled, -bound, bound)).astype(np.int64)
    return integers.astype(f"<i{grid.word_bits // 8}").view(grid.unsigned)


def from_words(words: Words, grid: Grid) -> NDArray[np.float64]:
    """Returns the values of summed words, in the unit of step."""
    signed = np.ascontiguousarray(words, dtype=grid.unsigned).view(f"<i{grid.word_bits // 8}")
    return signed.astype(np.float64) * grid.step


def add(vectors: list[Words], grid: Grid) -> Words:
    """Returns the sum of word vectors modulo 2^word_bits.

    Raises:
        ValueError: more vectors than the grid was made for, or none.
    """
    if not 1 <= len(vectors) <= grid.regions:
        raise ValueError(f"the grid sums 1 to {grid.regions} vectors, got {len(vectors)}")
    total = np.zeros_like(vectors[0])
    for vector in vectors:
        total = total + vector
    return total
