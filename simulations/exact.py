"""Figures that only a simulator can have: exact AUC, the oracle's, and each region alone under the same DP.

The simulator owns all rows, so it may look; none of this leaves a real region, and none of it is charged,
because none of it is released. The model trained alone serves for the comparison and is thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from client import analytics, evaluation
from client.eligible import People
from client.releases import scaled_rows
from client.training import train
from privacy.layout import release_shape
from privacy.noise import CryptographicStream, noised
from privacy.plan import Plan
from profiles.normalisation import from_histograms


@dataclass(frozen=True, slots=True)
class Scored:
    """Logits (n, tasks) and labels (n, tasks) of a region's hold-out people, and the oracle's or None."""

    logits: NDArray[np.floating]
    labels: NDArray[np.float32]


def scored(plan: Plan, people: People, scale: NDArray[np.float32], parameters: NDArray[np.float32]) -> Scored:
    """Returns people's logits under a model, and their labels."""
    rows = scaled_rows(plan, people, scale)
    return Scored(evaluation.logits(plan, parameters, rows.inputs), rows.labels)


def exact_auc(parts: list[Scored], task: int) -> float | None:
    """Returns the AUC over all parts pooled; None where one label is absent."""
    labels = np.concatenate([part.labels[:, task] for part in parts])
    if len(np.unique(labels)) < 2:  # noqa: PLR2004 - an AUC needs both labels
        return None
    return float(roc_auc_score(labels, np.concatenate([part.logits[:, task] for part in parts])))


def alone(plan: Plan, region: str, people: People, holdout: People, start: NDArray[np.float32]) -> Scored:
    """Returns hold-out scores of a model that the region trains alone, with the plan's noise and steps."""
    stream = CryptographicStream()
    total = analytics.histograms(plan, people.positions)
    counts = noised(total, plan.normalisation.noise_multiplier, stream)
    scale = from_histograms(plan.normalisation.mode, counts.reshape(release_shape(plan, "analyse")))
    rows, parameters, tail = scaled_rows(plan, people, scale), start, []
    for _ in range(plan.training.rounds):
        parameters = train(plan, region=region, rows=rows, start=parameters, stream=stream).parameters
        tail.append(parameters)
    served = np.mean(tail[-plan.training.averaged_rounds :], axis=0).astype(np.float32)
    return scored(plan, holdout, scale, served)
