from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pipelines.compress import Baseline, train_baseline
from pipelines.export.artifact import Artifact
from pipelines.export.onnx import export_onnx
from pipelines.loading import load_workload
from pipelines.seeding import seeded
from pipelines.workload import Workload
from tests.fakes.workloads import PlainStripes, ResidualStripes, striped_images

DIGITS = Path(__file__).parents[2] / "examples" / "digits.py"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def stripes() -> Workload:
    return PlainStripes()


@pytest.fixture(scope="session")
def stripes_baseline(stripes: Workload) -> Baseline:
    return train_baseline(stripes, seed=0)


@pytest.fixture(scope="session")
def settled_model() -> nn.Module:
    """A network with shortcuts whose weights and statistics are no longer those of a fresh one."""
    with seeded(0):
        module = ResidualStripes().model().train()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
            for _ in range(3):
                module(striped_images(32, seed=4)[0])
    return module.eval()


@pytest.fixture(scope="session")
def settled_onnx(settled_model: nn.Module) -> Artifact:
    return export_onnx(settled_model, (torch.zeros(1, 1, 8, 8),))


@pytest.fixture(scope="session")
def digits() -> Workload:
    return load_workload(DIGITS)
