"""Inspecting a study that the service received, from the files it keeps."""

from __future__ import annotations

from contextlib import closing

from deepbrainprint.database import arrivals, reports
from deepbrainprint.database.connection import Database
from deepbrainprint.database.reports import StudyReport
from deepbrainprint.errors import BadStudy, TryAgain
from deepbrainprint.imaging import strip
from deepbrainprint.records import StudyId, StudyRevision
from deepbrainprint.settings import Settings
from deepbrainprint.workflow.quality.inspection import Inspection, inspect_dicom


def inspect_study(settings: Settings, study_id: StudyId) -> Inspection:
    """Inspect the newest revision of a study.

    BadStudy `no_such_study` or `files_deleted`; TryAgain `instances_missing` when files that the
    database names are not on disk.
    """
    url = settings.database_url.get_secret_value()
    with (
        closing(Database(url, maximum_connections=1)) as database,
        database.transaction() as connection,
    ):
        found = reports.study_reports(connection, study_id=study_id)
        if not found:
            raise BadStudy(f"there is no study {study_id}", code="no_such_study")
        run = StudyRevision(study_id, found[0].revision)
        paths = arrivals.instance_paths(connection, run)
    if not paths:
        raise BadStudy(
            f"the files of study {study_id} were deleted after DBP_RETENTION_DAYS: send it again",
            code="files_deleted",
        )
    files = [settings.instances_folder / path for path in paths]
    if lost := sum(not path.is_file() for path in files):
        raise TryAgain(
            f"{lost} received files are not in the instances folder: mount or restore it",
            code="instances_missing",
        )
    name = f"study {study_id}, revision {run.revision}"
    stripper = strip.chosen(settings.synthstrip_path)
    return inspect_dicom(name, files, stripper, _recorded(found[0]))


def _recorded(report: StudyReport) -> str:
    return f"{report.state}: {report.reason}" if report.reason else report.state
