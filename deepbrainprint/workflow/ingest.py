"""The five steps of a study: one public function per DAG task.

convert → cut to NIfTI; strip → aligned brain; cut_slices → what the encoder and people look at;
encode → fingerprint row; link → decision. Each takes a revision and gives it back; arrays travel
by path, and a repeat after a crash at any point gives the same rows and files.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from deepbrainprint.database import arrivals, pipeline
from deepbrainprint.errors import Misconfigured, TryAgain
from deepbrainprint.records import ByteArray, EncoderId, SeriesChoice, State, StudyRevision, Volume
from deepbrainprint.settings import Settings
from deepbrainprint.workflow.step import StepContext, perform

NATIVE, BRAIN, SLICES = "native.nii.gz", "brain.nii.gz", "slices.npy"
MOSAIC, VENTRICLES = "mosaic.png", "ventricles.png"


def convert(settings: Settings, run: StudyRevision) -> StudyRevision:
    """Choose the series, convert it to NIfTI and store what every series was taken for.

    NotApplicable when no series shows a brain we can use; BadStudy when the chosen one is broken.
    """
    return perform(settings, run, step="convert", reached=State.CONVERTED, work=_convert)


def strip(settings: Settings, run: StudyRevision) -> StudyRevision:
    """Find the brain and align it to the reference grid. NotApplicable when it is no brain."""
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
    from deepbrainprint.imaging import convert as conversion  # noqa: PLC0415
    from deepbrainprint.imaging import series  # noqa: PLC0415

    with context.database.transaction() as connection:
        paths = arrivals.instance_paths(connection, context.run)
    files = [context.settings.instances_folder / path for path in paths]
    _refuse_lost(files)
    found = series.sort(files)
    _store_series(context, [choice for choice, _ in found])
    choice, members = series.choose(found)
    folder = context.folder / f"series-{choice.series_number}"
    conversion.convert_one(members, folder / NATIVE)
    with context.database.transaction() as connection:
        pipeline.replace_series(connection, context.run, choice, chosen=True)
        relative = folder.relative_to(context.settings.studies_folder)
        pipeline.ensure_scan(connection, context.run, choice, folder=relative)


def _refuse_lost(files: list[Path]) -> None:
    lost = [path for path in files if not path.is_file()]
    if lost:
        raise TryAgain(
            f"{len(lost)} received files are not in the instances folder: mount or restore it",
            code="instances_missing",
        )


def _store_series(context: StepContext, choices: list[SeriesChoice]) -> None:
    with context.database.transaction() as connection:
        for choice in choices:
            pipeline.replace_series(connection, context.run, choice, chosen=False)


def _strip(context: StepContext) -> None:
    from deepbrainprint.imaging import brain, quality, template, volume  # noqa: PLC0415 — torch

    for scan in context.scans():
        folder = context.scan_folder(scan)
        alignment = brain.extract(volume.read(folder / NATIVE))
        aligned = Volume(alignment.brain.astype(np.float32), template.affine())
        volume.write(aligned, folder / BRAIN, eight_bits=True)
        figures = dict(alignment.quality)
        figures["low_quality"] = float("low_quality" in quality.flags(figures))
        with context.database.transaction() as connection:
            pipeline.set_quality(connection, scan.scan_id, figures)


def _cut_slices(context: StepContext) -> None:
    from deepbrainprint.encoder.card import read_card  # noqa: PLC0415
    from deepbrainprint.imaging import slices  # noqa: PLC0415

    planes = read_card(context.settings.encoder_path).planes
    for scan in context.scans():
        folder = context.scan_folder(scan)
        brain = _read_brain(folder / BRAIN)
        _save_whole(folder / SLICES, slices.axial(brain, planes))
        slices.mosaic(brain, folder / MOSAIC)
        slices.ventricle_picture(brain, folder / VENTRICLES)


def _encode(context: StepContext) -> None:
    from deepbrainprint.encoder.runtime import open_encoder  # noqa: PLC0415 — loads onnxruntime
    from deepbrainprint.workflow.fingerprinting import digest_of  # noqa: PLC0415

    encoder = open_encoder(context.settings.encoder_path)
    encoder_id = _active_encoder(context, encoder.version)
    for scan in context.scans():
        views = _load_slices(context.scan_folder(scan) / SLICES)
        vector = encoder.encode(views[np.newaxis])[0]  # (512,)
        with context.database.transaction() as connection:
            pipeline.insert_fingerprint(
                connection, scan.scan_id, encoder_id, vector=vector, input_digest=digest_of(views)
            )


def _active_encoder(context: StepContext, version: str) -> EncoderId:
    """The active encoder's id; its fingerprints cannot be compared with those of another."""
    with context.database.transaction() as connection:
        bundle = pipeline.active_bundle(connection)
    if bundle.encoder_version != version:
        raise Misconfigured(
            f"encoder {bundle.encoder_version} is active here, but DBP_ENCODER_PATH gives "
            f"{version}: point it back, or begin with a new database",
            code="encoder_not_active",
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
