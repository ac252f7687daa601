from __future__ import annotations

import numpy
import pytest

from agent.profiling.inputs import Sample
from agent.profiling.numerics import NumericsError, compare_outputs
from agent.runtimes.runtime import Model, TensorSpec


class Added(Model):
    """Adds an error to each element of its input; a second output is the input's sum."""

    inputs = (TensorSpec(name="x", dtype="float32", shape=(None,)),)
    outputs = (*inputs, TensorSpec(name="sum", dtype="float32", shape=()))
    provider = "test"

    def __init__(self, error: float) -> None:
        self._error = error

    def bind(self, feeds):
        self._feed = feeds[0]

    def run(self):
        self._result = self._feed + self._error

    def fetch(self):
        return [self._result, numpy.asarray(self._feed.sum())]


def sample(*values, outputs=None) -> Sample:
    array = numpy.array(values)
    return Sample(inputs=(array,), outputs=outputs or (array, numpy.asarray(array.sum())))


def test_equal_outputs_are_exact():
    numerics = compare_outputs(Added(0.0), [sample(1.0, 2.0)], tolerance_fraction=0.0)
    assert (numerics.checked, numerics.maximum_absolute_error, numerics.maximum_relative_error) == (True, 0.0, 0.0)


def test_the_error_is_relative_to_the_largest_magnitude_of_all_samples():
    samples = [sample(1.0, -2.0), sample(8.0, 0.0)]
    numerics = compare_outputs(Added(0.4), samples, tolerance_fraction=0.06)
    assert numerics.maximum_absolute_error == pytest.approx(0.4)
    assert numerics.maximum_relative_error == pytest.approx(0.05)


def test_an_error_above_the_tolerance_is_refused_with_its_size():
    with pytest.raises(NumericsError, match=r"output 0 is off by 0\.05") as caught:
        compare_outputs(Added(0.4), [sample(8.0)], tolerance_fraction=0.01)
    assert caught.value.numerics.maximum_absolute_error == pytest.approx(0.4)


def test_an_output_that_should_be_zero_is_compared_absolutely():
    with pytest.raises(NumericsError):
        compare_outputs(Added(0.4), [sample(0.0, 0.0)], tolerance_fraction=0.1)


@pytest.mark.parametrize("error", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(error):
    with pytest.raises(NumericsError, match="not finite"):
        compare_outputs(Added(error), [sample(1.0)], tolerance_fraction=1.0)


@pytest.mark.parametrize("outputs", [(numpy.ones(1),), (numpy.ones(2), numpy.asarray(1.0))])
def test_outputs_of_another_number_or_shape_are_refused(outputs):
    with pytest.raises(NumericsError, match="shapes"):
        compare_outputs(Added(0.0), [sample(1.0, outputs=outputs)], tolerance_fraction=1.0)
