"""Whether a release suits this device: its format, its architecture, and its age."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agent.errors import IncompatibleReleaseError
from agent.update.manifest import Manifest


class RuntimeCapability(Protocol):
    """A runtime that this device has shown to work."""

    @property
    def name(self) -> str:
        """For example "onnxruntime"."""
        ...

    @property
    def formats(self) -> Sequence[str]:
        """Formats that it loads."""
        ...


class DeviceCapabilities(Protocol):
    """What of the device's facts decides which releases it can run."""

    @property
    def architecture(self) -> str:
        """For example "aarch64"."""
        ...

    @property
    def runtimes(self) -> Sequence[RuntimeCapability]:
        """The runtimes, the preferred one first."""
        ...


def suitable_runtime(manifest: Manifest, device: DeviceCapabilities) -> str:
    """Name of the runtime that is to run the release here.

    Raises:
        IncompatibleReleaseError: The release is for another architecture, or no runtime of this device loads it.
    """
    limits = manifest.compatibility
    if limits.architectures and device.architecture not in limits.architectures:
        raise IncompatibleReleaseError(
            f"the release is for {', '.join(limits.architectures)}, this device is {device.architecture}"
        )
    for runtime in device.runtimes:
        if manifest.file.format in runtime.formats and runtime.name in (limits.runtimes or (runtime.name,)):
            return runtime.name
    wanted = f" with {' or '.join(limits.runtimes)}" if limits.runtimes else ""
    present = ", ".join(runtime.name for runtime in device.runtimes) or "none"
    raise IncompatibleReleaseError(
        f"the release needs a runtime for '{manifest.file.format}'{wanted}; runtimes here: {present}",
        hint="install a runtime for this format on the device",
    )


def check_not_older(manifest: Manifest, floor: int) -> None:
    """Lets a release pass whose counter is at least ``floor``, the highest that was ever active here by this name.

    Raises:
        IncompatibleReleaseError: It is older: genuine once, and possibly replayed for its known faults.
    """
    if manifest.counter < floor:
        raise IncompatibleReleaseError(
            f"rollback refused: {manifest.name}:{manifest.version} has counter {manifest.counter}, "
            f"this device already ran {floor}",
            hint="publish the older model again under a new version",
        )
