import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.storage.database import Database
from tests.fakes.small_world import World
from tests.orchestrator.search.scenes import Scene, migrated_copy


@pytest.fixture(scope="session")
def database_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "fleetfit.db"
    Database.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def make_scene(database_template: Path, tmp_path: Path) -> Callable[..., Scene]:
    count = 0

    def make(world: World, **options: Any) -> Scene:
        nonlocal count
        count += 1
        folder = tmp_path / hashlib.sha256(str(count).encode()).hexdigest()[:8]
        folder.mkdir()
        migrated_copy(database_template, folder)
        return Scene(folder=folder, world=world, **options)

    return make
