"""ResNet-8 of MLPerf Tiny (16-32-64 filters), and its training on CIFAR-10.

Source: MLPerf Tiny, image classification reference model. We differ in the optimiser and its schedule: SGD with
one cycle reaches the accuracy in fewer epochs.

Run ``python -m benchmarks.resnet8 --output baseline.pt`` to train the baseline alone.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import cifar10


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch norm, and a shortcut that is projected where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.convolution_1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm_1 = nn.BatchNorm2d(out_channels)
        self.convolution_2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm_2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in_channels, h, w)`` to ``(n, out_channels, h / stride, w / stride)``."""
        y = functional.relu(self.norm_1(self.convolution_1(x)))
        y = self.norm_2(self.convolution_2(y))
        return functional.relu(y + self.shortcut(x))


class ResNet8(nn.Module):
    """``(n, 3, 32, 32)`` images, normalised, to ``(n, 10)`` logits; 78,042 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.stages = nn.Sequential(ResidualBlock(16, 16, 1), ResidualBlock(16, 32, 2), ResidualBlock(32, 64, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, 10)``."""
        return self.head(self.pool(self.stages(self.stem(x))).flatten(1))


def normalise(images: np.ndarray) -> Tensor:
    """``(n, 32, 32, 3) uint8`` to ``(n, 3, 32, 32) float32``, less the mean, by the standard deviation."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor(cifar10.MEAN).view(1, 3, 1, 1)
    deviation = torch.tensor(cifar10.STANDARD_DEVIATION).view(1, 3, 1, 1)
    return (x - mean) / deviation


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image of the batch ``(n, 3, 32, 32)`` mirrored by chance and shifted by up to four pixels."""
    count = x.shape[0]
    mirrored = torch.rand(count, generator=generator) < 0.5
    x = torch.where(mirrored.view(-1, 1, 1, 1), x.flip(3), x)
    padded = functional.pad(x, (4, 4, 4, 4))
    offsets = torch.randint(0, 9, (count, 2), generator=generator)
    rows = (offsets[:, :1] + torch.arange(32)).view(count, 1, 32, 1)
    columns = (offsets[:, 1:] + torch.arange(32)).view(count, 1, 1, 32)
    return padded[torch.arange(count).view(-1, 1, 1, 1), torch.arange(3).view(1, 3, 1, 1), rows, columns]


def train(*, epochs: int, seed: int, held_out: int = 5000) -> tuple[ResNet8, float]:
    """The trained network, and its accuracy on the last ``held_out`` images of a shuffled train split."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    split = cifar10.load("train")
    order = torch.randperm(len(split.labels), generator=torch.Generator().manual_seed(0))
    x, y = normalise(split.images)[order], torch.from_numpy(split.labels)[order]
    x_train, y_train, x_held, y_held = x[:-held_out], y[:-held_out], x[-held_out:], y[-held_out:]
    model = ResNet8().to(memory_format=torch.channels_last)
    batch, steps = 128, len(x_train) // 128
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.15, total_steps=epochs * steps, pct_start=0.2)
    for epoch in range(epochs):
        model.train()
        started, total = time.monotonic(), 0.0
        shuffled = torch.randperm(len(x_train), generator=generator)
        for step in range(steps):
            chosen = shuffled[step * batch : (step + 1) * batch]
            images = augment(x_train[chosen], generator).contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16):
                loss = functional.cross_entropy(model(images), y_train[chosen])
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        took_s = time.monotonic() - started
        print(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.3f}, held-out {accuracy(model, x_held, y_held):.4f}, "
              f"{took_s:.0f} s", flush=True)  # fmt: skip
    return model, accuracy(model, x_held, y_held)


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of ``x`` whose largest logit is at ``y``."""
    model.eval()
    right = sum(int((model(a).argmax(1) == b).sum()) for a, b in zip(x.split(500), y.split(500), strict=True))
    return right / len(y)


def main() -> None:
    """Trains the baseline and writes its weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, held_out = train(epochs=arguments.epochs, seed=arguments.seed)
    torch.save({"state": model.state_dict(), "held_out_accuracy": held_out}, arguments.output)
    print(f"held-out accuracy {held_out:.4f}, written to {arguments.output}")


if __name__ == "__main__":
    main()
