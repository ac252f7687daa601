"""Devices and what they say of themselves."""

from __future__ import annotations

from fleetfit.v1 import device_facts_pb2, devices_pb2, session_pb2

from orchestrator.api.convert.scalars import enum_member, enum_number, sha256, texts, timestamp
from orchestrator.fleet.device import ActiveRelease, Device, DeviceFacts, MeterFacts, Provenance, RuntimeFacts
from orchestrator.fleet.plain_text import plain_text

_MOST_ENTRIES = 64


def facts_from_proto(message: device_facts_pb2.DeviceFacts) -> DeviceFacts:
    """What a device says of itself, made inert.

    Raises:
        InvalidInputError: It does not say how far a meter may be trusted.
    """
    return DeviceFacts(
        hostname=plain_text(message.hostname),
        architecture=plain_text(message.architecture),
        board=plain_text(message.board),
        cpu_model=plain_text(message.cpu_model),
        instruction_sets=texts(message.instruction_sets),
        cpu_count=message.cpu_count,
        memory_bytes=message.memory_bytes,
        operating_system=plain_text(message.operating_system),
        python_version=plain_text(message.python_version),
        agent_version=plain_text(message.agent_version),
        runtimes=tuple(
            RuntimeFacts(
                name=plain_text(runtime.name),
                version=plain_text(runtime.version),
                formats=texts(runtime.formats),
                providers=texts(runtime.providers),
            )
            for runtime in message.runtimes[:_MOST_ENTRIES]
        ),
        meters=tuple(
            MeterFacts(
                name=plain_text(meter.name),
                provenance=provenance_from_proto(meter.provenance),
                scope=plain_text(meter.scope),
            )
            for meter in message.meters[:_MOST_ENTRIES]
        ),
        host_id=plain_text(message.host_id),
    )


def facts_to_proto(facts: DeviceFacts) -> device_facts_pb2.DeviceFacts:
    """The message of the facts."""
    return device_facts_pb2.DeviceFacts(
        hostname=facts.hostname,
        architecture=facts.architecture,
        board=facts.board,
        cpu_model=facts.cpu_model,
        instruction_sets=facts.instruction_sets,
        cpu_count=facts.cpu_count,
        memory_bytes=facts.memory_bytes,
        operating_system=facts.operating_system,
        python_version=facts.python_version,
        agent_version=facts.agent_version,
        runtimes=[
            device_facts_pb2.RuntimeFacts(
                name=runtime.name, version=runtime.version, formats=runtime.formats, providers=runtime.providers
            )
            for runtime in facts.runtimes
        ],
        meters=[
            device_facts_pb2.MeterFacts(
                name=meter.name, provenance=provenance_to_proto(meter.provenance), scope=meter.scope
            )
            for meter in facts.meters
        ],
        host_id=facts.host_id,
    )


def provenance_from_proto(number: int) -> Provenance:
    """How far a figure may be trusted.

    Raises:
        InvalidInputError: It is not said: such a figure may not pass for a measured one.
    """
    return enum_member(Provenance, device_facts_pb2.Provenance.DESCRIPTOR, number, name="provenance")


def provenance_to_proto(provenance: Provenance) -> device_facts_pb2.Provenance.ValueType:
    """The number of the provenance."""
    return device_facts_pb2.Provenance.ValueType(enum_number(device_facts_pb2.Provenance.DESCRIPTOR, provenance))


def active_release_from_proto(message: session_pb2.ActiveRelease) -> ActiveRelease | None:
    """What a device serves; None where it serves nothing.

    Raises:
        InvalidInputError: The hash is not one.
    """
    if not message.manifest_sha256:
        return None
    return ActiveRelease(
        manifest_sha256=sha256(message.manifest_sha256, name="active_release"),
        name=plain_text(message.name),
        version=plain_text(message.version),
    )


def active_release_to_proto(release: ActiveRelease | None) -> session_pb2.ActiveRelease | None:
    """The message of what a device serves."""
    if release is None:
        return None
    return session_pb2.ActiveRelease(
        manifest_sha256=release.manifest_sha256, name=release.name, version=release.version
    )


def device_to_proto(device: Device, *, online: bool, activity: str) -> devices_pb2.Device:
    """The message of a device as it is now."""
    return devices_pb2.Device(
        id=device.id,
        name=device.name,
        device_class=device.device_class,
        online=online,
        facts=facts_to_proto(device.facts),
        labels=dict(device.labels),
        active_release=active_release_to_proto(device.active_release),
        enrolled_at=timestamp(device.enrolled_at),
        last_seen_at=timestamp(device.last_seen_at),
        certificate_expires_at=timestamp(device.certificate_expires_at),
        activity=activity,
    )
