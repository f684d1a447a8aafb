"""Recognises series that came before under other UIDs, by what their pixels are."""

from __future__ import annotations

from contextlib import suppress

from deepbrainprint.database.connection import Database
from deepbrainprint.database.duplicates import note_pixels, unread_pixels
from deepbrainprint.errors import BadStudy
from deepbrainprint.intake.closing.pixels import pixel_digest
from deepbrainprint.records import StudyId
from deepbrainprint.settings import Settings


def note_study_pixels(settings: Settings, database: Database, study_id: StudyId) -> None:
    """Read the pixels of a study that nobody has read yet and note their digests.

    A file that cannot be read now leaves its series unrecognised until the next look.
    """
    with database.transaction() as connection:
        unread = unread_pixels(connection, study_id)
    digests = {}
    for instance in unread:
        with suppress(BadStudy, OSError):
            digests[instance.instance_id] = pixel_digest(
                settings.instances_folder / instance.path, pixels=instance.pixels
            )
    if digests:
        with database.transaction() as connection:
            note_pixels(connection, study_id, digests)
