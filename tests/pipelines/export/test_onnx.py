from __future__ import annotations

import onnx
import pytest
import torch
from torch import Tensor, nn

from pipelines.errors import ExportError
from pipelines.evaluation.runtime import open_artifact
from pipelines.export.artifact import Artifact
from pipelines.export.onnx import OPSET, export_onnx
from tests.fakes.workloads import striped_images

EXAMPLE = (torch.zeros(1, 1, 8, 8),)


@pytest.fixture
def content(settled_onnx: Artifact) -> bytes:
    return settled_onnx.content


def test_the_file_computes_what_the_model_computes(settled_model: nn.Module, settled_onnx: Artifact) -> None:
    session = open_artifact(settled_onnx)
    images = striped_images(4, seed=5)[0]
    for row in range(4):
        (found,) = session.run([images[row : row + 1].numpy()])
        torch.testing.assert_close(torch.from_numpy(found), settled_model(images[row : row + 1]), atol=1e-4, rtol=1e-4)


def test_the_same_model_gives_the_same_bytes(settled_model: nn.Module, content: bytes) -> None:
    assert export_onnx(settled_model, EXAMPLE).content == content


def test_the_file_is_valid_and_of_the_pinned_opset(content: bytes) -> None:
    proto = onnx.load_from_string(content)
    onnx.checker.check_model(proto, full_check=True)
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", OPSET)]
    assert len(proto.functions) == 0


def test_inputs_and_outputs_have_names_that_can_be_relied_on(content: bytes) -> None:
    graph = onnx.load_from_string(content).graph
    assert [value.name for value in graph.input] == ["input_0"]
    assert [value.name for value in graph.output] == ["output_0"]


def test_nothing_of_the_machine_is_in_the_file(content: bytes) -> None:
    for trace in (b"site-packages", b".py", b"/home", b"torch", b"test_onnx", b"fakes"):
        assert trace not in content


def test_hardly_a_byte_is_not_weights(settled_model: nn.Module, content: bytes) -> None:
    weights = sum(tensor.numel() * 4 for name, tensor in settled_model.state_dict().items() if "running" not in name)
    assert len(content) < weights + 1500


def test_batch_normalization_is_folded(content: bytes) -> None:
    kinds = {node.op_type for node in onnx.load_from_string(content).graph.node}
    assert "BatchNormalization" not in kinds
    assert "Conv" in kinds


def test_odd_numbers_of_channels_run() -> None:
    module = nn.Sequential(nn.Conv2d(3, 7, 3), nn.ReLU(), nn.Conv2d(7, 5, 3)).eval()
    artifact = export_onnx(module, (torch.zeros(1, 3, 9, 9),))
    inputs = torch.randn(1, 3, 9, 9)
    (found,) = open_artifact(artifact).run([inputs.numpy()])
    torch.testing.assert_close(torch.from_numpy(found), module(inputs), atol=1e-5, rtol=1e-5)


def test_several_inputs_and_outputs_keep_their_order() -> None:
    class TwoByTwo(nn.Module):
        def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
            return first - second, first * second

    first, second = torch.randn(1, 3), torch.randn(1, 3)
    artifact = export_onnx(TwoByTwo(), (first, second))
    difference, product = open_artifact(artifact).run([first.numpy(), second.numpy()])
    torch.testing.assert_close(torch.from_numpy(difference), first - second)
    torch.testing.assert_close(torch.from_numpy(product), first * second)


def test_a_model_that_cannot_be_traced_is_refused_in_one_line() -> None:
    class Moody(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs if inputs.sum() > 0 else -inputs

    with pytest.raises(ExportError, match="cannot be exported to ONNX: ") as caught:
        export_onnx(Moody(), (torch.zeros(1, 3),))
    assert "\n" not in caught.value.message
    assert "torch.export" in caught.value.hint
