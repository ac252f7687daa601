"""Small workloads that real workers run: one that works, and some that go wrong in their own way."""

from orchestrator.execution.tasks import WorkloadFile

_SOURCE = """
import ctypes
import os
import time

import torch
from torch import nn

from pipelines.workload import Training, Workload


class Tiny(Workload):
    training = Training(epochs={epochs}, batch_size=32)

    def model(self):
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
        )

    def train_data(self):
        {trouble}
        return self._data(128, seed=0)

    def validation_data(self):
        return self._data(64, seed=1)

    def example_input(self):
        return torch.zeros(1, 1, 8, 8)

    def _data(self, count, *, seed):
        generator = torch.Generator().manual_seed(seed)
        targets = torch.arange(count) % 2
        return torch.randn(count, 1, 8, 8, generator=generator) + targets[:, None, None, None], targets
"""

# Where ``train_data`` does what it does.
TROUBLE_LINE = next(number for number, line in enumerate(_SOURCE.splitlines(), start=1) if "{trouble}" in line)


def a_workload(trouble: str = "pass", *, epochs: int = 1) -> WorkloadFile:
    source = _SOURCE.format(trouble=trouble, epochs=epochs)
    return WorkloadFile(filename="tiny.py", source=source.encode())
