"""The composition root: builds the agent of real parts, and runs it until it is told to stop."""

from __future__ import annotations

from agent.agent import Agent
from agent.config import Settings
from agent.facts import DeviceFacts, read_facts
from agent.identity import load_identity
from agent.meters.catalogue import available_meters
from agent.profiling.profiler import Profiler
from agent.runtimes.catalogue import probe_runtimes
from agent.signals import stop_signals
from agent.state_directory import StateDirectory


async def serve(settings: Settings) -> None:
    """Runs the agent of this machine until SIGTERM or SIGINT, which end it as a cancellation.

    Raises:
        NotJoinedError: The machine has not joined a fleet.
        BusyError: Another agent uses the state directory.
        ConfigurationError: The state directory cannot be used.
        NoSpaceError: The disk is full.
    """
    state = StateDirectory(settings.state_dir)
    with stop_signals(), state.hold():
        # Before the probes, which take a while: a machine that has not joined is told at once.
        load_identity(state)
        agent = Agent(state=state, settings=settings, profiler=Profiler(), facts=await gather_facts())
        await agent.run()


async def gather_facts() -> DeviceFacts:
    """What this machine is, with the runtimes that work on it and the meters that it offers."""
    runtimes = await probe_runtimes()
    return read_facts(runtimes=runtimes, meters=[meter.facts for meter in available_meters()])
