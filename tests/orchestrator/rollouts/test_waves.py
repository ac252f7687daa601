"""Rollouts in waves on a real database, driven by reports, operators and time."""

import asyncio
from dataclasses import replace

import pytest

from orchestrator.errors import ConflictError, InvalidInputError, NotFoundError
from orchestrator.events import Events
from orchestrator.rollouts.controller import RolloutController
from orchestrator.rollouts.plan import Plan, WaveSize, parse_waves
from orchestrator.rollouts.rollout import DeploymentState, RolloutState
from tests.orchestrator.rollouts.fleets import Fleet, serving

D, R = DeploymentState, RolloutState


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path, device_count=10)
    yield fleet
    fleet.database.close()


def waves(text, **plan):
    return {"waves": parse_waves(text), **plan}


def operate(fleet, verb, rollout, **options):
    return fleet.run(getattr(fleet.operations, verb)(rollout.id, **options))


def test_a_rollout_goes_wave_by_wave_and_only_offers_what_has_begun(fleet):
    rollout = fleet.create(fleet.release(), **waves("1,30%,100%"))
    for reached in (1, 3, 10):
        begun = fleet.begun(rollout)
        assert len(begun) == reached
        offered = {device.id for device in fleet.devices if fleet.desired(device) is not None}
        assert offered == {each.device_id for each in fleet.deployments(rollout).values() if each.state is D.PENDING}
        fleet.end(rollout, D.ACTIVE, count=len(offered))
    assert fleet.rollout(rollout).state is R.SUCCEEDED
    assert fleet.rollout(rollout).reason == "10 active"


def test_a_wave_that_soaks_is_followed_when_time_has_passed(fleet):
    rollout = fleet.create(fleet.release(), **waves("1,100%", soak_s=3600.0))
    fleet.end(rollout, D.ACTIVE, count=1)
    fleet.look()
    assert len(fleet.begun(rollout)) == 1
    fleet.clock.pass_time(hours=1)
    fleet.look()
    assert len(fleet.begun(rollout)) == 10


def test_r1_a_finished_wave_below_its_threshold_pauses(fleet):
    rollout = fleet.create(fleet.release(), **waves("50%,100%", error_fraction=0.5, minimum_sample=5))
    fleet.end(rollout, D.ACTIVE, count=3)
    fleet.end(rollout, D.FAILED, count=2, reason="out of memory")
    paused = fleet.rollout(rollout)
    assert (paused.state, paused.finished_at) == (R.PAUSED, None)
    assert paused.reason == "wave 1 ended with 3 of 5 devices healthy: out of memory"
    assert len(fleet.begun(rollout)) == 5


def test_r3_a_canary_that_fails_pauses_and_nobody_else_is_touched(fleet):
    rollout = fleet.create(fleet.release(), **waves("1,100%"))
    canary = fleet.end(rollout, D.REFUSED, count=1, reason="wrong hash")[0]
    fleet.clock.pass_time(days=30)
    fleet.look()
    assert fleet.rollout(rollout).state is R.PAUSED
    assert fleet.begun(rollout) == {canary.id}
    assert [device for device in fleet.devices if fleet.desired(device) is not None] == []


def test_r6_a_device_that_says_success_and_serves_another_digest_fails_its_wave(fleet):
    old, new = fleet.release("1"), fleet.release("2")
    rollout = fleet.create(new, **waves("1,100%"))
    (canary,) = fleet.begun(rollout)
    device = next(each for each in fleet.devices if each.id == canary)
    fleet.report(device, fleet.deployments(rollout)[canary], D.ACTIVE, active=serving(old))
    assert fleet.rollout(rollout).state is R.PAUSED
    assert "serves digits:1" in fleet.rollout(rollout).reason


def test_r7_a_device_that_goes_back_later_corrects_the_count_and_pauses(fleet):
    release = fleet.release()
    rollout = fleet.create(release, **waves("1,50%,100%"))
    (canary,) = fleet.end(rollout, D.ACTIVE, count=1)
    fleet.clock.pass_time(hours=1)
    fleet.report(canary, fleet.deployments(rollout)[canary.id], D.ROLLED_BACK, reason="too slow in the field")
    assert fleet.counts(rollout)[D.ACTIVE] == 0
    assert fleet.rollout(rollout).state is R.PAUSED
    assert fleet.rollout(rollout).reason == "1 of 1 devices of wave 1 failed: too slow in the field"


def test_r7_after_its_end_too_a_rollout_counts_what_went_back(fleet):
    release = fleet.release()
    rollout = fleet.create(release)
    fleet.end(rollout, D.ACTIVE, count=10)
    device = fleet.devices[4]
    fleet.report(device, fleet.deployments(rollout)[device.id], D.ROLLED_BACK, reason="crashed")
    assert fleet.rollout(rollout).state is R.FAILED
    assert fleet.rollout(rollout).reason == "9 active, 1 rolled back: crashed"


@pytest.mark.parametrize("is_open", [True, False])
def test_r8_a_device_that_comes_to_match_joins_the_last_wave_of_an_open_rollout(fleet, is_open):
    rollout = fleet.create(fleet.release(), **waves("1,100%", open=is_open))
    newcomer = fleet.device(99)
    fleet.look()
    joined = fleet.deployments(rollout).get(newcomer.id)
    if is_open:
        assert (joined.state, joined.wave) == (D.WAITING, 1)
        fleet.end(rollout, D.ACTIVE, count=1)
        assert fleet.desired(newcomer) is not None
    else:
        assert joined is None
        assert fleet.desired(newcomer) is None


def test_r8_a_device_with_a_newer_rollout_does_not_join_an_older_one(fleet):
    older = fleet.create(fleet.release("1"), **waves("1,100%", open=True))
    newcomer = fleet.device(99)
    fleet.clock.pass_time(seconds=1)
    newer = fleet.create(fleet.release("2"), devices=[newcomer])
    fleet.look()
    assert newcomer.id not in fleet.deployments(older)
    assert fleet.desired(newcomer).deployment_id == fleet.deployments(newer)[newcomer.id].id


def test_r9_exactly_the_devices_that_took_it_go_back_and_counters_rise(fleet):
    first, second = fleet.release("1"), fleet.release("2")
    before = fleet.create(first, devices=fleet.devices[:9])
    fleet.end(before, D.ACTIVE, count=9)
    fleet.clock.pass_time(minutes=1)
    rollout = fleet.create(second, **waves("60%,100%"))
    fleet.end(rollout, D.ACTIVE, count=5)
    took_it = {each.device_id for each in fleet.deployments(rollout).values() if each.state is D.ACTIVE}
    served_before = {device_id for device_id in took_it if device_id in {each.id for each in fleet.devices[:9]}}
    (back,) = operate(fleet, "roll_back", rollout, idempotency_key="k")
    assert set(fleet.deployments(back)) == served_before
    assert fleet.rollout(rollout).state is R.ABORTED
    again = fleet.read(lambda tx: tx.releases.get(back.release_id))
    assert (again.counter, again.artifact_sha256) == (3, first.artifact_sha256)
    # The same request again makes nothing anew.
    assert operate(fleet, "roll_back", rollout, idempotency_key="k")[0].id == back.id
    assert len(fleet.read(lambda tx: tx.releases.list())) == 3


def test_a_rollback_of_what_nobody_took_is_refused(fleet):
    rollout = fleet.create(fleet.release(), **waves("1,100%"))
    with pytest.raises(ConflictError, match="ran another one before"):
        operate(fleet, "roll_back", rollout, idempotency_key="")


def test_a_pause_lets_running_devices_finish_and_starts_nobody(fleet):
    rollout = fleet.create(fleet.release(), **waves("2,100%"))
    devices = [device for device in fleet.devices if device.id in fleet.begun(rollout)]
    fleet.report(devices[0], fleet.deployments(rollout)[devices[0].id], D.TESTING)
    assert operate(fleet, "pause", rollout).state is R.PAUSED
    assert operate(fleet, "pause", rollout).reason == "an operator paused it"
    assert [device.id for device in fleet.devices if fleet.desired(device)] == [devices[0].id]
    fleet.end(rollout, D.ACTIVE, count=2)
    fleet.look()
    assert len(fleet.begun(rollout)) == 2
    assert operate(fleet, "resume", rollout).wave == 1
    assert len(fleet.begun(rollout)) == 10


def test_a_resumed_rollout_excuses_what_had_paused_it(fleet):
    rollout = fleet.create(fleet.release(), **waves("1,100%"))
    fleet.end(rollout, D.FAILED, count=1)
    assert operate(fleet, "resume", rollout).state is R.RUNNING
    assert len(fleet.begun(rollout)) == 10
    fleet.end(rollout, D.ACTIVE, count=9)
    assert fleet.rollout(rollout).state is R.SUCCEEDED
    assert fleet.rollout(rollout).reason == "9 active, 1 failed"


def test_a_resume_after_a_pause_by_hand_excuses_nothing(fleet):
    rollout = fleet.create(fleet.release(), **waves("50%,100%", success_fraction=0.8, minimum_sample=5))
    fleet.end(rollout, D.FAILED, count=1)
    operate(fleet, "pause", rollout)
    operate(fleet, "resume", rollout)
    fleet.end(rollout, D.FAILED, count=1)
    fleet.end(rollout, D.ACTIVE, count=3)
    assert fleet.rollout(rollout).state is R.PAUSED


@pytest.mark.parametrize("state", [D.DOWNLOADING, D.VERIFYING, D.TESTING, D.ACTIVATING])
def test_n12_an_abort_ends_what_has_not_begun_and_counts_what_has(fleet, state):
    release = fleet.release()
    rollout = fleet.create(release, **waves("2,100%"))
    fleet.hear_all()
    begun, _ = [device for device in fleet.devices if device.id in fleet.begun(rollout)]
    fleet.report(begun, fleet.deployments(rollout)[begun.id], state)
    assert operate(fleet, "abort", rollout).state is R.ABORTING
    assert fleet.counts(rollout) == {state: 1, D.ABORTED: 9}
    assert [device for device in fleet.devices if fleet.desired(device) is not None] == []
    fleet.activate(begun, fleet.deployments(rollout)[begun.id], release)
    ended = fleet.rollout(rollout)
    assert (ended.state, ended.reason) == (R.ABORTED, "1 active, 9 aborted: the rollout was aborted")
    assert operate(fleet, "abort", rollout) == ended


def test_n12_a_device_that_had_begun_unseen_is_counted_all_the_same(fleet):
    release = fleet.release()
    rollout = fleet.create(release)
    operate(fleet, "abort", rollout)
    device = fleet.devices[0]
    fleet.activate(device, fleet.deployments(rollout)[device.id], release)
    assert fleet.rollout(rollout).reason.startswith("1 active, 9 aborted")


@pytest.mark.parametrize("verb", ["pause", "resume", "abort"])
def test_what_has_ended_cannot_be_changed(fleet, verb):
    rollout = fleet.create(fleet.release())
    fleet.end(rollout, D.ACTIVE, count=10)
    with pytest.raises(ConflictError, match="is succeeded and cannot be"):
        operate(fleet, verb, rollout)
    with pytest.raises(NotFoundError):
        operate(fleet, verb, replace(rollout, id="nowhere"))


def test_a_retry_goes_to_the_devices_that_failed(fleet):
    rollout = fleet.create(fleet.release())
    failed = fleet.end(rollout, D.FAILED, count=3)
    fleet.end(rollout, D.ACTIVE, count=7)
    retried = operate(fleet, "retry", rollout, idempotency_key="k")
    assert set(fleet.deployments(retried)) == {device.id for device in failed}
    assert all(fleet.desired(device) is not None for device in failed)
    assert operate(fleet, "retry", rollout, idempotency_key="k").id == retried.id
    with pytest.raises(ConflictError, match="waits for another try"):
        operate(fleet, "retry", rollout, idempotency_key="another")


def test_n8_another_process_goes_on_where_the_one_before_was_killed(fleet):
    release = fleet.release()
    rollout = fleet.create(release, **waves("1,30%,100%", soak_s=10.0))
    reached = []
    while not fleet.rollout(rollout).state.final:
        # Killed before every step: nothing but the database is left.
        fleet.controller = RolloutController(database=fleet.database, events=Events(), clock=fleet.clock)
        fleet.look()
        if fleet.counts(rollout)[D.PENDING]:
            reached.append(len(fleet.begun(rollout)))
            fleet.end(rollout, D.ACTIVE, count=fleet.counts(rollout)[D.PENDING])
        fleet.clock.pass_time(seconds=10)
    assert reached == [1, 3, 10]
    assert fleet.counts(rollout) == {D.ACTIVE: 10}


def test_n8_the_loop_of_a_new_process_does_what_is_due(fleet):
    rollout = fleet.create(fleet.release(), **waves("1,100%", soak_s=10.0))
    fleet.end(rollout, D.ACTIVE, count=1)
    fleet.clock.pass_time(seconds=10)

    async def start_and_kill():
        loop = asyncio.create_task(
            RolloutController(database=fleet.database, events=Events(), clock=fleet.clock).watch()
        )
        while (await fleet.database.run(lambda tx: tx.rollouts.get(rollout.id))).wave == 0:
            await asyncio.sleep(0.01)
        loop.cancel()

    fleet.run(start_and_kill())
    assert len(fleet.begun(rollout)) == 10


def test_n11_a_device_that_was_offline_throughout_is_skipped_and_then_gets_the_newest(fleet):
    away, *others = fleet.devices
    first = fleet.create(fleet.release("1"), offline_deadline_s=3600.0)
    fleet.clock.pass_time(hours=1)
    fleet.hear_all(but=[away])
    release = fleet.read(lambda tx: tx.releases.get(first.release_id))
    for device in others:
        fleet.activate(device, fleet.deployments(first)[device.id], release)
    fleet.look()
    assert fleet.deployments(first)[away.id].state is D.SKIPPED_OFFLINE
    assert fleet.rollout(first).state is R.SUCCEEDED
    assert fleet.rollout(first).reason.startswith("9 active, 1 skipped offline")
    second = fleet.create(fleet.release("2"), devices=[away])
    assert fleet.desired(away).deployment_id == fleet.deployments(second)[away.id].id


def test_n11_a_skipped_device_that_returns_is_brought_up_to_date_and_counted(fleet):
    release = fleet.release()
    device = fleet.devices[0]
    rollout = fleet.create(release, devices=[device], offline_deadline_s=60.0)
    fleet.clock.pass_time(days=2)
    fleet.look()
    assert fleet.rollout(rollout).state is R.FAILED
    assert fleet.desired(device) is not None
    fleet.activate(device, fleet.deployments(rollout)[device.id], release)
    assert fleet.rollout(rollout).state is R.SUCCEEDED
    assert fleet.rollout(rollout).reason == "1 active"


def test_n13_two_controllers_at_the_same_instant_start_a_wave_once(fleet):
    rollout = fleet.create(fleet.release(), **waves("1,50%,100%", soak_s=10.0))
    fleet.end(rollout, D.ACTIVE, count=1)
    fleet.clock.pass_time(seconds=10)
    second = RolloutController(database=fleet.database, events=Events(), clock=fleet.clock)

    async def both():
        await asyncio.gather(*(each.look() for each in (fleet.controller, second) * 5))

    fleet.run(both())
    assert fleet.rollout(rollout).wave == 1
    assert len(fleet.begun(rollout)) == 5


def test_n14_the_newest_of_two_rollouts_for_a_device_is_the_one_it_is_told_of(fleet):
    older = fleet.create(fleet.release("1"), **waves("1,100%"))
    newer = fleet.create(fleet.release("2"), **waves("1,100%"))
    assert fleet.rollout(older).state is R.SUPERSEDED
    told = {fleet.desired(device).deployment_id for device in fleet.devices if fleet.desired(device)}
    assert told == {each.id for each in fleet.deployments(newer).values() if each.state is D.PENDING}


def test_a_plan_that_makes_no_sense_is_refused_and_leaves_nothing(fleet):
    with pytest.raises(InvalidInputError, match="does not reach every device"):
        fleet.create(fleet.release(), waves=(WaveSize(devices=1),))
    assert fleet.read(lambda tx: tx.rollouts.list()) == ()


def test_the_seed_decides_who_goes_first(fleet):
    release = fleet.release()
    canaries = {next(iter(fleet.begun(fleet.create(release, **waves("1,100%", seed=seed))))) for seed in range(8)}
    assert len(canaries) > 2
    assert fleet.rollout(fleet.create(release, seed=7)).plan == Plan(seed=7)
