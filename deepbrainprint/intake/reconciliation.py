"""Brings disk and database to agreement after a stop that nobody planned."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from deepbrainprint.database.arrivals import Arrival, instances_after, unknown_paths
from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy
from deepbrainprint.intake import quarantine, spool
from deepbrainprint.intake.arrivals import read_matching_header, register
from deepbrainprint.intake.part10 import read_delivery
from deepbrainprint.settings import Settings

_PAGE = 10_000  # rows looked at together


@dataclass(frozen=True)
class Reconciliation:
    """What was found, as counts."""

    files: int
    registered: int  # files without a row, that have one now
    unreadable: int  # files that are none of ours; left where they are
    rows_without_file: int
    quarantined: int  # kept objects without a row, that have one now


def reconcile(
    settings: Settings, database: Database, *, before: float | None = None
) -> Reconciliation:
    """Register files without a row, and count rows without a file.

    `before` (POSIX seconds, default now) leaves alone what running associations have in hand.
    """
    files = registered = unreadable = 0
    for paths in spool.stored_files(settings, before=time.time() if before is None else before):
        files += len(paths)
        for path in _unknown(database, paths):
            done = _register(settings, database, path)
            registered += done
            unreadable += not done
    return Reconciliation(
        files=files,
        registered=registered,
        unreadable=unreadable,
        rows_without_file=_rows_without_file(settings, database),
        quarantined=quarantine.record_all(settings, database),
    )


def _unknown(database: Database, paths: list[Path]) -> list[Path]:
    with database.transaction() as connection:
        return unknown_paths(connection, paths)


def _register(settings: Settings, database: Database, path: Path) -> bool:
    file = settings.instances_folder / path
    try:
        delivery = read_delivery(file)
        header = read_matching_header(delivery)
    except BadStudy:
        return False
    if spool.instance_path(header.sop_instance_uid) != path:
        return False
    stored = spool.StoredFile(path, file.stat().st_size, same=True, written=False)
    return register(database, delivery, header, stored) is not Arrival.CONFLICT


def _rows_without_file(settings: Settings, database: Database) -> int:
    missing, last = 0, 0
    while True:
        with database.transaction() as connection:
            page = instances_after(connection, last, limit=_PAGE)
        if not page:
            return missing
        missing += sum(not (settings.instances_folder / path).exists() for _, path in page)
        last = page[-1][0]
