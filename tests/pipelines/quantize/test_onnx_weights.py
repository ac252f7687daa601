from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from torch import Tensor, nn

from pipelines.errors import NothingChangedError, UnsupportedModelError
from pipelines.evaluation.runtime import open_artifact
from pipelines.export.artifact import Artifact
from pipelines.export.onnx import export_onnx
from pipelines.quantize.codebook import codebook_of
from pipelines.quantize.integer_rows import quantized_rows
from pipelines.quantize.onnx_weights import store_half, store_integers, store_shared
from tests.fakes.workloads import striped_images

IMAGES = striped_images(16, seed=3)[0].numpy()
STORES: dict[str, tuple[Callable[[bytes], bytes], int, float, float]] = {
    # How, the type that the file holds, what is left of it, and the largest difference.
    "fp16": (store_half, TensorProto.FLOAT16, 0.53, 1e-3),
    "int8": (partial(store_integers, bits=8, block=None), TensorProto.INT8, 0.30, 0.02),
    "int4": (partial(store_integers, bits=4, block=32), TensorProto.INT4, 0.19, 0.25),
    "shared 4": (partial(store_shared, bits=4), TensorProto.UINT4, 0.18, 0.25),
    "shared 6": (partial(store_shared, bits=6), TensorProto.UINT8, 0.33, 0.08),
}


def _run(content: bytes, inputs: NDArray[Any]) -> NDArray[Any]:
    session = open_artifact(Artifact(content=content, format="onnx"))
    return np.concatenate([session.run([inputs[row : row + 1]])[0] for row in range(len(inputs))])


def _difference(expected: NDArray[Any], found: NDArray[Any]) -> float:
    return float(np.abs(expected - found).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", STORES)
def test_the_file_holds_fewer_bits_and_computes_nearly_the_same(name: str, settled_onnx: Artifact) -> None:
    store, data_type, share, difference = STORES[name]
    content = store(settled_onnx.content)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert sum(tensor.data_type == data_type for tensor in model.graph.initializer) >= 5
    assert not any(
        tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) > 256 for tensor in model.graph.initializer
    )
    assert len(content) < share * len(settled_onnx.content)
    assert 0 < _difference(_run(settled_onnx.content, IMAGES), _run(content, IMAGES)) < difference
    assert store(settled_onnx.content) == content


@pytest.mark.parametrize("name", STORES)
def test_the_runtime_widens_the_weights_when_it_loads_the_file(
    name: str, settled_onnx: Artifact, tmp_path: Any
) -> None:
    def operators(content: bytes) -> list[str]:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]

    assert operators(STORES[name][0](settled_onnx.content)) == operators(settled_onnx.content)


class Mixture(nn.Module):
    """A matrix of each orientation, a recurrent layer, and a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.spread = nn.ConvTranspose2d(1, 8, 2, stride=2)
        self.matrix = nn.Parameter(torch.randn(16, 40) * torch.logspace(-2, 0, 40))
        self.head = nn.Linear(40, 24)
        self.recurrent = nn.GRU(24, 16, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        rows = self.spread(images).mean(dim=1)
        return self.recurrent(self.head(torch.relu(rows @ self.matrix)))[0][:, -1]


@pytest.mark.parametrize("name", STORES)
def test_every_kind_of_layer_is_stored(name: str) -> None:
    torch.manual_seed(0)
    exported = export_onnx(Mixture().eval(), (torch.zeros(1, 1, 8, 8),)).content
    store, _, _, difference = STORES[name]
    assert _difference(_run(exported, IMAGES), _run(store(exported), IMAGES)) < 1.5 * difference


def test_each_column_of_a_matrix_product_has_a_scale_of_its_own() -> None:
    """Columns of very different range: one scale a row would lose the small ones."""

    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = nn.Parameter(torch.randn(64, 32) * torch.logspace(-4, 0, 32))

        def forward(self, rows: Tensor) -> Tensor:
            return rows @ self.matrix

    torch.manual_seed(0)
    exported = export_onnx(Product(), (torch.zeros(1, 64),)).content
    rows = np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32)
    expected, found = _run(exported, rows), _run(store_integers(exported, bits=8, block=None), rows)
    assert (np.abs(expected - found).max(axis=0) < 0.05 * np.abs(expected).max(axis=0)).all()


def test_nothing_to_store_is_said(settled_onnx: Artifact) -> None:
    once = store_integers(settled_onnx.content, bits=8, block=None)
    with pytest.raises(NothingChangedError, match="no weight would take fewer bytes"):
        store_integers(once, bits=8, block=None)


def test_a_weight_beyond_half_precision_is_refused() -> None:
    layer = nn.Linear(32, 32)
    with torch.no_grad():
        layer.weight[0, 0] = 1e6
    exported = export_onnx(layer, (torch.zeros(1, 32),)).content
    with pytest.raises(UnsupportedModelError, match="above float16's largest"):
        store_half(exported)


def test_rows_are_quantized_within_half_a_step() -> None:
    rows = np.random.default_rng(0).normal(size=(6, 50)).astype(np.float32)
    integers, scales = quantized_rows(rows, bits=8)
    assert np.abs(integers).max() <= 127
    inside = np.abs(rows) <= 127 * scales.astype(np.float32)[:, None]
    steps = np.abs(integers * scales.astype(np.float32)[:, None] - rows) / scales.astype(np.float32)[:, None]
    assert steps[inside].max() <= 0.501


def test_four_bits_clip_where_that_is_nearer() -> None:
    rows = np.random.default_rng(0).normal(size=(4, 4096)).astype(np.float32)
    integers, scales = quantized_rows(rows, bits=4)
    wide = scales.astype(np.float32)[:, None]
    plain = np.abs(rows).max(axis=1, keepdims=True) / 7
    clipped_error = np.square(integers * wide - rows).mean()
    assert clipped_error < 0.8 * np.square(np.round(rows / plain) * plain - rows).mean()
    assert np.abs(integers).max() == 7


def test_rows_of_zeros_stay_zero() -> None:
    integers, scales = quantized_rows(np.zeros((2, 8), dtype=np.float32), bits=4)
    assert not integers.any()
    assert np.isfinite(scales).all()


def test_a_codebook_has_the_values_that_k_means_finds() -> None:
    from sklearn.cluster import KMeans

    weight = np.random.default_rng(0).normal(size=(16, 8, 3, 3)).astype(np.float32)
    codebook, indices = codebook_of(weight, size=8)
    assert indices.shape == weight.shape
    error = float(np.square(codebook[indices] - weight).sum())
    peer = KMeans(8, init=np.linspace(weight.min(), weight.max(), 8)[:, None], n_init=1).fit(weight.reshape(-1, 1))
    # Ours has one value less to choose: zero is fixed.
    assert error < 1.15 * peer.inertia_
    assert (np.diff(codebook) >= 0).all()


def test_zeros_stay_zero_in_a_codebook() -> None:
    weight = np.random.default_rng(0).normal(loc=0.3, size=(32, 32)).astype(np.float32)
    weight[np.abs(weight) < 0.5] = 0
    codebook, indices = codebook_of(weight, size=16)
    assert not codebook[indices][weight == 0].any()
