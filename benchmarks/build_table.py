"""A table of finished measurements, made for real: every structure of a family is trained, exported and timed here.

``python -m benchmarks.build_table --family plain --output benchmarks/tables/plain.jsonl`` takes about ten minutes on
one core. A line is one file: its structure, precision, size, accuracy, latency and the seconds that its training took.
A structure is trained once and gives a line for each precision. Lines that are there already are not made again. Beside
the table, ``.about.json`` keeps when and on what machine it was made.

The images are CIFAR-10 at 16×16 (``FLEETFIT_CIFAR10``, see ``benchmarks.cifar10``). Structures are cut from one trained
network by the importance of their channels, as the product does it, and fine-tuned.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import torch_pruning
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import cifar10
from benchmarks.resnet8 import ResNet8, normalise
from pipelines.export.onnx import export_onnx
from pipelines.quantize.onnx_int8 import quantize_static, range_is_reduced

_FINE_TUNING_IMAGES = 6000
_HELD_OUT_IMAGES = 3000
_CALIBRATION_IMAGES = 64
_TIMED_RUNS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Networks that differ in their widths: the whole one, and where each width of a structure is cut."""

    make: Callable[[], nn.Module]
    # For each number of a structure, the layers whose output channels it says.
    layers: Callable[[Any], tuple[tuple[nn.Conv2d, ...], ...]]
    widths: tuple[tuple[int, ...], ...]


class PlainNetwork(nn.Module):
    """``(n, 3, 16, 16)`` images to ``(n, 10)`` logits through three convolutions of 32, 64 and 64 filters."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 32), (32, 64), (64, 64)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, 10)``."""
        return self.head(self.pool(self.features(x)).flatten(1))


def _plain_layers(model: PlainNetwork) -> tuple[tuple[nn.Conv2d, ...], ...]:
    return tuple((layer,) for layer in model.features if isinstance(layer, nn.Conv2d))


def _residual_layers(model: ResNet8) -> tuple[tuple[nn.Conv2d, ...], ...]:
    """Of each stage the channels inside its block, and those that its shortcut ties together."""
    return tuple((block.convolution_1, block.convolution_2) for block in model.stages)


FAMILIES: Mapping[str, Family] = {
    "plain": Family(make=PlainNetwork, layers=_plain_layers, widths=((4, 8, 16, 32), (8, 16, 32, 64), (8, 16, 32, 64))),
    "resnet8": Family(
        make=ResNet8, layers=_residual_layers, widths=((4, 8, 12, 16), (8, 16, 24, 32), (16, 32, 48, 64))
    ),
}


def main() -> None:
    """Makes the lines that are missing, and writes each as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=sorted(FAMILIES), required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2, help="of fine-tuning, for each structure")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    family = FAMILIES[arguments.family]
    images = _Images.load()
    base = _base(family, images, seed=arguments.seed)
    done = {tuple(line["structure"]) for line in _lines(arguments.output)}
    for structure in itertools.product(*family.widths):
        if structure in done:
            continue
        lines = list(_lines_of(family, base, structure, images, epochs=arguments.epochs, seed=arguments.seed))
        with arguments.output.open("a", encoding="utf-8") as table:
            table.writelines(json.dumps(line) + "\n" for line in lines)
        print(*lines, sep="\n", flush=True)
    _write_about(arguments.output, arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Images:
    """Images ``(n, 3, 16, 16) float32`` and classes ``(n,) int64``, to train on and held out."""

    x: Tensor
    y: Tensor
    x_held: Tensor
    y_held: Tensor

    @staticmethod
    def load() -> _Images:
        split = cifar10.load("train")
        order = torch.randperm(len(split.labels), generator=torch.Generator().manual_seed(0))
        order = order[: 2 * _FINE_TUNING_IMAGES + _HELD_OUT_IMAGES]
        x = functional.avg_pool2d(normalise(split.images[order.numpy()]), 2)
        y = torch.from_numpy(split.labels)[order]
        held = _HELD_OUT_IMAGES
        return _Images(x=x[:-held], y=y[:-held], x_held=x[-held:], y_held=y[-held:])


def _base(family: Family, images: _Images, *, seed: int) -> nn.Module:
    """The whole network, trained."""
    torch.manual_seed(seed)
    model = family.make()
    _train(model, images.x, images.y, epochs=12, rate=0.1, seed=seed)
    return model


def _lines_of(
    family: Family, base: nn.Module, structure: tuple[int, ...], images: _Images, *, epochs: int, seed: int
) -> Iterator[dict[str, Any]]:
    """A line for each precision of the structure."""
    example = images.x[:1]
    model = _cut(family, base, structure, example)
    started = time.monotonic()
    _train(model, images.x[:_FINE_TUNING_IMAGES], images.y[:_FINE_TUNING_IMAGES], epochs=epochs, rate=0.05, seed=seed)
    train_s = time.monotonic() - started
    whole = export_onnx(model, (example,)).content
    samples = [(image[None].numpy(),) for image in images.x[:_CALIBRATION_IMAGES]]
    small = quantize_static(
        whole,
        samples,
        per_channel=True,
        signed_activations=False,
        reduce_range=range_is_reduced("auto", lambda _: None),
    )
    for precision, content in (("fp32", whole), ("int8", small)):
        accuracy, latency_ms = _measured(content, images)
        yield {
            "structure": list(structure),
            "precision": precision,
            "size_bytes": len(content),
            "accuracy": round(accuracy, 5),
            "latency_ms": round(latency_ms, 5),
            "train_s": round(train_s, 2),
        }


def _cut(family: Family, base: nn.Module, structure: tuple[int, ...], example: Tensor) -> nn.Module:
    """A copy of the base without the channels of the smallest weights in each layer."""
    model = family.make()
    model.load_state_dict(base.state_dict())
    graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=example)
    for layers, width in zip(family.layers(model), structure, strict=True):
        for layer in layers:
            norms = layer.weight.detach().abs().sum(dim=(1, 2, 3))
            losers = torch.argsort(norms)[: len(norms) - width].tolist()
            if losers:
                graph.get_pruning_group(layer, torch_pruning.prune_conv_out_channels, losers).prune()
    return model


def _train(model: nn.Module, x: Tensor, y: Tensor, *, epochs: int, rate: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    batch = 64
    steps = len(x) // batch
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=epochs * steps)
    model.train()
    for _ in range(epochs):
        shuffled = torch.randperm(len(x), generator=generator)
        for step in range(steps):
            chosen = shuffled[step * batch : (step + 1) * batch]
            images = torch.where(torch.rand(batch, 1, 1, 1, generator=generator) < 0.5, x[chosen].flip(3), x[chosen])
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(model(images), y[chosen]).backward()
            optimizer.step()
            schedule.step()
    model.eval()


def _measured(content: bytes, images: _Images) -> tuple[float, float]:
    """The accuracy of a file, and the median of its latency on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    outputs = [session.run(None, {name: image[None].numpy()})[0] for image in images.x_held]
    accuracy = float((np.concatenate(outputs).argmax(1) == images.y_held.numpy()).mean())
    image = images.x_held[:1].numpy()
    elapsed_ns = []
    for _ in range(_TIMED_RUNS):
        started_ns = time.perf_counter_ns()
        session.run(None, {name: image})
        elapsed_ns.append(time.perf_counter_ns() - started_ns)
    return accuracy, float(np.median(elapsed_ns)) / 1e6


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write_about(output: Path, arguments: argparse.Namespace) -> None:
    about = {
        "family": arguments.family,
        "fine_tuning_epochs": arguments.epochs,
        "seed": arguments.seed,
        "made": datetime.now(timezone.utc).date().isoformat(),
        "processor": _processor(),
        "threads": 1,
        "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
    }
    output.with_suffix(".about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _processor() -> str:
    """Name of the processor, and the instructions that decide how fast int8 is."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    values = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    flags = values.get("flags", "").split()
    known = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni") if flag in flags]
    return f"{values.get('model name', platform.processor()).strip()} ({' '.join(known)})"


if __name__ == "__main__":
    main()
