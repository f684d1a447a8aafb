"""The words of the project: frozen records, distinct id types and closed enums.

Arrays are RAS: axis 0 runs to the patient's right, axis 1 to the front, axis 2 to the top, in mm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, NewType, Self

import numpy as np
import numpy.typing as npt

StudyId = NewType("StudyId", int)
ScanId = NewType("ScanId", int)
FingerprintId = NewType("FingerprintId", int)
PatientId = NewType("PatientId", int)  # our surrogate, never the hospital's patient id
EncoderId = NewType("EncoderId", int)
BundleId = NewType("BundleId", int)
DecisionId = NewType("DecisionId", int)

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]
MaskArray = npt.NDArray[np.bool_]
AffineArray = npt.NDArray[np.float64]  # (4, 4), voxel index to RAS mm

FINGERPRINT_LENGTH = 512
GRID_SHAPE = (182, 218, 182)  # x, y, z of the MNI152 1 mm grid, RAS


class State(StrEnum):
    """Where one revision of a study stands.

    receiving → queued → dispatched → converted → stripped → sliced → encoded → decided
    Any of them may end as not_applicable, rejected or failed; a later revision makes it superseded.
    """

    RECEIVING = "receiving"
    QUEUED = "queued"
    DISPATCHED = "dispatched"
    CONVERTED = "converted"
    STRIPPED = "stripped"
    SLICED = "sliced"
    ENCODED = "encoded"
    DECIDED = "decided"
    NOT_APPLICABLE = "not_applicable"
    REJECTED = "rejected"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class Contrast(StrEnum):
    """What a series shows; only the structural ones are fingerprinted."""

    T1W = "T1w"
    T1W_ENHANCED = "T1w_ce"
    T2W = "T2w"
    FLAIR = "FLAIR"
    PD = "PD"
    SWI = "SWI"
    DIFFUSION = "diffusion"
    PERFUSION = "perfusion"
    FMRI = "fmri"
    LOCALIZER = "localizer"
    DERIVED = "derived"
    REPORT = "report"
    OTHER = "other"


class Verdict(StrEnum):
    """What linkage says of a study: all three are normal outcomes."""

    LINKED = "linked"
    NEW_PATIENT = "new_patient"
    REVIEW = "review"


class Reason(StrEnum):
    """Why a verdict is what it is."""

    BRAIN_MATCHES = "brain_matches"
    NO_CANDIDATE = "no_candidate"
    BETWEEN_THRESHOLDS = "between_thresholds"
    TWO_CLOSE_CANDIDATES = "two_close_candidates"
    IDENTITY_CONFLICT = "identity_conflict"
    HEADER_DIFFERS = "header_differs"
    HEADER_AGREES = "header_agrees"
    LOW_QUALITY = "low_quality"
    SERIES_DISAGREE = "series_disagree"
    CROSS_CONTRAST = "cross_contrast"
    POSSIBLE_DUPLICATE_RECORD = "possible_duplicate_record"


@dataclass(frozen=True, order=True)
class StudyRevision:
    """One revision of one study; its text form is the Airflow run id, e.g. `study-12-r1`."""

    study_id: StudyId
    revision: int

    def __str__(self) -> str:
        return f"study-{self.study_id}-r{self.revision}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `study-<id>-r<revision>`; ValueError for anything else."""
        match = re.fullmatch(r"study-([1-9]\d*)-r([1-9]\d*)", text)
        if match is None:
            raise ValueError("a run id reads study-<id>-r<revision>")
        return cls(StudyId(int(match[1])), int(match[2]))


@dataclass(frozen=True)
class ImageFacts:
    """What the header says of an image's place among others (DICOM PS3.3 C.7); no identity."""

    modality: str = ""
    series_number: int | None = None
    instance_number: int | None = None
    slice_position: float | None = None  # mm along the slice normal; None when not said
    frames: int | None = None  # None: not a multi-frame image
    image_rows: int | None = None
    image_columns: int | None = None
    body_part: str = ""
    manufacturer: str = ""
    model: str = ""
    study_instances: int | None = None  # (0020,1208)
    series_instances: int | None = None  # (0020,1209)


@dataclass(frozen=True)
class Instance:
    """One received SOP instance as it lies on disk (DICOM PS3.3 A.1 names the UIDs)."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: Path
    size_bytes: int
    sha256: str
    calling_ae: str
    facts: ImageFacts = ImageFacts()


@dataclass(frozen=True)
class HeaderIdentity:
    """Who the DICOM header says the patient is. Goes into the identity schema and nowhere else."""

    patient_id: str = ""
    issuer: str = ""
    name: str = ""
    birth_date: str = ""
    sex: str = ""
    accession_number: str = ""
    study_date: str = ""
    study_time: str = ""
    study_label: str = ""  # Study ID (0020,0010)
    study_description: str = ""
    referring_physician: str = ""
    series_description: str = ""
    series_date: str = ""
    series_time: str = ""

    def __repr__(self) -> str:
        return "HeaderIdentity(…)"  # a log line or traceback must not show it


@dataclass(frozen=True)
class Volume:
    """A 3-D image. data (i, j, k) float32; affine (4, 4) maps voxel index to RAS mm."""

    data: FloatArray
    affine: AffineArray


@dataclass(frozen=True)
class SeriesChoice:
    """One series of a study, what it was taken for and why."""

    series_uid: str
    series_number: int
    contrast: Contrast
    usable: bool
    confidence: float  # 0…1
    reason: str  # header facts only, no identity
    instance_count: int


@dataclass(frozen=True)
class Scan:
    """One usable series of a study revision on its way to a fingerprint."""

    scan_id: ScanId
    study_id: StudyId
    revision: int
    series_uid: str
    contrast: Contrast
    folder: Path
    quality: dict[str, float] = field(default_factory=dict)
    series_number: int = 0
    failed: bool = False  # looked at and refused


@dataclass(frozen=True)
class InputForm:
    """What an encoder reads of an aligned brain: uint8, 0 outside the brain.

    `planes`: axial planes of the 1 mm grid by their indices, (P, 182, 218). `volume`: means over
    cubes of `step_mm`, (Z, X, Y). `grey`: the same of the share of grey matter, 255 being all.
    """

    kind: Literal["planes", "volume", "grey"] = "planes"
    planes: tuple[int, ...] = ()
    step_mm: float = 1.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one scan."""
        x, y, z = (int(n / self.step_mm) for n in GRID_SHAPE)
        return (len(self.planes), x, y) if self.kind == "planes" else (z, x, y)


@dataclass(frozen=True)
class Fingerprint:
    """A unit-length float32 vector of length 512 and what made it."""

    vector: FloatArray
    encoder_version: str
    input_digest: str
    contrast: Contrast


@dataclass(frozen=True)
class ScanEvidence:
    """What one scan of the study says of one patient: its nearest scan among that patient's."""

    patient_id: PatientId
    probe_id: FingerprintId  # the study's scan
    fingerprint_id: FingerprintId  # the patient's
    similarity: float  # cosine, −1…1
    llr: float  # calibrated log-likelihood ratio of this comparison, natural log
    same_contrast: bool
    counted: bool = True  # not so for a scan of low quality beside better ones


@dataclass(frozen=True)
class Candidate:
    """A known patient who may be the one in the study.

    `llr` is that of all scans together; the rest is that of the scan that speaks for it most.
    """

    patient_id: PatientId
    fingerprint_id: FingerprintId
    similarity: float  # cosine, −1…1
    llr: float  # log-likelihood ratio, natural log
    same_contrast: bool
    evidence: tuple[ScanEvidence, ...] = ()  # one for each scan of the study


@dataclass(frozen=True)
class Decision:
    """What was decided of one study revision, by whom and on what evidence."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    patient_id: PatientId | None
    candidates: tuple[Candidate, ...]
    gallery_size: int
