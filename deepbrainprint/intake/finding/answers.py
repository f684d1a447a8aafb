"""Answers as DICOM data sets in UTF-8, whatever character set the objects came in."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom import Dataset, config
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement

from deepbrainprint.database.finding import FoundStudy
from deepbrainprint.intake.finding.attributes import Attribute

_UTF_8 = "ISO_IR 192"
INSTANCE_AVAILABILITY = tag_for_keyword("InstanceAvailability") or 0
# PS3.3 C.4.23.1.1: what we hold cannot be fetched from here by DICOM.
_NOT_RETRIEVABLE = "UNAVAILABLE"


def answer(
    found: FoundStudy, wanted: Iterable[Attribute], *, with_availability: bool = False
) -> Dataset:
    """One answer with the wanted attributes, empty ones included."""
    data_set = Dataset()
    _add(data_set, 0x00080005, "CS", _UTF_8)
    for attribute in wanted:
        _add(data_set, attribute.tag, attribute.vr, getattr(found, attribute.field))
    if with_availability:
        _add(data_set, INSTANCE_AVAILABILITY, "CS", _NOT_RETRIEVABLE)
    return data_set


def _add(data_set: Dataset, tag: int, vr: str, value: object) -> None:
    """Values are told as they were stored: a header's faults are not ours to refuse."""
    value = "" if value is None else value
    data_set[tag] = DataElement(tag, vr, value, validation_mode=config.IGNORE)
