"""The step `convert`: from received files to one NIfTI file for each series that is used."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from deepbrainprint.database import arrivals, duplicates, pipeline
from deepbrainprint.errors import BadStudy, NotApplicable, TryAgain
from deepbrainprint.imaging import convert, series
from deepbrainprint.records import SeriesChoice
from deepbrainprint.workflow.step import NATIVE, StepContext

log = structlog.get_logger()


def convert_study(context: StepContext) -> None:
    """Convert the usable series, best first, as many as are needed; each keeps its reason.

    A series that is broken does not stop the others: the next one takes its place.
    NotApplicable when no series is usable, BadStudy when all that are turn out broken.
    """
    found = series.without_twins(series.sort(_files(context)), _pixels(context))
    for choice, _ in found:
        _store(context, choice)
    quota, failures = series.Quota(), []
    for choice, members in series.usable(found):
        if spare := quota.refusal(choice.contrast):
            _store(context, replace(choice, reason=f"{spare}; {choice.reason}"))
            continue
        try:
            _convert(context, choice, members)
        except BadStudy as error:
            failures.append(error)
            _store(context, choice, failure=error)
            continue
        quota.take(choice.contrast)
    if quota.unused:
        raise none_left(failures)


def none_left(refusals: Sequence[BadStudy]) -> BadStudy:
    """What to raise when every series of a study was refused: all reasons, and the code they share.

    The only one itself; NotApplicable when all of them are.
    """
    if len(refusals) == 1:
        return refusals[0]
    codes = {error.code for error in refusals}
    applicable = all(isinstance(error, NotApplicable) for error in refusals)
    return (NotApplicable if applicable else BadStudy)(
        "; ".join(str(error) for error in refusals),
        code=codes.pop() if len(codes) == 1 else "no_series_left",
    )


def _files(context: StepContext) -> list[Path]:
    with context.database.transaction() as connection:
        paths = arrivals.instance_paths(connection, context.run)
    files = [context.settings.instances_folder / path for path in paths]
    if lost := [path for path in files if not path.is_file()]:
        raise TryAgain(
            f"{len(lost)} received files are not in the instances folder: mount or restore it",
            code="instances_missing",
        )
    return files


def _pixels(context: StepContext) -> dict[str, Hashable]:
    """What series of this study with the same pixels share: the series that was noted first."""
    study_id = context.run.study_id
    with context.database.transaction() as connection:
        twins = duplicates.duplicates_of(connection, study_id)
    originals = {
        twin.series_uid: (twin.original_study_id, twin.original_series_uid) for twin in twins
    }
    own = {uid: (study, uid) for study, uid in originals.values() if study == study_id}
    return {**own, **originals}


def _convert(context: StepContext, choice: SeriesChoice, members: list[Path]) -> None:
    folder = context.folder / f"series-{choice.series_number}"
    if _taken(context, folder, choice):
        digest = hashlib.sha256(choice.series_uid.encode()).hexdigest()
        folder = folder.with_name(f"{folder.name}-{digest[:8]}")
    convert.convert_one(members, folder / NATIVE)
    with context.database.transaction() as connection:
        pipeline.replace_series(connection, context.run, choice, chosen=True)
        relative = folder.relative_to(context.settings.studies_folder)
        pipeline.ensure_scan(connection, context.run, choice, folder=relative)


def _taken(context: StepContext, folder: Path, choice: SeriesChoice) -> bool:
    """Whether another series of the same number has this folder: numbers may repeat, UIDs not."""
    return any(
        context.scan_folder(scan) == folder and scan.series_uid != choice.series_uid
        for scan in context.scans()
    )


def _store(context: StepContext, choice: SeriesChoice, failure: BadStudy | None = None) -> None:
    if failure is not None:
        log.info(
            "series left out", run=str(context.run), series=choice.series_number, code=failure.code
        )
    with context.database.transaction() as connection:
        pipeline.replace_series(connection, context.run, choice, chosen=False, failure=failure)
