"""Heads painted from label maps, with a brain mask that is known for certain.

As SynthSeg's generator does (Billot et al., Medical Image Analysis 2023;86:102789), each label gets
a brightness, here around that of a real contrast, and the picture is blurred, shaded and given
noise. Labels are FreeSurfer's inside the brain and those of the CHARM head atlas around it
(Puonti et al., NeuroImage 2020;219:117044).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.random import default_rng
from scipy import ndimage

from deepbrainprint.bench.imaging import rescans
from deepbrainprint.bench.imaging.workload import SEED
from deepbrainprint.imaging import volume
from deepbrainprint.records import AffineArray, Contrast, FloatArray, MaskArray, Volume
from deepbrainprint.simulation.artefacts import noisy, shaded
from deepbrainprint.simulation.contrasts import Brightness, brightness

CONTRASTS = (Contrast.T1W, Contrast.T2W, Contrast.FLAIR)
SPREAD = 0.05  # between the brightness of labels of one tissue
BLUR_VOXELS = 0.6
AIR_VOXELS = 12  # kept around the head
FOLD_VOXELS = 3  # half the width of fluid between folds that counts as brain
_FLUID = (4, 5, 14, 15, 43, 44, 24)
_WHITE = (2, 7, 41, 46, 16, 28, 60, 85)
_AROUND = {
    "fluid": (506, 512),  # eyes, and what surrounds the cord with it
    "bone": (515, 502, 514),  # compact bone; vessels flow and are dark
    "marrow": (516,),
    "fat": (511,),
    "muscle": (507, 508, 509, 530),
}
_FLUID_AROUND = 24
_FIRST_AROUND = 500


@dataclass(frozen=True)
class LabelMap:
    """Labels (i, j, k) of a whole head, and voxel index to RAS mm."""

    labels: FloatArray
    affine: AffineArray

    def brain(self) -> MaskArray:
        """Brain, ventricles and the fluid around it, no cord: deepbet's idea of a brain mask."""
        inside = (self.labels > 0) & (self.labels < _FIRST_AROUND)
        mask: MaskArray = ndimage.binary_fill_holes(inside)
        return mask

    def tissue(self) -> MaskArray:
        """Brain and ventricles, and of the fluid around it only what fills narrow folds."""
        inside = self.brain() & (self.labels != _FLUID_AROUND)
        folds = ndimage.generate_binary_structure(3, 1)
        closed = ndimage.binary_closing(np.pad(inside, 8), folds, FOLD_VOXELS)[8:-8, 8:-8, 8:-8]
        mask: MaskArray = ndimage.binary_fill_holes(closed)
        return mask

    def centroid(self, labels: tuple[int, ...]) -> FloatArray:
        """The centre of gravity (3,) of some labels, RAS mm."""
        index = np.argwhere(np.isin(self.labels, labels)).mean(axis=0)
        return np.asarray(self.affine[:3, :3] @ index + self.affine[:3, 3])


def label_map(path: Path) -> LabelMap:
    """Read a label map in the order it is stored in, without most of the air around the head."""
    image: Any = nib.load(path)
    labels = np.asarray(image.dataobj, dtype=np.float32)
    shown = labels > 0
    ends = [np.flatnonzero(shown.any(axis=other))[[0, -1]] for other in ((1, 2), (0, 2), (0, 1))]
    low = np.maximum(np.array([end[0] for end in ends]) - AIR_VOXELS, 0)
    box = tuple(slice(a, end[1] + AIR_VOXELS) for a, end in zip(low, ends, strict=True))
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3, 3] += affine[:3, :3] @ low
    return LabelMap(np.ascontiguousarray(labels[box]), affine)


def head(drawn: LabelMap, contrast: Contrast, number: int) -> Volume:
    """Paint the head in a contrast, in the order of the label map; zero to about 1.3."""
    rng = default_rng([SEED, number, *contrast.encode()])
    bright = brightness(contrast)
    values = np.zeros(1024, dtype=np.float32)
    for label in np.unique(drawn.labels).astype(int):
        values[label] = _brightness(bright, label) * np.exp(rng.normal(0, SPREAD))
    values[0] = 0
    picture = ndimage.gaussian_filter(values[drawn.labels.astype(np.intp)], BLUR_VOXELS)
    seen = noisy(shaded(picture, rng, strength=rescans.SHADING / 2), rng, sd=rescans.NOISE)
    return Volume(seen.astype(np.float32), drawn.affine)


def stored_head(drawn: LabelMap, contrast: Contrast, number: int, path: Path) -> Volume:
    """The painted head, written to `path` as it lies and read as any study's file is read."""
    volume.write(head(drawn, contrast, number), path)
    return volume.read(path)


def _brightness(bright: Brightness, label: int) -> float:
    for tissue, labels in _AROUND.items():
        if label in labels:
            return float(getattr(bright, tissue))
    if label in _FLUID:
        return bright.fluid
    return bright.white if label in _WHITE else bright.grey
