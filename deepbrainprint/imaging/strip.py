"""Finding the brain in a head: deepbet's mask, and whether it can be a brain at all.

deepbet (Fisch et al., Comput Biol Med 2024; MIT) was trained on T1-weighted adults. It sees
percentiles and shapes rather than tissue values, and also finds the brain on the T2w and FLAIR
scans it was tried on here; what it misses, the plausibility check and the alignment must catch.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from deepbrainprint.errors import NotApplicable
from deepbrainprint.imaging.volume import voxel_ml
from deepbrainprint.records import MaskArray, Volume

if TYPE_CHECKING:
    from deepbet import BrainExtraction

# From an infant, or an adult's brain of which a slab is missing, to larger than any adult's.
SMALLEST_ML, LARGEST_ML = 450.0, 2300.0
AGREEMENT = 0.9  # Dice above which what is not zero and what deepbet found are the same brain


def brain_mask(volume: Volume) -> MaskArray:
    """Return where the brain is in `volume`, the skull there or already taken off.

    Raises
    ------
    NotApplicable
        `not_a_brain` when nothing was found, or something too small or too large.

    """
    found = _deepbet(volume)
    bare = foreground(volume)
    if bare is not None and (dice(found, bare) >= AGREEMENT or not plausible(found, volume)):
        return bare  # already stripped: keep the outline it came with
    if not plausible(found, volume):
        millilitres = found.sum() * voxel_ml(volume.affine)
        raise NotApplicable(
            f"no brain found: the mask holds {millilitres:.0f} ml, "
            f"a brain {SMALLEST_ML:.0f} to {LARGEST_ML:.0f} ml",
            code="not_a_brain",
        )
    return found


def plausible(mask: MaskArray, volume: Volume) -> bool:
    """Say whether `mask` has the size of a brain."""
    return bool(SMALLEST_ML <= mask.sum() * voxel_ml(volume.affine) <= LARGEST_ML)


def foreground(volume: Volume) -> MaskArray | None:
    """Return the largest part of what is not zero, if the image looks stripped of its skull.

    It does when its background is exactly zero and the rest has the size of a brain.
    """
    parts, count = ndimage.label(volume.data != 0)
    if count == 0:
        return None
    largest = np.argmax(np.bincount(parts.ravel())[1:]) + 1
    mask: MaskArray = ndimage.binary_fill_holes(parts == largest)
    return mask if plausible(mask, volume) and mask.mean() < 0.9 else None


def dice(first: MaskArray, second: MaskArray) -> float:
    """Return the overlap of two masks, 0…1."""
    total = int(first.sum()) + int(second.sum())
    return 2.0 * float((first & second).sum()) / total if total else 0.0


def _deepbet(volume: Volume) -> MaskArray:
    """Run deepbet; an empty mask where it finds nothing at all."""
    model = _model()
    try:
        soft = model.run_model(volume.data.copy())
        mask = model.postprocess(soft > 0.5)
    except (AssertionError, ValueError):  # its way to say that there is no foreground
        return np.zeros(volume.data.shape, dtype=bool)
    return np.asarray(mask, dtype=bool)


@functools.cache
def _model() -> BrainExtraction:
    from deepbet import BrainExtraction  # noqa: PLC0415 — brings torch, seconds to import

    return BrainExtraction(no_gpu=True)
