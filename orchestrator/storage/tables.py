"""The tables. A column is named like the field of the domain type that it holds; migrations follow this file.

Every table has a ``position``, which grows with each row: the order in which things were added is a fact of its own,
whatever the clock said.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    TypedColumns,
    UniqueConstraint,
)

from orchestrator.fleet.api_token import Role
from orchestrator.fleet.device import ActiveRelease, DeviceFacts
from orchestrator.fleet.job import JobState
from orchestrator.fleet.measurement import Conditions, Energy, Latency, MeasureRequest, Memory, Numerics, Outcome
from orchestrator.rollouts.plan import Plan
from orchestrator.rollouts.rollout import DeploymentState, RolloutState
from orchestrator.search.budget import Verdict
from orchestrator.search.search import SearchState
from orchestrator.search.spec import SearchSpec
from orchestrator.search.trial import TrialState
from orchestrator.storage.column_types import (
    StoredDocument,
    StoredEnum,
    StoredFloat,
    StoredInteger,
    StoredText,
    StoredTime,
)

T = TypeVar("T")
E = TypeVar("E", bound=Enum)

# Constraints have names of their own on both databases, so that a migration can drop them.
METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(**options: Any) -> Column[str]:
    return Column(StoredText(), nullable=False, **options)


def _whole(**options: Any) -> Column[int]:
    return Column(StoredInteger(), nullable=False, **options)


def _flag() -> Column[bool]:
    return Column(Boolean(), nullable=False)


def _time(**options: Any) -> Column[datetime]:
    return Column(StoredTime(), nullable=False, **options)


def _enum(enumeration: type[E], **options: Any) -> Column[E]:
    return Column(StoredEnum(enumeration), nullable=False, **options)


def _document(document_type: type[T]) -> Column[T]:
    return Column(StoredDocument(document_type), nullable=False)


def _mapping() -> Column[Mapping[str, str]]:
    mapping: Any = Mapping[str, str]
    return Column(StoredDocument(mapping), nullable=False)


def _optional_time() -> Column[datetime | None]:
    return Column(StoredTime(), nullable=True)


def _optional_whole() -> Column[int | None]:
    return Column(StoredInteger(), nullable=True)


def _optional_float() -> Column[float | None]:
    return Column(StoredFloat(), nullable=True)


def _optional_document(document_type: type[T]) -> Column[T | None]:
    return Column(StoredDocument(document_type), nullable=True)


def _part_of(place: str, **options: Any) -> Column[str]:
    """A reference to the row that this one cannot be without."""
    return Column(StoredText(), ForeignKey(place, **options), nullable=False)


class Positioned(TypedColumns):
    """What every table has."""

    position = Column(BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True)


class Named(Positioned):
    """What a table has whose rows are things with an id."""

    id = _text(unique=True)


class DeviceColumns(Named):
    """Columns of a Device."""

    name = _text(unique=True)
    facts = _document(DeviceFacts)
    key_fingerprint = _text(unique=True)
    certificate_expires_at = _time()
    enrolled_at = _time()
    labels = _mapping()
    last_seen_at = _optional_time()
    session_epoch = _whole()
    active_release = _optional_document(ActiveRelease)
    next_key_fingerprint = _text()


class JoinTokenColumns(Named):
    """Columns of a JoinToken."""

    secret_hash = _text()
    created_at = _time()
    expires_at = _time()
    maximum_uses = _whole()
    uses = _whole()
    revoked = _flag()
    labels = _mapping()


class EnrolmentColumns(Positioned):
    """Which device came of a token and a key."""

    token_id = _part_of("join_tokens.id", ondelete="CASCADE")
    key_fingerprint = _text()
    device_id = _part_of("devices.id", ondelete="CASCADE")


class ApiTokenColumns(Named):
    """Columns of an ApiToken."""

    name = _text()
    role = _enum(Role)
    secret_hash = _text(unique=True)
    created_at = _time()
    expires_at = _optional_time()
    revoked = _flag()


class JobColumns(Named):
    """Columns of a Job. The device is not a reference: what was asked of a device outlives its removal."""

    key = _text(unique=True)
    device_id = _text()
    request = _document(MeasureRequest)
    state = _enum(JobState)
    created_at = _time()
    attempt = _whole()
    lease_expires_at = _optional_time()
    progress = _text()
    result_id = _text()
    error = _text()


class MeasurementColumns(Positioned):
    """Columns of a Measurement. The device is not a reference: measurements stay when a device is removed."""

    result_id = _text(unique=True)
    device_id = _text()
    device_class = _text()
    artifact_sha256 = _text()
    outcome = _enum(Outcome)
    measured_at = _time()
    detail = _text()
    latency = _optional_document(Latency)
    energy = _optional_document(Energy)
    memory = _optional_document(Memory)
    numerics = _optional_document(Numerics)
    conditions = _document(Conditions)


class SearchColumns(Named):
    """Columns of a Search."""

    name = _text()
    state = _enum(SearchState, index=True)
    spec = _document(SearchSpec)
    workload_filename = _text()
    workload_sha256 = _text()
    device_ids = _document(tuple[str, ...])
    created_at = _time()
    idempotency_key = _text()
    reason = _text()
    metric_name = _text()
    baseline_sha256 = _text()
    baseline_trial_id = _text()
    best_trial_id = _text()
    closest_trial_id = _text()
    finished_at = _optional_time()


class TrialColumns(Named):
    """Columns of a Trial."""

    search_id = _part_of("searches.id", ondelete="CASCADE")
    number = _whole()
    title = _text()
    recipe_json = _text()
    state = _enum(TrialState)
    created_at = _time()
    reason = _text()
    progress = _text()
    format = _text()
    size_bytes = _optional_whole()
    structure_sha256 = _text(index=True)
    draft_sha256 = _text()
    artifact_sha256 = _text()
    golden_sha256 = _text()
    golden_tolerance = _optional_float()
    accuracy = _optional_float()
    train_s = _optional_float()
    passes_json = _text()
    measurement_ids = _mapping()
    verdicts = _document(tuple[Verdict, ...])
    finished_at = _optional_time()


class ReleaseColumns(Named):
    """Columns of a Release. Search and trial are not references: a release outlives where it came from."""

    name = _text()
    version = _text()
    counter = _whole()
    manifest_path = _text()
    manifest_sha256 = _text(index=True)
    manifest_json = _text()
    artifact_sha256 = _text()
    artifact_size_bytes = _whole()
    artifact_format = _text()
    search_id = _text()
    trial_id = _text()
    created_at = _time()


class RolloutColumns(Named):
    """Columns of a Rollout."""

    release_id = _part_of("releases.id")
    selector = _text()
    state = _enum(RolloutState, index=True)
    created_at = _time()
    plan = _document(Plan)
    wave = _whole()
    idempotency_key = _text()
    reason = _text()
    finished_at = _optional_time()


class DeploymentColumns(Named):
    """Columns of a Deployment. The device is not a reference: what was delivered outlives the device's removal."""

    rollout_id = _part_of("rollouts.id", ondelete="CASCADE")
    device_id = _text(index=True)
    state = _enum(DeploymentState)
    updated_at = _time()
    wave = _whole()
    started_at = _optional_time()
    excused = _flag()
    previous_manifest_sha256 = _text()
    reason = _text()


class DeploymentReportColumns(Positioned):
    """Columns of a DeploymentReport."""

    report_id = _text(unique=True)
    deployment_id = _part_of("deployments.id", ondelete="CASCADE")
    state = _enum(DeploymentState)
    reason = _text()
    reported_at = _time()


class AuditEntryColumns(Positioned):
    """Columns of an AuditEntry."""

    number = _whole(unique=True)
    recorded_at = _time()
    actor = _text()
    method = _text()
    parameters = _text()
    outcome = _text()
    request_id = _text()
    previous_hash = _text()
    hash = _text()


DEVICES = Table("devices", METADATA, DeviceColumns)
JOIN_TOKENS = Table("join_tokens", METADATA, JoinTokenColumns)
ENROLMENTS = Table("enrolments", METADATA, EnrolmentColumns, UniqueConstraint("token_id", "key_fingerprint"))
API_TOKENS = Table("api_tokens", METADATA, ApiTokenColumns)
JOBS = Table(
    "jobs",
    METADATA,
    JobColumns,
    Index(None, "device_id", "state"),
    Index(None, "state", "lease_expires_at"),
)
MEASUREMENTS = Table(
    "measurements",
    METADATA,
    MeasurementColumns,
    Index(None, "artifact_sha256", "device_id"),
    Index(None, "device_id"),
)
SEARCHES = Table("searches", METADATA, SearchColumns, Index(None, "name"))
TRIALS = Table("trials", METADATA, TrialColumns, UniqueConstraint("search_id", "number"))
RELEASES = Table(
    "releases", METADATA, ReleaseColumns, UniqueConstraint("name", "version"), UniqueConstraint("name", "counter")
)
ROLLOUTS = Table("rollouts", METADATA, RolloutColumns, Index(None, "release_id"))
DEPLOYMENTS = Table("deployments", METADATA, DeploymentColumns, UniqueConstraint("rollout_id", "device_id"))
DEPLOYMENT_REPORTS = Table("deployment_reports", METADATA, DeploymentReportColumns, Index(None, "deployment_id"))
AUDIT_ENTRIES = Table("audit_entries", METADATA, AuditEntryColumns)

# A key names one request; requests without a key are many.
for _table in (SEARCHES, ROLLOUTS):
    _key = _table.c.idempotency_key
    Index(f"uq_{_table.name}_idempotency_key", _key, unique=True, sqlite_where=_key != "", postgresql_where=_key != "")
