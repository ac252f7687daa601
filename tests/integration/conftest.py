from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.fleet import LocalFleet, local_fleet

# Two candidates, and budgets that both hold; measured just long enough for a p95.
SPEC = """\
workload: {workload}
name: corners
devices: [bench]
budgets:
  latency_p95: 2s
  memory: 2GB
  size: 1MB
  accuracy_drop: 30%
measuring:
  samples: 80
  minimum_duration: 100ms
  maximum_duration: 3s
recipes:
  - passes: [{{pass: structured_prune, amount: 0.5}}, {{pass: int8}}]
  - passes: [{{pass: low_rank, rank: 0.4}}]
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[LocalFleet]:
    with local_fleet(tmp_path) as fleet:
        yield fleet


@pytest.fixture
def spec(tmp_path: Path) -> str:
    """Path of the spec of a small search."""
    path = tmp_path / "search.yaml"
    path.write_text(SPEC.format(workload=Path(__file__).parent / "workload.py"))
    return str(path)
