"""One stay in a Ray: everything that calls Ray is here, and what it raises is turned into our own errors here."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import orchestrator
import pipelines
from orchestrator.errors import FleetfitError, InvalidInputError, OperationError, UnavailableError, WorkerLostError
from orchestrator.execution import leash
from orchestrator.execution.ray_worker import ProgressBoard, perform_in_worker
from orchestrator.execution.tasks import RecipeTask, Task

# A worker that died is replaced this many times; a workload that crashes its process would crash the next one too.
_LOG = logging.getLogger(__name__)

_RETRIES = 2
_STARTS = 3
_OBJECT_STORE_BYTES = 256 * 1024 * 1024
_REACHABLE_WITHIN_S = 5.0
# The longest path that a Unix socket can have is 107 bytes; Ray appends
# "/session_2026-11-24_06-02-06_422339_4194304/sockets/plasma_store" to its directory.
_LONGEST_TEMP_DIR = 107 - 66

_LOST = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.LocalRayletDiedError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.TaskCancelledError,
)


class RaySession:
    """A Ray that is up. Made by ``open_session``; belongs to the asyncio loop that uses it, and is closed once."""

    def __init__(self, *, embedded_leash: subprocess.Popen[bytes] | None) -> None:
        self._leash = embedded_leash
        here = NodeAffinitySchedulingStrategy(node_id=ray.get_runtime_context().get_node_id(), soft=True)
        board = ray.remote(ProgressBoard).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here)
        self._board: Any = board.remote()
        self._work: Any = ray.remote(perform_in_worker).options(
            num_cpus=1, max_retries=_RETRIES, retry_exceptions=False, name="fleetfit"
        )
        self._shared: dict[str, ray.ObjectRef[bytes]] = {}

    def slots(self) -> int:
        """The cores of the whole Ray."""
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        return max(1, int(resources.get("CPU", 1)))

    async def perform(self, run_id: str, task: Task[Any]) -> object:
        """The task's result. When whoever waits for it is cancelled, its worker is killed.

        Raises:
            FleetfitError: The work raised it.
            WorkerLostError: The worker died, and so did those that tried again.
            OperationError: The work raised something that is not ours.
        """
        baseline = None
        if isinstance(task, RecipeTask):
            baseline = self._share(task.baseline)
            task = replace(task, baseline=b"")
        reference = self._work.remote(run_id, task, baseline, self._board)
        try:
            return await reference
        except asyncio.CancelledError:
            ray.cancel(reference, force=True)
            raise
        except ray.exceptions.RayTaskError as error:
            raise _cause(error) from None
        except _LOST as error:
            raise _lost(error) from error
        except ray.exceptions.RayError as error:
            raise OperationError(f"Ray could not run the work: {_first_line(error)}") from error

    async def progress(self) -> AsyncIterator[dict[str, str]]:
        """The newest lines by run, whenever there are any."""
        while True:
            try:
                yield await self._board.collect.remote()
            except ray.exceptions.RayError:
                # Ray makes a new board; lines that were on the old one are not missed by anybody.
                await asyncio.sleep(1.0)

    def close(self) -> None:
        """Leaves Ray; an embedded one ends, with all that runs in it."""
        self._shared.clear()
        ray.shutdown()
        if self._leash is not None and self._leash.stdin is not None:
            self._leash.stdin.close()
            self._leash.wait()

    def _share(self, data: bytes) -> ray.ObjectRef[bytes]:
        """The bytes in Ray's store. The newest few are kept, because the trials of one search all ask for the same."""
        key = hashlib.sha256(data).hexdigest()
        reference = self._shared.pop(key, None)
        self._shared[key] = ray.put(data) if reference is None else reference
        while len(self._shared) > 4:
            del self._shared[next(iter(self._shared))]
        return self._shared[key]


def open_session(*, address: str | None, cpus: int, temp_dir: Path | None) -> RaySession:
    """Starts a Ray of our own, or joins the one at ``address``.

    Raises:
        InvalidInputError: The path of ``temp_dir`` is too long for sockets.
        OperationError: Ray did not start.
        UnavailableError: The cluster cannot be reached.
    """
    # What its node has to say of a worker that died, Ray prints on our standard output. We say it ourselves.
    ray._private.worker._worker_logs_enabled = False
    return _embed(cpus, temp_dir) if address is None else _join(address)


def _embed(cpus: int, temp_dir: Path | None) -> RaySession:
    """A Ray of our own. On a busy machine its processes may miss each other's deadlines: then a fresh one may not."""
    for _ in range(_STARTS - 1):
        try:
            return _embed_once(cpus, temp_dir)
        except OperationError as error:
            _LOG.warning("%s; trying again", error.message)
    return _embed_once(cpus, temp_dir)


def _embed_once(cpus: int, temp_dir: Path | None) -> RaySession:
    directory = _short_directory(temp_dir)
    mark = uuid.uuid4().hex
    holder = _start_leash(mark, directory)
    try:
        with _environment(**{leash.MARK_VARIABLE: mark}):
            ray.init(
                address="local",
                num_cpus=cpus,
                object_store_memory=_OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env=_embedded_environment(),
                _temp_dir=str(directory),
            )
        return RaySession(embedded_leash=holder)
    except Exception as error:
        ray.shutdown()
        holder.communicate()
        raise OperationError(f"the embedded Ray did not start: {_first_line(error)}") from error


def _join(address: str) -> RaySession:
    _check_reachable(address)
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            # The cluster need not have fleetfit installed: it gets exactly the code that runs here.
            runtime_env={"py_modules": [str(Path(package.__path__[0])) for package in (orchestrator, pipelines)]},
        )
    except Exception as error:
        message = f"the Ray cluster at {address} cannot be joined: {_first_line(error)}"
        raise UnavailableError(message, hint="check the address, and that the same Ray version runs there") from error
    return RaySession(embedded_leash=None)


def _check_reachable(address: str) -> None:
    """Returns if something listens at ``host:port``: Ray itself would try for minutes, and complain all the while.

    Raises:
        UnavailableError: Nothing does.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.removeprefix("ray://"), int(port)), timeout=_REACHABLE_WITHIN_S).close()
    except OSError as error:
        message = f"the Ray cluster at {address} cannot be reached: {error.strerror or error}"
        raise UnavailableError(message, hint="check the address, and that the cluster is up") from error


def _short_directory(temp_dir: Path | None) -> Path:
    """A new directory whose path is short enough for the sockets that Ray makes below it."""
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")) if temp_dir is None else (temp_dir,):  # noqa: S108
        parent.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix="fleetfit-ray-", dir=parent))
        if len(os.fsencode(directory)) <= _LONGEST_TEMP_DIR:
            return directory
        shutil.rmtree(directory)
    message = f"the path {parent} is too long for Ray's sockets by {len(os.fsencode(directory)) - _LONGEST_TEMP_DIR}"
    raise InvalidInputError(f"{message} bytes", hint="name a directory with a shorter path")


def _start_leash(mark: str, directory: Path) -> subprocess.Popen[bytes]:
    # In a session of its own: Ctrl-C and a hang-up of the terminal are not meant for it.
    return subprocess.Popen(  # noqa: S603 - our own file and two words that we made
        [sys.executable, "-I", "-S", leash.__file__, mark, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _embedded_environment() -> dict[str, Any]:
    """Where workers find our packages, also if somebody only put them on the path of this process."""
    roots = dict.fromkeys(str(Path(package.__path__[0]).parent) for package in (orchestrator, pipelines))
    return {"env_vars": {"PYTHONPATH": os.pathsep.join([*roots, *filter(None, [os.environ.get("PYTHONPATH")])])}}


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """The variables in the environment of what is started meanwhile, and not later."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _cause(error: ray.exceptions.RayTaskError) -> FleetfitError:
    cause = error.cause
    if isinstance(cause, FleetfitError):
        return cause
    return OperationError(f"a worker raised {type(cause).__name__}: {_first_line(cause)}")


def _lost(error: Exception) -> WorkerLostError:
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        why, hint = "memory ran out", "use a smaller model or batch, or a machine with more memory"
    else:
        why, hint = "its process died", "look for a crash in native code that the workload or a pass uses"
    return WorkerLostError(f"the worker was lost {_RETRIES + 1} times: {why}", hint=hint)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
