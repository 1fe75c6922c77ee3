"""Adds sealed releases up and decodes the sum: all that the coordinator ever learns about people.

Checks each release against its request and receipt first. Sees no region's own figures once the seal masks.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foundation import canonical
from foundation.errors import ReleaseInconsistent
from foundation.keys import signature_holds
from privacy.fixed_point import add, from_words
from privacy.layout import release_grid, release_shape
from privacy.messages import Answered
from privacy.plan import Plan
from privacy.release import Analyse, Evaluate, Receipt, Release, Train


@dataclass(frozen=True, slots=True)
class Accepted:
    """A release that fits its request."""

    receipt: Receipt
    words: bytes


def accepted(answered: Answered, *, region: str, identity: str, frame: bytes, size: int) -> Accepted:
    """Returns the release in answered, checked against request frame, identity key and bytes of a vector.

    Raises:
        ReleaseInconsistent: it is no release, or its receipt, signature, words or size do not fit.
    """
    release = answered.answer
    if not isinstance(release, Release):
        raise ReleaseInconsistent(f"region {region} sent no release")
    receipt = release.receipt
    signed = canonical.encode(receipt.model_dump(mode="json"))
    fits = (
        receipt.region == region
        and len(answered.blob) == size
        and receipt.request == hashlib.sha256(frame).hexdigest()
        and receipt.words == hashlib.sha256(answered.blob).hexdigest()
        and signature_holds(identity, signed, release.signature)
    )
    if not fits:
        raise ReleaseInconsistent(f"the receipt of region {region}")
    return Accepted(receipt, answered.blob)


def opened(plan: Plan, request: Analyse | Train | Evaluate, releases: list[Accepted]) -> NDArray[np.float64]:
    """Returns the sum over the cohort, of accepted releases, in the shape of the release.

    Raises:
        ReleaseInconsistent: there is not one release for each region of the cohort.
    """
    if len(releases) != len(request.cohort):
        raise ReleaseInconsistent(f"{len(releases)} of {len(request.cohort)} releases of {request.kind}")
    shape = release_shape(plan, request.kind)
    grid = release_grid(plan, request.kind, len(request.cohort))
    vectors = [np.frombuffer(each.words, dtype=grid.unsigned) for each in releases]
    return from_words(add(vectors, grid), grid).reshape(shape)


def vector_bytes(plan: Plan, request: Analyse | Train | Evaluate) -> int:
    """Returns the size of one region's vector, in bytes."""
    grid = release_grid(plan, request.kind, len(request.cohort))
    return math.prod(release_shape(plan, request.kind)) * grid.unsigned.itemsize


def averaged_change(plan: Plan, cohort: tuple[str, ...], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the weighted mean of the regions' changes; each came multiplied by its public weight.

    Regions that contribute nobody send zeros, so their weight is left out.
    """
    weights = [plan.regions[name].weight for name in cohort if plan.regions[name].contributes]
    return total / sum(weights) if weights else total
