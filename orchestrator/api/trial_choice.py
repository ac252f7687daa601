"""Which trial is meant: a number within a search, or the winner."""

from __future__ import annotations

from orchestrator.errors import ConflictError, NoFeasibleModelError, NotFoundError
from orchestrator.search.search import Search, SearchState
from orchestrator.search.trial import Trial
from orchestrator.storage.transaction import Transaction


def chosen_trial(tx: Transaction, search_name: str, trial_number: int | None) -> tuple[Search, Trial]:
    """The search and its trial of that number, where 0 is the baseline; None: its winner.

    Raises:
        NotFoundError: There is no such search or trial.
        NoFeasibleModelError: The winner was asked for, and the search ended without one.
        ConflictError: The winner was asked for, and the search still runs.
    """
    search = tx.searches.find(search_name)
    if trial_number is not None:
        for trial in tx.trials.list(search.id):
            if trial.number == trial_number:
                return search, trial
        raise NotFoundError(
            f"search '{search.name}' has no trial {trial_number}",
            hint=f"'fleetfit search show {search.name}' lists its trials",
        )
    if search.state is SearchState.RUNNING:
        raise ConflictError(
            f"search '{search.name}' still runs: its winner is not known yet",
            hint=f"wait for it with 'fleetfit search watch {search.name}', or name a trial",
            reason="SEARCH_RUNNING",
        )
    if not search.best_trial_id:
        raise NoFeasibleModelError(
            f"search '{search.name}' has no winner: {search.reason or search.state.value}",
            hint="name a trial by its number, or search again with other budgets",
        )
    return search, tx.trials.get(search.best_trial_id)
