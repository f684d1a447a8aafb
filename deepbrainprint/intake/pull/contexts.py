"""Presentation contexts for what a PACS may send us by C-GET (PS3.4 C.4.3, PS3.7 D.3.3.4)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom.presentation import PresentationContext, build_context

from deepbrainprint.intake.sop_classes import PRIVATE_STORAGE

MOST = 127  # of 128 (PS3.8 §9.3.2.2: ids are odd bytes) one is for the retrieval itself
PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
COMPRESSED = (
    JPEGLosslessSV1,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEG2000,
    JPEGLSNearLossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    HTJ2K,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
_IMAGES = (
    "1.2.840.10008.5.1.4.1.1.4",  # MR Image
    "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR Image
    "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced MR Image
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
    "1.2.840.10008.5.1.4.1.1.4.3",  # Enhanced MR Color Image
)
_OTHERS = (
    "1.2.840.10008.5.1.4.1.1.4.2",  # MR Spectroscopy
    "1.2.840.10008.5.1.4.1.1.66",  # Raw Data
    "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR
    "1.2.840.10008.5.1.4.1.1.88.11",  # Basic Text SR
    "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
    "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
    "1.2.840.10008.5.1.4.1.1.88.59",  # Key Object Selection
    "1.2.840.10008.5.1.4.1.1.11.1",  # Grayscale Softcopy Presentation State
    "1.2.840.10008.5.1.4.1.1.104.1",  # Encapsulated PDF
    "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
    "1.2.840.10008.5.1.4.1.1.66.1",  # Spatial Registration
    "1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
    "1.2.840.10008.5.1.4.1.1.67",  # Real World Value Mapping
    "1.2.840.10008.5.1.4.1.1.7.2",  # Multi-frame Grayscale Byte Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.3",  # Multi-frame Grayscale Word Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.4",  # Multi-frame True Color Secondary Capture
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image
    "1.2.840.10008.5.1.4.1.1.128",  # PET Image
    *PRIVATE_STORAGE,
)


def storage_contexts(sop_classes: Iterable[str] = ()) -> list[PresentationContext]:
    """Contexts to receive these SOP classes in; without them what an MR study may hold.

    Each transfer syntax has a context of its own, so that the PACS can send what it keeps without
    encoding it anew.
    """
    if wanted := list(dict.fromkeys(filter(None, sop_classes))):
        return _one_each(wanted, (*PLAIN, *COMPRESSED))
    return _one_each(_IMAGES, (*PLAIN, *COMPRESSED)) + _one_each(_OTHERS, PLAIN)


def _one_each(classes: Iterable[str], syntaxes: Iterable[str]) -> list[PresentationContext]:
    """The most usual syntaxes of all classes first, as many as one association can carry."""
    known = list(classes)
    pairs = ((uid, syntax) for syntax in syntaxes for uid in known)
    return [build_context(uid, syntax) for uid, syntax in islice(pairs, MOST)]
