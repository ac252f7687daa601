"""The service that makes, lists and revokes API tokens."""

from __future__ import annotations

from typing import Any

import grpc
from fleetfit.v1 import api_tokens_pb2, api_tokens_pb2_grpc

from orchestrator.api.convert.scalars import time_delta, timestamp
from orchestrator.errors import InvalidInputError
from orchestrator.fleet.api_token import ApiToken, Role
from orchestrator.fleet.operators import Operators


class ApiTokenService(api_tokens_pb2_grpc.ApiTokenServiceServicer):
    """API tokens for administrators."""

    def __init__(self, *, operators: Operators) -> None:
        self._operators = operators

    async def CreateApiToken(
        self, request: api_tokens_pb2.CreateApiTokenRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> api_tokens_pb2.CreateApiTokenResponse:
        """A new token; its secret is in this answer and nowhere else."""
        given = request.HasField("time_to_live")
        token, secret = await self._operators.create(
            name=request.name,
            role=_role(request.role),
            time_to_live=time_delta(request.time_to_live, name="time_to_live") if given else None,
        )
        return api_tokens_pb2.CreateApiTokenResponse(token=_message(token), secret=secret)

    async def ListApiTokens(
        self, request: api_tokens_pb2.ListApiTokensRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> api_tokens_pb2.ListApiTokensResponse:
        """All tokens."""
        tokens = await self._operators.list()
        return api_tokens_pb2.ListApiTokensResponse(tokens=[_message(token) for token in tokens])

    async def RevokeApiToken(
        self, request: api_tokens_pb2.RevokeApiTokenRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> api_tokens_pb2.RevokeApiTokenResponse:
        """The token, of no use from now on."""
        return api_tokens_pb2.RevokeApiTokenResponse(token=_message(await self._operators.revoke(request.id)))


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError as error:
        known = ", ".join(role.value for role in Role)
        raise InvalidInputError(f"'{text[:40]}' is not a role", hint=f"one of {known}") from error


def _message(token: ApiToken) -> api_tokens_pb2.ApiToken:
    return api_tokens_pb2.ApiToken(
        id=token.id,
        name=token.name,
        role=token.role.value,
        created_at=timestamp(token.created_at),
        expires_at=timestamp(token.expires_at),
        revoked=token.revoked,
    )
