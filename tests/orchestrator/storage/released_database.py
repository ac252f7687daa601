"""Databases as each revision left them, kept for ever: ``released/NNNN.sql``.

With a new revision, write its own: ``python -m tests.orchestrator.storage.released_database``.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from orchestrator.audit.entry import chained
from orchestrator.fleet.device import ActiveRelease, MeterFacts, Provenance
from orchestrator.fleet.measurement import Conditions, Energy, Figure, Latency, Memory, Numerics, Quality
from orchestrator.rollouts.rollout import DeploymentState
from orchestrator.search.budget import Verdict
from orchestrator.storage.database import Database
from orchestrator.storage.migration import revisions
from orchestrator.storage.transaction import Transaction
from tests.orchestrator.storage import records
from tests.orchestrator.storage.records import NOW

RELEASED = Path(__file__).with_name("released")


def fill(tx: Transaction) -> None:
    """Adds rows to every table, with something in every column."""
    device = records.a_device(
        last_seen_at=NOW,
        active_release=ActiveRelease(manifest_sha256="e" * 64, name="digits", version="1"),
        next_key_fingerprint="f" * 64,
    )
    tx.devices.add(device)
    token = records.a_join_token(labels={"room": "lab"})
    tx.join_tokens.add(token)
    tx.enrolments.add(token.id, device.key_fingerprint, device.id)
    tx.api_tokens.add(records.an_api_token(expires_at=NOW))
    tx.jobs.add(records.a_job(device_id=device.id, lease_expires_at=NOW + timedelta(minutes=1)))
    tx.measurements.add_once(records.a_measurement(device_id=device.id, **_figures()))
    search = records.a_search(device_ids=(device.id,), finished_at=NOW)
    tx.searches.add(search)
    verdict = Verdict(budget="latency_p95_ms", limit=20.0, value=float("inf"), held=False, device=device.name)
    trial = records.a_trial(
        search,
        size_bytes=1000,
        accuracy=float("nan"),
        train_s=1.5,
        measurement_ids={device.id: "result"},
        verdicts=(verdict,),
        finished_at=NOW,
    )
    tx.trials.add(trial)
    release = records.a_release(search_id=search.id, trial_id=trial.id)
    tx.releases.add(release)
    rollout = records.a_rollout(release, finished_at=NOW)
    tx.rollouts.add(rollout)
    deployment = records.a_deployment(
        rollout, device_id=device.id, started_at=NOW, excused=True, previous_manifest_sha256="e" * 64
    )
    tx.deployments.add(deployment)
    tx.audit_entries.append(
        chained(
            None,
            recorded_at=NOW,
            actor="token local (admin)",
            method="RolloutService/CreateRollout",
            parameters="release=digits:1",
            outcome="allowed",
            request_id="request",
        )
    )
    tx.deployment_reports.add_once("report", deployment.id, DeploymentState.ACTIVE, "", NOW)


def _figures() -> dict[str, object]:
    figure = Figure(value=1.25, lower=1.0, upper=1.5)
    latency = Latency(
        p50_ms=figure,
        p90_ms=figure,
        p95_ms=figure,
        p99_ms=None,
        mean_ms=1.3,
        minimum_ms=0.9,
        sample_count=400,
        load_ms=12.0,
        first_inference_ms=4.0,
        warm_up_count=20,
        steady_state=True,
        quality=Quality.LOW,
        remarks=("load average 2.1",),
    )
    meter = MeterFacts(name="rapl", provenance=Provenance.MEASURED, scope="cpu_package")
    energy = Energy(
        gross_mj=2.0,
        net_mj=1.5,
        lower_mj=1.4,
        upper_mj=1.6,
        meter=meter.name,
        provenance=meter.provenance,
        scope=meter.scope,
    )
    memory = Memory(peak_bytes=50_000_000, baseline_bytes=40_000_000, provenance=Provenance.MEASURED)
    numerics = Numerics(checked=True, maximum_absolute_error=1e-6, maximum_relative_error=float("inf"))
    conditions = Conditions(runtime="onnxruntime", runtime_version="1.32.0", threads=1, temperature_c=51.5)
    return {
        "latency": latency,
        "energy": energy,
        "memory": memory,
        "numerics": numerics,
        "conditions": conditions,
    }


def _dump() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fleetfit.db"
        database = Database.open(f"sqlite:///{file}")
        database.run_blocking(fill)
        database.close()
        connection = sqlite3.connect(file)
        yield from connection.iterdump()
        connection.close()


def main() -> None:
    path = RELEASED / f"{revisions()[-1]}.sql"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(_dump()) + "\n")
    print(path)


if __name__ == "__main__":
    main()
