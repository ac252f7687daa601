import sqlite3
from dataclasses import replace

import pytest

from agent.errors import ConfigurationError, NoSpaceError
from agent.update import journal as journal_module
from agent.update.journal import Journal
from agent.update.manifest import parse_manifest
from agent.update.release import DesiredRelease
from agent.update.states import Step
from tests.fakes.release_server import ReleaseServer


@pytest.fixture
def path(tmp_path):
    return tmp_path / "updates.db"


def wish(number: int) -> DesiredRelease:
    return DesiredRelease(deployment_id=f"d{number}", manifest_path="digits/1.json", manifest_sha256="a" * 64)


def reopened(journal: Journal, path) -> Journal:
    journal.close()
    return Journal(path)


def test_what_was_stored_is_there_after_a_restart(path):
    journal = Journal(path)
    added = journal.add(wish(1))
    stored = replace(added, step=Step.TESTING, reason="why", manifest_json=b"{}", replaces="b" * 64, restarts=2)
    journal.record(stored)
    journal = reopened(journal, path)
    assert journal.find("d1") == stored
    assert journal.unfinished() == [stored]
    journal.close()


def test_deployments_come_in_the_order_in_which_they_were_asked_for(path):
    journal = Journal(path)
    for number in (3, 1, 2):
        journal.add(wish(number))
    assert [deployment.id for deployment in journal.unfinished()] == ["d3", "d1", "d2"]
    assert journal.newest().id == "d2"
    journal.close()


def test_a_deployment_that_has_ended_is_remembered_and_not_unfinished(path):
    journal = Journal(path)
    journal.record(replace(journal.add(wish(1)), step=Step.REFUSED, reason="forged"))
    assert journal.unfinished() == []
    assert journal.find("d1").reason == "forged"
    journal.close()


def test_the_floor_rises_with_the_step_and_never_falls(path, tmp_path):
    server, journal = ReleaseServer(tmp_path), Journal(path)
    deployment = journal.add(wish(1))
    assert journal.floor("digits") == 0
    for counter, floor in ((4, 4), (9, 9), (5, 9)):
        manifest = parse_manifest(server.manifest(counter=counter))
        journal.record(replace(deployment, step=Step.ACTIVE), floor=manifest)
        assert journal.floor("digits") == floor
    assert journal.floor("other") == 0
    journal.close()


def test_a_commit_is_on_the_disk_before_it_returns(path):
    journal = Journal(path)
    assert journal._connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    journal.close()


def test_old_deployments_are_forgotten_at_last_and_unfinished_ones_never(path, monkeypatch):
    monkeypatch.setattr(journal_module, "_ENDED_KEPT", 5)
    journal = Journal(path)
    journal.add(wish(0))
    for number in range(1, 20):
        journal.record(replace(journal.add(wish(number)), step=Step.ACTIVE))
    assert journal.find("d0") is not None
    assert journal.find("d3") is None
    assert journal.find("d18") is not None
    journal.close()


def _garbage(path):
    path.write_bytes(b"not a database at all" * 100)


def _zeroed(path):
    path.write_bytes(bytes(path.stat().st_size))


def _cut(path):
    path.write_bytes(path.read_bytes()[:5000])


def _newer(path):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def _other_columns(path):
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE deployments (sequence INTEGER PRIMARY KEY, step TEXT)")
    connection.close()


def _unknown_step(path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE deployments SET step = 'rebooting'")
    connection.close()


@pytest.mark.parametrize("damage", [_garbage, _zeroed, _cut, _newer, _other_columns, _unknown_step])
def test_a_journal_that_cannot_be_used_is_moved_aside(path, damage, caplog):
    journal = Journal(path)
    journal.add(wish(1))
    journal.close()
    damage(path)
    journal = Journal(path)
    assert journal.newest() is None
    journal.add(wish(2))
    assert journal.find("d2") is not None
    assert path.with_name("updates.db.damaged").exists()
    assert "moved aside" in caplog.text
    journal.close()


def test_a_full_disk_is_said_so_and_changes_nothing(path):
    journal = Journal(path)
    deployment = journal.add(wish(1))
    journal._connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(NoSpaceError):
        journal.record(replace(deployment, manifest_json=bytes(100_000)))
    assert journal.find("d1") == deployment
    journal.close()


def test_a_journal_that_another_process_holds_is_not_thrown_away(path, monkeypatch):
    Journal(path).close()
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: real(*args, **(options | {"timeout": 0})))
    holder = real(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    holder.execute("INSERT INTO floors VALUES ('x', 1)")
    with pytest.raises(ConfigurationError, match="locked"):
        Journal(path)
    holder.execute("COMMIT")
    holder.close()
    assert not path.with_name("updates.db.damaged").exists()
