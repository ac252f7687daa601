import numpy
import pytest

from agent.profiling.histogram import BIN_COUNT, histogram_of


def test_every_sample_is_in_one_bin_or_beyond() -> None:
    samples = numpy.random.default_rng(3).gamma(4.0, 1.0, 5000)
    histogram = histogram_of(samples)
    assert len(histogram.counts) == BIN_COUNT
    assert sum(histogram.counts) + histogram.beyond == 5000
    assert histogram.lower_ms == samples.min()
    assert histogram.beyond == pytest.approx(250, abs=2)


def test_the_bins_hold_what_numpy_puts_there() -> None:
    samples = numpy.random.default_rng(5).normal(10.0, 1.0, 2000)
    histogram = histogram_of(samples)
    edges = histogram.lower_ms + histogram.width_ms * numpy.arange(BIN_COUNT + 1)
    expected, _ = numpy.histogram(samples, bins=edges)
    assert list(histogram.counts) == list(expected)


@pytest.mark.parametrize("samples", [[2.0], [2.0] * 50])
def test_samples_that_are_all_alike_share_the_first_bin(samples: list[float]) -> None:
    histogram = histogram_of(numpy.array(samples))
    assert histogram.counts[0] == len(samples)
    assert histogram.beyond == 0
    assert histogram.width_ms > 0


def test_one_outlier_does_not_squeeze_the_others_together() -> None:
    samples = numpy.append(numpy.linspace(1.0, 2.0, 200), 1e6)
    histogram = histogram_of(samples)
    assert histogram.beyond >= 1
    assert sum(count > 0 for count in histogram.counts) == BIN_COUNT
