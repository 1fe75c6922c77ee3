"""What the coordinator accepts, and that what it opens is the sum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from foundation.errors import ReleaseInconsistent
from privacy.fixed_point import to_words
from privacy.layout import release_grid, release_shape
from privacy.messages import Answered, read_answer, read_request, to_bytes
from privacy.release import Analyse, Evaluate, HistogramQuery, Train
from server.aggregation import Accepted, accepted, averaged_change, opened, vector_bytes

COHORT = ("eu", "sea", "us")
SIZE = 40


def request_of(world, kind, **fields):
    stated = {
        "run": world.run,
        "plan": world.plan.digest,
        "round": 1,
        "attempt": 0,
        "cohort": COHORT,
        **fields,
    }
    match kind:
        case "analyse":
            return Analyse(**stated, queries=(HistogramQuery(bins=8),))
        case "train":
            return Train(**stated)
        case _:
            return Evaluate(**stated)


@pytest.fixture
def sent(world):
    """A request's frame, the region that answered it, and its answer."""
    frame = to_bytes(request_of(world, "train"), b"\0" * 4)
    region = world.regions()[2]
    return frame, region, read_answer(region.answer(frame))


def test_a_release_that_fits_its_request_is_accepted(sent):
    frame, region, answered = sent
    release = accepted(answered, region="eu", identity=region.keys.public, frame=frame, size=SIZE)
    assert release.receipt.region == "eu"
    assert release.words == answered.blob


def test_altered_words_are_refused(sent):
    frame, region, answered = sent
    for place in (0, len(answered.blob) - 1):
        blob = bytearray(answered.blob)
        blob[place] ^= 1
        refuse(Answered(answered.answer, bytes(blob)), region, frame)
    refuse(Answered(answered.answer, b""), region, frame)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("plan", "0" * 64),
        ("run", "0" * 32),
        ("kind", "evaluate"),
        ("sealing", "pairwise"),
        ("regional", "0" * 64),
    ],
)
def test_an_altered_receipt_is_refused(sent, field, value):
    frame, region, answered = sent
    receipt = answered.answer.receipt.model_copy(update={field: value})
    release = answered.answer.model_copy(update={"receipt": receipt})
    refuse(Answered(release, answered.blob), region, frame)


def test_an_altered_signature_is_refused(sent):
    frame, region, answered = sent
    signature = answered.answer.signature
    flipped = f"{int(signature[0], 16) ^ 1:x}{signature[1:]}"
    refuse(Answered(answered.answer.model_copy(update={"signature": flipped}), answered.blob), region, frame)


def test_an_answer_to_another_request_is_refused(sent, world):
    _, region, answered = sent
    refuse(answered, region, to_bytes(request_of(world, "train", attempt=1), b"\0" * 4))


def test_an_answer_in_another_regions_name_is_refused(sent, world):
    frame, region, answered = sent
    with pytest.raises(ReleaseInconsistent):
        accepted(answered, region="us", identity=region.keys.public, frame=frame, size=SIZE)
    other = world.regions()[3]
    with pytest.raises(ReleaseInconsistent):
        accepted(answered, region="eu", identity=other.keys.public, frame=frame, size=SIZE)


def test_an_answer_that_is_no_release_is_refused(sent):
    frame, region, _ = sent
    refuse(Answered(region.welcome(), b""), region, frame)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the plan is constant
@given(data=st.data())
@pytest.mark.parametrize("kind", ["analyse", "train", "evaluate"])
def test_what_is_opened_is_the_sum_of_what_went_in(world, kind, data):
    shape, grid = release_shape(world.plan, kind), release_grid(world.plan, kind, len(COHORT))
    number = st.floats(-1e6, 1e6, allow_subnormal=False)
    values = data.draw(hnp.arrays(np.float64, (len(COHORT), *shape), elements=number))
    releases = [Accepted(None, to_words(each.ravel(), grid).tobytes()) for each in values]
    total = opened(world.plan, request_of(world, kind), releases)
    assert total.shape == shape
    np.testing.assert_allclose(total, values.sum(axis=0), atol=2 * grid.step, rtol=1e-12)


@pytest.mark.parametrize("size", [0, 8, 13, 48])
def test_a_vector_of_another_size_is_refused(sent, size):
    frame, region, answered = sent
    assert len(answered.blob) == SIZE
    with pytest.raises(ReleaseInconsistent):
        accepted(answered, region="eu", identity=region.keys.public, frame=frame, size=size)


def test_the_size_of_a_vector_follows_from_the_plan(world):
    assert vector_bytes(world.plan, request_of(world, "train")) == SIZE


def test_a_sum_over_fewer_than_the_cohort_is_refused(world):
    with pytest.raises(ReleaseInconsistent):
        opened(world.plan, request_of(world, "train"), [Accepted(None, b"\0" * 40)] * 2)


def test_the_mean_divides_by_the_weights_of_the_cohort(world):
    total = np.array([0.5 * 1 + 0.3 * 2 + 0.2 * 3, 1.0])
    assert averaged_change(world.plan, COHORT, total) == pytest.approx(total)
    assert averaged_change(world.plan, ("eu", "us"), total) == pytest.approx(total / 0.8)


def test_a_region_that_contributes_nobody_has_no_part_in_the_mean(world):
    regions = {
        name: {**share.model_dump(), "contributes": name != "sea"}
        for name, share in world.plan.regions.items()
    }
    plan = world.changed(world.plan, regions=regions)
    total = np.array([1.0, 2.0])
    assert averaged_change(plan, COHORT, total) == pytest.approx(total / 0.8)
    assert averaged_change(plan, ("sea",), total) == pytest.approx(total)


def refuse(answered, region, frame):
    with pytest.raises(ReleaseInconsistent):
        accepted(answered, region="eu", identity=region.keys.public, frame=frame, size=SIZE)


def test_requests_and_answers_survive_the_frame(sent):
    frame, region, answered = sent
    assert read_request(frame).blob == b"\0" * 4
    assert to_bytes(answered.answer, answered.blob) == region.answer(frame)
