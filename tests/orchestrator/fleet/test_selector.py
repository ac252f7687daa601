import pytest

from orchestrator.errors import InvalidInputError, NotFoundError
from orchestrator.fleet.selector import parse_selector, select_devices
from tests.orchestrator.storage.records import a_device

PI = a_device(id="id-1", name="pi-4b", labels={"site": "lab", "row": "1"})
CAM = a_device(id="id-2", name="cam-1", labels={"site": "roof"})
GATE = a_device(id="id-3", name="gate", labels={})
FLEET = (PI, CAM, GATE)


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("all", ["cam-1", "gate", "pi-4b"]),
        (" all ", ["cam-1", "gate", "pi-4b"]),
        ("pi-4b", ["pi-4b"]),
        ("id-2", ["cam-1"]),
        ("name=*-*", ["cam-1", "pi-4b"]),
        ("name=pi-4?", ["pi-4b"]),
        ("site=lab", ["pi-4b"]),
        ("site=lab, row=1", ["pi-4b"]),
        ("all,site=roof", ["cam-1"]),
        (f"class={PI.device_class}", ["cam-1", "gate", "pi-4b"]),
        ("class=raspberry-pi-5-*", ["cam-1", "gate", "pi-4b"]),
        ("name=gate,class=*", ["gate"]),
    ],
)
def test_a_selector_selects(text: str, selected: list[str]) -> None:
    assert [device.name for device in select_devices(text, FLEET)] == selected


@pytest.mark.parametrize("text", ["", "  ", ",", "site=", "=lab", "site=lab,", "all,,pi-4b", "="])
def test_what_is_no_selector_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_selector(text)
    assert "name=cam-*" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pi-5", "'pi-5' is not the name of a device"),
        ("site=moon", "'site=moon' selects no device"),
        ("site=lab,row=2", "selects no device"),
        ("name=PI-4B", "selects no device"),
        ("pi-*", "is not the name of a device"),
    ],
)
def test_what_selects_nothing_is_not_found(text: str, words: str) -> None:
    with pytest.raises(NotFoundError, match=words):
        select_devices(text, FLEET)
