from dataclasses import dataclass

import pytest

from agent.errors import IncompatibleReleaseError
from agent.update.compatibility import check_not_older, suitable_runtime
from agent.update.manifest import parse_manifest
from orchestrator.releases.manifest import Compatibility
from tests.fakes.release_server import ReleaseServer


@dataclass(frozen=True)
class Runtime:
    name: str
    formats: tuple[str, ...]


@dataclass(frozen=True)
class Device:
    architecture: str = "aarch64"
    runtimes: tuple[Runtime, ...] = (Runtime("litert", ("tflite",)), Runtime("onnxruntime", ("onnx",)))


@pytest.fixture
def manifest(tmp_path):
    def make(counter=1, **limits):
        return parse_manifest(ReleaseServer(tmp_path).manifest(counter=counter, compat=Compatibility(**limits)))

    return make


def test_the_first_runtime_that_loads_the_format_is_chosen(manifest):
    assert suitable_runtime(manifest(), Device()) == "onnxruntime"


def test_a_release_without_limits_runs_on_every_architecture(manifest):
    assert suitable_runtime(manifest(), Device(architecture="riscv64")) == "onnxruntime"


def test_a_release_for_another_architecture_is_refused(manifest):
    with pytest.raises(IncompatibleReleaseError, match="this device is aarch64"):
        suitable_runtime(manifest(architectures=("x86_64", "armv7l")), Device())


def test_a_release_for_another_runtime_is_refused(manifest):
    with pytest.raises(IncompatibleReleaseError, match="with executorch; runtimes here: litert, onnxruntime"):
        suitable_runtime(manifest(runtimes=("executorch",)), Device())


def test_a_format_that_no_runtime_loads_is_refused(manifest):
    with pytest.raises(IncompatibleReleaseError, match="runtimes here: none"):
        suitable_runtime(manifest(), Device(runtimes=()))


def test_only_a_lower_counter_is_older(manifest):
    check_not_older(manifest(counter=5), 5)
    check_not_older(manifest(counter=6), 5)
    with pytest.raises(IncompatibleReleaseError, match="rollback refused: digits:1 has counter 4"):
        check_not_older(manifest(counter=4), 5)
