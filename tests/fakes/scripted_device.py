"""A device without an agent: speaks the devices' protocol over real sockets, and does exactly what a test says."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fleetfit.v1 import (
    delivery_pb2_grpc,
    device_facts_pb2,
    enrolment_pb2,
    enrolment_pb2_grpc,
    measurement_pb2,
    session_pb2,
    session_pb2_grpc,
)
from google.protobuf.timestamp_pb2 import Timestamp

SERVER_NAME = "orchestrator.fleetfit.internal"
PATIENCE_S = 20.0

FACTS = device_facts_pb2.DeviceFacts(
    hostname="pi-4b",
    architecture="aarch64",
    board="Raspberry Pi 4 Model B Rev 1.4",
    cpu_count=4,
    memory_bytes=4 << 30,
    runtimes=[device_facts_pb2.RuntimeFacts(name="onnxruntime", version="1.23.2", formats=["onnx"])],
    host_id="host-1",
)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def signing_request(key: Any) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def secure_channel(
    address: str, authority: bytes, *, key: bytes | None = None, certificate: bytes | None = None
) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    options = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.secure_channel(address, credentials, options=options)


async def fetch_authority(address: str, ca_hash: str) -> bytes:
    """The authority's certificate, asked for over a connection that trusts nobody yet, and held against its hash."""
    host, _, port = address.rpartition(":")
    shown = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))
    async with secure_channel(address, shown.encode()) as channel:
        stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
        response = await stub.GetAuthority(enrolment_pb2.GetAuthorityRequest(), timeout=PATIENCE_S)
    der = x509.load_pem_x509_certificate(response.ca_certificate).public_bytes(serialization.Encoding.DER)
    assert f"sha256:{hashlib.sha256(der).hexdigest()}" == ca_hash
    return response.ca_certificate


async def enrol(
    address: str,
    authority: bytes,
    token: str,
    *,
    key: Any,
    name: str = "",
    facts: device_facts_pb2.DeviceFacts = FACTS,
) -> enrolment_pb2.EnrolResponse:
    request = enrolment_pb2.EnrolRequest(join_token=token, signing_request=signing_request(key), name=name, facts=facts)
    async with secure_channel(address, authority) as channel:
        return await enrolment_pb2_grpc.EnrolmentServiceStub(channel).Enrol(request, timeout=PATIENCE_S)


@dataclass
class ScriptedDevice:
    """An enrolled device."""

    id: str
    name: str
    device_address: str
    authority: bytes
    key: ec.EllipticCurvePrivateKey
    certificate: bytes

    @classmethod
    async def join(
        cls,
        *,
        address: str,
        ca_hash: str,
        token: str,
        name: str = "",
        facts: device_facts_pb2.DeviceFacts = FACTS,
    ) -> ScriptedDevice:
        key = new_key()
        authority = await fetch_authority(address, ca_hash)
        answer = await enrol(address, authority, token, key=key, name=name, facts=facts)
        host, _, port = answer.device_address.rpartition(":")
        return cls(
            id=answer.device_id,
            name=answer.name,
            device_address=f"{host or address.rpartition(':')[0]}:{port}",
            authority=authority,
            key=key,
            certificate=answer.certificate,
        )

    def channel(self) -> grpc.aio.Channel:
        return secure_channel(self.device_address, self.authority, key=key_pem(self.key), certificate=self.certificate)

    @contextlib.asynccontextmanager
    async def connect(self, **hello: Any) -> AsyncIterator[DeviceSide]:
        """A stream on which Hello was said and Welcome heard."""
        async with self.channel() as channel:
            side = DeviceSide(channel)
            await side.say(hello=session_pb2.Hello(**{**_HELLO, **hello}))
            side.welcome = (await side.hear("welcome")).welcome
            try:
                yield side
            finally:
                side.call.cancel()

    @contextlib.asynccontextmanager
    async def delivery(self) -> AsyncIterator[delivery_pb2_grpc.DeliveryServiceStub[Any]]:
        async with self.channel() as channel:
            yield delivery_pb2_grpc.DeliveryServiceStub(channel)


_HELLO = {"protocol_minimum": 1, "protocol_maximum": 1, "facts": FACTS, "boot_id": "boot-1"}


class DeviceSide:
    """The device's end of a stream."""

    welcome: session_pb2.Welcome

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.call = session_pb2_grpc.SessionServiceStub(channel).Connect()
        self.heard: list[session_pb2.ConnectResponse] = []
        self._reading: asyncio.Task[Any] | None = None

    async def say(self, **body: Any) -> None:
        await self.call.write(session_pb2.ConnectRequest(**body))

    async def heartbeat(self, job_ids: Sequence[str] = ()) -> None:
        await self.say(heartbeat=session_pb2.Heartbeat(job_ids=job_ids))

    async def progress(self, job_id: str, stage: str) -> None:
        await self.say(job_progress=session_pb2.JobProgress(job_id=job_id, stage=stage))

    async def result(self, job_id: str, measurement: measurement_pb2.Measurement) -> None:
        await self.say(job_result=session_pb2.JobResult(job_id=job_id, measurement=measurement))

    async def hear(self, kind: str, *, within_s: float = PATIENCE_S) -> session_pb2.ConnectResponse:
        """The next message of that kind; others are set aside in ``heard``."""
        deadline_s = time.monotonic() + within_s
        while True:
            message = await self._read(deadline_s)
            if message.WhichOneof("body") == kind:
                return message
            self.heard.append(message)

    async def hears_no(self, kind: str, *, for_s: float = 0.3) -> None:
        """Waits a while, in which no such message may come."""
        try:
            message = await self.hear(kind, within_s=for_s)
        except TimeoutError:
            return
        raise AssertionError(f"heard {message}")

    async def assignment(self) -> session_pb2.JobAssignment:
        return (await self.hear("job_assignment")).job_assignment

    async def ended(self, *, within_s: float = PATIENCE_S) -> grpc.aio.AioRpcError:
        """Why the other side ended the stream."""
        deadline_s = time.monotonic() + within_s
        try:
            while True:
                self.heard.append(await self._read(deadline_s))
        except grpc.aio.AioRpcError as error:
            return error

    async def _read(self, deadline_s: float) -> session_pb2.ConnectResponse:
        """The next message. A read that takes too long goes on in the background: to cancel it would end the call."""
        self._reading = self._reading or asyncio.ensure_future(self.call.read())
        done, _ = await asyncio.wait({self._reading}, timeout=deadline_s - time.monotonic())
        if not done:
            raise TimeoutError
        message, self._reading = self._reading.result(), None
        assert message is not grpc.aio.EOF, f"the stream ended: {await self.call.code()}"
        return message


def measured(artifact_sha256: str, *, result_id: str = "", p95_ms: float = 4.2) -> measurement_pb2.Measurement:
    """A measurement that went well."""
    now = Timestamp()
    now.GetCurrentTime()
    figure = measurement_pb2.Figure(value=p95_ms, lower=p95_ms * 0.95, upper=p95_ms * 1.05)
    return measurement_pb2.Measurement(
        result_id=result_id or uuid.uuid4().hex,
        artifact_sha256=artifact_sha256,
        outcome=measurement_pb2.OUTCOME_OK,
        latency=measurement_pb2.Latency(
            p50_ms=figure, p95_ms=figure, mean_ms=p95_ms, minimum_ms=p95_ms / 2, sample_count=400,
            load_ms=12.0, first_inference_ms=9.0, warm_up_count=20, steady_state=True,
            quality=measurement_pb2.QUALITY_HIGH,
        ),
        memory=measurement_pb2.Memory(
            peak_bytes=64 << 20, baseline_bytes=30 << 20, provenance=device_facts_pb2.PROVENANCE_MEASURED
        ),
        conditions=measurement_pb2.Conditions(runtime="onnxruntime", runtime_version="1.23.2", threads=1),
        measured_at=now,
    )  # fmt: skip


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The stable reason that an error carries."""
    return str(dict(error.trailing_metadata() or ()).get("fleetfit-reason", ""))
