"""Sizes, bounds and grids of every release, from the plan alone: both sides of the border agree on them.

Shapes never depend on data. Blob of a train or evaluate request: float32, scale values then parameters.
"""

from __future__ import annotations

import hashlib
import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from privacy.fixed_point import Grid
from privacy.plan import Plan
from profiles.normalisation import value_count

ReleaseKind = Literal["analyse", "train", "evaluate"]

POOLED = "pooled"
"""The evaluation block that regions too small to be told alone share."""


def parameter_count(plan: Plan) -> int:
    """Returns the number of parameters of the plan's model."""
    inputs, tasks, hidden = plan.numeric_inputs + plan.category_inputs, len(plan.tasks), plan.model.hidden
    if plan.model.kind == "logistic":
        return tasks * (inputs + 1)
    return hidden * (inputs + 1) + tasks * (hidden + 1)


def scale_count(plan: Plan) -> int:
    """Returns the number of values that describe the inputs' scale."""
    return value_count(plan.normalisation.mode, plan.numeric_inputs, plan.normalisation.bins)


def evaluation_blocks(plan: Plan) -> tuple[str, ...]:
    """Returns an evaluation release's blocks: regions told alone, then the shared one if anyone is in it."""
    alone = plan.told_alone
    return alone if len(alone) == len(plan.regions) else (*alone, POOLED)


def evaluation_block(plan: Plan, region: str) -> str:
    """Returns the block that a region's people are in."""
    return region if region in plan.told_alone else POOLED


def model_name(plan: Plan, scale: NDArray[np.float32], parameters: NDArray[np.float32]) -> str:
    """Returns a model's name: the first 16 hex digits of SHA-256 over plan digest and values."""
    values = scale.astype("<f4").tobytes() + parameters.astype("<f4").tobytes()
    return hashlib.sha256(bytes.fromhex(plan.digest) + values).hexdigest()[:16]


def release_shape(plan: Plan, kind: ReleaseKind) -> tuple[int, ...]:
    """Returns (inputs, bins), (parameters,) or (blocks, tasks, 2 labels, bins)."""
    match kind:
        case "analyse":
            return (plan.numeric_inputs, plan.normalisation.bins)
        case "train":
            return (parameter_count(plan),)
        case "evaluate":
            return (len(evaluation_blocks(plan)), len(plan.tasks), 2, plan.evaluation.bins)


def release_norm(plan: Plan, kind: Literal["analyse", "evaluate"]) -> float:
    """Returns the L2 bound of one data subject's contribution: one count per input, or per task."""
    return math.sqrt(plan.numeric_inputs if kind == "analyse" else len(plan.tasks))


def release_grid(plan: Plan, kind: ReleaseKind, regions: int) -> Grid:
    """Returns the grid of a release summed over `regions` regions: a public part of its noise."""
    match kind:
        case "analyse":
            deviation = plan.normalisation.noise_multiplier * release_norm(plan, kind)
        case "evaluate":
            deviation = plan.evaluation.noise_multiplier * release_norm(plan, kind)
        case "train":
            deviation = min(_step_deviation(plan, region) for region in plan.regions)
    return Grid(deviation / plan.sealing.units_per_sigma, plan.sealing.word_bits, regions)


def score_edges(plan: Plan) -> NDArray[np.float64]:
    """Returns the bins - 1 inner edges of the score histograms, as logits."""
    last = plan.evaluation
    return np.linspace(-last.logit_range, last.logit_range, last.bins + 1)[1:-1] + last.logit_centre


def score_middles(plan: Plan) -> NDArray[np.float64]:
    """Returns the score at the middle (in logits) of each bin, shape (bins,)."""
    last = plan.evaluation
    half = last.logit_range / last.bins
    logits = np.linspace(-last.logit_range + half, last.logit_range - half, last.bins) + last.logit_centre
    return np.asarray(1 / (1 + np.exp(-logits)))


def _step_deviation(plan: Plan, region: str) -> float:
    training = plan.training
    moved = training.learning_rate * training.clipping_norm * training.noise_multiplier
    expected = training.sampling_rate * plan.training_size(region)
    return moved * plan.regions[region].weight / expected
