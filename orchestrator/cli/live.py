"""A search as it is followed on the terminal: a table that lives, or plain lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from types import TracebackType
from typing import Protocol

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.cli.errors import one_line
from orchestrator.cli.figures import figure
from orchestrator.cli.output import print_json_line, tell
from orchestrator.client import Search, Trial
from orchestrator.quantity import format_bytes, format_duration
from orchestrator.search.trial import TrialState

_STYLES = {
    TrialState.QUEUED: "dim",
    TrialState.FEASIBLE: "green",
    TrialState.INFEASIBLE: "red",
    TrialState.FAILED: "bold red",
    TrialState.DOMINATED: "dim",
    TrialState.CANCELLED: "dim",
}
_COLUMNS = {"latency_p95_ms": "latency p95", "energy_mj": "energy", "memory_bytes": "memory", "accuracy": "accuracy"}
_WIDTH_FOR_ALL = 110


class Display(Protocol):
    """Shows a search while it goes on."""

    def show(self, search: Search) -> None:
        """Shows the newest state of the search."""
        ...

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


def display_for(console: Console, *, as_json: bool = False) -> Display:
    """The display that suits: JSON lines on stdout, a living table on a terminal, or plain lines on stderr."""
    if as_json:
        return JsonLines()
    return LiveTable(console) if console.is_terminal else PlainLines()


def follow(snapshots: Iterator[Search], display: Display, search: Search) -> Search:
    """The search as it was last seen, after showing each snapshot."""
    with display:
        for search in snapshots:
            display.show(search)
    return search


class JsonLines:
    """One JSON object for each change of a trial."""

    def __init__(self) -> None:
        self._seen: dict[str, Trial] = {}

    def show(self, search: Search) -> None:
        """Writes the trials that changed."""
        for trial in search.trials:
            if self._seen.get(trial.id) != trial:
                self._seen[trial.id] = trial
                print_json_line(event="trial", search=search.name, trial=trial)

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None: ...


class PlainLines:
    """One line for each state that a trial reaches, for logs and pipes."""

    def __init__(self) -> None:
        self._seen: dict[str, TrialState] = {}
        self._best = ""

    def show(self, search: Search) -> None:
        """Writes the trials that reached another state, and a new best."""
        # Those that a search takes with it when it ends have nothing to say that the search does not.
        hushed = (TrialState.QUEUED, TrialState.CANCELLED) if search.state.final else (TrialState.QUEUED,)
        for trial in search.trials:
            if self._seen.get(trial.id) is trial.state or trial.state in hushed:
                continue
            self._seen[trial.id] = trial.state
            tell(f"{_elapsed(search):>7}  trial {trial.number}  {trial.title}  {trial.state.value}{_details(trial)}")
        if search.best is not None and search.best.id != self._best:
            self._best = search.best.id
            tell(f"{_elapsed(search):>7}  best so far: trial {search.best.number}, {_size(search.best)}")

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *_: object) -> None: ...


class LiveTable:
    """A table of trials that is drawn again and again in place, and is gone when the search has ended."""

    def __init__(self, console: Console) -> None:
        self._picture = _Picture()
        self._live = Live(self._picture, console=console, refresh_per_second=5, transient=True)

    def show(self, search: Search) -> None:
        """Draws the newest state."""
        self._picture.search = search

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


class _Picture:
    """What is drawn: made anew at each refresh, so that the clock runs and the height of the terminal is kept."""

    search: Search | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        search = self.search
        if search is None:
            yield Text("waiting for the first trial …", style="dim")
            return
        shown = shown_trials(search, maximum=max(4, options.size.height - 6))
        yield _headline(search)
        yield trial_table(search, shown, width=options.max_width)
        yield _best_line(search)


def shown_trials(search: Search, *, maximum: int) -> list[Trial]:
    """At most so many trials, in the order of their numbers: those that run, the baseline, the best, the newest."""
    unfinished = [trial for trial in search.trials if not trial.state.final and trial.state is not TrialState.QUEUED]
    wanted = [*unfinished, search.baseline, search.best, *reversed(search.trials)]
    chosen = list({trial.number: trial for trial in wanted if trial is not None}.values())[:maximum]
    return sorted(chosen, key=lambda trial: trial.number)


def print_trials(console: Console, search: Search) -> None:
    """Writes all trials; where there is no terminal whose width matters, nothing is cut."""
    console.print(trial_table(search, list(search.trials), width=console.width, cut=console.is_terminal))


def trial_table(search: Search, trials: list[Trial], *, width: int, cut: bool = True) -> Table:
    """The trials with their stage and their figures; the best is marked by a word, not by its colour alone.

    A narrow terminal does without energy and memory; titles and stages are cut before any figure is.
    """
    budgets = [budget for budget in _COLUMNS if width >= _WIDTH_FOR_ALL or budget not in ("energy_mj", "memory_bytes")]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("recipe", max_width=44 if cut else None)
    table.add_column("stage", max_width=34 if cut else None)
    names = {**_COLUMNS, "accuracy": search.metric_name or "accuracy"}
    for column in ("size", *(names[budget] for budget in budgets)):
        table.add_column(column, justify="right", no_wrap=True)
    for trial in trials:
        best = trial.id == search.best_trial_id
        table.add_row(
            Text(str(trial.number)),
            Text(one_line(trial.title), style="bold" if best else "", no_wrap=True, overflow="ellipsis"),
            _stage(trial, best=best),
            *(_figure_text(trial, budget) for budget in ("size_bytes", *budgets)),
        )
    return table


def _figure_text(trial: Trial, budget: str) -> Text:
    shown = figure(trial, budget)
    verdict = trial.verdict(budget)
    over = verdict is not None and not verdict.held
    if shown is None:
        return Text("-" if not over else "missing", style="dim" if not over else "red")
    return Text(f"{'! ' if over else ''}{shown.short}", style="red" if over else "")


def _stage(trial: Trial, *, best: bool) -> Text:
    words, style = trial.state.value, _STYLES.get(trial.state, "cyan")
    detail = trial.reason if trial.state.final else trial.progress
    if best:
        words, style, detail = "feasible, best so far", "bold green", ""
    return Text(f"{words}: {one_line(detail)}" if detail else words, style=style, no_wrap=True, overflow="ellipsis")


def _headline(search: Search) -> Text:
    ended = sum(trial.state.final for trial in search.trials)
    return Text.assemble(
        (one_line(search.name), "bold"),
        f"  {search.state.value}  {_elapsed(search)}",
        f"  trials {ended}/{len(search.trials)}",
        f"  trainings {search.training_count}  measurements {search.measurement_count}",
    )


def _best_line(search: Search) -> Text:
    best, baseline = search.best, search.baseline
    if best is None:
        return Text("nothing feasible so far", style="dim")
    smaller = ""
    if baseline is not None and baseline.size_bytes and best.size_bytes:
        smaller = f", {baseline.size_bytes / best.size_bytes:.1f} times smaller than the baseline"
    return Text(f"best so far: trial {best.number} ({one_line(best.title)}), {_size(best)}{smaller}", style="green")


def _details(trial: Trial) -> str:
    figures = [figure(trial, budget) for budget in ("size_bytes", *_COLUMNS)]
    parts = [shown.short for shown in figures if shown is not None] if trial.state.final else []
    return "".join(f"  {part}" for part in parts) + (f"  ({trial.reason})" if trial.reason else "")


def _size(trial: Trial) -> str:
    return "size unknown" if trial.size_bytes is None else format_bytes(trial.size_bytes)


def _elapsed(search: Search) -> str:
    if search.created_at is None:
        return ""
    end = search.finished_at or datetime.now(timezone.utc)
    seconds = max(0.0, (end - search.created_at).total_seconds())
    return f"{seconds:.1f}s" if seconds < 120 else format_duration(seconds)
