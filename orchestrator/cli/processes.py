"""Child processes that never outlive their parent: each in a session of its own, with its output in a file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from orchestrator.cli import parent_guard
from orchestrator.errors import DeadlineError, OperationError

# Ray needs a few seconds to end its own processes.
_STOP_TIMEOUT_S = 20.0
_POLL_S = 0.1

# Variables that would lead a child to another orchestrator than its own.
_LEADING_ELSEWHERE = ("FLEETFIT_SERVER", "FLEETFIT_TOKEN", "FLEETFIT_CA", "FLEETFIT_DATA_DIR")


class Child:
    """One child process. Its end, and that of every process that it started, is :meth:`stop`.

    Args:
        name: What messages call it.
        command: Name of a script of this installation, and its arguments.
        log: File that its output is added to.
        environment: Variables on top of this process's own.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        inherited = {key: value for key, value in os.environ.items() if key not in _LEADING_ELSEWHERE}
        guard = [sys.executable, "-I", parent_guard.__file__, str(os.getpid())]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._log_start = output.tell()
            # The arguments are our own; a session of its own keeps the terminal's Ctrl-C away from the child.
            self._process = subprocess.Popen(  # noqa: S603
                [*guard, str(script(command[0])), *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**inherited, **(environment or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Id of the process, which is also that of its session."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def output(self) -> str:
        """What it has written since it was started."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    def wait_until(self, condition: Callable[[], bool], *, what: str, timeout_s: float) -> None:
        """Returns when ``condition`` holds.

        Raises:
            OperationError: The child ended before that.
            DeadlineError: It took longer than ``timeout_s``.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            # Looked at before the condition: what a child does last may be what is waited for.
            ended = self.exit_code is not None
            if condition():
                return
            if ended:
                raise OperationError(f"{self.name} ended before {what}: {self._last_words()}", hint=f"see {self.log}")
            if time.monotonic() > deadline:
                raise DeadlineError(f"{self.name}: {what} took more than {timeout_s:.0f} s", hint=f"see {self.log}")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Ends the process: politely, then by force; and whatever is left of its session."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_TIMEOUT_S)
        for process in _session_members(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait()

    def _last_words(self) -> str:
        lines = [line.strip() for line in self.output().splitlines() if line.strip()]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return (errors or lines or [f"exit code {self.exit_code}"])[-1]


@contextlib.contextmanager
def stopped_at_the_end() -> Iterator[list[Child]]:
    """A list whose children are stopped, the newest first, when the block is left; also by SIGTERM or Ctrl-C."""
    children: list[Child] = []
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield children
    finally:
        # A second Ctrl-C may not stop the stopping.
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            for child in reversed(children):
                child.stop()
        finally:
            signal.signal(signal.SIGINT, interrupt)
            signal.signal(signal.SIGTERM, before)


def script(name: str) -> Path:
    """The script of this installation.

    Raises:
        OperationError: It is not installed.
    """
    for directory in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        if (directory / name).is_file():
            return directory / name
    raise OperationError(f"the command {name} is not installed beside this Python", hint="install fleetfit again")


def _exit(number: int, _: object) -> None:
    sys.exit(128 + number)


def _session_members(session: int) -> list[int]:
    """Ids of the living processes of a session; on systems without /proc, of the group that began it."""
    proc = Path("/proc")
    if not (proc / "self" / "stat").exists():
        return [-session] if _group_lives(session) else []
    members = []
    for entry in proc.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                # The name in parentheses may hold anything: the fields that count follow its last parenthesis.
                state, _, _, member_of = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(member_of) == session and state not in ("Z", "X"):
                    members.append(int(entry.name))
    return members


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True
