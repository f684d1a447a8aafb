"""The object that `check-sender` sends: a tiny image of nobody, which says so in every field."""

from __future__ import annotations

from uuid import uuid4

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

# From random UUIDs (PS3.5 B.2). They never change, so that all checks there ever were make up one
# study, which an archive can show and delete as one.
CHECK_STUDY_UID = "2.25.108092763013367133326268735618964974968"
CHECK_SERIES_UID = "2.25.127829551334570001895849513252414535140"

_SIDE = 16  # pixels


def check_object() -> Dataset:
    """A Secondary Capture image (PS3.3 A.8.1) with a SOP Instance UID of its own."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for name, value in (_texts() | _pixels()).items():
        setattr(image, name, value)
    return image


def _texts() -> dict[str, object]:
    return {
        "SOPClassUID": SecondaryCaptureImageStorage,
        "SOPInstanceUID": f"2.25.{uuid4().int}",
        "StudyInstanceUID": CHECK_STUDY_UID,
        "SeriesInstanceUID": CHECK_SERIES_UID,
        "PatientName": "CONNECTION TEST^NO PATIENT",
        "PatientID": "CONNECTION-TEST",
        "PatientBirthDate": "",
        "PatientSex": "",
        "AccessionNumber": "",
        "StudyID": "TEST",
        "StudyDate": "",
        "StudyTime": "",
        "StudyDescription": "Connection test, no patient",
        "SeriesDescription": "Connection test, no patient",
        "ReferringPhysicianName": "",
        "Modality": "OT",
        "ConversionType": "SYN",
        "ImageType": ["DERIVED", "SECONDARY"],
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        "Manufacturer": "DeepBrainPrint check-sender",
    }


def _pixels() -> dict[str, object]:
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": _SIDE,
        "Columns": _SIDE,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "PixelData": bytes(_SIDE * _SIDE),
    }
