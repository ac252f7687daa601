"""What the updater needs from the rest of the agent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agent.profiling.measurement import Measurement


class ArtifactSource(Protocol):
    """Downloads artifacts, resumably, and keeps them."""

    async def fetch(self, sha256: str, size_bytes: int) -> Path:
        """A file that holds exactly these bytes. Asked again, it goes on where it was cut off.

        Raises:
            ArtifactRefusedError: What was served has another size or hash, or nothing is served by this hash.
            UnreachableError: The orchestrator went away.
            NoSpaceError: The disk is too full.
        """
        ...


class Checker(Protocol):
    """Runs a model once, in a process of its own, and compares its outputs."""

    async def check(
        self,
        *,
        artifact_path: Path,
        artifact_format: str,
        golden_path: Path,
        tolerance: float,
        runtime: str,
        on_progress: Callable[[str], None],
    ) -> Measurement:
        """How the model did on the golden inputs. Cancelled, it ends the process.

        Args:
            artifact_path: The model.
            artifact_format: For example "onnx".
            golden_path: An ``.npz`` with arrays ``input_0`` …, ``output_0`` ….
            tolerance: Largest absolute difference, as a fraction of the outputs' largest magnitude.
            runtime: Name of the runtime to use.
            on_progress: Told what goes on, in one line.

        Raises:
            BusyError: The device is busy with something that must not be disturbed.
        """
        ...
