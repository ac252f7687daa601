"""How a compression is followed on the terminal: a bar with the time left, or lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrator.cli.errors import one_line
from orchestrator.cli.output import tell
from pipelines.observer import NullObserver, Observer


@contextmanager
def progress_for(console: Console) -> Iterator[Observer]:
    """Who shows the stages and epochs of a run, in the way that the console allows."""
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[detail]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        yield _Bar(progress)


class _Lines(NullObserver):
    """One line for each stage."""

    def stage(self, text: str) -> None:
        tell(text)


class _Bar(NullObserver):
    """A bar for the stage that goes on: it fills while there are epochs to count."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, detail="")

    def stage(self, text: str) -> None:
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(one_line(text), total=None, detail="")

    def epoch(self, pass_name: str, epoch: int, epochs: int, loss: float, metric: float) -> None:
        detail = f"epoch {epoch} of {epochs}, loss {loss:.4g}, metric {metric:.4g}"
        self._progress.update(self._task, total=epochs, completed=epoch, detail=detail)
