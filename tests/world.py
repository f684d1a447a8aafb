"""Comparing images where they lie in the patient, whatever the order of their voxels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset

LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


def assert_same(path: Path, truth: Path) -> None:
    """Every voxel of `truth` is found in `path` at the same place, and no other."""
    want = nib.load(truth)
    voxels = np.indices(want.shape[:3]).reshape(3, -1).T
    places = nib.affines.apply_affine(want.affine, voxels)
    got = nib.load(path)
    assert int(np.prod(got.shape)) == len(places)
    np.testing.assert_allclose(values_at(got, places), want.get_fdata().ravel(), atol=1e-3)


def assert_shows(path: Path, instances: Sequence[Dataset], *, atol: float = 0) -> None:
    """Every pixel of `instances` is found where PS3.3 section C.7.6.2.1.1 puts it, and no other."""
    image = nib.load(path)
    assert int(np.prod(image.shape)) == sum(i.pixel_array.size for i in instances)
    for instance in instances:
        found = values_at(image, places_of(instance)).reshape(instance.pixel_array.shape)
        slope = float(instance.get("RescaleSlope", 1))
        intercept = float(instance.get("RescaleIntercept", 0))
        np.testing.assert_allclose(found, instance.pixel_array * slope + intercept, atol=atol)


def places_of(instance: Dataset) -> np.ndarray:
    """Where each pixel lies, row by row: (rows × columns, 3) in RAS mm."""
    across, down = np.reshape(np.array(instance.ImageOrientationPatient, dtype=float), (2, 3))
    rows_apart, columns_apart = (float(x) for x in instance.PixelSpacing)
    rows, columns = np.indices((instance.Rows, instance.Columns)).reshape(2, -1, 1)
    corner = np.array(instance.ImagePositionPatient, dtype=float)
    return (corner + across * columns_apart * columns + down * rows_apart * rows) * LPS_TO_RAS


def values_at(image: nib.Nifti1Image, places: np.ndarray) -> np.ndarray:
    """Voxel values at `places` (…, 3) in RAS mm, each of which must be a voxel's centre."""
    voxels = nib.affines.apply_affine(np.linalg.inv(image.affine), places)
    whole = np.rint(voxels).astype(int)
    assert np.abs(voxels - whole).max() < 0.02
    assert (whole >= 0).all()
    return image.get_fdata()[tuple(whole.T)]
