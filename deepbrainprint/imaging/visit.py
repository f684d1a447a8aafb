"""The scans of one visit share a head: later scans are moved rigidly onto the first.

So they share the shape of one alignment, and a scan with thick slices or few of them lies where
the best scan of the visit says.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from deepbrainprint.imaging import registration
from deepbrainprint.imaging.alignment import centroid
from deepbrainprint.imaging.registration import AFFINE, RIGID, Prior, Problem, Vector
from deepbrainprint.imaging.resampling import resampled
from deepbrainprint.records import AffineArray, FloatArray, MaskArray, Volume

STAGES = ((8.0, 30), (4.0, 20), (3.0, 20))  # resolution in mm, most iterations
UNCHANGED = Prior()  # neither scale nor shape is searched


@dataclass(frozen=True)
class Anchor:
    """The first good scan of a visit."""

    thinned: tuple[Volume, FloatArray]
    mask: Volume  # 0 and 1, in the voxels of the scan
    centre: Vector  # (3,) RAS mm: the brain's centre of gravity
    transform: AffineArray  # (4, 4), RAS mm of the template to RAS mm of the scan


def anchored(scan: Volume, mask: MaskArray, transform: AffineArray) -> Anchor:
    """Keep what later scans need of an aligned scan; the scan itself may go."""
    outline = Volume(mask.astype(np.float32), scan.affine)
    thinned = registration.thinned(scan, mask)
    return Anchor(thinned, outline, centroid(mask, scan.affine), transform)


def moved(anchor: Anchor, scan: Volume, mask: MaskArray) -> AffineArray:
    """Return the rigid motion (4, 4) from the anchor's RAS mm to those of `scan`.

    Starts where the header says, which is right unless the person moved or the coordinates were
    set anew, and where the centres of gravity meet; the better of the two is refined.
    """
    thinned = registration.thinned(scan, mask)
    met = centroid(mask, scan.affine) - anchor.centre
    targets = functools.cache(lambda mm: registration.target(*anchor.thinned, mm=mm))
    sources = functools.cache(lambda mm: registration.source(*thinned, mm=mm))

    def problem(mm: float) -> Problem:
        return Problem(targets(mm), sources(mm), UNCHANGED, anchor.centre, np.zeros(3))

    mm, iterations = STAGES[0]
    starts = [np.zeros(AFFINE), np.concatenate([met, np.zeros(AFFINE - 3)])]
    tried = [problem(mm).solve(start, RIGID, iterations) for start in starts]
    parameters = min(tried, key=lambda pair: pair[0])[1]
    for mm, iterations in STAGES[1:]:
        _, parameters = problem(mm).solve(parameters, RIGID, iterations)
    return registration.matrix(parameters, anchor.centre, np.zeros(3))


def carried(anchor: Anchor, scan: Volume, motion: AffineArray) -> MaskArray:
    """Return the anchor's mask in the voxels of `scan`, `motion` from the anchor's mm to its."""
    back: AffineArray = np.linalg.inv(motion).astype(np.float64)
    return resampled(anchor.mask, scan, back) > 0.5
