"""Small SOP instances that tests send about."""

from __future__ import annotations

import zlib
from pathlib import Path

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

from deepbrainprint.database.arrivals import Arrival
from deepbrainprint.database.connection import Database
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.part10 import Delivery
from deepbrainprint.settings import Settings

NAME, PATIENT_ID = "Sonderling^Ottilie", "PID-4711-GEHEIM"


def mr_image(*, study_uid: str = "", rows: int = 32, **changes: object) -> Dataset:
    """One MR image; keyword arguments name DICOM attributes, None takes one away."""
    dataset = Dataset()
    values: dict[str, object] = {
        "SOPClassUID": MRImageStorage,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": study_uid or generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "PatientName": NAME,
        "PatientID": PATIENT_ID,
        "Modality": "MR",
        "Rows": rows,
        "Columns": 32,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "PixelData": bytes(range(32)) * rows,
    } | changes
    for name, value in values.items():
        if value is not None:
            setattr(dataset, name, value)
    return dataset


def encoded(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The data set alone, as it goes over the wire."""
    if syntax == DeflatedExplicitVRLittleEndian:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return packer.compress(encoded(dataset)) + packer.flush()
    buffer = DicomBytesIO()
    buffer.is_little_endian = syntax != ExplicitVRBigEndian
    buffer.is_implicit_VR = syntax == ImplicitVRLittleEndian
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def delivery(
    dataset: Dataset | None = None, syntax: str = ExplicitVRLittleEndian, **changes: object
) -> Delivery:
    """What a door would hand on for this data set."""
    dataset = mr_image() if dataset is None else dataset
    values: dict[str, object] = {
        "data_set": encoded(dataset, syntax),
        "sop_class_uid": str(dataset.get("SOPClassUID", MRImageStorage)),
        "sop_instance_uid": str(dataset.get("SOPInstanceUID", generate_uid())),
        "transfer_syntax_uid": str(syntax),
        "calling_ae": "SCANNER",
    } | changes
    return Delivery(**values)


def receive(settings: Settings, database: Database, sent: Delivery) -> Arrival:
    """File a delivery as a door would."""
    return Filing(settings, database).receive(sent, [sent.data_set])


def save(folder: Path, *datasets: Dataset) -> list[Path]:
    """Write DICOM files that dcmtk's tools can send."""
    return [_save(folder / f"{number:04d}.dcm", dataset) for number, dataset in enumerate(datasets)]


def _save(path: Path, dataset: Dataset) -> Path:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path
