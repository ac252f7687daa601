import itertools
import math

import numpy as np
import pytest

from orchestrator.search.gain import Prospect, expected_gains
from orchestrator.search.surrogate import AccuracySurrogate, Point

GRID = tuple(itertools.product((4, 8, 16, 32), repeat=2))
POINTS = [
    Point(
        position=(math.log(a), math.log(b)), capacity=math.log(a * b + 10 * b), kind=kind, training=f"{a}-{b}"
    )
    for (a, b), kind in itertools.product(GRID, ("fp32", "int8"))
]  # fmt: skip


def accuracy(point: Point, luck: float = 0.0) -> float:
    return 0.5 + 0.05 * (point.position[0] + point.position[1]) - 0.02 * (point.kind == "int8") + luck


def test_with_nothing_seen_more_weights_have_the_better_chance() -> None:
    chances = AccuracySurrogate(POINTS).chances([], [], floor=0.7)
    assert np.all((chances > 0) & (chances < 1))
    assert chances[0] < 0.5 < chances[-1]


def test_what_was_seen_is_believed() -> None:
    seen = [0, len(POINTS) // 2, len(POINTS) - 2]
    found = [accuracy(POINTS[place]) for place in seen]
    chances = AccuracySurrogate(POINTS).chances(seen, found, floor=found[1] + 0.01)
    assert chances[seen[0]] < 0.05
    assert chances[seen[1]] < 0.3
    assert chances[seen[2]] > 0.95


def test_the_other_file_of_a_training_is_foretold_better_than_a_neighbour() -> None:
    seen = [place for place, point in enumerate(POINTS) if point.kind == "fp32"][::3]
    kin, stranger = seen[2] + 1, seen[2] + 3
    # Far better than the rest lets expect: luck, which the twin shares.
    found = [accuracy(POINTS[place], 0.08 if place == seen[2] else 0.0) for place in seen]
    usual = [accuracy(POINTS[place]) for place in seen]
    surrogate = AccuracySurrogate(POINTS)
    floor = accuracy(POINTS[kin], 0.04)
    gained = surrogate.chances(seen, found, floor=floor) - surrogate.chances(seen, usual, floor=floor)
    assert gained[kin] > gained[stranger]
    assert gained[kin] > 0.1


def test_chances_are_calibrated_where_accuracy_follows_the_structure() -> None:
    """Of what is said to hold with 80 % to 100 %, about as many do."""
    generator = np.random.default_rng(0)
    said, came = [], []
    for _ in range(30):
        lucky = {point.training: generator.normal(0, 0.01) for point in POINTS}
        truth = [accuracy(point, lucky[point.training]) for point in POINTS]
        seen = generator.choice(len(POINTS), 6, replace=False).tolist()
        floor = float(np.median(truth))
        chances = AccuracySurrogate(POINTS).chances(seen, [truth[place] for place in seen], floor=floor)
        for place in set(range(len(POINTS))) - set(seen):
            said.append(chances[place])
            came.append(truth[place] >= floor)
    said_array, came_array = np.array(said), np.array(came)
    sure = said_array > 0.8
    assert came_array[sure].mean() == pytest.approx(said_array[sure].mean(), abs=0.08)
    assert came_array[said_array < 0.2].mean() == pytest.approx(said_array[said_array < 0.2].mean(), abs=0.08)


def test_equals_and_single_points_break_nothing() -> None:
    alike = [Point(position=(1.0,), capacity=2.0, kind="", training=str(n)) for n in range(3)]
    assert np.all(np.isfinite(AccuracySurrogate(alike).chances([0, 1], [0.5, 0.5], floor=0.5)))
    assert AccuracySurrogate(alike[:1]).chances([], [], floor=0.5).shape == (1,)


def test_many_trainings_are_still_computed_with() -> None:
    points = [Point(position=(n / 100,), capacity=n / 100, kind="", training=str(n)) for n in range(700)]
    chances = AccuracySurrogate(points).chances(range(600), [n / 600 for n in range(600)], floor=0.5)
    assert chances[100] < 0.1
    assert chances[650] > 0.9


def test_a_training_gains_by_the_chance_and_the_size_of_its_files() -> None:
    prospects = [
        Prospect(training="a", size_bytes=50, chance=0.2),
        Prospect(training="a", size_bytes=80, chance=0.5),
        Prospect(training="b", size_bytes=200, chance=1.0),
    ]
    gains = expected_gains(prospects, reference_bytes=100)
    assert set(gains) == {"a"}
    assert gains["a"].chance == pytest.approx(0.5)
    assert gains["a"].saving == pytest.approx(0.2 * math.log(2) + 0.3 * math.log(1.25))
    assert gains["a"].worthwhile


@pytest.mark.parametrize(("size_bytes", "chance"), [(50, 0.0001), (99_990, 0.01)])
def test_a_training_that_hardly_saves_anything_is_not_worth_it(size_bytes: int, chance: float) -> None:
    gains = expected_gains([Prospect(training="a", size_bytes=size_bytes, chance=chance)], reference_bytes=100_000)
    assert not gains["a"].worthwhile
