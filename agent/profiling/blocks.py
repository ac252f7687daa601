"""The energy blocks, inside the worker: idle and load in turn, each with its edges on the monotonic clock."""

from __future__ import annotations

import time

from agent.profiling.latency import Exercise
from agent.profiling.worker_protocol import BlockKind, EnergyBlock, EnergySchedule


def block_order(pairs: int) -> tuple[BlockKind, ...]:
    """Idle, load, load, idle, idle, load …: a power that drifts steadily weighs on both kinds alike."""
    pair = (BlockKind.IDLE, BlockKind.LOAD)
    return tuple(kind for index in range(pairs) for kind in (pair if index % 2 == 0 else pair[::-1]))


def run_blocks(exercise: Exercise, schedule: EnergySchedule) -> tuple[EnergyBlock, ...]:
    """Runs every block of the schedule; a load block goes on until it has its time and its inferences."""
    order = block_order(schedule.pairs)
    blocks = tuple(
        _idle_block(schedule) if kind is BlockKind.IDLE else _load_block(exercise, schedule) for kind in order
    )
    # As before each block, so after the last: the meter's next reading, which closes it, is still one of its kind.
    if order[-1] is BlockKind.IDLE:
        time.sleep(schedule.guard_s)
    else:
        _run_for(exercise, schedule.guard_s)
    return blocks


def _idle_block(schedule: EnergySchedule) -> EnergyBlock:
    time.sleep(schedule.guard_s)
    begin_ns = time.monotonic_ns()
    time.sleep(schedule.block_s)
    return EnergyBlock(kind=BlockKind.IDLE, begin_ns=begin_ns, end_ns=time.monotonic_ns())


def _load_block(exercise: Exercise, schedule: EnergySchedule) -> EnergyBlock:
    _run_for(exercise, schedule.guard_s)
    begin_ns = time.monotonic_ns()
    inferences = _run_for(exercise, schedule.block_s)
    while inferences < schedule.minimum_inferences and time.monotonic_ns() < begin_ns + schedule.longest_block_s * 1e9:
        inferences += _run_for(exercise, 0.0)
    return EnergyBlock(kind=BlockKind.LOAD, begin_ns=begin_ns, end_ns=time.monotonic_ns(), inferences=inferences)


def _run_for(exercise: Exercise, duration_s: float) -> int:
    """Runs the model for the duration, at least once; the count of inferences."""
    end_ns = time.monotonic_ns() + int(duration_s * 1e9)
    count = 0
    while count == 0 or time.monotonic_ns() < end_ns:
        exercise.advance()
        exercise.run()
        count += 1
    return count
