"""The structure of an artifact: what is left when the values of the weights are taken away.

Two artifacts of one structure take the same time, energy and memory on a device, so one measurement serves both.
"""

from __future__ import annotations

import hashlib

from pipelines.export.artifact import Artifact


def structure_sha256(artifact: Artifact) -> str:
    """Hash of the graph, its shapes and its data types, equal for artifacts that differ in their weights only."""
    if artifact.format == "onnx":
        from pipelines.evaluation import onnx_structure  # noqa: PLC0415 - only for its format

        description = onnx_structure.describe(artifact.content)
    else:
        from pipelines.evaluation import tflite_structure  # noqa: PLC0415 - needs an extra

        description = tflite_structure.describe(artifact.content)
    return hashlib.sha256(description).hexdigest()


def weight_bytes(artifact: Artifact) -> int:
    """Bytes that the weights take in the artifact, read off the file."""
    if artifact.format == "onnx":
        from pipelines.evaluation import onnx_structure  # noqa: PLC0415 - only for its format

        return onnx_structure.weight_bytes(artifact.content)
    from pipelines.evaluation import tflite_structure  # noqa: PLC0415 - needs an extra

    return tflite_structure.weight_bytes(artifact.content)
