"""What an encoder reads of an aligned brain, cut as its card says."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from deepbrainprint.imaging import slices, tissue
from deepbrainprint.records import ByteArray, InputForm


def read(brain: ByteArray, form: InputForm) -> ByteArray:
    """Return what `form` describes of a brain (182, 218, 182), of shape `form.shape`."""
    match form.kind:
        case "planes":
            return slices.axial(brain, form.planes)
        case "volume":
            return _upright(reduced(brain, round(form.step_mm)))
        case "grey":
            return _upright(tissue.grey_map(brain, form.step_mm))
        case _:
            assert_never(form.kind)


def reduced(brain: ByteArray, step_mm: int) -> ByteArray:
    """Return the means over cubes of `step_mm`, rounded, (X, Y, Z); what is left over is cut."""
    x, y, z = (n // step_mm for n in brain.shape)
    whole = brain[: x * step_mm, : y * step_mm, : z * step_mm]
    cubes = whole.reshape(x, step_mm, y, step_mm, z, step_mm)
    means: ByteArray = np.rint(cubes.mean(axis=(1, 3, 5), dtype=np.float32)).astype(np.uint8)
    return means


def _upright(volume: ByteArray) -> ByteArray:
    """(X, Y, Z) → (Z, X, Y), so that a volume is a stack of axial planes."""
    stacked: ByteArray = np.ascontiguousarray(np.moveaxis(volume, 2, 0))
    return stacked
