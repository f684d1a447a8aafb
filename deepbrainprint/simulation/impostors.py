"""What comes labelled as an MRI of a brain and is none: bottles, fruit, other parts of the body.

Each is a function of a seed that gives a Volume in voxels of `STEP_MM`, values 0 to about 1.3,
with shading and noise. `IMPOSTORS` names them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.random import Generator, default_rng
from scipy import ndimage

from deepbrainprint.records import FloatArray, Volume
from deepbrainprint.simulation.artefacts import noisy, shaded
from deepbrainprint.simulation.deformation import random_scalar, stretched
from deepbrainprint.simulation.phantoms import phantom

STEP_MM = 1.8
SHAPE = (120, 130, 110)
NOISE, SHADING = 0.02, 0.1
Painter = Callable[[Generator, FloatArray], FloatArray]


def made(painter: Painter, seed: int) -> Volume:
    """Return the thing that `painter` draws at points (3, i, j, k) in mm from the centre."""
    rng = default_rng([seed, 6])
    centre = (np.array(SHAPE) - 1) / 2
    place = (np.indices(SHAPE, dtype=np.float32) - centre[:, None, None, None]) * STEP_MM
    image = ndimage.gaussian_filter(painter(rng, place.astype(np.float32)), 0.6)
    image = shaded(image.astype(np.float32), rng, strength=SHADING)
    affine = np.diag([STEP_MM, STEP_MM, STEP_MM, 1.0])
    affine[:3, 3] = -centre * STEP_MM
    return Volume(noisy(image, rng, sd=NOISE), affine)


def ball(rng: Generator, place: FloatArray) -> FloatArray:
    """A ball of gel."""
    return 0.8 * _inside(place, np.full(3, rng.uniform(60, 80)))


def nested_balls(rng: Generator, place: FloatArray) -> FloatArray:
    """Balls within balls, bright and dark in turn: skull, fluid, grey and white of a phantom."""
    radii = np.sort(rng.uniform(20, 82, 4))[::-1]
    shells = [_inside(place, np.full(3, radius)) for radius in radii]
    return np.asarray(0.9 * shells[0] - 0.6 * shells[1] + 0.4 * shells[2] + 0.25 * shells[3])


def egg_with_layers(rng: Generator, place: FloatArray) -> FloatArray:
    """A head of plastic: outline, fluid rim, grey rim and white core of an egg's shape."""
    size = np.array([68, 85, 64]) * rng.uniform(0.9, 1.1)
    levels = zip((1.18, 1.08, 1.0, 0.8, 0.25), (0.9, -0.8, 0.6, 0.3, -0.7), strict=True)
    return np.asarray(sum(step * _inside(place, size * level) for level, step in levels))


def rods(rng: Generator, place: FloatArray) -> FloatArray:
    """A cylinder of water with rods of growing thickness along it."""
    image = 0.8 * _cylinder(place, 75.0, 70.0)
    for angle in np.arange(8) * np.pi / 4 + rng.uniform(0, 1):
        across = place[0] - 45 * np.cos(angle), place[1] - 45 * np.sin(angle)
        image *= np.hypot(*across) > 4 + 6 * angle / 7
    return np.asarray(image)


def accreditation(rng: Generator, place: FloatArray) -> FloatArray:
    """A cylinder like the ACR's: grid, wedges, discs of low contrast, plates."""
    x, y, z = place
    image = 0.8 * _cylinder(place, 95.0, 74.0)
    grid = (np.minimum(np.mod(x, 15), np.mod(y, 15)) < 2.5) & (np.abs(z - 20) < 10)
    image *= np.where(grid & (np.maximum(abs(x), abs(y)) < 55), 0.1, 1)
    image *= np.where((abs(y - 10) < 8) & (abs(x) < 50) & (abs(z + 5) < 6), 0.1, 1)
    for angle in np.arange(10) * np.pi / 5 + rng.uniform(0, 1):
        near = np.hypot(x - 40 * np.cos(angle), y - 40 * np.sin(angle)) < 3 + angle
        image *= np.where(near & (z < -30), 0.85, 1)
    return np.asarray(image * np.where(abs(abs(z) - 50) < 2, 0.2, 1))


def orange(rng: Generator, place: FloatArray) -> FloatArray:
    """A peel, ten or so segments and a pale core."""
    count, turn = rng.integers(8, 13), rng.uniform(0, 6)
    seam = np.abs(np.sin((np.arctan2(place[0], place[2]) + turn) * count / 2))
    flesh = np.where(seam * np.hypot(place[0], place[2]) < 4, 0.35, 0.9)
    core = np.where(np.hypot(place[0], place[2]) < 7, 0.3, flesh)
    size = rng.uniform(55, 75) * np.array([1.0, 0.95, 1.0])
    return np.asarray(
        0.5 * _inside(place, size * 1.1) * (1 - _inside(place, size)) + core * _inside(place, size)
    )


def melon(rng: Generator, place: FloatArray) -> FloatArray:
    """Rind, flesh that brightens inwards, and a hollow full of seeds."""
    size = np.array([72, 90, 70]) * rng.uniform(0.85, 1.05)
    radius = np.sqrt(((place / size[:, None, None, None]) ** 2).sum(axis=0))
    seeds = 0.4 + 0.5 * (_bumps(rng, place.shape[1:], 4) > 0.5)
    flesh = np.where(radius < 0.5, seeds, 1.1 - 0.5 * radius)
    return np.asarray(np.where(radius < 1, np.where(radius > 0.9, 0.3, flesh), 0))


def pineapple(rng: Generator, place: FloatArray) -> FloatArray:
    """A barrel with a pattern of eyes around it and a woody core."""
    x, y, z = place
    size = np.array([62, 62, 85]) * rng.uniform(0.9, 1.1)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    eyes = np.cos(8 * angle + z / 8) * np.cos(8 * angle - z / 8)
    flesh = 0.75 + 0.2 * eyes * (radius / 60) + 0.1 * _bumps(rng, x.shape, 3)
    return np.asarray(_inside(place, size) * np.where(radius < 12, 0.5, flesh))


def kiwi(rng: Generator, place: FloatArray) -> FloatArray:
    """A pale core, a ring of dark seeds and rays, as large as a brain."""
    x, y, _ = place
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    rays = 0.7 + 0.15 * np.cos(24 * angle)
    ring = (np.abs(radius - 26) < 7) & (_bumps(rng, x.shape, 2) > 0.8)
    flesh = np.where(radius < 16, 1.0, np.where(ring, 0.1, rays))
    return np.asarray(_inside(place, np.array([66, 62, 75])) * flesh)


def walnut(rng: Generator, place: FloatArray) -> FloatArray:
    """Two wrinkled halves in a shell: the fruit that looks most like a brain."""
    wrinkles = _bumps(rng, place.shape[1:], 5) + _bumps(rng, place.shape[1:], 9)
    size = np.array([60, 75, 60])
    radius = np.sqrt(((place / size[:, None, None, None]) ** 2).sum(axis=0))
    kernel = (radius < 1 + 0.12 * wrinkles) & (np.abs(place[0]) > 3 + 2 * wrinkles)
    shell = np.abs(radius - 1.35) < 0.07
    return np.asarray(kernel * (0.8 + 0.1 * wrinkles) + shell * 0.2, dtype=np.float32)


def knee(rng: Generator, place: FloatArray) -> FloatArray:
    """Two bones with a joint between them, muscle and fat around."""
    x, y, z = place
    limb = np.hypot(x, y * 0.95) < 62 + 6 * np.cos(z / 40)
    muscle = np.hypot(x, y * 0.95) < 52 + 6 * np.cos(z / 40)
    width = 20 + 16 * np.exp(-((np.abs(z) - 12) ** 2) / 900)
    bone = (np.hypot(x, y + 8) < width) & (np.abs(z) > 3)
    marrow = (np.hypot(x, y + 8) < width - 4) & (np.abs(z) > 6)
    image = 1.1 * limb - 0.65 * muscle + 0.1 * _bumps(rng, x.shape, 6) * muscle
    return np.asarray(np.where(marrow, 0.95, np.where(bone, 0.1, image)), dtype=np.float32)


def abdomen(rng: Generator, place: FloatArray) -> FloatArray:
    """An ellipse of fat and muscle with liver, bowel and spine, to the edges of the field."""
    x, y, z = place
    body = (x / 105) ** 2 + (y / 85) ** 2
    image = np.where(body < 1, 1.1, 0) - 0.6 * (body < 0.75)
    liver = ((x - 35) / 42) ** 2 + ((y - 5) / 40) ** 2 + ((z - 30) / 60) ** 2 < 1
    bowel = _bumps(rng, x.shape, 7) * (body < 0.7) * (z < 0)
    spine = np.hypot(x, y + 52) < 18
    return np.asarray(np.where(spine, 0.3, np.where(liver, 0.75, image + 0.3 * bowel)))


def blob(rng: Generator, place: FloatArray) -> FloatArray:
    """Random soft tissue in an egg: the texture of nothing in particular."""
    size = np.array([66, 82, 62]) * rng.uniform(0.9, 1.1)
    texture = 0.6 + 0.2 * _bumps(rng, place.shape[1:], 5) + 0.1 * _bumps(rng, place.shape[1:], 12)
    return np.asarray(_inside(place, size) * texture)


def slab(rng: Generator, place: FloatArray) -> FloatArray:
    """A plate of gel across the field."""
    return np.asarray(0.8 * (np.abs(place[2] - rng.uniform(-20, 20)) < 25), np.float32)


def noise(rng: Generator, place: FloatArray) -> FloatArray:
    """Nothing but what the scanner adds, and that much stronger."""
    return np.abs(rng.standard_normal(place.shape[1:])).astype(np.float32)


def _inside(place: FloatArray, radii: np.ndarray) -> FloatArray:
    """One inside the ellipsoid, zero outside."""
    return np.asarray(((place / radii[:, None, None, None]) ** 2).sum(axis=0) < 1, np.float32)


def _cylinder(place: FloatArray, radius: float, half: float) -> FloatArray:
    x, y, z = place
    return np.asarray((np.hypot(x, y) < radius) & (np.abs(z) < half), np.float32)


def _bumps(rng: Generator, shape: tuple[int, ...], knots: int) -> FloatArray:
    """A smooth random field of unit variance with knots every `knots` × 2 voxels."""
    coarse = random_scalar(rng, (60, 60, 60), knot_spacing=knots)
    return stretched(coarse, (shape[0], shape[1], shape[2]))


PAINTERS = (
    ball, nested_balls, egg_with_layers, rods, accreditation, orange, melon, pineapple, kiwi,
    walnut, knee, abdomen, blob, slab, noise,
)  # fmt: skip
IMPOSTORS: Mapping[str, Callable[[int], Volume]] = {
    painter.__name__.replace("_", " "): partial(made, painter) for painter in PAINTERS
} | {"bottle": phantom}
