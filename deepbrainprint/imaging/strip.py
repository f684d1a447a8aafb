"""Finding the brain in a head, or keeping the outline that a stripped scan came with.

deepbet (`imaging.deepbet`) was trained on T1-weighted adults. It sees percentiles and shapes rather
than tissue values, and also finds the brain in other contrasts; a site may put SynthStrip in its
place (`imaging.synthstrip`). What either misses, `imaging.plausibility` and the alignment catch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from deepbrainprint.errors import NotApplicable
from deepbrainprint.imaging import deepbet, outline
from deepbrainprint.imaging.outline import dice
from deepbrainprint.records import MaskArray, Volume

# From an infant, or a child's brain of which a slab is missing, to larger than any adult's.
SMALLEST_ML, LARGEST_ML = 250.0, 2300.0
AGREEMENT = 0.9  # Dice above which a supplied outline and what was found are the same brain
TIGHT = 0.96  # Dice below which a supplied outline holds more than the brain
SAME_VISIT = 0.93  # Dice above which two contrasts of one visit have the same outline
BEYOND_MM = 40.0  # how far a head is made to go on beyond the cut

Stripper = Callable[[Volume], MaskArray]


class Source(StrEnum):
    """Where the mask of a scan is from."""

    OWN = "own"
    CARRIED = "carried"  # from a better scan of the same visit


@dataclass(frozen=True)
class Choice:
    """One of two masks for a scan, and one sentence that says why."""

    mask: MaskArray
    source: Source
    reason: str


def found_by_deepbet(volume: Volume) -> MaskArray:
    """Return where deepbet sees the brain in `volume`.

    It closes a brain that the field of view cuts off like a dome: then the outermost planes are
    repeated beyond the cut, so that it sees a head that goes on, and looks again.
    """
    found = deepbet.brain(volume.data)
    ends = outline.planes_at_cuts(found, volume.affine, BEYOND_MM)
    if not any(max(pair) for pair in ends):
        return found
    longer = deepbet.brain(np.pad(volume.data, ends, mode="edge"))
    inner = (slice(a, a + n) for (a, _), n in zip(ends, found.shape, strict=True))
    return longer[tuple(inner)].copy()


@functools.cache
def chosen(synthstrip_path: Path | None) -> Stripper:
    """Return what finds brains: SynthStrip with the weights in a file, or deepbet without one.

    Misconfigured when the file does not hold SynthStrip's weights.
    """
    if synthstrip_path is None:
        return found_by_deepbet
    from deepbrainprint.imaging import synthstrip  # noqa: PLC0415 — few sites have it

    return synthstrip.stripper(synthstrip_path)


def brain_mask(volume: Volume, strip: Stripper = found_by_deepbet) -> MaskArray:
    """Return where the brain is in `volume`, the skull there or already taken off.

    Raises
    ------
    NotApplicable
        `not_a_brain` when nothing was found, or something too small or too large.

    """
    found, bare = strip(volume), foreground(volume)
    if bare is not None and (dice(found, bare) >= AGREEMENT or not plausible(found, volume)):
        found = _trimmed(bare, found)
    if not plausible(found, volume):
        raise NotApplicable(
            f"no brain found: the mask holds {outline.millilitres(found, volume.affine):.0f} ml, "
            f"a brain {SMALLEST_ML:.0f} to {LARGEST_ML:.0f} ml",
            code="not_a_brain",
        )
    return found


def plausible(mask: MaskArray, volume: Volume) -> bool:
    """Say whether `mask` has the size of a brain."""
    return SMALLEST_ML <= outline.millilitres(mask, volume.affine) <= LARGEST_ML


def foreground(volume: Volume) -> MaskArray | None:
    """Return what is not background, if the image looks stripped of its skull.

    It does when its background is one value and the rest has the size of a brain.
    """
    mask = outline.supplied(volume.data)
    return mask if mask is not None and plausible(mask, volume) else None


def better_of(own: MaskArray, carried: MaskArray, scan: Volume) -> Choice:
    """Choose between a scan's `own` mask and one `carried` over from the best of the visit.

    The best scan's wins where the two disagree: it is a T1w wherever there is one, as deepbet was
    trained on, and two outlines of one brain in one visit agree.
    """
    if not plausible(carried, scan):
        return Choice(own, Source.OWN, "the best scan's mask lies outside this scan")
    if not plausible(own, scan):
        return Choice(carried, Source.CARRIED, "no brain was found in this scan by itself")
    overlap = dice(own, carried)
    if overlap < SAME_VISIT:
        reason = f"its own mask overlaps the best scan's by a Dice of {overlap:.2f} only"
        return Choice(carried, Source.CARRIED, reason)
    return Choice(own, Source.OWN, f"its own mask overlaps the best scan's by {overlap:.2f}")


def _trimmed(bare: MaskArray, found: MaskArray) -> MaskArray:
    """Return a supplied outline, without what it holds beyond the brain `found` in it."""
    if AGREEMENT <= dice(found, bare) < TIGHT:
        return outline.filled(outline.largest(bare & found))
    return bare
