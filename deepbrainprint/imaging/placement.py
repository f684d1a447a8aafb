"""Where the voxels of a converted volume lie, from the DICOM header rather than the converter.

PS3.3 section C.7.6.2.1.1 maps a pixel to the patient. dcm2niix follows it too, but takes slices
that are shifted in their planes for a straight stack, except where the modality is CT.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from deepbrainprint.imaging.geometry import Frame, Numbers, normal
from deepbrainprint.records import AffineArray

SAME_AXIS = 0.75  # cosine between an axis of the header, which may lean, and the converter's
MOST_DRIFT = 0.5  # voxels that a whole stack may lean before it is straightened
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def stated(frames: Sequence[Frame]) -> AffineArray:
    """Affine (4, 4) from (column, row, slice) to RAS mm of `frames`, in order and evenly apart."""
    plane, header = frames[0].plane, frames[0].header
    affine = np.eye(4)
    affine[:3, 0] = np.array(plane.orientation[:3]) * header.spacing_mm[1]
    affine[:3, 1] = np.array(plane.orientation[3:]) * header.spacing_mm[0]
    affine[:3, 2] = _step(frames)
    affine[:3, 3] = np.array(plane.position)
    return np.asarray(LPS_TO_RAS @ affine)


def placed(
    shape: Sequence[int], affine: AffineArray, frames: Sequence[Frame]
) -> AffineArray | None:
    """What the header says of an image with the axes of `affine`; None when they are not its own.

    dcm2niix may turn an axis round; the header's affine is turned with it.
    """
    header = frames[0].header
    if tuple(shape[:3]) != (header.matrix[1], header.matrix[0], len(frames)):
        return None
    truth = stated(frames)
    for axis, length in enumerate(shape[:3]):
        cosine = _cosine(truth[:3, axis], affine[:3, axis])
        if abs(cosine) < SAME_AXIS:
            return None
        if cosine < 0:
            truth[:3, 3] += truth[:3, axis] * (length - 1)
            truth[:3, axis] *= -1
    return truth


def straighten(data: Numbers, affine: AffineArray) -> tuple[Numbers, AffineArray]:
    """Slices of `data` (x, y, slice) shifted in their planes until the stack stands upright.

    A tilted gantry shears the stack: each slice lies parallel to the one before, but not over it.
    Shifted slices are interpolated linearly on a larger canvas; what was not scanned gets the
    lowest value. A stack that leans by less than half a voxel in all is returned as it is.
    """
    x, y, step = affine[:3, 0], affine[:3, 1], affine[:3, 2]
    drift = np.array([step @ x / (x @ x), step @ y / (y @ y)])  # voxels from slice to slice
    travel = drift * (data.shape[2] - 1)
    if np.abs(travel).max() < MOST_DRIFT:
        return data, affine
    start = np.minimum(travel, 0.0)  # of the canvas, in voxels of the first slice
    size = [data.shape[axis] + math.ceil(abs(travel[axis])) for axis in (0, 1)]
    canvas = np.full((*size, data.shape[2]), data.min(), dtype=np.float32)
    for number in range(data.shape[2]):
        canvas[..., number] = _shifted(
            data[..., number], number * drift - start, canvas[..., number]
        )
    upright = affine.copy()
    upright[:3, 2] = step - x * drift[0] - y * drift[1]
    upright[:3, 3] += x * start[0] + y * start[1]
    return canvas, upright


def _shifted(picture: Numbers, by: Numbers, canvas: Numbers) -> Numbers:
    """`picture` moved on `canvas` by a fraction of voxels along each axis."""
    for axis in (0, 1):
        whole = math.floor(by[axis])
        part = float(by[axis]) - whole
        length = canvas.shape[axis]
        padding = [(0, 0), (0, 0)]
        padding[axis] = (whole, max(0, length - whole - picture.shape[axis]))
        here = np.pad(picture, padding, constant_values=canvas.flat[0])
        picture = here * (1 - part) + _one_on(here, axis, canvas.flat[0]) * part
    return picture


def _one_on(picture: Numbers, axis: int, blank: float) -> Numbers:
    moved = np.roll(picture, 1, axis=axis)
    moved[(slice(None),) * axis + (0,)] = blank
    return moved


def _step(frames: Sequence[Frame]) -> Numbers:
    """From one slice to the next, mm."""
    first, last = frames[0], frames[-1]
    if len(frames) == 1:
        return normal(first.plane) * first.header.thickness_mm
    return np.subtract(last.plane.position, first.plane.position) / (len(frames) - 1)


def _cosine(a: Numbers, b: Numbers) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
