"""Figures that say how far a scan can be trusted, and the flags that follow from them.

| figure       | unit | what                                                              |
|--------------|------|-------------------------------------------------------------------|
| mask_ml      | ml   | brain mask in the scan                                            |
| scale        | 1    | volume of the scan's brain relative to the template's             |
| stretch      | 1    | largest over smallest stretch of the alignment                    |
| residual     | 1    | template variance that the scan leaves unexplained, 0 best        |
| overlap      | 1    | Dice of aligned mask and template's brain where the scan reaches  |
| coverage     | 1    | share of the template's brain inside the field of view            |
| shading      | 1    | standard deviation of the logarithm of the shading that was there |
| mask_borrowed| 1    | 1 where the mask is that of another scan of the visit             |
| slice_mm     | mm   | longest edge of a voxel                                           |
| noise        | 1    | standard deviation of the noise over the range of the brain       |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from deepbrainprint.imaging.alignment import Alignment
from deepbrainprint.imaging.volume import spacing
from deepbrainprint.records import MaskArray, Volume

DOUBTFUL_RESIDUAL = 0.75
LEAST_COVERAGE = 0.85
LEAST_OVERLAP = 0.9
MOST_NOISE = 0.12
THICK_MM = 6.5
SCALES = (0.45, 1.2)


def described(alignment: Alignment, volume: Volume, mask: MaskArray) -> Alignment:
    """Return `alignment` with the figures of the scan it came from added to its own."""
    figures = {
        **alignment.quality,
        "slice_mm": float(spacing(volume.affine).max()),
        "noise": noise(volume, mask),
    }
    return replace(alignment, quality=figures)


def noise(volume: Volume, mask: MaskArray) -> float:
    """Return the noise inside `mask` relative to the 1st…99th percentile range.

    Median absolute second difference along the axis of the smallest voxels, where tissue changes
    least from voxel to voxel; three independent samples weighted 1, −2, 1 have √6 times their
    standard deviation.
    """
    axis = int(np.argmin(spacing(volume.affine)))
    data = np.moveaxis(volume.data, axis, 0)
    inside = np.moveaxis(mask, axis, 0)
    whole = inside[:-2] & inside[1:-1] & inside[2:]
    if not whole.any():
        return 1.0
    second = (data[:-2] - 2 * data[1:-1] + data[2:])[whole]
    low, high = np.percentile(data[inside], (1, 99))
    return float(1.4826 * np.median(np.abs(second)) / np.sqrt(6) / max(high - low, 1e-6))


def flags(quality: Mapping[str, float]) -> tuple[str, ...]:
    """Return what is doubtful about a scan with these figures; `low_quality` first, if anything.

    Thick slices alone are noted but are no low quality.
    """
    doubts = tuple(
        name
        for name, doubtful in (
            ("doubtful_alignment", quality.get("residual", 0.0) > DOUBTFUL_RESIDUAL),
            ("unusual_outline", quality.get("overlap", 1.0) < LEAST_OVERLAP),
            ("partial_coverage", quality.get("coverage", 1.0) < LEAST_COVERAGE),
            ("unusual_size", not SCALES[0] <= quality.get("scale", SCALES[0]) <= SCALES[1]),
            ("noisy", quality.get("noise", 0.0) > MOST_NOISE),
        )
        if doubtful
    )
    thick = ("thick_slices",) if quality.get("slice_mm", 0.0) > THICK_MM else ()
    return (("low_quality", *doubts) if doubts else ()) + thick
