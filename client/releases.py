"""What each request asks of people's rows: its checks, its charge, its vector.

Pure but for the random stream. The vault decides whether to compute at all, and in which order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from client import analytics, evaluation
from client.eligible import People
from client.training import Rows, TrainingFacts, train
from foundation.errors import ModelRefused, RequestUnknown
from privacy.budget import evaluation_charge, histograms_charge, training_charge
from privacy.events import Charge
from privacy.layout import parameter_count, release_shape, scale_count
from privacy.noise import CryptographicStream, noised
from privacy.plan import HOLDOUT, TRAIN, Plan
from privacy.release import Analyse, Evaluate, Train
from profiles.normalisation import apply

Slotted: TypeAlias = Analyse | Train | Evaluate
Vector: TypeAlias = NDArray[np.float64]

EXTRA_ROUNDS = 2
"""The analyse round before training, and the evaluate round after it."""


def population_of(request: Slotted) -> str:
    """Returns whose rows the request reads."""
    return HOLDOUT if isinstance(request, Evaluate) else TRAIN


def charge_of(plan: Plan, request: Slotted, region: str) -> Charge | None:
    """Returns what an answer costs; None where the region contributes nobody to it."""
    if isinstance(request, Evaluate):
        return evaluation_charge(plan)
    if not plan.regions[region].contributes:
        return None
    return histograms_charge(plan) if isinstance(request, Analyse) else training_charge(plan)


def require_fit(plan: Plan, request: Slotted, blob: bytes, *, region: str, least_cohort: int) -> None:
    """Checks cohort, round, queries and values against the plan.

    Raises:
        RequestUnknown: cohort, round or queries are not the plan's.
        ModelRefused: the values are not finite, not of the plan's size, or beyond its norm bound.
    """
    cohort = request.cohort
    if list(cohort) != sorted(set(cohort)) or region not in cohort or not set(cohort) <= set(plan.regions):
        raise RequestUnknown("the cohort is not of the plan")
    if len(cohort) < max(plan.federation.quorum, least_cohort):
        raise RequestUnknown("the cohort is below the quorum")
    if request.round >= plan.training.rounds + EXTRA_ROUNDS or request.step != 0:
        raise RequestUnknown("the round is not of the plan")
    if isinstance(request, Analyse):
        if blob or any(query.bins != plan.normalisation.bins for query in request.queries):
            raise RequestUnknown("the queries are not the plan's")
        return
    scale, parameters = values_of(plan, blob)
    if not ((scale >= 0) & (scale <= 1)).all():
        raise ModelRefused("a scale value is outside [0, 1]")
    if float(np.linalg.norm(parameters.astype(np.float64))) > plan.training.norm_bound:
        raise ModelRefused("the model is larger than the plan's norm bound")


def values_of(plan: Plan, blob: bytes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns scale values and parameters of a train or evaluate blob.

    Raises:
        ModelRefused: they are not finite or not of the plan's size.
    """
    scales = scale_count(plan)
    if len(blob) != 4 * (scales + parameter_count(plan)):
        raise ModelRefused("the blob is not of the plan's size")
    values = np.frombuffer(blob, dtype="<f4")
    if not np.isfinite(values).all():
        raise ModelRefused("the model has values that are not finite")
    return values[:scales], values[scales:]


def scaled_rows(plan: Plan, people: People, scale: NDArray[np.float32]) -> Rows:
    """Returns people's model inputs: normalised numeric inputs, then 0/1 categories."""
    normalised = apply(plan.normalisation.mode, scale, people.positions)
    return Rows(np.concatenate((normalised, people.categories), axis=1), people.labels)


@dataclass(slots=True)
class ScaledRows:
    """Keeps each population's newest scaled rows: rounds of one run scale the same people alike."""

    _kept: dict[str, tuple[People, bytes, Rows]] = field(default_factory=dict)

    def of(self, plan: Plan, population: str, people: People, scale: NDArray[np.float32]) -> Rows:
        """Returns `scaled_rows`, computed only where people or scale are not those of the last call."""
        known = self._kept.get(population)
        if known is not None and known[0] is people and known[1] == scale.tobytes():
            return known[2]
        rows = scaled_rows(plan, people, scale)
        self._kept[population] = (people, scale.tobytes(), rows)
        return rows


def vector_of(
    plan: Plan,
    request: Slotted,
    blob: bytes,
    *,
    region: str,
    people: People,
    kept: ScaledRows,
    stream: CryptographicStream,
) -> tuple[Vector, TrainingFacts | None]:
    """Returns the noised vector, float64 (d,), and what training looked like from inside.

    | the region contributes nobody -> zeros, no noise, no charge |
    """
    if charge_of(plan, request, region) is None:
        return np.zeros(release_shape(plan, request.kind)).ravel(), None
    if isinstance(request, Analyse):
        total = analytics.histograms(plan, people.positions)
        return noised(total, plan.normalisation.noise_multiplier, stream), None
    scale, parameters = values_of(plan, blob)
    rows = kept.of(plan, population_of(request), people, scale)
    if isinstance(request, Evaluate):
        block = evaluation.score_histograms(plan, rows, parameters)
        return evaluation.noised_release(plan, region=region, block=block, stream=stream), None
    trained = train(plan, region=region, rows=rows, start=parameters, stream=stream)
    change = trained.parameters.astype(np.float64) - parameters
    return change * plan.regions[region].weight, trained.facts
