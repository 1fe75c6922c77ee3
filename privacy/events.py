"""What a release costs, as plain data: the charges that the accountant composes.

Neighbouring relation everywhere: add or remove one data subject with all their rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from foundation import require

UNIT = "data subject"
RELATION = "add or remove one"

ChargeKind = Literal["count", "histograms", "training", "evaluation"]


@dataclass(frozen=True, slots=True)
class Charge:
    """`count` Gaussian releases of one bounded sum, each on a Poisson sample of rate `sampling_rate`.

    The noise multiplier is the standard deviation over the L2 bound of one data subject.
    """

    kind: ChargeKind
    noise_multiplier: float
    sampling_rate: float
    count: int

    def __post_init__(self) -> None:
        require.positive(noise_multiplier=self.noise_multiplier, count=self.count)
        require.probability(sampling_rate=self.sampling_rate)

    def times(self, count: int) -> Charge:
        """The same release, count times as often."""
        return replace(self, count=self.count * count)


def merged(charges: list[Charge]) -> list[Charge]:
    """Returns one charge per (noise multiplier, sampling rate), counts added: composition is cheap on few."""
    totals: dict[tuple[float, float], Charge] = {}
    for charge in charges:
        key = (charge.noise_multiplier, charge.sampling_rate)
        known = totals.get(key)
        totals[key] = charge if known is None else replace(known, count=known.count + charge.count)
    return [totals[key] for key in sorted(totals)]
