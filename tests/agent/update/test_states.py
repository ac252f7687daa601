from hypothesis import given
from hypothesis import strategies as st

from agent.update.states import (
    REPORTED,
    RESTARTS_ALLOWED,
    TRANSITIONS,
    Action,
    Event,
    Step,
    action_of,
    advance,
    on_restart,
    replaceable,
)

# Written down apart from the table: rows are steps, columns are events, a dot changes nothing.
EXPECTED = """
              RESUMED       PROVEN       FETCHED    STORED   PASSED      SWITCHED    CONFIRMED  RESTORED     REFUSED       FAILED        SUPERSEDED
PENDING       PENDING       DOWNLOADING  .          .        .           .           .          .            REFUSED       FAILED        SUPERSEDED
DOWNLOADING   DOWNLOADING   .            VERIFYING  .        .           .           .          .            REFUSED       FAILED        SUPERSEDED
VERIFYING     VERIFYING     .            .          TESTING  .           .           .          .            REFUSED       FAILED        SUPERSEDED
TESTING       TESTING       .            .          .        ACTIVATING  .           .          .            REFUSED       FAILED        SUPERSEDED
ACTIVATING    ACTIVATING    .            .          .        .           CONFIRMING  .          .            ROLLING_BACK  ROLLING_BACK  .
CONFIRMING    CONFIRMING    .            .          .        .           .           ACTIVE     .            ROLLING_BACK  ROLLING_BACK  .
ROLLING_BACK  ROLLING_BACK  .            .          .        .           .           .          ROLLED_BACK  ROLLING_BACK  ROLLING_BACK  .
ACTIVE        .             .            .          .        .           .           .          .            .             .             .
REFUSED       .             .            .          .        .           .           .          .            .             .             .
FAILED        .             .            .          .        .           .           .          .            .             .             .
ROLLED_BACK   .             .            .          .        .           .           .          .            .             .             .
SUPERSEDED    .             .            .          .        .           .           .          .            .             .             .
"""  # noqa: E501

AFTER_THE_SWITCH = {Step.ACTIVATING, Step.CONFIRMING, Step.ROLLING_BACK}


def test_every_event_in_every_step_leads_where_the_design_says():
    header, *rows = (line.split() for line in EXPECTED.strip().splitlines())
    events = [Event[name] for name in header]
    assert events == list(Event)
    assert [row[0] for row in rows] == [step.name for step in Step]
    for name, *cells in rows:
        for event, cell in zip(events, cells, strict=True):
            step, action = advance(Step[name], event)
            if cell == ".":
                assert (step, action) == (Step[name], Action.NOTHING), (name, event)
            else:
                assert step is Step[cell], (name, event)
                assert action is not Action.NOTHING, (name, event)


def test_the_action_belongs_to_the_step_and_not_to_the_way_there():
    for step, action in TRANSITIONS.values():
        assert action is (Action.COLLECT if step.final else action_of(step))


def test_every_step_that_has_not_ended_has_an_action_of_its_own():
    actions = [action_of(step) for step in Step if not step.final]
    assert Action.NOTHING not in actions
    assert len(set(actions)) == len(actions)


def test_every_step_can_be_reported():
    assert set(REPORTED) == set(Step)


def test_a_newer_release_may_take_the_place_of_an_older_one_only_before_the_switch():
    assert {step for step in Step if replaceable(step)} == {
        Step.PENDING,
        Step.DOWNLOADING,
        Step.VERIFYING,
        Step.TESTING,
    }


def test_a_step_that_kills_the_agent_again_and_again_fails():
    for step, allowed in RESTARTS_ALLOWED.items():
        assert on_restart(step, allowed) is Event.RESUMED
        assert on_restart(step, allowed + 1) is Event.FAILED


def test_waiting_and_going_back_are_never_given_up():
    for step in (Step.PENDING, Step.DOWNLOADING, Step.ROLLING_BACK):
        assert on_restart(step, 1_000_000) is Event.RESUMED


@given(st.lists(st.sampled_from(Event), max_size=40))
def test_whatever_happens_the_order_of_the_steps_holds(events):
    step, visited = Step.PENDING, [Step.PENDING]
    for event in events:
        following, action = advance(step, event)
        if step.final:
            assert (following, action) == (step, Action.NOTHING)
        if step in AFTER_THE_SWITCH:
            assert following in AFTER_THE_SWITCH | {Step.ACTIVE, Step.ROLLED_BACK}
        if following is Step.ROLLED_BACK:
            assert step is Step.ROLLING_BACK
        step = following
        visited.append(step)
    if Step.ACTIVE in visited:
        order = [Step.DOWNLOADING, Step.VERIFYING, Step.TESTING, Step.ACTIVATING, Step.CONFIRMING, Step.ACTIVE]
        positions = [visited.index(passed) for passed in order]
        assert positions == sorted(positions)
    if Step.ACTIVATING in visited:
        assert Event.PASSED in events


@given(st.lists(st.sampled_from([event for event in Event if event is not Event.RESUMED]), max_size=20), st.data())
def test_interruptions_in_between_change_nothing(events, data):
    step = interrupted = Step.PENDING
    for event in events:
        step, _ = advance(step, event)
        for _ in range(data.draw(st.integers(0, 2))):
            interrupted, _ = advance(interrupted, Event.RESUMED)
        interrupted, _ = advance(interrupted, event)
    assert interrupted is step
