from pathlib import Path

import pytest

from orchestrator.config import Config, default_data_dir


def test_the_data_directory_is_the_users_own_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FLEETFIT_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_data_dir() == tmp_path / "fleetfit"


def test_the_environment_names_another_data_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLEETFIT_DATA_DIR", str(tmp_path))
    assert Config().data_dir == tmp_path
    monkeypatch.setenv("FLEETFIT_DATA_DIR", "~/fleet")
    assert Config().data_dir == Path.home() / "fleet"


def test_everything_lies_in_the_data_directory_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path)
    assert config.database == f"sqlite:///{tmp_path}/fleetfit.db"
    assert config.artifacts == str(tmp_path / "artifacts")
    elsewhere = Config(data_dir=tmp_path, database_url="postgresql://db/fleet", artifacts_url="s3://bucket/fleet")
    assert (elsewhere.database, elsewhere.artifacts) == ("postgresql://db/fleet", "s3://bucket/fleet")


def test_only_this_machine_can_reach_it_unless_it_is_said_otherwise() -> None:
    assert Config().host == "127.0.0.1"
