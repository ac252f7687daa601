from __future__ import annotations

import subprocess
import sys

import pytest

import pipelines


@pytest.mark.parametrize(
    "module",
    [
        "pipelines",
        "pipelines.recipe",
        "pipelines.recipe_file",
        "pipelines.registry",
        "pipelines.space",
        "pipelines.errors",
        "pipelines.recipes.ready_made",
    ],
)
def test_recipes_are_read_without_loading_pytorch(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert not set(output.split()) & {"torch", "onnx", "onnxruntime", "numpy"}


def test_a_recipe_with_every_pass_is_checked_without_loading_pytorch() -> None:
    code = "import sys, pipelines; pipelines.default_recipes(formats=('onnx', 'tflite')); print('torch' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output.strip() == "False"


def test_the_public_surface_is_the_one_that_is_written_down() -> None:
    assert all(getattr(pipelines, name) is not None for name in pipelines.__all__)
    assert dir(pipelines) == sorted(pipelines.__all__)


def test_compress_is_the_function_even_after_its_module_was_imported() -> None:
    code = (
        "from pipelines.compress import train_baseline\n"
        "import pipelines\n"
        "from pipelines import compress\n"
        "assert compress is pipelines.compress and callable(compress), compress\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_not_public_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'squeeze'"):
        pipelines.squeeze  # noqa: B018
