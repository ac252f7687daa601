"""Join tokens: made for a machine that shall become a device, listed, revoked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from orchestrator.clock import Clock
from orchestrator.errors import InvalidInputError
from orchestrator.fleet.join_token import JoinToken
from orchestrator.fleet.naming import checked_labels
from orchestrator.fleet.secret import make_secret
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction

JOIN_TOKEN_KIND = "ff1"  # noqa: S105 - the public first part of every token
DEFAULT_TIME_TO_LIVE = timedelta(minutes=15)

_LONGEST_TIME_TO_LIVE = timedelta(days=30)
_MOST_USES = 10_000


class JoinTokens:
    """The tokens with which machines join."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(
        self,
        *,
        time_to_live: timedelta = DEFAULT_TIME_TO_LIVE,
        maximum_uses: int = 1,
        labels: Mapping[str, str] | None = None,
    ) -> tuple[JoinToken, str]:
        """A new token, and its secret, which is not kept.

        Raises:
            InvalidInputError: It would live or be used for too long, or not at all, or a label is not one.
        """
        if not timedelta(0) < time_to_live <= _LONGEST_TIME_TO_LIVE:
            raise InvalidInputError("a join token lives between one second and 30 days", hint="for example 15m")
        if not 1 <= maximum_uses <= _MOST_USES:
            raise InvalidInputError(f"a join token is good for 1 to {_MOST_USES} devices, not {maximum_uses}")
        secret = make_secret(JOIN_TOKEN_KIND)
        now = self._clock()
        token = JoinToken(
            id=secret.id,
            secret_hash=secret.hash,
            created_at=now,
            expires_at=now + time_to_live,
            maximum_uses=maximum_uses,
            labels=checked_labels(labels or {}),
        )
        await self._database.run(lambda tx: tx.join_tokens.add(token))
        return token, secret.text

    async def list(self) -> tuple[JoinToken, ...]:
        """All tokens, oldest first; spent, expired and revoked ones too."""
        return await self._database.run(lambda tx: tx.join_tokens.list())

    async def revoke(self, token_id: str) -> JoinToken:
        """The token, of no use from now on. Devices that joined with it stay.

        Raises:
            NotFoundError: There is no such token.
        """

        def work(tx: Transaction) -> JoinToken:
            revoked = replace(tx.join_tokens.get(token_id), revoked=True)
            tx.join_tokens.update(revoked)
            return revoked

        return await self._database.run(work)
