"""People and scripts that use the orchestrator: which API token lets whom in."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from orchestrator.clock import Clock
from orchestrator.config import Layout
from orchestrator.durable_file import write_durably
from orchestrator.errors import InvalidInputError, UnauthenticatedError
from orchestrator.fleet.api_token import ApiToken, Role
from orchestrator.fleet.plain_text import plain_text
from orchestrator.fleet.secret import Secret, make_secret, read_secret
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction

API_TOKEN_KIND = "ffo1"  # noqa: S105 - the public first part of every token

# The token in the data directory has this name.
_LOCAL_NAME = "local"
_NAME_LIMIT = 100
_LONGEST_LIFE = timedelta(days=3660)


class Operators:
    """Makes and checks API tokens. Only a hash of each is kept."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, *, name: str, role: Role, time_to_live: timedelta | None = None) -> tuple[ApiToken, str]:
        """A new token, and its secret, which is not kept.

        Raises:
            InvalidInputError: The name is not one line of plain text, or the life is not a positive one.
        """
        if not name.strip() or plain_text(name, limit=_NAME_LIMIT) != name:
            raise InvalidInputError(f"a token needs a name of one line, at most {_NAME_LIMIT} characters")
        if time_to_live is not None and not timedelta(0) < time_to_live <= _LONGEST_LIFE:
            raise InvalidInputError("a token lasts longer than 0s and at most ten years")
        token, secret = self._new(name, role)
        if time_to_live is not None:
            token = replace(token, expires_at=token.created_at + time_to_live)
        await self._database.run(lambda tx: tx.api_tokens.add(token))
        return token, secret.text

    async def list(self) -> tuple[ApiToken, ...]:
        """All tokens, oldest first."""
        return await self._database.run(lambda tx: tx.api_tokens.list())

    async def authenticate(self, text: str) -> ApiToken:
        """The token whose secret is ``text``.

        Raises:
            UnauthenticatedError: There is none, or it is revoked or has expired.
        """
        secret = read_secret(API_TOKEN_KIND, text)
        if secret is None:
            raise _refused("is not one of this orchestrator's")
        token = await self._database.run(lambda tx: tx.api_tokens.by_hash(secret.hash))
        if token is None:
            raise _refused("is not one of this orchestrator's")
        if token.revoked:
            raise _refused("was revoked")
        if token.expires_at is not None and token.expires_at <= self._clock():
            raise _refused("has expired")
        return token

    async def revoke(self, token_id: str) -> ApiToken:
        """The token, of no use from now on.

        Raises:
            NotFoundError: There is no such token.
        """

        def work(tx: Transaction) -> ApiToken:
            revoked = replace(tx.api_tokens.get(token_id), revoked=True)
            tx.api_tokens.update(revoked)
            return revoked

        return await self._database.run(work)

    async def ensure_local(self, layout: Layout) -> None:
        """Makes sure that the data directory holds an administrator's token that works.

        Made at the first start, and again where the file or the database has lost it; the one before is then revoked.

        Raises:
            OperationError: The file cannot be written.
        """
        try:
            await self.authenticate(layout.operator_token.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, UnauthenticatedError):
            token, secret = self._new(_LOCAL_NAME, Role.ADMIN)

            def work(tx: Transaction) -> None:
                for old in tx.api_tokens.list():
                    if old.name == _LOCAL_NAME and not old.revoked:
                        tx.api_tokens.update(replace(old, revoked=True))
                tx.api_tokens.add(token)

            # The row first: a file that names an unknown token would lock the user out until the next start.
            await self._database.run(work)
            write_durably(layout.operator_token, secret.text.encode() + b"\n", mode=0o600)

    def _new(self, name: str, role: Role) -> tuple[ApiToken, Secret]:
        secret = make_secret(API_TOKEN_KIND)
        token = ApiToken(id=secret.id, name=name, role=role, secret_hash=secret.hash, created_at=self._clock())
        return token, secret


def _refused(why: str) -> UnauthenticatedError:
    return UnauthenticatedError(
        f"the API token {why}", hint="use the one in the file operator-token of the data directory, or ask for one"
    )
