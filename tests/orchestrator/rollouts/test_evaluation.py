from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.rollouts.evaluation import evaluate, offered, tally
from orchestrator.rollouts.plan import Plan, WaveSize
from orchestrator.rollouts.progress import moves
from orchestrator.rollouts.rollout import Deployment, DeploymentState, Rollout, RolloutState
from tests.fakes.release_server import NOON

D, R = DeploymentState, RolloutState
LETTERS = {
    "w": D.WAITING, "p": D.PENDING, "t": D.TESTING, "h": D.ACTIVE, "r": D.REFUSED, "f": D.FAILED, "b": D.ROLLED_BACK,
    "s": D.SUPERSEDED, "x": D.REMOVED, "o": D.SKIPPED_OFFLINE, "a": D.ABORTED,
}  # fmt: skip
MARKS = {state: letter for letter, state in LETTERS.items()}
TWO = (WaveSize(fraction=0.5), WaveSize(fraction=1.0))


def rollout(state=R.RUNNING, wave=0, **plan):
    return Rollout(
        id="r", release_id="x", selector="all", state=state, created_at=NOON, wave=wave, plan=Plan(**plan).check()
    )


def parts(text):
    """Deployments as ``hhf|www``: one letter a device, waves between bars."""
    return [
        Deployment(
            id=f"{wave}-{number}",
            rollout_id="r",
            device_id=f"d{wave}{number}",
            state=LETTERS[letter],
            updated_at=NOON,
            wave=wave,
            started_at=None if letter == "w" else NOON,
        )
        for wave, letters in enumerate(text.split("|"))
        for number, letter in enumerate(letters)
    ]


def after(plan, text, *, wave=0, state=R.RUNNING, offline=(), later_s=0.0):
    """State, wave and deployments after evaluation, as a row of the tables below writes them."""
    deployments = parts(text)
    result = evaluate(
        rollout(state, wave, **plan), deployments, offline=set(offline), now=NOON + timedelta(seconds=later_s)
    )
    changed = {each.id: each for each in result.changed}
    final = [changed.get(each.id, each) for each in deployments]
    waves = {each.wave for each in final}
    shown = "|".join("".join(MARKS[each.state] for each in final if each.wave == wave) for wave in sorted(waves))
    return result.rollout.state, result.rollout.wave, shown


TABLE = [
    # name, plan, wave, before, state after, wave after, after
    ("the first wave starts", {}, 0, "ww|ww", R.RUNNING, 0, "pp|ww"),
    ("nothing to do", {}, 0, "hp|ww", R.RUNNING, 0, "hp|ww"),
    ("a healthy wave starts the next", {}, 0, "hh|ww", R.RUNNING, 1, "hh|pp"),
    ("the last wave ends it", {}, 1, "hh|hh", R.SUCCEEDED, 1, "hh|hh"),
    ("below success, and over: paused", {}, 0, "hhhf|ww", R.PAUSED, 0, "hhhf|ww"),
    ("below success, and not over: waits", {}, 0, "hhhfp|ww", R.RUNNING, 0, "hhhfp|ww"),
    ("enough are healthy before all are done", {"success_fraction": 0.5}, 0, "hhpp|ww", R.RUNNING, 1, "hhpp|pp"),
    ("a tolerated failure", {"success_fraction": 0.75}, 0, "hhhf|ww", R.RUNNING, 1, "hhhf|pp"),
    ("too small a sample waits", {"minimum_sample": 3, "success_fraction": 0.5}, 0, "hhpp|w", R.RUNNING, 0, "hhpp|w"),
    ("a wave smaller than the sample is enough whole", {"minimum_sample": 9}, 0, "h|ww", R.RUNNING, 1, "h|pp"),
    ("one early failure in a larger sample", {"minimum_sample": 4}, 0, "fpppp|w", R.RUNNING, 0, "fpppp|w"),
    ("as many at once as allowed", {"max_parallel": 2}, 0, "wwww", R.RUNNING, 0, "ppww"),
    ("the next when one is done", {"max_parallel": 2}, 0, "htww", R.RUNNING, 0, "htpw"),
    ("errors hold back the rest of a wave", {"max_parallel": 1}, 0, "fwww", R.PAUSED, 0, "fwww"),
    ("with nothing to hold back it goes on", {}, 0, "fp", R.RUNNING, 0, "fp"),
    ("and fails in the end", {}, 0, "fh", R.FAILED, 0, "fh"),
    ("a wave without devices is no obstacle", {}, 0, "xs|ww", R.RUNNING, 1, "xs|pp"),
    ("nor are several", {}, 0, "x|s|w", R.RUNNING, 2, "x|s|p"),
    ("a wave that nobody answered is one", {}, 0, "oo|ww", R.PAUSED, 0, "oo|ww"),
    ("removed devices are in no denominator", {}, 0, "hx|ww", R.RUNNING, 1, "hx|pp"),
    ("skipped ones neither", {}, 0, "ho|ww", R.RUNNING, 1, "ho|pp"),
    ("a late regression in a wave before", {}, 1, "b|hwww", R.PAUSED, 1, "b|hwww"),
    ("everybody superseded", {}, 0, "ss", R.SUPERSEDED, 0, "ss"),
    ("everybody removed", {}, 0, "xx", R.FAILED, 0, "xx"),
    ("some superseded", {}, 0, "hs", R.SUPERSEDED, 0, "hs"),
    ("no devices at all", {}, 0, "", R.FAILED, 0, ""),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_what_a_running_rollout_does(row):
    _, plan, wave, before, state, wave_after, expected = row
    assert after(plan, before, wave=wave) == (state, wave_after, expected)


@pytest.mark.parametrize("text", ["hhp|ww", "hhh|ww", "fff|ww", "ww|ww", "ht|ww", "xx|ww"])
def test_a_paused_rollout_never_advances(text):
    assert after({}, text, state=R.PAUSED, later_s=10**9) == (R.PAUSED, 0, text)


def test_a_paused_rollout_with_nobody_left_ends():
    assert after({}, "hf|ss", state=R.PAUSED)[0] is R.FAILED
    assert after({}, "hh|ss", state=R.PAUSED)[0] is R.SUPERSEDED


@pytest.mark.parametrize(("text", "state", "expected"), [
    ("hp|ww", R.ABORTED, "ha|aa"),
    ("ht|ww", R.ABORTING, "ht|aa"),
    ("hh|aa", R.ABORTED, "hh|aa"),
])  # fmt: skip
def test_an_abort_waits_only_for_devices_that_have_begun(text, state, expected):
    assert after({}, text, state=R.ABORTING) == (state, 0, expected)


def test_an_abort_does_not_wait_for_a_device_that_went_offline():
    assert after({}, "t|w", state=R.ABORTING, offline=["d00"]) == (R.ABORTED, 0, "a|a")


def test_a_wave_soaks_before_the_next_one_starts():
    plan = {"soak_s": 60.0}
    assert after(plan, "hh|ww", later_s=59.9) == (R.RUNNING, 0, "hh|ww")
    assert after(plan, "hh|ww", later_s=60) == (R.RUNNING, 1, "hh|pp")
    # Nothing comes after the last wave.
    assert after(plan, "hh|hh", wave=1)[0] is R.SUCCEEDED


def test_an_offline_device_is_waited_for_until_the_deadline():
    plan = {"offline_deadline_s": 600.0}
    assert after(plan, "hp|w", offline=["d01"], later_s=599) == (R.RUNNING, 0, "hp|w")
    assert after(plan, "hp|w", offline=["d01"], later_s=600) == (R.RUNNING, 1, "ho|p")
    assert after(plan, "hp|w", later_s=6000) == (R.RUNNING, 0, "hp|w")
    assert after({}, "hp|w", offline=["d01"], later_s=10**8) == (R.RUNNING, 0, "hp|w")


def test_offline_devices_take_no_place_of_those_that_may_run_at_once():
    assert after({"max_parallel": 1}, "pww", offline=["d00"]) == (R.RUNNING, 0, "ppw")


def test_r1_three_of_five_healthy_pause_where_all_must_be():
    assert after({"error_fraction": 0.5}, "hhhff|wwwww") == (R.PAUSED, 0, "hhhff|wwwww")


@pytest.mark.parametrize(("text", "state"), [("hhff|ww", R.PAUSED), ("hhhf|ww", R.RUNNING)])
def test_r2_an_error_share_exactly_at_the_threshold_pauses(text, state):
    assert after({"error_fraction": 0.5, "success_fraction": 0.01}, text)[0] is state


def test_r3_a_canary_that_fails_pauses_and_touches_nobody_else():
    assert after({}, "f|wwwwwwwww") == (R.PAUSED, 0, "f|wwwwwwwww")


def test_r4_an_offline_half_is_no_success_and_needs_the_sample():
    plan = {"success_fraction": 0.5, "offline_deadline_s": 60.0}
    offline = ["d02", "d03"]
    # All must be healthy: the offline half keeps it waiting until the deadline, and is then out of the denominator.
    assert after({"offline_deadline_s": 60.0}, "hhpp|w", offline=offline) == (R.RUNNING, 0, "hhpp|w")
    assert after({"offline_deadline_s": 60.0}, "hhpp|w", offline=offline, later_s=60) == (R.RUNNING, 1, "hhoo|p")
    # Half is enough: it advances with the sample, and not without.
    assert after(plan, "hhpp|w", offline=offline) == (R.RUNNING, 1, "hhpp|p")
    larger = {**plan, "minimum_sample": 3}
    assert after(larger, "hhpp|w", offline=offline) == (R.RUNNING, 0, "hhpp|w")
    assert after(larger, "hhpp|w", offline=offline, later_s=60) == (R.PAUSED, 0, "hhoo|w")


@pytest.mark.parametrize(("text", "state"), [
    ("xx|ww", R.RUNNING), ("xxh|ww", R.RUNNING), ("x|x", R.FAILED), ("hx|xx", R.SUCCEEDED), ("fx|ww", R.PAUSED),
])  # fmt: skip
def test_r5_removed_devices_correct_every_denominator(text, state):
    assert after({}, text)[0] is state
    assert tally(parts("xxs")).succeeds(Plan())


def test_r10_devices_over_their_budget_pause_the_wave_by_the_threshold():
    assert after({"error_fraction": 0.25, "success_fraction": 0.7}, "hhhf|ww")[0] is R.PAUSED
    assert after({"error_fraction": 0.26, "success_fraction": 0.7}, "hhhf|ww")[0] is R.RUNNING


def test_excused_failures_count_no_more():
    deployments = [replace(each, excused=each.state is D.FAILED) for each in parts("hff|ww")]
    result = evaluate(rollout(), deployments, offline=(), now=NOON)
    assert (result.rollout.state, result.rollout.wave) == (R.RUNNING, 1)


@pytest.mark.parametrize(("text", "before", "state"), [
    ("hb", R.SUCCEEDED, R.FAILED), ("hh", R.SUCCEEDED, R.SUCCEEDED), ("h", R.FAILED, R.SUCCEEDED),
])  # fmt: skip
def test_a_rollout_that_has_ended_tells_the_truth_about_what_came_later(text, before, state):
    assert after({}, text, state=before)[0] is state


@pytest.mark.parametrize("letter", LETTERS)
def test_a_device_is_told_of_a_release_only_when_it_should_begin(letter):
    told = {state for state in R if offered(rollout(state), parts(letter)[0], parts(letter))}
    begun = {R.RUNNING, R.PAUSED, R.SUCCEEDED, R.FAILED, R.SUPERSEDED, R.ABORTED}
    expected = {"p": {R.RUNNING}, "t": begun, "o": {R.RUNNING, R.SUCCEEDED, R.FAILED}}
    assert told == expected.get(letter, set())


def test_a_device_that_was_skipped_is_spared_a_release_that_failed_elsewhere():
    deployments = parts("of")
    assert not offered(rollout(R.FAILED), deployments[0], deployments)


STEPS = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from(["report", "pause", "resume", "abort", "remove", "time", "offline"])),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.lists(st.sampled_from([D.TESTING, D.ACTIVE, D.FAILED, D.ROLLED_BACK]), min_size=1, max_size=9))
def test_whatever_happens_a_paused_or_ended_rollout_starts_nothing(steps, reports):
    current, deployments = rollout(waves=TWO, max_parallel=3, offline_deadline_s=50.0), parts("wwww|wwww")
    now, offline = NOON, set()
    for number, (device, step) in enumerate(steps):
        now += timedelta(seconds=30 if step == "time" else 1)
        before = deployments[device]
        reported = reports[number % len(reports)]
        if step == "report" and moves(before.state, reported):
            deployments[device] = replace(before, state=reported, updated_at=now)
        elif step == "remove" and not before.state.final:
            deployments[device] = replace(before, state=D.REMOVED)
        elif step == "offline":
            offline ^= {before.device_id}
        elif step == "pause" and current.state is R.RUNNING:
            current = replace(current, state=R.PAUSED)
        elif step == "resume" and current.state is R.PAUSED:
            current = replace(current, state=R.RUNNING)
        elif step == "abort" and not current.state.final:
            current = replace(current, state=R.ABORTING)
        started = {each.id for each in deployments if each.started_at}
        result = evaluate(current, deployments, offline=offline, now=now)
        changed = {each.id: each for each in result.changed}
        deployments = [changed.get(each.id, each) for each in deployments]
        newly = {each.id for each in deployments if each.started_at} - started
        # Only a running rollout starts devices, never in a wave whose turn has not come, and never goes back a wave.
        assert not newly or result.rollout.state is R.RUNNING
        assert all(each.wave <= result.rollout.wave for each in deployments if each.id in newly)
        assert result.rollout.wave >= current.wave
        assert not result.rollout.state.final or all(each.state.final for each in deployments)
        # The same again changes nothing: a controller that is killed and started does nothing twice.
        again = evaluate(result.rollout, deployments, offline=offline, now=now)
        assert (again.rollout, again.changed) == (result.rollout, ())
        current = result.rollout
