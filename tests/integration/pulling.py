"""What tests of pulling share: studies, orders, a receiver, and PACS that behave badly."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt

from deepbrainprint.database.connection import Database
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.part10 import Request, read_request
from deepbrainprint.intake.pull import session
from deepbrainprint.intake.pull.asks import Ask, Kind, ask
from deepbrainprint.intake.pull.order import Order, Way
from deepbrainprint.intake.pull.query import FIND
from deepbrainprint.settings import Settings
from tests.instances import mr_image
from tests.integration.orthanc import Orthanc
from tests.integration.services import free_port
from tests.rows import rows

DAY = "20240117"


def study(instances: int = 3, **changes: Any) -> list[Dataset]:
    """A study of one series."""
    same = {
        "study_uid": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "StudyDate": DAY,
        **changes,
    }
    return [mr_image(**same, InstanceNumber=number) for number in range(1, instances + 1)]


def order_of(orthanc: Orthanc, way: Way = Way.GET, **terms: Any) -> Order:
    if way is Way.WEB:
        return Order(way=way, source="DICOMWEB", url=orthanc.dicomweb_url, **terms)
    return Order(
        way=way, source=orthanc.ae_title, host=orthanc.host, port=orthanc.dicom_port, **terms
    )


def by_accession(*values: str) -> list[Ask]:
    return [ask(Kind.ACCESSION, value, f"line {n}") for n, value in enumerate(values, start=1)]


def pull(
    settings: Settings, database: Database, order: Order, asks: Sequence[Ask], **options: Any
) -> int:
    pull_id = session.open_pull(database, order, asks)
    session.carry_out(settings, database, pull_id, **options)
    return pull_id


def states(database: Database, pull_id: int) -> list[str]:
    found = rows(
        database, "select state from pull_study where pull_id = %s order by item_id", pull_id
    )
    return [state for (state,) in found]


def filed(database: Database) -> dict[str, str]:
    """Digest of each filed data set."""
    return dict(rows(database, "select sop_instance_uid, sha256 from instance"))


def sent(files: Sequence[Path]) -> dict[str, str]:
    """Digest of the data set in each DICOM file."""
    digests = {}
    for file in files:
        content = file.read_bytes()
        request, start = read_request(content)
        digests[request.sop_instance_uid] = hashlib.sha256(content[start:]).hexdigest()
    return digests


def dicom_files(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if path.read_bytes()[128:132] == b"DICM"]


@contextmanager
def receiver(settings: Settings, database: Database) -> Iterator[int]:
    """What our listener does, in its plainest form; its port."""
    filing = Filing(settings, database)

    def store(event: evt.Event) -> int:
        filing.receive(
            Request(
                sop_class_uid=str(event.request.AffectedSOPClassUID),
                sop_instance_uid=str(event.request.AffectedSOPInstanceUID),
                transfer_syntax_uid=str(event.context.transfer_syntax),
                calling_ae=event.assoc.requestor.ae_title,
            ),
            [event.encoded_dataset(include_meta=False)],
        )
        return 0

    port = free_port()
    entity = AE(ae_title=settings.ae_title)
    entity.supported_contexts = AllStoragePresentationContexts
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    yield port
    server.shutdown()


@contextmanager
def strange_pacs(
    find: Callable[[evt.Event], Iterator[Any]], handlers: Sequence[Any] = (), **attributes: Any
) -> Iterator[Order]:
    """A PACS that answers C-FIND as it likes and does nothing else, `handlers` apart."""
    port = free_port()
    entity = AE(ae_title="STRANGE")
    entity.supported_contexts = [build_context(FIND)]
    for name, value in attributes.items():
        setattr(entity, name, value)
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_FIND, find), *handlers]
    )
    yield Order(way=Way.GET, source="STRANGE", host="127.0.0.1", port=port, attempts=2)
    server.shutdown()
