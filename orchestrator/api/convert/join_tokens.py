"""Join tokens. There is no way back: a message holds no hash."""

from __future__ import annotations

from fleetfit.v1 import join_tokens_pb2

from orchestrator.api.convert.scalars import timestamp
from orchestrator.fleet.join_token import JoinToken


def join_token_to_proto(token: JoinToken) -> join_tokens_pb2.JoinToken:
    """The message of a token, without its hash."""
    return join_tokens_pb2.JoinToken(
        id=token.id,
        created_at=timestamp(token.created_at),
        expires_at=timestamp(token.expires_at),
        uses=token.uses,
        maximum_uses=token.maximum_uses,
        revoked=token.revoked,
        labels=dict(token.labels),
    )
