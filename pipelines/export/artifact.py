"""An artifact: the file that a device runs, as bytes with its format."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The bytes of one file and what kind of file it is."""

    content: bytes
    # "onnx" or "tflite".
    format: str

    @property
    def sha256(self) -> str:
        """Lower-case hexadecimal SHA-256 of the bytes: the artifact's name."""
        return hashlib.sha256(self.content).hexdigest()
