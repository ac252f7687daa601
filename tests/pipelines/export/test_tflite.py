from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import nn

from pipelines.compress import Baseline, compress
from pipelines.errors import FormatUnavailableError
from pipelines.evaluation.runtime import open_artifact
from pipelines.export.artifact import Artifact
from pipelines.export.tflite import export_tflite
from pipelines.quantize import tflite_int8
from pipelines.recipe import parse_recipe
from pipelines.workload import Workload
from tests.fakes.workloads import PlainStripes, striped_images

CONVERTER = importlib.util.find_spec("litert_torch") is not None
RUNTIME = importlib.util.find_spec("ai_edge_litert") is not None
IMAGES = striped_images(32, seed=3)[0]

needs_converter = pytest.mark.skipif(not CONVERTER, reason="the extra litert-convert is not installed")
EXAMPLE = (torch.zeros(1, 1, 8, 8),)


@pytest.mark.skipif(CONVERTER, reason="the extra litert-convert is installed")
def test_without_the_converter_the_error_says_what_to_install() -> None:
    with pytest.raises(FormatUnavailableError, match="litert-torch is not installed") as caught:
        export_tflite(nn.Linear(2, 2), (torch.zeros(1, 2),))
    assert "pip install 'fleetfit[litert-convert]'" in caught.value.hint
    with pytest.raises(FormatUnavailableError, match="ai-edge-quantizer is not installed"):
        tflite_int8.quantize_dynamic(b"", per_channel=True)


@pytest.mark.skipif(RUNTIME, reason="the extra litert is installed")
def test_without_the_runtime_the_error_says_what_to_install() -> None:
    with pytest.raises(FormatUnavailableError, match="cannot be run here") as caught:
        open_artifact(Artifact(content=b"TFL3", format="tflite"))
    assert "pip install 'fleetfit[litert]'" in caught.value.hint


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return PlainStripes().model().eval()


@needs_converter
def test_the_file_computes_what_the_model_computes(model: nn.Module) -> None:
    artifact = export_tflite(model, EXAMPLE)
    (found,) = open_artifact(artifact).run([IMAGES[:1].numpy()])
    torch.testing.assert_close(torch.from_numpy(found), model(IMAGES[:1]), atol=1e-4, rtol=1e-4)
    assert export_tflite(model, EXAMPLE).content == artifact.content


@needs_converter
@pytest.mark.parametrize("static", [True, False])
def test_int8_is_smaller_and_keeps_floating_point_at_its_ends(model: nn.Module, static: bool) -> None:
    content = export_tflite(model, EXAMPLE).content
    samples = [(IMAGES[row : row + 1].numpy(),) for row in range(32)]
    quantized = (
        tflite_int8.quantize_static(content, samples, per_channel=True)
        if static
        else tflite_int8.quantize_dynamic(content, per_channel=True)
    )
    (found,) = open_artifact(Artifact(content=quantized, format="tflite")).run([IMAGES[:1].numpy()])
    torch.testing.assert_close(torch.from_numpy(found), model(IMAGES[:1]), atol=0.1, rtol=0.1)
    assert len(quantized) < len(content)


@needs_converter
def test_a_draft_has_the_structure_of_the_finished_tflite_file(stripes: Workload, stripes_baseline: Baseline) -> None:
    passes = [{"pass": "structured_prune", "amount": 0.5, "epochs": 1}, {"pass": "int8"}]
    recipe = parse_recipe({"passes": passes, "export": {"format": "tflite"}})
    draft = compress(stripes, recipe, baseline=stripes_baseline.checkpoint, seed=0, train=False)
    finished = compress(stripes, recipe, baseline=stripes_baseline.checkpoint, seed=0)
    assert draft.structure_sha256 == finished.structure_sha256
    assert draft.sha256 != finished.sha256
    assert abs(draft.size_bytes - finished.size_bytes) <= 0.02 * finished.size_bytes
    assert finished.accuracy is not None
    assert finished.passes[-1].after.weight_bytes < finished.passes[-1].before.weight_bytes
