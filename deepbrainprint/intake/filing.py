"""What happens to an instance between a door and the sender's Success."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from deepbrainprint.database.arrivals import Arrival
from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy, TryAgain
from deepbrainprint.intake.disk import DiskWatch
from deepbrainprint.intake.header import Header, is_valid_uid, read_header
from deepbrainprint.intake.journal import Journal
from deepbrainprint.intake.part10 import Request
from deepbrainprint.intake.quarantine import keeping as quarantine
from deepbrainprint.intake.recorder import Recorder
from deepbrainprint.intake.spool import Incoming, instance_path, same_object
from deepbrainprint.records import Instance
from deepbrainprint.settings import Settings

_AWAY = frozenset({"database_away", "database_busy"})


class Filing:
    """Files instances for all doors of a process. Thread-safe.

    A door calls `begin`, writes the data set as it comes, and calls `finish`: when that returns,
    file, folder and row are on disk and Success may be said.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self.disk = DiskWatch(settings)
        self.journal = Journal(settings)
        self._settings = settings
        self._database = database
        self._recorder = Recorder(database)

    def begin(self, request: Request) -> Incoming:
        """Make room for one instance; the caller closes it.

        TryAgain when disk or database cannot take it now.
        """
        self.disk.require_room()
        if self._recorder.is_away():
            self.journal.require_room()
        return Incoming(self._settings, request)

    def finish(self, incoming: Incoming) -> Arrival:
        """File what has come: NEW, or REPEAT when the same bytes were filed before.

        Raises BadStudy when the object cannot be filed and has been kept aside instead (codes of
        `read_header`, `uid_mismatch`, `class_mismatch`, `other_bytes`), and TryAgain when disk or
        database cannot take it now.
        """
        self.disk.took(incoming.size_bytes)
        try:
            return self._file(incoming)
        except BadStudy as error:
            self.set_aside(incoming, error)
            raise

    def receive(self, request: Request, chunks: Iterable[bytes]) -> Arrival:
        """All of it at once, for doors that have the data set in hand."""
        with self.begin(request) as incoming:
            for chunk in chunks:
                incoming.write(chunk)
            return self.finish(incoming)

    def set_aside(self, incoming: Incoming, why: BadStudy) -> None:
        """Keep an object in quarantine instead of among the instances."""
        quarantine.keep_aside(self._settings, self._database, incoming, why=why)
        incoming.withdraw()

    def _file(self, incoming: Incoming) -> Arrival:
        header = _matching_header_of(incoming)
        if self._recorder.is_away():  # before the file has a name: what is refused leaves nothing
            self.journal.require_room(incoming.size_bytes)
        path = instance_path(incoming.request.sop_instance_uid)
        target = self._settings.instances_folder / path
        if not incoming.settle(target) and not same_object(target, incoming):
            raise other_bytes()
        instance = instance_of(incoming.request, header, path, incoming.size_bytes, incoming.sha256)
        arrival = self._record(instance, header)
        if arrival is Arrival.CONFLICT:  # the file that the row speaks of is gone
            raise other_bytes()
        if arrival is Arrival.REPEAT and not target.exists():  # retention was at it just now
            incoming.settle(target)
        return arrival

    def _record(self, instance: Instance, header: Header) -> Arrival:
        try:
            return self._recorder.record(instance, header.identity)
        except TryAgain as error:
            if error.code not in _AWAY:
                raise
        self.journal.require_room(instance.size_bytes)
        self.journal.note(instance.path, instance.size_bytes)
        return Arrival.NEW


def instance_of(
    request: Request, header: Header, path: Path, size_bytes: int, sha256: str
) -> Instance:
    """The record of a filed object; `path` is relative to the instances folder."""
    return Instance(
        study_uid=header.study_uid,
        series_uid=header.series_uid,
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid or request.sop_class_uid,
        transfer_syntax_uid=request.transfer_syntax_uid,
        path=path,
        size_bytes=size_bytes,
        sha256=sha256,
        calling_ae=request.calling_ae,
        facts=header.facts,
    )


def require_match(request: Request, header: Header) -> None:
    """BadStudy when they speak of two objects, or when the request's UIDs are none.

    Its codes are `uid_mismatch`, `class_mismatch` and `invalid_uid`.
    """
    _require_uids(request)
    if header.sop_instance_uid != request.sop_instance_uid:
        raise BadStudy(
            "request and data set name different SOP Instance UIDs: correct the sender",
            code="uid_mismatch",
        )
    if header.sop_class_uid not in {"", request.sop_class_uid}:
        raise BadStudy(
            "request and data set name different SOP Class UIDs: correct the sender",
            code="class_mismatch",
        )


def other_bytes() -> BadStudy:
    """The error of a changed object under a UID that is filed."""
    return BadStudy(
        "an instance with this SOP Instance UID and other content is filed: both are kept; "
        "give the changed object a new UID at its source",
        code="other_bytes",
    )


def _require_uids(request: Request) -> None:
    if not (is_valid_uid(request.sop_instance_uid) and is_valid_uid(request.sop_class_uid)):
        raise BadStudy(
            "the request's SOP Instance or Class UID is no UID: correct the object at its source",
            code="invalid_uid",
        )


def _matching_header_of(incoming: Incoming) -> Header:
    request = incoming.request
    _require_uids(request)
    with incoming.content() as (data, start):
        header = read_header(data, transfer_syntax_uid=request.transfer_syntax_uid, start=start)
    require_match(request, header)
    return header
