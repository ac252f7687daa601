from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.profiling.decoding import GarbledError
from agent.profiling.measurement import Figure, Latency, Memory, Numerics, Outcome, Provenance, Quality
from agent.profiling.worker_protocol import (
    BlockKind,
    EnergyBlock,
    Failure,
    Loaded,
    MeterWanted,
    Progress,
    Report,
    decode_message,
    encode_message,
)

REPORT = Report(
    loaded=Loaded(runtime="r", runtime_version="1", provider="p"),
    latency=Latency(
        p50_ms=Figure(value=1.0, lower=0.9, upper=1.1), p90_ms=None, p95_ms=None, p99_ms=None, mean_ms=1.0,
        minimum_ms=0.5, sample_count=7, load_ms=3.0, first_inference_ms=2.0, warm_up_count=10, steady_state=True,
        quality=Quality.LOW, remarks=("reference moved by +9%",),
    ),
    memory=Memory(peak_bytes=2, baseline_bytes=1, provenance=Provenance.MEASURED),
    numerics=Numerics(checked=True),
    energy_blocks=(EnergyBlock(kind=BlockKind.LOAD, begin_ns=1, end_ns=2, inferences=3),),
)  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [Progress(stage='warming "up"\n'), MeterWanted(), Failure(outcome=Outcome.UNSUPPORTED, detail="no"), REPORT],
)
def test_a_message_is_one_line_and_survives_it(message):
    line = encode_message(message)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode_message(line) == message


@given(st.binary())
def test_any_other_line_is_refused(line):
    with pytest.raises(GarbledError):
        decode_message(line)


@pytest.mark.parametrize("line", [b"{}", b"[]", b'{"nonsense":{}}', b'{"progress":{},"failure":{}}', b'{"progress":3}'])
def test_json_that_is_no_message_is_refused(line):
    with pytest.raises(GarbledError):
        decode_message(line)
