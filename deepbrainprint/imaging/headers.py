"""What one DICOM file says of its image: facts only, read without pixels and without identity.

Classic objects carry them at the top level (PS3.3 section A.4), enhanced multi-frame objects in
functional groups (PS3.3 section C.7.6.16). Anything may be blank, of the wrong kind or absent.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from deepbrainprint.imaging import values
from deepbrainprint.imaging.pixeldata import PixelState, pixel_state
from deepbrainprint.records import Contrast

KEPT = 4096  # headers of files that have not changed
TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber",
    "Modality", "ImageType", "ComplexImageComponent", "AcquisitionContrast",
    "ScanningSequence", "SequenceVariant", "SequenceName", "PulseSequenceName", "AngioFlag",
    "EchoPulseSequence", "EchoPlanarPulseSequence", "TimeOfFlightContrast", "PhaseContrast",
    "SteadyStatePulseSequence", "ScanOptions", "MagneticFieldStrength",
    "MRAcquisitionType", "EchoTime", "RepetitionTime", "InversionTime", "FlipAngle",
    "EchoTrainLength", "DiffusionBValue", "ContrastBolusAgent", "ContrastBolusAgentSequence",
    "AcquisitionNumber", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime",
    "FrameOfReferenceUID", "BodyPartExamined", "SeriesDescription", "ProtocolName",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
HINTS = (
    (Contrast.LOCALIZER, r"locali[sz]|scout|survey"),
    (Contrast.DIFFUSION, r"dwi|dti|diff|adc"),
    (Contrast.PERFUSION, r"perf|(?<![a-z])asl(?![a-z])"),
    (Contrast.FMRI, r"bold|fmri"),
    (Contrast.SWI, r"swi|t2.?star|t2\*"),
    (Contrast.OTHER, r"(?<![a-z])(tof|mra|mrv|dir)(?![a-z])|angio|venogra|field.?map|b[01].?map"),
    (Contrast.FLAIR, r"flair|dark.?fluid|tirm"),
    (Contrast.T1W, r"t1|mp.?rage|spgr|bravo"),
    (Contrast.T2W, r"t2"),
    (Contrast.PD, r"(?<![a-z])pdw?(?![a-z])|proton"),
)
ELSEWHERE = re.compile(
    r"KNEE|SPINE|CHEST|THORAX|ABDOM|PELVIS|HEART|CARDIAC|BREAST|SHOULDER|HIP|ANKLE|FOOT|HAND|WRIST"
    r"|ELBOW|PROSTATE|LIVER|KIDNEY|UTERUS|\bLEG|\bARM|EXTREMITY|THIGH"
)

NO_AGENT = {"", "NO", "NONE", "N", "0", "NA", "N/A", "-", "FALSE", "WITHOUT", "OHNE", "SANS"}


@dataclass(frozen=True)
class Plane:
    """Where one frame lies: corner (x, y, z) and row and column cosines (6,), LPS, mm.

    With what tells it from other frames of its object, where that has several.
    """

    position: tuple[float, ...]
    orientation: tuple[float, ...]
    kinds: frozenset[str] = frozenset()  # Frame Type and Complex Image Component
    echo_ms: float | None = None


@dataclass(frozen=True)
class Pulse:
    """How the signal was made; times in ms, None where the header is blank."""

    scanning: frozenset[str]  # SE, GR, IR, EP, RM
    variant: frozenset[str]  # SK, MTC, SS, TRSS, SP, MP, OSP
    stated: str  # AcquisitionContrast of enhanced objects, e.g. T1, FLUID_ATTENUATED
    volumetric: bool
    echo_ms: float | None
    repetition_ms: float | None
    inversion_ms: float | None
    flip_deg: float | None
    angiography: bool
    inversions: int = 0  # times that the header lists
    field_tesla: float | None = None


@dataclass(frozen=True)
class ImageHeader:
    """The facts of one file."""

    path: Path
    series_uid: str
    series_number: int
    instance_uid: str
    instance_number: int
    transfer_syntax_uid: str
    modality: str
    kinds: frozenset[str]  # values of Image Type
    normalised: bool  # the scanner has evened out the coils' sensitivity
    pulse: Pulse
    b_value: float | None
    enhanced: bool  # a contrast agent was given
    acquisition: str
    frame_of_reference: str
    matrix: tuple[int, int]  # rows, columns
    spacing_mm: tuple[float, float]  # between rows, between columns; 0 when unknown
    thickness_mm: float
    planes: tuple[Plane, ...]
    frames: int
    pixels: PixelState
    hint: Contrast | None  # what the description suggests, never its text
    elsewhere: bool  # a body part other than the head is named
    sop_class_uid: str = ""
    colour: bool = False


def read_all(files: Iterable[Path]) -> list[ImageHeader]:
    """Headers of the files that belong to a series, each instance once, in instance order.

    What is no DICOM, has no series or cannot be read is left out; compare lengths to count it.
    """
    found = (read(path) for path in files)
    ordered = sorted(
        (header for header in found if header is not None),
        key=lambda header: (header.instance_number, header.instance_uid, str(header.path)),
    )
    once: dict[tuple[str, str], ImageHeader] = {}
    for header in ordered:
        once.setdefault((header.series_uid, header.instance_uid or str(header.path)), header)
    return list(once.values())


def read(path: Path) -> ImageHeader | None:
    """The facts of one file; None when it is no DICOM object of a series.

    They are kept: a study is sorted and then converted, and its headers are read once for both.
    """
    try:
        state = path.stat()
    except OSError:
        return None
    return _read_once(path, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=KEPT)
def _read_once(path: Path, *_state: int) -> ImageHeader | None:
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            return _read(path, file)
    except values.BROKEN:
        return None


def _read(path: Path, file: BinaryIO) -> ImageHeader | None:
    dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(TAGS))
    series_uid = values.text(dataset, "SeriesInstanceUID")
    if not series_uid:
        return None
    frames = max(1, values.whole(dataset, "NumberOfFrames", default=1))
    layers = _layers(dataset)
    matrix = values.whole(dataset, "Rows"), values.whole(dataset, "Columns")
    return ImageHeader(
        path=path,
        series_uid=series_uid,
        series_number=values.whole(dataset, "SeriesNumber"),
        instance_uid=values.text(dataset, "SOPInstanceUID"),
        instance_number=values.whole(dataset, "InstanceNumber"),
        transfer_syntax_uid=str(dataset.file_meta.get("TransferSyntaxUID", "")),
        modality=values.text(dataset, "Modality").upper(),
        kinds=values.words(dataset, "ImageType") | values.words(dataset, "ComplexImageComponent"),
        normalised=_is_normalised(dataset),
        pulse=_pulse(layers),
        b_value=values.number(layers, "DiffusionBValue"),
        enhanced=_agent_given(dataset),
        acquisition=_acquisition(dataset),
        frame_of_reference=values.text(dataset, "FrameOfReferenceUID"),
        matrix=matrix,
        spacing_mm=_spacing(layers),
        thickness_mm=values.number(layers, "SliceThickness") or 0.0,
        planes=_planes(dataset, layers),
        frames=frames,
        pixels=pixel_state(file, dataset, bits=matrix[0] * matrix[1] * frames * _bits(dataset)),
        hint=_hint(dataset),
        elsewhere=_elsewhere(dataset),
        sop_class_uid=values.text(dataset, "SOPClassUID"),
        colour=values.whole(dataset, "SamplesPerPixel", default=1) > 1,
    )


def _layers(dataset: Dataset) -> list[Dataset]:
    """Where a fact may stand: top level, the first frame's groups, the groups all frames share."""
    layers = [dataset]
    for keyword in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in values.items(dataset, keyword)[:1]:
            layers += _groups(group)
    return layers


def _groups(group: Dataset) -> Iterator[Dataset]:
    for tag in group.keys():  # noqa: SIM118 — iterating a Dataset decodes every element
        yield from values.items(group, keyword_for_tag(tag))[:1]


def _pulse(layers: Sequence[Dataset]) -> Pulse:
    return Pulse(
        scanning=_scanning(layers),
        variant=values.words(layers[0], "SequenceVariant") | _spoiled_and_prepared(layers),
        stated=next(iter(values.first_words(layers, "AcquisitionContrast")), ""),
        volumetric="3D" in values.first_words(layers, "MRAcquisitionType"),
        echo_ms=values.positive(layers, "EchoTime", "EffectiveEchoTime"),
        repetition_ms=values.positive(layers, "RepetitionTime"),
        inversion_ms=values.positive(layers, "InversionTime", "InversionTimes"),
        flip_deg=values.positive(layers, "FlipAngle"),
        angiography=_shows_vessels(layers),
        inversions=len(values.numbers(layers, "InversionTimes", "InversionTime")),
        field_tesla=_field(layers),
    )


def _shows_vessels(layers: Sequence[Dataset]) -> bool:
    stated = ("TimeOfFlightContrast", "PhaseContrast")
    flow = any("YES" in values.first_words(layers, keyword) for keyword in stated)
    options = values.words(layers[0], "ScanOptions")  # GE writes VASCTOF_GEMS
    vascular = any("TOF" in option or "VASC" in option for option in options)
    return flow or vascular or "Y" in values.words(layers[0], "AngioFlag")


def _field(layers: Sequence[Dataset]) -> float | None:
    """Strength in tesla; some scanners write gauss (30000)."""
    strength = values.positive(layers, "MagneticFieldStrength")
    return strength / 10_000 if strength and strength > 100 else strength


def _scanning(layers: Sequence[Dataset]) -> frozenset[str]:
    """Scanning Sequence (0018,0020), made up from its enhanced successors where it is absent."""
    found = set(values.words(layers[0], "ScanningSequence"))
    echo = values.first_words(layers, "EchoPulseSequence")
    found |= {"GR"} if echo & {"GRADIENT", "BOTH"} else set()
    found |= {"SE"} if echo & {"SPIN", "BOTH"} else set()
    found |= {"EP"} if "YES" in values.first_words(layers, "EchoPlanarPulseSequence") else set()
    found |= {"IR"} if "YES" in values.first_words(layers, "InversionRecovery") else set()
    name = values.text(layers[0], "SequenceName") + values.text(layers[0], "PulseSequenceName")
    found |= {"EP"} if re.match(r"\*?ep(?!i?_?tse)", name) else set()
    return frozenset(found)


def _spoiled_and_prepared(layers: Sequence[Dataset]) -> frozenset[str]:
    found = {"SP"} if values.first_words(layers, "Spoiling") - {"NONE", ""} else set()
    name = values.text(layers[0], "SequenceName") + values.text(layers[0], "PulseSequenceName")
    found |= {"MP"} if re.match(r"\*?tfl", name) else set()  # Siemens' name of turbo FLASH
    return frozenset(found)


def _planes(dataset: Dataset, layers: Sequence[Dataset]) -> tuple[Plane, ...]:
    orientation = values.numbers(layers, "ImageOrientationPatient")
    groups = values.items(dataset, "PerFrameFunctionalGroupsSequence")
    if not groups:
        planes = [Plane(values.numbers(layers[:1], "ImagePositionPatient"), orientation)]
    else:
        planes = [_frame_plane(group, orientation) for group in groups]
    return tuple(p for p in planes if len(p.position) == 3 and len(p.orientation) == 6)


def _frame_plane(group: Dataset, orientation: tuple[float, ...]) -> Plane:
    position = values.numbers(values.items(group, "PlanePositionSequence"), "ImagePositionPatient")
    turn = values.numbers(
        values.items(group, "PlaneOrientationSequence"), "ImageOrientationPatient"
    )
    kinds = frozenset[str]()
    for kind in values.items(group, "MRImageFrameTypeSequence"):
        kinds |= values.words(kind, "FrameType") | values.words(kind, "ComplexImageComponent")
    echo_ms = values.positive(values.items(group, "MREchoSequence"), "EffectiveEchoTime")
    return Plane(position, turn or orientation, kinds, echo_ms)


def _spacing(layers: Sequence[Dataset]) -> tuple[float, float]:
    spacing = values.numbers(layers, "PixelSpacing")
    return (abs(spacing[0]), abs(spacing[1])) if len(spacing) == 2 else (0.0, 0.0)


def _agent_given(dataset: Dataset) -> bool:
    named = values.text(dataset, "ContrastBolusAgent").upper() not in NO_AGENT
    return named or bool(values.items(dataset, "ContrastBolusAgentSequence"))


def _acquisition(dataset: Dataset) -> str:
    moment = values.text(dataset, "AcquisitionDateTime")
    if not moment and values.text(dataset, "AcquisitionTime"):
        moment = values.text(dataset, "AcquisitionDate") + values.text(dataset, "AcquisitionTime")
    return moment and f"{moment}/{values.whole(dataset, 'AcquisitionNumber')}"


def _is_normalised(dataset: Dataset) -> bool:
    """Siemens' NORM, in Image Type or, since XA, in the frames' private copy of it."""
    kinds = values.words(dataset, "ImageType")
    for frame in values.items(dataset, "PerFrameFunctionalGroupsSequence")[:1]:
        for group in values.private_items(frame, 0x0021, 0xFE):
            kinds |= values.private_words(group, 0x0021, 0x75)
    return "NORM" in kinds


def _hint(dataset: Dataset) -> Contrast | None:
    described = (values.text(dataset, key) for key in ("SeriesDescription", "ProtocolName"))
    text = " ".join(described).lower()
    return next((contrast for contrast, pattern in HINTS if re.search(pattern, text)), None)


def _elsewhere(dataset: Dataset) -> bool:
    return ELSEWHERE.search(values.text(dataset, "BodyPartExamined").upper()) is not None


def _bits(dataset: Dataset) -> int:
    samples = max(1, values.whole(dataset, "SamplesPerPixel", default=1))
    return samples * values.whole(dataset, "BitsAllocated")
