"""Identifiers of queries and retrievals (PS3.4 C.4), and what answers say."""

from __future__ import annotations

from typing import Any

from pydicom import Dataset, config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement

from deepbrainprint.intake.pull.source import Found, Listed


def identifier(level: str, **keys: Any) -> Dataset:
    """An identifier; keyword arguments name DICOM attributes, an empty value asks for one.

    Values are sent as they are: pydicom's checks would quote them in a warning.
    """
    dataset = Dataset()
    values = {"QueryRetrieveLevel": level, **keys}
    if not all(str(value).isascii() for value in values.values()):
        values["SpecificCharacterSet"] = "ISO_IR 192"
    for keyword, value in values.items():
        tag = tag_for_keyword(keyword) or 0
        dataset.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE))
    return dataset


def found_in(answer: Dataset) -> Found:
    """What a study-level answer says."""
    return Found(
        study_uid=text(answer, "StudyInstanceUID"),
        expected=_number(text(answer, "NumberOfStudyRelatedInstances")),
        modalities=frozenset(filter(None, text(answer, "ModalitiesInStudy").split("\\"))),
        accession=text(answer, "AccessionNumber"),
        patient=text(answer, "PatientID"),
        day=text(answer, "StudyDate"),
    )


def listed_in(answer: Dataset, series_uid: str) -> Listed:
    """What an image-level answer says."""
    return Listed(series_uid, text(answer, "SOPInstanceUID"), text(answer, "SOPClassUID"))


def text(answer: Dataset, keyword: str) -> str:
    """A value as text, several joined by a backslash; empty when there is none."""
    try:
        value = answer.get(keyword)
    except (ValueError, TypeError, AttributeError, OverflowError):  # what it says is no such value
        return ""
    if value is None:
        return ""
    parts = [value] if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__") else value
    return "\\".join(str(part).strip("\0 ") for part in parts)


def _number(written: str) -> int | None:
    return int(written) if written.isdecimal() else None
