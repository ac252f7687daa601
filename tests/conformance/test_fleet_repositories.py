"""What the repositories of the fleet find, in which order, and what they refuse: the same on every database."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.errors import ConflictError, NotFoundError, UnauthenticatedError
from orchestrator.fleet.device import ActiveRelease
from orchestrator.fleet.job import JobState
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction
from tests.orchestrator.storage.records import (
    NOW,
    a_device,
    a_job,
    a_join_token,
    a_measurement,
    an_api_token,
    unique,
)

SECOND = timedelta(seconds=1)


def add(database: Database, repository: str, *records: Any) -> None:
    def work(tx: Transaction) -> None:
        for record in records:
            getattr(tx, repository).add(record)

    database.run_blocking(work)


@pytest.mark.parametrize(
    ("lookup", "message", "hint"),
    [
        (lambda tx: tx.devices.get("pi-9"), "there is no device 'pi-9'", "fleetfit device list"),
        (lambda tx: tx.devices.find("pi-9"), "there is no device 'pi-9'", "fleetfit device list"),
        (lambda tx: tx.devices.remove("pi-9"), "there is no device 'pi-9'", "fleetfit device list"),
        (lambda tx: tx.devices.update(a_device(id="pi-9")), "there is no device 'pi-9'", "fleetfit device list"),
        (lambda tx: tx.devices.begin_session("pi-9", NOW), "there is no device 'pi-9'", "fleetfit device list"),
        (lambda tx: tx.join_tokens.get("x"), "there is no join token 'x'", "fleetfit join-token list"),
        (lambda tx: tx.api_tokens.get("x"), "there is no API token 'x'", ""),
        (lambda tx: tx.jobs.get("x"), "there is no job 'x'", ""),
        (lambda tx: tx.measurements.get("x"), "there is no measurement 'x'", ""),
        (lambda tx: tx.searches.find("x"), "there is no search 'x'", "fleetfit search list"),
        (lambda tx: tx.trials.get("x"), "there is no trial 'x'", ""),
        (lambda tx: tx.releases.find("x:1"), "there is no release 'x:1'", "fleetfit release list"),
        (lambda tx: tx.rollouts.find("x"), "there is no rollout 'x'", "fleetfit rollout list"),
        (lambda tx: tx.deployments.get("x"), "there is no deployment 'x'", ""),
    ],
)
def test_what_is_not_there_is_named_and_the_list_command_too(
    database: Database, lookup: Callable[[Transaction], Any], message: str, hint: str
) -> None:
    with pytest.raises(NotFoundError) as refusal:
        database.run_blocking(lookup)
    assert refusal.value.message == message
    assert hint in refusal.value.hint


class TestDevices:
    def test_a_device_is_found_by_id_name_and_key(self, database: Database) -> None:
        device = a_device()
        add(database, "devices", device)
        assert database.run_blocking(lambda tx: tx.devices.find(device.id)) == device
        assert database.run_blocking(lambda tx: tx.devices.find(device.name)) == device
        assert database.run_blocking(lambda tx: tx.devices.by_key(device.key_fingerprint)) == device
        assert database.run_blocking(lambda tx: tx.devices.by_key("another")) is None

    def test_an_id_goes_before_a_name(self, database: Database) -> None:
        device = a_device()
        confusing = a_device(name=device.id)
        add(database, "devices", confusing, device)
        assert database.run_blocking(lambda tx: tx.devices.find(device.id)) == device

    def test_devices_are_listed_by_name(self, database: Database) -> None:
        late, early = a_device(name=unique("z")), a_device(name=unique("a"))
        add(database, "devices", late, early)
        names = [device.name for device in database.run_blocking(lambda tx: tx.devices.list())]
        assert names == sorted(names)
        assert {late.name, early.name} <= database.run_blocking(lambda tx: tx.devices.names()) == set(names)

    @pytest.mark.parametrize("field", ["id", "name", "key_fingerprint"])
    def test_what_is_taken_is_refused(self, database: Database, field: str) -> None:
        device = a_device()
        add(database, "devices", device)
        with pytest.raises(ConflictError, match="exists already") as refusal:
            add(database, "devices", a_device(**{field: getattr(device, field)}))
        assert refusal.value.reason == "ALREADY_EXISTS"

    def test_a_device_cannot_be_renamed_to_a_name_that_is_taken(self, database: Database) -> None:
        device, other = a_device(), a_device()
        add(database, "devices", device, other)
        with pytest.raises(ConflictError, match=f"'{other.name}' exists already"):
            database.run_blocking(lambda tx: tx.devices.update(replace(device, name=other.name)))

    def test_each_session_has_a_higher_epoch_and_is_seen(self, database: Database) -> None:
        device = a_device()
        add(database, "devices", device)
        assert database.run_blocking(lambda tx: tx.devices.begin_session(device.id, NOW)) == 1
        assert database.run_blocking(lambda tx: tx.devices.begin_session(device.id, NOW + SECOND)) == 2
        stored = database.run_blocking(lambda tx: tx.devices.get(device.id))
        assert stored == replace(device, session_epoch=2, last_seen_at=NOW + SECOND)

    def test_an_update_from_an_older_copy_does_not_bring_back_an_older_epoch(self, database: Database) -> None:
        device = a_device()
        add(database, "devices", device)
        database.run_blocking(lambda tx: tx.devices.begin_session(device.id, NOW))
        database.run_blocking(lambda tx: tx.devices.update(replace(device, labels={"room": "attic"})))
        stored = database.run_blocking(lambda tx: tx.devices.get(device.id))
        assert (stored.session_epoch, stored.labels) == (1, {"room": "attic"})

    def test_an_older_session_cannot_write(self, database: Database) -> None:
        device = a_device()
        add(database, "devices", device)
        epochs = [database.run_blocking(lambda tx: tx.devices.begin_session(device.id, NOW)) for _ in range(2)]
        active = replace(device, active_release=ActiveRelease(manifest_sha256="a" * 64, name="digits", version="1"))
        with pytest.raises(ConflictError, match="newer session") as refusal:
            database.run_blocking(lambda tx: tx.devices.update(active, expecting=epochs[0]))
        assert refusal.value.reason == "STALE"
        database.run_blocking(lambda tx: tx.devices.update(active, expecting=epochs[1]))
        stored = database.run_blocking(lambda tx: tx.devices.get(device.id))
        assert stored.active_release == active.active_release

    def test_a_removed_device_leaves_its_history_and_no_way_back(self, database: Database) -> None:
        device, token = a_device(), a_join_token()
        job, measurement = a_job(device_id=device.id), a_measurement(device_id=device.id)

        def work(tx: Transaction) -> None:
            tx.devices.add(device)
            tx.join_tokens.add(token)
            tx.enrolments.add(token.id, device.key_fingerprint, device.id)
            tx.jobs.add(job)
            tx.measurements.add_once(measurement)
            tx.devices.remove(device.id)
            assert tx.devices.by_key(device.key_fingerprint) is None
            assert tx.enrolments.find(token.id, device.key_fingerprint) is None
            assert tx.measurements.list(device_id=device.id) == (measurement,)
            assert tx.jobs.queued(device.id) == (job,)

        database.run_blocking(work)


class TestTokens:
    def test_a_token_counts_its_uses(self, database: Database) -> None:
        token = a_join_token(maximum_uses=2)
        add(database, "join_tokens", token)
        used = database.run_blocking(lambda tx: tx.join_tokens.use(token.id, NOW))
        assert used == replace(token, uses=1)
        assert database.run_blocking(lambda tx: tx.join_tokens.get(token.id)) == used

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"uses": 1}, "TOKEN_USED"),
            ({"expires_at": NOW}, "TOKEN_EXPIRED"),
            ({"revoked": True}, "TOKEN_REVOKED"),
            ({"revoked": True, "expires_at": NOW, "uses": 1}, "TOKEN_REVOKED"),
            ({"expires_at": NOW, "uses": 1}, "TOKEN_EXPIRED"),
        ],
    )
    def test_a_token_that_does_not_hold_is_refused_and_unchanged(
        self, database: Database, change: dict[str, Any], reason: str
    ) -> None:
        token = a_join_token(**change)
        add(database, "join_tokens", token)
        with pytest.raises(UnauthenticatedError) as refusal:
            database.run_blocking(lambda tx: tx.join_tokens.use(token.id, NOW))
        assert refusal.value.reason == reason
        assert "join-token create" in refusal.value.hint
        assert database.run_blocking(lambda tx: tx.join_tokens.get(token.id)) == token

    def test_an_unknown_token_is_refused(self, database: Database) -> None:
        with pytest.raises(UnauthenticatedError) as refusal:
            database.run_blocking(lambda tx: tx.join_tokens.use("nobody's", NOW))
        assert refusal.value.reason == "TOKEN_UNKNOWN"

    def test_a_token_holds_until_the_moment_of_its_expiry(self, database: Database) -> None:
        token = a_join_token(expires_at=NOW + timedelta(microseconds=1))
        add(database, "join_tokens", token)
        assert database.run_blocking(lambda tx: tx.join_tokens.use(token.id, NOW)).uses == 1

    def test_tokens_are_listed_oldest_first(self, database: Database) -> None:
        first, second = a_join_token(created_at=NOW + SECOND), a_join_token(created_at=NOW)
        add(database, "join_tokens", first, second)
        assert database.run_blocking(lambda tx: tx.join_tokens.list())[-2:] == (first, second)

    def test_the_same_token_and_key_lead_to_the_same_device(self, database: Database) -> None:
        device, token = a_device(), a_join_token()
        add(database, "devices", device)
        add(database, "join_tokens", token)
        assert database.run_blocking(lambda tx: tx.enrolments.find(token.id, "key")) is None
        database.run_blocking(lambda tx: tx.enrolments.add(token.id, "key", device.id))
        assert database.run_blocking(lambda tx: tx.enrolments.find(token.id, "key")) == device.id
        with pytest.raises(ConflictError):
            database.run_blocking(lambda tx: tx.enrolments.add(token.id, "key", device.id))
        with pytest.raises(NotFoundError):
            database.run_blocking(lambda tx: tx.enrolments.add("nobody's", "key", device.id))

    def test_api_tokens_are_found_by_hash_and_can_be_revoked(self, database: Database) -> None:
        token, other = an_api_token(), an_api_token()
        add(database, "api_tokens", token, other)
        revoked = replace(token, revoked=True)
        database.run_blocking(lambda tx: tx.api_tokens.update(revoked))
        assert database.run_blocking(lambda tx: tx.api_tokens.by_hash(token.secret_hash)) == revoked
        assert database.run_blocking(lambda tx: tx.api_tokens.by_hash("another")) is None
        assert database.run_blocking(lambda tx: tx.api_tokens.list())[-2:] == (revoked, other)
        with pytest.raises(ConflictError):
            add(database, "api_tokens", an_api_token(secret_hash=token.secret_hash))


class TestJobs:
    def test_a_purpose_has_one_job(self, database: Database) -> None:
        job = a_job()
        add(database, "jobs", job)
        assert database.run_blocking(lambda tx: tx.jobs.by_key(job.key)) == job
        assert database.run_blocking(lambda tx: tx.jobs.by_key("another")) is None
        with pytest.raises(ConflictError, match=job.key):
            add(database, "jobs", a_job(key=job.key))

    def test_jobs_are_found_by_device_and_state_in_the_order_in_which_they_were_added(self, database: Database) -> None:
        device_id = unique("device")
        jobs = [a_job(device_id=device_id, state=state, created_at=NOW) for state in [*JobState, *reversed(JobState)]]
        add(database, "jobs", *jobs, a_job(), a_job(state=JobState.LEASED))

        def of(*states: JobState) -> list[Any]:
            return [job for job in jobs if job.state in states]

        assert list(database.run_blocking(lambda tx: tx.jobs.queued(device_id))) == of(JobState.QUEUED)
        assert list(database.run_blocking(lambda tx: tx.jobs.leased(device_id))) == of(JobState.LEASED)
        unfinished = database.run_blocking(lambda tx: tx.jobs.unfinished())
        assert [job for job in unfinished if job.device_id == device_id] == of(JobState.QUEUED, JobState.LEASED)

    def test_a_lease_has_passed_when_its_moment_is_reached(self, database: Database) -> None:
        passed = a_job(state=JobState.LEASED, lease_expires_at=NOW)
        held = a_job(state=JobState.LEASED, lease_expires_at=NOW + timedelta(microseconds=1))
        done = a_job(state=JobState.DONE, lease_expires_at=NOW)
        add(database, "jobs", passed, held, done)
        expired = database.run_blocking(lambda tx: tx.jobs.expired(NOW))
        assert [job for job in (passed, held, done) if job in expired] == [passed]


class TestMeasurements:
    def test_a_result_that_arrives_twice_is_stored_once(self, database: Database) -> None:
        measurement = a_measurement()
        assert database.run_blocking(lambda tx: tx.measurements.add_once(measurement))
        again = replace(measurement, detail="another")
        assert not database.run_blocking(lambda tx: tx.measurements.add_once(again))
        assert database.run_blocking(lambda tx: tx.measurements.get(measurement.result_id)) == measurement

    def test_measurements_are_listed_by_artifact_and_device(self, database: Database) -> None:
        one, other = unique("device"), unique("device")
        here = a_measurement(device_id=one, artifact_sha256=unique("artifact"))
        there = a_measurement(device_id=other, artifact_sha256=here.artifact_sha256)
        else_ = a_measurement(device_id=one, artifact_sha256=unique("artifact"))

        def work(tx: Transaction) -> None:
            for measurement in (here, there, else_):
                tx.measurements.add_once(measurement)
            assert tx.measurements.list(artifact_sha256=here.artifact_sha256) == (here, there)
            assert tx.measurements.list(device_id=one) == (here, else_)
            assert tx.measurements.list(here.artifact_sha256, one) == (here,)
            assert tx.measurements.list()[-3:] == (here, there, else_)

        database.run_blocking(work)
