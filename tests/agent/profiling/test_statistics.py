from __future__ import annotations

from math import comb

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.profiling.statistics import (
    block_bootstrap_interval,
    minimum_count,
    order_statistic_ranks,
    percentile,
    trend_probability,
)

SEED = 5
RUNS = 200


@pytest.mark.parametrize(("quantile", "least"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368)])
def test_no_interval_below_the_least_count(quantile, least):
    assert minimum_count(quantile) == least
    assert order_statistic_ranks(least - 1, quantile) is None
    assert order_statistic_ranks(least, quantile) is not None
    assert percentile(numpy.arange(least - 1.0), quantile) is None
    assert percentile(numpy.arange(float(least)), quantile) is not None


@given(count=st.integers(6, 700), quantile=st.floats(0.05, 0.95))
@settings(deadline=None)
def test_the_ranks_cover_the_quantile_and_no_narrower_ones_do(count, quantile):
    ranks = order_statistic_ranks(count, quantile)
    if ranks is None:
        return
    masses = [comb(count, k) * quantile**k * (1 - quantile) ** (count - k) for k in range(count + 1)]
    lower, upper = ranks
    slack = 1e-9
    assert sum(masses[:lower]) <= 0.025 + slack
    assert sum(masses[upper:]) <= 0.025 + slack
    assert sum(masses[: lower + 1]) > 0.025 - slack
    assert sum(masses[upper - 1 :]) > 0.025 - slack


@pytest.mark.parametrize("quantile", [0.5, 0.95])
@pytest.mark.parametrize("name", ["standard_normal", "standard_exponential", "standard_cauchy"])
def test_intervals_contain_the_true_percentile_of_known_distributions(name, quantile):
    generator = numpy.random.default_rng(SEED)
    draw = getattr(generator, name)
    truth = numpy.quantile(draw(1_000_000), quantile)
    found = [percentile(draw(90), quantile) for _ in range(RUNS)]
    hits = sum(interval.lower <= truth <= interval.upper for interval in found)
    # 95 % of 200 is 190, and its standard deviation 3.1.
    assert hits >= 181


def test_intervals_widen_when_neighbours_are_alike():
    generator = numpy.random.default_rng(SEED)
    slow_walk = numpy.repeat(generator.standard_normal(40), 50)
    ordered = numpy.sort(slow_walk)
    lower, upper = order_statistic_ranks(len(slow_walk), 0.5)
    found = percentile(slow_walk, 0.5)
    assert found.upper - found.lower > 2 * (ordered[upper - 1] - ordered[lower - 1])


def test_the_bootstrap_of_equal_samples_is_a_point():
    assert block_bootstrap_interval(numpy.full(500, 3.0), 0.95) == (3.0, 3.0)


@given(st.lists(st.floats(0.001, 1000), min_size=80, max_size=300), st.sampled_from([0.5, 0.9, 0.95]))
@settings(deadline=None, max_examples=30)
def test_a_percentile_lies_within_its_interval_and_the_interval_within_the_samples(samples, quantile):
    found = percentile(numpy.array(samples), quantile)
    assert min(samples) <= found.lower <= found.value <= found.upper <= max(samples)


def test_the_same_samples_give_the_same_interval():
    samples = numpy.random.default_rng(SEED).standard_normal(200)
    assert percentile(samples, 0.9) == percentile(samples, 0.9)


def test_a_trend_is_found_and_noise_is_not():
    assert trend_probability([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]) < 0.01
    assert trend_probability([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]) < 0.01
    assert trend_probability([1.2, 1.0, 1.3, 1.1, 1.2, 1.0, 1.3, 1.1]) > 0.3
    assert trend_probability([1.0] * 8) == 1.0
    assert trend_probability([2.0, 1.0]) == 1.0
