"""The scanner: volumes become DICOM MR Image Storage objects, PS3.3 section A.4."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, RLELossless
from pydicom.valuerep import DSfloat

from deepbrainprint.errors import BadStudy
from deepbrainprint.records import AffineArray, HeaderIdentity, Volume
from deepbrainprint.simulation.acquisition import Protocol
from deepbrainprint.simulation.sequences import sequence_header

Pixels = npt.NDArray[np.int16] | npt.NDArray[np.uint16]

BRIGHTEST = 4095  # twelve bits, as most scanners store
UID_NAMESPACE = uuid.UUID("2f0e4a52-8c1d-5b6e-9a3f-6d1c0b7e5a44")


class Compression(StrEnum):
    """How pixels are stored: as they are, or RLE lossless (PS3.5 Annex G)."""

    NONE = "none"
    RLE = "rle"


@dataclass(frozen=True)
class Exam:
    """One series of one study to acquire. The same key and number always give the same UIDs."""

    key: str
    identity: HeaderIdentity
    protocol: Protocol
    series_number: int = 1
    station: str = ""  # the scanner's name, if it has one


def acquire(volume: Volume, exam: Exam) -> list[Dataset]:
    """One MR Image object per slice, in slice order.

    data (column, row, slice) goes out as it is when it holds whole numbers that fit 16 bits,
    otherwise scaled so that the brightest voxel is 4095. BadStudy for a volume that a stack of
    DICOM slices cannot describe.
    """
    _check(volume)
    pixels = _pixels(volume)
    series = _series(exam)
    series.update(_plane(volume.affine))
    series.update(_encoding(pixels))
    return [_slice(series, volume, exam, pixels, number) for number in range(pixels.shape[2])]


def write(
    instances: Sequence[Dataset], folder: Path, *, compression: Compression = Compression.NONE
) -> list[Path]:
    """Write IM0001.dcm, IM0002.dcm … in explicit VR little endian or RLE; the paths, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"IM{number:04d}.dcm" for number in range(1, len(instances) + 1)]
    for instance, path in zip(instances, paths, strict=True):
        if compression is Compression.RLE:
            instance.compress(RLELossless, generate_instance_uid=False)
        instance.save_as(path, enforce_file_format=True)
    return paths


def uid(*words: object) -> str:
    """A UID of the 2.25 root (PS3.5 section B.2) that depends on the words alone."""
    return f"2.25.{uuid.uuid5(UID_NAMESPACE, '/'.join(map(str, words))).int}"


def _check(volume: Volume) -> None:
    if volume.data.ndim != 3 or min(volume.data.shape) < 1:
        raise BadStudy("only a 3-D volume can be sliced; split it first", code="not_a_volume")
    edges = np.linalg.norm(volume.affine[:3, :3], axis=0)
    if not np.all(np.isfinite(volume.affine)) or not np.all(edges > 0):
        raise BadStudy("the volume has no usable geometry; check its header", code="no_geometry")
    directions = volume.affine[:3, :3] / edges
    if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-3):
        raise BadStudy("the volume is sheared; resample it first", code="sheared_geometry")


def _pixels(volume: Volume) -> Pixels:
    """The voxels as 16-bit numbers, scaled only when they must be."""
    data = np.nan_to_num(volume.data, posinf=0.0, neginf=0.0)
    low, high = float(data.min()), float(data.max())
    whole = bool(np.all(data == np.round(data)))
    if whole and low >= 0 and high <= np.iinfo(np.uint16).max and high > 1:
        return data.astype(np.uint16)
    if whole and low >= np.iinfo(np.int16).min and high <= np.iinfo(np.int16).max and low < 0:
        return data.astype(np.int16)
    scale = BRIGHTEST / (high - min(low, 0.0)) if high > min(low, 0.0) else 0.0
    return np.round((data - min(low, 0.0)) * scale).astype(np.uint16)


def _series(exam: Exam) -> Dataset:
    """Patient, study, series, frame of reference and equipment modules, PS3.3 sections C.7.1–5."""
    header = sequence_header(exam.protocol)
    header.update(_patient(exam.identity))
    header.update(_study(exam))
    header.Modality = "MR"
    header.SeriesInstanceUID = uid(exam.key, "series", exam.series_number)
    header.SeriesNumber = exam.series_number
    header.PatientPosition = "HFS"
    header.BodyPartExamined = "HEAD"
    header.FrameOfReferenceUID = uid(exam.key, "frame")
    header.PositionReferenceIndicator = None
    header.Manufacturer = "DeepBrainPrint"
    header.ManufacturerModelName = "Synthetic scanner"
    header.MagneticFieldStrength = 3
    if exam.station:
        header.StationName = exam.station
    return header


def _patient(identity: HeaderIdentity) -> Dataset:
    header = Dataset()
    header.PatientName = identity.name
    header.PatientID = identity.patient_id
    header.PatientBirthDate = identity.birth_date
    header.PatientSex = identity.sex
    if identity.issuer:
        header.IssuerOfPatientID = identity.issuer
    return header


def _study(exam: Exam) -> Dataset:
    header = Dataset()
    header.StudyInstanceUID = uid(exam.key, "study")
    header.StudyDate = header.SeriesDate = header.AcquisitionDate = exam.identity.study_date
    header.StudyTime = header.SeriesTime = header.AcquisitionTime = (
        "120000" if exam.identity.study_date else ""
    )
    header.AccessionNumber = exam.identity.accession_number
    header.ReferringPhysicianName = ""
    header.StudyID = "1"
    header.StudyDescription = "Brain"
    return header


def _plane(affine: AffineArray) -> Dataset:
    """Image Plane module, PS3.3 section C.7.6.2; the patient's left, back and top are positive."""
    columns_mm, rows_mm, slices_mm = np.linalg.norm(affine[:3, :3], axis=0)
    header = Dataset()
    header.ImageOrientationPatient = [
        *_decimals(_lps(affine[:3, 0]) / columns_mm),
        *_decimals(_lps(affine[:3, 1]) / rows_mm),
    ]
    header.PixelSpacing = _decimals(np.array([rows_mm, columns_mm]))
    header.SliceThickness, header.SpacingBetweenSlices = _decimals(np.array([slices_mm] * 2))
    return header


def _encoding(pixels: Pixels) -> Dataset:
    """Image Pixel module, PS3.3 section C.7.6.3, without the pixels; the window shows them all."""
    signed = pixels.dtype == np.int16
    wide = signed or pixels.max() > BRIGHTEST
    header = Dataset()
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Columns, header.Rows = pixels.shape[:2]
    header.BitsAllocated, header.BitsStored = 16, 16 if wide else 12
    header.HighBit, header.PixelRepresentation = header.BitsStored - 1, int(signed)
    bottom, top = int(pixels.min()), int(np.percentile(pixels, 99.5)) + 1
    header.WindowCenter, header.WindowWidth = (top + bottom) / 2, max(top - bottom, 1)
    return header


def _slice(series: Dataset, volume: Volume, exam: Exam, pixels: Pixels, number: int) -> Dataset:
    """One instance: what changes from slice to slice."""
    image = Dataset()
    image.update(series)
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = MRImageStorage
    image.SOPInstanceUID = uid(exam.key, "series", exam.series_number, "instance", number)
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    image.InstanceNumber, image.AcquisitionNumber = number + 1, 1
    position = _lps(volume.affine[:3, 3] + number * volume.affine[:3, 2])
    normal = _lps(volume.affine[:3, 2]) / np.linalg.norm(volume.affine[:3, 2])
    image.ImagePositionPatient = _decimals(position)
    image.SliceLocation = _decimals(np.array([position @ normal]))[0]
    image.PixelData = np.ascontiguousarray(pixels[:, :, number].T).tobytes()  # (row, column)
    image["PixelData"].VR = "OW"
    return image


def _lps(vector: AffineArray) -> AffineArray:
    return np.asarray(vector * (-1, -1, 1), dtype=np.float64)


def _decimals(values: AffineArray) -> list[DSfloat]:
    """Decimal strings of at most 16 characters, PS3.5 section 6.2."""
    return [DSfloat(round(float(value), 12), auto_format=True) for value in values]
