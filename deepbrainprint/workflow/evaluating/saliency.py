"""Where in the brain a method finds that two scans show one person.

Occlusion (Zeiler & Fergus 2014, arXiv 1311.2901, section 4.2): a cube of the one brain is made
uniform, and the loss of similarity to the other is put there. Asks nothing of a method but scores,
so that all are treated alike.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage

from deepbrainprint.imaging import template
from deepbrainprint.linkage.evaluation import Floats
from deepbrainprint.records import GRID_SHAPE, ByteArray
from deepbrainprint.workflow.methods import Method

PAIRS = 4  # of one person each, over which a map is a mean
EDGE_MM = 26  # of a cube: seven along the grid's x and z, eight or nine along y
FEWEST = 0.1  # of a cube's voxels that are brain, for it to be tried

PLANES = ((2, 90, "axial"), (1, 100, "coronal"), (0, 80, "sagittal"))  # axis, index, name

Cube = tuple[slice, slice, slice]


def saliency(method: Method, pairs: Sequence[tuple[ByteArray, ByteArray]]) -> Floats:
    """Return the mean loss of the leading score per cube, (7, 9, 7), over pairs of one person.

    In shares of the score that the pair has; 0 where there is no brain.
    """
    mean: Floats = np.mean([_lost(method, *pair) for pair in pairs], axis=0)
    return mean


def _lost(method: Method, first: ByteArray, second: ByteArray) -> Floats:
    other = method.describe(second)
    whole = _score(method, method.describe(first), other)
    lost = np.zeros([-(-n // EDGE_MM) for n in first.shape])
    for place, cube in cubes(first):
        changed = method.describe(flattened(first, cube))
        lost[place] = (whole - _score(method, changed, other)) / max(abs(whole), 1e-6)
    return lost


def _score(method: Method, first: object, second: object) -> float:
    matrices = method.compare([first, second], lambda _done: None)
    return float(matrices[method.lead][0, 1])


def cubes(brain: ByteArray) -> Iterator[tuple[tuple[int, int, int], Cube]]:
    """Yield place and extent of every cube that holds some of the brain."""
    for place in np.ndindex(*[-(-n // EDGE_MM) for n in brain.shape]):
        x, y, z = (slice(EDGE_MM * n, EDGE_MM * (n + 1)) for n in place)
        if (brain[x, y, z] > 0).mean() >= FEWEST:
            yield (place[0], place[1], place[2]), (x, y, z)


def drawn(lost: Floats) -> bytes:
    """Return a PNG of a map over the template in three planes; the patient's left is right."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    back, fine = template.reference().data, _smooth(lost)
    most = max(float(np.abs(fine).max()), 1e-9)
    for axes, (axis, index, words) in zip(figure.subplots(1, 3), PLANES, strict=True):
        below, over = (np.take(data, index, axis=axis).T for data in (back, fine))
        axes.imshow(below, cmap="gray", origin="lower")
        shown = np.ma.masked_where(below <= 0, over)
        image = axes.imshow(shown, cmap="RdBu_r", origin="lower", alpha=0.6, vmin=-most, vmax=most)
        axes.set(title=words, xticks=[], yticks=[])
        if axis > 0:
            axes.invert_xaxis()  # as radiologists look at it, and all other pictures here
    figure.colorbar(image, ax=figure.axes, shrink=0.8, label="share of the score lost")
    held = io.BytesIO()
    figure.savefig(held, dpi=100, format="png")
    return held.getvalue()


def _smooth(lost: Floats) -> Floats:
    """Spread a map of cubes over the grid (182, 218, 182)."""
    large = np.kron(lost, np.ones((EDGE_MM,) * 3))[
        : GRID_SHAPE[0], : GRID_SHAPE[1], : GRID_SHAPE[2]
    ]
    smooth: Floats = ndimage.uniform_filter(large, EDGE_MM // 2, mode="nearest")
    return smooth


def flattened(brain: ByteArray, cube: Cube) -> ByteArray:
    """Return a brain whose voxels in `cube` all have the brain's mean; its outline stays."""
    changed = brain.copy()
    part = changed[cube]
    part[part > 0] = max(1, round(float(brain[brain > 0].mean())))
    return changed
