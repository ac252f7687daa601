"""``fleetfit device``: the machines of the fleet."""

from __future__ import annotations

import sys
from datetime import datetime, timezone

import click

from orchestrator.cli.command import command, group
from orchestrator.cli.options import COMMON, parse_labels
from orchestrator.cli.output import ago_text, labels_text, print_facts, print_json, print_table, tell, time_text
from orchestrator.cli.settings import current_settings
from orchestrator.client import Device
from orchestrator.errors import InvalidInputError
from orchestrator.quantity import format_bytes

_COMMANDS = {
    "list": ("orchestrator.cli.device:list_", "Show the devices."),
    "show": ("orchestrator.cli.device:show", "Show all that is known of one device."),
    "label": ("orchestrator.cli.device:label", "Set and remove labels."),
    "remove": ("orchestrator.cli.device:remove", "Revoke a device's certificate and forget it."),
}


@group("device", commands_at=_COMMANDS, example="fleetfit device list")
def device() -> None:
    """The machines of the fleet."""


@command("list", example='fleetfit device list --selector "room=lab"', options=COMMON)
@click.option("-l", "--selector", default="", help="label=value, class=… or name=glob*, joined by commas.")
def list_(selector: str) -> None:
    """Shows the devices."""
    settings = current_settings()
    with settings.connect_to_read() as client:
        devices = client.list_devices(selector)
    if settings.as_json:
        print_json(devices=devices)
        return
    now = datetime.now(timezone.utc)
    chosen = f" that '{selector}' selects" if selector else ""
    print_table(
        ("NAME", "STATE", "ARCH", "HARDWARE", "RUNTIMES", "RELEASE", "LABELS"),
        [
            (
                each.name,
                _state(each, now),
                each.facts.architecture,
                each.facts.board or each.facts.cpu_model,
                ", ".join(runtime.name for runtime in each.facts.runtimes),
                release_text(each),
                labels_text(each.labels),
            )
            for each in devices
        ],
        empty=f"There are no devices{chosen}. Let one join: fleetfit join-token create",
    )


@command("show", example="fleetfit device show my-pi", options=COMMON)
@click.argument("name", metavar="DEVICE")
def show(name: str) -> None:
    """Shows all that is known of one device. What it says of itself are claims, not permissions."""
    settings = current_settings()
    with settings.connect_to_read() as client:
        found = client.get_device(name)
    if settings.as_json:
        print_json(device=found)
    else:
        print_facts(facts_of(found))


@command("label", example="fleetfit device label my-pi room=lab owner-", options=COMMON)
@click.argument("name", metavar="DEVICE")
@click.argument("labels", metavar="KEY=VALUE|KEY-…", nargs=-1, required=True)
def label(name: str, labels: tuple[str, ...]) -> None:
    """Sets labels (KEY=VALUE) and removes them (KEY-)."""
    settings = current_settings()
    removed = tuple(each[:-1] for each in labels if each.endswith("-") and "=" not in each)
    wanted = parse_labels(tuple(each for each in labels if not (each.endswith("-") and "=" not in each)))
    with settings.connect() as client:
        changed = client.label_device(name, wanted, remove=removed)
    if settings.as_json:
        print_json(device=changed)
    tell(f"Device {changed.name} has the labels: {labels_text(changed.labels) or 'none'}.")


@command("remove", example="fleetfit device remove my-pi --yes", options=COMMON)
@click.argument("name", metavar="DEVICE")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def remove(name: str, yes: bool) -> None:
    """Revokes a device's certificate, closes its stream and forgets it. Its measurements stay."""
    settings = current_settings()
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidInputError(f"device {name} is not removed without a yes", hint="add --yes")
        click.confirm(f"Remove device {name}? It will have to join again.", abort=True, err=True)
    with settings.connect() as client:
        client.remove_device(name)
    if settings.as_json:
        print_json(removed=name)
    tell(f"Device {name} is removed; its certificate is worth nothing any more.")


def facts_of(device: Device) -> dict[str, str]:
    """What a device is, for people, by name."""
    facts = device.facts
    return {
        "name": device.name,
        "id": device.id,
        "class": device.device_class,
        "state": _state(device, datetime.now(timezone.utc)),
        "release": release_text(device),
        "labels": labels_text(device.labels),
        "architecture": facts.architecture,
        "board": facts.board,
        "processor": f"{facts.cpu_model} ({facts.cpu_count} cores)" if facts.cpu_model else f"{facts.cpu_count} cores",
        "instruction sets": ", ".join(facts.instruction_sets),
        "memory": format_bytes(facts.memory_bytes) if facts.memory_bytes else "",
        "operating system": facts.operating_system,
        "runtimes": ", ".join(f"{each.name} {each.version} ({', '.join(each.formats)})" for each in facts.runtimes),
        "energy": ", ".join(f"{each.name} ({each.scope}, {each.provenance.value})" for each in facts.meters)
        or "no meter",
        "agent": f"{facts.agent_version} on Python {facts.python_version}" if facts.agent_version else "",
        "joined": time_text(device.enrolled_at),
        "last seen": time_text(device.last_seen_at),
        "certificate until": time_text(device.certificate_expires_at),
    }


def release_text(device: Device) -> str:
    """The release that the device serves: ``name:version``."""
    return f"{device.active_release.name}:{device.active_release.version}" if device.active_release else ""


def _state(device: Device, now: datetime) -> str:
    if device.online:
        return f"online, {device.activity}" if device.activity else "online"
    return f"offline, seen {ago_text(device.last_seen_at, now)}"
