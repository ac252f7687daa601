"""Join tokens."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import false, update

from orchestrator.errors import UnauthenticatedError
from orchestrator.fleet.join_token import JoinToken
from orchestrator.storage.repository import IdentifiedRepository
from orchestrator.storage.tables import JOIN_TOKENS


class JoinTokenRepository(IdentifiedRepository[JoinToken]):
    """Join tokens, oldest first."""

    table = JOIN_TOKENS
    record_type = JoinToken
    kind = "join token"
    listing = "fleetfit join-token list"

    def list(self) -> tuple[JoinToken, ...]:
        """All tokens, spent ones too, oldest first."""
        return self._select()

    def update(self, token: JoinToken) -> None:
        """Replaces the token.

        Raises:
            NotFoundError: There is no such token.
        """
        self._replace(token)

    def use(self, token_id: str, now: datetime) -> JoinToken:
        """Uses the token once more; of many who ask at once, no more than its maximum succeed.

        Returns:
            The token with this use counted.

        Raises:
            UnauthenticatedError: With reason ``TOKEN_UNKNOWN``, ``TOKEN_REVOKED``, ``TOKEN_EXPIRED`` or ``TOKEN_USED``.
        """
        columns = JOIN_TOKENS.c
        statement = (
            update(JOIN_TOKENS)
            .where(
                columns.id == token_id,
                columns.uses < columns.maximum_uses,
                columns.revoked == false(),
                columns.expires_at > now,
            )
            .values(uses=columns.uses + 1)
        )
        used = self._connection.execute(statement).rowcount == 1
        token = self._first(columns.id == token_id)
        if token is None or not used:
            raise _refusal(token, now)
        return token


def _refusal(token: JoinToken | None, now: datetime) -> UnauthenticatedError:
    if token is None:
        what, reason = "is unknown", "TOKEN_UNKNOWN"
    elif token.revoked:
        what, reason = "was revoked", "TOKEN_REVOKED"
    elif token.expires_at <= now:
        what, reason = f"expired at {token.expires_at:%Y-%m-%d %H:%M:%S} UTC", "TOKEN_EXPIRED"
    else:
        what, reason = "is used up", "TOKEN_USED"
    hint = "ask for a new one: 'fleetfit join-token create'"
    return UnauthenticatedError(f"the join token {what}", hint=hint, reason=reason)
