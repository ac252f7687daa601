import pytest

from tests.orchestrator.rollouts.fleets import Fleet


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path)
    yield fleet
    fleet.database.close()
