from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipelines.checkpoint import load_checkpoint, load_weights, save_checkpoint
from pipelines.errors import CheckpointError
from pipelines.low_rank.layers import factor_layers
from pipelines.network import Network
from pipelines.prune.channels import remove_channels
from tests.fakes.workloads import PlainStripes, ResidualStripes

EXAMPLE = (torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)),)


def _compressed(workload: PlainStripes) -> Network:
    network = Network(module=workload.model().eval())
    pruned = remove_channels(network, EXAMPLE, amount=0.5, importance="l2", round_to=4, seed=0)
    factored, _ = factor_layers(pruned, EXAMPLE, rank_fraction=0.4, round_to=4)
    return remove_channels(factored, EXAMPLE, amount=0.3, importance="l1", round_to=1, seed=0)


@pytest.mark.parametrize("workload", [PlainStripes(), ResidualStripes()], ids=["plain", "residual"])
def test_a_changed_architecture_comes_back_with_its_outputs(workload: PlainStripes) -> None:
    network = _compressed(workload)
    restored = load_checkpoint(save_checkpoint(network), workload.model().eval())
    assert restored.edits == network.edits
    assert {edit.kind for edit in network.edits} == {"resize", "factor"}
    torch.testing.assert_close(restored.module(*EXAMPLE), network.module(*EXAMPLE), rtol=0, atol=0)


def test_a_restored_network_can_be_trained_and_compressed_again() -> None:
    network = _compressed(ResidualStripes())
    restored = load_checkpoint(save_checkpoint(network), ResidualStripes().model())
    loss: Tensor = restored.module(*EXAMPLE).square().sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in restored.module.parameters())
    again = remove_channels(restored, EXAMPLE, amount=0.5, importance="l2", round_to=2, seed=0)
    twice = load_checkpoint(save_checkpoint(again), ResidualStripes().model().eval())
    torch.testing.assert_close(twice.module(*EXAMPLE), again.module.eval()(*EXAMPLE), rtol=0, atol=0)


def test_no_class_of_the_model_is_in_the_bytes() -> None:
    content = save_checkpoint(_compressed(ResidualStripes()))
    assert b"Shortcut" not in content
    assert b"torch.nn.modules" not in content


def test_the_checkpoint_of_another_model_is_refused() -> None:
    content = save_checkpoint(_compressed(ResidualStripes()))
    with pytest.raises(CheckpointError, match="does not fit this model"):
        load_checkpoint(content, nn.Sequential(nn.Linear(3, 3)))
    plain = save_checkpoint(Network(module=PlainStripes().model()))
    with pytest.raises(CheckpointError, match="the checkpoint is of another model: Missing key"):
        load_checkpoint(plain, ResidualStripes().model())


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04 half a zip"])
def test_bytes_that_are_no_checkpoint_are_refused(content: bytes) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint can be read"):
        load_checkpoint(content, PlainStripes().model())


def test_a_checkpoint_of_something_else_is_refused() -> None:
    buffer = io.BytesIO()
    torch.save({"weights": torch.zeros(3)}, buffer)
    with pytest.raises(CheckpointError, match="no fleetfit checkpoint"):
        load_checkpoint(buffer.getvalue(), PlainStripes().model())


def test_a_later_version_is_refused_and_named() -> None:
    buffer = io.BytesIO()
    torch.save({"kind": "fleetfit-checkpoint", "version": 2, "edits": "[]", "weights": {}}, buffer)
    with pytest.raises(CheckpointError, match="of version 2, and version 1 is understood"):
        load_checkpoint(buffer.getvalue(), PlainStripes().model())


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (trace,)

    buffer = io.BytesIO()
    torch.save({"kind": "fleetfit-checkpoint", "version": 1, "edits": Bomb(), "weights": {}}, buffer)
    for content in (buffer.getvalue(), pickle.dumps(Bomb())):
        with pytest.raises(CheckpointError):
            load_checkpoint(content, PlainStripes().model())
    assert not trace.exists()


def test_weights_from_a_file_fill_a_model(tmp_path: Path) -> None:
    source, target = PlainStripes().model().eval(), PlainStripes().model().eval()
    path = tmp_path / "weights.pt"
    torch.save(source.state_dict(), path)
    load_weights(path, target)
    torch.testing.assert_close(target(*EXAMPLE), source(*EXAMPLE), rtol=0, atol=0)


def test_weights_of_another_model_name_the_first_difference(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(CheckpointError, match=r"weights\.pt is of another model: Missing key"):
        load_weights(path, PlainStripes().model())
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="holds no weights by name"):
        load_weights(path, PlainStripes().model())
