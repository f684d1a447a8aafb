"""Shares of grey matter, white matter and fluid in an aligned brain, in any contrast.

Intensities are a mixture of Gaussians, two for each tissue, and the template's tissue maps say
where which tissue is to be expected: so the method needs not know the contrast. Means, deviations
and the tissues' overall shares are found by expectation-maximisation (unified segmentation,
Ashburner & Friston, NeuroImage 2005;26:839, sections 2.1 to 2.3, without its deformation: the brain
is aligned already, its shading is taken off, and the priors are blurred by as much as people
differ). The same brain gives the same shares, bit for bit.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from deepbrainprint.errors import BadStudy
from deepbrainprint.imaging import template
from deepbrainprint.imaging.registration import Vector
from deepbrainprint.records import ByteArray, FloatArray, MaskArray

GREY, WHITE, FLUID = 0, 1, 2  # first axis of shares
PRIOR_BLUR_MM = 2.0  # deviation by which the template's maps are blurred
LEAST_PRIOR = 0.01  # any tissue may be anywhere
LEARN_MM = 3  # every n-th voxel along each axis is learned from
LEAST_VOXELS = 5000  # of them; a whole brain has about 50,000
ROUNDS = 25
LEAST_DEVIATION = 4.0  # of 255 levels
CLASSES = np.repeat(np.arange(3), 2)  # tissue of each Gaussian


@dataclass(frozen=True)
class Mixture:
    """Six Gaussians, two for each tissue in the order of `CLASSES`: all (6,) float64.

    weights: share within their tissue times the tissue's share relative to its prior.
    """

    means: Vector
    deviations: Vector
    weights: Vector

    def likelihoods(self, levels: FloatArray) -> FloatArray:
        """Weighted densities (6, levels) of intensities (levels,)."""
        away = (levels[None] - self.means[:, None]) / self.deviations[:, None]
        density = np.exp(-0.5 * away**2) / self.deviations[:, None] * self.weights[:, None]
        return density.astype(np.float32) + np.float32(1e-12)  # far from all: the prior decides


def tissue_shares(brain: ByteArray) -> ByteArray:
    """Return how much grey, white and fluid is in each voxel, 0…255.

    brain: (182, 218, 182) uint8 aligned, 0 outside the mask. Returns (3, 182, 218, 182) in the
    order grey, white, fluid, which add up to 255 but for rounding; 0 outside the mask.

    Raises
    ------
    BadStudy
        `empty_brain` when too little lies inside the mask to learn tissues from.

    """
    inside = brain > 0
    table = _tissue_table(_learned(brain, inside))
    shares = np.zeros((3, *brain.shape), np.uint8)
    box = _box(inside)
    prior = _priors()[(slice(None), *box)]
    posterior = table[:, brain[box]] * prior
    posterior *= (255 / posterior.sum(axis=0)) * inside[box]
    shares[(slice(None), *box)] = np.rint(posterior, out=posterior)
    return shares


def grey_map(brain: ByteArray, step_mm: float) -> ByteArray:
    """Return the share of grey matter, 0…255, in cubes of `step_mm`: (X, Y, Z) uint8.

    Stands in for the grey-matter volume of CAT12, which AnatCL reads (arXiv 2408.07079) and which
    needs MATLAB's run-time: of the same size at 1.5 mm, 121×145×121, here in RAS order, but aligned
    by an affine map only, and so neither warped nor modulated. (60, 72, 60) at 3 mm.

    Raises
    ------
    BadStudy
        `empty_brain` when too little lies inside the mask to learn tissues from.

    """
    return in_cubes(tissue_shares(brain)[GREY], step_mm)


def in_cubes(share: ByteArray, step_mm: float) -> ByteArray:
    """Return the means of `share` (182, 218, 182) over cubes that begin at its first voxel."""
    data = share.astype(np.float32)
    for axis, length in enumerate(share.shape):
        weights = _averaging(length, step_mm)
        data = np.moveaxis(np.tensordot(weights, data, axes=(1, axis)), 0, axis)
    cubes: ByteArray = np.rint(data).astype(np.uint8)
    return cubes


def _averaging(length: int, step_mm: float) -> FloatArray:
    """(cubes, length): what part of each cube's edge each voxel fills."""
    edges = step_mm * np.arange(int(length / step_mm) + 1)[:, None]
    voxel = np.arange(length)
    overlap = np.minimum(edges[1:], voxel + 1) - np.maximum(edges[:-1], voxel)
    weights: FloatArray = (np.maximum(overlap, 0) / step_mm).astype(np.float32)
    return weights


def _box(inside: MaskArray) -> tuple[slice, slice, slice]:
    x, y, z = ndimage.find_objects(inside.astype(np.uint8))[0]
    return x, y, z


def _learned(brain: ByteArray, inside: MaskArray) -> Mixture:
    thinned = (slice(LEARN_MM // 2, None, LEARN_MM),) * 3
    levels = brain[thinned][inside[thinned]].astype(np.float32)
    if len(levels) < LEAST_VOXELS:
        raise BadStudy(
            "too little brain lies inside the mask to tell tissues apart: send the whole brain",
            code="empty_brain",
        )
    prior = _priors()[(slice(None), *thinned)][:, inside[thinned]]
    mixture = _first_guess(levels, prior)
    for _ in range(ROUNDS):
        joint = mixture.likelihoods(levels) * prior[CLASSES]
        mixture = _refitted(joint / joint.sum(axis=0), levels, prior)
    return mixture


def _first_guess(levels: FloatArray, prior: FloatArray) -> Mixture:
    """Each tissue where the template has it, its two Gaussians half a deviation to either side."""
    start = _refitted(prior[CLASSES], levels, prior)
    sides = start.deviations * np.tile([-0.5, 0.5], 3)
    return Mixture(start.means + sides, start.deviations, start.weights)


def _refitted(belonging: FloatArray, levels: FloatArray, prior: FloatArray) -> Mixture:
    """The maximisation step; belonging: (6, voxels)."""
    mass = belonging.sum(axis=1, dtype=np.float64) + 1e-6
    means = (belonging @ levels) / mass
    spread = (belonging @ levels**2) / mass - means**2
    deviations = np.sqrt(np.maximum(spread, LEAST_DEVIATION**2))
    expected = prior.sum(axis=1, dtype=np.float64)[CLASSES]
    return Mixture(means, deviations, mass / expected)


def _tissue_table(mixture: Mixture) -> FloatArray:
    """(3, 256): likelihood of each intensity in each tissue."""
    density = mixture.likelihoods(np.arange(256, dtype=np.float32))
    table: FloatArray = density.reshape(3, 2, 256).sum(axis=1)
    return table


@functools.cache
def _priors() -> FloatArray:
    """(3, 182, 218, 182) chance of each tissue, adding up to 1 everywhere; read-only."""
    grey, white = (template.tissue_share(name) for name in ("gm", "wm"))
    fluid = np.maximum(1 - grey - white, 0)
    maps = [ndimage.gaussian_filter(m, PRIOR_BLUR_MM, truncate=3.0) for m in (grey, white, fluid)]
    priors = np.stack(maps) + np.float32(LEAST_PRIOR)
    priors /= priors.sum(axis=0)
    priors.setflags(write=False)
    return priors
