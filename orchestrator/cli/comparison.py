"""Baseline and winner side by side, every figure with its source; and what to say where nothing won."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.cli.errors import one_line
from orchestrator.cli.figures import ShownFigure, figure, format_limit, format_value
from orchestrator.client import Search, Trial
from orchestrator.errors import NoFeasibleModelError
from orchestrator.search.budget import Verdict

_ROWS = {
    "size_bytes": "size",
    "latency_p95_ms": "latency p95",
    "energy_mj": "energy",
    "memory_bytes": "peak memory",
    "accuracy": "accuracy",
}


# Narrower terminals see intervals as one number.
_WIDTH_FOR_INTERVALS = 112


def comparison(search: Search, trial: Trial, *, title: str, width: int) -> Table:
    """The baseline and ``trial`` side by side, with the budgets and whether they are held, in so many columns."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "baseline", title, "", "budget", "", "source"):
        table.add_column(column, no_wrap=True)
    for budget, name in _ROWS.items():
        if budget == "accuracy" and search.metric_name:
            name = search.metric_name
        table.add_row(*_row(search, trial, budget, name, whole=width >= _WIDTH_FOR_INTERVALS))
    return table


def print_comparison(console: Console, search: Search, trial: Trial, *, title: str) -> None:
    """Writes the comparison, and below it what limits its figures."""
    where = f" of {one_line(search.name)}: trial {trial.number}, "
    console.print(Text.assemble((title, "bold"), where, (one_line(trial.title), "bold")))
    console.print(comparison(search, trial, title=title, width=console.width))
    for remark in _remarks(search, trial):
        console.print(Text(f"  {remark}", style="dim"))


def no_winner(search: Search) -> NoFeasibleModelError:
    """The error of a search that ended without a winner: the closest candidate, what failed, and by how much."""
    closest = search.closest
    see = f"fleetfit search show {search.name}"
    if closest is None:
        message = f"search {search.name}: no candidate met every budget; {search.reason}"
        return NoFeasibleModelError(message, hint=f"see why each candidate ended: {see}")
    failed = "; ".join(_failure(verdict, search) for verdict in closest.verdicts if not verdict.held)
    which = f"closest is trial {closest.number} ({closest.title}): {failed or closest.reason}"
    return NoFeasibleModelError(
        f"no candidate met every budget; {which}", hint=f"relax that budget, or see why each candidate ended: {see}"
    )


def _row(search: Search, trial: Trial, budget: str, name: str, *, whole: bool) -> tuple[Text, ...]:
    before = figure(search.baseline, budget) if search.baseline is not None else None
    after = figure(trial, budget)
    verdict = trial.verdict(budget)
    held = Text("")
    if verdict is not None:
        held = Text("held", style="green") if verdict.held else Text("NOT HELD", style="bold red")
    return (
        Text(name),
        _cell(before, whole=whole),
        _cell(after, style="bold", whole=whole),
        Text(_change(before, after, budget), style="dim"),
        Text(format_limit(budget, verdict.limit) if verdict is not None else ""),
        held,
        _source(before, after),
    )


def _cell(shown: ShownFigure | None, *, whole: bool, style: str = "") -> Text:
    if shown is None:
        return Text("not measured", style="dim")
    interval = shown.interval if whole else shown.spread
    return Text.assemble((shown.text, style), (f" {interval}" if interval else "", "dim"))


def _source(before: ShownFigure | None, after: ShownFigure | None) -> Text:
    shown = [each for each in (before, after) if each is not None]
    sources = list(dict.fromkeys(f"{each.source}{', noisy' if each.noisy else ''}" for each in shown))
    return Text(" and ".join(sources), style="" if sources == ["measured"] else "yellow")


def _change(before: ShownFigure | None, after: ShownFigure | None, budget: str) -> str:
    if before is None or after is None or not before.value:
        return ""
    if budget == "accuracy":
        return f"{100 * (after.value - before.value):+.1f} pt"
    return f"{100 * (after.value / before.value - 1):+.0f}%"


def _remarks(search: Search, trial: Trial) -> list[str]:
    remarks = ["latency and energy are judged by the upper end of their 95 % interval"]
    for budget, name in _ROWS.items():
        shown = figure(trial, budget)
        if shown is None:
            continue
        remark = one_line(shown.remark)
        if shown.source == "estimated":
            remarks.append(f"{name} is estimated: {remark or 'no sensor took part'}")
        elif remark:
            remarks.append(f"{name}: {remark}")
    if len(search.devices) > 1:
        remarks.append(f"of {len(search.devices)} devices the worst figure is shown")
    return remarks


def _failure(verdict: Verdict, search: Search) -> str:
    name = search.metric_name if verdict.budget == "accuracy" and search.metric_name else verdict.budget
    name = _ROWS.get(name, name)
    on = f" on {verdict.device}" if verdict.device else ""
    if verdict.value is None:
        return f"{name}{on} was not measured"
    value, limit = format_value(verdict.budget, verdict.value), format_value(verdict.budget, verdict.limit)
    side = "under the floor of" if verdict.budget == "accuracy" else "over the budget of"
    return f"{name} {value}{on} is {side} {limit} by {100 * verdict.excess_fraction():.1f}%"
