import asyncio
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.config import Layout
from orchestrator.errors import UnauthenticatedError
from orchestrator.fleet.api_token import Role
from orchestrator.fleet.operators import Operators
from orchestrator.fleet.secret import make_secret
from orchestrator.storage.database import Database
from tests.orchestrator.storage.records import NOW, an_api_token


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(f"sqlite:///{tmp_path}/fleetfit.db")
    yield opened
    opened.close()


@pytest.fixture
def operators(database: Database) -> Operators:
    return Operators(database=database, clock=lambda: NOW)


def _refusal(operators: Operators, text: str) -> UnauthenticatedError:
    with pytest.raises(UnauthenticatedError) as caught:
        asyncio.run(operators.authenticate(text))
    return caught.value


def test_a_token_lets_its_bearer_in(operators: Operators) -> None:
    token, secret = asyncio.run(operators.create(name="ci", role=Role.OPERATOR))
    assert asyncio.run(operators.authenticate(secret + "\n")) == token
    assert token.role is Role.OPERATOR
    assert secret not in repr(token)


def test_a_revoked_token_and_one_that_expired_let_nobody_in(operators: Operators, database: Database) -> None:
    token, secret = asyncio.run(operators.create(name="ci", role=Role.VIEWER))
    asyncio.run(operators.revoke(token.id))
    assert "was revoked" in _refusal(operators, secret).message
    expired = make_secret("ffo1")
    row = an_api_token(secret_hash=expired.hash, expires_at=NOW - timedelta(seconds=1))
    database.run_blocking(lambda tx: tx.api_tokens.add(row))
    assert "has expired" in _refusal(operators, expired.text).message


@pytest.mark.parametrize("text", ["", "x", make_secret("ffo1").text, make_secret("ff1").text])
def test_what_is_no_token_of_ours_lets_nobody_in(operators: Operators, text: str) -> None:
    assert "not one of this orchestrator's" in _refusal(operators, text).message


def test_the_first_start_makes_an_administrators_token_and_the_next_keeps_it(
    operators: Operators, tmp_path: Path
) -> None:
    layout = Layout(root=tmp_path)
    for _ in range(2):
        asyncio.run(operators.ensure_local(layout))
    text = layout.operator_token.read_text()
    assert stat.S_IMODE(layout.operator_token.stat().st_mode) == 0o600
    assert asyncio.run(operators.authenticate(text)).role is Role.ADMIN
    asyncio.run(operators.ensure_local(layout))
    assert layout.operator_token.read_text() == text


@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"\xff\xfe", b"ffo1.aaaaaaaa." + b"a" * 32])
def test_a_lost_or_foreign_token_is_replaced_and_the_one_before_revoked(
    operators: Operators, tmp_path: Path, content: bytes | None
) -> None:
    layout = Layout(root=tmp_path)
    asyncio.run(operators.ensure_local(layout))
    before = layout.operator_token.read_text()
    layout.operator_token.unlink() if content is None else layout.operator_token.write_bytes(content)
    asyncio.run(operators.ensure_local(layout))
    assert asyncio.run(operators.authenticate(layout.operator_token.read_text())).role is Role.ADMIN
    assert "was revoked" in _refusal(operators, before).message
