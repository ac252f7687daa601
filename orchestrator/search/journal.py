"""The journal of searches: every fact is written in one transaction with all that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator.clock import Clock
from orchestrator.errors import NotFoundError
from orchestrator.events import Events
from orchestrator.fleet.device import Device
from orchestrator.search.conclusion import best_of, conclude
from orchestrator.search.search import Search, SearchState
from orchestrator.search.stages import Event, Outdone, Standing, Stopped, outdone_by, step
from orchestrator.search.trial import Trial, TrialState
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A search as it was at one moment."""

    search: Search
    trials: tuple[Trial, ...]
    # Those of the search's devices that are still enrolled, by id.
    devices: Mapping[str, Device]

    @property
    def baseline(self) -> Trial:
        """Trial 0."""
        return self.trials[0]

    def trial(self, trial_id: str) -> Trial:
        """The trial with this id."""
        return next(trial for trial in self.trials if trial.id == trial_id)


class Journal:
    """Reads and writes searches and their trials, and wakes whoever watches them."""

    def __init__(self, *, database: Database, events: Events, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._clock = clock

    async def open(self, search: Search, trials: tuple[Trial, ...]) -> Search:
        """Adds a search with its trials; returns the earlier one where its idempotency key was used before."""

        def work(tx: Transaction) -> Search:
            earlier = tx.searches.by_idempotency_key(search.idempotency_key)
            if earlier is not None:
                return earlier
            tx.searches.add(search)
            for trial in trials:
                tx.trials.add(trial)
            return search

        opened = await self._database.run(work)
        self._publish(opened.id)
        return opened

    async def find(self, idempotency_key: str) -> Search | None:
        """The search that was asked for with this key."""
        return await self._database.run(lambda tx: tx.searches.by_idempotency_key(idempotency_key))

    async def running(self) -> tuple[Search, ...]:
        """The searches that have not ended."""
        return await self._database.run(lambda tx: tx.searches.running())

    async def snapshot(self, search_id: str) -> Snapshot:
        """The search as it is."""
        return await self._database.run(lambda tx: _snapshot(tx, search_id))

    async def note_baseline(self, search_id: str, *, checkpoint_sha256: str, metric_name: str, train_s: float) -> None:
        """Writes down that the baseline is trained."""

        def work(tx: Transaction) -> None:
            search = tx.searches.get(search_id)
            noted = replace(search, baseline_sha256=checkpoint_sha256, metric_name=metric_name)
            tx.searches.update(noted, expecting=SearchState.RUNNING)
            baseline = tx.trials.list(search_id)[0]
            tx.trials.update(replace(baseline, train_s=train_s), expecting=baseline.state)

        await self._database.run(work)
        self._publish(search_id)

    async def note_warning(self, search_id: str, warning: str) -> None:
        """Writes down what a user should know while the search still runs."""

        def work(tx: Transaction) -> None:
            search = tx.searches.get(search_id)
            if search.state is SearchState.RUNNING:
                tx.searches.update(replace(search, reason=warning), expecting=SearchState.RUNNING)

        await self._database.run(work)
        self._publish(search_id)

    async def record(self, search_id: str, trial_id: str, event: Event) -> tuple[Trial, ...]:
        """Writes down what happened to a trial, and what follows for the others.

        Returns:
            The trials that have changed; none where the search or the trial had ended before.
        """
        changed = await self._database.run(lambda tx: self._record(tx, search_id, trial_id, event))
        self._publish(search_id)
        return changed

    async def conclude(self, search_id: str, *, cut_short: str = "") -> None:
        """Ends the search by what its trials came to; trials that have not ended are stopped."""

        def work(tx: Transaction) -> None:
            search = tx.searches.get(search_id)
            if search.state is not SearchState.RUNNING:
                return
            self._stop_trials(tx, search, cut_short or "the search ended without it")
            ended = conclude(search, tx.trials.list(search_id), now=self._clock(), cut_short=cut_short)
            tx.searches.update(ended, expecting=SearchState.RUNNING)

        await self._database.run(work)
        self._publish(search_id)

    async def end(self, search_id: str, state: SearchState, reason: str) -> Search:
        """Ends the search for a reason of its own; what was found stays. One that has ended stays as it is."""

        def work(tx: Transaction) -> Search:
            search = tx.searches.get(search_id)
            if search.state is not SearchState.RUNNING:
                return search
            self._stop_trials(tx, search, "the search was cancelled" if state is SearchState.CANCELLED else reason)
            ended = replace(search, state=state, reason=reason, finished_at=self._clock())
            tx.searches.update(ended, expecting=SearchState.RUNNING)
            return ended

        ended = await self._database.run(work)
        self._publish(search_id)
        return ended

    def _record(self, tx: Transaction, search_id: str, trial_id: str, event: Event) -> tuple[Trial, ...]:
        search, trials, devices = _parts(tx, search_id)
        trial = next(trial for trial in trials if trial.id == trial_id)
        if search.state.final or trial.state.final:
            return ()
        standing = _standing(search, trials, devices)
        changed = [step(trial, event, standing, now=self._clock())]
        tx.trials.update(changed[0], expecting=trial.state)
        if changed[0].state is TrialState.FEASIBLE:
            trials = tuple(changed[0] if each.id == trial_id else each for each in trials)
            best = best_of(trials)
            if best is not None and best.id != search.best_trial_id:
                tx.searches.update(replace(search, best_trial_id=best.id, reason=""), expecting=SearchState.RUNNING)
                changed += self._outdo(tx, trials, replace(standing, best=best))
        return tuple(changed)

    def _outdo(self, tx: Transaction, trials: tuple[Trial, ...], standing: Standing) -> list[Trial]:
        """Ends every trial under way that the new best one leaves without a chance."""
        changed = []
        for trial in trials:
            if not trial.state.final and outdone_by(trial, standing.best):
                changed.append(step(trial, Outdone(), standing, now=self._clock()))
                tx.trials.update(changed[-1], expecting=trial.state)
        return changed

    def _stop_trials(self, tx: Transaction, search: Search, reason: str) -> None:
        _, trials, devices = _parts(tx, search.id)
        standing = _standing(search, trials, devices)
        for trial in trials:
            if not trial.state.final:
                stopped = step(trial, Stopped(reason=reason), standing, now=self._clock())
                tx.trials.update(stopped, expecting=trial.state)

    def _publish(self, search_id: str) -> None:
        self._events.publish(f"search/{search_id}")


def _parts(tx: Transaction, search_id: str) -> tuple[Search, tuple[Trial, ...], dict[str, Device]]:
    search = tx.searches.get(search_id)
    devices = {}
    for device_id in search.device_ids:
        try:
            devices[device_id] = tx.devices.get(device_id)
        except NotFoundError:
            continue
    return search, tx.trials.list(search_id), devices


def _snapshot(tx: Transaction, search_id: str) -> Snapshot:
    search, trials, devices = _parts(tx, search_id)
    return Snapshot(search=search, trials=trials, devices=devices)


def _standing(search: Search, trials: tuple[Trial, ...], devices: Mapping[str, Device]) -> Standing:
    return Standing(
        budgets=search.spec.budgets.budgets(),
        # A device that was removed cannot measure any more: its id stands for its name, and nothing is held on it.
        devices={
            device_id: devices[device_id].name if device_id in devices else device_id for device_id in search.device_ids
        },
        baseline_accuracy=trials[0].accuracy,
        best=best_of(trials),
    )
