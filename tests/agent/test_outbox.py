"""The outbox: nothing is lost, nothing is kept twice, and the order stays."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.database import open_database
from agent.errors import NoSpaceError
from agent.outbox import MessageKind, Outbox, WaitingMessage


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with contextlib.closing(open_database(tmp_path / "state.db")) as connection:
        yield Outbox(connection)


def message(number: int, *, kind: MessageKind = MessageKind.JOB_RESULT) -> WaitingMessage:
    return WaitingMessage(id=f"id-{number}", kind=kind, subject=f"subject-{number}", payload=bytes([number]))


def test_messages_wait_in_the_order_in_which_they_came(outbox: Outbox) -> None:
    messages = [message(3), message(1, kind=MessageKind.DEPLOYMENT_REPORT), message(2)]
    for each in messages:
        outbox.put(each)
    assert list(outbox.waiting()) == messages
    assert outbox.subjects(MessageKind.JOB_RESULT) == ("subject-3", "subject-2")


def test_the_same_message_is_kept_once(outbox: Outbox) -> None:
    outbox.put(message(1))
    outbox.put(message(1))
    assert outbox.waiting() == (message(1),)


def test_a_receipt_removes_its_message_and_no_other(outbox: Outbox) -> None:
    outbox.put(message(1))
    outbox.put(message(2))
    assert outbox.remove("id-1")
    assert not outbox.remove("id-1")
    assert not outbox.remove("never heard of")
    assert outbox.waiting() == (message(2),)


def test_a_message_that_fails_with_its_transaction_is_not_kept(outbox: Outbox) -> None:
    def fail(connection: object) -> None:
        raise NoSpaceError("no")

    with pytest.raises(NoSpaceError):
        outbox.put(message(1), within=fail)
    assert outbox.waiting() == ()
    assert not outbox.changed.is_set()


def test_what_was_put_survives_kill_9(tmp_path: Path) -> None:
    """A process puts messages and says so; it is killed in the midst of it. What it said is there, in order."""
    script = """
        import sys
        from pathlib import Path
        from agent.database import open_database
        from agent.outbox import MessageKind, Outbox, WaitingMessage

        outbox = Outbox(open_database(Path(sys.argv[1])))
        for number in range(100_000):
            outbox.put(WaitingMessage(id=str(number), kind=MessageKind.JOB_RESULT, subject="job", payload=b"x" * 300))
            print(number, flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "state.db")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(50)]
        os.kill(process.pid, signal.SIGKILL)
        said += [int(line) for line in process.stdout if line.endswith("\n")]

    with contextlib.closing(open_database(tmp_path / "state.db")) as connection:
        kept = [int(waiting.id) for waiting in Outbox(connection).waiting()]
    assert kept == list(range(len(kept)))
    # One more may have been put than was said.
    assert len(said) <= len(kept) <= len(said) + 1
