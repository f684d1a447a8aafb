"""The step `link`: from stored fingerprints to one appended decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deepbrainprint.database import decisions, pipeline
from deepbrainprint.database.connection import Connection
from deepbrainprint.database.decisions import Member, Probe, Standing
from deepbrainprint.database.pipeline import Bundle
from deepbrainprint.linkage.calibration import Calibration
from deepbrainprint.linkage.decision import Circumstances, Policy, decide
from deepbrainprint.linkage.gallery import Gallery, open_gallery
from deepbrainprint.records import (
    Decision,
    PatientId,
    Reason,
    ScanEvidence,
    State,
    StudyRevision,
    Verdict,
)
from deepbrainprint.workflow.step import StepContext

# Fingerprints looked at per scan and condition to find who is near. A patient with more scans than
# this in the gallery could hide others; linkage at scale replaces it.
NEAREST = 256
# A snapshot is rewritten when the index has grown by this share (and at least this many).
REWRITE_SHARE, REWRITE_LEAST = 0.1, 32


def link_revision(context: StepContext) -> None:
    """Decide whose brain it is and append the decision, once per revision.

    One decision at a time: the lock is held until commit, so two first studies of one new
    patient cannot become two patients. A decision of a person is never replaced.
    """
    with context.database.transaction() as connection:
        decisions.lock_linkage(connection)
        standing = decisions.standing_decision(connection, context.run.study_id)
        if _settled(connection, context.run, standing):
            return
        bundle = pipeline.active_bundle(connection)
        decision = _decide(connection, context, bundle)
        decision = _keep_own_record(decision, standing)
        decision = _with_patient(connection, decision)
        decisions.insert_decision(connection, context.run, decision, bundle.bundle_id)
        pipeline.set_state(connection, context.run, State.DECIDED)


def _settled(connection: Connection, run: StudyRevision, standing: Standing | None) -> bool:
    by_person = standing is not None and not standing.by_machine
    return (
        by_person
        or decisions.machine_decided(connection, run)
        or pipeline.revision_state(connection, run) is State.SUPERSEDED
    )


def _decide(connection: Connection, context: StepContext, bundle: Bundle) -> Decision:
    run = context.run
    members = decisions.gallery_members(connection, bundle.encoder_id, without=run.study_id)
    gallery = _current_gallery(connection, context, bundle, members)
    calibration = Calibration.from_json(bundle.calibration)
    probes = decisions.probe_fingerprints(connection, run, bundle.encoder_id)
    around = Circumstances(
        gallery_size=len({member.patient_id for member in members}),
        comparisons=len(members),
        same_header=decisions.patients_with_same_header(connection, run.study_id),
        low_quality=bool(probes) and all(probe.low_quality for probe in probes),
    )
    evidence = find_evidence(probes, gallery, members, calibration)
    return decide(evidence, Policy.of(calibration), around)


def find_evidence(
    probes: Sequence[Probe], gallery: Gallery, members: list[Member], calibration: Calibration
) -> list[ScanEvidence]:
    """What each scan of the study says of each patient who is near to any of them.

    Who is near to one scan is compared with all of them: a scan that speaks against somebody must
    not be missing because it found others nearer. Scans of low quality count when all are.
    """
    near = {
        owner.patient_id
        for probe in probes
        for owner, _, _ in _nearest(probe, gallery, members, at_most=NEAREST)
    }
    theirs = [member for member in members if member.patient_id in near]
    low = {probe.fingerprint_id for probe in probes if probe.low_quality}
    return [
        ScanEvidence(
            owner.patient_id,
            probe.fingerprint_id,
            owner.fingerprint_id,
            similarity,
            calibration.llr(similarity, same_contrast=same),
            same,
            counted=probe.fingerprint_id not in low or len(low) == len(probes),
        )
        for probe in probes
        for owner, similarity, same in _nearest(probe, gallery, theirs, at_most=len(theirs))
    ]


def _nearest(
    probe: Probe, gallery: Gallery, members: list[Member], *, at_most: int
) -> list[tuple[Member, float, bool]]:
    """The nearest members in the same contrast and in others, with cosine and which it is."""
    owner = {member.fingerprint_id: member for member in members}
    same = [i for i, member in owner.items() if member.contrast is probe.contrast]
    other = [i for i, member in owner.items() if member.contrast is not probe.contrast]
    return [
        (owner[fingerprint_id], similarity, condition)
        for among, condition in ((same, True), (other, False))
        for fingerprint_id, similarity in gallery.search(probe.vector, at_most, among=among)
    ]


def _current_gallery(
    connection: Connection, context: StepContext, bundle: Bundle, members: list[Member]
) -> Gallery:
    folder = context.settings.gallery_folder
    gallery = open_gallery(folder, bundle.encoder_version)
    missing = gallery.missing(member.fingerprint_id for member in members)
    if not missing:
        return gallery
    gallery.add(*decisions.fingerprint_vectors(connection, missing))
    if len(missing) >= max(REWRITE_LEAST, REWRITE_SHARE * len(gallery)):
        gallery.save(folder, bundle.encoder_version)
    return gallery


def _keep_own_record(decision: Decision, standing: Standing | None) -> Decision:
    """A later revision stays with the record that its study already has."""
    if standing is None or standing.patient_id is None:
        return decision
    if decision.verdict is Verdict.NEW_PATIENT:
        return replace(decision, patient_id=standing.patient_id)
    if decision.verdict is Verdict.LINKED and decision.patient_id != standing.patient_id:
        reasons = (Reason.POSSIBLE_DUPLICATE_RECORD, *decision.reasons)
        return replace(decision, verdict=Verdict.REVIEW, patient_id=None, reasons=reasons)
    return decision


def _with_patient(connection: Connection, decision: Decision) -> Decision:
    if decision.verdict is not Verdict.NEW_PATIENT or decision.patient_id is not None:
        return decision
    patient_id: PatientId = decisions.insert_patient(connection)
    return replace(decision, patient_id=patient_id)
