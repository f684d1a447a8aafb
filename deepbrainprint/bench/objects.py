"""The SOP instances that are sent: of nobody, with headers as scanners write them."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    PYDICOM_ROOT_UID,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
)

from deepbrainprint.intake.part10 import Request, encoded_meta

SENDER = "DCMSEND"  # as dcmsend calls itself

_SIDE = 256  # pixels
_FRAME_BYTES = _SIDE * _SIDE * 2
_FIRST_TAG = 10**19
_NUMBER_MARK = 987654  # stands in a template where the instance's number goes
_UNEVENNESS = 1 << 20  # pixels are cut out of noise that is so much longer


@dataclass(frozen=True)
class ObjectSet:
    """A kind of objects. `frames` is 0 for images that have no frames."""

    name: str
    sop_class_uid: str
    frames: int
    words: str

    @property
    def pixel_bytes(self) -> int:
        """Length of Pixel Data."""
        return _FRAME_BYTES * max(1, self.frames)


SLICES = ObjectSet("slices", MRImageStorage, 0, "MR image, 256 × 256 × 16 bit")
MULTIFRAME = ObjectSet(
    "multiframe", EnhancedMRImageStorage, 191, "Enhanced MR image, 191 frames of 256 × 256 × 16 bit"
)
SETS = {kind.name: kind for kind in (SLICES, MULTIFRAME)}


@dataclass(frozen=True)
class Series:
    """One association's objects: a study with one series. `tag` tells runs apart."""

    kind: ObjectSet
    tag: int
    association: int

    def instance_uid(self, number: int) -> str:
        """SOP Instance UID of one of its objects; all have one length."""
        return f"{_prefix(self.tag, self.association)}.3.{1_000_000 + number}"

    def data_set(self, number: int) -> tuple[bytes, memoryview]:
        """Header and pixels of one object, as they go over the wire one behind the other."""
        return self._header(number), _pixels(self.kind, number)

    def files(self, folder: Path, count: int) -> Iterator[Path]:
        """Write DICOM files (PS3.10 §7), one after the other."""
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            path = folder / f"{number:06d}.dcm"
            request = Request(
                sop_class_uid=self.kind.sop_class_uid,
                sop_instance_uid=self.instance_uid(number),
                transfer_syntax_uid=str(ExplicitVRLittleEndian),
                calling_ae=SENDER,
            )
            with path.open("wb") as file:
                file.writelines((encoded_meta(request), *self.data_set(number)))
            yield path

    def _header(self, number: int) -> bytes:
        template = _template(self.kind)
        ours = _prefix(self.tag, self.association).encode()
        return (
            template.replace(_prefix(_FIRST_TAG, 0).encode(), ours)
            .replace(b".3.1000000", b".3.%d" % (1_000_000 + number))
            .replace(b"%d" % _NUMBER_MARK, b"%06d" % (number + 1))
        )


def data_set_bytes(kind: ObjectSet) -> int:
    """Length of one object's data set; all of a kind are alike."""
    return len(_template(kind)) + kind.pixel_bytes


def new_tag() -> int:
    """A number that makes the UIDs of a run its own."""
    return random.SystemRandom().randrange(_FIRST_TAG + 1, 10 * _FIRST_TAG)


def _prefix(tag: int, association: int) -> str:
    return f"{PYDICOM_ROOT_UID}{tag}.{1000 + association}"


@cache
def _noise(kind: ObjectSet) -> memoryview:
    return memoryview(random.Random(0).randbytes(kind.pixel_bytes + _UNEVENNESS))  # noqa: S311


def _pixels(kind: ObjectSet, number: int) -> memoryview:
    start = number * 1021 % _UNEVENNESS
    return _noise(kind)[start : start + kind.pixel_bytes]


@cache
def _template(kind: ObjectSet) -> bytes:
    """All elements, up to where the value of Pixel Data begins."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, _image(kind))
    return buffer.getvalue() + struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, kind.pixel_bytes)


def _image(kind: ObjectSet) -> Dataset:
    uid = _prefix(_FIRST_TAG, 0)
    image = _with(_HEADER)
    image.SOPClassUID, image.SOPInstanceUID = kind.sop_class_uid, f"{uid}.3.1000000"
    image.StudyInstanceUID, image.SeriesInstanceUID = f"{uid}.1", f"{uid}.2"
    image.FrameOfReferenceUID, image.InstanceNumber = f"{uid}.4", _NUMBER_MARK
    if kind.frames:
        image.NumberOfFrames = kind.frames
        image.SharedFunctionalGroupsSequence = [_shared_groups()]
        image.PerFrameFunctionalGroupsSequence = [_frame_groups(n) for n in range(kind.frames)]
    else:
        image.update(_with(_PLANE))
    return image


def _shared_groups() -> Dataset:
    measures = {"PixelSpacing": [1, 1], "SliceThickness": 1}
    orientation = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    return _with(
        {
            "PixelMeasuresSequence": [_with(measures)],
            "PlaneOrientationSequence": [_with(orientation)],
        }
    )


def _frame_groups(number: int) -> Dataset:
    content = {"StackID": "1", "InStackPositionNumber": number + 1, "TemporalPositionIndex": 1}
    position = {"ImagePositionPatient": [-128, -128, number]}
    return _with(
        {"FrameContentSequence": [_with(content)], "PlanePositionSequence": [_with(position)]}
    )


def _with(values: Mapping[str, object]) -> Dataset:
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


_PLANE: dict[str, object] = {
    "ImagePositionPatient": [-128, -128, 0],
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "PixelSpacing": [1, 1],
    "SliceThickness": 1,
    "SliceLocation": 0,
}
_HEADER: dict[str, object] = {
    "SpecificCharacterSet": "ISO_IR 100",
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"],
    "InstanceCreationDate": "20200101",
    "InstanceCreationTime": "101112.345",
    "StudyDate": "20200101",
    "SeriesDate": "20200101",
    "AcquisitionDate": "20200101",
    "ContentDate": "20200101",
    "StudyTime": "101010",
    "SeriesTime": "101112",
    "AcquisitionTime": "101112.5",
    "ContentTime": "101112.5",
    "AccessionNumber": "BENCH",
    "Modality": "MR",
    "Manufacturer": "NOBODY",
    "InstitutionName": "Nowhere",
    "ReferringPhysicianName": "Nobody",
    "StationName": "BENCH",
    "StudyDescription": "Speed of intake",
    "SeriesDescription": "Noise",
    "ManufacturerModelName": "Generator",
    "PatientName": "Nobody^Of Speed",
    "PatientID": "SPEED-OF-INTAKE",
    "PatientBirthDate": "19000101",
    "PatientSex": "O",
    "PatientAge": "120Y",
    "PatientWeight": "70",
    "BodyPartExamined": "BRAIN",
    "ScanningSequence": ["GR", "IR"],
    "SequenceVariant": ["SK", "SP", "MP"],
    "ScanOptions": "IR",
    "MRAcquisitionType": "3D",
    "SequenceName": "*tfl3d1",
    "RepetitionTime": "2300",
    "EchoTime": "2.98",
    "InversionTime": "900",
    "NumberOfAverages": "1",
    "ImagingFrequency": "123.25",
    "ImagedNucleus": "1H",
    "EchoNumbers": "1",
    "MagneticFieldStrength": "3",
    "NumberOfPhaseEncodingSteps": "255",
    "EchoTrainLength": "1",
    "PercentSampling": "100",
    "PercentPhaseFieldOfView": "100",
    "PixelBandwidth": "240",
    "DeviceSerialNumber": "0",
    "SoftwareVersions": "1",
    "ProtocolName": "Noise",
    "TransmitCoilName": "Body",
    "AcquisitionMatrix": [0, 256, 256, 0],
    "InPlanePhaseEncodingDirection": "ROW",
    "FlipAngle": "9",
    "PatientPosition": "HFS",
    "StudyID": "1",
    "SeriesNumber": 1,
    "AcquisitionNumber": 1,
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "Rows": _SIDE,
    "Columns": _SIDE,
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
    "PixelRepresentation": 0,
    "WindowCenter": "600",
    "WindowWidth": "1200",
}
