from __future__ import annotations

import pytest

from agent.profiling import contention
from agent.profiling.contention import Bucket, ContentionMonitor, Counters
from agent.profiling.host import Host

TENTH_NS = 100_000_000
START = Counters(time_ns=0, preemptions=10, major_faults=3, waited_ns=50, pressure_us=70)


def bucket(*, preemptions=20, major_faults=0, waited_ns=1_000_000, pressure_us=2_000, duration_ns=TENTH_NS) -> Bucket:
    after = Counters(
        time_ns=duration_ns,
        preemptions=START.preemptions + preemptions,
        major_faults=START.major_faults + major_faults,
        waited_ns=None if waited_ns is None else 50 + waited_ns,
        pressure_us=None if pressure_us is None else 70 + pressure_us,
    )
    return Bucket(before=START, after=after)


@pytest.mark.parametrize(
    ("changes", "contaminated"),
    [
        ({}, False),
        ({"waited_ns": 6_000_000}, True),
        ({"waited_ns": 6_000_000, "duration_ns": 10 * TENTH_NS}, False),
        ({"pressure_us": 15_000}, False),
        ({"pressure_us": 25_000}, True),
        ({"pressure_us": None}, False),
        ({"preemptions": 400}, False),
        ({"major_faults": 1}, True),
        ({"waited_ns": None}, False),
        ({"waited_ns": None, "pressure_us": None}, False),
        ({"waited_ns": None, "pressure_us": 6_000}, True),
        ({"waited_ns": None, "pressure_us": None, "preemptions": 40}, True),
    ],
)
def test_a_bucket_is_contaminated_when_something_else_ran(changes, contaminated):
    assert bucket(**changes).contaminated is contaminated


def test_the_share_is_one_of_time(tmp_path, monkeypatch):
    pressure, scheduling = tmp_path / "proc" / "pressure" / "cpu", tmp_path / "schedstat"
    pressure.parent.mkdir(parents=True)
    pressure.write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
    monkeypatch.setattr(contention, "_SCHEDULING", scheduling)

    def set_wait(waited_s: int) -> None:
        scheduling.write_text(f"1000 {waited_s * 10**9} 5\n")

    set_wait(0)
    monitor = ContentionMonitor(Host(tmp_path), 0)
    assert monitor.contaminated_fraction() == 0.0
    monitor.end_bucket(15 * 10**9)
    monitor.end_bucket(15 * 10**9)
    set_wait(3)
    monitor.restart(16 * 10**9)
    set_wait(6)
    monitor.end_bucket(21 * 10**9)
    assert monitor.contaminated_fraction() == 0.25


@pytest.mark.parametrize("text", [None, "", "0 0 0\n", "what\n"])
def test_a_kernel_that_does_not_count_is_not_believed(tmp_path, monkeypatch, text):
    monkeypatch.setattr(contention, "_SCHEDULING", tmp_path / "schedstat")
    if text is not None:
        (tmp_path / "schedstat").write_text(text)
    assert contention._waited_ns() is None
