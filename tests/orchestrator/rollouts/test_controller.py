import asyncio
import random
from dataclasses import replace

import pytest

from orchestrator.errors import ConflictError, InvalidInputError, NotFoundError, PermissionDeniedError
from orchestrator.events import Events
from orchestrator.rollouts.controller import RolloutController
from orchestrator.rollouts.rollout import DeploymentState, RolloutState
from tests.fakes.release_server import NOON
from tests.orchestrator.rollouts.fleets import serving


def test_each_device_is_asked_for_the_release_and_told_of_it(fleet):
    release = fleet.release()
    rollout = fleet.create(release)
    assert rollout.state is RolloutState.RUNNING
    deployments = fleet.deployments(rollout)
    for device in fleet.devices:
        desired = fleet.desired(device)
        assert desired.deployment_id == deployments[device.id].id
        assert (desired.manifest_path, desired.manifest_sha256) == ("digits/1.json", release.manifest_sha256)
    assert set(fleet.events.published) == {f"rollout/{rollout.id}", *(f"device/{d.id}" for d in fleet.devices)}


def test_a_device_outside_of_the_selection_is_asked_for_nothing(fleet):
    fleet.create(fleet.release(), devices=fleet.devices[:1])
    assert fleet.desired(fleet.devices[1]) is None


def test_a_rollout_to_nobody_is_refused_and_leaves_nothing(fleet):
    with pytest.raises(InvalidInputError, match="no device matches 'site=moon'"):
        fleet.create(fleet.release(), devices=[], selector="site=moon")
    assert fleet.read(lambda tx: tx.rollouts.list()) == ()


def test_a_device_named_twice_gets_one_deployment(fleet):
    rollout = fleet.create(fleet.release(), devices=[fleet.devices[0], fleet.devices[0]])
    assert len(fleet.deployments(rollout)) == 1


def test_the_same_request_again_is_the_same_rollout(fleet):
    release = fleet.release()
    first = fleet.create(release, key="k")
    fleet.events.published.clear()
    assert fleet.create(release, key="k") == first
    assert fleet.events.published == []
    assert len(fleet.read(lambda tx: tx.rollouts.list())) == 1


def test_a_key_is_for_one_request(fleet):
    fleet.create(fleet.release("1"), key="k")
    with pytest.raises(ConflictError, match="another rollout"):
        fleet.create(fleet.release("2"), key="k")


def test_requests_without_a_key_are_many(fleet):
    release = fleet.release()
    assert fleet.create(release).id != fleet.create(release).id


def test_a_rollout_succeeds_when_every_device_serves_the_release(fleet):
    release = fleet.release()
    rollout = fleet.create(release)
    deployments = fleet.deployments(rollout)
    for device in fleet.devices:
        assert fleet.rollout(rollout).state is RolloutState.RUNNING
        fleet.report(device, deployments[device.id], DeploymentState.DOWNLOADING)
        fleet.clock.pass_time(seconds=5)
        fleet.activate(device, deployments[device.id], release)
    ended = fleet.rollout(rollout)
    assert (ended.state, ended.reason, ended.finished_at) == (RolloutState.SUCCEEDED, "3 active", fleet.clock())


def test_a_device_that_has_ended_is_asked_for_nothing_more(fleet):
    release = fleet.release()
    deployments = fleet.deployments(fleet.create(release))
    first, second = fleet.devices[:2]
    fleet.activate(first, deployments[first.id], release)
    fleet.report(second, deployments[second.id], DeploymentState.REFUSED, reason="forged")
    assert fleet.desired(first) is None
    assert fleet.desired(second) is None
    assert fleet.desired(fleet.devices[2]) is not None


def test_one_device_that_refuses_fails_the_rollout_with_its_reason(fleet):
    release = fleet.release()
    rollout = fleet.create(release)
    deployments = fleet.deployments(rollout)
    for device in fleet.devices[:2]:
        fleet.activate(device, deployments[device.id], release)
    fleet.report(fleet.devices[2], deployments["device-2"], DeploymentState.REFUSED, reason="wrong hash: model.onnx")
    ended = fleet.rollout(rollout)
    assert ended.state is RolloutState.FAILED
    assert ended.reason == "2 active, 1 refused: wrong hash: model.onnx"


def test_a_device_that_says_active_and_serves_something_else_has_failed(fleet):
    old, new = fleet.release("1"), fleet.release("2")
    rollout = fleet.create(new, devices=fleet.devices[:1])
    deployment = fleet.deployments(rollout)["device-0"]
    fleet.report(fleet.devices[0], deployment, DeploymentState.ACTIVE, active=serving(old))
    assert fleet.rollout(rollout).state is RolloutState.FAILED
    assert fleet.rollout(rollout).reason == "1 failed: the device reports success and serves digits:1"


def test_a_device_that_says_active_and_serves_nothing_has_failed(fleet):
    rollout = fleet.create(fleet.release(), devices=fleet.devices[:1])
    fleet.report(fleet.devices[0], fleet.deployments(rollout)["device-0"], DeploymentState.ACTIVE)
    assert fleet.rollout(rollout).state is RolloutState.FAILED


def test_what_a_device_serves_is_noted_with_its_report(fleet):
    release = fleet.release()
    device = fleet.devices[0]
    deployment = fleet.deployments(fleet.create(release))[device.id]
    fleet.activate(device, deployment, release)
    assert fleet.read(lambda tx: tx.devices.get(device.id)).active_release == serving(release)


def test_the_same_report_again_changes_nothing(fleet):
    release = fleet.release()
    device = fleet.devices[0]
    rollout = fleet.create(release, devices=[device])
    deployment = fleet.deployments(rollout)[device.id]
    fleet.report(device, deployment, DeploymentState.ACTIVE, report_id="r", active=serving(release))
    ended = fleet.rollout(rollout)
    fleet.events.published.clear()
    fleet.clock.pass_time(days=1)
    fleet.report(device, deployment, DeploymentState.ACTIVE, report_id="r", active=serving(release))
    assert fleet.rollout(rollout) == ended
    assert fleet.events.published == []
    assert len(fleet.read(lambda tx: tx.deployment_reports.list(deployment.id))) == 1


def test_a_report_that_comes_too_late_is_kept_and_moves_nothing(fleet):
    release = fleet.release()
    device = fleet.devices[0]
    rollout = fleet.create(release, devices=[device])
    deployment = fleet.deployments(rollout)[device.id]
    fleet.activate(device, deployment, release)
    others = [state for state in DeploymentState if state is not DeploymentState.ROLLED_BACK]
    for state in others:
        fleet.report(device, deployment, state, reason="late")
    assert fleet.deployments(rollout)[device.id].state is DeploymentState.ACTIVE
    assert fleet.rollout(rollout).state is RolloutState.SUCCEEDED
    assert fleet.read(lambda tx: tx.devices.get(device.id)).active_release == serving(release)
    assert len(fleet.read(lambda tx: tx.deployment_reports.list(deployment.id))) == 1 + len(others)


def test_reports_in_any_order_lead_to_the_same_end(fleet):
    release = fleet.release()
    shuffled = random.Random(7)  # noqa: S311 - no secret
    for _ in range(10):
        rollout = fleet.create(release)
        reports = [
            (device, state)
            for device in fleet.devices
            for state in DeploymentState
            if not state.final or state is DeploymentState.ACTIVE
        ]
        shuffled.shuffle(reports)
        deployments = fleet.deployments(rollout)
        for device, state in reports:
            fleet.report(device, deployments[device.id], state, active=serving(release))
        assert fleet.rollout(rollout).state is RolloutState.SUCCEEDED


def test_a_device_reports_only_for_itself(fleet):
    release = fleet.release()
    rollout = fleet.create(release)
    deployment = fleet.deployments(rollout)["device-0"]
    with pytest.raises(PermissionDeniedError, match="not of device device-1"):
        fleet.report(fleet.devices[1], deployment, DeploymentState.REFUSED)
    assert fleet.deployments(rollout)["device-0"] == deployment
    assert fleet.read(lambda tx: tx.deployment_reports.list(deployment.id)) == ()


def test_a_device_cannot_use_up_the_report_ids_of_another(fleet):
    release = fleet.release()
    rollout = fleet.create(release)
    deployments = fleet.deployments(rollout)
    fleet.report(fleet.devices[1], deployments["device-1"], DeploymentState.REFUSED, report_id="guessed")
    fleet.report(
        fleet.devices[0], deployments["device-0"], DeploymentState.ACTIVE, report_id="guessed", active=serving(release)
    )
    assert fleet.deployments(rollout)["device-0"].state is DeploymentState.ACTIVE


def test_a_report_on_a_deployment_that_never_was_is_refused(fleet):
    deployment = replace(fleet.deployments(fleet.create(fleet.release()))["device-0"], id="nowhere")
    with pytest.raises(NotFoundError):
        fleet.report(fleet.devices[0], deployment, DeploymentState.ACTIVE)


@pytest.mark.parametrize("report_id", ["", "r" * 201])
def test_a_report_needs_an_id_of_a_sensible_length(fleet, report_id):
    deployment = fleet.deployments(fleet.create(fleet.release()))["device-0"]
    with pytest.raises(InvalidInputError, match="at most 200 characters"):
        fleet.run(
            fleet.controller.report(
                device_id="device-0",
                report_id=report_id,
                deployment_id=deployment.id,
                state=DeploymentState.ACTIVE,
                reason="",
                active_release=None,
                reported_at=NOON,
            )
        )


def test_what_a_device_says_is_one_line_of_plain_text(fleet):
    rollout = fleet.create(fleet.release(), devices=fleet.devices[:1])
    evil = "\x1b[31mred\n<script>\u202e" + "x" * 2000
    fleet.report(fleet.devices[0], fleet.deployments(rollout)["device-0"], DeploymentState.FAILED, reason=evil)
    reason = fleet.deployments(rollout)["device-0"].reason
    assert reason.startswith("[31mred <script> xxx")
    assert len(reason) <= 500
    assert "\x1b" not in fleet.rollout(rollout).reason


def test_the_newest_rollout_wins(fleet):
    first, second = fleet.release("1"), fleet.release("2")
    older = fleet.create(first)
    done, *rest = fleet.devices
    fleet.activate(done, fleet.deployments(older)[done.id], first)
    fleet.events.published.clear()
    newer = fleet.create(second)
    for device in fleet.devices:
        assert fleet.desired(device).manifest_sha256 == second.manifest_sha256
    ended = fleet.rollout(older)
    assert ended.state is RolloutState.SUPERSEDED
    assert ended.reason == "1 active, 2 superseded: digits:2 took its place"
    assert {fleet.deployments(older)[device.id].state for device in rest} == {DeploymentState.SUPERSEDED}
    assert fleet.deployments(older)[done.id].state is DeploymentState.ACTIVE
    assert {f"rollout/{older.id}", f"rollout/{newer.id}"} < set(fleet.events.published)


def test_only_the_devices_of_the_newer_rollout_are_taken_from_the_older(fleet):
    older = fleet.create(fleet.release("1"))
    newer = fleet.create(fleet.release("2"), devices=fleet.devices[:1])
    assert fleet.rollout(older).state is RolloutState.RUNNING
    assert fleet.desired(fleet.devices[0]).deployment_id == fleet.deployments(newer)["device-0"].id
    assert fleet.desired(fleet.devices[1]).deployment_id == fleet.deployments(older)["device-1"].id


def test_what_was_superseded_stays_so_whatever_the_device_still_reports(fleet):
    first, second = fleet.release("1"), fleet.release("2")
    device = fleet.devices[0]
    older = fleet.create(first, devices=[device])
    fleet.create(second, devices=[device])
    fleet.activate(device, fleet.deployments(older)[device.id], first)
    assert fleet.rollout(older).state is RolloutState.SUPERSEDED
    assert fleet.desired(device).manifest_sha256 == second.manifest_sha256


def test_everything_is_found_again_by_another_process(fleet):
    release = fleet.release()
    rollout = fleet.create(release, devices=fleet.devices[:1])
    fleet.controller = RolloutController(database=fleet.database, events=Events(), clock=fleet.clock)
    assert fleet.desired(fleet.devices[0]) is not None
    fleet.activate(fleet.devices[0], fleet.deployments(rollout)["device-0"], release)
    assert fleet.rollout(rollout).state is RolloutState.SUCCEEDED


def test_reports_of_many_devices_at_once_end_the_rollout_once(fleet):
    release = fleet.release()
    rollout = fleet.create(release)
    deployments = fleet.deployments(rollout)

    async def all_at_once():
        await asyncio.gather(
            *(
                fleet.controller.report(
                    device_id=device.id,
                    report_id=f"{device.id}/{state.value}",
                    deployment_id=deployments[device.id].id,
                    state=state,
                    reason="",
                    active_release=serving(release),
                    reported_at=NOON,
                )
                for state in (DeploymentState.TESTING, DeploymentState.ACTIVE)
                for device in fleet.devices
            )
        )

    fleet.run(all_at_once())
    assert fleet.rollout(rollout).state is RolloutState.SUCCEEDED


def test_r5_a_removed_device_is_waited_for_no_more(fleet):
    release = fleet.release()
    rollout = fleet.create(release)
    deployments = fleet.deployments(rollout)
    for device in fleet.devices[:2]:
        fleet.activate(device, deployments[device.id], release)
    assert fleet.rollout(rollout).state is RolloutState.RUNNING
    fleet.remove(fleet.devices[2])
    ended = fleet.rollout(rollout)
    assert ended.state is RolloutState.SUCCEEDED
    assert ended.reason == "2 active, 1 removed: device pi-2 was removed from the fleet"


def test_r5_a_rollout_whose_only_device_was_removed_ends_and_has_delivered_nothing(fleet):
    rollout = fleet.create(fleet.release(), devices=fleet.devices[:1])
    fleet.remove(fleet.devices[0])
    ended = fleet.rollout(rollout)
    assert (ended.state, ended.finished_at) == (RolloutState.FAILED, fleet.clock())
    assert ended.reason == "1 removed: device pi-0 was removed from the fleet"


def test_what_a_device_had_finished_before_it_was_removed_stays(fleet):
    release = fleet.release()
    rollout = fleet.create(release, devices=fleet.devices[:1])
    fleet.activate(fleet.devices[0], fleet.deployments(rollout)["device-0"], release)
    fleet.remove(fleet.devices[0])
    assert fleet.deployments(rollout)["device-0"].state is DeploymentState.ACTIVE
    assert fleet.rollout(rollout).state is RolloutState.SUCCEEDED
