"""The manifest of a release as the device reads it: signed, and still trusted with nothing that it does not need.

What the device acts on is parsed to the letter: unknown keys, other types and values out of range are refused. What is
for people (``io``, ``budgets``, ``metrics``, ``provenance``) is carried and not looked into.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from agent.errors import IncompatibleReleaseError, SignatureRefusedError

SCHEMA = 1
MAXIMUM_MANIFEST_BYTES = 64 * 1024
MAXIMUM_ARTIFACT_BYTES = 1 << 40
MAXIMUM_GOLDEN_BYTES = 1 << 30
MAXIMUM_COUNTER = (1 << 63) - 1
MAXIMUM_LIST_LENGTH = 64

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9_-]{1,16}){1,4}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

_FOR_PEOPLE = {"io", "budgets", "metrics", "provenance"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFile:
    """The one file of a release. ``size_bytes`` is a hard cap on what is downloaded."""

    # A bare file name, for example "model.onnx".
    path: str
    size_bytes: int
    sha256: str
    format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """Reference inputs and outputs, and how far the device's outputs may be from them."""

    sha256: str
    size_bytes: int
    # Largest absolute difference, as a fraction of the outputs' largest magnitude.
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """What a device must be or have. Empty: not limited."""

    runtimes: tuple[str, ...]
    architectures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the device needs to know of a release."""

    # SHA-256 of the manifest's own bytes: the release's name on this device.
    sha256: str
    name: str
    version: str
    counter: int
    compatibility: Compatibility
    file: ArtifactFile
    golden: Golden

    @property
    def target_path(self) -> str:
        """The one path under which the release repository may prove this manifest."""
        return f"{self.name}/{self.version}.json"


def is_sha256(text: str) -> bool:
    """Whether ``text`` is a SHA-256 in lower-case hexadecimal, and so harmless as a file name."""
    return _SHA256.fullmatch(text) is not None


def is_target_path(path: str) -> bool:
    """Whether ``path`` has the form of a manifest's: ``name/version.json``."""
    name, separator, file_name = path.partition("/")
    version = file_name.removesuffix(".json")
    return bool(separator and version != file_name and _NAME.fullmatch(name) and _is_version(version))


def parse_manifest(data: bytes) -> Manifest:
    """The manifest.

    Raises:
        IncompatibleReleaseError: It has another schema than this agent knows.
        SignatureRefusedError: It is not a manifest: malformed, too large, a key unknown or missing, a value out of
            range. Whoever signed it did not use fleetfit.
    """
    if len(data) > MAXIMUM_MANIFEST_BYTES:
        _refuse(f"larger than {MAXIMUM_MANIFEST_BYTES} bytes")
    try:
        root = json.loads(data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise SignatureRefusedError(f"the manifest is not JSON: {error}") from error
    if not isinstance(root, dict):
        _refuse("not an object")
    schema = root.get("schema")
    if type(schema) is not int or schema != SCHEMA:
        raise IncompatibleReleaseError(
            f"the manifest has schema {str(schema)[:20]}, this agent knows {SCHEMA}", hint="update the agent first"
        )
    _keys(root, "manifest", {"schema", "name", "version", "counter", "compat", "file", "golden"}, optional=_FOR_PEOPLE)
    version = _text(root, "version", _VERSION)
    if not _is_version(version):
        _refuse("version: '..' is not allowed")
    return Manifest(
        sha256=hashlib.sha256(data).hexdigest(),
        name=_text(root, "name", _NAME),
        version=version,
        counter=_integer(root, "counter", 1, MAXIMUM_COUNTER),
        compatibility=_compatibility(root["compat"]),
        file=_file(root["file"]),
        golden=_golden(root["golden"]),
    )


def _compatibility(value: object) -> Compatibility:
    compat = _keys(value, "compat", {"runtimes", "architectures"})
    return Compatibility(runtimes=_words(compat, "runtimes"), architectures=_words(compat, "architectures"))


def _file(value: object) -> ArtifactFile:
    file = _keys(value, "file", {"path", "size_bytes", "sha256", "format"})
    path = _text(file, "path", _FILE_NAME)
    if path.lower() == "manifest.json":
        _refuse("file.path: taken by the manifest itself")
    return ArtifactFile(
        path=path,
        size_bytes=_integer(file, "size_bytes", 1, MAXIMUM_ARTIFACT_BYTES),
        sha256=_text(file, "sha256", _SHA256),
        format=_text(file, "format", _WORD),
    )


def _golden(value: object) -> Golden:
    golden = _keys(value, "golden", {"sha256", "size_bytes", "tolerance"})
    tolerance = golden["tolerance"]
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 <= tolerance <= 1:
        _refuse("golden.tolerance: not a number from 0 to 1")
    return Golden(
        sha256=_text(golden, "sha256", _SHA256),
        size_bytes=_integer(golden, "size_bytes", 1, MAXIMUM_GOLDEN_BYTES),
        tolerance=float(tolerance),
    )


def _is_version(version: str) -> bool:
    return _VERSION.fullmatch(version) is not None and ".." not in version


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different: two readers must not see two manifests in the same bytes."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key appears twice")
    return result


def _keys(value: object, place: str, required: set[str], *, optional: Iterable[str] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse(f"{place}: not an object")
    if missing := sorted(required - value.keys()):
        _refuse(f"{place}: '{missing[0]}' is missing")
    if unknown := sorted(value.keys() - required - set(optional)):
        _refuse(f"{place}: unknown key '{unknown[0][:40]}'")
    return value


def _text(value: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    text = value[key]
    if not isinstance(text, str) or pattern.fullmatch(text) is None:
        _refuse(f"{key}: not of the form {pattern.pattern}")
    return text


def _integer(value: dict[str, Any], key: str, minimum: int, maximum: int) -> int:
    number = value[key]
    # A bool is an int to Python, and not to anyone else.
    if type(number) is not int or not minimum <= number <= maximum:
        _refuse(f"{key}: not a whole number from {minimum} to {maximum}")
    return number


def _words(value: dict[str, Any], key: str) -> tuple[str, ...]:
    words = value[key]
    if not isinstance(words, list) or len(words) > MAXIMUM_LIST_LENGTH:
        _refuse(f"{key}: not a list of at most {MAXIMUM_LIST_LENGTH}")
    if not all(isinstance(word, str) and _WORD.fullmatch(word) for word in words):
        _refuse(f"{key}: not a list of names")
    return tuple(words)


def _refuse(what: str) -> NoReturn:
    raise SignatureRefusedError(f"the manifest is not acceptable: {what}")
