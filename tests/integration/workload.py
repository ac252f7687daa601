"""A workload for tests, trained in a second: which of the four corners of an image is the bright one?"""

import torch
from torch import Tensor, nn

from pipelines import Training, Workload


class Corners(Workload):
    """Which of the four corners of an 8 x 8 image is the bright one?"""

    training = Training(epochs=6, batch_size=32, learning_rate=1e-2, fine_tune_epochs=4)

    def model(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Flatten(), nn.Linear(512, 4),
        )  # fmt: skip

    def train_data(self) -> tuple[Tensor, Tensor]:
        return _images(512, seed=0)

    def validation_data(self) -> tuple[Tensor, Tensor]:
        return _images(128, seed=1)

    def example_input(self) -> Tensor:
        return torch.zeros(1, 1, 8, 8)


def _images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % 4
    images = 0.3 * torch.randn(count, 1, 8, 8, generator=generator)
    for corner, (row, column) in enumerate(((0, 0), (0, 4), (4, 0), (4, 4))):
        images[targets == corner, :, row : row + 4, column : column + 4] += 0.8
    return images, targets
