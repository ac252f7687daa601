"""Which runtimes there are, and which of them work on this device.

One table holds the built-in ones; packages of third parties add theirs through the entry-point group
``fleetfit.runtimes`` (name = ``module:Class``, a subclass of `agent.runtimes.runtime.Runtime`).

The agent asks `probe_runtimes`, which imports no runtime into the agent: each is imported, and runs a model, in a
process of its own. The measuring worker asks `choose_runtime`.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata

from agent.concurrency import within
from agent.runtimes.environment import runtime_environment
from agent.runtimes.errors import RuntimeUnavailableError
from agent.runtimes.runtime import Runtime, RuntimeFacts

ENTRY_POINT_GROUP = "fleetfit.runtimes"
PROBE_LINE_PREFIX = "fleetfit-probe "
_PROBE_TIMEOUT_S = 60.0
_PROBE_OUTPUT_LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeEntry:
    """Where a runtime's class is found."""

    name: str
    # "module:Class"
    target: str
    # The top-level module of the library underneath; without it the entry is not worth a process.
    library: str
    # Empty: known only once the class is loaded.
    formats: tuple[str, ...] = ()
    hint: str = ""


# In order of preference: the first that works and loads the format is used.
_BUILT_IN = (
    RuntimeEntry(
        name="onnxruntime",
        target="agent.runtimes.onnxruntime:OnnxRuntime",
        library="onnxruntime",
        formats=("onnx",),
        hint="install fleetfit[onnx]",
    ),
    RuntimeEntry(
        name="litert",
        target="agent.runtimes.litert:LiteRt",
        library="ai_edge_litert",
        formats=("tflite",),
        hint="install fleetfit[litert]",
    ),
    RuntimeEntry(
        name="tflite-runtime",
        target="agent.runtimes.tflite_runtime:TfliteRuntime",
        library="tflite_runtime",
        formats=("tflite",),
        hint="install fleetfit[tflite]",
    ),
)


def runtime_entries() -> tuple[RuntimeEntry, ...]:
    """The built-in runtimes, then those of other packages; a built-in name cannot be taken."""
    taken = {entry.name for entry in _BUILT_IN}
    others = (
        RuntimeEntry(name=point.name, target=point.value, library=point.module.split(".")[0])
        for point in metadata.entry_points(group=ENTRY_POINT_GROUP)
        if point.name not in taken
    )
    return _BUILT_IN + tuple(others)


def load_runtime(entry: RuntimeEntry) -> Runtime:
    """The runtime, with its library imported into this process.

    Raises:
        RuntimeUnavailableError: The library is not installed, or cannot be loaded.
    """
    module_name, _, class_name = entry.target.partition(":")
    try:
        runtime_class = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = f"; {entry.hint}" if entry.hint else ""
        raise RuntimeUnavailableError(f"{entry.name} cannot be loaded: {reason}{hint}") from error
    runtime: Runtime = runtime_class()
    return runtime


def choose_runtime(artifact_format: str, *, name: str = "") -> Runtime:
    """The runtime of that name; without a name, the first that can be loaded and takes the format.

    Raises:
        RuntimeUnavailableError: There is none.
    """
    if name:
        for entry in runtime_entries():
            if entry.name == name:
                runtime = load_runtime(entry)
                if artifact_format not in runtime.formats:
                    raise RuntimeUnavailableError(f"{name} does not load .{artifact_format} files")
                return runtime
        known = ", ".join(entry.name for entry in runtime_entries())
        raise RuntimeUnavailableError(f"there is no runtime '{name}'; known are {known}")
    reasons = []
    for entry in runtime_entries():
        if entry.formats and artifact_format not in entry.formats:
            continue
        try:
            runtime = load_runtime(entry)
        except RuntimeUnavailableError as error:
            reasons.append(str(error))
            continue
        if artifact_format in runtime.formats:
            return runtime
    reason = "; ".join(reasons) or "none is made for it"
    raise RuntimeUnavailableError(f"no runtime here loads .{artifact_format} files: {reason}")


async def probe_runtimes() -> tuple[RuntimeFacts, ...]:
    """The runtimes that have just run a one-operator model on this device, each in a process of its own.

    One that is not installed, fails, crashes or hangs is absent.
    """
    facts = []
    for entry in runtime_entries():
        if importlib.util.find_spec(entry.library) is not None:
            facts.append(await _probe(entry.name))
    return tuple(fact for fact in facts if fact is not None)


async def _probe(name: str) -> RuntimeFacts | None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agent.runtimes.probe",
        name,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env=runtime_environment(),
    )
    output = bytearray()
    try:
        with suppress(asyncio.TimeoutError):
            await within(_collect(process, output), timeout_s=_PROBE_TIMEOUT_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    # A line for each provider that ran the model: what was told before a crash or a hang still counts.
    facts = list(_parse(output))
    if not facts:
        return None
    providers = tuple(provider for fact in facts for provider in fact.providers)
    return RuntimeFacts(name=name, version=facts[0].version, formats=facts[0].formats, providers=providers)


async def _collect(process: asyncio.subprocess.Process, output: bytearray) -> None:
    while process.stdout is not None and len(output) < _PROBE_OUTPUT_LIMIT_BYTES:
        chunk = await process.stdout.read(_PROBE_OUTPUT_LIMIT_BYTES)
        if not chunk:
            return
        output += chunk


def _parse(output: bytes | bytearray) -> Iterator[RuntimeFacts]:
    for line in output.splitlines():
        # Libraries print what they like; only our lines count.
        if not line.startswith(PROBE_LINE_PREFIX.encode()):
            continue
        with suppress(ValueError, KeyError, TypeError):
            told = json.loads(line[len(PROBE_LINE_PREFIX) :])
            yield RuntimeFacts(
                name=str(told["name"]),
                version=str(told["version"]),
                formats=tuple(str(name) for name in told["formats"]),
                providers=(str(told["provider"]),),
            )
