"""Volumes that someone brings along as NIfTI files, to be turned into DICOM as they are."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from deepbrainprint.errors import BadStudy
from deepbrainprint.records import Volume
from deepbrainprint.simulation.acquisition import Orientation


def read_nifti(path: Path, orientation: Orientation = Orientation.AXIAL) -> Volume:
    """The volume with its axes turned and flipped to (column, row, slice); no voxel changes.

    BadStudy for a file that is missing, not NIfTI or not 3-D.
    """
    try:
        image: Any = nib.load(path)
        data = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, ImageFileError, EOFError, ValueError, zlib.error) as error:
        raise BadStudy(
            "the file cannot be read; give a whole NIfTI file", code="unreadable_nifti"
        ) from error
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise BadStudy("the NIfTI file holds no 3-D volume; split it first", code="not_a_volume")
    return _turned(Volume(data, np.asarray(image.affine, dtype=np.float64)), orientation)


def _turned(volume: Volume, orientation: Orientation) -> Volume:
    held = nib.orientations.io_orientation(volume.affine)
    wanted = nib.orientations.axcodes2ornt(tuple(orientation.axes))
    turn = nib.orientations.ornt_transform(held, wanted)
    shape = volume.data.shape
    return Volume(
        np.ascontiguousarray(nib.orientations.apply_orientation(volume.data, turn)),
        volume.affine @ nib.orientations.inv_ornt_aff(turn, shape),
    )
