"""What a release asks of rows: its checks, its charge, its vector."""

from __future__ import annotations

import numpy as np
import pytest

from client import releases
from client.eligible import People
from foundation.errors import ModelRefused, RequestUnknown
from privacy.budget import evaluation_charge, histograms_charge, training_charge
from privacy.layout import parameter_count, release_shape, scale_count
from privacy.release import Analyse, Evaluate, HistogramQuery, Train

SLOT = {"run": "a" * 32, "plan": "b" * 64, "attempt": 0, "cohort": ("eu", "sea", "us")}
ARRAYS = ("subjects", "countries", "positions", "categories", "labels")
ANALYSE = Analyse(**SLOT, round=0, queries=(HistogramQuery(bins=8),))
TRAIN = Train(**SLOT, round=1)
EVALUATE = Evaluate(**SLOT, round=4)


class Silence:
    """A stream whose noise is zero and whose samples are everyone; keeps what was drawn."""

    def __init__(self):
        self.drawn = []

    def normals(self, count):
        """Returns zeros."""
        self.drawn.append(("normals", count))
        return np.zeros(count)

    def poisson_sample(self, population, rate):
        """Returns everyone."""
        self.drawn.append(("sample", rate))
        return np.arange(population)


def people(count, seed=3):
    generator = np.random.default_rng(seed)
    return People(
        subjects=np.array([f"p{i}" for i in range(count)]),
        countries=np.full(count, "DE"),
        positions=generator.random((count, 2)).astype(np.float32),
        categories=np.eye(2, dtype=np.float32)[generator.integers(0, 2, count)],
        labels=generator.integers(0, 2, (count, 1)).astype(np.float32),
        basis="contract",
    )


def blob(plan, parameters=0.0):
    scale = np.tile(np.linspace(0, 1, plan.normalisation.bins + 1), plan.numeric_inputs)
    return np.concatenate((scale, np.full(parameter_count(plan), parameters))).astype("<f4").tobytes()


def not_contributing(plan):
    settings = plan.model_dump()
    settings["regions"]["eu"]["contributes"] = False
    return type(plan).model_validate(settings)


def vector(plan, request, who, stream=None):
    given = b"" if request.kind == "analyse" else blob(plan)
    kept = releases.ScaledRows()
    stream = Silence() if stream is None else stream
    made, _ = releases.vector_of(plan, request, given, region="eu", people=who, kept=kept, stream=stream)
    return made


def test_each_request_reads_one_population():
    assert [releases.population_of(each) for each in (ANALYSE, TRAIN, EVALUATE)] == [
        "train",
        "train",
        "holdout",
    ]


def test_each_request_costs_what_the_plan_states(small):
    costs = [releases.charge_of(small.plan, each, "eu") for each in (ANALYSE, TRAIN, EVALUATE)]
    made = (histograms_charge, training_charge, evaluation_charge)
    assert costs == [make(small.plan) for make in made]


def test_a_region_that_does_not_contribute_pays_for_its_evaluation_only(small):
    plan = not_contributing(small.plan)
    costs = [releases.charge_of(plan, each, "eu") for each in (ANALYSE, TRAIN, EVALUATE)]
    assert costs == [None, None, evaluation_charge(plan)]


def test_a_region_that_does_not_contribute_draws_nothing_and_sends_zeros(small):
    plan, stream = not_contributing(small.plan), Silence()
    for request in (ANALYSE, TRAIN):
        assert not vector(plan, request, people(5), stream).any()
    assert stream.drawn == []


@pytest.mark.parametrize("request_", [ANALYSE, TRAIN, EVALUATE], ids=["analyse", "train", "evaluate"])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_the_shape_of_a_release_is_the_plans_whoever_is_in_it(small, request_, count):
    size = np.prod(release_shape(small.plan, request_.kind))
    assert vector(small.plan, request_, people(count)).shape == (size,)


@pytest.mark.parametrize("request_", [ANALYSE, TRAIN, EVALUATE], ids=["analyse", "train", "evaluate"])
def test_one_person_more_changes_neither_noise_nor_rate_nor_steps(small, request_):
    fewer, more = Silence(), Silence()
    vector(small.plan, request_, people(40), fewer)
    vector(small.plan, request_, people(41), more)
    assert fewer.drawn == more.drawn
    assert sum(kind == "normals" for kind, _ in fewer.drawn) > 0


@pytest.mark.parametrize("request_", [ANALYSE, EVALUATE], ids=["analyse", "evaluate"])
def test_one_person_more_moves_a_histogram_by_its_bound_at_most(small, request_):
    everyone = people(41)
    fewer = People(*(getattr(everyone, name)[:-1] for name in ARRAYS), everyone.basis)
    change = vector(small.plan, request_, everyone) - vector(small.plan, request_, fewer)
    inputs = small.plan.numeric_inputs if request_ is ANALYSE else len(small.plan.tasks)
    assert sorted(change[change != 0]) == [1.0] * inputs


def test_a_model_difference_is_multiplied_by_the_regions_public_weight(small):
    settings = small.plan.model_dump()
    settings["regions"]["eu"]["weight"] = 0.25
    lighter = type(small.plan).model_validate(settings)
    full, half = (vector(plan, TRAIN, people(40)) for plan in (small.plan, lighter))
    np.testing.assert_allclose(half, full / 2, rtol=1e-6)
    assert full.any()


@pytest.mark.parametrize("wrong", [-1e-6, 1.000001, 1e38])
@pytest.mark.parametrize("mode", ["quantile", "standard"])
def test_a_scale_value_that_no_histogram_gives_is_refused(small, mode, wrong):
    settings = small.plan.model_dump()
    settings["normalisation"]["mode"] = mode
    plan = type(small.plan).model_validate(settings)
    given = np.zeros(scale_count(plan) + parameter_count(plan), dtype="<f4")
    fit(plan, TRAIN, given.tobytes())
    given[scale_count(plan) - 1] = wrong
    with pytest.raises(ModelRefused):
        fit(plan, TRAIN, given.tobytes())


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("last", [0.2, 0.999])
def test_no_scale_makes_a_release_depend_on_whether_somebody_is_in_a_bin(small, last):
    who = people(3)
    who.positions[2] = last
    scale = np.zeros(scale_count(small.plan), "<f4")
    scale[-1] = 3e38
    given = scale.tobytes() + np.zeros(parameter_count(small.plan), "<f4").tobytes()
    released, _ = releases.vector_of(
        small.plan, TRAIN, given, region="eu", people=who, kept=releases.ScaledRows(), stream=Silence()
    )
    assert np.isfinite(released).all()


def test_one_person_without_a_finite_gradient_leaves_the_release_as_without_them(small):
    who = people(40)
    broken = People(who.subjects, who.countries, who.positions, who.categories.copy(), who.labels, who.basis)
    broken.categories[3] = np.inf
    fewer = People(*(np.delete(getattr(who, name), 3, axis=0) for name in ARRAYS), who.basis)
    released = vector(small.plan, TRAIN, broken)
    assert np.isfinite(released).all()
    np.testing.assert_allclose(released, vector(small.plan, TRAIN, fewer), atol=1e-7)


def test_scale_and_parameters_are_read_back_as_they_were_sent(small):
    scale, parameters = releases.values_of(small.plan, blob(small.plan, 0.5))
    assert (len(scale), set(parameters)) == (scale_count(small.plan), {0.5})


def test_inputs_are_numbers_then_categories(small):
    who = people(7)
    rows = releases.scaled_rows(small.plan, who, releases.values_of(small.plan, blob(small.plan))[0])
    np.testing.assert_allclose(rows.inputs[:, :2], 2 * who.positions - 1, atol=1e-6)
    assert (rows.inputs[:, 2:] == who.categories).all()


def test_scaled_rows_are_kept_for_the_same_people_and_scale_only(small):
    kept, who, scale = releases.ScaledRows(), people(7), releases.values_of(small.plan, blob(small.plan))[0]
    first = kept.of(small.plan, "train", who, scale)
    assert kept.of(small.plan, "train", who, scale.copy()) is first
    assert (kept.of(small.plan, "train", who, scale / 2).inputs != first.inputs).any()
    other = people(7, seed=9)
    assert (kept.of(small.plan, "train", other, scale / 2).labels == other.labels).all()


def fit(plan, request, given, least_cohort=2):
    releases.require_fit(plan, request, given, region="eu", least_cohort=least_cohort)


def test_a_request_of_the_plan_fits(small):
    fit(small.plan, ANALYSE, b"")
    for request in (TRAIN, EVALUATE, TRAIN.model_copy(update={"cohort": ("eu", "us")})):
        fit(small.plan, request, blob(small.plan))


def test_a_policy_may_want_a_larger_cohort_than_the_plan(small):
    pair = TRAIN.model_copy(update={"cohort": ("eu", "us")})
    with pytest.raises(RequestUnknown):
        fit(small.plan, pair, blob(small.plan), least_cohort=3)


def test_a_model_at_the_norm_bound_fits_and_beyond_it_does_not(small):
    bound = small.plan.training.norm_bound
    one = np.zeros(scale_count(small.plan) + parameter_count(small.plan), dtype="<f4")
    one[-1] = bound
    fit(small.plan, TRAIN, one.tobytes())
    one[-1] = np.nextafter(np.float32(bound), np.float32(np.inf))
    with pytest.raises(ModelRefused):
        fit(small.plan, TRAIN, one.tobytes())


def test_a_refused_model_is_not_quoted(small):
    with pytest.raises(ModelRefused) as refusal:
        fit(small.plan, TRAIN, blob(small.plan, 123_456.0))
    assert "123456" not in str(refusal.value)
