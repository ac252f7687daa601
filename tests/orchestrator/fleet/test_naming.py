import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InvalidInputError
from orchestrator.fleet.naming import checked_labels, device_name
from orchestrator.fleet.plain_text import plain_text

DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        ("pi-4b", "pi-4b"),
        ("Küche Pi #1", "kuche-pi-1"),
        ("raspberrypi.local", "raspberrypi-local"),
        ("", "device"),
        ("---", "device"),
        ("日本", "device"),
        ("ALL", "device"),
        ("x" * 200, "x" * 63),
    ],
)
def test_a_wish_becomes_a_dns_label(wish: str, name: str) -> None:
    assert device_name(wish, taken=()) == name


def test_a_taken_name_gets_the_first_number_that_is_free() -> None:
    assert device_name("pi", taken={"pi", "pi-2", "pi-4"}) == "pi-3"


def test_a_long_name_leaves_room_for_its_number() -> None:
    name = device_name("x" * 80, taken={"x" * 63})
    assert name == "x" * 61 + "-2"


@given(st.text(max_size=300), st.integers(0, 30))
def test_whatever_is_wished_for_is_a_dns_label_that_is_not_taken(wish: str, others: int) -> None:
    taken: set[str] = set()
    for _ in range(others + 1):
        name = device_name(wish, taken=taken)
        assert DNS_LABEL.fullmatch(name)
        assert name not in taken
        taken.add(name)


def test_labels_that_are_fine_pass() -> None:
    labels = {"site": "lab", "fleet.example.org/row": "A-1_b.2", "x": "y"}
    assert checked_labels(labels) == labels


@pytest.mark.parametrize(
    "labels",
    [
        {"": "x"},
        {"name": "x"},
        {"class": "x"},
        {"a b": "x"},
        {"-a": "x"},
        {"a": ""},
        {"a": "x,y"},
        {"a": "x=y"},
        {"a": "<b>"},
        {"a": "\x1b[31m"},
        {"a" * 64: "x"},
        {"a": "x" * 64},
        {f"k{number}": "v" for number in range(65)},
    ],
)
def test_labels_that_could_do_harm_or_cannot_be_selected_are_refused(labels: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError):
        checked_labels(labels)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("plain", "plain"),
        ("  two \t words\n", "two words"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("a\x00b", "a b"),
        ("exe\u202etxt", "exe txt"),
        ("line\u2028break", "line break"),
        ("größer", "größer"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_text_is_one_line_of_printable_characters(text: str, plain: str) -> None:
    assert plain_text(text) == plain


@given(st.text(max_size=500))
def test_any_text_becomes_printable_short_and_stays_as_it_then_is(text: str) -> None:
    once = plain_text(text, limit=40)
    assert once.isprintable()
    assert len(once) <= 40
    assert plain_text(once, limit=40) == once
