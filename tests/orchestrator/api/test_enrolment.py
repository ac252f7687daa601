"""Joining, over real sockets: who gets in, who does not, and what a repeat does."""

import asyncio
from datetime import timedelta

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from fleetfit.v1 import device_facts_pb2, enrolment_pb2

from orchestrator.fleet.secret import make_secret
from tests.fakes.scripted_device import enrol, fetch_authority, new_key, reason_of
from tests.orchestrator.api.conftest import LiveServer


async def _token(server: LiveServer, **options: object) -> tuple[str, str]:
    token, secret = await server.orchestrator.join_tokens.create(**options)  # type: ignore[arg-type]
    return token.id, secret


async def _refusal(server: LiveServer, secret: str, key: object = None) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await enrol(server.address, server.authority, secret, key=key or new_key())
    return caught.value


def test_a_machine_with_a_token_becomes_a_device(server: LiveServer) -> None:
    async def scenario() -> enrolment_pb2.EnrolResponse:
        _, secret = await _token(server, labels={"site": "lab"})
        return await enrol(server.address, server.authority, secret, key=new_key(), name="Küche Pi #1")

    answer = server.run(scenario())
    device = server.run(server.orchestrator.database.run(lambda tx: tx.devices.get(answer.device_id)))
    certificate = x509.load_pem_x509_certificate(answer.certificate)
    uris = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert answer.name == device.name == "kuche-pi-1"
    assert device.labels == {"site": "lab"}
    assert uris.get_values_for_type(x509.UniformResourceIdentifier) == [f"spiffe://fleetfit/device/{device.id}"]
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(answer.ca_certificate))
    assert answer.ca_certificate == server.authority
    assert answer.device_address.startswith(":")
    assert b'"_type"' in answer.trust_root


def test_the_authority_can_be_checked_before_any_secret_is_sent(server: LiveServer) -> None:
    async def scenario() -> bytes:
        return await fetch_authority(server.address, await server.ca_hash())

    assert server.run(scenario()) == server.authority


def test_the_same_token_and_key_give_the_same_device_and_use_the_token_once(server: LiveServer) -> None:
    async def scenario() -> None:
        token_id, secret = await _token(server)
        key = new_key()
        first = await enrol(server.address, server.authority, secret, key=key)
        second = await enrol(server.address, server.authority, secret, key=key)
        assert (first.device_id, first.name) == (second.device_id, second.name)
        token = await server.orchestrator.database.run(lambda tx: tx.join_tokens.get(token_id))
        assert token.uses == 1

    server.run(scenario())


def test_a_used_token_is_refused(server: LiveServer) -> None:
    async def scenario() -> None:
        _, secret = await _token(server)
        await enrol(server.address, server.authority, secret, key=new_key())
        error = await _refusal(server, secret)
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert reason_of(error) == "TOKEN_USED"

    server.run(scenario())


def test_of_many_machines_with_one_single_use_token_one_gets_in(server: LiveServer) -> None:
    async def scenario() -> None:
        _, secret = await _token(server)
        tries = (enrol(server.address, server.authority, secret, key=new_key()) for _ in range(6))
        answers = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(answer, enrolment_pb2.EnrolResponse) for answer in answers) == 1

    server.run(scenario())


def test_an_expired_token_is_refused(server: LiveServer) -> None:
    async def scenario() -> None:
        _, secret = await _token(server, time_to_live=timedelta(minutes=1))
        server.clock.ahead += timedelta(minutes=2)
        error = await _refusal(server, secret)
        assert reason_of(error) == "TOKEN_EXPIRED"

    try:
        server.run(scenario())
    finally:
        server.clock.ahead = timedelta(0)


def test_a_revoked_token_is_refused_even_to_the_key_that_used_it(server: LiveServer) -> None:
    async def scenario() -> None:
        token_id, secret = await _token(server, maximum_uses=5)
        key = new_key()
        await enrol(server.address, server.authority, secret, key=key)
        await server.orchestrator.join_tokens.revoke(token_id)
        assert reason_of(await _refusal(server, secret)) == "TOKEN_REVOKED"
        assert reason_of(await _refusal(server, secret, key)) == "TOKEN_REVOKED"

    server.run(scenario())


@pytest.mark.parametrize("wrong", ["", "nonsense", "ff1.aaaaaaaa." + "a" * 32, "ffo1.aaaaaaaa." + "a" * 32, "x" * 5000])
def test_a_guess_is_told_only_that_it_is_unknown(server: LiveServer, wrong: str) -> None:
    error = server.run(_refusal(server, wrong))
    assert reason_of(error) == "TOKEN_UNKNOWN"
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


def test_the_right_id_with_a_wrong_secret_is_refused_and_uses_nothing(server: LiveServer) -> None:
    async def scenario() -> None:
        token_id, _ = await _token(server)
        guess = f"ff1.{token_id}.{make_secret('ff1').text.rpartition('.')[2]}"
        assert reason_of(await _refusal(server, guess)) == "TOKEN_UNKNOWN"
        token = await server.orchestrator.database.run(lambda tx: tx.join_tokens.get(token_id))
        assert token.uses == 0

    server.run(scenario())


def test_a_key_that_is_a_devices_already_stays_that_device_with_a_new_token(server: LiveServer) -> None:
    async def scenario() -> None:
        key = new_key()
        _, first_secret = await _token(server, labels={"site": "lab"})
        _, second_secret = await _token(server, labels={"row": "2"})
        first = await enrol(server.address, server.authority, first_secret, key=key, name="camera")
        second = await enrol(server.address, server.authority, second_secret, key=key, name="other")
        assert (first.device_id, first.name) == (second.device_id, second.name)
        device = await server.orchestrator.database.run(lambda tx: tx.devices.get(first.device_id))
        assert device.labels == {"site": "lab", "row": "2"}

    server.run(scenario())


def test_a_taken_name_gets_a_number(server: LiveServer) -> None:
    async def scenario() -> list[str]:
        _, secret = await _token(server, maximum_uses=3)
        return [(await enrol(server.address, server.authority, secret, key=new_key(), name="twin")).name for _ in "abc"]

    assert server.run(scenario()) == ["twin", "twin-2", "twin-3"]


def test_names_and_facts_that_could_do_harm_are_made_inert(server: LiveServer) -> None:
    evil = "\x1b[31m<script>alert(1)</script>'; DROP TABLE devices;--\u202eexe\n\x00"
    facts = device_facts_pb2.DeviceFacts(hostname=evil, architecture=evil, board=evil * 500, instruction_sets=[evil])

    async def scenario() -> str:
        _, secret = await _token(server)
        return (await enrol(server.address, server.authority, secret, key=new_key(), name=evil, facts=facts)).name

    name = server.run(scenario())
    device = server.run(server.orchestrator.database.run(lambda tx: tx.devices.find(name)))
    assert name == "31m-script-alert-1-script-drop-table-devices-exe"
    for text in (device.facts.hostname, device.facts.architecture, device.facts.board, *device.facts.instruction_sets):
        assert text.isprintable()
        assert len(text) <= 200


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)], ids=["p384", "rsa"]
)
def test_another_kind_of_key_is_refused_and_does_not_use_the_token(server: LiveServer, key: object) -> None:
    async def scenario() -> None:
        token_id, secret = await _token(server)
        error = await _refusal(server, secret, key)
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "SIGNING_REQUEST_INVALID")
        token = await server.orchestrator.database.run(lambda tx: tx.join_tokens.get(token_id))
        assert token.uses == 0

    server.run(scenario())
