"""The worker as the agent sees it: a process group that is started, listened to, bounded in time, and ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from agent.profiling.decoding import GarbledError, encode
from agent.profiling.worker_protocol import LONGEST_MESSAGE_BYTES, Failure, Job, Message, Report, decode_message
from agent.runtimes.environment import runtime_environment

_TAIL_BYTES = 16 * 1024
_GRACE_S = 2.0
_LAST_WORDS_S = 1.0
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnd:
    """How a worker ended.

    Attributes:
        conclusion: Its last message; None where it ended without one.
        return_code: As subprocess has it: negative for a signal. None where the agent ended it.
        timed_out: The agent ended it because its time was up.
        garbled: What was wrong with a message that could not be read.
        tail: The end of what it printed.
    """

    conclusion: Report | Failure | None
    return_code: int | None
    timed_out: bool = False
    garbled: str = ""
    tail: str = ""


async def run_worker(job: Job, *, timeout_s: float, on_message: Callable[[Message], None]) -> WorkerEnd:
    """Runs one worker to its end and says how that was. Cancelling this kills the worker's process group.

    Args:
        job: What the worker does.
        timeout_s: Wall time after which the worker is asked to end, and soon after made to.
        on_message: Called with each message but the last.
    """
    worker = _Worker(on_message)
    try:
        await worker.start(job)
        return await worker.listen(timeout_s)
    finally:
        await worker.kill()


class _Worker:
    def __init__(self, on_message: Callable[[Message], None]) -> None:
        self._on_message = on_message
        self._process: asyncio.subprocess.Process | None = None
        self._messages = asyncio.StreamReader(limit=LONGEST_MESSAGE_BYTES)
        self._transport: asyncio.ReadTransport | None = None
        self._tail = bytearray()
        self._tail_reader: asyncio.Task[None] | None = None
        self._conclusion: Report | Failure | None = None

    async def start(self, job: Job) -> None:
        read_end, write_end = os.pipe()
        try:
            self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(self._messages), os.fdopen(read_end, "rb", buffering=0)
            )
            # Never a fork of this process, which has threads: a fresh interpreter, in a session of its own.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "agent.profiling.worker",
                str(write_end),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(write_end,),
                start_new_session=True,
                # Not a folder of its own: one that is killed would leave it behind.
                cwd="/",
                env=runtime_environment(),
            )
        finally:
            os.close(write_end)
        self._tail_reader = asyncio.ensure_future(self._keep_tail(self._process))
        if self._process.stdin is not None:
            self._process.stdin.write(encode(job).encode())
            self._process.stdin.close()

    async def listen(self, timeout_s: float) -> WorkerEnd:
        assert self._process is not None  # noqa: S101 - start came before
        listening = asyncio.ensure_future(self._listen())
        exiting = asyncio.ensure_future(self._process.wait())
        timed_out, garbled = False, ""
        try:
            await asyncio.wait({listening, exiting}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            timed_out = not listening.done() and not exiting.done()
            if timed_out:
                self._signal(signal.SIGTERM)
                await asyncio.wait({exiting}, timeout=_GRACE_S)
            # The pipe is read to its end; a descendant that holds it open is not waited for.
            await asyncio.wait({listening}, timeout=_LAST_WORDS_S)
            if listening.done():
                try:
                    listening.result()
                except GarbledError as error:
                    garbled = str(error)
            if not garbled and not timed_out:
                # It has nothing left to do, and some runtimes end better when they are let.
                await asyncio.wait({exiting}, timeout=_LAST_WORDS_S)
            return_code = exiting.result() if exiting.done() else None
            await self.kill()
            return WorkerEnd(
                conclusion=self._conclusion,
                return_code=return_code,
                timed_out=timed_out,
                garbled=garbled,
                tail=self._tail.decode(errors="replace"),
            )
        finally:
            listening.cancel()
            exiting.cancel()
            await asyncio.gather(listening, exiting, return_exceptions=True)

    async def kill(self) -> None:
        """Ends the process group whatever its state; harmless when it has ended."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            await self._process.wait()
            self._process = None
        if self._tail_reader is not None:
            await asyncio.wait({self._tail_reader}, timeout=_LAST_WORDS_S)
            self._tail_reader.cancel()
            self._tail_reader = None
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    async def _listen(self) -> None:
        while line := await self._read_line():
            message = decode_message(line)
            if isinstance(message, Report | Failure):
                self._conclusion = message
                return
            self._on_message(message)

    async def _read_line(self) -> bytes:
        try:
            return await self._messages.readline()
        except ValueError as error:
            raise GarbledError(f"a message longer than {LONGEST_MESSAGE_BYTES} bytes") from error

    async def _keep_tail(self, process: asyncio.subprocess.Process) -> None:
        while process.stdout is not None and (chunk := await process.stdout.read(_CHUNK_BYTES)):
            self._tail += chunk
            del self._tail[:-_TAIL_BYTES]

    def _signal(self, number: signal.Signals) -> None:
        # The worker leads its group, so the group's number is the worker's.
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
