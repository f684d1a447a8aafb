"""From a scan to an aligned brain: strip, align, and refuse what is no brain.

The residual of the alignment tells brains from other things. Measured on 55 real scans (T1w, T2w
and FLAIR, 1 mm to 5 mm slices) 0.52 to 0.71, on synthetic heads in the same contrasts 0.53 to
0.72; on balls, shells, shaded blobs, oranges, rod phantoms and noise of a brain's size 0.84 to
0.94; on a brain upside down 0.91 and on a diffusion-weighted one, shaded and distorted, 0.95.
"""

from __future__ import annotations

from deepbrainprint.errors import NotApplicable
from deepbrainprint.imaging import quality
from deepbrainprint.imaging.alignment import Alignment, align
from deepbrainprint.imaging.strip import brain_mask
from deepbrainprint.records import Volume

LARGEST_RESIDUAL = 0.80


def extract(volume: Volume) -> Alignment:
    """Return the brain in `volume` on the reference grid, with its quality figures.

    Raises
    ------
    NotApplicable
        `not_a_brain` when the mask or the alignment cannot be those of a brain.

    """
    mask = brain_mask(volume)
    alignment = align(volume, mask)
    _guard(alignment)
    return quality.described(alignment, volume, mask)


def _guard(alignment: Alignment) -> None:
    if alignment.residual > LARGEST_RESIDUAL:
        raise NotApplicable(
            f"it does not look like a brain: alignment leaves {alignment.residual:.2f} of the "
            f"template unexplained, at most {LARGEST_RESIDUAL:.2f} is a brain",
            code="not_a_brain",
        )
