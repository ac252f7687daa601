"""What the agent and its measuring worker say to each other.

The agent writes one `Job` as JSON to the worker's standard input. The worker writes one JSON message a line to a pipe
of its own: any number of `Progress` and at most one `MeterWanted`, then one `Report` or one `Failure`. Its standard
output and error belong to the libraries that it loads, and are kept only to explain a crash.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from agent.profiling.decoding import GarbledError, decode, encode, parse
from agent.profiling.measurement import Latency, Memory, Numerics, Outcome

LONGEST_MESSAGE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergySchedule:
    """Pairs of an idle and a load block in the order idle, load, load, idle …, so that a slow drift cancels.

    ``guard_s`` of its kind come before each block and after the last, and are not counted: what was before still shows,
    and a reading must lie on either side of every edge.
    """

    pairs: int
    block_s: float
    guard_s: float
    # A load block of slow inferences goes on until it has these, or three times its length has passed.
    minimum_inferences: int = 20

    @property
    def duration_s(self) -> float:
        """How long all blocks take, unless inferences are slow."""
        return 2 * self.pairs * (self.block_s + self.guard_s) + self.guard_s

    @property
    def longest_block_s(self) -> float:
        """How long a load block takes at most, but for its last inference."""
        return 3 * self.block_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one worker does. Paths are absolute; an empty ``golden_path`` means that outputs are not compared."""

    artifact_path: str
    artifact_format: str
    runtime: str
    threads: int
    golden_path: str
    golden_tolerance: float
    minimum_samples: int
    minimum_duration_s: float
    maximum_duration_s: float
    minimum_warm_up_s: float
    maximum_warm_up_s: float
    memory_limit_bytes: int
    processor_limit_s: int
    agent_process_id: int
    # Where /proc and /sys are looked up, as far as they describe the machine.
    root: str
    # What the agent saw before the worker started.
    remarks: tuple[str, ...] = ()
    energy: EnergySchedule | None = None


class BlockKind(str, Enum):
    """What the worker does in an energy block."""

    IDLE = "idle"
    LOAD = "load"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyBlock:
    """One block as it was, on the machine's monotonic clock."""

    kind: BlockKind
    begin_ns: int
    end_ns: int
    inferences: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What the worker is doing, for people."""

    stage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterWanted:
    """The energy blocks begin: the meter must be read from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What runs the model."""

    runtime: str
    runtime_version: str
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How often a latency fell into each bin, the first of which begins at ``lower_ms``, and beyond the last one."""

    lower_ms: float
    width_ms: float
    counts: tuple[int, ...]
    beyond: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The worker could not measure, and says why."""

    outcome: Outcome
    detail: str
    loaded: Loaded | None = None
    memory: Memory | None = None
    numerics: Numerics | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the worker found."""

    loaded: Loaded
    latency: Latency
    memory: Memory
    numerics: Numerics | None = None
    energy_blocks: tuple[EnergyBlock, ...] = ()
    histogram: Histogram | None = None


Message: TypeAlias = Progress | MeterWanted | Failure | Report

_KINDS: dict[str, type[Progress | MeterWanted | Failure | Report]] = {
    "progress": Progress,
    "meter_wanted": MeterWanted,
    "failure": Failure,
    "report": Report,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def encode_message(message: Message) -> bytes:
    """The message as one line."""
    return f'{{"{_NAMES[type(message)]}":{encode(message)}}}\n'.encode()


def decode_message(line: bytes) -> Message:
    """The message in one line.

    Raises:
        GarbledError: The line is not a message.
    """
    document = parse(line)
    if not isinstance(document, dict) or len(document) != 1:
        raise GarbledError("not a message")
    ((name, body),) = document.items()
    if name not in _KINDS:
        raise GarbledError(f"unknown message '{name}'")
    return decode(_KINDS[name], body)
