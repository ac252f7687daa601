"""Every verb against a server that speaks the real protocol: table, JSON, exit code, and the next step."""

import hashlib
import json
import sys

import pytest
from fleetfit.v1 import audit_pb2, rollouts_pb2, searches_pb2, session_pb2

from orchestrator.errors import ConflictError
from tests.fakes.fake_api import a_device, a_finished_search, a_release, a_rollout, a_search, a_trial


def lines_of_json(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_status_tells_who_the_caller_is(fleetfit, server):
    finished = fleetfit("status")
    assert finished.code == 0
    assert "fleetfit 0.1.0 at 127.0.0.1:7443" in finished.out
    assert "1 of 1 online" in finished.out


def test_status_as_json(fleetfit, server):
    content = json.loads(fleetfit("status", "--json").out)
    assert content["schema_version"] == 1
    assert content["server"]["role"] == "admin"
    assert content["device_count"] == 1


def test_status_of_an_empty_fleet_says_what_to_do_next(fleetfit, server):
    server.script.devices = []
    assert "Next: fleetfit join-token create" in fleetfit("status").err


def test_a_join_token_is_one_line_to_paste(fleetfit, server):
    finished = fleetfit("join-token", "create", "--ttl", "1h", "--uses", "2", "--label", "room=lab")
    assert finished.code == 0
    assert finished.out == "fleetfit-agent join 127.0.0.1:7443 --token ffj_secret --ca-hash sha256:ab12\n"
    assert "2 devices" in finished.err
    assert "fleetfit up --host 0.0.0.0" in finished.err
    (request,) = server.script.received["CreateJoinToken"]
    assert (request.time_to_live.seconds, request.maximum_uses, dict(request.labels)) == (3600, 2, {"room": "lab"})


def test_a_join_token_as_json_has_all_that_a_script_needs(fleetfit, server):
    content = json.loads(fleetfit("join-token", "create", "-o", "json").out)
    assert content["token"] == "ffj_secret"
    assert content["ca_hash"] == "sha256:ab12"
    assert content["address"] == "127.0.0.1:7443"
    assert content["expires_at"] == "2026-11-24T08:15:00.000Z"


def test_listed_join_tokens_say_their_state_and_no_secret(fleetfit, server):
    fleetfit("join-token", "create")
    fleetfit("join-token", "create")
    assert fleetfit("join-token", "revoke", "jt-2").code == 0
    finished = fleetfit("join-token", "list")
    assert finished.out.splitlines()[0].split() == ["ID", "STATE", "USES", "EXPIRES", "LABELS"]
    assert "revoked" in finished.out
    assert "ffj_secret" not in finished.out
    assert [token["state"] for token in json.loads(fleetfit("join-token", "list", "--json").out)["join_tokens"]][
        1
    ] == "revoked"


def test_devices_as_a_table_are_not_cut_where_there_is_no_terminal(fleetfit, server):
    server.script.devices.append(a_device("another-device-with-quite-a-long-name-" + "x" * 60, online=False))
    finished = fleetfit("device", "list")
    assert finished.code == 0
    header, first, second = finished.out.splitlines()
    assert header.split()[:3] == ["NAME", "STATE", "ARCH"]
    assert "online, idle" in first
    assert "x" * 60 in second
    assert "Raspberry Pi 5 Model B Rev 1.0" in second


def test_devices_as_json_have_stable_keys_with_units(fleetfit, server):
    content = json.loads(fleetfit("device", "list", "--json").out)
    (device,) = content["devices"]
    assert set(device) == {
        "id", "name", "device_class", "online", "activity", "facts", "labels", "active_release", "enrolled_at",
        "last_seen_at", "certificate_expires_at",
    }  # fmt: skip
    assert device["enrolled_at"] == "2026-11-24T08:00:00.000Z"
    assert device["facts"]["memory_bytes"] == 8_000_000_000
    assert device["facts"]["meters"] == [{"name": "pmic", "provenance": "measured", "scope": "board"}]


def test_an_empty_list_is_empty_on_stdout_and_helpful_on_stderr(fleetfit, server):
    server.script.devices = []
    finished = fleetfit("device", "list")
    assert (finished.code, finished.out) == (0, "")
    assert "fleetfit join-token create" in finished.err
    assert json.loads(fleetfit("device", "list", "--json").out)["devices"] == []


def test_a_device_shows_its_facts(fleetfit, server):
    out = fleetfit("device", "show", "my-pi").out
    for expected in ("aarch64", "asimddp", "onnxruntime 1.32.0 (onnx)", "pmic (board, measured)", "room=lab"):
        assert expected in out
    assert json.loads(fleetfit("device", "show", "my-pi", "--json").out)["device"]["name"] == "my-pi"


def test_labels_are_set_and_removed_in_one_command(fleetfit, server):
    finished = fleetfit("device", "label", "my-pi", "owner=ada", "room-", "--json")
    assert json.loads(finished.out)["device"]["labels"] == {"owner": "ada"}
    assert "owner=ada" in finished.err


def test_a_device_is_removed_with_a_yes(fleetfit, server):
    finished = fleetfit("device", "remove", "my-pi", "--yes")
    assert finished.code == 0
    assert server.script.devices == []


def test_without_a_terminal_nothing_is_removed_without_a_yes(fleetfit, server, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    finished = fleetfit("device", "remove", "my-pi")
    assert finished.code == 2
    assert "--yes" in finished.err
    assert len(server.script.devices) == 1


def test_a_search_ends_with_baseline_and_winner_side_by_side(fleetfit, server, workload):
    a_finished_search(server.script)
    finished = fleetfit("search", "run", str(workload), "--device", "my-pi", "--latency-p95", "2ms")
    assert finished.code == 0, finished.err
    assert "winner of digits: trial 1" in finished.out
    size = next(line for line in finished.out.splitlines() if line.startswith("size"))
    assert "120kB" in size
    assert "20.0kB" in size
    energy = next(line for line in finished.out.splitlines() if line.startswith("energy"))
    assert "estimated" in energy
    assert "held" in next(line for line in finished.out.splitlines() if line.startswith("latency"))
    assert "Next: fleetfit push digits --device my-pi" in finished.err


def test_without_a_terminal_a_search_tells_each_state_once(fleetfit, server, workload):
    a_finished_search(server.script)
    finished = fleetfit("search", "run", str(workload), "--device", "my-pi", "--latency-p95", "2ms")
    told = [line for line in finished.err.splitlines() if "trial 1" in line]
    assert [word for line in told for word in ("training", "feasible") if word in line] == ["training", "feasible"]
    assert "best so far: trial 1" in finished.err
    assert "\x1b" not in finished.err + finished.out


def test_what_a_search_takes_with_it_at_its_end_is_not_told_line_by_line(fleetfit, server, workload):
    reason = "digits.py:12: no such file"
    ended = a_search(searches_pb2.SEARCH_STATE_FAILED, reason=reason)
    trials = [a_trial(number, searches_pb2.TRIAL_STATE_CANCELLED, reason=reason) for number in range(9)]
    server.script.searches, server.script.trials = [ended], trials
    server.script.snapshots = [searches_pb2.WatchSearchResponse(search=ended, trials=trials)]
    finished = fleetfit("search", "watch", "digits")
    assert finished.err.count(reason) == 1


def test_the_options_become_the_spec(fleetfit, server, workload):
    a_finished_search(server.script)
    fleetfit(
        "search", "run", str(workload), "--device", "my-pi", "--device", "room=lab", "--latency-p95", "20ms",
        "--energy", "15mJ", "--memory", "64MiB", "--size", "100kB", "--accuracy", "97%", "--max-accuracy-drop", "1%",
        "--name", "night-run", "--time-limit", "30m", "--max-trials", "12", "--sampler", "random", "--seed", "7",
        "--parallel", "2", "--detach",
    )  # fmt: skip
    (request,) = server.script.received["CreateSearch"]
    assert json.loads(request.spec_json) == {
        "name": "night-run",
        "devices": ["my-pi", "room=lab"],
        "budgets": {
            "latency_p95": "20ms", "energy": "15mJ", "memory": "64MiB", "size": "100kB", "accuracy": "97%",
            "accuracy_drop": "1%",
        },
        "time_limit": "30m", "max_trials": 12, "sampler": "random", "seed": 7, "parallel": 2,
    }  # fmt: skip
    assert request.workload_source == workload.read_bytes()


def test_a_spec_file_is_completed_by_options(fleetfit, server, workload, tmp_path):
    a_finished_search(server.script)
    spec = tmp_path / "search.yaml"
    spec.write_text("workload: digits.py\nname: from-file\nbudgets:\n  latency_p95: 20ms\n  size: 100kB\nseed: 3\n")
    fleetfit("search", "run", str(spec), "--device", "my-pi", "--size", "50kB", "--detach")
    (request,) = server.script.received["CreateSearch"]
    assert json.loads(request.spec_json) == {
        "name": "from-file", "devices": ["my-pi"], "budgets": {"latency_p95": "20ms", "size": "50kB"}, "seed": 3,
    }  # fmt: skip


def test_recipes_from_files_are_sent(fleetfit, server, workload, tmp_path):
    a_finished_search(server.script)
    recipe = tmp_path / "half.yaml"
    recipe.write_text("passes:\n  - pass: structured_prune\n    amount: 0.5\n")
    finished = fleetfit(
        "search", "run", str(workload), "--device", "my-pi", "--size", "1MB", "--recipe", str(recipe), "--detach"
    )
    assert finished.code == 0, finished.err
    (request,) = server.script.received["CreateSearch"]
    (sent,) = json.loads(request.spec_json)["recipes"]
    assert sent["passes"][0]["pass"] == "structured_prune"


def test_a_detached_search_prints_its_id_and_how_to_watch_it(fleetfit, server, workload):
    a_finished_search(server.script)
    finished = fleetfit("search", "run", str(workload), "--device", "my-pi", "--latency-p95", "2ms", "--detach")
    assert finished.out == "s-1\n"
    assert "Next: fleetfit search watch digits" in finished.err
    assert "WatchSearch" not in server.script.received


def test_a_dry_run_shows_the_plan_and_starts_nothing(fleetfit, server, workload):
    arguments = ("search", "run", str(workload), "--device", "my-pi", "--latency-p95", "2ms", "--dry-run")
    assert "latency p95 ≤ 2.00ms" in fleetfit(*arguments).out
    content = json.loads(fleetfit(*arguments, "--json").out)
    assert content["devices"] == ["my-pi"]
    assert content["spec"]["budgets"]["latency_p95"] == "2ms"
    assert "CreateSearch" not in server.script.received


def test_a_search_as_json_lines_tells_each_change_and_then_the_end(fleetfit, server, workload):
    a_finished_search(server.script)
    finished = fleetfit("search", "run", str(workload), "--device", "my-pi", "--latency-p95", "2ms", "--json")
    events = lines_of_json(finished.out)
    assert [event["event"] for event in events[:-1]] == ["trial"] * (len(events) - 1)
    assert [event["trial"]["state"] for event in events[:-1]] == ["building", "infeasible", "training", "feasible"]
    assert events[-1]["event"] == "end"
    assert events[-1]["search"]["state"] == "succeeded"
    winner = events[-1]["search"]["trials"][1]
    assert winner["measurements"]["my-pi"]["latency"]["p95_ms"]["value"] == pytest.approx(1.0)
    assert winner["measurements"]["my-pi"]["energy"]["provenance"] == "estimated"


def test_no_winner_ends_with_3_the_closest_candidate_and_by_how_much(fleetfit, server, workload):
    a_finished_search(server.script, feasible=False)
    finished = fleetfit("search", "run", str(workload), "--device", "my-pi", "--latency-p95", "2ms")
    assert finished.code == 3
    assert "closest of digits: trial 1" in finished.out
    assert "NOT HELD" in finished.out
    assert "latency p95 2.75ms on my-pi is over the budget of 2.00ms by 37.5%" in finished.err
    assert "Traceback" not in finished.err


def test_no_winner_as_json_has_the_reason_for_scripts(fleetfit, server, workload):
    a_finished_search(server.script, feasible=False)
    finished = fleetfit("search", "run", str(workload), "--device", "my-pi", "--latency-p95", "2ms", "--json")
    error = lines_of_json(finished.out)[-1]["error"]
    assert (finished.code, error["reason"], error["exit_code"]) == (3, "NO_FEASIBLE_MODEL", 3)


def test_a_search_that_failed_says_why(fleetfit, server):
    server.script.searches = [a_search(searches_pb2.SEARCH_STATE_FAILED, reason="digits.py:12: no such file")]
    finished = fleetfit("search", "watch", "digits")
    assert finished.code == 1
    assert "digits.py:12: no such file" in finished.err


def test_ctrl_c_detaches_and_says_how_to_come_back(fleetfit, server, monkeypatch):
    from orchestrator.client import Client

    def interrupted(*_, **__):
        raise KeyboardInterrupt
        yield

    a_finished_search(server.script)
    monkeypatch.setattr(Client, "watch_search", interrupted)
    finished = fleetfit("search", "watch", "digits")
    assert finished.code == 130
    assert finished.err.startswith("stopped watching; search digits goes on")
    assert "fleetfit search watch digits" in finished.err
    assert "CancelSearch" not in server.script.received


def test_searches_as_a_table_and_as_json(fleetfit, server):
    a_finished_search(server.script)
    assert "succeeded" in fleetfit("search", "list").out
    (search,) = json.loads(fleetfit("search", "list", "--json").out)["searches"]
    assert (search["name"], search["training_count"], search["finished_at"]) == (
        "digits", 3, "2026-11-24T08:01:30.000Z",
    )  # fmt: skip


def test_a_search_shows_its_trials_and_why_each_ended(fleetfit, server):
    a_finished_search(server.script)
    finished = fleetfit("search", "show", "digits")
    assert "latency p95 is over its budget" in finished.out
    assert "feasible, best so far" in finished.out
    assert "winner" in finished.out
    assert len(json.loads(fleetfit("search", "show", "digits", "--json").out)["search"]["trials"]) == 2


def test_a_cancelled_search_says_so(fleetfit, server):
    a_finished_search(server.script)
    finished = fleetfit("search", "cancel", "digits")
    assert (finished.code, finished.err.splitlines()[0]) == (0, "Search digits is cancelled.")


def test_a_report_becomes_a_file(fleetfit, server, tmp_path):
    a_finished_search(server.script)
    assert fleetfit("search", "report", "digits").out == "digits-report.html\n"
    assert (tmp_path / "digits-report.html").read_text().startswith("<!doctype html>")
    assert "<title>report</title>" in fleetfit("search", "report", "digits", "--to", "-").out


def test_a_report_that_cannot_be_written_leaves_nothing(fleetfit, server, tmp_path):
    a_finished_search(server.script)
    finished = fleetfit("search", "report", "digits", "--to", str(tmp_path / "none" / "report.html"))
    assert finished.code == 1
    assert "--to" in finished.err


def test_a_download_becomes_a_file_that_has_its_hash(fleetfit, server, tmp_path):
    a_finished_search(server.script)
    server.script.artifact_sha256 = hashlib.sha256(server.script.artifact).hexdigest()
    content = json.loads(fleetfit("search", "download", "digits", "--to", "model.onnx", "--json").out)
    assert (tmp_path / "model.onnx").read_bytes() == server.script.artifact
    assert (content["size_bytes"], content["sha256"]) == (8, server.script.artifact_sha256)


def test_a_damaged_download_leaves_no_file(fleetfit, server, tmp_path):
    server.script.artifact_sha256 = "00" * 32
    finished = fleetfit("search", "download", "digits", "--to", "model.onnx")
    assert finished.code == 1
    assert not (tmp_path / "model.onnx").exists()


def test_releases_as_a_table_and_as_json(fleetfit, server):
    server.script.releases = [a_release()]
    assert "digits:1" in fleetfit("release", "list").out
    (release,) = json.loads(fleetfit("release", "list", "--json").out)["releases"]
    assert (release["name"], release["version"], release["artifact_size_bytes"]) == ("digits", "1", 20_000)


def test_a_release_shows_its_manifest_as_signed(fleetfit, server):
    server.script.releases = [a_release()]
    assert '"name": "digits"' in fleetfit("release", "show", "digits:1").out


def test_a_release_is_created_without_delivering_it(fleetfit, server):
    finished = fleetfit("release", "create", "digits", "--trial", "2", "--version", "2026.1")
    assert finished.out == "digits:2026.1\n"
    assert "Next: fleetfit rollout create digits:2026.1" in finished.err
    assert server.script.received["CreateRelease"][0].trial_number == 2


@pytest.mark.parametrize(("options", "expected"), [((), None), (("--trial", "0"), 0), (("--trial", "3"), 3)])
def test_the_baseline_is_a_trial_like_any_other_and_not_the_winner(fleetfit, server, options, expected):
    assert fleetfit("release", "create", "digits", *options).code == 0
    (request,) = server.script.received["CreateRelease"]
    assert (request.trial_number if request.HasField("trial_number") else None) == expected


def deliver(server, state: int, deployment: int, reason: str = "") -> None:
    ended = a_rollout(state, deployment, reason)
    server.script.rollouts = [ended]
    server.script.rollout_snapshots = [
        a_rollout(rollouts_pb2.ROLLOUT_STATE_RUNNING, session_pb2.DEPLOYMENT_STATE_VERIFYING),
        ended,
    ]


def test_a_push_waits_until_the_device_runs_it(fleetfit, server):
    deliver(server, rollouts_pb2.ROLLOUT_STATE_SUCCEEDED, session_pb2.DEPLOYMENT_STATE_ACTIVE)
    finished = fleetfit("push", "digits", "--device", "my-pi")
    assert finished.code == 0
    assert [line for line in finished.err.splitlines() if line.startswith("my-pi")] == [
        "my-pi  verifying", "my-pi  active",
    ]  # fmt: skip
    assert "succeeded" in finished.out


def test_a_refused_push_ends_with_9_and_the_reason(fleetfit, server):
    reason = "the artifact has another hash than its manifest"
    deliver(server, rollouts_pb2.ROLLOUT_STATE_FAILED, session_pb2.DEPLOYMENT_STATE_REFUSED, reason)
    finished = fleetfit("push", "digits", "--device", "my-pi")
    assert finished.code == 9
    assert f"device my-pi refused release digits:1 ({reason})" in finished.err
    assert "serves what it served before" in finished.err


def test_a_push_to_nobody_makes_no_release(fleetfit, server):
    finished = fleetfit("push", "digits", "--device", "other-pi")
    assert finished.code == 4
    assert "CreateRelease" not in server.script.received


def test_a_detached_push_prints_the_rollout(fleetfit, server):
    deliver(server, rollouts_pb2.ROLLOUT_STATE_RUNNING, session_pb2.DEPLOYMENT_STATE_PENDING)
    finished = fleetfit("push", "digits", "--device", "my-pi", "--detach")
    assert finished.out == "ro-1\n"
    assert "Next: fleetfit rollout watch ro-1" in finished.err


def test_rollouts_as_a_table_and_as_json(fleetfit, server):
    deliver(server, rollouts_pb2.ROLLOUT_STATE_SUCCEEDED, session_pb2.DEPLOYMENT_STATE_ACTIVE)
    assert "1/1" in fleetfit("rollout", "list").out
    (rollout,) = json.loads(fleetfit("rollout", "list", "--json").out)["rollouts"]
    assert rollout["deployments"][0]["state"] == "active"
    assert "active" in fleetfit("rollout", "show", "ro-1").out
    assert json.loads(fleetfit("rollout", "show", "ro-1", "--json").out)["rollout"]["release"] == "digits:1"


def test_a_watched_rollout_as_json_lines(fleetfit, server):
    deliver(server, rollouts_pb2.ROLLOUT_STATE_FAILED, session_pb2.DEPLOYMENT_STATE_ROLLED_BACK, "too slow here")
    finished = fleetfit("rollout", "watch", "ro-1", "--json")
    events = lines_of_json(finished.out)
    assert [event.get("event") for event in events] == ["deployment", "deployment", "end", None]
    assert finished.code == events[-1]["error"]["exit_code"] == 9


def test_a_rollout_is_created_from_a_release(fleetfit, server):
    deliver(server, rollouts_pb2.ROLLOUT_STATE_SUCCEEDED, session_pb2.DEPLOYMENT_STATE_ACTIVE)
    assert fleetfit("rollout", "create", "digits:1", "--device", "my-pi").code == 0
    (request,) = server.script.received["CreateRollout"]
    assert (request.release, request.selector) == ("digits:1", "my-pi")


def test_a_rollout_in_waves_is_asked_for_as_it_was_written(fleetfit, server):
    deliver(server, rollouts_pb2.ROLLOUT_STATE_SUCCEEDED, session_pb2.DEPLOYMENT_STATE_ACTIVE)
    plan = ["--waves", "1,10%,100%", "--success", "90%", "--errors", "0.2", "--min-sample", "3", "--soak", "1h"]
    more = ["--max-parallel", "5", "--deadline", "2h", "--open", "--seed", "7"]
    assert fleetfit("rollout", "create", "digits:1", "--device", "all", *plan, *more).code == 0
    asked = server.script.received["CreateRollout"][0].plan
    assert [(size.devices, size.fraction) for size in asked.waves] == [(1, 0), (0, 0.1), (0, 1)]
    assert (asked.success_fraction, asked.error_fraction, asked.minimum_sample) == (0.9, 0.2, 3)
    assert (asked.soak.seconds, asked.offline_deadline.seconds) == (3600, 7200)
    assert (asked.max_parallel, asked.open, asked.seed) == (5, True, 7)


def test_a_push_asks_for_no_waves_unless_it_is_told_to(fleetfit, server):
    deliver(server, rollouts_pb2.ROLLOUT_STATE_SUCCEEDED, session_pb2.DEPLOYMENT_STATE_ACTIVE)
    assert fleetfit("push", "digits", "--device", "my-pi").code == 0
    assert fleetfit("push", "digits", "--device", "my-pi", "--waves", "1,100%").code == 0
    plain, in_waves = server.script.received["CreateRollout"]
    assert not plain.HasField("plan")
    assert len(in_waves.plan.waves) == 2


@pytest.mark.parametrize("waves", ["1,50%", "none", "0,100%"])
def test_waves_that_make_no_sense_are_refused_before_anything_is_asked(fleetfit, server, waves):
    finished = fleetfit("push", "digits", "--device", "my-pi", "--waves", waves)
    assert finished.code == 2
    assert "100%" in finished.err
    assert "CreateRelease" not in server.script.received


def test_a_paused_rollout_ends_the_watch_with_9_and_says_what_to_do(fleetfit, server):
    deliver(server, rollouts_pb2.ROLLOUT_STATE_PAUSED, session_pb2.DEPLOYMENT_STATE_FAILED)
    finished = fleetfit("rollout", "watch", "ro-1")
    assert finished.code == 9
    assert "is paused" in finished.err
    assert "fleetfit rollout resume ro-1" in finished.err


@pytest.mark.parametrize(("verb", "method"), [
    ("pause", "PauseRollout"), ("resume", "ResumeRollout"), ("abort", "AbortRollout"), ("retry", "RetryRollout"),
    ("rollback", "RollBackRollout"),
])  # fmt: skip
def test_a_rollout_is_steered(fleetfit, server, verb, method):
    deliver(server, rollouts_pb2.ROLLOUT_STATE_RUNNING, session_pb2.DEPLOYMENT_STATE_PENDING)
    finished = fleetfit("rollout", verb, "ro-1")
    assert finished.code == 0
    assert "ro-1" in finished.out
    assert server.script.received[method][0].rollout == "ro-1"
    assert json.loads(fleetfit("rollout", verb, "ro-1", "--json").out)


def test_a_token_is_made_shown_once_and_revoked(fleetfit, server):
    made = fleetfit("token", "create", "ci", "--role", "operator", "--ttl", "90d")
    assert made.out == "ffo1.id.secret\n"
    (request,) = server.script.received["CreateApiToken"]
    assert (request.name, request.role, request.time_to_live.seconds) == ("ci", "operator", 90 * 86_400)
    assert "valid" in fleetfit("token", "list").out
    assert "secret" not in fleetfit("token", "list", "--json").out
    assert json.loads(fleetfit("token", "revoke", "at-1", "--json").out)["token"]["revoked"] is True
    assert fleetfit("token", "create", "ci", "--role", "king").code == 2


def test_the_audit_log_is_shown(fleetfit, server):
    entry = audit_pb2.AuditEntry(
        number=1, actor="token ci (operator)", method="RolloutService/CreateRollout", parameters="release=digits:1",
        outcome="allowed", hash="ab" * 32,
    )  # fmt: skip
    server.script.audit_entries = [entry]
    out = fleetfit("audit", "list", "--limit", "5").out
    assert "token ci (operator)" in out
    assert server.script.received["ListAuditEntries"][0].limit == 5
    assert json.loads(fleetfit("audit", "list", "--json").out)["entries"][0]["outcome"] == "allowed"


def test_a_whole_audit_log_prints_its_last_hash_and_a_broken_one_names_the_entry(fleetfit, server):
    assert fleetfit("audit", "verify").out.strip() == "ab" * 32
    assert json.loads(fleetfit("audit", "verify", "--json").out)["verdict"]["first_broken"] is None
    server.script.audit_first_broken = 7
    broken = fleetfit("audit", "verify")
    assert broken.code == 1
    assert "audit entry 7 is not what was recorded" in broken.err


def test_aliases_of_other_tools_are_understood(fleetfit, server):
    assert fleetfit("devices", "ls").out == fleetfit("device", "list").out
    assert fleetfit("device", "describe", "my-pi").code == 0


def test_what_the_server_says_is_one_line_with_its_exit_code(fleetfit, server):
    server.script.error = ConflictError("search digits has ended", hint="start another one")
    finished = fleetfit("search", "cancel", "digits")
    assert finished.code == 7
    assert finished.err == "error: search digits has ended\nhint: start another one\n"


def test_text_from_a_device_cannot_move_the_cursor(fleetfit, server):
    server.script.devices = [a_device("my-pi", activity="idle\x1b[2J\nroot@host:~# [red]")]
    out = fleetfit("device", "list").out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 2
    assert "[red]" in out
