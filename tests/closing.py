"""Closes studies in tests, whatever they look like, as the dispatcher does when they are quiet."""

from __future__ import annotations

from deepbrainprint.database.completeness import Closing, close_study, open_studies
from deepbrainprint.database.connection import Connection
from deepbrainprint.records import StudyRevision


def close_quiet_studies(connection: Connection, *, quiet_seconds: float) -> list[StudyRevision]:
    """Close every study without a new instance for `quiet_seconds`; what was closed."""
    return [
        study.run
        for study in sorted(open_studies(connection), key=lambda study: study.run)
        if study.quiet_seconds >= quiet_seconds
        and close_study(
            connection,
            study.run,
            Closing("quiet", "a test says so"),
            last_instance_at=study.last_instance_at,
        )
    ]
