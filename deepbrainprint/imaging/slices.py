"""Planes of an aligned brain for the encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepbrainprint.imaging import template
from deepbrainprint.records import ByteArray

# z = 18 mm: frontal horns, bodies and atria of the lateral ventricles in one plane, as in the
# figures of the DeepBrainPrint paper, and the middle of the grid.
VENTRICLE_Z = 90


def axial(brain: ByteArray, z_indices: Sequence[int]) -> ByteArray:
    """Return the planes `z_indices` of a brain (182, 218, 182) as (n, 182, 218): x, y in RAS."""
    if brain.shape != template.SHAPE:
        raise ValueError(f"a brain on the grid is {template.SHAPE} voxels, not {brain.shape}")
    return np.ascontiguousarray(np.moveaxis(brain[:, :, list(z_indices)], 2, 0))
