"""AUC, its interval and calibration from released score histograms; post-processing of noised counts.

Counts are not truncated at zero for the estimate: that would bias the AUC low. The interval comes from
simulating both the sampling of people and the released noise. Does not see a score or a label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.layout import POOLED, evaluation_blocks, release_norm, score_middles
from privacy.plan import Plan

SIMULATIONS = 2000
LEVEL = 0.95
LEAST_CLASS = 10.0
"""Below this many people of one label (noised), no AUC is told."""


@dataclass(frozen=True, slots=True)
class Told:
    """An AUC with its 95 % interval, or why there is none."""

    auc: float | None
    interval: tuple[float, float] | None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of the reliability plot: middle score, noised rate of label 1, noised count."""

    score: float
    rate: float
    count: float


@dataclass(frozen=True, slots=True)
class TaskEvaluation:
    """What one evaluation release tells about one task."""

    pooled: Told
    by_region: dict[str, Told]
    calibration_error: float
    reliability: tuple[Bin, ...]


def evaluate(
    plan: Plan, counts: NDArray[np.float64], regions: tuple[str, ...], generator: np.random.Generator
) -> dict[str, TaskEvaluation]:
    """Returns an evaluation per task from summed counts of shape (blocks, tasks, 2, bins).

    `regions` are those of the cohort. The generator drives the simulated intervals only.
    """
    return {task: _task(plan, counts[:, place], regions, generator) for place, task in enumerate(plan.tasks)}


def auc(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the AUC of histograms (..., 2 labels, bins), ties inside a bin counted half."""
    negatives, positives = counts[..., 0, :], counts[..., 1, :]
    below = np.cumsum(negatives, axis=-1) - negatives / 2
    pairs = negatives.sum(axis=-1) * positives.sum(axis=-1)
    return np.asarray((positives * below).sum(axis=-1) / pairs)


def _task(
    plan: Plan, blocks: NDArray[np.float64], regions: tuple[str, ...], generator: np.random.Generator
) -> TaskEvaluation:
    deviation = plan.evaluation.noise_multiplier * release_norm(plan, "evaluate")
    names = evaluation_blocks(plan)
    noises = {name: _noises(plan, name, regions) for name in names}
    alone = {
        name: _told(blocks[place], deviation * noises[name] ** 0.5, generator)
        for place, name in enumerate(names)
        if name != POOLED and name in regions
    }
    too_small = Told(None, None, f"below {plan.evaluation.told_alone_at} hold-out people: pooled only")
    away = Told(None, None, "did not take part in the evaluation")
    everyone = blocks.sum(axis=0)
    rates, error = _reliability(plan, everyone, deviation * (2 * sum(noises.values())) ** 0.5)
    return TaskEvaluation(
        pooled=_told(everyone, deviation * sum(noises.values()) ** 0.5, generator),
        by_region={
            name: alone.get(name, too_small if name in regions else away) for name in sorted(plan.regions)
        },
        calibration_error=error,
        reliability=rates,
    )


def _noises(plan: Plan, block: str, regions: tuple[str, ...]) -> int:
    pooled = [name for name in regions if name not in plan.told_alone]
    return len(pooled) if block == POOLED else int(block in regions)


def _told(counts: NDArray[np.float64], deviation: float, generator: np.random.Generator) -> Told:
    if (counts.sum(axis=1) < LEAST_CLASS).any():
        return Told(None, None, "too few people of one label for an AUC")
    estimate = float(np.clip(auc(counts), 0, 1))
    smoothed = np.maximum(counts, 0.25)
    sizes = np.maximum(counts.sum(axis=1), 1).round().astype(int)
    drawn = [
        generator.multinomial(size, row / row.sum(), SIMULATIONS)
        for size, row in zip(sizes, smoothed, strict=True)
    ]
    repeats = np.stack(drawn, axis=1) + generator.normal(0, deviation, (SIMULATIONS, *counts.shape))
    spread = auc(repeats) - auc(smoothed)
    low, high = np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Told(estimate, (float(np.clip(estimate - high, 0, 1)), float(np.clip(estimate - low, 0, 1))))


def _reliability(plan: Plan, counts: NDArray[np.float64], deviation: float) -> tuple[tuple[Bin, ...], float]:
    """Returns the bins whose total stands out of its noise, of this deviation, and the calibration error."""
    totals, middles = counts.sum(axis=0), score_middles(plan)
    told = totals > LEAST_CLASS + 2 * deviation
    rates = np.clip(np.where(told, counts[1] / np.where(told, totals, 1.0), 0.0), 0, 1)
    bins = tuple(Bin(float(middles[i]), float(rates[i]), float(totals[i])) for i in np.flatnonzero(told))
    weights = totals[told] / max(float(totals[told].sum()), 1.0)
    return bins, float((weights * np.abs(rates[told] - middles[told])).sum())
