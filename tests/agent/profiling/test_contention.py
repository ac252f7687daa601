from __future__ import annotations

import pytest

from agent.profiling.contention import Bucket, ContentionMonitor
from agent.profiling.host import Host

TENTH_NS = 100_000_000


def bucket(**changes) -> Bucket:
    return Bucket(**{"duration_ns": TENTH_NS, "preemptions": 1, "major_faults": 0, "pressure_us": 2000, **changes})


@pytest.mark.parametrize(
    ("changes", "contaminated"),
    [
        ({}, False),
        ({"pressure_us": None}, False),
        ({"pressure_us": 6000}, True),
        ({"preemptions": 4}, False),
        ({"preemptions": 5}, True),
        ({"preemptions": 30, "duration_ns": 10 * TENTH_NS}, False),
        ({"major_faults": 1}, True),
    ],
)
def test_a_bucket_is_contaminated_when_something_else_ran(changes, contaminated):
    assert bucket(**changes).contaminated is contaminated


def test_the_share_is_one_of_time(tmp_path):
    pressure = tmp_path / "proc" / "pressure" / "cpu"
    pressure.parent.mkdir(parents=True)

    def set_pressure(total_us: int) -> None:
        pressure.write_text(f"some avg10=0.00 avg60=0.00 avg300=0.00 total={total_us}\n")

    set_pressure(0)
    monitor = ContentionMonitor(Host(tmp_path), 0)
    assert monitor.contaminated_fraction() == 0.0
    # Fifteen seconds, so that what this machine really does to the test is lost in them.
    monitor.end_bucket(15_000_000_000)
    set_pressure(3_000_000)
    monitor.restart(16_000_000_000)
    set_pressure(6_000_000)
    monitor.end_bucket(21_000_000_000)
    assert monitor.contaminated_fraction() == 0.25
