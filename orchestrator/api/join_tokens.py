"""The service that makes, lists and revokes join tokens."""

from __future__ import annotations

from typing import Any

import grpc
from fleetfit.v1 import join_tokens_pb2, join_tokens_pb2_grpc

from orchestrator.api.convert.join_tokens import join_token_to_proto
from orchestrator.api.convert.scalars import time_delta
from orchestrator.fleet.authority import Authority
from orchestrator.fleet.join_tokens import DEFAULT_TIME_TO_LIVE, JoinTokens


class JoinTokenService(join_tokens_pb2_grpc.JoinTokenServiceServicer):
    """Join tokens for operators.

    Args:
        join_tokens: Makes and keeps them.
        authority: Whose hash a device is given beside its token.
        public_address: What a device dials to join.
    """

    def __init__(self, *, join_tokens: JoinTokens, authority: Authority, public_address: str) -> None:
        self._join_tokens = join_tokens
        self._authority = authority
        self._public_address = public_address

    async def CreateJoinToken(
        self, request: join_tokens_pb2.CreateJoinTokenRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> join_tokens_pb2.CreateJoinTokenResponse:
        """A new token; its secret is in this answer and nowhere else."""
        given = request.HasField("time_to_live")
        token, secret = await self._join_tokens.create(
            time_to_live=time_delta(request.time_to_live, name="time_to_live") if given else DEFAULT_TIME_TO_LIVE,
            maximum_uses=request.maximum_uses or 1,
            labels=dict(request.labels),
        )
        return join_tokens_pb2.CreateJoinTokenResponse(
            token=join_token_to_proto(token),
            secret=secret,
            ca_hash=self._authority.ca_hash(),
            address=self._public_address,
        )

    async def ListJoinTokens(
        self, request: join_tokens_pb2.ListJoinTokensRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> join_tokens_pb2.ListJoinTokensResponse:
        """All tokens."""
        tokens = await self._join_tokens.list()
        return join_tokens_pb2.ListJoinTokensResponse(tokens=[join_token_to_proto(token) for token in tokens])

    async def RevokeJoinToken(
        self, request: join_tokens_pb2.RevokeJoinTokenRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> join_tokens_pb2.RevokeJoinTokenResponse:
        """The token, of no use from now on."""
        token = await self._join_tokens.revoke(request.id)
        return join_tokens_pb2.RevokeJoinTokenResponse(token=join_token_to_proto(token))
