"""CIFAR-10 from an archive of JPEG files, as arrays.

The archive holds ``train/<class>/NNNN.jpg`` and ``val/<class>/NNNN.jpg``. It is not part of the project: name it with
``FLEETFIT_CIFAR10``. Decoding takes a minute; the arrays are kept in the user's cache directory.
"""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from platformdirs import user_cache_path

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN = (0.4914, 0.4822, 0.4465)
STANDARD_DEVIATION = (0.2470, 0.2435, 0.2616)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Images ``(n, 32, 32, 3) uint8`` and their classes ``(n,) int64``."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def load(split: str) -> Split:
    """The split ``"train"`` or ``"val"``, in the archive's order.

    Raises:
        SystemExit: The archive is not named or not there.
    """
    cached = user_cache_path("fleetfit") / f"cifar10-{split}.npz"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        _decode(_archive(), cached.parent)
    arrays = np.load(cached)
    return Split(images=arrays["images"], labels=arrays["labels"])


def _archive() -> Path:
    name = os.environ.get("FLEETFIT_CIFAR10", "")
    if not name or not Path(name).is_file():
        raise SystemExit("FLEETFIT_CIFAR10 must name the archive with train/<class>/*.jpg and val/<class>/*.jpg")
    return Path(name)


def _decode(archive: Path, folder: Path) -> None:
    images: dict[str, list[npt.NDArray[np.uint8]]] = {"train": [], "val": []}
    labels: dict[str, list[int]] = {"train": [], "val": []}
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isfile() or not member.name.endswith(".jpg"):
                continue
            split, label, _ = member.name.split("/")[-3:]
            stream = tar.extractfile(member)
            if stream is None:
                continue
            images[split].append(np.asarray(Image.open(io.BytesIO(stream.read())).convert("RGB"), dtype=np.uint8))
            labels[split].append(CLASSES.index(label))
    for split, decoded in images.items():
        temporary = folder / f"cifar10-{split}.partial.npz"
        np.savez(temporary, images=np.stack(decoded), labels=np.asarray(labels[split], dtype=np.int64))
        temporary.replace(folder / f"cifar10-{split}.npz")
