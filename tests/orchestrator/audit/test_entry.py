from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.audit.entry import BEGINNING, chained, verify
from tests.fakes.release_server import NOON


def a_log(length=5):
    entries = []
    for number in range(length):
        entries.append(
            chained(
                entries[-1] if entries else None,
                recorded_at=NOON + timedelta(seconds=number),
                actor="token ci (operator)",
                method="RolloutService/CreateRollout",
                parameters=f"release=digits:{number}",
                outcome="allowed",
                request_id=f"request-{number}",
            )
        )
    return entries


def test_an_untouched_log_holds():
    entries = a_log()
    verdict = verify(entries)
    assert (verdict.entries, verdict.first_broken, verdict.last_hash) == (5, None, entries[-1].hash)
    assert [entry.number for entry in entries] == [1, 2, 3, 4, 5]


def test_an_empty_log_holds():
    assert verify([]).last_hash == BEGINNING


@pytest.mark.parametrize("change", [
    {"actor": "token other (admin)"}, {"method": "x"}, {"parameters": ""}, {"outcome": "denied"}, {"request_id": "x"},
    {"recorded_at": NOON - timedelta(microseconds=1)}, {"number": 7}, {"previous_hash": "1" * 64}, {"hash": "1" * 64},
])  # fmt: skip
def test_a25_an_altered_entry_is_named(change):
    entries = a_log()
    entries[2] = replace(entries[2], **change)
    assert verify(entries).first_broken == 3


def test_a25_an_altered_entry_with_a_new_hash_breaks_the_next_link():
    entries = a_log()
    forged = chained(
        entries[1], recorded_at=NOON, actor="nobody", method="m", parameters="", outcome="allowed", request_id="r"
    )
    entries[2] = forged
    assert verify(entries).first_broken == 4


def test_a25_an_entry_taken_out_or_put_in_is_noticed():
    entries = a_log()
    assert verify(entries[:1] + entries[2:]).first_broken == 2
    assert verify(entries[1:]).first_broken == 1
    assert verify([*entries[:3], entries[2], *entries[3:]]).first_broken == 4
