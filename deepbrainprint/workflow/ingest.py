"""The five steps of a study: one public function per DAG task.

convert → cut to NIfTI; strip → aligned brain; cut_slices → what the encoder and people look at;
encode → fingerprint rows; link → decision. Each takes a revision and gives it back; arrays travel
by path, and a repeat after a crash at any point gives the same rows and files.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from deepbrainprint.database import pipeline
from deepbrainprint.errors import Misconfigured
from deepbrainprint.imaging import PREPROCESSING_VERSION
from deepbrainprint.records import ByteArray, EncoderId, State, StudyRevision
from deepbrainprint.settings import Settings
from deepbrainprint.workflow.step import (
    BRAIN,
    MOSAIC,
    SLICES,
    VENTRICLES,
    StepContext,
    perform,
)


def convert(settings: Settings, run: StudyRevision) -> StudyRevision:
    """Convert every series that is used to NIfTI and store what each series was taken for.

    NotApplicable when no series shows a brain we can use; BadStudy when all that do are broken.
    """
    return perform(settings, run, step="convert", reached=State.CONVERTED, work=_convert)


def strip(settings: Settings, run: StudyRevision) -> StudyRevision:
    """Find each scan's brain and align it to the reference grid. NotApplicable when none is one."""
    return perform(settings, run, step="strip", reached=State.STRIPPED, work=_strip)


def cut_slices(settings: Settings, run: StudyRevision) -> StudyRevision:
    """Cut the planes that the active encoder reads, and the pictures that people read."""
    return perform(settings, run, step="slice", reached=State.SLICED, work=_cut_slices)


def encode(settings: Settings, run: StudyRevision) -> StudyRevision:
    """Turn slices into a stored fingerprint of the active encoder."""
    return perform(settings, run, step="encode", reached=State.ENCODED, work=_encode)


def link(settings: Settings, run: StudyRevision) -> StudyRevision:
    """Decide whose brain it is."""
    from deepbrainprint.workflow.linking import link_revision  # noqa: PLC0415 — loads faiss

    return perform(settings, run, step="link", reached=State.DECIDED, work=link_revision)


def _convert(context: StepContext) -> None:
    from deepbrainprint.workflow.converting import convert_study  # noqa: PLC0415 — dcm2niix

    convert_study(context)


def _strip(context: StepContext) -> None:
    from deepbrainprint.workflow.stripping import strip_scans  # noqa: PLC0415 — torch

    strip_scans(context)


def _cut_slices(context: StepContext) -> None:
    from deepbrainprint.encoder.card import read_card  # noqa: PLC0415
    from deepbrainprint.imaging import pictures, reading  # noqa: PLC0415

    form = read_card(context.settings.encoder_path).form
    for scan in context.brains():
        folder = context.scan_folder(scan)
        brain = _read_brain(folder / BRAIN)
        _save_whole(folder / SLICES, reading.read(brain, form))
        pictures.mosaic(brain, folder / MOSAIC)
        pictures.ventricle_picture(brain, folder / VENTRICLES)


def _encode(context: StepContext) -> None:
    from deepbrainprint.encoder.runtime import open_encoder  # noqa: PLC0415 — loads onnxruntime
    from deepbrainprint.workflow.fingerprinting import digest_of  # noqa: PLC0415

    settings = context.settings
    encoder = open_encoder(
        settings.encoder_path, settings.encoder_runtime, threads=settings.encoder_threads
    )
    encoder_id = _active_encoder(context, encoder.version)
    for scan in context.brains():
        views = _load_slices(context.scan_folder(scan) / SLICES)
        vector = encoder.encode(views[np.newaxis])[0]  # (512,)
        with context.database.transaction() as connection:
            pipeline.insert_fingerprint(
                connection, scan.scan_id, encoder_id, vector=vector, input_digest=digest_of(views)
            )


def _active_encoder(context: StepContext, version: str) -> EncoderId:
    """The active encoder's id. Fingerprints of another, or of another alignment, are not alike."""
    with context.database.transaction() as connection:
        bundle = pipeline.active_bundle(connection)
    if bundle.encoder_version != version:
        raise Misconfigured(
            f"encoder {bundle.encoder_version} is active here, but DBP_ENCODER_PATH gives "
            f"{version}: point it back, or begin with a new database",
            code="encoder_not_active",
        )
    if bundle.preprocessing_version != PREPROCESSING_VERSION:
        raise Misconfigured(
            f"fingerprints here are of brains aligned by version {bundle.preprocessing_version}, "
            f"this release aligns by version {PREPROCESSING_VERSION}: go back to the release "
            "before, or begin with a new database",
            code="preprocessing_not_active",
        )
    return bundle.encoder_id


def _save_whole(path: Path, views: ByteArray) -> None:
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.save(file, views)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _load_slices(path: Path) -> ByteArray:
    views: ByteArray = np.load(path, allow_pickle=False)
    return views


def _read_brain(path: Path) -> ByteArray:
    from deepbrainprint.imaging import volume  # noqa: PLC0415

    return volume.read(path).data.astype(np.uint8)  # (182, 218, 182)
