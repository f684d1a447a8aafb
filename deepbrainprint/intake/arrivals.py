"""What happens to an instance between the door and the sender's Success."""

from __future__ import annotations

from deepbrainprint.database.arrivals import Arrival, record_instance
from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy, Conflict
from deepbrainprint.intake import quarantine, spool
from deepbrainprint.intake.header import Header, is_valid_uid, read_header
from deepbrainprint.intake.part10 import Delivery
from deepbrainprint.records import Instance
from deepbrainprint.settings import Settings


def receive(settings: Settings, database: Database, delivery: Delivery) -> Arrival:
    """File one instance: when this returns, file and row are on disk and Success may be said.

    NEW, or REPEAT when the same bytes were filed before. Raises BadStudy when the object cannot
    be filed and has been kept aside instead (codes of `read_header`, `uid_mismatch`,
    `class_mismatch`, `other_bytes`), and TryAgain when disk or database cannot take it now.
    """
    spool.require_free_space(settings, len(delivery.data_set))
    try:
        return _file(settings, database, delivery)
    except BadStudy as error:
        quarantine.keep_aside(settings, database, delivery, why=error)
        raise


def register(
    database: Database, delivery: Delivery, header: Header, stored: spool.StoredFile
) -> Arrival:
    """Record the row of an instance that is durable on disk."""
    instance = Instance(
        study_uid=header.study_uid,
        series_uid=header.series_uid,
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid or delivery.sop_class_uid,
        transfer_syntax_uid=delivery.transfer_syntax_uid,
        path=stored.path,
        size_bytes=stored.size_bytes,
        sha256=delivery.sha256,
        calling_ae=delivery.calling_ae,
    )
    try:
        return _record(database, instance, header)
    except Conflict:  # another association was first; by now its row can be seen
        return _record(database, instance, header)


def read_matching_header(delivery: Delivery) -> Header:
    """The header of a delivery, which must be what the request said it is.

    BadStudy with the codes of `read_header`, `uid_mismatch` or `class_mismatch`.
    """
    _require_uid(delivery.sop_instance_uid)
    header = read_header(delivery.data_set, transfer_syntax_uid=delivery.transfer_syntax_uid)
    if header.sop_instance_uid != delivery.sop_instance_uid:
        raise BadStudy(
            "request and data set name different SOP Instance UIDs: correct the sender",
            code="uid_mismatch",
        )
    if header.sop_class_uid not in {"", delivery.sop_class_uid}:
        raise BadStudy(
            "request and data set name different SOP Class UIDs: correct the sender",
            code="class_mismatch",
        )
    return header


def _file(settings: Settings, database: Database, delivery: Delivery) -> Arrival:
    header = read_matching_header(delivery)
    stored = spool.store(settings, delivery)
    if not stored.same:
        raise _other_bytes()
    arrival = register(database, delivery, header, stored)
    if arrival is not Arrival.CONFLICT:
        return arrival
    if stored.written:  # the file that the row speaks of is gone, and this is not it
        spool.withdraw(settings, stored)
    raise _other_bytes()


def _record(database: Database, instance: Instance, header: Header) -> Arrival:
    with database.transaction() as connection:
        return record_instance(connection, instance, header.identity)[0]


def _require_uid(text: str) -> None:
    if not is_valid_uid(text):
        raise BadStudy(
            "the request's SOP Instance UID is not a UID: correct the object at its source",
            code="invalid_uid",
        )


def _other_bytes() -> BadStudy:
    return BadStudy(
        "an instance with this SOP Instance UID and other content is filed: both are kept; "
        "give the changed object a new UID at its source",
        code="other_bytes",
    )
