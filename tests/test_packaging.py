"""What is shipped: the wheel's packages, and how light a device's installation is."""

import importlib.metadata
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parent.parent
MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=REPOSITORY, check=True, capture_output=True,
    )  # fmt: skip
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_exactly_our_packages(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "agent", "fleetfit", "orchestrator", "pipelines",
    }  # fmt: skip


def test_the_wheel_holds_what_is_not_python(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert "orchestrator/cli/examples/digits.py" in names
    assert any(re.fullmatch(r"pipelines/recipes/.+\.yaml", name) for name in names)
    assert any(re.fullmatch(r"orchestrator/storage/migrations/versions/.+\.py", name) for name in names)
    assert any(name.startswith("orchestrator/search/") and name.endswith((".html", ".j2")) for name in names)


@pytest.mark.parametrize("package", ["agent", "agent.cli", "agent.app"])
def test_the_agent_loads_no_heavy_library(package: str) -> None:
    heavy = {"torch", "ray", "numpy", "onnxruntime", "sqlalchemy", "pydantic", "rich", "orchestrator", "pipelines"}
    assert not _modules_after_import(package) & heavy


@pytest.mark.parametrize("package", ["orchestrator.cli.entry", "orchestrator.client", "orchestrator.api.server"])
def test_the_cli_and_the_api_load_no_heavy_library(package: str) -> None:
    assert not _modules_after_import(package) & {"torch", "ray", "onnx", "onnxruntime"}


def test_a_device_with_onnxruntime_needs_at_most_200_mebibytes() -> None:
    names = _closure({"fleetfit"}, extras={"onnx"})
    assert "onnxruntime" in names
    assert not names & {"torch", "ray", "onnx", "pydantic", "click"}
    size_bytes = sum(_size_bytes(name) for name in names - {"fleetfit"})
    assert size_bytes <= 200 * MEBIBYTE, f"{size_bytes / MEBIBYTE:.0f} MiB: {sorted(names)}"


def _modules_after_import(package: str) -> set[str]:
    code = f"import sys, {package}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def _closure(roots: set[str], *, extras: set[str]) -> set[str]:
    """Names of all distributions that the roots need, the roots' extras included."""
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for line in importlib.metadata.requires(name) or ():
            requirement = Requirement(line)
            chosen = extras if name in roots else {""}
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in {"", *chosen}):
                waiting.append(re.sub(r"[-_.]+", "-", requirement.name).lower())
    return seen


def _size_bytes(name: str) -> int:
    files = importlib.metadata.files(name) or ()
    return sum(path.stat().st_size for file in files if (path := Path(str(file.locate()))).is_file())
