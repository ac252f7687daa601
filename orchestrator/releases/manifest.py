"""The manifest: all that is signed of a release. Canonical JSON, so that the same facts are the same bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.errors import InvalidInputError

MAXIMUM_MANIFEST_BYTES = 64 * 1024

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# Not two dots in a row: a version becomes part of a path.
VERSION = re.compile(r"[A-Za-z0-9]([_-]|\.(?!\.)|[A-Za-z0-9]){0,63}")
TARGET_PATH = re.compile(rf"{NAME.pattern}/{VERSION.pattern}\.json")

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Figure = Annotated[float, Field(allow_inf_nan=False)]
_Words = Annotated[tuple[_Word, ...], Field(max_length=64)]


class _Part(BaseModel):
    """A part of the manifest: unknown keys, other types and values without a meaning are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Compatibility(_Part):
    """What a device must be or have. Empty: not limited."""

    runtimes: _Words = ()
    architectures: _Words = ()


class Tensor(_Part):
    """One input or output of the model, as it is in the golden file."""

    name: str
    dtype: _Word
    shape: tuple[Annotated[int, Field(ge=0)], ...]


class Interface(_Part):
    """What goes in and what comes out, in order."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class ArtifactFile(_Part):
    """The one file of a release."""

    path: Annotated[str, Field(pattern=r"^model\.[a-z0-9]{1,16}$")]
    size_bytes: Annotated[int, Field(ge=1, le=1 << 40)]
    sha256: _Sha256
    format: _Word


class Golden(_Part):
    """Reference inputs and outputs; the tolerance is a fraction of the outputs' largest magnitude."""

    sha256: _Sha256
    size_bytes: Annotated[int, Field(ge=1, le=1 << 30)]
    tolerance: Annotated[float, Field(ge=0, le=1)]


class BudgetFigure(_Part):
    """One budget with the figure that was found for it; no figure: it was never measured, and is not held."""

    budget: _Word
    limit: _Figure
    value: _Figure | None
    held: bool
    # Name of the device that measured; empty for size and accuracy.
    device: str


class Metric(_Part):
    """The workload's own metric, of the artifact as it is delivered."""

    name: str
    value: _Figure


class Provenance(_Part):
    """Where the release comes from."""

    search_id: str
    search_name: str
    trial_id: str
    trial_number: Annotated[int, Field(ge=0)]
    trial_title: str
    recipe_sha256: _Sha256
    workload_sha256: str
    seed: int
    # Version by package, of the orchestrator that signed.
    tools: Mapping[str, str]


class Manifest(_Part):
    """A release as its devices see it."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    name: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    version: Annotated[str, Field(max_length=64)]
    counter: Annotated[int, Field(ge=1, le=(1 << 63) - 1)]
    compat: Compatibility
    io: Interface
    file: ArtifactFile
    golden: Golden
    budgets: tuple[BudgetFigure, ...]
    metrics: tuple[Metric, ...]
    provenance: Provenance

    @property
    def target_path(self) -> str:
        """Its path in the release repository."""
        return f"{self.name}/{self.version}.json"

    def canonical_json(self) -> bytes:
        """The bytes that are signed: keys sorted, no spaces, UTF-8; equal manifests have equal bytes.

        Raises:
            InvalidInputError: It is larger than devices accept.
        """
        document = self.model_dump(mode="json", by_alias=True)
        data = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        if len(data) > MAXIMUM_MANIFEST_BYTES:
            raise InvalidInputError(
                f"the manifest of {self.name}:{self.version} has {len(data)} bytes, "
                f"and devices accept {MAXIMUM_MANIFEST_BYTES}"
            )
        return data


def make_manifest(**parts: Any) -> Manifest:
    """A manifest of these parts.

    Raises:
        InvalidInputError: A part is missing, unknown or out of range; the message names it.
    """
    try:
        manifest = Manifest(**parts)
    except ValidationError as error:
        raise _refusal(error) from error
    return _checked(manifest)


def parse_manifest(data: bytes) -> Manifest:
    """The manifest that these bytes are.

    Raises:
        InvalidInputError: They are not one; the message names the first place.
    """
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise _refusal(error) from error
    return _checked(manifest)


def _checked(manifest: Manifest) -> Manifest:
    if VERSION.fullmatch(manifest.version) is None:
        raise InvalidInputError(
            f"'{manifest.version}' cannot be a version",
            hint="letters, digits, '.', '_' and '-', at most 64, no two dots in a row; for example 1.4.0",
        )
    return manifest


def _refusal(error: ValidationError) -> InvalidInputError:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the whole"
    if place == "name":
        return InvalidInputError(
            f"'{str(first['input'])[:70]}' cannot be the name of a release",
            hint="lower case letters, digits and hyphens, at most 63; for example keyword-spotter",
        )
    return InvalidInputError(f"manifest: {place}: {first['msg']}")
