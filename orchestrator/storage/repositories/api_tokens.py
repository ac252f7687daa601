"""API tokens of people and scripts."""

from __future__ import annotations

from orchestrator.fleet.api_token import ApiToken
from orchestrator.storage.repository import IdentifiedRepository
from orchestrator.storage.tables import API_TOKENS


class ApiTokenRepository(IdentifiedRepository[ApiToken]):
    """API tokens; hashes are unique."""

    table = API_TOKENS
    record_type = ApiToken
    kind = "API token"

    def by_hash(self, secret_hash: str) -> ApiToken | None:
        """The token whose secret has this hash, whether or not it still holds."""
        return self._first(API_TOKENS.c.secret_hash == secret_hash)

    def list(self) -> tuple[ApiToken, ...]:
        """All tokens, oldest first."""
        return self._select()

    def update(self, token: ApiToken) -> None:
        """Replaces the token.

        Raises:
            NotFoundError: There is no such token.
        """
        self._replace(token)
