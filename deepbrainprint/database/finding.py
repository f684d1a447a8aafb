"""Finds studies, series and instances among what was received, page by page."""

from __future__ import annotations

from dataclasses import dataclass

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import fetch_all


@dataclass(frozen=True, kw_only=True, repr=False)
class Sought:
    """What is asked; None where nothing is asked of a key.

    A text is a pattern of SQL's `like`. A person's name without a number is looked for in all of
    its component groups, else in the group of that number. Dates read YYYYMMDD, times
    HHMMSSFFFFFF, a moment is both, one after the other; bounds are inclusive.
    """

    study_uids: list[str] | None = None
    patient_id: str | None = None
    issuer: str | None = None
    name: str | None = None
    name_1: str | None = None
    name_2: str | None = None
    name_3: str | None = None
    birth_date_from: str | None = None
    birth_date_to: str | None = None
    sex: str | None = None
    accession_number: str | None = None
    study_date_from: str | None = None
    study_date_to: str | None = None
    study_time_from: str | None = None
    study_time_to: str | None = None
    study_moment_from: str | None = None
    study_moment_to: str | None = None
    study_label: str | None = None
    study_description: str | None = None
    referring_physician: str | None = None
    referring_physician_1: str | None = None
    referring_physician_2: str | None = None
    referring_physician_3: str | None = None
    modalities: list[str] | None = None
    series_uids: list[str] | None = None
    modality: list[str] | None = None
    series_number: int | None = None
    body_part: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    series_description: str | None = None
    series_date_from: str | None = None
    series_date_to: str | None = None
    series_time_from: str | None = None
    series_time_to: str | None = None
    sop_instance_uids: list[str] | None = None
    sop_class_uids: list[str] | None = None
    instance_number: int | None = None
    frames: int | None = None
    image_rows: int | None = None
    image_columns: int | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which part of the answers: at most `limit`, those older than the given place."""

    limit: int
    offset: int = 0
    with_counts: bool = True  # modalities and numbers of series and instances cost a look each
    before_study: int | None = None
    before_series: str | None = None
    before_instance: int | None = None


@dataclass(frozen=True, repr=False)
class FoundStudy:
    """A study that matches. What is counted is None where the page is without counts."""

    study_id: int
    study_uid: str
    patient_id: str
    issuer: str
    name: str
    birth_date: str
    sex: str
    accession_number: str
    study_date: str
    study_time: str
    study_label: str
    study_description: str
    referring_physician: str
    modalities: list[str] | None
    study_series: int | None
    study_instances: int | None


@dataclass(frozen=True, repr=False)
class FoundSeries(FoundStudy):
    """A series that matches, and its study."""

    series_uid: str
    modality: str
    series_number: int | None
    body_part: str
    manufacturer: str
    model: str
    series_description: str
    series_date: str
    series_time: str
    series_instances: int | None


@dataclass(frozen=True, repr=False)
class FoundInstance(FoundSeries):
    """An instance that matches, its series and its study."""

    instance_id: int
    sop_instance_uid: str
    sop_class_uid: str
    instance_number: int | None
    frames: int | None
    image_rows: int | None
    image_columns: int | None


def find_studies(connection: Connection, sought: Sought, page: Page) -> list[FoundStudy]:
    """A page of the studies that match, newest first."""
    rows = fetch_all(connection, "find_studies", **vars(sought), **vars(page))
    return [FoundStudy(*row) for row in rows]


def find_series(connection: Connection, sought: Sought, page: Page) -> list[FoundSeries]:
    """A page of the series that match, those of the newest study first."""
    rows = fetch_all(connection, "find_series", **vars(sought), **vars(page))
    return [FoundSeries(*row) for row in rows]


def find_instances(connection: Connection, sought: Sought, page: Page) -> list[FoundInstance]:
    """A page of the instances that match, newest first."""
    rows = fetch_all(connection, "find_instances", **vars(sought), **vars(page))
    return [FoundInstance(*row) for row in rows]
