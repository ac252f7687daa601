"""Joining, over real TLS, with a server that is what it says, and with some that are not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from agent.enrolment import Invitation, join, parse_invitation
from agent.errors import AuthorityMismatchError, ConfigurationError, JoinError, UnreachableError
from agent.facts import DeviceFacts
from agent.identity import Identity, load_credentials, load_identity
from agent.state_directory import StateDirectory
from tests.fakes.fake_orchestrator import FakeAuthority, FakeOrchestrator

FACTS = DeviceFacts(hostname="pi", architecture="aarch64")
GOOD = "good-token"
OTHER_HASH = "sha256:" + "0" * 64


def invitation(orchestrator: FakeOrchestrator, *, token: str = GOOD, ca_hash: str | None = None) -> Invitation:
    return parse_invitation(
        address=orchestrator.address, token=token, ca_hash=ca_hash or orchestrator.authority.ca_hash
    )


async def joined(orchestrator: FakeOrchestrator, folder: Path, *, token: str = GOOD, name: str = "") -> Identity:
    state = StateDirectory(folder)
    with state.hold():
        return await join(
            invitation(orchestrator, token=token), state=state, facts=FACTS, name=name, retry_after_s=(0.01,)
        )


def test_joining_writes_an_identity_that_a_later_start_reads(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            identity = await joined(orchestrator, tmp_path, name="kitchen")

            state = StateDirectory(tmp_path)
            assert load_identity(state) == identity
            assert (identity.device_id, identity.name) == ("device-1", "kitchen")
            # The server named a port only: the host is the one that was dialled.
            assert str(identity.device_address) == f"127.0.0.1:{orchestrator.device_port}"
            assert load_credentials(state).authority == orchestrator.authority.certificate
            assert state.trust_root.read_bytes() == orchestrator.trust_root
            request = orchestrator.enrolments[0]
            assert (request.join_token, request.facts.architecture) == ("good-token", "aarch64")

    asyncio.run(scenario())


def test_nobody_else_can_read_the_key(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            await joined(orchestrator, tmp_path / "state")

    asyncio.run(scenario())
    state = StateDirectory(tmp_path / "state")
    assert stat.S_IMODE(state.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.identity.stat().st_mode) == 0o700
    assert stat.S_IMODE(state.root.stat().st_mode) == 0o711
    assert b"PRIVATE KEY" in state.key.read_bytes()


def test_a_server_with_another_authority_never_sees_the_token(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            state = StateDirectory(tmp_path)
            with state.hold(), pytest.raises(AuthorityMismatchError, match="not the announced"):
                await join(invitation(orchestrator, ca_hash=OTHER_HASH), state=state, facts=FACTS)
            assert orchestrator.enrolments == []
            assert not state.identity_record.exists()

    asyncio.run(scenario())


def test_a_man_in_the_middle_who_shows_the_true_authority_never_sees_the_token(tmp_path: Path) -> None:
    async def scenario() -> None:
        true_authority = FakeAuthority()
        async with FakeOrchestrator(FakeAuthority()) as impostor:
            impostor.announced_authority = true_authority.certificate
            state = StateDirectory(tmp_path)
            with state.hold(), pytest.raises(AuthorityMismatchError, match="did not sign"):
                await join(invitation(impostor, ca_hash=true_authority.ca_hash), state=state, facts=FACTS)
            assert impostor.enrolments == []

    asyncio.run(scenario())


def test_a_man_in_the_middle_who_steps_in_after_the_check_never_sees_the_token(tmp_path: Path) -> None:
    """The first two connections reach the true server, the third, which would carry the token, the impostor."""

    async def scenario() -> None:
        async with FakeOrchestrator() as true, FakeOrchestrator(FakeAuthority()) as impostor:
            ports = [true.public_port, true.public_port, impostor.public_port]
            async with relay(ports) as port:
                state = StateDirectory(tmp_path)
                invited = parse_invitation(
                    address=f"127.0.0.1:{port}", token="good-token", ca_hash=true.authority.ca_hash
                )
                with state.hold(), pytest.raises(UnreachableError, match="not signed by the authority"):
                    await join(invited, state=state, facts=FACTS, retry_after_s=())
            assert ports == []
            assert impostor.enrolments == []
            assert true.enrolments == []

    asyncio.run(scenario())


@contextlib.asynccontextmanager
async def relay(ports: list[int]) -> AsyncIterator[int]:
    """Passes each new connection on to the next of the ports."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", ports.pop(0))
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def test_a_lost_reply_is_asked_for_again_with_the_same_key(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            orchestrator.lost_enrolment_replies = 1
            identity = await joined(orchestrator, tmp_path)

            assert identity.device_id == "device-1"
            first, second = orchestrator.enrolments
            assert public_key(first.signing_request) == public_key(second.signing_request)

    asyncio.run(scenario())


def test_joining_again_after_a_crash_gives_the_same_identity(tmp_path: Path) -> None:
    """All replies of the first process are lost; the token is used up; the second process has the same key."""

    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            orchestrator.lost_enrolment_replies = 2
            with pytest.raises(UnreachableError, match="the reply is lost"):
                await joined(orchestrator, tmp_path)
            assert orchestrator.tokens == set()

            identity = await joined(orchestrator, tmp_path)

            assert identity.device_id == "device-1"
            assert len({public_key(request.signing_request) for request in orchestrator.enrolments}) == 1

    asyncio.run(scenario())


def public_key(signing_request: bytes) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    key = x509.load_pem_x509_csr(signing_request).public_key()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_a_refused_token_is_reported_in_the_orchestrators_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            with pytest.raises(JoinError, match="unknown or used up") as caught:
                await joined(orchestrator, tmp_path, token="bad-token")
            assert "join-token create" in caught.value.hint
            assert len(orchestrator.enrolments) == 1
            assert not StateDirectory(tmp_path).identity_record.exists()

    asyncio.run(scenario())


def test_a_machine_joins_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            await joined(orchestrator, tmp_path)
            orchestrator.tokens.add("another")
            with pytest.raises(JoinError, match="joined a fleet already"):
                await joined(orchestrator, tmp_path, token="another")
            assert len(orchestrator.enrolments) == 1

    asyncio.run(scenario())


def test_a_certificate_for_another_key_is_refused_before_anything_is_stored(tmp_path: Path) -> None:
    class Swapping(FakeOrchestrator):
        async def Enrol(self, request, context):  # type: ignore[no-untyped-def]
            from cryptography.hazmat.primitives.asymmetric import ec

            from agent.key import signing_request

            request.signing_request = signing_request(ec.generate_private_key(ec.SECP256R1()))
            return await super().Enrol(request, context)

    async def scenario() -> None:
        async with Swapping() as orchestrator:
            with pytest.raises(JoinError, match="another key"):
                await joined(orchestrator, tmp_path)
        assert not StateDirectory(tmp_path).certificate.exists()

    asyncio.run(scenario())


def test_a_server_whose_certificate_has_expired_is_named_with_this_devices_date(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator(FakeAuthority(days=-1)) as orchestrator:
            with pytest.raises(JoinError, match="this device's clock says") as caught:
                await joined(orchestrator, tmp_path)
            assert "clock" in caught.value.hint
            assert orchestrator.enrolments == []

    asyncio.run(scenario())


def test_a_port_where_nobody_listens_is_unreachable(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    state = StateDirectory(tmp_path)
    invited = parse_invitation(address=f"127.0.0.1:{port}", token="t", ca_hash=OTHER_HASH)
    with pytest.raises(UnreachableError, match=f"127.0.0.1:{port}"):
        asyncio.run(join(invited, state=state, facts=FACTS))


def test_a_server_that_speaks_no_tls_is_no_orchestrator(tmp_path: Path) -> None:
    async def scenario() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        invited = parse_invitation(address=f"127.0.0.1:{port}", token="t", ca_hash=OTHER_HASH)
        async with server:
            with pytest.raises(UnreachableError, match="no orchestrator"):
                await join(invited, state=StateDirectory(tmp_path), facts=FACTS)

    asyncio.run(scenario())


def test_the_device_port_is_told_apart_from_the_one_for_joining(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            invited = parse_invitation(
                address=f"127.0.0.1:{orchestrator.device_port}", token="t", ca_hash=orchestrator.authority.ca_hash
            )
            with pytest.raises((JoinError, UnreachableError)):
                await join(invited, state=StateDirectory(tmp_path), facts=FACTS)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, JoinError),
        (grpc.StatusCode.INVALID_ARGUMENT, JoinError),
        (grpc.StatusCode.UNAVAILABLE, UnreachableError),
    ],
)
def test_each_refusal_becomes_an_error_of_the_agent(
    tmp_path: Path, code: grpc.StatusCode, kind: type[Exception]
) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            orchestrator.enrolment_refusal = (code, "because")
            with pytest.raises(kind, match="because"):
                await joined(orchestrator, tmp_path)

    asyncio.run(scenario())


@pytest.mark.parametrize("text", ["", "sha256:", "sha256:xyz", "sha1:" + "0" * 64, "0" * 64, "sha256:" + "0" * 63])
def test_a_hash_of_another_form_is_refused_before_anything_is_dialled(text: str) -> None:
    with pytest.raises(ConfigurationError, match="ca-hash"):
        parse_invitation(address="nowhere:1", token="t", ca_hash=text)


def test_a_hash_may_be_written_in_capitals() -> None:
    assert parse_invitation(address="h:1", token="t", ca_hash="sha256:" + "A" * 64).ca_hash == "sha256:" + "a" * 64


@pytest.mark.parametrize("token", ["", "  ", "two words", "line\nbreak", "snow\N{SNOWMAN}"])
def test_a_garbled_token_is_refused(token: str) -> None:
    with pytest.raises(ConfigurationError, match="token"):
        parse_invitation(address="h:1", token=token, ca_hash=OTHER_HASH)


def test_the_token_is_not_in_the_invitations_repr() -> None:
    assert "s3cret" not in repr(parse_invitation(address="h:1", token="s3cret", ca_hash=OTHER_HASH))
