from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.profiling.decoding import GarbledError, decode, encode, parse


class Colour(str, Enum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    share: float
    ready: bool
    colour: Colour
    inners: tuple[Inner, ...]
    maybe: Inner | None = None


WHOLE = Outer(name="n", share=0.5, ready=True, colour=Colour.RED, inners=(Inner(count=1),), maybe=Inner(count=2))


def test_a_value_survives_the_way_there_and_back():
    assert decode(Outer, parse(encode(WHOLE))) == WHOLE


def test_a_whole_number_is_a_fraction_too():
    assert decode(Outer, {**asdict(WHOLE), "inners": [], "maybe": None, "share": 1}).share == 1.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": 3}, "Outer.name is not of type str"),
        ({"share": "half"}, "Outer.share is not of type float"),
        ({"share": True}, "Outer.share is not of type float"),
        ({"share": 10**400}, "Outer.share"),
        ({"ready": 1}, "Outer.ready is not of type bool"),
        ({"colour": []}, "Outer.colour is none of"),
        ({"colour": "blue"}, "Outer.colour is none of"),
        ({"inners": {}}, "Outer.inners is not a list"),
        ({"inners": [{"count": 1.5}]}, "Outer.inners.count is not of type int"),
        ({"inners": [{}]}, "Outer.inners lacks a field"),
        ({"maybe": []}, "Outer.maybe is not an object"),
        ({"extra": 1}, "unknown field 'extra'"),
    ],
)
def test_what_is_wrong_is_named(change, words):
    document = json.loads(encode(WHOLE)) | change
    with pytest.raises(GarbledError, match=words):
        decode(Outer, document)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"NaN", b"[Infinity]", b"[" * 100_000])
def test_what_is_not_json_is_refused(text):
    with pytest.raises(GarbledError):
        parse(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_document_is_decoded_or_refused(document):
    try:
        decode(Outer, document)
    except GarbledError:
        return
    pytest.fail("nothing random is an Outer")
