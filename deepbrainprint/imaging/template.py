"""The reference brain: ICBM152 2009a, T1-weighted, on the fixed grid of this project.

The grid is 182×218×182 voxels of 1 mm in RAS order with the affine

    [[1, 0, 0,  -91],
     [0, 1, 0, -126],
     [0, 0, 1,  -72],
     [0, 0, 0,    1]]

so voxel centres run over x −91…90, y −126…91 and z −72…109 mm: the world box of the usual
MNI152 1 mm grid, whose first axis runs the other way.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from deepbrainprint.errors import Misconfigured
from deepbrainprint.imaging.registration import averaged
from deepbrainprint.records import GRID_SHAPE, AffineArray, FloatArray, MaskArray, Volume

SHAPE = GRID_SHAPE
ORIGIN = (-91, -126, -72)  # RAS mm of the centre of voxel (0, 0, 0)
FOLDER = Path("datasets", "data")
BLOCK = 4  # mm: scale at which a scan is held against the template, below it people differ
BRAIN_THRESHOLD = 0.2  # of the largest value, as nilearn's own brain mask


def affine() -> AffineArray:
    """Return a fresh (4, 4) affine of the grid, voxel index to RAS mm."""
    matrix = np.eye(4)
    matrix[:3, 3] = ORIGIN
    return matrix


@functools.cache
def reference() -> Volume:
    """Return the skull-stripped T1w template on the grid, values 0…255, read-only.

    nilearn's copy lies on 197×233×189 voxels with whole-millimetre centres, so the grid is cut
    out of it without interpolation.
    """
    data = _packaged("t1")
    data.setflags(write=False)
    return Volume(data, affine())


def tissue_share(name: str) -> FloatArray:
    """Return the share of grey (`gm`) or white (`wm`) matter, 0…1, (182, 218, 182)."""
    return _packaged(name) / np.float32(255)


def _packaged(name: str) -> FloatArray:
    image: Any = nib.load(_packaged_file(name))
    corner = np.asarray(ORIGIN) - image.affine[:3, 3].astype(int)
    box = tuple(slice(c, c + n) for c, n in zip(corner, SHAPE, strict=True))
    data: FloatArray = np.ascontiguousarray(image.dataobj[box], dtype=np.float32)
    return data


@functools.cache
def mask() -> MaskArray:
    """Return the brain of the template (182, 218, 182), ventricles filled, read-only."""
    data = reference().data
    brain: MaskArray = ndimage.binary_fill_holes(data > BRAIN_THRESHOLD * data.max())
    brain.setflags(write=False)
    return brain


def blocks(data: npt.NDArray[Any]) -> FloatArray:
    """Return the means over whole blocks of BLOCK voxels each way of `data` (182, 218, 182)."""
    x, y, z = (n // BLOCK * BLOCK for n in data.shape)
    return averaged(data[:x, :y, :z], (BLOCK, BLOCK, BLOCK))


def _packaged_file(name: str) -> Path:
    # found without importing nilearn, whose import takes longer than reading the file
    spec = importlib.util.find_spec("nilearn")
    file = FOLDER / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
    path = Path(spec.origin).parent / file if spec and spec.origin else file
    if not path.is_file():
        raise Misconfigured(
            "nilearn's MNI152 template is missing: run pip install 'deepbrainprint[pipeline]'",
            code="missing_template",
        )
    return path
