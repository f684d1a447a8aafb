"""Reading a NIfTI file into a Volume, and writing one that holds pixels and geometry only."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from deepbrainprint.errors import BadStudy
from deepbrainprint.records import AffineArray, Volume

MOST_VOXELS = 1 << 28  # 1 GiB once it is float32
MINIMUM_EDGE = 8  # voxels: fewer along any axis is a picture or a localizer, not a volume


def read(path: Path) -> Volume:
    """Return the 3-D image in `path`, voxels reordered to the axes closest to RAS.

    Neither the data nor their position in the world change, only the order of the voxels: the
    affine may stay oblique. A 4-D file that holds one volume is taken as 3-D.

    Raises
    ------
    BadStudy
        `unreadable_nifti` when the file is damaged, `not_a_volume` when it holds no 3-D image.

    """
    if not path.is_file():
        raise BadStudy("there is no such NIfTI file: check the path", code="unreadable_nifti")
    try:
        image: Any = nib.load(path)  # nibabel types it as a file that need not be an image
        _guard_shape(image.shape)
        image = nib.as_closest_canonical(image.slicer[..., 0] if image.ndim == 4 else image)
        data = np.ascontiguousarray(image.dataobj, dtype=np.float32)
    except (OSError, ValueError, TypeError, EOFError, zlib.error, nib.spatialimages.HeaderDataError,
            nib.filebasedimages.ImageFileError) as error:  # fmt: skip
        raise BadStudy(
            "the NIfTI file is damaged or of an unknown kind: export it again",
            code="unreadable_nifti",
        ) from error
    volume = Volume(data, np.asarray(image.affine, dtype=np.float64))
    _guard_content(volume)
    return volume


def write(volume: Volume, path: Path, *, eight_bits: bool = False) -> None:
    """Write `volume` as NIfTI, whole or not at all; the header holds the affine and no text.

    With `eight_bits` the voxels are stored as unsigned bytes; they must be whole, 0…255.
    """
    data = volume.data.astype(np.uint8) if eight_bits else volume.data
    image: Any = nib.Nifti1Image(data, volume.affine)
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"part-{path.name}")
    nib.save(image, temporary)
    temporary.replace(path)


def spacing(affine: AffineArray) -> AffineArray:
    """Return the voxel size (3,) in mm."""
    edges: AffineArray = np.linalg.norm(affine[:3, :3], axis=0)
    return edges


def voxel_ml(affine: AffineArray) -> float:
    """Return the volume of one voxel in millilitres."""
    return float(abs(np.linalg.det(affine[:3, :3]))) / 1000.0


def _guard_shape(shape: tuple[int, ...]) -> None:
    """Raise BadStudy `not_a_volume` unless `shape` is one 3-D image with depth."""
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    if len(shape) != 3 or min(shape) < MINIMUM_EDGE:
        raise BadStudy(
            f"the image is {'×'.join(map(str, shape))} voxels: send one 3-D volume of at least "
            f"{MINIMUM_EDGE} slices",
            code="not_a_volume",
        )
    if math.prod(shape) > MOST_VOXELS:
        raise BadStudy(
            f"the image is {'×'.join(map(str, shape))} voxels, more than a head needs: resample it",
            code="not_a_volume",
        )


def _guard_content(volume: Volume) -> None:
    """Raise BadStudy `not_a_volume` when the pixels or the geometry say nothing."""
    if not np.isfinite(volume.affine).all() or voxel_ml(volume.affine) < 1e-6:
        raise BadStudy("the image has no usable geometry: export it again", code="not_a_volume")
    if not np.isfinite(volume.data).all():
        raise BadStudy("the image holds values that are not numbers", code="not_a_volume")
    if volume.data.max() == volume.data.min():
        raise BadStudy("the image is empty: all voxels are equal", code="not_a_volume")
