"""The service by which machines become devices, and devices renew what makes them so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from fleetfit.v1 import enrolment_pb2, enrolment_pb2_grpc

from orchestrator.api.caller import calling_device
from orchestrator.api.convert.devices import facts_from_proto
from orchestrator.api.convert.scalars import timestamp
from orchestrator.errors import UnavailableError
from orchestrator.fleet.authority import Authority
from orchestrator.fleet.enrolment import Enrolment
from orchestrator.fleet.plain_text import plain_text
from orchestrator.fleet.rate_limit import RateLimit, RateLimits

# Refused tokens of one network address: a typing error or two, not a search.
_REFUSALS_PER_SECOND = 1.0
_REFUSALS_AT_ONCE = 50


class EnrolmentService(enrolment_pb2_grpc.EnrolmentServiceServicer):
    """Hands out the authority's certificate, and identities against join tokens.

    Args:
        enrolment: Decides.
        authority: Whose certificate is shown.
        device_address: What devices dial from then on; empty host: the one that they dialled.
        trust_root: First root metadata of the release repository.
    """

    def __init__(
        self,
        *,
        enrolment: Enrolment,
        authority: Authority,
        device_address: str,
        trust_root: Callable[[], bytes],
    ) -> None:
        self._enrolment = enrolment
        self._authority = authority
        self._device_address = device_address
        self._trust_root = trust_root
        self._refusals = RateLimits(lambda: RateLimit(per_second=_REFUSALS_PER_SECOND, burst=_REFUSALS_AT_ONCE))

    async def GetAuthority(
        self, request: enrolment_pb2.GetAuthorityRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> enrolment_pb2.GetAuthorityResponse:
        """The certificate of the authority."""
        return enrolment_pb2.GetAuthorityResponse(ca_certificate=self._authority.certificate_pem)

    async def Enrol(
        self, request: enrolment_pb2.EnrolRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> enrolment_pb2.EnrolResponse:
        """An identity for the key in the signing request."""
        network_address = context.peer().rpartition(":")[0]
        # Counted before it is looked at, so that guesses that come all at once are limited too.
        if not self._refusals.allows(network_address):
            raise UnavailableError(
                "too many join tokens were refused from this address",
                hint="wait a little, then try again with a valid token",
                reason="RATE_LIMITED",
            )
        trust_root = await asyncio.to_thread(self._trust_root)
        enrolled = await self._enrolment.enrol(
            join_token=request.join_token,
            signing_request=request.signing_request,
            wished_name=plain_text(request.name),
            facts=facts_from_proto(request.facts),
        )
        self._refusals.give_back(network_address)
        return enrolment_pb2.EnrolResponse(
            device_id=enrolled.device.id,
            name=enrolled.device.name,
            certificate=enrolled.certificate.pem,
            ca_certificate=self._authority.certificate_pem,
            expires_at=timestamp(enrolled.certificate.expires_at),
            device_address=self._device_address,
            trust_root=trust_root,
        )

    async def Renew(
        self, request: enrolment_pb2.RenewRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> enrolment_pb2.RenewResponse:
        """A certificate for the device's next key."""
        device = calling_device()
        certificate = await self._enrolment.renew(
            device_id=device.device_id,
            key_fingerprint=device.key_fingerprint,
            signing_request=request.signing_request,
        )
        return enrolment_pb2.RenewResponse(certificate=certificate.pem, expires_at=timestamp(certificate.expires_at))
