"""Base anatomies: aligned brains in the form from which people are generated.

A real brain has two channels: intensity times mask, and mask. A label map has one channel for
each group of tissues (its share of the voxel), so that any contrast can be painted on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as nnf
from torch import Tensor

from deepbrainprint.records import ByteArray

# FreeSurfer label numbers as in SynthSeg's maps (arXiv 2107.09559), extracerebral ones left out
TISSUES: tuple[tuple[int, ...], ...] = (
    (4, 5, 14, 15, 24, 43, 44, 72),  # ventricles and cerebrospinal fluid
    (3, 42, 8, 47, 17, 53, 18, 54),  # cortex, cerebellar cortex, hippocampus, amygdala
    (2, 41, 85, 30, 62, 77),  # white matter, optic chiasm, vessels
    (7, 46, 16, 28, 60),  # cerebellar white matter, brainstem, ventral diencephalon
    (10, 49, 11, 50, 12, 51, 13, 52, 26, 58, 25, 57, 136, 137, 163, 164),  # deep grey matter
)
T1W_LEVELS = (0.18, 0.5, 0.85, 0.78, 0.62)  # as in a T1-weighted scan, 0…1


@dataclass(frozen=True)
class Anatomy:
    """One brain to generate people from.

    channels: (C, 182 z, 91 x, 109 y) float32, each voxel the mean of 2×2×1 mm.
    painted: whether the channels are tissue shares (True) or intensity and mask (False).
    """

    name: str
    channels: Tensor
    painted: bool


def from_brain(name: str, brain: ByteArray) -> Anatomy:
    """Anatomy of an aligned brain (182, 218, 182) uint8, 0 outside the mask."""
    mask = (brain > 0).astype(np.float32)
    return Anatomy(name, _reduce(np.stack([brain / np.float32(255), mask])), painted=False)


def from_labels(name: str, labels: ByteArray) -> Anatomy:
    """Anatomy of an aligned label map (182, 218, 182) with FreeSurfer numbers."""
    shares = np.stack([np.isin(labels, group) for group in TISSUES]).astype(np.float32)
    return Anatomy(name, _reduce(shares), painted=True)


def from_shares(name: str, shares: ByteArray) -> Anatomy:
    """Anatomy of the shares of grey, white and fluid (3, 182, 218, 182), 255 being all.

    The groups of `TISSUES` that such shares do not tell apart stay empty.
    """
    known = shares[[2, 0, 1]].astype(np.float32) / 255  # in the order of TISSUES
    empty = np.zeros((len(TISSUES) - len(known), *known.shape[1:]), dtype=np.float32)
    return Anatomy(name, _reduce(np.concatenate([known, empty])), painted=True)


def _reduce(channels: npt.NDArray[np.float32]) -> Tensor:
    """(C, x, y, z) 1 mm → (C, z, x, y) with 2 mm pixels in the plane."""
    planes = torch.from_numpy(channels).permute(0, 3, 1, 2)
    return nnf.avg_pool2d(planes, 2).contiguous()
