"""A sender of images, for tests of doors."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.association import Association

from tests.integration.services import Service


def associate(listener: Service, *contexts: tuple[str, str], patience: float = 30) -> Association:
    ae = AE("SCANNER")
    ae.dimse_timeout = patience
    wanted = contexts or (("1.2.840.10008.5.1.4.1.1.4", ExplicitVRLittleEndian),)
    association = ae.associate(
        "127.0.0.1",
        listener.settings.listener_port,
        contexts=[build_context(*context) for context in wanted],
    )
    assert association.is_established
    return association


def send(listener: Service, *datasets: Dataset) -> list[int]:
    association = associate(listener)
    statuses = [store(association, dataset) for dataset in datasets]
    association.release()
    return statuses


def store(association: Association, dataset: Dataset) -> int:
    """Send as the data set stands, and return the status of the answer."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return int(association.send_c_store(dataset).get("Status", -1))
