"""The options that say in which waves a rollout goes through its devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from orchestrator.cli.options import Seconds, option_name
from orchestrator.rollouts.plan import Plan, WaveSize, parse_fraction, parse_waves, waves_text


class _Waves(click.ParamType[tuple[WaveSize, ...]]):
    name = "waves"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[WaveSize, ...]:
        return value if isinstance(value, tuple) else parse_waves(str(value))


class _Share(click.ParamType[float]):
    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        return value if isinstance(value, float) else parse_fraction(str(value), name=option_name(param))


PLAN: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--waves",
        type=_Waves(),
        default=None,
        metavar="SIZES",
        help="Devices that have had their turn after each wave: '1,10%,50%,100%'. [default: 100%]",
    ),
    click.option(
        "--success",
        type=_Share(),
        default=None,
        metavar="SHARE",
        help="Share of a wave's devices that must run the release before the next starts. [default: 100%]",
    ),
    click.option(
        "--errors",
        type=_Share(),
        default=None,
        metavar="SHARE",
        help="Share of failures from which on nothing more is started. [default: 50%]",
    ),
    click.option(
        "--min-sample",
        type=click.IntRange(1),
        default=None,
        help="Devices that must have ended before a wave is judged. [default: 1]",
    ),
    click.option(
        "--soak", type=Seconds(), default=None, help="How long a wave must stand before the next. [default: 0s]"
    ),
    click.option(
        "--max-parallel", type=click.IntRange(1), default=None, help="Devices that update at once. [default: all]"
    ),
    click.option(
        "--deadline",
        type=Seconds(),
        default=None,
        help="Skip a device that is offline so long after its turn. [default: wait]",
    ),
    click.option("--open", "open_", is_flag=True, help="Devices that come to match later join the last wave."),
    click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=None, help="Decides which devices come first."),
)


def with_plan(function: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of ``PLAN``, in their order."""
    for option in reversed(PLAN):
        function = option(function)
    return function


def plan_of(options: dict[str, Any]) -> Plan | None:
    """The plan that the options of ``PLAN`` ask for; None where none was given: the server's own.

    Raises:
        InvalidInputError: It makes no sense.
    """
    given = {
        "waves": options["waves"],
        "success_fraction": options["success"],
        "error_fraction": options["errors"],
        "minimum_sample": options["min_sample"],
        "soak_s": options["soak"],
        "max_parallel": options["max_parallel"],
        "offline_deadline_s": options["deadline"],
        "open": options["open_"] or None,
        "seed": options["seed"],
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return Plan(**chosen).check() if chosen else None


def plan_text(plan: Plan, wave: int) -> str:
    """Where a rollout is in its plan: "wave 2 of 1,10%,100%"; empty where there is only one wave."""
    return f"wave {wave} of {waves_text(plan.waves)}" if len(plan.waves) > 1 else ""
