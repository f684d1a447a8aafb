"""How long the disk will last, by what came in the last fourteen days.

Counted are the bytes of received instances and what the pipeline makes of a study, measured on the
studies it was through with last. Not counted are the database and logs, which are small beside
them. Free is what lies above DBP_MINIMUM_FREE_BYTES, where instances begin to be refused. With
retention on, a day's images go again DBP_RETENTION_DAYS after they came.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deepbrainprint.database.connection import Database
from deepbrainprint.database.retention import (
    ArrivedBytes,
    arrived_bytes,
    kept_bytes_by_day,
    newest_processed,
)
from deepbrainprint.intake.disk import DiskState, DiskWatch
from deepbrainprint.records import StudyId
from deepbrainprint.settings import Settings

_SECONDS_A_DAY = 86_400.0
_WINDOW_DAYS = 14
_MEASURED_STUDIES = 50
_HORIZON_DAYS = 3650  # further ahead nobody can say


@dataclass(frozen=True)
class Forecast:
    """What is free and how long it lasts; None means not within ten years."""

    free_bytes: int  # above the mark at which instances are refused
    received_bytes_per_day: float
    made_bytes_per_day: float  # by the pipeline
    days_until_full: float | None
    state: DiskState = DiskState.OK

    def __str__(self) -> str:
        words = self._words()
        if self.state is DiskState.LOW:
            return f"low: {words}; free space, or let DBP_RETENTION_DAYS delete sooner"
        return words

    def _words(self) -> str:
        pace = self.received_bytes_per_day + self.made_bytes_per_day
        free = f"{_size(self.free_bytes)} free"
        if self.free_bytes <= 0 or self.state is DiskState.FULL:
            return "full: instances are refused until space is free"
        if pace <= 0:
            return f"{free}, nothing has come in the last {_WINDOW_DAYS} days"
        if self.days_until_full is None:
            return f"{free}, not full within ten years at {_size(pace)} a day"
        return f"{free}, full in about {_days(self.days_until_full)} at {_size(pace)} a day"


def forecast(settings: Settings, database: Database) -> Forecast:
    """How long the disk under `settings.home` lasts. TryAgain when disk or database do not say."""
    with database.transaction() as connection:
        arrived = arrived_bytes(connection, window_seconds=_WINDOW_DAYS * _SECONDS_A_DAY)
        kept = kept_bytes_by_day(connection) if settings.retention_days else {}
        newest = newest_processed(connection, limit=_MEASURED_STUDIES)
    disk = DiskWatch(settings)
    free = disk.free_bytes() - settings.minimum_free_bytes
    days = max(1.0, arrived.seconds / _SECONDS_A_DAY)  # one busy hour is no pace yet
    received = arrived.size_bytes / days
    made = _made_bytes(settings, newest, arrived, days)
    lasting = days_until_full(
        free, received=received, made=made, kept=kept, retention_days=settings.retention_days
    )
    return Forecast(free, received, made, lasting, disk.state())


def days_until_full(
    free_bytes: float,
    *,
    received: float,
    made: float,
    kept: Mapping[int, int] | None = None,
    retention_days: float = 0.0,
) -> float | None:
    """Days until so many bytes are used up at so many bytes a day; None: not within ten years.

    `kept` are the bytes on disk by their age in days; with `retention_days` they go in time.
    """
    if free_bytes <= 0:
        return 0.0
    if not retention_days:
        pace = received + made
        return free_bytes / pace if pace * _HORIZON_DAYS > free_bytes else None
    for day in range(_HORIZON_DAYS):
        change = received + made - _leaving(day, kept or {}, round(retention_days), received)
        if free_bytes <= change:
            return day + free_bytes / change
        free_bytes -= change
    return None


def _leaving(day: int, kept: Mapping[int, int], retention_days: int, received: float) -> float:
    """Bytes that retention deletes so many days from now."""
    if day >= retention_days:
        return received
    if day == 0:
        return float(sum(size for age, size in kept.items() if age >= retention_days))
    return float(kept.get(retention_days - day, 0))


def _made_bytes(
    settings: Settings, newest: list[StudyId], arrived: ArrivedBytes, days: float
) -> float:
    """Bytes a day that the pipeline makes, by the studies that it was through with last."""
    sizes = [_folder_bytes(settings.studies_folder / str(study_id)) for study_id in newest]
    return sum(sizes) / len(sizes) * arrived.studies / days if sizes else 0.0


def _folder_bytes(folder: Path) -> int:
    return sum(
        (Path(root) / name).lstat().st_size for root, _, names in os.walk(folder) for name in names
    )


def _size(size_bytes: float) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:,.{0 if size_bytes >= 10 * unit else 1}f} {name}"
    return f"{size_bytes / 1e3:.0f} kB"


def _days(days: float) -> str:
    if days < 2:
        return f"{days * 24:.0f} hours"
    return f"{days:.0f} days" if days < 730 else f"{days / 365:.0f} years"
