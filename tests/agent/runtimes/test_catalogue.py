from __future__ import annotations

import asyncio
import sys
from importlib import metadata
from pathlib import Path

import pytest

from agent.runtimes import catalogue
from agent.runtimes.catalogue import RuntimeEntry, choose_runtime, load_runtime, probe_runtimes, runtime_entries
from agent.runtimes.errors import RuntimeUnavailableError

WILD_RUNTIME = Path(__file__).parents[3] / "tests" / "fakes" / "wild_runtime"

BROKEN = """
import os, sys, time
from agent.runtimes.errors import UnsupportedModelError
from agent.runtimes.onnxruntime import OnnxRuntime

class Broken(OnnxRuntime):
    def providers(self):
        return ("first", "second")
    def load(self, path, *, threads, provider=""):
        print("chatter of a library")
        if provider == "second":
            {second}
        {first}
        return super().load(path, threads=threads)
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes a package that offers one runtime by an entry point, to this process and to those that it starts."""

    def make(source: str, *, name: str = "broken") -> None:
        information = tmp_path / "broken-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(f"[fleetfit.runtimes]\n{name} = broken_runtime:Broken\n")
        (tmp_path / "broken_runtime.py").write_text(source)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    yield make
    sys.modules.pop("broken_runtime", None)


def probed() -> dict[str, tuple[str, ...]]:
    return {facts.name: facts.providers for facts in asyncio.run(probe_runtimes())}


def test_an_installed_runtime_that_works_is_found():
    (facts,) = [facts for facts in asyncio.run(probe_runtimes()) if facts.name == "onnxruntime"]
    assert facts.version == metadata.version("onnxruntime")
    assert facts.formats == ("onnx",)
    assert "CPUExecutionProvider" in facts.providers
    # This build lists it, and it runs no model of ours.
    assert "AzureExecutionProvider" not in facts.providers


def test_a_runtime_of_another_package_is_found(monkeypatch):
    monkeypatch.syspath_prepend(str(WILD_RUNTIME))
    monkeypatch.setenv("PYTHONPATH", str(WILD_RUNTIME))
    assert probed()["wild"] == ("wild",)


@pytest.mark.parametrize(
    ("first", "second", "providers"),
    [
        ("pass", "pass", ("first", "second")),
        ("pass", "raise UnsupportedModelError('no')", ("first",)),
        ("pass", "os.abort()", ("first",)),
        ("pass", "time.sleep(600)", ("first",)),
    ],
)
def test_only_providers_that_ran_the_model_count(package, monkeypatch, first, second, providers):
    monkeypatch.setattr(catalogue, "_PROBE_TIMEOUT_S", 5.0)
    package(BROKEN.format(first=first, second=second))
    assert probed()["broken"] == providers


@pytest.mark.parametrize(
    "source", ["import nothing_of_that_name", "class Other: pass", BROKEN.format(first="sys.exit()", second="pass")]
)
def test_a_runtime_that_does_not_work_is_absent(package, source):
    package(source)
    assert "broken" not in probed()


def test_a_built_in_name_cannot_be_taken(package):
    package("", name="onnxruntime")
    assert [entry.target for entry in runtime_entries() if entry.name == "onnxruntime"] == [
        "agent.runtimes.onnxruntime:OnnxRuntime"
    ]


def test_the_first_runtime_that_takes_the_format_is_chosen():
    assert choose_runtime("onnx").name == "onnxruntime"
    assert choose_runtime("onnx", name="onnxruntime").name == "onnxruntime"


def test_a_format_that_only_another_package_takes_finds_it(monkeypatch):
    monkeypatch.syspath_prepend(str(WILD_RUNTIME))
    assert choose_runtime("wild").name == "wild"


@pytest.mark.parametrize(
    ("artifact_format", "name", "words"),
    [
        ("nobodys", "", "no runtime here loads .nobodys files: none is made for it"),
        ("onnx", "unheard", "no runtime 'unheard'; known are onnxruntime, litert, tflite-runtime"),
        ("tflite", "onnxruntime", "onnxruntime does not load .tflite files"),
    ],
)
def test_what_cannot_be_chosen_is_explained(artifact_format, name, words):
    with pytest.raises(RuntimeUnavailableError, match=words):
        choose_runtime(artifact_format, name=name)


def test_a_library_that_is_missing_is_named_with_what_to_install():
    entry = RuntimeEntry(name="far", target="nothing.at.all:There", library="nothing", hint="install fleetfit[far]")
    with pytest.raises(RuntimeUnavailableError, match=r"far cannot be loaded: .*nothing.*; install fleetfit\[far\]"):
        load_runtime(entry)
