"""Studies that receive images, and time that passes for them, without waiting."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from pydicom import Dataset
from pydicom.uid import generate_uid

from deepbrainprint.database.connection import Database
from deepbrainprint.settings import Settings
from tests.instances import delivery, mr_image, receive
from tests.rows import rows


def waiting_settings(settings: Settings) -> Settings:
    """A minute of quiet, and fifteen for what looks incomplete."""
    return settings.model_copy(update={"quiet_seconds": 60.0, "incomplete_wait_seconds": 900.0})


def send_images(
    settings: Settings,
    database: Database,
    numbers: Iterable[int],
    *,
    study: str = "",
    series: int = 3,
    calling_ae: str = "SCANNER",
    **changes: object,
) -> str:
    """Let images with these numbers arrive in one series; its Study Instance UID."""
    study = study or generate_uid()[:40].rstrip(".")
    for number in numbers:
        image = image_of(study, series, number, **changes)
        receive(settings, database, delivery(image, calling_ae=calling_ae))
    return study


def image_of(study: str, series: int, number: int, **changes: object) -> Dataset:
    """An image in its place in a stack; its UIDs say which."""
    return mr_image(
        study_uid=study,
        rows=1,
        SeriesInstanceUID=f"{study}.{series}",
        SOPInstanceUID=f"{study}.{series}.{number}",
        SeriesNumber=series,
        InstanceNumber=number,
        ImagePositionPatient=[0, 0, 1.5 * number],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        **changes,
    )


def pass_time(database: Database, seconds: float) -> None:
    """Everything that was noted lies further back."""
    by = timedelta(seconds=seconds)
    rows(database, "update study set last_instance_at = last_instance_at - %s", by)
    rows(database, "update instance set received_at = received_at - %s", by)
    rows(
        database,
        "update study_revision set waiting_since = waiting_since - %s, "
        "waiting_until = waiting_until - %s, checked_at = checked_at - %s",
        by,
        by,
        by,
    )


def states(database: Database) -> list[tuple[str, str, str]]:
    return rows(
        database,
        "select state, closing_rule, completeness_code from study_revision "
        "order by study_id, revision",
    )


def reason(database: Database) -> str:
    [(reason,)] = rows(database, "select completeness_reason from study_revision")
    return reason
