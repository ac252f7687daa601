import pytest

from orchestrator.fleet.secret import make_secret, read_secret


def test_a_secret_is_read_back() -> None:
    made = make_secret("ff1")
    read = read_secret("ff1", f" {made.text}\n")
    assert read == made
    assert read is not None
    assert read.matches(made.hash)


def test_no_two_secrets_are_alike() -> None:
    texts = {make_secret("ff1").text for _ in range(200)}
    assert len(texts) == 200
    assert {len(text) for text in texts} == {len("ff1.") + 8 + 1 + 32}


def test_a_secret_does_not_show_itself() -> None:
    made = make_secret("ff1")
    assert made.text.rpartition(".")[2] not in repr(made)


def test_another_secret_with_the_same_id_does_not_match() -> None:
    one, other = make_secret("ff1"), make_secret("ff1")
    forged = read_secret("ff1", f"ff1.{one.id}.{other.text.rpartition('.')[2]}")
    assert forged is not None
    assert not forged.matches(one.hash)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ff1",
        "ff1..",
        "ff1.aaaaaaaa",
        "ff1.aaaaaaaa." + "a" * 31,
        "ff1.aaaaaaaa." + "1" * 32,
        "ff2.aaaaaaaa." + "a" * 32,
        "FF1.AAAAAAAA." + "A" * 32,
        "ff1.aaaaaaaa." + "a" * 32 + "." + "a" * 32,
        "x" * 10**6,
    ],
)
def test_what_cannot_be_a_secret_is_none(text: str) -> None:
    assert read_secret("ff1", text) is None
