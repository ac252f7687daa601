"""The commands that need no fleet: ``profile`` and ``doctor``."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import ConfigurationError
from agent.logs import printable

if TYPE_CHECKING:
    from agent.profiling.worker_protocol import Histogram

_DEFAULT_SAMPLES = 200
_DEFAULT_PAIRS = 6
_PROGRESS_WIDTH = 100


def add_profile_options(command: argparse.ArgumentParser) -> None:
    """The options of ``profile``."""
    command.add_argument("model", metavar="MODEL", type=Path, help="an .onnx or .tflite file")
    command.add_argument(
        "--runtime", metavar="R", default="", help="onnxruntime, litert … (default: the first that fits)"
    )
    command.add_argument(
        "--threads",
        metavar="N",
        type=_count,
        default=1,
        help="threads of the runtime; 0: every processor (%(default)s)",
    )
    command.add_argument(
        "--samples",
        metavar="N",
        type=_positive,
        default=_DEFAULT_SAMPLES,
        help="least number of inferences to time; 72 for p95, 368 for p99 (%(default)s)",
    )
    command.add_argument(
        "--energy",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="read the energy meter too, which takes a minute or more (default: no)",
    )
    command.add_argument("--json", action="store_true", help="for programs")
    command.add_argument(
        "--compare", metavar="OTHER", type=Path, help="tell which of two models is faster, by interleaved pairs of runs"
    )
    command.add_argument(
        "--pairs", metavar="N", type=_pairs, default=_DEFAULT_PAIRS, help="pairs of runs to compare by (%(default)s)"
    )
    command.set_defaults(command=_profile)


def add_doctor_options(command: argparse.ArgumentParser) -> None:
    """The options of ``doctor``."""
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(command=_doctor)


def _profile(options: argparse.Namespace) -> int:
    if options.compare is not None and options.energy:
        raise ConfigurationError("--compare compares latencies, not energy", hint="leave --energy away")
    print(asyncio.run(_compare(options) if options.compare else _profile_one(options)))
    return 0


async def _profile_one(options: argparse.Namespace) -> str:
    from agent.profiling.profiler import Profiler  # noqa: PLC0415 - --help need not wait for it
    from agent.standalone.presentation import profile_document, profile_text  # noqa: PLC0415
    from agent.standalone.profile import profile, request_for  # noqa: PLC0415

    path: Path = options.model
    request = request_for(path, runtime=options.runtime, threads=options.threads, samples=options.samples)
    histograms: list[Histogram] = []
    with _Progress() as progress:
        profiler = Profiler(meters=None if options.energy else (), on_histogram=histograms.append)
        measurement = await profile(profiler, path, request, on_progress=progress)
    histogram = histograms[-1] if histograms else None
    if options.json:
        return json.dumps(profile_document(measurement, histogram), indent=2)
    return profile_text(path, measurement, histogram)


async def _compare(options: argparse.Namespace) -> str:
    from agent.profiling.profiler import Profiler  # noqa: PLC0415
    from agent.standalone.comparison import compare  # noqa: PLC0415
    from agent.standalone.presentation import comparison_document, comparison_text  # noqa: PLC0415
    from agent.standalone.profile import request_for  # noqa: PLC0415

    paths: tuple[Path, Path] = (options.model, options.compare)
    first, second = (
        (path, request_for(path, runtime=options.runtime, threads=options.threads, samples=options.samples))
        for path in paths
    )
    with _Progress() as progress:
        comparison, one, other = await compare(
            Profiler(meters=()), first, second, pairs=options.pairs, on_progress=progress
        )
    measured = (paths[0], one), (paths[1], other)
    if options.json:
        return json.dumps(comparison_document(comparison, *measured), indent=2)
    return comparison_text(comparison, *measured)


def _doctor(options: argparse.Namespace) -> int:
    from agent.runtimes.catalogue import probe_runtimes  # noqa: PLC0415
    from agent.standalone.doctor import doctor_document, doctor_text, examine  # noqa: PLC0415

    findings = examine(runtimes=asyncio.run(probe_runtimes()))
    print(json.dumps(doctor_document(findings), indent=2) if options.json else doctor_text(findings))
    return 0


class _Progress:
    """One line on a terminal that is written over, and gone at the end; nothing where nobody looks."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self("")

    def __call__(self, stage: str) -> None:
        if self._shown:
            print(f"\r\x1b[K{printable(stage)[:_PROGRESS_WIDTH]}", end="", file=sys.stderr, flush=True)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number")
    return int(text)


def _positive(text: str) -> int:
    number = _count(text)
    if number == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above zero")
    return number


def _pairs(text: str) -> int:
    from agent.standalone.comparison import LEAST_PAIRS, MOST_PAIRS  # noqa: PLC0415

    number = _count(text)
    if not LEAST_PAIRS <= number <= MOST_PAIRS:
        raise argparse.ArgumentTypeError(f"'{text}' is not between {LEAST_PAIRS} and {MOST_PAIRS}")
    return number
