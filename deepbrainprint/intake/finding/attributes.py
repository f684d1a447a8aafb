"""The attributes that can be asked for, and how each is matched (DICOM PS3.4 C.2.2.2, C.6.2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from pydicom.datadict import dictionary_VR, tag_for_keyword


class Level(StrEnum):
    """What is asked for, as Query/Retrieve Level (0008,0052) writes it."""

    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"

    def reaches(self, other: Level) -> bool:
        """Whether answers at this level can tell what belongs to the other one."""
        order = list(Level)
        return order.index(other) <= order.index(self)


class Matching(StrEnum):
    """How a value of a query is compared."""

    UIDS = "uids"  # one of a list
    TEXT = "text"  # with wildcards
    TEXTS = "texts"  # one of a list, with wildcards
    NAME = "name"  # with wildcards, whatever the case, in any component group
    DATE = "date"  # a day or a range
    TIME = "time"  # a time or a range
    NUMBER = "number"
    NONE = "none"  # is told but cannot be asked


@dataclass(frozen=True)
class Attribute:
    """One attribute: where its value is found in an answer, and how it is matched."""

    keyword: str
    level: Level
    field: str  # of FoundStudy, FoundSeries or FoundInstance; also names the keys of Sought
    matching: Matching
    by_default: bool = False  # PS3.18 §10.6.3.3: in every answer of QIDO-RS
    is_counted: bool = False  # costs a further look at the tables

    @property
    def tag(self) -> int:
        """The tag as a number."""
        tag = tag_for_keyword(self.keyword)
        assert tag is not None, self.keyword  # noqa: S101 — the table below is ours
        return tag

    @property
    def vr(self) -> str:
        """The value representation."""
        return dictionary_VR(self.tag)


_STUDY, _SERIES, _IMAGE = Level.STUDY, Level.SERIES, Level.IMAGE
UNIQUE_KEYS = {
    _STUDY: "StudyInstanceUID",
    _SERIES: "SeriesInstanceUID",
    _IMAGE: "SOPInstanceUID",
}
ATTRIBUTES = (
    Attribute("StudyInstanceUID", _STUDY, "study_uid", Matching.UIDS, by_default=True),
    Attribute("StudyDate", _STUDY, "study_date", Matching.DATE, by_default=True),
    Attribute("StudyTime", _STUDY, "study_time", Matching.TIME, by_default=True),
    Attribute("AccessionNumber", _STUDY, "accession_number", Matching.TEXT, by_default=True),
    Attribute("PatientName", _STUDY, "name", Matching.NAME, by_default=True),
    Attribute("PatientID", _STUDY, "patient_id", Matching.TEXT, by_default=True),
    Attribute("IssuerOfPatientID", _STUDY, "issuer", Matching.TEXT),
    Attribute("PatientBirthDate", _STUDY, "birth_date", Matching.DATE, by_default=True),
    Attribute("PatientSex", _STUDY, "sex", Matching.TEXT, by_default=True),
    Attribute("StudyID", _STUDY, "study_label", Matching.TEXT, by_default=True),
    Attribute("StudyDescription", _STUDY, "study_description", Matching.TEXT),
    Attribute(
        "ReferringPhysicianName", _STUDY, "referring_physician", Matching.NAME, by_default=True
    ),
    Attribute(
        "ModalitiesInStudy",
        _STUDY,
        "modalities",
        Matching.TEXTS,
        by_default=True,
        is_counted=True,
    ),
    Attribute(
        "NumberOfStudyRelatedSeries",
        _STUDY,
        "study_series",
        Matching.NONE,
        by_default=True,
        is_counted=True,
    ),
    Attribute(
        "NumberOfStudyRelatedInstances",
        _STUDY,
        "study_instances",
        Matching.NONE,
        by_default=True,
        is_counted=True,
    ),
    Attribute("SeriesInstanceUID", _SERIES, "series_uid", Matching.UIDS, by_default=True),
    Attribute("Modality", _SERIES, "modality", Matching.TEXTS, by_default=True),
    Attribute("SeriesNumber", _SERIES, "series_number", Matching.NUMBER, by_default=True),
    Attribute("SeriesDescription", _SERIES, "series_description", Matching.TEXT, by_default=True),
    Attribute("SeriesDate", _SERIES, "series_date", Matching.DATE),
    Attribute("SeriesTime", _SERIES, "series_time", Matching.TIME),
    Attribute("BodyPartExamined", _SERIES, "body_part", Matching.TEXT),
    Attribute("Manufacturer", _SERIES, "manufacturer", Matching.TEXT),
    Attribute("ManufacturerModelName", _SERIES, "model", Matching.TEXT),
    Attribute(
        "NumberOfSeriesRelatedInstances",
        _SERIES,
        "series_instances",
        Matching.NONE,
        by_default=True,
        is_counted=True,
    ),
    Attribute("SOPInstanceUID", _IMAGE, "sop_instance_uid", Matching.UIDS, by_default=True),
    Attribute("SOPClassUID", _IMAGE, "sop_class_uid", Matching.UIDS, by_default=True),
    Attribute("InstanceNumber", _IMAGE, "instance_number", Matching.NUMBER, by_default=True),
    Attribute("Rows", _IMAGE, "image_rows", Matching.NUMBER, by_default=True),
    Attribute("Columns", _IMAGE, "image_columns", Matching.NUMBER, by_default=True),
    Attribute("NumberOfFrames", _IMAGE, "frames", Matching.NUMBER, by_default=True),
)


@cache
def attributes_by_tag() -> dict[int, Attribute]:
    """All attributes by their tags."""
    return {attribute.tag: attribute for attribute in ATTRIBUTES}


def unique_key(level: Level) -> Attribute:
    """The attribute that names one thing at a level."""
    return next(found for found in ATTRIBUTES if found.keyword == UNIQUE_KEYS[level])
