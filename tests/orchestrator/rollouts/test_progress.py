from hypothesis import given
from hypothesis import strategies as st

from orchestrator.rollouts.progress import moves
from orchestrator.rollouts.rollout import DeploymentState, RolloutState, outcome

# Written down apart from the table: rows are where a deployment is, columns are what is reported; x moves it there.
EXPECTED = """
             PENDING DOWNLOADING VERIFYING TESTING ACTIVATING ACTIVE REFUSED FAILED ROLLED_BACK SUPERSEDED REMOVED
PENDING      .       x           x         x       x          x      x       x      x           x           .
DOWNLOADING  .       .           x         x       x          x      x       x      x           x           .
VERIFYING    .       .           .         x       x          x      x       x      x           x           .
TESTING      .       .           .         .       x          x      x       x      x           x           .
ACTIVATING   .       .           .         .       .          x      x       x      x           x           .
ACTIVE       .       .           .         .       .          .      .       .      .           .           .
REFUSED      .       .           .         .       .          .      .       .      .           .           .
FAILED       .       .           .         .       .          .      .       .      .           .           .
ROLLED_BACK  .       .           .         .       .          .      .       .      .           .           .
SUPERSEDED   .       .           .         .       .          .      .       .      .           .           .
REMOVED      .       .           .         .       .          .      .       .      .           .           .
"""

STATES = st.sampled_from(DeploymentState)


def test_every_report_in_every_state_does_what_the_design_says():
    header, *rows = (line.split() for line in EXPECTED.strip().splitlines())
    assert header == [state.name for state in DeploymentState]
    assert [row[0] for row in rows] == header
    for name, *cells in rows:
        for reported, cell in zip(header, cells, strict=True):
            assert moves(DeploymentState[name], DeploymentState[reported]) is (cell == "x"), (name, reported)


def follow(reports) -> DeploymentState:
    state = DeploymentState.PENDING
    for reported in reports:
        state = reported if moves(state, reported) else state
    return state


@given(st.lists(STATES, max_size=30))
def test_the_first_end_that_is_reported_stays(reports):
    ends = [state for state in reports if state.final and state is not DeploymentState.REMOVED]
    assert follow(reports) is (ends[0] if ends else follow(reports))
    assert follow(reports).final is bool(ends)


@given(st.permutations([state for state in DeploymentState if not state.final] + [DeploymentState.ACTIVE]))
def test_the_reports_of_one_deployment_lead_to_the_same_end_in_any_order(reports):
    assert follow(reports) is DeploymentState.ACTIVE


@given(st.lists(STATES, max_size=10), st.lists(st.integers(0, 9), max_size=10))
def test_reports_that_come_twice_change_nothing(reports, repeats):
    doubled = list(reports)
    for position in sorted((repeat for repeat in repeats if repeat < len(reports)), reverse=True):
        doubled.insert(position + 1, reports[position])
    assert follow(doubled) is follow(reports)


@given(st.lists(STATES, min_size=1, max_size=8))
def test_a_rollout_succeeds_only_where_every_device_serves_the_release(states):
    result = outcome(states)
    left = [state for state in states if state is not DeploymentState.REMOVED]
    assert (result is RolloutState.SUCCEEDED) == (set(left) == {DeploymentState.ACTIVE})
    assert (result is RolloutState.RUNNING) == any(not state.final for state in states)
    if DeploymentState.REFUSED in states and all(state.final for state in states):
        assert result is RolloutState.FAILED
