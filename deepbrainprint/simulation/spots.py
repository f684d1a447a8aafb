"""White-matter lesions in a picture: spots with uneven edges, where there is white matter only."""

from __future__ import annotations

import numpy as np
from numpy.random import default_rng

from deepbrainprint.records import Contrast, FloatArray
from deepbrainprint.simulation.contrasts import LESION_AGAINST_BRAIN, Brightness
from deepbrainprint.simulation.deformation import random_scalar
from deepbrainprint.simulation.individual import brain_box
from deepbrainprint.simulation.life import Lesion, State

UNEVEN, KNOTS_VOXELS = 0.22, 3.0  # share of the radius by which an edge wanders
LARGEST = 2.2  # radii that a lesion may reach from its place


def spotted(
    picture: FloatArray, white: FloatArray, state: State, look: tuple[Contrast, Brightness]
) -> FloatArray:
    """The picture (i, j, k) over the brain box with the lesions of `state` where there is white."""
    contrast, bright = look
    own = LESION_AGAINST_BRAIN[contrast] * max(bright.white, bright.grey)
    change = np.float32(own - bright.white)
    cover = np.zeros(picture.shape, dtype=np.float32)
    for lesion, radius in state.lesions:
        _cover(cover, lesion, radius)
    return np.asarray(picture + change * cover * white) if state.lesions else picture


def _cover(cover: FloatArray, lesion: Lesion, radius: float) -> None:
    """Raise `cover` 0…1 to where this lesion is; two that meet become one."""
    centre = np.array(lesion.place_mm) - brain_box().affine[:3, 3]
    reach = int(np.ceil(LARGEST * lesion.radius_mm))  # of its last day: the edge is drawn once
    low = np.maximum(np.round(centre).astype(int) - reach, 0)
    high = np.minimum(np.round(centre).astype(int) + reach + 1, cover.shape)
    first, second, third = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    part = cover[first, second, third]
    steps = np.indices(part.shape) + (low - centre).reshape(3, 1, 1, 1)
    away = np.sqrt(((steps / np.reshape(lesion.stretch, (3, 1, 1, 1))) ** 2).sum(axis=0))
    inside = np.clip(radius * (1 + UNEVEN * _edge(lesion, part.shape)) - away + 0.5, 0, 1)
    np.maximum(part, inside * min(radius, 1.0), out=part, casting="same_kind")


def _edge(lesion: Lesion, shape: tuple[int, ...]) -> FloatArray:
    """How the edge of this lesion wanders, the same at every age."""
    rng = default_rng([int(1000 * (mm + 200)) for mm in lesion.place_mm])
    return random_scalar(rng, (shape[0], shape[1], shape[2]), knot_spacing=KNOTS_VOXELS)
