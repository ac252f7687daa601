"""Joining a fleet: from an address, a token and the hash of an authority to an identity on disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TypeVar

import grpc
import grpc.aio
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from fleetfit.v1 import enrolment_pb2, enrolment_pb2_grpc

from agent.address import Address, parse_address
from agent.authority import check_authority, check_validity, fetch_server_certificate, load_certificate, parse_ca_hash
from agent.channel import hint, open_channel, said, unreachable
from agent.convert import from_timestamp, to_facts
from agent.errors import AgentError, AuthorityMismatchError, ConfigurationError, JoinError, UnreachableError
from agent.facts import DeviceFacts
from agent.identity import Identity, store_identity
from agent.key import load_or_make_key, signing_request
from agent.state_directory import StateDirectory

_log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

_TIMEOUT_S = 20.0
# The answer to a request may be lost; the same token and key give the same identity.
_RETRY_AFTER_S = (1.0, 3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What an operator hands to a machine that shall become a device."""

    address: Address
    token: str = field(repr=False)
    # "sha256:" and 64 lower-case hexadecimal digits, over the DER of the authority's certificate.
    ca_hash: str


def parse_invitation(*, address: str, token: str, ca_hash: str) -> Invitation:
    """The invitation as a user typed it.

    Raises:
        ConfigurationError: One of the three cannot be right.
    """
    parsed = parse_address(address)
    if not parsed.host:
        raise ConfigurationError(f"'{address}' names no host", hint="write it as host:port, for example pi.lan:7443")
    stripped = token.strip()
    if not stripped or not stripped.isprintable() or not stripped.isascii() or " " in stripped:
        raise ConfigurationError("the join token is empty or garbled", hint="make one: 'fleetfit join-token create'")
    return Invitation(address=parsed, token=stripped, ca_hash=parse_ca_hash(ca_hash))


async def join(
    invitation: Invitation,
    *,
    state: StateDirectory,
    facts: DeviceFacts,
    name: str = "",
    retry_after_s: tuple[float, ...] = _RETRY_AFTER_S,
) -> Identity:
    """Makes this machine a device of the fleet; when this returns, its identity is on the disk.

    The token leaves this machine only over a connection whose other end was proved to belong to the announced
    authority. Call it again after a failure: it goes on with the same key.

    Args:
        invitation: From the operator.
        state: Where the identity goes; held by the caller.
        facts: What the device says of itself.
        name: Wish for the device's name; empty leaves it to the orchestrator.
        retry_after_s: Waits before further tries when an answer does not come.

    Raises:
        JoinError: This machine has joined already, or the orchestrator refuses the token.
        AuthorityMismatchError: The server is another one; the token was not sent.
        UnreachableError: The server cannot be reached.
        ConfigurationError: The state directory cannot be written.
        NoSpaceError: The disk is full.
    """
    if state.identity_record.exists():
        raise JoinError(
            f"this machine has joined a fleet already ({state.root})",
            hint="see 'fleetfit-agent status'; to join another fleet run 'fleetfit-agent leave' first",
        )
    if not name.isprintable():
        raise ConfigurationError("the device's name has characters that cannot be shown", hint="choose another --name")
    authority = await _trusted_authority(invitation)
    key = load_or_make_key(state.key)
    request = enrolment_pb2.EnrolRequest(
        join_token=invitation.token, signing_request=signing_request(key), name=name, facts=to_facts(facts)
    )

    async def enrol() -> enrolment_pb2.EnrolResponse:
        async with open_channel(invitation.address, authority=authority) as channel:
            return await enrolment_pb2_grpc.EnrolmentServiceStub(channel).Enrol(request, timeout=_TIMEOUT_S)

    response = await _asking(enrol, invitation.address, retry_after_s)
    identity = _identity(response, invitation.address)
    _check_answer(response, authority=authority, key=key)
    store_identity(
        state, identity, certificate=response.certificate, authority=authority, trust_root=response.trust_root
    )
    return identity


async def _trusted_authority(invitation: Invitation) -> bytes:
    """The authority's certificate in PEM, after it was held against the announced hash.

    The connection that fetches it is bound to the very certificate that the server showed first, so that what is
    checked here is what will be spoken to later.
    """
    address = invitation.address
    shown = await fetch_server_certificate(address, timeout_s=_TIMEOUT_S)
    # TLS would refuse it too, without a word about this device's clock.
    check_validity(shown, whose="server", now=datetime.now(tz=timezone.utc))
    try:
        async with open_channel(address, authority=shown) as channel:
            stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
            answer = await stub.GetAuthority(enrolment_pb2.GetAuthorityRequest(), timeout=_TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise JoinError(
                f"what listens at {address} does not enrol devices",
                hint="use the address that 'fleetfit join-token create' prints",
            ) from error
        raise UnreachableError(
            unreachable(error, address).message, hint="use the address that 'fleetfit join-token create' prints"
        ) from error
    check_authority(authority=answer.ca_certificate, ca_hash=invitation.ca_hash, server_certificate=shown)
    check_validity(answer.ca_certificate, whose="authority", now=datetime.now(tz=timezone.utc))
    return answer.ca_certificate


async def _asking(ask: Callable[[], Awaitable[_Answer]], address: Address, retry_after_s: tuple[float, ...]) -> _Answer:
    """The answer; asked for again when there is none."""
    waits = iter(retry_after_s)
    while True:
        try:
            return await ask()
        except grpc.aio.AioRpcError as error:
            failure = _enrolment_error(error, address)
            wait_s = next(waits, None)
            if not isinstance(failure, UnreachableError) or wait_s is None:
                raise failure from error
            _log.warning("%s; trying again in %.0f s", failure, wait_s)
            await asyncio.sleep(wait_s)


def _enrolment_error(error: grpc.aio.AioRpcError, address: Address) -> AgentError:
    lost = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL)
    if error.code() in lost:
        return unreachable(error, address)
    return JoinError(
        f"the orchestrator at {address} refuses to enrol this device: {said(error)}",
        hint=hint(error) or "make a new token with 'fleetfit join-token create'",
    )


def _identity(response: enrolment_pb2.EnrolResponse, dialled: Address) -> Identity:
    try:
        device_address = parse_address(response.device_address, default_port=None).on_host(dialled.host)
    except ConfigurationError as error:
        raise JoinError(
            f"the orchestrator names '{response.device_address}' as its address for devices", hint="update the agent"
        ) from error
    now = datetime.now(tz=timezone.utc)
    return Identity(
        device_id=response.device_id,
        name=response.name,
        public_address=dialled,
        device_address=device_address,
        joined_at=now,
        certificate_issued_at=now,
        certificate_expires_at=from_timestamp(response.expires_at),
    )


def _check_answer(response: enrolment_pb2.EnrolResponse, *, authority: bytes, key: ec.EllipticCurvePrivateKey) -> None:
    """What is stored must work at the next start: refuse it now, while the user looks on."""
    ca, certificate = load_certificate(authority), load_certificate(response.certificate)
    if load_certificate(response.ca_certificate) != ca:
        raise AuthorityMismatchError(
            "the orchestrator enrolled this device with another authority than the announced one",
            hint="check --ca-hash, and tell whoever runs the orchestrator",
        )
    if certificate.public_key() != key.public_key():
        raise JoinError("the orchestrator certified another key than that of this device", hint="join again")
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise JoinError("the device's certificate was not signed by the announced authority") from error
    if not response.device_id or not response.trust_root:
        raise JoinError("the orchestrator's answer is incomplete", hint="update orchestrator and agent")
