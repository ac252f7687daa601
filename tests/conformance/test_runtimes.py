"""What every runtime that is installed here keeps to, whoever wrote it."""

from __future__ import annotations

import gc
import tracemalloc
from importlib.util import find_spec

import numpy
import pytest

from agent.runtimes.catalogue import RuntimeEntry, load_runtime, runtime_entries
from agent.runtimes.errors import RuntimeUnavailableError, UnsupportedModelError
from agent.runtimes.runtime import Model, Runtime

FEED = numpy.array([[1.0, -2.0, 3.5, 0.25]], dtype=numpy.float32)
INSTALLED = [entry.name for entry in runtime_entries() if find_spec(entry.library) is not None]


def entry_of(name: str) -> RuntimeEntry:
    (entry,) = [entry for entry in runtime_entries() if entry.name == name]
    return entry


@pytest.mark.parametrize("name", [entry.name for entry in runtime_entries()])
def test_a_runtime_that_is_installed_keeps_to_this(name):
    if name not in INSTALLED:
        pytest.skip(f"{name} is not installed: {entry_of(name).hint}")
    assert load_runtime(entry_of(name)).name == name


@pytest.fixture(params=INSTALLED, scope="module")
def runtime(request) -> Runtime:
    return load_runtime(entry_of(request.param))


@pytest.fixture
def path(runtime, tmp_path):
    path = tmp_path / f"probe.{runtime.formats[0]}"
    path.write_bytes(runtime.probe_model())
    return path


@pytest.fixture
def model(runtime, path) -> Model:
    return runtime.load(path, threads=1)


def outputs_of(model: Model, feed) -> numpy.ndarray:
    model.bind([feed])
    model.run()
    (output,) = model.fetch()
    return output


def test_it_says_what_it_is(runtime):
    assert runtime.version()
    assert runtime.formats
    assert runtime.providers()


def test_a_model_says_what_it_takes_and_gives(runtime, model):
    for specs in (model.inputs, model.outputs):
        (spec,) = specs
        assert spec.dtype == "float32"
        assert spec.shape in {(None, 4), (1, 4)}
    assert model.provider == runtime.providers()[0]


def test_it_computes(model):
    assert numpy.array_equal(outputs_of(model, FEED), FEED * 2)


def test_new_inputs_give_new_outputs_and_old_outputs_stay(model):
    first = outputs_of(model, FEED)
    second = outputs_of(model, FEED * 10)
    assert numpy.array_equal(first, FEED * 2)
    assert numpy.array_equal(second, FEED * 20)


def test_bound_inputs_are_copies(model):
    feed = FEED.copy()
    model.bind([feed])
    feed[:] = 99
    model.run()
    assert numpy.array_equal(model.fetch()[0], FEED * 2)


def test_a_run_can_be_repeated(model):
    model.bind([FEED])
    for _ in range(5):
        model.run()
    assert numpy.array_equal(model.fetch()[0], FEED * 2)


def test_the_batch_may_change_and_change_back(model):
    for count in (3, 1, 2):
        feed = numpy.repeat(FEED, count, axis=0)
        assert numpy.array_equal(outputs_of(model, feed), feed * 2)


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_any_number_of_threads_computes_the_same(runtime, path, threads):
    assert numpy.array_equal(outputs_of(runtime.load(path, threads=threads), FEED), FEED * 2)


def test_each_model_is_its_own(runtime, path):
    first, second = runtime.load(path, threads=1), runtime.load(path, threads=1)
    first.bind([FEED])
    second.bind([FEED * 10])
    first.run()
    second.run()
    assert numpy.array_equal(first.fetch()[0], FEED * 2)


def test_every_provider_that_works_computes_the_same(runtime, path):
    worked = 0
    for provider in runtime.providers():
        try:
            model = runtime.load(path, threads=1, provider=provider)
        except (UnsupportedModelError, RuntimeUnavailableError):
            continue
        assert model.provider == provider
        assert numpy.array_equal(outputs_of(model, FEED), FEED * 2)
        worked += 1
    assert worked


def test_an_unknown_provider_is_unavailable(runtime, path):
    with pytest.raises(RuntimeUnavailableError):
        runtime.load(path, threads=1, provider="NobodysProvider")


@pytest.mark.parametrize("content", [b"", b"no model", bytes(4096)])
def test_what_is_no_model_is_unsupported(runtime, tmp_path, content):
    path = tmp_path / f"broken.{runtime.formats[0]}"
    path.write_bytes(content)
    with pytest.raises(UnsupportedModelError):
        runtime.load(path, threads=1)


def test_a_missing_file_is_unsupported(runtime, tmp_path):
    with pytest.raises(UnsupportedModelError):
        runtime.load(tmp_path / "nothing", threads=1)


def test_the_wrong_number_of_inputs_is_unsupported(model):
    for feeds in ([], [FEED, FEED]):
        with pytest.raises(UnsupportedModelError):
            model.bind(feeds)


def test_the_timed_path_leaves_no_memory_behind(model):
    model.bind([FEED])
    tracemalloc.start()
    try:
        sizes = []
        for _ in range(3):
            for _ in range(1000):
                model.run()
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # The first round may fill caches. Then less than one pointer for each run: whatever else is remembered is no leak.
    assert sizes[2] - sizes[1] < 8 * 1000
