"""The anatomy every synthetic person is deformed from: nilearn's MNI152 brain in a simple head.

The template (ICBM 2009a symmetric, Fonov et al. 2011) comes with nilearn and ends at the pia;
skull, scalp, eyes and the soft tissue below are added here so that skull stripping has something
to do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import nibabel as nib
import numpy as np
from nilearn.datasets import (
    load_mni152_gm_template,
    load_mni152_template,
    load_mni152_wm_template,
)
from scipy import ndimage

from deepbrainprint.records import AffineArray, FloatArray, MaskArray
from deepbrainprint.simulation.deformation import Displacement, Lattice

BELOW_MM = 40  # the template is cut through the medulla; the head goes on below it
CUT_MM = 5  # its lowest slices fade out; the cord is prolonged from above them
ABOVE_MM = 20  # empty voxels above the vertex that are not needed
COARSE_MM = 2  # distances are measured on this grid
SHARPNESS = 1.5  # exponent that undoes part of the blur of an average of many brains
CLOSING_MM = 14.0  # sulci narrower than twice this lie inside the skull
EYES_MM = ((-32.0, 62.0, -38.0), (32.0, 62.0, -38.0))
FACE_CENTRE_MM, FACE_RADII_MM = (0.0, 22.0, -62.0), (58.0, 68.0, 46.0)


@dataclass(frozen=True)
class Anatomy:
    """Tissue maps on one 1 mm RAS grid, all (i, j, k); fractions run 0…1.

    `distance` is mm from the inner skull, positive outside; `ventricle_pull` points from around
    the ventricles into them, at most 1 mm.
    """

    grey: FloatArray
    white: FloatArray
    fluid: FloatArray
    texture: FloatArray
    distance: FloatArray
    soft_tissue: FloatArray
    eyes: FloatArray
    ventricle_pull: Displacement
    affine: AffineArray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along i, j, k."""
        return (self.grey.shape[0], self.grey.shape[1], self.grey.shape[2])

    @property
    def origin(self) -> tuple[float, float, float]:
        """RAS mm of the first voxel."""
        return _origin(self.affine)

    def slab(self, part: slice) -> Anatomy:
        """The same, cut to a part of axis 0."""
        names = ("grey", "white", "fluid", "texture", "distance", "soft_tissue", "eyes")
        return replace(self, **{name: getattr(self, name)[part] for name in names})

    def lattice(self, spacing: float) -> Lattice:
        """Points `spacing` mm apart over the whole grid."""
        columns, rows, slices = (int(np.ceil(size / spacing)) + 1 for size in self.shape)
        return Lattice((columns, rows, slices), self.origin, spacing)


@cache
def anatomy() -> Anatomy:
    """Load the template, add the head around it; about three seconds once per process."""
    t1, grey, white, affine = _template()
    brain = t1 > 0
    coarse_distance = _skull_distance(brain[::COARSE_MM, ::COARSE_MM, ::COARSE_MM])
    distance = _refined(coarse_distance, brain.shape)
    fractions = _fractions(grey, white, inside=distance < 0)
    return Anatomy(
        grey=fractions[0],
        white=fractions[1],
        fluid=fractions[2],
        texture=_texture(t1, fractions),
        distance=distance,
        soft_tissue=_ellipsoid(distance.shape, affine, FACE_CENTRE_MM, FACE_RADII_MM),
        eyes=_eyeballs(distance.shape, affine),
        ventricle_pull=_ventricle_pull(fractions[2], distance, _origin(affine)),
        affine=affine,
    )


def _template() -> tuple[FloatArray, FloatArray, FloatArray, AffineArray]:
    """T1 (0…1), grey and white maps (0…1), extended downwards; affine of the extended grid."""
    t1 = load_mni152_template(resolution=1)
    affine = np.array(t1.affine, dtype=np.float64)
    affine[2, 3] -= BELOW_MM
    maps = (t1, load_mni152_gm_template(resolution=1), load_mni152_wm_template(resolution=1))
    first, second, third = (_extended(image) for image in maps)
    return first, second, third, affine


def _extended(image: nib.Nifti1Image) -> FloatArray:
    """The image without its empty top and with the cut medulla prolonged below."""
    data = np.asarray(image.dataobj, dtype=np.float32)[:, :, :-ABOVE_MM]
    data /= data.max()
    below = np.repeat(data[:, :, CUT_MM : CUT_MM + 1], BELOW_MM + CUT_MM, axis=2)
    return np.concatenate([below, data[:, :, CUT_MM:]], axis=2)


def _skull_distance(brain: MaskArray) -> FloatArray:
    """Signed distance in mm from the closed brain outline, on the coarse grid."""
    closing = CLOSING_MM / COARSE_MM
    grown = ndimage.distance_transform_edt(~np.pad(brain, 12, mode="edge")) <= closing
    hull = (ndimage.distance_transform_edt(grown) > closing)[12:-12, 12:-12, 12:-12]
    outside = ndimage.distance_transform_edt(~hull)
    signed = (outside - ndimage.distance_transform_edt(hull)) * COARSE_MM
    return np.asarray(ndimage.gaussian_filter(signed, 1.0), dtype=np.float32)


def _refined(coarse: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    scale = np.full(3, 1 / COARSE_MM)
    return np.asarray(
        ndimage.affine_transform(coarse, scale, output_shape=shape, order=1, mode="nearest")
    )


def _fractions(grey: FloatArray, white: FloatArray, *, inside: MaskArray) -> list[FloatArray]:
    """Grey, white and fluid fractions, sharpened, summing to one inside the skull."""
    room = np.maximum(inside.astype(np.float32), np.minimum(grey + white, 1))
    fluid = np.clip(room - grey - white, 0, 1)
    sharp = [np.clip(part, 0, 1) ** SHARPNESS for part in (grey, white, fluid)]
    total = np.maximum(sum(sharp), 1e-6)
    return [part / total * room for part in sharp]


def _texture(t1: FloatArray, fractions: list[FloatArray]) -> FloatArray:
    """What the template shows beyond its tissue fractions: a factor around one."""
    means = [float(np.average(t1, weights=part * (t1 > 0))) for part in fractions]
    flat = sum(mean * part for mean, part in zip(means, fractions, strict=True))
    ratio = np.where(t1 > 0, t1 / np.maximum(flat, 0.05), 1)
    return np.clip(ratio, 0.75, 1.3).astype(np.float32)


def _ventricle_pull(
    fluid: FloatArray, distance: FloatArray, origin: tuple[float, float, float]
) -> Displacement:
    deep = (fluid * (distance < -30))[::COARSE_MM, ::COARSE_MM, ::COARSE_MM]
    smooth = ndimage.gaussian_filter(deep, 6 / COARSE_MM)
    pull = np.stack(np.gradient(smooth)).astype(np.float32)
    lattice = Lattice((deep.shape[0], deep.shape[1], deep.shape[2]), origin, COARSE_MM)
    return Displacement(np.asarray(pull / np.linalg.norm(pull, axis=0).max()), lattice)


def _origin(affine: AffineArray) -> tuple[float, float, float]:
    return (float(affine[0, 3]), float(affine[1, 3]), float(affine[2, 3]))


def _eyeballs(shape: tuple[int, ...], affine: AffineArray) -> FloatArray:
    radii = (12.0, 12.0, 12.0)
    first, second = (_ellipsoid(shape, affine, centre, radii) for centre in EYES_MM)
    return np.maximum(first, second)


def _ellipsoid(
    shape: tuple[int, ...],
    affine: AffineArray,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
) -> FloatArray:
    """One inside, zero outside, with an edge about 2 mm soft."""
    squares = [
        (((np.arange(shape[axis]) + affine[axis, 3]) - centre[axis]) / radii[axis]) ** 2
        for axis in range(3)
    ]
    radius = np.sqrt(
        squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :]
    )
    return np.asarray(np.clip((1 - radius) * min(radii) / 2 + 0.5, 0, 1), dtype=np.float32)
