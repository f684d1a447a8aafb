"""Enhanced MR objects (PS3.3 section A.36.2) made of classic slices, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedMRImageStorage

SHARED = ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices")
MOVED = (*SHARED, "ImagePositionPatient", "ImageOrientationPatient", "EchoTime", "InstanceNumber")


def multi_frame(
    slices: Sequence[Dataset], *, stacks: Sequence[str] = (), **header: object
) -> Dataset:
    """One object that holds `slices` as its frames, in that order; `stacks` names a stack for each.

    A slice's Temporal Position Identifier becomes its index in time.
    """
    whole = Dataset()
    for element in slices[0]:
        if element.keyword not in MOVED:
            whole.add(deepcopy(element))
    whole.file_meta = deepcopy(slices[0].file_meta)
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    whole.InstanceNumber, whole.NumberOfFrames = 1, len(slices)
    whole.PixelData = b"".join(one.PixelData for one in slices)
    measures = _of(slices[0], SHARED)
    whole.SharedFunctionalGroupsSequence = Items([_group("PixelMeasuresSequence", measures)])
    names = list(stacks) or ["1"] * len(slices)
    whole.PerFrameFunctionalGroupsSequence = Items(
        [
            _frame(one, name, number)
            for number, (one, name) in enumerate(zip(slices, names, strict=True), 1)
        ]
    )
    for keyword, value in header.items():
        setattr(whole, keyword, value)
    return whole


def _frame(one: Dataset, stack: str, number: int) -> Dataset:
    content, echo, kind = Dataset(), Dataset(), Dataset()
    content.StackID, content.InStackPositionNumber = stack, number
    content.TemporalPositionIndex = int(one.get("TemporalPositionIdentifier", 1))
    content.DimensionIndexValues = [int(stack), content.TemporalPositionIndex, number]
    echo.EffectiveEchoTime = float(one.EchoTime)
    kind.FrameType = one.ImageType
    kind.ComplexImageComponent = "PHASE" if "P" in one.ImageType else "MAGNITUDE"
    frame = _group("FrameContentSequence", content)
    frame.PlanePositionSequence = Items([_of(one, ["ImagePositionPatient"])])
    frame.PlaneOrientationSequence = Items([_of(one, ["ImageOrientationPatient"])])
    frame.MREchoSequence, frame.MRImageFrameTypeSequence = Items([echo]), Items([kind])
    return frame


def _of(one: Dataset, keywords: Sequence[str]) -> Dataset:
    group = Dataset()
    for keyword in keywords:
        setattr(group, keyword, one[keyword].value)
    return group


def _group(keyword: str, item: Dataset) -> Dataset:
    group = Dataset()
    setattr(group, keyword, Items([item]))
    return group
