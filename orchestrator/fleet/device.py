"""A device: one enrolled machine, what it says of itself, and what it runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum


class Provenance(str, Enum):
    """How far a figure may be trusted."""

    MEASURED = "measured"
    DERIVED = "derived"
    ESTIMATED = "estimated"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFacts:
    """A runtime that ran a probe model on the device."""

    name: str
    version: str
    formats: tuple[str, ...]
    providers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterFacts:
    """An energy meter that the device offers."""

    name: str
    provenance: Provenance
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What a device says of itself: claims, good for defaults and grouping, never for permissions."""

    hostname: str
    architecture: str
    board: str = ""
    cpu_model: str = ""
    instruction_sets: tuple[str, ...] = ()
    cpu_count: int = 0
    memory_bytes: int = 0
    operating_system: str = ""
    python_version: str = ""
    agent_version: str = ""
    runtimes: tuple[RuntimeFacts, ...] = ()
    meters: tuple[MeterFacts, ...] = ()
    host_id: str = ""

    def device_class(self) -> str:
        """The class of devices that share measurements with this one.

        Two devices are of one class when the hardware, the instruction sets and the runtimes' versions are the same.
        """
        hardware = self.board or self.cpu_model or "unknown"
        parts = [self.architecture, hardware, str(self.cpu_count), ",".join(sorted(self.instruction_sets))]
        parts += sorted(f"{runtime.name}={runtime.version}" for runtime in self.runtimes)
        digest = hashlib.sha256("|".join(parts).encode()).hexdigest()[:8]
        slug = "".join(c if c.isalnum() else "-" for c in hardware.lower())
        slug = "-".join(part for part in slug.split("-") if part)[:32].strip("-")
        return f"{slug}-{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRelease:
    """The release that a device really serves, as it reports it."""

    manifest_sha256: str
    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One enrolled machine."""

    id: str
    name: str
    facts: DeviceFacts
    # SHA-256 of the public key's DER: the device's identity, whichever certificate carries it.
    key_fingerprint: str
    # Of the newest certificate that was issued.
    certificate_expires_at: datetime
    enrolled_at: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    last_seen_at: datetime | None = None
    # Grows with each stream; what an older stream says counts no more.
    session_epoch: int = 0
    active_release: ActiveRelease | None = None
    # A certified key that the device has not used yet; empty where there is none.
    next_key_fingerprint: str = ""

    @property
    def device_class(self) -> str:
        """The class of devices that share measurements with this one."""
        return self.facts.device_class()
