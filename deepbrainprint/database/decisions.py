"""What linkage reads and appends: the gallery, the probe, the header's claim, decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.pipeline import vector_from
from deepbrainprint.database.queries import execute, fetch_all, fetch_one
from deepbrainprint.records import (
    FINGERPRINT_LENGTH,
    BundleId,
    Contrast,
    Decision,
    DecisionId,
    EncoderId,
    FingerprintId,
    FloatArray,
    PatientId,
    ScanEvidence,
    StudyId,
    StudyRevision,
)

_LINKAGE_LOCK = 0x11_4C_A6_E5  # any constant that nothing else locks


@dataclass(frozen=True)
class Member:
    """Whose fingerprint it is, under the decision that counts now."""

    fingerprint_id: FingerprintId
    patient_id: PatientId
    contrast: Contrast


@dataclass(frozen=True)
class Probe:
    """A fingerprint that asks whose it is; vector (512,)."""

    fingerprint_id: FingerprintId
    contrast: Contrast
    vector: FloatArray
    quality: dict[str, float]

    @property
    def low_quality(self) -> bool:
        """Whether the scan says too little to be decided on alone."""
        return self.quality.get("low_quality", 0.0) > 0


@dataclass(frozen=True)
class Standing:
    """The decision that counts for a study: its patient, if any, and whether a machine said so."""

    patient_id: PatientId | None
    by_machine: bool


def lock_linkage(connection: Connection) -> None:
    """Wait until no other transaction decides; held until commit."""
    fetch_one(connection, "lock_linkage", key=_LINKAGE_LOCK)


def fingerprint_vectors(
    connection: Connection, fingerprint_ids: Sequence[FingerprintId]
) -> tuple[list[FingerprintId], FloatArray]:
    """Ids and vectors (n, 512) of given fingerprints, in order of id."""
    rows = fetch_all(connection, "fingerprint_vectors", fingerprint_ids=list(fingerprint_ids))
    vectors = [vector_from(stored) for _, stored in rows]
    stack = np.stack(vectors) if vectors else np.empty((0, FINGERPRINT_LENGTH), np.float32)
    return [FingerprintId(row[0]) for row in rows], stack


def gallery_members(
    connection: Connection, encoder_id: EncoderId, *, without: StudyId
) -> list[Member]:
    """Whose fingerprints there are, leaving out those of one study."""
    rows = fetch_all(connection, "gallery_members", encoder_id=encoder_id, study_id=without)
    return [Member(FingerprintId(f), PatientId(p), Contrast(contrast)) for f, p, contrast in rows]


def probe_fingerprints(
    connection: Connection, run: StudyRevision, encoder_id: EncoderId
) -> list[Probe]:
    """Fingerprints of one revision."""
    rows = fetch_all(
        connection,
        "probe_fingerprints",
        study_id=run.study_id,
        revision=run.revision,
        encoder_id=encoder_id,
    )
    return [
        Probe(FingerprintId(f), Contrast(contrast), vector_from(vector), quality)
        for f, contrast, vector, quality in rows
    ]


def patients_with_same_header(connection: Connection, study_id: StudyId) -> frozenset[PatientId]:
    """Patients who already have a study under the same hospital patient id; no identity leaves."""
    rows = fetch_all(connection, "patients_with_same_header", study_id=study_id)
    return frozenset(PatientId(row[0]) for row in rows)


def standing_decision(connection: Connection, study_id: StudyId) -> Standing | None:
    """What counts for the study now, or None before its first decision."""
    row = fetch_one(connection, "standing_decision", study_id=study_id)
    return None if row is None else Standing(row[0], by_machine=row[1] == "machine")


def machine_decided(connection: Connection, run: StudyRevision) -> bool:
    """Whether the machine has already decided this revision."""
    row = fetch_one(connection, "machine_decided", study_id=run.study_id, revision=run.revision)
    return row is not None


def insert_patient(connection: Connection) -> PatientId:
    """A new patient record."""
    row = fetch_one(connection, "insert_patient")
    assert row is not None  # noqa: S101 — `returning` always gives a row
    return PatientId(row[0])


def insert_decision(
    connection: Connection, run: StudyRevision, decision: Decision, bundle_id: BundleId
) -> DecisionId:
    """Append a decision with its candidates, best first."""
    row = fetch_one(
        connection,
        "insert_decision",
        study_id=run.study_id,
        revision=run.revision,
        verdict=decision.verdict.value,
        patient_id=decision.patient_id,
        reasons=[reason.value for reason in decision.reasons],
        bundle_id=bundle_id,
        gallery_size=decision.gallery_size,
    )
    assert row is not None  # noqa: S101 — `returning` always gives a row
    decision_id = DecisionId(row[0])
    _insert_candidates(connection, decision_id, decision)
    return decision_id


def _insert_candidates(connection: Connection, decision_id: DecisionId, decision: Decision) -> None:
    for rank, candidate in enumerate(decision.candidates, start=1):
        execute(
            connection,
            "insert_candidate",
            decision_id=decision_id,
            rank=rank,
            patient_id=candidate.patient_id,
            fingerprint_id=candidate.fingerprint_id,
            similarity=candidate.similarity,
            llr=candidate.llr,
            same_contrast=candidate.same_contrast,
        )
        for evidence in candidate.evidence:
            _insert_evidence(connection, decision_id, rank, evidence)


def _insert_evidence(
    connection: Connection, decision_id: DecisionId, rank: int, evidence: ScanEvidence
) -> None:
    values = asdict(evidence)
    del values["patient_id"]  # the candidate's
    execute(connection, "insert_evidence", decision_id=decision_id, rank=rank, **values)
