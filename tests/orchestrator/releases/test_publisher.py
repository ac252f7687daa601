import asyncio
import hashlib
import io
import json
import shutil
from dataclasses import replace

import numpy
import pytest

from agent.update.manifest import parse_manifest
from agent.update.metadata import prove
from agent.update.proof import ProofRequest
from orchestrator.errors import ConflictError, InvalidInputError, NotFoundError, OperationError
from orchestrator.releases.publisher import Publisher
from orchestrator.releases.repository import ReleaseRepository
from orchestrator.search.budget import Verdict
from orchestrator.search.search import Search, SearchState
from orchestrator.search.spec import parse_search_spec
from orchestrator.search.trial import Trial, TrialState
from orchestrator.storage.database import Database
from orchestrator.storage.folder_blob_store import FolderBlobStore
from tests.fakes.release_server import Clock

ARTIFACT = b"an artifact " * 100


def golden() -> bytes:
    buffer = io.BytesIO()
    numpy.savez(buffer, input_0=numpy.zeros((2, 64), numpy.float32), output_0=numpy.zeros((2, 10), numpy.float32))
    return buffer.getvalue()


class House:
    """A publisher on a real database, a real folder of blobs and a real repository."""

    def __init__(self, folder):
        self.folder = folder
        self.clock = Clock()
        self.database = Database.open(f"sqlite:///{folder / 'fleetfit.db'}")
        self.blobs = FolderBlobStore(folder / "blobs")
        self.search = Search(
            id="search-1",
            name="digits-search",
            state=SearchState.SUCCEEDED,
            spec=parse_search_spec(
                {"name": "digits-search", "devices": ["pi"], "budgets": {"latency_p95": "20ms"}, "seed": 7}
            ),
            workload_filename="digits.py",
            workload_sha256="b" * 64,
            device_ids=("device-1",),
            created_at=self.clock(),
            metric_name="accuracy",
        )
        self.trials = {}
        self.restart()

    def restart(self):
        self.repository = ReleaseRepository.open(
            self.folder / "repository", keys_directory=self.folder / "keys", now=self.clock()
        )
        self.publisher = Publisher(
            database=self.database, blobs=self.blobs, repository=self.repository, clock=self.clock
        )

    def trial(self, number=1, artifact=ARTIFACT, **changes):
        trial = Trial(
            id=f"trial-{number}",
            search_id="search-1",
            number=number,
            title="structured_prune 0.5 + int8",
            recipe_json='{"passes":[{"pass":"int8"}]}',
            state=TrialState.FEASIBLE,
            created_at=self.clock(),
            format="onnx",
            size_bytes=len(artifact),
            artifact_sha256=self.blobs.put(artifact),
            golden_sha256=self.blobs.put(golden()),
            golden_tolerance=0.05,
            accuracy=0.97,
            verdicts=(
                Verdict(budget="latency_p95_ms", limit=20.0, value=1.25, held=True, device="pi"),
                Verdict(budget="energy_mj", limit=5.0, value=None, held=False, device="pi"),
            ),
        )
        return replace(trial, **changes)

    def publish(self, trial=None, *, name="digits", version="1"):
        return asyncio.run(
            self.publisher.publish(search=self.search, trial=trial or self.trial(), name=name, version=version)
        )

    def releases(self):
        return asyncio.run(self.database.run(lambda tx: tx.releases.list()))

    def served(self, path):
        try:
            return asyncio.run(self.publisher.repository_file(path))
        except NotFoundError:
            return None

    def proven(self, release):
        """What a device that has just joined makes of the release, by the agent's own verifier."""
        root = self.folder / "root.json"
        root.write_bytes(self.publisher.trust_root())
        request = ProofRequest(
            path=release.manifest_path,
            sha256=release.manifest_sha256,
            trust_root=root,
            directory=self.folder / "device",
            now=self.clock(),
        )
        return prove(request, self.served)


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    yield house
    house.database.close()


def test_a_release_is_proven_to_a_device_and_names_the_trials_bytes(house):
    release = house.publish()
    manifest = parse_manifest(house.proven(release))
    assert manifest.sha256 == release.manifest_sha256
    assert manifest.file.sha256 == hashlib.sha256(ARTIFACT).hexdigest() == release.artifact_sha256
    assert (manifest.file.path, manifest.file.size_bytes) == ("model.onnx", len(ARTIFACT))
    assert manifest.golden.sha256 == hashlib.sha256(golden()).hexdigest()
    assert manifest.golden.tolerance == 0.05


def test_the_manifest_says_what_was_measured_and_where_it_comes_from(house):
    document = json.loads(house.publish().manifest_json)
    assert document["budgets"] == [
        {"budget": "latency_p95_ms", "limit": 20.0, "value": 1.25, "held": True, "device": "pi"},
        {"budget": "energy_mj", "limit": 5.0, "value": None, "held": False, "device": "pi"},
    ]
    assert document["metrics"] == [{"name": "accuracy", "value": 0.97}]
    assert document["io"]["inputs"] == [{"name": "input_0", "dtype": "float32", "shape": [2, 64]}]
    provenance = document["provenance"]
    assert provenance["search_id"] == "search-1"
    assert (provenance["trial_id"], provenance["trial_number"], provenance["seed"]) == ("trial-1", 1, 7)
    assert provenance["recipe_sha256"] == hashlib.sha256(b'{"passes":[{"pass":"int8"}]}').hexdigest()
    assert provenance["tools"]["torch"].startswith("2.")


def test_the_release_is_noted_as_it_was_signed(house):
    release = house.publish(version="1.0")
    assert house.releases() == (release,)
    assert (release.title, release.counter, release.manifest_path) == ("digits:1.0", 1, "digits/1.0.json")
    assert release.artifact_size_bytes == len(ARTIFACT)
    assert house.proven(release) == release.manifest_json.encode()


def test_the_same_trial_under_the_same_name_and_version_is_the_same_release(house):
    first = house.publish()
    timestamp = house.served("metadata/timestamp.json")
    assert house.publish() == first
    assert house.releases() == (first,)
    assert house.served("metadata/timestamp.json") == timestamp


def test_a_version_is_of_one_trial_for_ever(house):
    house.publish()
    with pytest.raises(ConflictError, match="'digits:1' exists already") as caught:
        house.publish(house.trial(2, b"another"))
    assert caught.value.reason == "VERSION_TAKEN"


def test_the_counter_rises_for_each_name_by_itself(house):
    for version, name in (("1", "digits"), ("2", "digits"), ("1", "words"), ("0.9", "digits")):
        house.publish(house.trial(hash((name, version)) % 1000), name=name, version=version)
    counters = {release.title: release.counter for release in house.releases()}
    assert counters == {"digits:1": 1, "digits:2": 2, "words:1": 1, "digits:0.9": 3}


def test_without_a_version_the_next_number_is_chosen_and_the_same_trial_keeps_its_own(house):
    first = house.publish(house.trial(1), version="")
    assert first.version == "1"
    house.publish(house.trial(2), version="2")
    third = house.publish(house.trial(3), version="")
    assert (third.version, third.counter) == ("3", 3)
    assert house.publish(house.trial(1), version="") == first
    house.publish(house.trial(4), version="5")
    assert house.publish(house.trial(5), version="").version == "6"


def test_many_at_once_get_counters_of_their_own(house):
    async def publish_all():
        return await asyncio.gather(
            *(
                house.publisher.publish(search=house.search, trial=house.trial(n), name="digits", version=str(n))
                for n in range(1, 9)
            )
        )

    releases = asyncio.run(publish_all())
    assert sorted(release.counter for release in releases) == list(range(1, 9))
    for release in releases:
        assert house.proven(release) == release.manifest_json.encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"artifact_sha256": ""},
        {"golden_sha256": ""},
        {"golden_tolerance": None},
        {"state": TrialState.QUEUED, "artifact_sha256": ""},
    ],
)
def test_a_trial_that_was_not_trained_is_no_release(house, changes):
    with pytest.raises(ConflictError, match="has no trained artifact"):
        house.publish(house.trial(**changes))
    assert house.releases() == ()


@pytest.mark.parametrize(
    ("name", "version"),
    [("Digits", "1"), ("", "1"), ("../x", "1"), ("digits", "a/b"), ("digits", "1..2"), ("d" * 64, "1")],
)
def test_names_and_versions_that_cannot_be_are_refused_and_leave_nothing(house, name, version):
    with pytest.raises(InvalidInputError, match=r"cannot be"):
        house.publish(name=name, version=version)
    assert house.releases() == ()
    assert house.served("metadata/2.targets.json") is None


@pytest.mark.parametrize("which", ["artifact", "golden"])
def test_bytes_that_are_damaged_are_not_signed(house, which):
    trial = house.trial()
    sha256 = trial.artifact_sha256 if which == "artifact" else trial.golden_sha256
    [path] = (house.folder / "blobs").rglob(sha256)
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(OperationError, match="damaged") as caught:
        house.publish(trial)
    assert caught.value.reason == "BLOB_DAMAGED"
    assert house.releases() == ()


def test_bytes_that_are_gone_are_not_signed(house):
    trial = house.trial()
    house.blobs.delete(trial.artifact_sha256)
    with pytest.raises(NotFoundError):
        house.publish(trial)
    assert house.releases() == ()


def test_a_golden_file_that_proves_nothing_is_not_signed(house):
    with pytest.raises(OperationError, match="golden file"):
        house.publish(house.trial(golden_sha256=house.blobs.put(b"not an npz")))
    assert house.releases() == ()


def test_a_release_that_was_noted_and_not_yet_signed_is_signed_at_the_next_start(house, monkeypatch):
    class KilledError(BaseException):
        pass

    def die(*_args, **_options):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(ReleaseRepository, "publish", die)
        with pytest.raises(KilledError):
            house.publish()
    [release] = house.releases()
    house.restart()
    asyncio.run(house.publisher.start())
    assert house.proven(release) == release.manifest_json.encode()


def test_a_start_brings_back_every_release_that_the_repository_lacks_in_order(house):
    releases = [house.publish(house.trial(n), version=str(n)) for n in range(1, 4)]
    shutil.rmtree(house.folder / "repository")
    house.restart()
    asyncio.run(house.publisher.start())
    for release in releases:
        assert house.proven(release) == release.manifest_json.encode()


def test_a_manifest_that_was_altered_in_the_database_is_not_signed(house, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ReleaseRepository, "publish", lambda *_args, **_options: None)
        release = house.publish()
    forged = replace(release, id="forged", version="2", counter=2, manifest_json=release.manifest_json + " ")
    asyncio.run(house.database.run(lambda tx: tx.releases.add(forged)))
    with pytest.raises(OperationError, match="digits:2 in the database is not the one that was noted"):
        asyncio.run(house.publisher.start())
    assert house.served(f"targets/digits/{forged.manifest_sha256}.2.json") is None


def test_a_start_signs_again_what_has_expired(house):
    release = house.publish()
    house.clock.pass_time(days=30)
    house.restart()
    asyncio.run(house.publisher.start())
    assert house.proven(release)


def test_signatures_are_kept_fresh_for_as_long_as_it_runs(house, monkeypatch, caplog):
    monkeypatch.setattr("orchestrator.releases.publisher._REFRESH_INTERVAL_S", 0.001)
    release = house.publish()

    async def live():
        keeping = asyncio.create_task(house.publisher.keep_fresh())
        before = await house.publisher.repository_file("metadata/timestamp.json")
        house.clock.pass_time(hours=13)
        while await house.publisher.repository_file("metadata/timestamp.json") == before:
            await asyncio.sleep(0.001)
        # What goes wrong is told, and tried again.
        shutil.move(house.folder / "repository", house.folder / "away")
        while "cannot be signed again" not in caplog.text:
            await asyncio.sleep(0.001)
        shutil.move(house.folder / "away", house.folder / "repository")
        assert not keeping.done()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    asyncio.run(live())
    assert house.proven(release)


def test_a_release_is_signed_again_under_a_higher_counter_for_the_way_back(house):
    first = house.publish(version="1.0")
    second = house.publish(house.trial(2, b"another"), version="1.1")
    again = asyncio.run(house.publisher.republish(first))
    assert (again.version, again.counter) == ("1.0-again-2", second.counter + 1)
    assert (again.artifact_sha256, again.trial_id) == (first.artifact_sha256, first.trial_id)
    manifest = json.loads(again.manifest_json)
    assert {**manifest, "counter": 1, "version": "1.0"} == json.loads(first.manifest_json)
    assert house.proven(again) is not None
    # Asked again, it is there already.
    assert asyncio.run(house.publisher.republish(first)) == again
    assert len(house.releases()) == 3


def test_what_is_the_newest_already_needs_no_other_signature(house):
    first = house.publish()
    assert asyncio.run(house.publisher.republish(first)) == first
