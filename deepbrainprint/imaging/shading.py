"""Taking off the shading of the receive coil, as far as the template can tell it from tissue.

On the grid the template says which tissue to expect where. The logarithm of a scan is then a level
for each tissue plus a smooth field, and both are found in one weighted least-squares fit, so that
no contrast has to be known. Tissue that is not where the template has it weighs less with each
round (Holland and Welsch, Commun Stat Theory Methods 1977;6:813).
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy import ndimage

from deepbrainprint.imaging import template
from deepbrainprint.imaging.registration import Array, Vector, Whole
from deepbrainprint.records import FloatArray, MaskArray

DEGREE = 3  # of the polynomial in x, y and z together
TISSUES = 24  # levels of the template, equally many blocks each
ROUNDS = 3
TOLERANCE = 1.5  # in median absolute deviations from the fit: beyond it a block weighs less
LEAST_BLOCKS = 2000  # the whole brain has about 28,000
STEEPEST = 2.5  # natural log: a field that spans more is no shading
DARKEST = 0.05  # of the median: what is darker is a hole, no tissue
POWERS = [p for p in itertools.product(range(DEGREE + 1), repeat=3) if 0 < sum(p) <= DEGREE]


def evened(data: FloatArray, inside: MaskArray) -> tuple[FloatArray, float]:
    """Return `data` (182, 218, 182) divided by its shading `inside` the brain, and how much it was.

    How much is the standard deviation of its natural logarithm; 0 with `data` as they were where
    too little of the brain was seen.
    """
    coefficients = _fitted(data, inside)
    if coefficients is None:
        return data, 0.0
    field = _field(coefficients, data.shape)
    return data * np.exp(-field), float(field[inside].std())


def _fitted(data: FloatArray, inside: MaskArray) -> Vector | None:
    """Return the coefficients of POWERS, or None when they cannot be known."""
    share = template.blocks(inside)
    level = template.blocks(np.where(inside, data, 0)) / np.maximum(share, 1e-6)
    usable = ndimage.binary_erosion((share > 0.75) & (template.blocks(template.mask()) > 0.75))
    if usable.sum() < LEAST_BLOCKS:
        return None
    usable &= level > DARKEST * np.median(level[usable])
    if usable.sum() < LEAST_BLOCKS:
        return None
    tissue = _tissues(template.blocks(template.reference().data)[usable])
    design = np.hstack([np.eye(TISSUES)[tissue], _basis(np.argwhere(usable))])
    values = np.log(level[usable] / np.median(level[usable])).astype(np.float64)
    coefficients = _robust(design, values)[TISSUES:]
    span = np.ptp(design[:, TISSUES:] @ coefficients)
    return coefficients if span <= STEEPEST else None


def _robust(design: Vector, values: Vector) -> Vector:
    """Weighted least squares whose weights fall with the distance from the fit."""
    weight: Vector = np.ones(len(values))
    solution: Vector = np.zeros(design.shape[1])
    for _ in range(ROUNDS):
        weighted = design * weight[:, None]
        ridge = 1e-6 * len(values) * np.eye(design.shape[1])
        solution = np.linalg.solve(weighted.T @ design + ridge, weighted.T @ values).astype(float)
        off = np.abs(values - design @ solution)
        weight = 1 / (1 + (off / (TOLERANCE * max(float(np.median(off)), 1e-6))) ** 2)
    return solution


def _tissues(expected: FloatArray) -> Whole:
    edges = np.quantile(expected, np.linspace(0, 1, TISSUES + 1)[1:-1])
    level: Whole = np.searchsorted(edges, expected)
    return level


def _basis(index: Whole) -> Vector:
    """Polynomials (n, powers) at blocks `index` (n, 3)."""
    middle = index * template.BLOCK + (template.BLOCK - 1) / 2
    x, y, z = (_coordinate(middle[:, axis], axis) for axis in range(3))
    return np.stack([x**i * y**j * z**k for i, j, k in POWERS], axis=1)


def _coordinate(voxel: Array, axis: int) -> Vector:
    """From voxels along `axis` to −1…1 over the longest edge of the grid."""
    scaled: Vector = (voxel - template.SHAPE[axis] / 2) / (max(template.SHAPE) / 2)
    return scaled


def _field(coefficients: Vector, shape: tuple[int, ...]) -> FloatArray:
    """The polynomial on the whole grid, float32."""
    x, y, z = (
        np.stack([_coordinate(np.arange(n), axis) ** p for p in range(DEGREE + 1)])
        for axis, n in enumerate(shape)
    )
    cube = np.zeros((DEGREE + 1,) * 3)
    for (i, j, k), value in zip(POWERS, coefficients, strict=True):
        cube[i, j, k] = value
    plane = np.einsum("ijk,ix,jy->xyk", cube, x, y).astype(np.float32)
    field: FloatArray = plane @ z.astype(np.float32)
    return field
