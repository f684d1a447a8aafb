"""Series whose pixels came before under other UIDs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import execute, fetch_all
from deepbrainprint.records import StudyId


@dataclass(frozen=True)
class UnreadInstance:
    """An instance whose pixels have not been looked at; `path` in the instances folder."""

    instance_id: int
    path: Path
    pixels: int  # rows × columns × frames; 0 when the header does not say


@dataclass(frozen=True)
class DuplicateSeries:
    """A series with the same pixels as one that was noted before it."""

    series_uid: str
    series_number: int | None
    images: int
    original_study_id: StudyId
    original_series_uid: str
    original_series_number: int | None


def unread_pixels(connection: Connection, study_id: StudyId) -> list[UnreadInstance]:
    """Instances of a study whose pixels nobody has looked at yet."""
    rows = fetch_all(connection, "unread_pixels", study_id=study_id)
    return [UnreadInstance(number, Path(path), pixels) for number, path, pixels in rows]


def note_pixels(connection: Connection, study_id: StudyId, digests: Mapping[int, str]) -> None:
    """Note pixel digests by instance id, an empty one for nothing to recognise, and their series.

    A series counts once each of its instances has been read.
    """
    execute(
        connection,
        "insert_pixels",
        instance_ids=list(digests),
        digests=list(digests.values()),
    )
    execute(connection, "note_series_pixels", study_id=study_id)


def duplicates_of(connection: Connection, study_id: StudyId) -> list[DuplicateSeries]:
    """Series of a study whose pixels came before, in it or in another study."""
    rows = fetch_all(connection, "duplicates_of", study_id=study_id)
    return [DuplicateSeries(*row) for row in rows]
