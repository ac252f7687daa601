"""Names of devices and labels on them: what is allowed, and what is made of what is not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Mapping

from orchestrator.errors import InvalidInputError

_NAME_LIMIT = 63
_LABEL_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABELS_LIMIT = 64
# Selectors give these a meaning of their own.
_RESERVED_KEYS = frozenset({"name", "class"})


def device_name(wish: str, *, taken: Container[str]) -> str:
    """A DNS label close to ``wish`` that is not ``taken``: lower case, digits, hyphens, at most 63 characters."""
    ascii_only = unicodedata.normalize("NFKD", wish[:1000]).encode("ascii", "ignore").decode()
    label = re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-")[:_NAME_LIMIT].strip("-")
    # "all" is what selectors call the whole fleet.
    label = "device" if label in ("", "all") else label
    name, number = label, 1
    while name in taken:
        number += 1
        suffix = f"-{number}"
        name = label[: _NAME_LIMIT - len(suffix)].strip("-") + suffix
    return name


def checked_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels, each known to be one.

    Raises:
        InvalidInputError: A key or a value has characters that labels do not have, is too long, or is reserved.
    """
    if len(labels) > _LABELS_LIMIT:
        raise InvalidInputError(f"{len(labels)} labels are too many", hint=f"at most {_LABELS_LIMIT}")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or key in _RESERVED_KEYS:
            raise InvalidInputError(
                f"{key!r} cannot be the name of a label",
                hint="letters, digits, '.', '_', '/', '-', at most 63; not 'name' or 'class'",
            )
        if not _LABEL_VALUE.fullmatch(value):
            raise InvalidInputError(
                f"label {key}: {value!r} cannot be a value", hint="letters, digits, '.', '_', '-', at most 63"
            )
    return dict(labels)
