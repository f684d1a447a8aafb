"""The step `strip`: from the scans of one visit to aligned brains, each with its verdict."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from deepbrainprint.database import pipeline
from deepbrainprint.database.pipeline import Findings
from deepbrainprint.errors import BadStudy, NotApplicable
from deepbrainprint.imaging import brain, strip, template, volume
from deepbrainprint.imaging.brain import Examination, Verdict
from deepbrainprint.records import Scan, Volume
from deepbrainprint.workflow.converting import none_left
from deepbrainprint.workflow.step import BRAIN, NATIVE, StepContext


def strip_scans(context: StepContext) -> None:
    """Examine the scans of a study as those of one visit; one that is refused stops no other.

    NotApplicable or BadStudy, with the reason for each, when none is left.
    """
    scans = context.scans()
    refusals: list[BadStudy] = []
    opened: list[Scan] = []
    natives = _natives(context, scans, opened, refusals)
    stripper = strip.chosen(context.settings.synthstrip_path)
    for number, found in enumerate(brain.examine_visit(natives, stripper)):
        _keep(context, opened[number], found)
        if found.verdict is Verdict.FAIL:
            refusals.append(_refusal(opened[number], found))
    if len(refusals) == len(scans):
        raise none_left(refusals)


def _natives(
    context: StepContext, scans: list[Scan], opened: list[Scan], refusals: list[BadStudy]
) -> Iterator[Volume]:
    """Each scan's volume as it is asked for, so that few are in memory; `opened` says whose."""
    for scan in scans:
        try:
            native = volume.read(context.scan_folder(scan) / NATIVE)
        except BadStudy as error:
            refusals.append(BadStudy(f"series {scan.series_number}: {error}", code=error.code))
            _store(context, scan, Findings(Verdict.FAIL.value, error.code, [str(error)], {}))
            continue
        opened.append(scan)
        yield native


def _keep(context: StepContext, scan: Scan, found: Examination) -> None:
    alignment = found.alignment
    if alignment is not None and found.verdict is not Verdict.FAIL:
        aligned = Volume(alignment.brain.astype(np.float32), template.affine())
        volume.write(aligned, context.scan_folder(scan) / BRAIN, eight_bits=True)
    figures = dict(alignment.quality) if alignment is not None else {}
    figures["low_quality"] = float("low_quality" in found.reasons)
    _store(context, scan, Findings(found.verdict.value, found.code, found.reasons, figures))


def _store(context: StepContext, scan: Scan, findings: Findings) -> None:
    with context.database.transaction() as connection:
        pipeline.set_verdict(connection, scan.scan_id, findings)


def _refusal(scan: Scan, found: Examination) -> NotApplicable:
    return NotApplicable(f"series {scan.series_number}: {found.reasons[0]}", code=found.code)
