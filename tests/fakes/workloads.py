"""Small workloads that train in a second: stripes in noise, for a plain network and for one with shortcuts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.workload import Training, Workload

CLASSES = 4


def striped_images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images (count, 1, 8, 8) with horizontal, vertical, diagonal or no stripes in noise, and which of them it is."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % CLASSES
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    patterns = torch.stack([rows % 2, columns % 2, (rows + columns) % 2, torch.zeros(8, 8, dtype=torch.long)]).float()
    images = patterns[targets] + 0.4 * torch.randn(count, 8, 8, generator=generator)
    return images[:, None], targets


def block(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


class Shortcut(nn.Module):
    """Two convolutions around which the input goes as well, through a 1 x 1 convolution where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.first = block(in_channels, out_channels, stride)
        self.second = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels)
        )
        same = stride == 1 and in_channels == out_channels
        self.around = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.relu(self.second(self.first(inputs)) + self.around(inputs))


class PlainStripes(Workload):
    """A plain convolutional network."""

    training = Training(epochs=4, batch_size=32, learning_rate=1e-2, fine_tune_epochs=2)

    def model(self) -> nn.Module:
        return nn.Sequential(
            block(1, 16), block(16, 24, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, CLASSES)
        )

    def train_data(self) -> tuple[Tensor, Tensor]:
        return striped_images(256, seed=1)

    def validation_data(self) -> tuple[Tensor, Tensor]:
        return striped_images(128, seed=2)

    def example_input(self) -> Tensor:
        return torch.zeros(1, 1, 8, 8)


class ResidualStripes(PlainStripes):
    """A network with shortcuts, one of them around a change of shape."""

    def model(self) -> nn.Module:
        return nn.Sequential(
            block(1, 16),
            Shortcut(16, 16, stride=1),
            Shortcut(16, 24, stride=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(24, CLASSES),
        )
