"""How a machine becomes a device, and stays one: a signing request against an identity, again and again."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.clock import Clock
from orchestrator.errors import InvalidInputError, NotFoundError, UnauthenticatedError
from orchestrator.events import Events
from orchestrator.fleet.authority import Authority, DeviceCertificate
from orchestrator.fleet.certificates import key_fingerprint as fingerprint_of
from orchestrator.fleet.certificates import read_signing_request
from orchestrator.fleet.device import Device, DeviceFacts
from orchestrator.fleet.join_token import JoinToken
from orchestrator.fleet.join_tokens import JOIN_TOKEN_KIND
from orchestrator.fleet.naming import device_name
from orchestrator.fleet.secret import Secret, read_secret
from orchestrator.fleet.sessions import enrolled_device
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """A device, and the certificate that makes it one."""

    device: Device
    certificate: DeviceCertificate


class Enrolment:
    """Lets machines in."""

    def __init__(self, *, database: Database, authority: Authority, events: Events, clock: Clock) -> None:
        self._database = database
        self._authority = authority
        self._events = events
        self._clock = clock

    async def enrol(self, *, join_token: str, signing_request: bytes, wished_name: str, facts: DeviceFacts) -> Enrolled:
        """The device that the key in ``signing_request`` is from now on.

        Safe to repeat: the same token and key give the same device, and use the token once. A key that is a device's
        already stays that device, whichever token it comes with.

        Raises:
            UnauthenticatedError: The token is unknown, expired, used up or revoked.
            InvalidInputError: The signing request cannot be used.
        """
        secret = read_secret(JOIN_TOKEN_KIND, join_token)
        if secret is None:
            raise _unknown_token()
        key = read_signing_request(signing_request)
        fingerprint = fingerprint_of(key)
        new_id = str(uuid.uuid4())
        now = self._clock()

        def work(tx: Transaction) -> Enrolled:
            token, repeated = _admit(tx, secret, fingerprint, now)
            known = tx.devices.by_key(fingerprint)
            if repeated and known is None:
                raise UnauthenticatedError(
                    "this key was replaced by a newer one", hint="join with a new key and a new token", reason="REENROL"
                )
            certificate = self._authority.issue_device_certificate(
                key=key, device_id=new_id if known is None else known.id, now=now
            )
            if known is None:
                device = Device(
                    id=new_id,
                    name=device_name(wished_name or facts.hostname, taken=tx.devices.names()),
                    facts=facts,
                    key_fingerprint=fingerprint,
                    certificate_expires_at=certificate.expires_at,
                    enrolled_at=now,
                    labels=token.labels,
                )
                tx.devices.add(device)
            else:
                device = replace(
                    known,
                    facts=facts,
                    labels={**known.labels, **token.labels},
                    certificate_expires_at=certificate.expires_at,
                )
                tx.devices.update(device)
            if not repeated:
                tx.enrolments.add(token.id, fingerprint, device.id)
            return Enrolled(device=device, certificate=certificate)

        enrolled = await self._database.run(work)
        self._events.publish(f"device/{enrolled.device.id}")
        _LOG.info("device %s (%s) joined with token %s", enrolled.device.name, enrolled.device.id, secret.id)
        return enrolled

    async def renew(self, *, device_id: str, key_fingerprint: str, signing_request: bytes) -> DeviceCertificate:
        """A certificate for another key of the device, which counts from its first call on.

        Safe to repeat: until that call the key that the device has goes on to count, and the latest request decides
        which one follows it.

        Args:
            device_id: Who calls.
            key_fingerprint: The key that it proved itself with.
            signing_request: PKCS #10 in PEM, signed by the new key.

        Raises:
            InvalidInputError: The signing request cannot be used, or its key is known already.
            UnauthenticatedError: The device was removed meanwhile.
        """
        key = read_signing_request(signing_request)
        fingerprint = fingerprint_of(key)
        now = self._clock()

        def work(tx: Transaction) -> DeviceCertificate:
            device = enrolled_device(tx, device_id, key_fingerprint)
            if tx.devices.by_key(fingerprint) is not None:
                raise InvalidInputError(
                    "the signing request names a key that is in use",
                    hint="make a new key for every renewal",
                    reason="SIGNING_REQUEST_INVALID",
                )
            certificate = self._authority.issue_device_certificate(key=key, device_id=device.id, now=now)
            tx.devices.update(
                replace(device, next_key_fingerprint=fingerprint, certificate_expires_at=certificate.expires_at)
            )
            return certificate

        certificate = await self._database.run(work)
        self._events.publish(f"device/{device_id}")
        _LOG.info("device %s renews its certificate, until %s", device_id, f"{certificate.expires_at:%Y-%m-%d}")
        return certificate


def _admit(tx: Transaction, secret: Secret, fingerprint: str, now: datetime) -> tuple[JoinToken, bool]:
    """The token, used once more unless this key used it before, and whether it did.

    A repeat asks for nothing new. It also holds after the token was used up or has expired, because the first answer
    may have been lost on the way.

    Raises:
        UnauthenticatedError: The token lets nobody in.
    """
    try:
        token = tx.join_tokens.get(secret.id)
    except NotFoundError as error:
        raise _unknown_token() from error
    if not secret.matches(token.secret_hash):
        raise _unknown_token()
    if not token.revoked and tx.enrolments.find(token.id, fingerprint) is not None:
        return token, True
    return tx.join_tokens.use(token.id, now), False


def _unknown_token() -> UnauthenticatedError:
    """What a guesser hears, whether the id, the secret or the form was wrong."""
    return UnauthenticatedError(
        "the join token is unknown", hint="ask for a new one: 'fleetfit join-token create'", reason="TOKEN_UNKNOWN"
    )
