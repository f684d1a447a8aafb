"""Moving voxels onto another lattice; the only place that uses SimpleITK.

Transforms are (4, 4) in RAS mm and map points of the wanted lattice to points of the scan.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 — the name everyone gives it

from deepbrainprint.imaging.volume import spacing
from deepbrainprint.records import AffineArray, FloatArray, Volume

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's world runs left, back, top


def resampled(volume: Volume, lattice: Volume, transform: AffineArray) -> FloatArray:
    """Return `volume` on the voxels of `lattice`, linearly interpolated, 0 outside its field."""
    turned = LPS @ transform @ LPS
    moved = sitk.AffineTransform(3)
    moved.SetMatrix(turned[:3, :3].ravel().tolist())
    moved.SetTranslation(turned[:3, 3].tolist())
    image = sitk.Resample(
        _image(volume), _image(lattice), moved, sitk.sitkLinear, 0.0, sitk.sitkFloat32
    )
    data: FloatArray = sitk.GetArrayViewFromImage(image).transpose(2, 1, 0)  # z, y, x → x, y, z
    return np.ascontiguousarray(data)


def _image(volume: Volume) -> Any:
    size, affine = spacing(volume.affine), LPS @ volume.affine
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.data.transpose(2, 1, 0)))
    image.SetSpacing(size.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / size).ravel().tolist())
    return image
