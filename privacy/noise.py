"""Gaussian noise and Poisson samples from a cryptographic stream.

AES-128-CTR under a fresh random key gives uniform words; Box-Muller (1958) makes normals of them. A
predictable sample would void amplification, and one seed in two regions would be one noise in two regions,
so there is no seed: tests pass a key. Does not give the exact discrete Gaussian: normals are 64-bit floats.
"""

from __future__ import annotations

import math
import secrets

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from foundation import require
from privacy.clipping import BoundedSum

KEY_BYTES = 16
SPARSE_RATE = 0.1
_ODD_BITS = 52


class CryptographicStream:
    """An endless stream of random numbers that nobody can predict or repeat."""

    def __init__(self, key: bytes | None = None) -> None:
        key = secrets.token_bytes(KEY_BYTES) if key is None else key
        self._cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def words(self, count: int) -> NDArray[np.uint64]:
        """Returns count uniform 64-bit words."""
        return np.frombuffer(self._cipher.update(bytes(8 * count)), dtype="<u8")

    def uniforms(self, count: int) -> NDArray[np.float64]:
        """Returns count uniform numbers in (0, 1), never 0 or 1."""
        return ((self.words(count) >> np.uint64(64 - _ODD_BITS)).astype(np.float64) + 0.5) * 2.0**-_ODD_BITS

    def normals(self, count: int) -> NDArray[np.float64]:
        """Returns count independent standard normals (Box-Muller)."""
        half = (count + 1) // 2
        radius = np.sqrt(-2 * np.log(self.uniforms(half)))
        angle = 2 * math.pi * self.uniforms(half)
        return np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))[:count]

    def poisson_sample(self, population: int, rate: float) -> NDArray[np.int64]:
        """Returns the sorted indices of a Poisson sample: each of population independently with rate.

        | rate = 1 -> everyone | population = 0 -> nobody | small rate -> by geometric gaps, O(rate n) |
        """
        require.probability(rate=rate)
        if rate == 1:
            return np.arange(population)
        if rate >= SPARSE_RATE:
            return np.flatnonzero(self.uniforms(population) < rate)
        return self._sparse_sample(population, rate)

    def _sparse_sample(self, population: int, rate: float) -> NDArray[np.int64]:
        drawn = [np.zeros(0, dtype=np.int64)]
        last = -1
        while last < population:
            expected = rate * (population - last)
            draws = self.uniforms(int(expected + 6 * math.sqrt(expected)) + 10)
            gaps = 1 + np.floor(np.log(draws) / math.log1p(-rate))
            places = last + np.cumsum(np.minimum(gaps, population + 1)).astype(np.int64)
            drawn.append(places)
            last = int(places[-1])
        sample = np.concatenate(drawn)
        return sample[sample < population]


def noised(total: BoundedSum, noise_multiplier: float, stream: CryptographicStream) -> NDArray[np.float64]:
    """Returns total plus normal noise of standard deviation noise_multiplier * total.clipping_norm."""
    require.positive(noise_multiplier=noise_multiplier)
    scale = noise_multiplier * total.clipping_norm
    return total.values + scale * stream.normals(total.values.size)
