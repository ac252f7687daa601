"""What goes on inside a stage, written down at most a few times a second however often it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from orchestrator.errors import NotFoundError
from orchestrator.events import Events
from orchestrator.search.trial import TrialState
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction

INTERVAL_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    text: str
    # Of the stage that it speaks of: it must not outlast it.
    state: TrialState


class ProgressWriter:
    """Keeps the newest line of each trial of one search, and writes those that changed.

    Lines are for people who watch: one that is lost costs nothing, so they wait for no transaction of their own.
    """

    def __init__(self, search_id: str, *, database: Database, events: Events) -> None:
        self._search_id = search_id
        self._database = database
        self._events = events
        self._lines: dict[str, _Line] = {}
        self._news = asyncio.Event()

    def tell(self, trial_id: str, state: TrialState) -> Callable[[str], None]:
        """What takes the lines of a trial as long as it is in this state."""

        def take(text: str) -> None:
            self._lines[trial_id] = _Line(text=text, state=state)
            self._news.set()

        return take

    async def run(self) -> None:
        """Writes until it is cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            lines, self._lines = self._lines, {}
            await self._flush(lines)
            await asyncio.sleep(INTERVAL_S)

    async def _flush(self, lines: Mapping[str, _Line]) -> None:
        if await self._database.run(lambda tx: _write(tx, lines)):
            self._events.publish(f"search/{self._search_id}")


def _write(tx: Transaction, lines: Mapping[str, _Line]) -> bool:
    """Writes the lines of trials that are still where they were; whether any was new."""
    changed = False
    for trial_id, line in lines.items():
        try:
            trial = tx.trials.get(trial_id)
        except NotFoundError:
            continue
        if trial.state is line.state and trial.progress != line.text:
            tx.trials.update(replace(trial, progress=line.text), expecting=line.state)
            changed = True
    return changed
