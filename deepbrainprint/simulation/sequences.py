"""What an MR header says of the sequence: timing that fits the contrast, PS3.3 section C.8.3.1."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from deepbrainprint.errors import BadStudy
from deepbrainprint.records import Contrast
from deepbrainprint.simulation.acquisition import Protocol

THICK_SLICE_MM = 2.5  # from here on slices are excited one by one


@dataclass(frozen=True)
class Sequence:
    """Names and timing of one pulse sequence; times in ms, no inversion is 0."""

    description: str
    scanning: tuple[str, ...]
    variant: tuple[str, ...]
    repetition_ms: float
    echo_ms: float
    inversion_ms: float
    echo_train: int
    flip_deg: float


def sequence(contrast: Contrast, *, thick: bool) -> Sequence:
    """A usual sequence at 3 T, volumetric or slice by slice; BadStudy if there is none."""
    gradient, spin, inverted = ("GR", "IR"), ("SE",), ("SE", "IR")
    match contrast, thick:
        case Contrast.T1W, False:
            return Sequence("T1w MPRAGE", gradient, ("SP", "MP"), 2300, 2.98, 900, 1, 9)
        case Contrast.T1W, True:
            return Sequence("T1w SE", spin, ("NONE",), 520, 10, 0, 1, 90)
        case Contrast.T2W, _:
            return Sequence("T2w TSE", spin, ("SK",), 5200, 96, 0, 15, 120)
        case Contrast.FLAIR, _:
            return Sequence("T2w FLAIR", inverted, ("SK", "MP"), 9000, 110, 2500, 16, 120)
        case Contrast.PD, _:
            return Sequence("PDw TSE", spin, ("SK",), 3400, 14, 0, 5, 120)
        case _:
            raise BadStudy(
                f"contrast {contrast} has no sequence; use T1w, T2w, FLAIR or PD",
                code="contrast_not_simulated",
            )


def sequence_header(protocol: Protocol) -> Dataset:
    """The part of the MR Image module that the sequence decides."""
    thick = protocol.voxel_mm[2] >= THICK_SLICE_MM
    chosen = sequence(protocol.contrast, thick=thick)
    header = Dataset()
    header.ScanningSequence = list(chosen.scanning)
    header.SequenceVariant = list(chosen.variant)
    header.ScanOptions = None
    header.MRAcquisitionType = "2D" if thick else "3D"
    header.RepetitionTime, header.EchoTime = chosen.repetition_ms, chosen.echo_ms
    if chosen.inversion_ms:
        header.InversionTime = chosen.inversion_ms
    header.EchoTrainLength, header.FlipAngle = chosen.echo_train, chosen.flip_deg
    header.SeriesDescription = header.ProtocolName = f"{chosen.description} {protocol.orientation}"
    return header
