"""The judge of two contrasts: where the brain of one scan lies in the other, found by an outsider.

Both scans show one head on one day, so that a rigid transform leads from one to the other and
their sizes are the same. Greedy finds it on the scans as they came, inside the brain, so that its
answer owes nothing to our transforms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepbrainprint.bench.imaging import displacement, others
from deepbrainprint.bench.imaging.findings import Figures
from deepbrainprint.imaging.brain import Examination
from deepbrainprint.imaging.registration import exponential
from deepbrainprint.records import AffineArray, Volume

NAME = "greedy"
KIND = "greedy rigid"
SIMILARITY = "greedy similarity"
SHIFTS_MM = (1.0, 2.0, 4.0)
SCALES = (1.01, 1.03, 1.05)


@dataclass(frozen=True)
class Ruling:
    """The rigid transform from mm of the second scan to mm of the first."""

    transform: AffineArray
    scale: float  # that the judge finds when it may also scale; 1 is the truth


def ruled(first: Examination, second: Examination) -> Ruling:
    """Ask the judge where the second scan's brain lies in the first."""
    brains = bare(second), bare(first)
    similar = others.register(SIMILARITY, *brains).transform
    return Ruling(others.register(KIND, *brains).transform, _scale(similar))


def bare(examined: Examination) -> Volume:
    """The scan with nothing but the brain in it."""
    scan = examined.scan
    if examined.mask is None:
        return scan
    return Volume(np.where(examined.mask, scan.data, 0), scan.affine)


def checked(first: Examination, second: Examination, ruling: Ruling) -> list[Figures]:
    """Move the second scan by known amounts and say by how much the judge misses them."""
    fixed, moving = bare(second), bare(first)
    found = []
    for mm, scale in zip(SHIFTS_MM, SCALES, strict=True):
        shift = _known(mm)
        transform = others.register(KIND, _placed(fixed, shift), moving).transform
        missed = displacement.distances(
            transform @ shift @ _to(second), ruling.transform @ _to(second)
        )
        grown = np.diag([scale, scale, scale, 1.0])
        similar = others.register(SIMILARITY, _placed(fixed, grown), moving).transform
        error = _scale(similar) * scale / ruling.scale - 1
        found.append(
            {"shift_mm": mm, "missed_mm": missed[0], "scale": scale, "missed_scale": abs(error)}
        )
    return found


def _known(mm: float) -> AffineArray:
    """A shift of `mm` along a diagonal, and half a degree for each mm."""
    shift = np.eye(4)
    angle = np.deg2rad(0.5 * mm) / np.sqrt(3)
    shift[:3, :3] = exponential(angle * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0.0]]))
    shift[:3, 3] = mm / np.sqrt(3)
    return shift


def _placed(scan: Volume, transform: AffineArray) -> Volume:
    return Volume(scan.data, transform @ scan.affine)


def _to(examined: Examination) -> AffineArray:
    return examined.require().transform


def _scale(transform: AffineArray) -> float:
    return float(abs(np.linalg.det(transform[:3, :3])) ** (1 / 3))
