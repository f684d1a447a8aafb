"""What the five steps write and read: states, steps, series, scans, bundles, fingerprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import Row, execute, fetch_all, fetch_one
from deepbrainprint.errors import BadStudy, Conflict, Misconfigured
from deepbrainprint.records import (
    BundleId,
    Contrast,
    EncoderId,
    FloatArray,
    Scan,
    ScanId,
    SeriesChoice,
    State,
    StudyId,
    StudyRevision,
)

FINAL_STATES = frozenset(
    {State.DECIDED, State.NOT_APPLICABLE, State.REJECTED, State.FAILED, State.SUPERSEDED}
)


@dataclass(frozen=True)
class Bundle:
    """What decides: an encoder, a way of preprocessing, and a calibration with thresholds."""

    bundle_id: BundleId
    encoder_id: EncoderId
    encoder_version: str
    encoder_digest: str
    preprocessing_version: str
    calibration: dict[str, Any]


@dataclass(frozen=True)
class Findings:
    """What was found out about a scan: `pass`, `flag` or `fail`, why, and its figures."""

    verdict: str
    code: str
    reasons: Sequence[str]
    quality: Mapping[str, float]


def revision_state(connection: Connection, run: StudyRevision) -> State:
    """State of a revision, locked until commit. Conflict when there is no such revision."""
    row = fetch_one(connection, "revision_state", study_id=run.study_id, revision=run.revision)
    if row is None:
        raise Conflict(f"{run} does not exist in this database", code="no_such_revision")
    return State(row[0])


def set_state(
    connection: Connection,
    run: StudyRevision,
    state: State,
    *,
    reason_code: str = "",
    reason: str = "",
) -> None:
    """Move a revision to `state`; a final one keeps its reason."""
    execute(
        connection,
        "set_state",
        study_id=run.study_id,
        revision=run.revision,
        state=state.value,
        reason_code=reason_code,
        reason=reason,
        final=state in FINAL_STATES,
    )


def fail_revision(connection: Connection, run: StudyRevision, *, code: str, reason: str) -> bool:
    """Record that a run ended without a result; False when the revision was not open."""
    touched = execute(
        connection,
        "fail_revision",
        study_id=run.study_id,
        revision=run.revision,
        reason_code=code,
        reason=reason,
    )
    return touched > 0


def insert_step_run(  # noqa: PLR0913 — one argument per column
    connection: Connection,
    run: StudyRevision,
    *,
    step: str,
    started_at: datetime,
    outcome: str = "done",
    reason_code: str = "",
    reason: str = "",
) -> None:
    """Remember how one step of one run went."""
    execute(
        connection,
        "insert_step_run",
        study_id=run.study_id,
        revision=run.revision,
        step=step,
        started_at=started_at,
        outcome=outcome,
        reason_code=reason_code,
        reason=reason,
    )


def replace_series(
    connection: Connection,
    run: StudyRevision,
    choice: SeriesChoice,
    *,
    chosen: bool,
    failure: BadStudy | None = None,
) -> None:
    """Store what one series was taken for, and why it could not be converted."""
    values = asdict(choice) | {
        "contrast": choice.contrast.value,
        "chosen": chosen,
        "failure_code": failure.code if failure else "",
        "failure": str(failure) if failure else "",
    }
    execute(connection, "replace_series", study_id=run.study_id, revision=run.revision, **values)


def ensure_scan(
    connection: Connection, run: StudyRevision, choice: SeriesChoice, *, folder: Path
) -> ScanId:
    """The scan row of a chosen series; `folder` is relative to the studies folder."""
    row = _only(
        fetch_one(
            connection,
            "ensure_scan",
            study_id=run.study_id,
            revision=run.revision,
            series_uid=choice.series_uid,
            contrast=choice.contrast.value,
            folder=str(folder),
        )
    )
    return ScanId(row[0])


def scans_of(connection: Connection, run: StudyRevision) -> list[Scan]:
    """Scans of a revision, first chosen first."""
    rows = fetch_all(connection, "scans_of", study_id=run.study_id, revision=run.revision)
    return [
        Scan(ScanId(scan), StudyId(study), revision, uid, Contrast(contrast), Path(folder), *rest)
        for scan, study, revision, uid, contrast, folder, *rest in rows
    ]


def set_verdict(connection: Connection, scan_id: ScanId, found: Findings) -> None:
    """Store what was found out about a scan."""
    execute(
        connection,
        "set_verdict",
        scan_id=scan_id,
        verdict=found.verdict,
        code=found.code,
        reasons=list(found.reasons),
        quality=json.dumps(dict(found.quality)),
    )


def set_quality(connection: Connection, scan_id: ScanId, quality: Mapping[str, float]) -> None:
    """Add quality figures to a scan."""
    execute(connection, "set_quality", scan_id=scan_id, quality=json.dumps(dict(quality)))


def ensure_bundle(
    connection: Connection,
    *,
    encoder_version: str,
    encoder_digest: str,
    preprocessing_version: str,
    calibration: Mapping[str, Any],
) -> BundleId:
    """Register an encoder with its calibration; it becomes active when nothing else is.

    Misconfigured when another file is already known under the same encoder version.
    """
    encoder_id, known_digest = _only(
        fetch_one(connection, "ensure_encoder", version=encoder_version, digest=encoder_digest)
    )
    if known_digest != encoder_digest:
        raise Misconfigured(
            f"encoder {encoder_version} is not the file that this database knows: "
            f"give the new file a new version",
            code="encoder_mismatch",
        )
    text = json.dumps(dict(calibration), sort_keys=True)
    row = fetch_one(
        connection,
        "ensure_bundle",
        encoder_id=encoder_id,
        preprocessing_version=preprocessing_version,
        calibration=text,
        calibration_digest=hashlib.sha256(text.encode()).hexdigest(),
    )
    bundle_id = BundleId(_only(row)[0])
    execute(connection, "activate_first_bundle", bundle_id=bundle_id)
    return bundle_id


def active_bundle(connection: Connection) -> Bundle:
    """The bundle that decides. Misconfigured when no encoder was ever registered."""
    row = fetch_one(connection, "active_bundle")
    if row is None:
        raise Misconfigured(
            "no encoder is active: run `deepbrainprint migrate`, which registers the shipped one",
            code="encoder_missing",
        )
    return Bundle(BundleId(row[0]), EncoderId(row[1]), *row[2:])


def insert_fingerprint(
    connection: Connection,
    scan_id: ScanId,
    encoder_id: EncoderId,
    *,
    vector: FloatArray,
    input_digest: str,
) -> None:
    """Store a fingerprint (512,) once; a repeated step changes nothing."""
    execute(
        connection,
        "insert_fingerprint",
        scan_id=scan_id,
        encoder_id=encoder_id,
        vector=vector_bytes(vector),
        input_digest=input_digest,
    )


def vector_bytes(vector: FloatArray) -> bytes:
    """A fingerprint (512,) as the table stores it: little-endian float32."""
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


def vector_from(stored: memoryview | bytes) -> FloatArray:
    """A fingerprint (512,) from its stored bytes."""
    return np.frombuffer(bytes(stored), dtype="<f4").astype(np.float32)


def _only(row: Row | None) -> Row:
    assert row is not None  # noqa: S101 — `returning` after an upsert always gives a row
    return row
