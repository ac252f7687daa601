"""Certificates that renew by themselves, between a real agent and a real orchestrator, killed at every step."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from agent import wallet as wallet_module
from agent.agent import Agent
from agent.backoff import Backoff
from agent.config import Settings
from agent.enrolment import join, parse_invitation
from agent.errors import JoinError
from agent.gateway import Gateway
from agent.identity import Credentials, load_credentials, load_identity
from agent.key import load_or_make_key
from agent.renewal import Renewal, RenewalSchedule
from agent.renewal_worker import accept, request
from agent.state_directory import StateDirectory
from agent.wallet import Wallet
from orchestrator.fleet.certificates import make_ca_certificate, make_device_certificate, make_key
from orchestrator.fleet.device import Device
from tests.agent.device import FACTS, QUICK, FakeProfiler
from tests.fakes.scripted_device import reason_of, secure_channel
from tests.orchestrator.api.conftest import LiveServer, live_server

# Looked at once, at the start: each process renews at most once.
ONCE = RenewalSchedule(look_s=3600, retry_s=0.05)
HALF_A_LIFE_LATER = timedelta(days=19)


class Killed(BaseException):
    """The process ends here: nothing after this line happens."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("orchestrator")) as serving:
        yield serving


async def join_fleet(server: LiveServer, folder: Path) -> StateDirectory:
    state = StateDirectory(folder)
    _, token = await server.orchestrator.join_tokens.create()
    invitation = parse_invitation(address=server.address, token=token, ca_hash=await server.ca_hash())
    with state.hold():
        await join(invitation, state=state, facts=FACTS)
    return state


@contextlib.asynccontextmanager
async def agent_later(state: StateDirectory, later: timedelta) -> AsyncIterator[asyncio.Task[None]]:
    """An agent whose clock is ahead; at the end of the block it is stopped."""
    with state.hold():
        agent = Agent(
            state=state,
            settings=Settings(state_dir=state.root),
            profiler=FakeProfiler(),
            facts=FACTS,
            make_backoff=lambda: Backoff(initial_s=0.02, maximum_s=0.1),
            timing=QUICK,
            renewal=ONCE,
            now=lambda: datetime.now(tz=timezone.utc) + later,
        )
        task = asyncio.create_task(agent.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})


async def device_of(server: LiveServer, state: StateDirectory) -> Device:
    device_id = load_identity(state).device_id
    return await server.orchestrator.database.run(lambda tx: tx.devices.get(device_id))


async def settled(server: LiveServer, state: StateDirectory) -> bool:
    """Whether the renewed identity is the only one, here and there."""
    device = await device_of(server, state)
    return (
        not state.renewed.exists()
        and not state.next_key.exists()
        and device.next_key_fingerprint == ""
        and server.orchestrator.sessions.online(device.id)
    )


async def answer_to(server: LiveServer, credentials: Credentials) -> str:
    """What the orchestrator says to whoever shows these."""
    from fleetfit.v1 import delivery_pb2, delivery_pb2_grpc

    async with secure_channel(
        server.device_address, credentials.authority, key=credentials.key, certificate=credentials.certificate
    ) as channel:
        try:
            stub = delivery_pb2_grpc.DeliveryServiceStub(channel)
            await stub.FetchRepositoryFile(delivery_pb2.FetchRepositoryFileRequest(path="none.json"), timeout=20)
        except grpc.aio.AioRpcError as error:
            return reason_of(error) or error.code().name
    return "OK"


def test_a_certificate_renews_at_half_its_life_with_a_new_key_and_the_old_one_is_shut_out(
    server: LiveServer, tmp_path: Path
) -> None:
    async def scenario() -> None:
        state = await join_fleet(server, tmp_path)
        before, issued_at = load_credentials(state), load_identity(state).certificate_issued_at
        async with agent_later(state, HALF_A_LIFE_LATER):
            await server.soon(lambda: load_credentials(state).certificate != before.certificate)
            await server.soon(lambda: settled(server, state))

        after, identity = load_credentials(state), load_identity(state)
        assert after.key != before.key
        assert after.authority == before.authority
        assert identity.certificate_issued_at > issued_at
        certificate = x509.load_pem_x509_certificate(after.certificate)
        assert certificate.public_key() == load_or_make_key(state.key).public_key()
        assert certificate.not_valid_after_utc == identity.certificate_expires_at
        assert (await device_of(server, state)).certificate_expires_at == identity.certificate_expires_at
        assert await answer_to(server, before) == "REENROL"
        assert await answer_to(server, after) != "REENROL"

    server.run(scenario())


def test_a_young_certificate_is_left_alone(server: LiveServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        state = await join_fleet(server, tmp_path)
        before = load_credentials(state)
        async with agent_later(state, timedelta(days=14)):
            await server.soon(lambda: settled(server, state))
        assert load_credentials(state).certificate == before.certificate

    server.run(scenario())


def kill_before(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(owner, name, killed)


def kill_after_writes(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The commit writes three files; this ends the process after so many of them."""
    names = ["write_durably", "write_durably", "write_identity_record"]
    left = count

    def wrapped(name: str) -> Callable[..., None]:
        real = getattr(wallet_module, name)

        def write(*arguments: object) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            real(*arguments)
            left -= 1

        return write

    for name in set(names):
        monkeypatch.setattr(wallet_module, name, wrapped(name))


def kill_at(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if step == "the key is made":
        kill_before(monkeypatch, Gateway, "renew")
    elif step == "the reply is lost":
        real = Gateway.renew

        async def renew(gateway: Gateway, signing_request: bytes) -> bytes:
            await real(gateway, signing_request)
            raise Killed

        monkeypatch.setattr(Gateway, "renew", renew)
    elif step == "the certificate is stored":
        kill_before(monkeypatch, Wallet, "take_renewed")
    elif step == "the orchestrator knows the new key":
        real_accepted = Wallet.accepted

        def accepted(wallet: Wallet) -> None:
            if wallet.holds_renewed:
                raise Killed
            real_accepted(wallet)

        monkeypatch.setattr(Wallet, "accepted", accepted)
    elif step == "all is written":
        kill_before(monkeypatch, wallet_module, "forget_renewed_key")
    else:
        kill_after_writes(monkeypatch, int(step.split(maxsplit=1)[0]))


STEPS = (
    "the key is made",
    "the reply is lost",
    "the certificate is stored",
    "the orchestrator knows the new key",
    "1 file is in place",
    "2 files are in place",
    "all is written",
)


@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_is_killed_at_any_step_leaves_an_identity_that_works(
    server: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async def scenario() -> None:
        state = await join_fleet(server, tmp_path)
        before = load_credentials(state)
        with monkeypatch.context() as killing:
            kill_at(step, killing)
            async with agent_later(state, HALF_A_LIFE_LATER) as doomed:
                with pytest.raises(Killed):
                    await asyncio.wait_for(asyncio.shield(doomed), 30)

        async with agent_later(state, HALF_A_LIFE_LATER):
            await server.soon(lambda: load_credentials(state).certificate != before.certificate)
            await server.soon(lambda: settled(server, state))

        certificate = x509.load_pem_x509_certificate(load_credentials(state).certificate)
        assert certificate.public_key() == load_or_make_key(state.key).public_key()
        assert await answer_to(server, before) == "REENROL"

    server.run(scenario())


def test_an_orchestrator_that_was_set_back_is_met_with_the_old_key(server: LiveServer, tmp_path: Path) -> None:
    """A backup from before the renewal does not know the new key, and the device does not lose its place."""

    async def scenario() -> None:
        state = await join_fleet(server, tmp_path)
        device = await device_of(server, state)
        with contextlib.ExitStack() as stack:
            monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
            kill_at("the certificate is stored", monkeypatch)
            async with agent_later(state, HALF_A_LIFE_LATER) as doomed:
                await asyncio.wait({doomed})
        await server.orchestrator.database.run(lambda tx: tx.devices.update(device))
        before = load_credentials(state)

        async with agent_later(state, timedelta(0)):
            await server.soon(lambda: settled(server, state))

        assert load_credentials(state).certificate == before.certificate

    server.run(scenario())


def test_a_renewal_is_for_the_device_that_asks_and_never_for_a_key_in_use(server: LiveServer) -> None:
    from fleetfit.v1 import enrolment_pb2, enrolment_pb2_grpc

    from tests.fakes.scripted_device import new_key, signing_request

    async def scenario() -> None:
        device, other = await server.join(), await server.join()
        async with device.channel() as channel:
            stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
            for key in (device.key, other.key):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.Renew(enrolment_pb2.RenewRequest(signing_request=signing_request(key)))
                assert reason_of(caught.value) == "SIGNING_REQUEST_INVALID"
            answer = await stub.Renew(enrolment_pb2.RenewRequest(signing_request=signing_request(new_key())))
            names = x509.load_pem_x509_certificate(answer.certificate).extensions
            uris = names.get_extension_for_class(x509.SubjectAlternativeName).value
            assert uris.get_values_for_type(x509.UniformResourceIdentifier) == [f"spiffe://fleetfit/device/{device.id}"]
            # The key that it called with still counts.
            await stub.Renew(enrolment_pb2.RenewRequest(signing_request=signing_request(new_key())))

    server.run(scenario())


def test_a_key_that_was_renewed_away_does_not_come_back_with_its_token(server: LiveServer, tmp_path: Path) -> None:
    from tests.fakes.scripted_device import enrol, new_key, signing_request

    async def scenario() -> None:
        from fleetfit.v1 import enrolment_pb2, enrolment_pb2_grpc

        _, token = await server.orchestrator.join_tokens.create()
        key, next_key = new_key(), new_key()
        joined = await enrol(server.address, server.authority, token, key=key)
        device = await server.join()
        device.id, device.key, device.certificate = joined.device_id, key, joined.certificate
        async with device.channel() as channel:
            stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
            answer = await stub.Renew(enrolment_pb2.RenewRequest(signing_request=signing_request(next_key)))
        device.key, device.certificate = next_key, answer.certificate
        async with device.connect():
            pass
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await enrol(server.address, server.authority, token, key=key)
        assert reason_of(caught.value) == "REENROL"

    server.run(scenario())


def test_a_certificate_that_the_device_could_not_show_is_not_stored(server: LiveServer, tmp_path: Path) -> None:
    async def scenario() -> StateDirectory:
        return await join_fleet(server, tmp_path)

    state = server.run(scenario())
    now = datetime.now(tz=timezone.utc)
    device_id = load_identity(state).device_id

    def certificate(*, authority: Path, key: ec.EllipticCurvePublicKey, at: datetime) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

        ca = x509.load_pem_x509_certificate((authority / "ca.pem").read_bytes())
        ca_key = load_pem_private_key((authority / "ca-key.pem").read_bytes(), password=None)
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        made = make_device_certificate(ca=ca, ca_key=ca_key, key=key, device_id=device_id, now=at)
        return made.public_bytes(Encoding.PEM)

    request(state)
    next_key = load_or_make_key(state.next_key).public_key()
    authority = server.config.layout.authority
    with pytest.raises(JoinError, match="another key"):
        accept(state, certificate(authority=authority, key=make_key().public_key(), at=now), now=now)
    with pytest.raises(JoinError, match="expired"):
        accept(state, certificate(authority=authority, key=next_key, at=now - timedelta(days=31)), now=now)
    with pytest.raises(JoinError, match="not a certificate"):
        accept(state, b"nonsense", now=now)
    impostor = make_key()
    from cryptography.hazmat.primitives.serialization import Encoding

    forged = make_device_certificate(
        ca=make_ca_certificate(impostor, now), ca_key=impostor, key=next_key, device_id=device_id, now=now
    )
    with pytest.raises(JoinError, match="not signed"):
        accept(state, forged.public_bytes(Encoding.PEM), now=now)
    assert not state.renewed.exists()
    accept(state, certificate(authority=authority, key=next_key, at=now), now=now)
    assert Wallet(state).holds_renewed


def test_devices_that_joined_together_do_not_renew_together(server: LiveServer, tmp_path: Path) -> None:
    class Unreachable:
        async def renew(self, signing_request: bytes) -> bytes:
            raise AssertionError

    state = server.run(join_fleet(server, tmp_path))
    wallet = Wallet(state)
    now = wallet.identity.certificate_issued_at
    clock = [now]

    def fresh() -> Renewal:
        return Renewal(state=state, wallet=wallet, gateway=Unreachable(), now=lambda: clock[0])

    renewals = [fresh() for _ in range(200)]
    life = wallet.identity.certificate_expires_at - now
    due = []
    for share in (0.499, 0.55, 0.601):
        clock[0] = now + life * share
        due.append(sum(renewal.due() for renewal in renewals))
    assert due[0] == 0
    assert 0 < due[1] < 200
    assert due[2] == 200
