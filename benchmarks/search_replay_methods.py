"""The strategies that a replay compares. Each plays one game to the end that it chooses itself."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping

import optuna

from benchmarks.search_replay_game import Game
from orchestrator.search.samplers.measure_first import MeasureFirst
from orchestrator.search.samplers.sampler import Candidate, Effort, Knowledge

# Of Optuna's own trials, as a multiple of the table's lines; it never stops of its own accord.
_TRIALS_PER_LINE = 2


def measure_first(game: Game, seed: int) -> None:
    """The product's own sampler, asked again after each measurement and each training."""
    sampler = MeasureFirst()
    while True:
        wanted = [int(name) for name in sampler.wanted(_knowledge(game, seed))]
        if not wanted:
            return
        trainable = [place for place in wanted if place in game.latencies_ms]
        if trainable:
            game.train(game.table.lines[trainable[0]].structure)
        else:
            game.measure(wanted[0])


def exhaustive(game: Game, seed: int) -> None:
    """Every structure in the order of the table, whatever came of those before."""
    del seed
    for structure in game.table.structures:
        _train_and_measure(game, structure)


def shuffled(game: Game, seed: int) -> None:
    """Every line in an order left to chance, trained and measured."""
    places = list(range(len(game.table.lines)))
    random.Random(seed).shuffle(places)  # noqa: S311 - an order, not a secret
    for place in places:
        game.measure(place)
        game.train(game.table.lines[place].structure)


def tpe(game: Game, seed: int) -> None:
    """Optuna's TPE over the numbers of a structure and its precision; each budget is a constraint."""
    _optuna(game, seed, filtered=False)


def tpe_filtered(game: Game, seed: int) -> None:
    """The same, but a line that is too large to win, or too slow, is told of without being trained."""
    _optuna(game, seed, filtered=True)


METHODS: Mapping[str, Callable[[Game, int], None]] = {
    "measure-first": measure_first,
    "random": shuffled,
    "exhaustive": exhaustive,
    "tpe": tpe,
    "tpe-filtered": tpe_filtered,
}

# They play the same game whatever the seed is.
SEEDLESS = frozenset({"measure-first", "exhaustive"})


def _train_and_measure(game: Game, structure: tuple[int, ...]) -> None:
    for place in game.table.places[structure]:
        game.measure(place)
    game.train(structure)


def _knowledge(game: Game, seed: int) -> Knowledge:
    lines = game.table.lines
    whole = {
        structure: max(lines[place].size_bytes for place in places) for structure, places in game.table.places.items()
    }
    return Knowledge(
        candidates=[
            Candidate(
                id=str(place),
                number=place,
                effort=_effort(game, place),
                running=False,
                size_bytes=line.size_bytes,
                # Nobody counted them; the largest file of the structure says as much.
                parameters=max(1, whole[line.structure] // 4),
                accuracy=game.accuracies.get(place),
                position=tuple(math.log(max(1, number)) for number in line.structure),
                kind=line.precision,
                training=str(line.structure),
            )
            for place, line in enumerate(lines)
        ],
        best_size_bytes=game.best_bytes,
        accuracy_floor=game.pair.accuracy,
        slots=1,
        seed=seed,
    )


def _effort(game: Game, place: int) -> Effort:
    line = game.table.lines[place]
    if game.best_bytes is not None and line.size_bytes >= game.best_bytes:
        return Effort.OVER
    if place not in game.latencies_ms:
        trained = game.accuracies.get(place)
        return Effort.OVER if trained is not None and trained < game.pair.accuracy else Effort.MEASURE
    if place in game.accuracies or not game.fast_enough(place):
        return Effort.OVER
    return Effort.TRAIN


def _optuna(game: Game, seed: int, *, filtered: bool) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = game.table
    by_choice = {(line.structure, line.precision): place for place, line in enumerate(table.lines)}
    axes = [sorted({structure[axis] for structure in table.structures}) for axis in range(len(table.structures[0]))]
    precisions = sorted({line.precision for line in table.lines})
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    for _ in range(_TRIALS_PER_LINE * len(table.lines)):
        trial = study.ask()
        # The place on the axis, so that the order of widths is known to it, and steps are as even as in our own space.
        structure = tuple(
            axis[trial.suggest_int(f"width_{number}", 0, len(axis) - 1)] for number, axis in enumerate(axes)
        )
        place = by_choice.get((structure, trial.suggest_categorical("precision", precisions)))
        if place is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        _evaluate(game, place, trial, filtered=filtered)
        study.tell(trial, math.log(table.lines[place].size_bytes))
        if game.to_optimum is not None:
            return


def _evaluate(game: Game, place: int, trial: optuna.Trial, *, filtered: bool) -> None:
    """Pays for a line, and tells what came of it; of what was not paid for, the constraint is left out."""
    line = game.table.lines[place]
    if filtered and place not in game.accuracies and game.best_bytes is not None and line.size_bytes >= game.best_bytes:
        return
    trial.set_constraint("latency", game.measure(place) / game.pair.latency_ms - 1)
    if filtered and not game.fast_enough(place):
        return
    game.train(line.structure)
    trial.set_constraint("accuracy", game.pair.accuracy - line.accuracy)
