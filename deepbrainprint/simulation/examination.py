"""One visit of a generated person: the state of the brain, through one scanner, on one day."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.random import Generator, default_rng
from scipy import ndimage

from deepbrainprint.records import FloatArray, MaskArray, Volume
from deepbrainprint.simulation.acquisition import Grid, grid
from deepbrainprint.simulation.anatomy import Anatomy, anatomy
from deepbrainprint.simulation.artefacts import moved_during_scan, noisy, shaded
from deepbrainprint.simulation.contrasts import (
    Brightness,
    brain_painted,
    brightness,
    painted,
    varied,
)
from deepbrainprint.simulation.deformation import stretched
from deepbrainprint.simulation.heads import HEAD_CENTRE_MM
from deepbrainprint.simulation.individual import BOX, Individual, Tissues, brain_box
from deepbrainprint.simulation.spots import spotted
from deepbrainprint.simulation.stripping import brain_depth, found_mask, pia
from deepbrainprint.simulation.ventricles import pulled, width_for
from deepbrainprint.simulation.visits import Visit, lost_slices

STEP_MM = 4.0  # positions are computed on this grid and interpolated
SEARCH_MM = 8.0  # the brain is looked for on this one
MARGIN_MM = 8.0  # of a stripped scan, around the brain
DAY_SPREAD = 0.02  # log standard deviation of brightness from day to day
COIL_SHARES = (0.8, 0.6)  # of the bias: the coil's own, and how the head lies in it
FACE_MM, FACE_SLOPE = (-15.0, -55.0), 0.55  # front and height of the ear canal; towards the brow
KEPT_MM = 8.0  # no defacing comes nearer to the brain


@dataclass(frozen=True)
class Examined:
    """What came out: data (column, row, slice) float32, and which slices got lost (they are 0)."""

    volume: Volume
    lost: tuple[int, ...]


def examined(who: Individual, visit: Visit, *, bare: bool = False) -> Examined:
    """Scan `who` at this visit; `bare` leaves the brain, cropped, 0 outside an imperfect mask.

    White matter in T1w is about 1. BadStudy for a contrast that is not simulated.
    """
    rng = default_rng([who.life.seed, visit.seed])
    target, slices = _field_of_view(who, visit, bare=bare)
    points = _template_points(who, visit, target.finer().points(STEP_MM))
    points = pulled(points, _ventricle_width(who, visit))
    picture, origin = _picture(who, visit, bare=bare)
    places = stretched(points - np.reshape(origin, (3, 1, 1, 1)), target.finer().shape)
    samples = ndimage.map_coordinates(picture, places, order=1, output=np.float32)
    image = _received(target.averaged(samples), visit, rng)
    if bare:
        image *= found_mask(brain_depth(points), rng, target.shape)
    lost = tuple(slices.start + number for number in lost_slices(visit, slices.stop - slices.start))
    image[:, :, list(lost)] = 0
    return Examined(Volume(image, target.affine), lost)


def _field_of_view(who: Individual, visit: Visit, *, bare: bool) -> tuple[Grid, slice]:
    """The voxels that are acquired, and which slices of them show brain."""
    whole = grid(visit.protocol, centre_mm=HEAD_CENTRE_MM)
    columns, rows, slices = _brain_extent(who, visit, whole)
    height = slices.stop - slices.start
    first = slices.start + round(height * visit.cut_first)
    last = slices.stop - round(height * visit.cut_last)
    if bare:
        return whole.part((columns, rows, slice(first, last))), slice(0, last - first)
    begin = first if visit.cut_first else 0
    end = last if visit.cut_last else whole.shape[2]
    everything = (slice(0, whole.shape[0]), slice(0, whole.shape[1]), slice(begin, end))
    return whole.part(everything), slice(first - begin, last - begin)


def _brain_extent(who: Individual, visit: Visit, whole: Grid) -> tuple[slice, slice, slice]:
    """The voxels of the grid between which all of the brain lies, with a margin."""
    points = whole.points(SEARCH_MM)
    depth = brain_depth(_template_points(who, visit, points))
    found = np.argwhere(depth < MARGIN_MM)
    scale = (np.array(whole.shape) - 1) / (np.array(depth.shape) - 1)
    low = np.floor(found.min(axis=0) * scale).astype(int)
    high = np.ceil(found.max(axis=0) * scale).astype(int) + 1
    first, second, third = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return first, second, third


def _template_points(who: Individual, visit: Visit, points: FloatArray) -> FloatArray:
    """Template mm (3, …) of what the scanner shows at `points`, mm."""
    centre = np.asarray(HEAD_CENTRE_MM, dtype=np.float32).reshape(3, 1, 1, 1)
    really = visit.site.distorted(points - centre) + centre
    today = default_rng([who.life.seed, visit.seed, 2])
    return who.head.into_template(really, visit.pose, today)


def _ventricle_width(who: Individual, visit: Visit) -> float:
    """Mm against the template: the person's own, and what years have added."""
    return width_for(who.life.at(visit.age).ventricles_ml, who.head.ventricle_mm)


def _picture(
    who: Individual, visit: Visit, *, bare: bool
) -> tuple[FloatArray, tuple[float, float, float]]:
    """The person in template space in this contrast, (i, j, k), and the mm of its first voxel."""
    state = who.life.at(visit.age)
    tissues, bright = who.tissues(state), _brightness(visit)
    contrast = visit.protocol.contrast
    if bare:
        box = replace(brain_box(), white=tissues.white, grey=tissues.grey, fluid=tissues.fluid)
        picture = brain_painted(box, bright)
        return spotted(picture, tissues.white, state, (contrast, bright)), box.origin
    head = _whole(tissues)
    picture = painted(head, bright, who.head.shells, unevenness=who.head.unevenness(head))
    picture[BOX] = spotted(picture[BOX], tissues.white, state, (contrast, bright))
    if visit.defaced:
        picture[_face()] = 0
    return picture, head.origin


def _brightness(visit: Visit) -> Brightness:
    """The contrast as this scanner makes it, and a little different every day."""
    contrast = visit.protocol.contrast
    word = int.from_bytes(contrast.encode(), "big")
    usual = varied(
        brightness(contrast), default_rng([visit.site.seed, word]), spread=visit.site.spread
    )
    return varied(usual, default_rng([visit.seed, 3]), spread=DAY_SPREAD)


def _whole(tissues: Tissues) -> Anatomy:
    """The template's head with this person's brain in it."""
    head = anatomy()
    parts = {name: getattr(head, name).copy() for name in ("white", "grey", "fluid", "texture")}
    for name in ("white", "grey", "fluid"):
        parts[name][BOX] = getattr(tissues, name)
    parts["texture"][BOX] = brain_box().texture
    return replace(head, **parts)


@cache
def _face() -> MaskArray:
    """The voxels of the template's head, (i, j, k), that defacing removes."""
    head = anatomy()
    front, top = (np.arange(head.shape[axis]) + head.affine[axis, 3] for axis in (1, 2))
    below = top[None, :] < FACE_MM[1] + (front[:, None] - FACE_MM[0]) * FACE_SLOPE
    ahead = front[:, None] > FACE_MM[0]
    away = stretched(pia()[0], head.shape) > KEPT_MM
    return np.asarray((below & ahead)[None] & away)


def _received(image: FloatArray, visit: Visit, rng: Generator) -> FloatArray:
    """The image through coil, patient and electronics."""
    own, lying = (share * visit.site.bias for share in COIL_SHARES)
    image = shaded(image, default_rng([visit.site.seed, 4]), strength=own)
    image = shaded(image, rng, strength=lying)
    image = moved_during_scan(image, rng, shift_voxels=visit.motion_voxels)
    return noisy(image, rng, sd=visit.site.noise)
