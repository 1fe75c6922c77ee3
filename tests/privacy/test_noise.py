"""Noise and samples are what the accountant believes, and no two streams are alike.

The statistics draw fresh keys. Each is judged at one in a million, so the file raises a false alarm in
about one run of 100,000.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from privacy.clipping import BoundedSum
from privacy.noise import CryptographicStream, noised

FALSE_ALARM = 1e-6
ZERO_KEY = bytes(16)


def test_a_known_key_gives_the_words_of_aes_128_ctr():
    # AES-128 of the blocks 0 and 1 under the zero key: test case 1 of the GCM specification.
    expected = "66e94bd4ef8a2c3b884cfa59ca342b2e" + "58e2fccefa7e3061367f1d57a4e7455a"
    assert CryptographicStream(ZERO_KEY).words(4).astype("<u8").tobytes().hex() == expected


def test_a_known_key_gives_known_normals():
    one, other = (
        (int.from_bytes(bytes.fromhex(word), "little") // 2**11 + 0.5) / 2**53
        for word in ("66e94bd4ef8a2c3b", "884cfa59ca342b2e")
    )
    radius, angle = math.sqrt(-2 * math.log(one)), 2 * math.pi * other
    expected = [radius * math.cos(angle), radius * math.sin(angle)]
    assert CryptographicStream(ZERO_KEY).normals(2) == pytest.approx(expected, rel=1e-12)


def test_a_stream_goes_on_where_it_stopped():
    stream = CryptographicStream(ZERO_KEY)
    parts = np.concatenate([stream.words(3), stream.words(0), stream.words(5)])
    assert (parts == CryptographicStream(ZERO_KEY).words(8)).all()


def test_no_two_streams_are_equal():
    firsts = {CryptographicStream().words(2).tobytes() for _ in range(200)}
    assert len(firsts) == 200


@given(st.integers(0, 33))
def test_as_many_numbers_come_as_were_asked_for(count):
    stream = CryptographicStream()
    assert len(stream.words(count)) == len(stream.uniforms(count)) == len(stream.normals(count)) == count


def test_the_least_and_the_largest_word_give_finite_normals():
    class Extreme(CryptographicStream):
        def words(self, count):
            return np.array([0, 2**64 - 1] * count, dtype=np.uint64)[:count]

    least, largest = Extreme().uniforms(2)
    assert 0 < least < 1e-15
    assert 1 - 1e-15 < largest < 1
    assert np.isfinite(Extreme().normals(8)).all()


def test_uniforms_are_uniform():
    assert stats.kstest(CryptographicStream().uniforms(200_000), "uniform").pvalue > FALSE_ALARM


def test_normals_are_normal():
    assert stats.kstest(CryptographicStream().normals(300_000), "norm").pvalue > FALSE_ALARM


def test_normals_are_normal_out_to_the_tails():
    draws = 2_000_000
    edges = np.array([-np.inf, -4.5, -4, -3.5, -3, -2, -1, 0, 1, 2, 3, 3.5, 4, 4.5, np.inf])
    counts = np.histogram(CryptographicStream().normals(draws), edges)[0]
    expected = draws * np.diff(stats.norm.cdf(edges))
    assert stats.chisquare(counts, expected).pvalue > FALSE_ALARM


def test_the_variance_of_normals_is_one():
    draws = 1_000_000
    squares = float(np.sum(CryptographicStream().normals(draws) ** 2))
    low, high = stats.chi2.interval(1 - FALSE_ALARM, draws)
    assert low < squares < high


@pytest.mark.parametrize("lag", [1, 2, 50_000])
def test_normals_of_one_stream_are_independent(lag):
    # Lag 50,000 pairs the two halves of Box-Muller's transform.
    drawn = CryptographicStream().normals(100_000)
    for of in (lambda each: each, np.square):
        one, other = of(drawn[:-lag]), of(drawn[lag:])
        assert stats.pearsonr(one, other).pvalue > FALSE_ALARM


def test_two_streams_are_independent():
    one, other = (CryptographicStream().normals(100_000) for _ in range(2))
    assert stats.pearsonr(one, other).pvalue > FALSE_ALARM
    assert stats.ks_2samp(one, other).pvalue > FALSE_ALARM


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.integers(1, 20))
@settings(max_examples=30)
def test_noise_is_scaled_to_the_bound_that_came_with_the_sum(multiplier, norm, size):
    total = BoundedSum(np.arange(size, dtype=float), norm, 0)
    noise = noised(total, multiplier, CryptographicStream(ZERO_KEY)) - total.values
    unit = CryptographicStream(ZERO_KEY).normals(size)
    assert noise == pytest.approx(multiplier * norm * unit, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("multiplier", [0.0, -1.0, float("nan"), float("inf")])
def test_no_noise_is_refused(multiplier):
    with pytest.raises(ValueError, match="noise_multiplier"):
        noised(BoundedSum(np.zeros(3), 1.0, 0), multiplier, CryptographicStream())


# Poisson samples: both ways of drawing, the dense one (rate >= 0.1) and the sparse one.

DRAWS = {"dense": lambda stream, people, rate: np.flatnonzero(stream.uniforms(people) < rate),
         "sparse": CryptographicStream._sparse_sample,
         "chosen": CryptographicStream.poisson_sample}  # fmt: skip


@given(st.integers(0, 300), st.floats(1e-6, 1))
@settings(max_examples=80, deadline=None)
def test_a_sample_is_sorted_distinct_and_inside(people, rate):
    sample = CryptographicStream().poisson_sample(people, rate)
    assert (np.diff(sample) > 0).all()
    assert len(sample) == 0 or (sample[0] >= 0 and sample[-1] < people)


@pytest.mark.parametrize(("people", "rate", "size"), [(0, 1.0, 0), (0, 0.5, 0), (0, 0.01, 0), (7, 1.0, 7),
                                                      (1000, 1e-300, 0), (1, 1.0, 1)])  # fmt: skip
def test_edges_of_sampling(people, rate, size):
    assert len(CryptographicStream().poisson_sample(people, rate)) == size


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, float("nan")])
def test_a_rate_is_a_probability(rate):
    with pytest.raises(ValueError, match="rate"):
        CryptographicStream().poisson_sample(10, rate)


def drawn(draw, people, rate, trials):
    """Returns a table of 0 and 1, (trials, people)."""
    stream = CryptographicStream()
    table = np.zeros((trials, people), dtype=np.int64)
    for row in table:
        row[draw(stream, people, rate)] = 1
    return table


@pytest.mark.parametrize(
    ("name", "rate"), [("sparse", 0.02), ("sparse", 0.5), ("dense", 0.5), ("chosen", 0.05)]
)
def test_everyone_is_drawn_at_the_rate(name, rate):
    trials, people = 4000, 40
    counts = drawn(DRAWS[name], people, rate, trials).sum(axis=0)
    score = np.sum((counts - trials * rate) ** 2) / (trials * rate * (1 - rate))
    assert stats.chi2.sf(score, people) > FALSE_ALARM
    assert stats.chi2.cdf(score, people) > FALSE_ALARM


@pytest.mark.parametrize("name", ["sparse", "dense"])
def test_two_people_are_drawn_independently(name):
    rate, table = 0.3, drawn(DRAWS[name], 30, 0.3, 4000)
    together = [
        np.mean(table[:, one] * table[:, other]) for one, other in [(0, 1), (0, 29), (11, 12), (5, 20)]
    ]
    deviation = math.sqrt(rate**2 * (1 - rate**2) / len(table))
    far = stats.norm.isf(FALSE_ALARM / 2 / len(together))
    assert np.abs(np.array(together) - rate**2).max() < far * deviation


@pytest.mark.parametrize(
    ("name", "people", "rate"), [("sparse", 60, 0.05), ("dense", 60, 0.05), ("sparse", 500, 0.09)]
)
def test_sizes_of_samples_are_binomial_however_they_are_drawn(name, people, rate):
    trials, stream = 4000, CryptographicStream()
    sizes = np.array([len(DRAWS[name](stream, people, rate)) for _ in range(trials)])
    law = stats.binom(people, rate)
    inner = np.arange(law.ppf(0.02), law.ppf(0.98) + 1)
    cumulative = np.concatenate(([0.0], law.cdf(inner), [1.0]))
    counts = np.histogram(sizes, np.concatenate(([-1], inner + 0.5, [people + 1])))[0]
    assert stats.chisquare(counts, trials * np.diff(cumulative)).pvalue > FALSE_ALARM


def test_a_small_rate_costs_few_random_numbers():
    class Counting(CryptographicStream):
        used = 0

        def words(self, count):
            self.used += count
            return super().words(count)

    stream = Counting()
    stream.poisson_sample(1_000_000, 0.001)
    assert stream.used < 5_000
