"""Bounded contributions of hold-out people to an evaluation: score histograms by task and label.

Each person adds one count per task, in the block of their region. Blocks of other regions stay zero and get
no noise from here: their owners add it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from client.training import Rows, build_model
from privacy.clipping import BoundedSum, clipped_sum
from privacy.layout import evaluation_block, evaluation_blocks, release_norm, release_shape, score_edges
from privacy.noise import CryptographicStream, noised
from privacy.plan import Plan
from profiles.model import set_parameters


def logits(plan: Plan, parameters: NDArray[np.float32], inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns float32 (n, tasks)."""
    model = build_model(plan, inputs.shape[1])
    set_parameters(model, parameters)
    with torch.inference_mode():
        return np.asarray(model(torch.from_numpy(inputs)))


def score_histograms(plan: Plan, rows: Rows, parameters: NDArray[np.float32]) -> BoundedSum:
    """Returns one block, float64 (tasks * 2 * bins,): counts by task, label and score bin."""
    places = np.digitize(logits(plan, parameters, rows.inputs), score_edges(plan))
    people, tasks, bins = len(rows.labels), len(plan.tasks), plan.evaluation.bins
    places += (np.arange(tasks) * 2 + rows.labels.astype(np.int64)) * bins
    contributions = np.zeros((people, tasks * 2 * bins))
    contributions[np.arange(people)[:, None], places] = 1
    return clipped_sum(contributions, release_norm(plan, "evaluate"))


def noised_release(
    plan: Plan, *, region: str, block: BoundedSum, stream: CryptographicStream
) -> NDArray[np.float64]:
    """Returns the whole release, float64 (d,), with the region's own block filled and noised."""
    values = np.zeros(release_shape(plan, "evaluate"))
    place = evaluation_blocks(plan).index(evaluation_block(plan, region))
    noisy = noised(block, plan.evaluation.noise_multiplier, stream)
    values[place] = noisy.reshape(values.shape[1:])
    return values.ravel()
