"""The composition root: builds the orchestrator's parts, wires them, and takes them down in order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from orchestrator.api.api_tokens import ApiTokenService
from orchestrator.api.audit import AuditService
from orchestrator.api.delivery import DeliveryService
from orchestrator.api.devices import DeviceService
from orchestrator.api.enrolment import EnrolmentService
from orchestrator.api.info import ServerService
from orchestrator.api.interceptors import interceptors
from orchestrator.api.join_tokens import JoinTokenService
from orchestrator.api.releases import ReleaseService
from orchestrator.api.rollouts import RolloutService
from orchestrator.api.searches import SearchService
from orchestrator.api.server import DEVICE_PORT_OPTION, PUBLIC_PORT_OPTION, Server, check_ports
from orchestrator.api.services import Services
from orchestrator.api.session import SessionService
from orchestrator.audit.log import AuditLog
from orchestrator.clock import Clock, utc_now
from orchestrator.config import Config
from orchestrator.data_directory import DataDirectory, Endpoints
from orchestrator.events import Events
from orchestrator.execution.engine import Engine
from orchestrator.execution.ray_engine import RayEngine
from orchestrator.fleet.authority import Authority
from orchestrator.fleet.devices import Devices
from orchestrator.fleet.dispatcher import Dispatcher
from orchestrator.fleet.enrolment import Enrolment
from orchestrator.fleet.join_tokens import JoinTokens
from orchestrator.fleet.measuring import Measuring
from orchestrator.fleet.operators import Operators
from orchestrator.fleet.sessions import Sessions
from orchestrator.releases.publisher import Publisher
from orchestrator.releases.repository import ReleaseRepository
from orchestrator.rollouts.controller import RolloutController
from orchestrator.rollouts.operations import RolloutOperations
from orchestrator.search.controller import SearchController
from orchestrator.storage.blob_store import BlobStore
from orchestrator.storage.blob_stores import open_blob_store
from orchestrator.storage.database import Database

_LOG = logging.getLogger(__name__)

# Calls that run when the orchestrator stops get this long to end.
_GRACE_S = 1.0
_WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on


@dataclass(frozen=True, slots=True, kw_only=True)
class Orchestrator:
    """The parts of a running orchestrator that others reach for."""

    endpoints: Endpoints
    database: Database
    blobs: BlobStore
    events: Events
    sessions: Sessions
    measuring: Measuring
    join_tokens: JoinTokens
    operators: Operators
    # Loops that never end by themselves.
    loops: frozenset[asyncio.Task[None]]


async def serve(config: Config, *, ready: Callable[[Endpoints], None] | None = None) -> None:
    """Runs an orchestrator until SIGINT or SIGTERM; a second signal ends the process at once.

    Args:
        config: Its settings.
        ready: Called once it can be reached.

    Raises:
        ConflictError: A port or the data directory is in use.
        InvalidInputError: A setting cannot be used.
        OperationError: State cannot be read or written.
        UnavailableError: The database or the blob store cannot be reached.
    """
    with DataDirectory(config.layout) as directory, _stop_signal(directory) as stopped:
        await check_ports(
            config.host, ((config.public_port, PUBLIC_PORT_OPTION), (config.device_port, DEVICE_PORT_OPTION))
        )
        engine = RayEngine(address=config.ray_address, cpus=config.workers)
        async with running(config, engine=engine, clock=utc_now) as orchestrator:
            directory.announce(orchestrator.endpoints)
            if ready is not None:
                ready(orchestrator.endpoints)
            waiting = asyncio.create_task(stopped.wait())
            ended, _ = await asyncio.wait({waiting, *orchestrator.loops}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            directory.withdraw()
            for task in ended:
                # A loop that has ended has failed: whoever started us starts us again.
                task.result()


@asynccontextmanager
async def running(
    config: Config, *, engine: Engine, clock: Clock, reading_only: bool = False
) -> AsyncIterator[Orchestrator]:
    """An orchestrator that answers on its ports, until the context is left.

    Args:
        config: Its settings.
        engine: Where heavy work runs; closed at the end.
        clock: The present.
        reading_only: It answers, and does nothing by itself: searches, leases and signatures rest.
    """
    layout = config.layout
    async with AsyncExitStack() as stack:
        database = await asyncio.to_thread(Database.open, config.database)
        stack.callback(database.close)
        blobs = await asyncio.to_thread(open_blob_store, config.artifacts)
        authority = Authority(layout.authority, addresses=config.advertise, now=clock())
        repository = await asyncio.to_thread(
            lambda: ReleaseRepository.open(layout.repository, keys_directory=layout.keys, now=clock())
        )
        events = Events()
        operators = Operators(database=database, clock=clock)
        await operators.ensure_local(layout)
        audit = AuditLog(database=database, clock=clock)
        join_tokens = JoinTokens(database=database, clock=clock)
        sessions = Sessions(database=database, events=events, clock=clock)
        publisher = Publisher(database=database, blobs=blobs, repository=repository, clock=clock)
        rollouts = RolloutController(database=database, events=events, clock=clock)
        dispatcher = Dispatcher(database=database, events=events, desired=rollouts.desired, clock=clock)
        measuring = Measuring(database=database, events=events, online=sessions.online, clock=clock)
        searches = SearchController(
            database=database, blobs=blobs, events=events, engine=engine, measuring=measuring, clock=clock
        )
        server = Server(
            authority=authority,
            interceptors=interceptors(database=database, operators=operators, audit=audit, clock=clock),
            clock=clock,
        )
        public_port, device_port = server.bind(
            host=config.host, public_port=config.public_port, device_port=config.device_port
        )
        public_address = _address(config, public_port)
        device_address = _address(config, device_port)
        services = Services(
            enrolment=EnrolmentService(
                enrolment=Enrolment(database=database, authority=authority, events=events, clock=clock),
                authority=authority,
                device_address=device_address if config.advertise else f":{device_port}",
                trust_root=publisher.trust_root,
            ),
            join_tokens=JoinTokenService(join_tokens=join_tokens, authority=authority, public_address=public_address),
            devices=DeviceService(
                devices=Devices(database=database, events=events, sessions=sessions, forget=rollouts.forget)
            ),
            searches=SearchService(database=database, blobs=blobs, events=events, controller=searches),
            releases=ReleaseService(database=database, publisher=publisher),
            rollouts=RolloutService(
                database=database,
                events=events,
                controller=rollouts,
                operations=RolloutOperations(
                    database=database,
                    events=events,
                    controller=rollouts,
                    republish=publisher.republish,
                    clock=clock,
                ),
            ),
            server=ServerService(
                authority=authority, sessions=sessions, public_address=public_address, device_address=device_address
            ),
            session=SessionService(
                sessions=sessions, dispatcher=dispatcher, rollouts=rollouts, events=events, clock=clock
            ),
            delivery=DeliveryService(blobs=blobs, publisher=publisher),
            audit=AuditService(log=audit),
            api_tokens=ApiTokenService(operators=operators),
        )
        stack.push_async_callback(engine.close)
        stack.push_async_callback(searches.close)
        loops: frozenset[asyncio.Task[None]] = frozenset()
        if not reading_only:
            await publisher.start()
            await searches.start()
            loops = frozenset(
                asyncio.create_task(loop)
                for loop in (dispatcher.watch_leases(), publisher.keep_fresh(), rollouts.watch())
            )
        stack.push_async_callback(_cancelled, loops)
        stack.push_async_callback(server.stop, _GRACE_S)
        stack.callback(sessions.close_all)
        await server.start(services)
        yield Orchestrator(
            endpoints=Endpoints(
                public_address=_local_address(config, public_port),
                device_address=_local_address(config, device_port),
                ca_path=str(layout.ca_certificate.absolute()),
                pid=os.getpid(),
            ),
            database=database,
            blobs=blobs,
            events=events,
            sessions=sessions,
            measuring=measuring,
            join_tokens=join_tokens,
            operators=operators,
            loops=loops,
        )


@contextmanager
def _stop_signal(directory: DataDirectory) -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set; the next one of them ends the process where it stands."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        if stopped.is_set():
            directory.withdraw()
            os._exit(128 + number)
        _LOG.info("stopping on %s; once more ends it at once", number.name)
        stopped.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    try:
        yield stopped
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _address(config: Config, port: int) -> str:
    """What others dial: the host as advertised, else where we listen, else this machine's name."""
    host = config.advertise[0] if config.advertise else config.host
    return _joined(socket.gethostname() if host in _WILDCARDS else host, port)


def _local_address(config: Config, port: int) -> str:
    """What this machine itself dials."""
    return _joined("127.0.0.1" if config.host in _WILDCARDS else config.host, port)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
