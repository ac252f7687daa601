"""A fleetfit workload: handwritten digits, a small convolutional network.

A workload is one Python file with one class. It tells fleetfit what your model is, what it is trained and judged with,
and how. Copy this file, put your own model and data in, and try it:

    fleetfit search run my_workload.py --device DEVICE --latency-p95 5ms --max-accuracy-drop 1%

The file is sent to the machines that compress, and run there: it must not import other files of yours. What it imports
must be installed on those machines, and what it reads must be there.
"""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from pipelines import Training, Workload


def block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Convolution, batch normalization, rectifier: what networks for small devices are made of."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


class Digits(Workload):
    """Which digit is on an image of 8 x 8 pixels?"""

    # How the baseline is trained, and how models are retrained after they were compressed. Every field has a default.
    training = Training(epochs=12, batch_size=64, learning_rate=4e-3, fine_tune_epochs=8)

    # Weights that you trained elsewhere: torch.save(model.state_dict(), "/data/digits.pt"). The baseline is then not
    # trained, only evaluated. The file must be on each machine that compresses.
    # checkpoint = "/data/digits.pt"

    def model(self) -> nn.Module:
        """The network, untrained. It is called more than once, and must give the same layers each time.

        Take sizes from tensors, not from numbers: passes remove channels, and a ``view(-1, 64)`` would then be wrong.
        """
        return nn.Sequential(
            block(1, 16),
            block(16, 32),
            nn.MaxPool2d(2),
            block(32, 64),
            block(64, 64),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, 10),
        )

    def train_data(self) -> tuple[Tensor, Tensor]:
        """What the network is trained with: a pair of tensors (inputs, targets), one row a sample.

        A torch Dataset whose items are (input, target) is as good, where the data does not fit into memory.
        """
        return self._data()[0]

    def validation_data(self) -> tuple[Tensor, Tensor]:
        """What the network is judged with, and never trained with. Every accuracy that you see is on these samples."""
        return self._data()[1]

    def example_input(self) -> Tensor:
        """One input with a batch dimension of 1, as the device will give it to the model; only shape and type matter.

        Where the model takes several inputs, return a tuple.
        """
        return torch.zeros(1, 1, 8, 8)

    # The rest has defaults that suit classification. Leave it out, or write your own.
    #
    # def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
    #     """What training minimises; the default is cross-entropy."""
    #     return nn.functional.cross_entropy(outputs, targets, label_smoothing=0.1)
    #
    # metric_name = "accuracy"
    #
    # def metric(self, outputs: np.ndarray, targets: np.ndarray) -> float:
    #     """How good all outputs are, higher is better; the default is the share of right answers."""
    #     return float((outputs.argmax(axis=1) == targets).mean())
    #
    # def augment(self, inputs: Tensor) -> Tensor:
    #     """Changes the inputs of each training batch at random; the default leaves them as they are."""
    #     return inputs + 0.05 * torch.randn_like(inputs)

    def _data(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Training and validation data; the split is the same each time."""
        digits = load_digits()
        images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
        targets = torch.tensor(digits.target, dtype=torch.long)
        rows = range(len(targets))
        train, validation = train_test_split(rows, test_size=360, random_state=0, stratify=targets)
        return (images[train], targets[train]), (images[validation], targets[validation])
