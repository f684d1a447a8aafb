"""Heads of synthetic people: the template deformed into a person, then seen at a visit.

A person is a global size and shape, three generations of smooth deformation, a ventricle width and
a skull. A visit adds a pose, a little non-rigid change, tissue brightness, shading, motion and
noise. The same seeds always give the same voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, default_rng
from scipy import ndimage

from deepbrainprint.records import AffineArray, FloatArray, Volume
from deepbrainprint.simulation.acquisition import Grid, Protocol, Triple, grid
from deepbrainprint.simulation.anatomy import Anatomy, anatomy
from deepbrainprint.simulation.artefacts import moved_during_scan, noisy, shaded
from deepbrainprint.simulation.contrasts import Shells, brightness, painted, thinned, varied
from deepbrainprint.simulation.deformation import (
    Displacement,
    random_displacement,
    random_scalar,
    rotation,
    stretched,
)

GENERATIONS_MM = ((30.0, 3.2), (15.0, 1.75), (8.0, 0.6))  # knot distance, sd along each axis
USUAL_SIZE = 0.9  # of a head, against the template, which is larger than most
PERSON_GRID_MM = 3.0
CHANGE_KNOTS_MM, CHANGE_SD_MM, CHANGE_GRID_MM = 25.0, 0.3, 8.0  # between two visits
HEAD_CENTRE_MM = (0.0, -18.0, 6.0)  # of the template; rotations and scaling turn about it
SCAN_STEP_MM = 4.0  # positions are computed on this grid and interpolated
VENTRICLE_MM_PER_YEAR = 0.05
GREY_LOSS_PER_YEAR = 0.004


@dataclass(frozen=True)
class Pose:
    """How the head lies in the scanner, relative to straight and centred."""

    rotation_deg: Triple = (0.0, 0.0, 0.0)
    shift_mm: Triple = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Conditions:
    """What a visit adds. White matter in T1w is about 1; `motion` is in voxels."""

    noise: float = 0.02
    bias: float = 0.1
    motion: float = 0.0
    ageing_years: float = 0.0
    scanner_spread: float = 0.04


@dataclass(frozen=True)
class Head:
    """The head of one synthetic person; `scale`, then `shape`, lead from it to the template."""

    seed: int
    scale: AffineArray  # (3, 3)
    shape: Displacement
    ventricle_mm: float
    shells: Shells

    def scan(
        self,
        protocol: Protocol | None = None,
        *,
        seed: int = 0,
        pose: Pose | None = None,
        conditions: Conditions | None = None,
    ) -> Volume:
        """One visit; data (column, row, slice) float32 from 0 to about 1.3, affine to RAS mm.

        `seed` is the visit; without a `pose` it gets a random one. BadStudy for a contrast that is
        not simulated.
        """
        protocol, seen = protocol or Protocol(), conditions or Conditions()
        rng = default_rng([self.seed, seed, 1])
        pose = pose or random_pose(rng)
        target = grid(protocol, centre_mm=HEAD_CENTRE_MM)
        picture = self._picture(protocol, rng, seen)
        places = self._places(rng, pose, seen, target.finer())
        samples = ndimage.map_coordinates(picture, places, order=1, output=np.float32)
        return Volume(_seen(target.averaged(samples), rng, seen), target.affine)

    def _picture(self, protocol: Protocol, rng: Generator, seen: Conditions) -> FloatArray:
        """Tissues of this person in the contrast, still in template space, (i, j, k)."""
        bright = varied(brightness(protocol.contrast), rng, spread=seen.scanner_spread)
        aged = thinned(anatomy(), 1 - GREY_LOSS_PER_YEAR * seen.ageing_years)
        return painted(aged, bright, self.shells, unevenness=self.unevenness(aged))

    def unevenness(self, template: Anatomy) -> FloatArray:
        """How thick the skull is here against its average, (i, j, k)."""
        rng = default_rng([self.seed, 2])
        coarse = 1 + 0.1 * random_scalar(rng, (24, 24, 24), knot_spacing=6)
        return stretched(coarse, template.shape)

    def _places(self, rng: Generator, pose: Pose, seen: Conditions, target: Grid) -> FloatArray:
        """The template voxel (3, column, row, slice) that each voxel of the grid shows."""
        points = self.into_template(target.points(SCAN_STEP_MM), pose, rng)
        return stretched(self._into_voxels(points, seen), target.shape)

    def into_template(self, points: FloatArray, pose: Pose, rng: Generator) -> FloatArray:
        """Scanner mm (3, …) to template mm; `rng` draws what moves between two visits."""
        centre = _column(HEAD_CENTRE_MM)
        lying = points - centre - _column(pose.shift_mm)
        head = np.tensordot(rotation(pose.rotation_deg).T, lying, 1) + centre
        changed = _change(rng).moved(head) - centre
        scaled = np.tensordot(self.scale, changed, 1) + centre
        return self.shape.moved(scaled)

    def _into_voxels(self, points: FloatArray, seen: Conditions) -> FloatArray:
        """Template mm (3, …) to template voxels, with ventricles as wide as this person's."""
        template = anatomy()
        width = self.ventricle_mm + VENTRICLE_MM_PER_YEAR * seen.ageing_years
        moved = points + width * template.ventricle_pull.at(points) - _column(template.origin)
        return np.asarray(moved, dtype=np.float32)


def person(seed: int) -> Head:
    """The head of synthetic person number `seed`; the same number is always the same person."""
    rng = default_rng([seed, 0])
    fluid, bone, scalp = rng.uniform((0.5, 4.5, 4.0), (2.0, 7.5, 7.0))
    return Head(
        seed=seed,
        scale=_scale(rng),
        shape=_shape(rng),
        ventricle_mm=float(rng.uniform(-1.5, 4.0)),
        shells=Shells(float(fluid), float(bone), float(scalp)),
    )


def random_pose(rng: Generator) -> Pose:
    """A pose as patients are positioned: up to 8° about each axis and 10 mm along it."""
    turn, shift = rng.uniform(-8, 8, 3), rng.uniform(-10, 10, 3)
    return Pose((turn[0], turn[1], turn[2]), (shift[0], shift[1], shift[2]))


def _seen(image: FloatArray, rng: Generator, seen: Conditions) -> FloatArray:
    """The image through coil, patient and electronics."""
    image = shaded(image, rng, strength=seen.bias)
    image = moved_during_scan(image, rng, shift_voxels=seen.motion)
    return noisy(image, rng, sd=seen.noise)


def _scale(rng: Generator) -> AffineArray:
    """Head mm to template mm: size within 6 %, each axis within 4 % more, a little shear."""
    size, axes = USUAL_SIZE * rng.uniform(0.94, 1.06), rng.uniform(0.96, 1.04, 3)
    shear = np.triu(rng.uniform(-0.03, 0.03, (3, 3)), 1)
    return np.asarray(np.diag(1 / (size * axes)) + shear, dtype=np.float64)


def _shape(rng: Generator) -> Displacement:
    """Three generations of deformation, one after the other, on one grid over the template."""
    lattice = anatomy().lattice(PERSON_GRID_MM)
    still = np.indices(lattice.shape, dtype=np.float32) * PERSON_GRID_MM + _column(lattice.origin)
    points = still
    for knots_mm, sd_mm in GENERATIONS_MM:
        bend = random_displacement(rng, lattice, knots_mm=knots_mm, sd_mm=sd_mm)
        points = bend.moved(points)
    return Displacement(np.asarray(points - still, dtype=np.float32), lattice)


def _change(rng: Generator) -> Displacement:
    """What moves in a head between two visits: fluid, swelling, the scanner's own distortion."""
    lattice = anatomy().lattice(CHANGE_GRID_MM)
    return random_displacement(rng, lattice, knots_mm=CHANGE_KNOTS_MM, sd_mm=CHANGE_SD_MM)


def _column(triple: Triple) -> FloatArray:
    """(3, 1, 1, 1), to add to points (3, a, b, c)."""
    return np.asarray(triple, dtype=np.float32).reshape(3, 1, 1, 1)
