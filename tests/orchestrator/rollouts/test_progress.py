from hypothesis import given
from hypothesis import strategies as st

from orchestrator.rollouts.progress import moves
from orchestrator.rollouts.rollout import DeploymentState

# Written down apart from the table: rows are where a deployment is, columns are what is reported; x moves it there.
EXPECTED = """
                WAITING PENDING DOWNLOADING VERIFYING TESTING ACTIVATING ACTIVE REFUSED FAILED ROLLED_BACK SUPERSEDED REMOVED SKIPPED_OFFLINE ABORTED
WAITING         .       .       .           .         .       .          .      .       .      .           .          .       .               .
PENDING         .       .       x           x         x       x          x      x       x      x           x          .       .               .
DOWNLOADING     .       .       .           x         x       x          x      x       x      x           x          .       .               .
VERIFYING       .       .       .           .         x       x          x      x       x      x           x          .       .               .
TESTING         .       .       .           .         .       x          x      x       x      x           x          .       .               .
ACTIVATING      .       .       .           .         .       .          x      x       x      x           x          .       .               .
ACTIVE          .       .       .           .         .       .          .      .       .      x           .          .       .               .
REFUSED         .       .       .           .         .       .          .      .       .      .           .          .       .               .
FAILED          .       .       .           .         .       .          .      .       .      .           .          .       .               .
ROLLED_BACK     .       .       .           .         .       .          .      .       .      .           .          .       .               .
SUPERSEDED      .       .       .           .         .       .          .      .       .      .           .          .       .               .
REMOVED         .       .       .           .         .       .          .      .       .      .           .          .       .               .
SKIPPED_OFFLINE .       .       .           .         .       .          x      x       x      x           .          .       .               .
ABORTED         .       .       .           .         .       .          x      x       x      x           .          .       .               .
"""  # noqa: E501 - a table

STATES = st.sampled_from(DeploymentState)
OUTCOMES = {DeploymentState.ACTIVE, DeploymentState.REFUSED, DeploymentState.FAILED, DeploymentState.ROLLED_BACK}


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
def test_the_first_end_that_a_device_reports_stays_unless_it_goes_back(reports):
    ends = [state for state in reports if state in OUTCOMES or state is DeploymentState.SUPERSEDED]
    if not ends:
        assert not follow(reports).final
    elif ends[0] is DeploymentState.ACTIVE and DeploymentState.ROLLED_BACK in ends:
        assert follow(reports) is DeploymentState.ROLLED_BACK
    else:
        assert follow(reports) is ends[0]


@given(st.permutations([state for state in DeploymentState if not state.final] + [DeploymentState.ACTIVE]))
def test_the_reports_of_one_deployment_lead_to_the_same_end_in_any_order(reports):
    assert follow(reports) is DeploymentState.ACTIVE


@given(st.lists(STATES, max_size=10), st.lists(st.integers(0, 9), max_size=10))
def test_reports_that_come_twice_change_nothing(reports, repeats):
    doubled = list(reports)
    for position in sorted((repeat for repeat in repeats if repeat < len(reports)), reverse=True):
        doubled.insert(position + 1, reports[position])
    assert follow(doubled) is follow(reports)
