"""Selectors: how a user names devices. ``site=lab,class=pi-*``, ``name=cam-*``, ``pi-4b``, ``all``."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.errors import InvalidInputError, NotFoundError
from orchestrator.fleet.device import Device

_HINT = "for example 'pi-4b', 'name=cam-*', 'class=raspberry-pi-5-*', 'site=lab', joined by commas, or 'all'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One condition. ``key`` is empty for a bare name or id, which must be exact."""

    key: str
    value: str

    def matches(self, device: Device) -> bool:
        """Whether the device meets the condition."""
        if not self.key:
            return self.value in (device.name, device.id)
        if self.key == "name":
            return fnmatch.fnmatchcase(device.name, self.value)
        if self.key == "class":
            return fnmatch.fnmatchcase(device.device_class, self.value)
        return device.labels.get(self.key) == self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Conditions that a device must all meet; none: every device."""

    text: str
    terms: tuple[Term, ...]

    def matches(self, device: Device) -> bool:
        """Whether the device is selected."""
        return all(term.matches(device) for term in self.terms)


def parse_selector(text: str) -> Selector:
    """The selector that ``text`` writes.

    Raises:
        InvalidInputError: It is empty, has an empty part, or a part without a name or a value.
    """
    if not text.strip():
        raise InvalidInputError("the selector is empty", hint=f"say which devices: {_HINT}")
    terms: list[Term] = []
    for part in (part.strip() for part in text.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not key or (equals and not value):
            raise InvalidInputError(f"selector '{text}': '{part}' is not a condition", hint=_HINT)
        if equals:
            terms.append(Term(key=key, value=value))
        elif key != "all":
            terms.append(Term(key="", value=key))
    return Selector(text=text, terms=tuple(terms))


def select_devices(text: str, devices: Iterable[Device]) -> tuple[Device, ...]:
    """The devices that ``text`` selects, at least one, in the order of their names.

    Raises:
        InvalidInputError: ``text`` is not a selector.
        NotFoundError: It selects no device.
    """
    selector = parse_selector(text)
    selected = tuple(sorted((d for d in devices if selector.matches(d)), key=lambda device: device.name))
    if not selected:
        known = "is not the name of a device" if _is_name(selector) else "selects no device"
        raise NotFoundError(f"'{text}' {known}", hint="'fleetfit device list' shows what there is")
    return selected


def _is_name(selector: Selector) -> bool:
    return len(selector.terms) == 1 and not selector.terms[0].key
