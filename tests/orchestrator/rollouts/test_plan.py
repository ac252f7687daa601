import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InvalidInputError
from orchestrator.rollouts.plan import Plan, WaveSize, parse_fraction, parse_waves, waves_text


def sizes(text, count):
    waves = list(Plan(waves=parse_waves(text)).waves_of(f"d{number}" for number in range(count)).values())
    return [waves.count(wave) for wave in range(max(waves) + 1)]


@pytest.mark.parametrize(("text", "count", "expected"), [
    ("100%", 7, [7]),
    ("1,10%,50%,100%", 100, [1, 9, 40, 50]),
    ("1,10%,50%,100%", 3, [1, 1, 1]),
    ("1,100%", 1, [1]),
    ("7%,100%", 100, [7, 93]),
    ("5,2,100%", 10, [5, 5]),
    (" 1 , 100% ", 2, [1, 1]),
])  # fmt: skip
def test_waves_count_all_devices_up_to_them(text, count, expected):
    assert sizes(text, count) == expected


@pytest.mark.parametrize("text", ["", "1", "50%", "0,100%", "101%,100%", "-1,100%", "x,100%", "1,,100%", "9" * 10])
def test_what_is_no_list_of_waves_is_refused(text):
    with pytest.raises(InvalidInputError):
        parse_waves(text)


def test_waves_are_written_as_they_were_read():
    assert waves_text(parse_waves("1,10%,12.5%,100%")) == "1,10%,12.5%,100%"


@given(st.integers(1, 200), st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
def test_the_same_seed_gives_the_same_waves_and_each_device_one(count, seed, order):
    plan = Plan(waves=parse_waves("1,10%,100%"), seed=seed)
    ids = [f"d{number}" for number in range(count)]
    waves = plan.waves_of(ids)
    order.shuffle(ids)
    assert plan.waves_of(ids) == waves
    assert set(waves) == set(ids)
    assert set(waves.values()) == set(range(max(waves.values()) + 1))


def test_another_seed_chooses_other_canaries():
    ids = [f"d{number}" for number in range(100)]
    canaries = {next(iter(Plan(waves=parse_waves("1,100%"), seed=seed).waves_of(ids))) for seed in range(10)}
    assert len(canaries) > 5


@pytest.mark.parametrize(
    "changes",
    [
        {"waves": ()},
        {"waves": (WaveSize(devices=1),)},
        {"waves": (WaveSize(), WaveSize(fraction=1.0))},
        {"waves": (WaveSize(devices=1, fraction=0.5), WaveSize(fraction=1.0))},
        {"success_fraction": 0.0},
        {"error_fraction": 1.5},
        {"error_fraction": float("nan")},
        {"minimum_sample": 0},
        {"max_parallel": -1},
        {"soak_s": -1.0},
        {"offline_deadline_s": float("inf")},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes):
    with pytest.raises(InvalidInputError):
        Plan(**changes).check()


def test_shares_are_read_with_and_without_percent():
    assert (parse_fraction("95%", name="x"), parse_fraction("0.95", name="x")) == (0.95, 0.95)
    for text in ("", "%", "two", "120%", "nan"):
        with pytest.raises(InvalidInputError, match="is not a share"):
            parse_fraction(text, name="x")
