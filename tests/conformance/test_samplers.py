"""What every sampler must do, ours and those of other packages."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, EntryPoints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InvalidInputError
from orchestrator.search.samplers import registry
from orchestrator.search.samplers.registry import SAMPLERS, make_sampler, sampler_names
from orchestrator.search.samplers.sampler import Candidate, Effort, Knowledge, Sampler


@dataclass(frozen=True)
class Truth:
    """What a candidate turns out to be."""

    size_bytes: int
    parameters: int
    accuracy: float
    fits_the_device: bool


TRUTHS = st.lists(
    st.builds(
        Truth,
        size_bytes=st.integers(1, 10**6),
        parameters=st.integers(1, 10**6),
        accuracy=st.floats(0, 1),
        fits_the_device=st.booleans(),
    ),
    min_size=1,
    max_size=12,
)
KNOWLEDGE = st.builds(
    Knowledge,
    candidates=st.lists(
        st.builds(
            Candidate,
            id=st.just(""),
            number=st.just(0),
            effort=st.sampled_from(Effort),
            running=st.booleans(),
            size_bytes=st.none() | st.integers(1, 10**9),
            parameters=st.none() | st.integers(1, 10**9),
            accuracy=st.none() | st.floats(0, 1),
            position=st.just(()) | st.tuples(st.floats(-5, 5), st.floats(-5, 5)),
            kind=st.sampled_from(("", "int8")),
            training=st.sampled_from(("", "shared")),
        ),
        min_size=1,
        max_size=15,
    ).map(lambda candidates: tuple(replace(c, id=f"id-{n}", number=n) for n, c in enumerate(candidates))),
    best_size_bytes=st.none() | st.integers(1, 10**9),
    accuracy_floor=st.none() | st.floats(0, 1),
    slots=st.integers(1, 8),
    seed=st.integers(0, 2**31 - 1),
)


every_sampler = pytest.mark.parametrize("name", sorted(SAMPLERS))


@every_sampler
@given(knowledge=KNOWLEDGE)
@settings(max_examples=50, deadline=None)
def test_only_candidates_that_are_not_over_are_wanted_and_each_once(name: str, knowledge: Knowledge) -> None:
    wanted = make_sampler(name).wanted(knowledge)
    remaining = {candidate.id for candidate in knowledge.candidates if candidate.effort is not Effort.OVER}
    assert len(wanted) == len(set(wanted))
    assert set(wanted) <= remaining


@every_sampler
@given(knowledge=KNOWLEDGE)
@settings(max_examples=50, deadline=None)
def test_equal_knowledge_leads_to_equal_wishes(name: str, knowledge: Knowledge) -> None:
    assert make_sampler(name).wanted(knowledge) == make_sampler(name).wanted(replace(knowledge))


@every_sampler
@given(truths=TRUTHS, floor=st.none() | st.floats(0, 1), slots=st.integers(1, 3), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_something_feasible_is_found_where_there_is_anything(
    name: str, truths: list[Truth], floor: float | None, slots: int, seed: int
) -> None:
    feasible = [t.size_bytes for t in truths if t.fits_the_device and (floor is None or t.accuracy >= floor)]
    best = play(make_sampler(name), truths, floor, slots, seed).best
    assert best in feasible if feasible else best is None


@pytest.mark.parametrize("name", sorted(SAMPLERS.keys() - {"measure-first"}))
@given(truths=TRUTHS, floor=st.none() | st.floats(0, 1), slots=st.integers(1, 3), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_the_smallest_feasible_candidate_is_found(
    name: str, truths: list[Truth], floor: float | None, slots: int, seed: int
) -> None:
    feasible = [t.size_bytes for t in truths if t.fits_the_device and (floor is None or t.accuracy >= floor)]
    assert play(make_sampler(name), truths, floor, slots, seed).best == min(feasible, default=None)


@given(truths=TRUTHS)
@settings(max_examples=60, deadline=None)
def test_measure_first_finds_the_smallest_where_accuracy_does_not_matter(truths: list[Truth]) -> None:
    feasible = [truth.size_bytes for truth in truths if truth.fits_the_device]
    assert play(make_sampler("measure-first"), truths, None, 1, 0).best == min(feasible, default=None)


@given(truths=TRUTHS, floor=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_measure_first_trains_nothing_that_no_device_can_run(truths: list[Truth], floor: float) -> None:
    game = play(make_sampler("measure-first"), truths, floor, 1, 0)
    assert all(truths[number].fits_the_device for number in game.trained)


def test_measure_first_needs_few_trainings_where_accuracy_follows_size() -> None:
    """64 candidates, the smallest that holds is the 40th: chance needs most of them."""
    truths = [
        Truth(size_bytes=1000 * n, parameters=250 * n, accuracy=1.0 if n >= 40 else 0.5, fits_the_device=True)
        for n in range(1, 65)
    ]
    trained = {
        sampler: len(play(make_sampler(sampler), truths, 0.9, 1, 3).trained_until_best)
        for sampler in ("measure-first", "random")
    }
    assert trained["measure-first"] <= 12
    assert trained["random"] > 2 * trained["measure-first"]


def test_measure_first_looks_at_both_ends_before_the_middle() -> None:
    candidates = tuple(
        Candidate(
            id=str(number),
            number=number,
            effort=Effort.MEASURE,
            running=False,
            size_bytes=size,
            parameters=size,
            accuracy=None,
        )
        for number, size in enumerate((100, 80, 20, 50))
    )
    knowledge = Knowledge(candidates=candidates, best_size_bytes=None, accuracy_floor=0.9, slots=1, seed=0)
    assert set(make_sampler("measure-first").wanted(knowledge)[:2]) == {"0", "2"}


def test_measure_first_stops_when_nothing_smaller_has_a_chance() -> None:
    """What the larger half holds, the smaller half is far from: it need not be trained to be given up."""
    truths = [
        Truth(
            size_bytes=1000 * n, parameters=250 * n, accuracy=0.9 if n >= 20 else 0.1 + 0.001 * n, fits_the_device=True
        )
        for n in range(1, 41)
    ]
    game = play(make_sampler("measure-first"), truths, 0.85, 1, 0)
    assert game.best is not None
    assert 20_000 <= game.best <= 21_000
    assert len(game.trained) <= 12


def test_without_optuna_its_sampler_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InvalidInputError, match="needs Optuna") as caught:
        make_sampler("tpe")
    assert caught.value.hint == "pip install 'fleetfit[optuna]'"


def test_an_unknown_sampler_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidInputError) as caught:
        make_sampler("measure_first")
    assert caught.value.hint == "did you mean 'measure-first'?"


def test_other_packages_offer_samplers(monkeypatch: pytest.MonkeyPatch) -> None:
    offers(monkeypatch, "last", "tests.conformance.test_samplers:Last")
    assert "last" in sampler_names()
    assert isinstance(make_sampler("last"), Last)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("tests.conformance.test_samplers:Missing", "does not load"),
        ("tests.conformance.test_samplers:Truth", "is not one"),
    ],
)
def test_an_offer_that_is_no_sampler_is_refused(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    offers(monkeypatch, "last", value)
    with pytest.raises(InvalidInputError, match=message):
        make_sampler("last")


def test_nobody_takes_the_place_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    offers(monkeypatch, "random", "tests.conformance.test_samplers:Last")
    assert type(make_sampler("random")) is SAMPLERS["random"]


class Last(Sampler):
    """The sampler of another package."""

    def wanted(self, knowledge: Knowledge) -> tuple[str, ...]:
        return tuple(c.id for c in reversed(knowledge.candidates) if c.effort is not Effort.OVER)


def offers(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    entry_point = EntryPoint(name=name, value=value, group=registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda *, group: EntryPoints([entry_point]).select(group=group))


@dataclass
class Game:
    best: int | None
    trained: list[int]
    trained_until_best: list[int]


def play(sampler: Sampler, truths: list[Truth], floor: float | None, slots: int, seed: int) -> Game:
    """A whole search: in each turn the wanted candidates, no more than there are slots, are brought one step on."""
    efforts = [Effort.BUILD for _ in truths]
    accuracies: list[float | None] = [None for _ in truths]
    game = Game(best=None, trained=[], trained_until_best=[])
    for _ in range(5 * len(truths)):
        knowledge = Knowledge(
            candidates=tuple(
                Candidate(
                    id=str(number),
                    number=number,
                    effort=efforts[number],
                    running=False,
                    size_bytes=None if efforts[number] is Effort.BUILD else truth.size_bytes,
                    parameters=None if efforts[number] is Effort.BUILD else truth.parameters,
                    accuracy=accuracies[number],
                )
                for number, truth in enumerate(truths)
            ),
            best_size_bytes=game.best,
            accuracy_floor=floor,
            slots=slots,
            seed=seed,
        )
        wanted = sampler.wanted(knowledge)
        if not wanted:
            return game
        for number in [int(candidate) for candidate in wanted[:slots]]:
            truth = truths[number]
            if game.best is not None and efforts[number] > Effort.BUILD and truth.size_bytes >= game.best:
                efforts[number] = Effort.OVER
            elif efforts[number] is Effort.BUILD:
                efforts[number] = Effort.MEASURE
            elif efforts[number] is Effort.MEASURE:
                efforts[number] = Effort.TRAIN if truth.fits_the_device else Effort.OVER
            elif efforts[number] is Effort.TRAIN:
                game.trained.append(number)
                accuracies[number] = truth.accuracy
                held = floor is None or truth.accuracy >= floor
                efforts[number] = Effort.CONFIRM if held else Effort.OVER
            elif efforts[number] is Effort.CONFIRM:
                efforts[number] = Effort.OVER
                game.best = truth.size_bytes
                game.trained_until_best = list(game.trained)
    raise AssertionError("the search goes on and on")
