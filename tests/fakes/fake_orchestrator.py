"""An orchestrator as devices see it: real sockets, real TLS, an authority of its own, and a script for a mind."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import ipaddress
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fleetfit.v1 import (
    delivery_pb2,
    delivery_pb2_grpc,
    enrolment_pb2,
    enrolment_pb2_grpc,
    measurement_pb2,
    session_pb2,
    session_pb2_grpc,
)

SERVER_NAME = "orchestrator.fleetfit.internal"
_CHUNK_BYTES = 64 * 1024


class FakeAuthority:
    """A certificate authority with one server certificate."""

    def __init__(self, *, days: int = 30) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _name("test authority")
        self._certificate = (
            _builder(name, name, self._key.public_key(), days=3650)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self._days = days
        self.certificate = _pem(self._certificate)

    @property
    def ca_hash(self) -> str:
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        return f"sha256:{hashlib.sha256(der).hexdigest()}"

    def server(self) -> tuple[bytes, bytes]:
        """Key and chain of a server certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(SERVER_NAME), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            _builder(_name("server"), self._certificate.subject, key.public_key(), days=self._days)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return private, _pem(certificate) + self.certificate

    def device(self, signing_request: bytes, device_id: str) -> bytes:
        """A device's certificate for the key in the request."""
        request = x509.load_pem_x509_csr(signing_request)
        assert request.is_signature_valid
        uri = x509.UniformResourceIdentifier(f"spiffe://fleetfit/device/{device_id}")
        certificate = (
            _builder(_name(device_id), self._certificate.subject, request.public_key(), days=30)
            .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return _pem(certificate)


@dataclass(eq=False)
class FakeSession:
    """One stream, as the orchestrator sees it."""

    epoch: int
    hello: session_pb2.Hello
    received: list[session_pb2.ConnectRequest] = field(default_factory=list)
    open: bool = True
    _outgoing: asyncio.Queue[session_pb2.ConnectResponse | None] = field(default_factory=asyncio.Queue)

    def say(self, **body: Any) -> None:
        self._outgoing.put_nowait(session_pb2.ConnectResponse(**body))

    def close(self) -> None:
        self._outgoing.put_nowait(None)

    def end(self) -> None:
        self.open = False

    async def next_word(self) -> session_pb2.ConnectResponse | None:
        return await self._outgoing.get()

    @property
    def results(self) -> list[session_pb2.JobResult]:
        return [message.job_result for message in self.received if message.HasField("job_result")]

    @property
    def heartbeats(self) -> list[session_pb2.Heartbeat]:
        return [message.heartbeat for message in self.received if message.HasField("heartbeat")]

    @property
    def held(self) -> list[str] | None:
        """The jobs that the device holds, as its newest heartbeat says; None before the first."""
        return list(self.heartbeats[-1].job_ids) if self.heartbeats else None

    @property
    def stages(self) -> list[str]:
        return [message.job_progress.stage for message in self.received if message.HasField("job_progress")]


class FakeOrchestrator(
    enrolment_pb2_grpc.EnrolmentServiceServicer,
    session_pb2_grpc.SessionServiceServicer,
    delivery_pb2_grpc.DeliveryServiceServicer,
):
    """Serves on two ports. The public attributes are the script: set them before or while it runs."""

    def __init__(self, authority: FakeAuthority | None = None) -> None:
        self.authority = authority or FakeAuthority()
        self.tokens = {"good-token"}
        # Shown by GetAuthority; another one than its own makes it an impostor.
        self.announced_authority = self.authority.certificate
        self.enrolment_refusal: tuple[grpc.StatusCode, str] | None = None
        self.lost_enrolment_replies = 0
        self.session_refusal: tuple[grpc.StatusCode, str] | None = None
        self.protocol_version = 1
        self.heartbeat_interval_s = 0.2
        self.receipts = True
        self.artifacts: dict[str, bytes] = {}
        self.repository: dict[str, bytes] = {}
        # Each fetch takes one off: it is cut off after so many bytes.
        self.cuts_bytes: list[int] = []
        self.trust_root = b'{"signed": {"_type": "root", "version": 1}}'

        self.enrolments: list[enrolment_pb2.EnrolRequest] = []
        self.fetches: list[tuple[str, int]] = []
        self.sessions: list[FakeSession] = []
        self.public_port = 0
        self.device_port = 0
        self._identities: dict[bytes, str] = {}
        self._servers: list[grpc.aio.Server] = []
        self._changed = asyncio.Condition()

    async def start(self) -> None:
        """Listens; on the same ports as before where it listened before."""
        key, chain = self.authority.server()
        public, device = grpc.aio.server(), grpc.aio.server()
        enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server(self, public)
        session_pb2_grpc.add_SessionServiceServicer_to_server(self, device)
        delivery_pb2_grpc.add_DeliveryServiceServicer_to_server(self, device)
        self.public_port = public.add_secure_port(
            f"127.0.0.1:{self.public_port}", grpc.ssl_server_credentials([(key, chain)])
        )
        self.device_port = device.add_secure_port(
            f"127.0.0.1:{self.device_port}",
            grpc.ssl_server_credentials([(key, chain)], self.authority.certificate, require_client_auth=True),
        )
        self._servers = [public, device]
        for server in self._servers:
            await server.start()

    async def stop(self) -> None:
        for server in self._servers:
            await server.stop(None)
        self._servers = []

    async def __aenter__(self) -> FakeOrchestrator:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.public_port}"

    @property
    def session(self) -> FakeSession:
        """The newest stream."""
        return self.sessions[-1]

    @property
    def results(self) -> list[session_pb2.JobResult]:
        """Every result that came, on whichever stream, also twice."""
        return [result for session in self.sessions for result in session.results]

    @property
    def reports(self) -> list[session_pb2.DeploymentReport]:
        messages = [message for session in self.sessions for message in session.received]
        return [message.deployment_report for message in messages if message.HasField("deployment_report")]

    async def until(self, condition: Callable[[], object], *, timeout_s: float = 30) -> None:
        """Returns when the condition holds; it is looked at whenever something has arrived."""

        async def wait() -> None:
            async with self._changed:
                await self._changed.wait_for(condition)

        await asyncio.wait_for(wait(), timeout_s)

    def store(self, data: bytes) -> str:
        """Makes an artifact available under its hash."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.artifacts[sha256] = data
        return sha256

    def assign(
        self, job_id: str, data: bytes, *, attempt: int = 1, golden: bytes = b"", minimum_duration_s: int = 0
    ) -> None:
        """Leases a measurement to the newest stream."""
        request = measurement_pb2.MeasureRequest(artifact=_reference(self.store(data), data))
        if minimum_duration_s:
            request.minimum_duration.FromSeconds(minimum_duration_s)
        if golden:
            request.golden.CopyFrom(_reference(self.store(golden), golden))
        assignment = session_pb2.JobAssignment(job_id=job_id, attempt=attempt, measure=request)
        assignment.lease.FromSeconds(60)
        self.session.say(job_assignment=assignment)

    async def GetAuthority(
        self, request: enrolment_pb2.GetAuthorityRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> enrolment_pb2.GetAuthorityResponse:
        return enrolment_pb2.GetAuthorityResponse(ca_certificate=self.announced_authority)

    async def Enrol(
        self, request: enrolment_pb2.EnrolRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> enrolment_pb2.EnrolResponse:
        self.enrolments.append(request)
        if self.enrolment_refusal is not None:
            await context.abort(*self.enrolment_refusal)
        key = x509.load_pem_x509_csr(request.signing_request).public_key()
        identity = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        if request.join_token not in self.tokens and identity not in self._identities:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the join token is unknown or used up")
        self.tokens.discard(request.join_token)
        device_id = self._identities.setdefault(identity, f"device-{len(self._identities) + 1}")
        if self.lost_enrolment_replies > 0:
            self.lost_enrolment_replies -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the reply is lost")
        response = enrolment_pb2.EnrolResponse(
            device_id=device_id, name=request.name or "unnamed",
            certificate=self.authority.device(request.signing_request, device_id),
            ca_certificate=self.authority.certificate, device_address=f":{self.device_port}",
            trust_root=self.trust_root,
        )  # fmt: skip
        response.expires_at.FromDatetime(_now() + datetime.timedelta(days=30))
        return response

    async def Connect(
        self,
        request_iterator: AsyncIterator[session_pb2.ConnectRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[session_pb2.ConnectResponse]:
        first = await anext(aiter(request_iterator))
        session = FakeSession(epoch=len(self.sessions) + 1, hello=first.hello)
        if self.session_refusal is not None:
            await self._note(lambda: self.sessions.append(session))
            await context.abort(*self.session_refusal)
        welcome = session_pb2.Welcome(
            protocol_version=self.protocol_version, session_epoch=session.epoch, device_name="fake"
        )
        welcome.heartbeat_interval.FromMilliseconds(int(self.heartbeat_interval_s * 1000))
        welcome.server_time.FromDatetime(_now())
        yield session_pb2.ConnectResponse(welcome=welcome)
        await self._note(lambda: self.sessions.append(session))
        reading = asyncio.create_task(self._read(session, request_iterator))
        try:
            while (word := await session.next_word()) is not None:
                yield word
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await self._note(session.end)

    async def _read(self, session: FakeSession, requests: AsyncIterator[session_pb2.ConnectRequest]) -> None:
        async for message in requests:
            await self._note(lambda message=message: session.received.append(message))
            if self.receipts and message.HasField("job_result"):
                session.say(job_result_receipt={"result_id": message.job_result.measurement.result_id})
            if self.receipts and message.HasField("deployment_report"):
                session.say(deployment_receipt={"report_id": message.deployment_report.report_id})

    async def FetchArtifact(
        self, request: delivery_pb2.FetchArtifactRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[delivery_pb2.FetchArtifactResponse]:
        await self._note(lambda: self.fetches.append((request.sha256, request.offset)))
        data = self.artifacts.get(request.sha256)
        if data is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such artifact")
            return
        cut_bytes = self.cuts_bytes.pop(0) if self.cuts_bytes else None
        rest = data[request.offset :]
        given = rest if cut_bytes is None else rest[:cut_bytes]
        yield delivery_pb2.FetchArtifactResponse(size_bytes=len(data), data=given[:_CHUNK_BYTES])
        for start in range(_CHUNK_BYTES, len(given), _CHUNK_BYTES):
            yield delivery_pb2.FetchArtifactResponse(data=given[start : start + _CHUNK_BYTES])
        if cut_bytes is not None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "cut off")

    async def FetchRepositoryFile(
        self, request: delivery_pb2.FetchRepositoryFileRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> delivery_pb2.FetchRepositoryFileResponse:
        data = self.repository.get(request.path)
        if data is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such file")
        return delivery_pb2.FetchRepositoryFileResponse(data=data)

    async def _note(self, change: Callable[[], object]) -> None:
        async with self._changed:
            change()
            self._changed.notify_all()


def _reference(sha256: str, data: bytes) -> measurement_pb2.ArtifactRef:
    return measurement_pb2.ArtifactRef(sha256=sha256, size_bytes=len(data), format="onnx")


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int
) -> x509.CertificateBuilder:
    # A negative life makes a certificate that ended that many days ago.
    end = _now() + datetime.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(_now(), end) - datetime.timedelta(hours=1))
        .not_valid_after(end)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.timezone.utc)
