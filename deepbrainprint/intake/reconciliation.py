"""Brings disk and database to agreement after a stop that nobody planned."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deepbrainprint.database.arrivals import (
    Arrival,
    instances_after,
    record_arrivals,
    unknown_paths,
)
from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy, Conflict
from deepbrainprint.intake import spool
from deepbrainprint.intake.filing import instance_of, require_match
from deepbrainprint.intake.header import read_header
from deepbrainprint.intake.journal import Journal
from deepbrainprint.intake.part10 import filed_object
from deepbrainprint.intake.quarantine import keeping as quarantine
from deepbrainprint.intake.recorder import LARGEST_BATCH
from deepbrainprint.records import HeaderIdentity, Instance
from deepbrainprint.settings import Settings

_PAGE = 10_000  # rows looked at together
_JOURNAL_PAGE = 1_000
_ATTEMPTS = 5


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
        unknown = _unknown(database, paths)
        done = _register(settings, database, unknown)
        registered += done
        unreadable += len(unknown) - done
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


def empty_journal(settings: Settings, database: Database, journal: Journal) -> int:
    """Register what was taken while PostgreSQL was away; how many instances.

    One process at a time does this; the others come back with 0. TryAgain when PostgreSQL goes
    away again: what is left stays in the journal.
    """
    registered = 0
    with journal.emptied_by_us() as ours:
        while ours and (paths := journal.waiting(_JOURNAL_PAGE)):
            unknown = _unknown(database, paths)  # a commit may have outlived its answer
            for path in set(paths).difference(unknown):
                journal.forget(path)
            for batch in _batches(unknown):
                registered += _register(settings, database, batch)
                for path in batch:
                    journal.forget(path)
    return registered


def _batches(paths: list[Path]) -> Iterator[list[Path]]:
    return (paths[n : n + LARGEST_BATCH] for n in range(0, len(paths), LARGEST_BATCH))


def _register(settings: Settings, database: Database, paths: list[Path]) -> int:
    """Give files their rows, as many in one commit as may be; how many got one."""
    registered = 0
    for batch in _batches(paths):
        found = [read for path in batch if (read := _read(settings, path)) is not None]
        registered += _filed(database, found)
    return registered


def _filed(database: Database, found: list[tuple[Instance, HeaderIdentity]]) -> int:
    """How many of them have a row now. One that PostgreSQL refuses does not hold up the others."""
    for _ in range(_ATTEMPTS if found else 0):
        try:
            with database.statement() as connection:
                filed = record_arrivals(connection, found)
        except Conflict:  # a sender repeats one of them at this moment
            continue
        except BadStudy:  # PostgreSQL cannot hold what one of them says
            break
        return sum(one.arrival is not Arrival.CONFLICT for one in filed)
    return sum(_filed(database, [one]) for one in found) if len(found) > 1 else 0


def _read(settings: Settings, path: Path) -> tuple[Instance, HeaderIdentity] | None:
    """What a file of ours holds; None when it is none of ours."""
    file = settings.instances_folder / path
    try:
        with filed_object(file) as there:
            request = there.request
            syntax = request.transfer_syntax_uid
            header = read_header(there.data, transfer_syntax_uid=syntax, start=there.start)
            require_match(request, header)
            instance = instance_of(request, header, path, len(there.data), there.sha256())
    except (BadStudy, FileNotFoundError):
        return None
    is_in_its_place = spool.instance_path(header.sop_instance_uid) == path
    return (instance, header.identity) if is_in_its_place else None


def _rows_without_file(settings: Settings, database: Database) -> int:
    missing, last = 0, 0
    while True:
        with database.transaction() as connection:
            page = instances_after(connection, last, limit=_PAGE)
        if not page:
            return missing
        missing += sum(not (settings.instances_folder / path).exists() for _, path in page)
        last = page[-1][0]
