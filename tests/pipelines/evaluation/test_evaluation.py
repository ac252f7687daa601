from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipelines.errors import ExportError, ParityError, WorkloadError
from pipelines.evaluation import parity
from pipelines.evaluation.accuracy import artifact_accuracy, network_accuracy
from pipelines.evaluation.golden import golden_npz
from pipelines.evaluation.operations import mac_count, parameter_bytes, parameter_count
from pipelines.evaluation.parity import check_parity
from pipelines.evaluation.runtime import open_artifact
from pipelines.export.artifact import Artifact
from pipelines.observer import NullObserver
from pipelines.samples import Batch, Samples
from pipelines.workload import Workload
from tests.fakes.workloads import PlainStripes, striped_images

BATCH = Batch(inputs=(striped_images(5, seed=6)[0],), targets=striped_images(5, seed=6)[1])


def test_operations_are_those_of_the_formula() -> None:
    convolution = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
    assert mac_count(convolution, (torch.zeros(1, 3, 16, 16),)) == 8 * 8 * 8 * 3 * 9
    grouped = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    assert mac_count(grouped, (torch.zeros(1, 8, 4, 4),)) == 16 * 8 * 9
    assert mac_count(nn.Linear(20, 30), (torch.zeros(1, 20),)) == 600


def test_parameters_are_counted_once() -> None:
    shared = nn.Linear(4, 4, bias=False)
    assert parameter_count(nn.Sequential(shared, shared, nn.BatchNorm1d(4))) == 16 + 8
    assert parameter_bytes(nn.Linear(4, 4).double()) == 20 * 8


def test_the_file_is_as_accurate_as_the_model_that_it_was_made_of(
    stripes: Workload, settled_model: nn.Module, settled_onnx: Artifact
) -> None:
    samples = Samples(stripes, "validation_data")
    of_file = artifact_accuracy(settled_onnx, stripes, samples, NullObserver())
    assert of_file == network_accuracy(settled_model, stripes, samples, NullObserver())


def test_a_metric_sees_all_samples_in_their_order() -> None:
    seen: dict[str, Any] = {}

    class Watching(PlainStripes):
        def metric(self, outputs: Any, targets: Any) -> float:
            seen.update(outputs=outputs, targets=targets)
            return 0.25

    workload = Watching()
    samples = Samples(workload, "validation_data")
    assert network_accuracy(workload.model(), workload, samples, NullObserver()) == 0.25
    assert seen["outputs"].shape == (128, 4)
    assert np.array_equal(seen["targets"], workload.validation_data()[1].numpy())


def test_a_metric_that_is_no_number_is_blamed() -> None:
    class Absent(PlainStripes):
        def metric(self, outputs: Any, targets: Any) -> float:
            return float("nan")

    workload = Absent()
    with pytest.raises(WorkloadError, match=r"test_evaluation\.py:\d+: metric\(\) returned nan"):
        network_accuracy(workload.model(), workload, Samples(workload, "validation_data"), NullObserver())


def test_golden_outputs_are_those_of_the_artifact_row_by_row(settled_onnx: Artifact) -> None:
    content = golden_npz(settled_onnx, BATCH)
    arrays = np.load(io.BytesIO(content), allow_pickle=False)
    assert sorted(arrays) == ["input_0", "output_0"]
    assert (arrays["input_0"].shape, arrays["output_0"].shape) == ((5, 1, 8, 8), (5, 4))
    session = open_artifact(settled_onnx)
    for row in range(5):
        (found,) = session.run([arrays["input_0"][row : row + 1]])
        assert np.array_equal(found[0], arrays["output_0"][row])
    assert golden_npz(settled_onnx, BATCH) == content


def test_parity_holds_for_the_export_and_is_refused_for_another_model(
    settled_model: nn.Module, settled_onnx: Artifact
) -> None:
    assert check_parity(settled_model, settled_onnx, BATCH) < 1e-5
    with pytest.raises(ParityError, match="differ from the model's by"):
        check_parity(PlainStripes().model(), settled_onnx, BATCH)
    with pytest.raises(ParityError, match=r"have shape \(1, 4\), the model's \(1, 64\)"):
        check_parity(nn.Flatten(), settled_onnx, BATCH)


class Constant(nn.Module):
    """Gives the same outputs whatever comes in."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = torch.tensor([values])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.values + 0 * inputs.flatten(1)[:, :1]


@pytest.mark.parametrize(
    ("of_model", "of_file", "same"),
    [
        ((1.0, 2.0), (1.0, 2.0), True),
        ((1.0, 1000.0), (1.5, 1000.0), True),
        ((1.0, 2.0), (1.5, 2.0), False),
        ((1.0, -math.inf), (1.0, -math.inf), True),
        ((1.0, -math.inf), (1.0, math.inf), False),
        ((1.0, 2.0), (1.0, math.nan), False),
        ((1.0, math.nan), (1.0, math.nan), True),
        ((0.0, 0.0), (0.0, 0.0), True),
    ],
)
def test_outputs_that_are_no_numbers_do_not_pass_for_equal(
    monkeypatch: pytest.MonkeyPatch, of_model: tuple[float, ...], of_file: tuple[float, ...], same: bool
) -> None:
    class Session:
        def run(self, inputs: Any) -> tuple[Any, ...]:
            return (np.array([of_file], dtype=np.float32),)

    monkeypatch.setattr(parity, "open_artifact", lambda artifact: Session())
    artifact = Artifact(content=b"", format="onnx")
    if same:
        assert check_parity(Constant(*of_model), artifact, BATCH) <= 1e-3
    else:
        with pytest.raises(ParityError):
            check_parity(Constant(*of_model), artifact, BATCH)


def test_a_file_that_the_runtime_refuses_is_an_error() -> None:
    with pytest.raises(ExportError, match="ONNX Runtime refuses the artifact"):
        open_artifact(Artifact(content=b"rubbish", format="onnx"))
