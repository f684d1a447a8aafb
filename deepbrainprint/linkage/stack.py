"""Many brains side by side, so that one can be compared with all of them at once.

The lattice is cut into cubes that do not overlap, and only cubes that hold a voxel of any brain of
the stack are kept: what is a sum over voxels for two brains is then a product of matrices for one
brain and a stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deepbrainprint.linkage.lattice import KINDS, LEVELS, STEPS, Prepared
from deepbrainprint.records import ByteArray, FloatArray, MaskArray

CUBE_MM = 14  # edge of the cubes in which local figures are formed, at most
WORD = 16  # voxels that share a number in `Stack.tissue`

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the voxels of a lattice stand in a stack: K cubes of C voxels, V of them in a brain."""

    step: int  # mm
    shape: tuple[int, ...]  # of the lattice
    cubes: Whole  # (K, C) into the flattened lattice; one past its end where a cube juts out of it
    voxels: Whole  # (V,) into the flattened cubes

    @classmethod
    def of(cls, brains: Sequence[Prepared]) -> Layout:
        """Lay out the cubes that any of `brains` reaches into."""
        first = brains[0]
        inside = np.zeros_like(first.inside)
        for brain in brains:
            _must_match(brain, first.step, first.inside.shape)
            inside |= brain.inside
        cubes = _cubes(inside.shape, max(1, CUBE_MM // first.step))
        held = np.append(inside, False)[cubes]  # none past the end
        kept = held.any(axis=1)
        return cls(first.step, inside.shape, cubes[kept], np.flatnonzero(held[kept]))

    def cubed(self, data: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Take (x, y, z) apart into (K, C); 0 where a cube juts out."""
        return np.append(data, data.dtype.type(0))[self.cubes]

    def line(self, data: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Take from (x, y, z) the voxels that are in any brain, (V,)."""
        return data.ravel()[self.cubes.ravel()[self.voxels]]


@dataclass(frozen=True, eq=False)
class Stack:
    """N brains on one lattice in one layout of K cubes of C voxels, V of them inside any brain.

    About 0.17 MB a brain at 4 mm. `stack[first:last]` is a part of it, without a copy.
    """

    layout: Layout
    inside: MaskArray  # (K, C, N)
    values: npt.NDArray[np.int8]  # (K, C, N) 256ths from the middle of their range; 0 outside
    slopes: ByteArray  # (K, C, N) 256ths; 0 outside
    levels: ByteArray  # (N, V) of value, 1…LEVELS; 0 outside
    tissue: npt.NDArray[np.uint16]  # (N, 3, ⌈V / 16⌉) a bit for each voxel
    sizes: Whole  # (N, 4) voxels in the brain and in each tissue, wherever they are
    shares: FloatArray  # (N, LEVELS) of intensity as aligned

    @classmethod
    def of(cls, brains: Sequence[Prepared]) -> Stack:
        """Stack brains; ValueError when there is none, or when their lattices differ."""
        if not brains:
            raise ValueError("no brain to stack: give at least one")
        return cls.laid(Layout.of(brains), brains)

    @classmethod
    def laid(cls, layout: Layout, brains: Sequence[Prepared]) -> Stack:
        """Stack brains in a layout made for others; what it has no place for shows in `sizes`."""
        cubes, voxels = layout.cubes.shape, len(layout.voxels)
        count = len(brains)
        stack = cls(
            layout,
            np.empty((*cubes, count), np.bool_),
            np.empty((*cubes, count), np.int8),
            np.empty((*cubes, count), np.uint8),
            np.empty((count, voxels), np.uint8),
            np.empty((count, len(KINDS), -(-voxels // WORD)), np.uint16),
            np.empty((count, 1 + len(KINDS)), np.int64),
            np.empty((count, LEVELS), np.float32),
        )
        for place, brain in enumerate(brains):
            _must_match(brain, layout.step, layout.shape)
            stack._put(place, brain)
        return stack

    def _put(self, place: int, brain: Prepared) -> None:
        middled = brain.values.astype(np.int16) - STEPS // 2  # small sums: little to cancel
        level = np.where(brain.inside, brain.values // (STEPS // LEVELS) + 1, 0)
        tissue = [brain.tissue == kind for kind in KINDS]
        layout = self.layout
        self.inside[..., place] = layout.cubed(brain.inside)
        self.values[..., place] = layout.cubed(np.where(brain.inside, middled, 0))
        self.slopes[..., place] = layout.cubed(np.where(brain.inside, brain.slopes, 0))
        self.levels[place] = layout.line(level)
        self.tissue[place] = [_packed(layout.line(kind)) for kind in tissue]
        self.sizes[place] = [brain.inside.sum(), *(kind.sum() for kind in tissue)]
        self.shares[place] = brain.shares

    def __len__(self) -> int:
        return len(self.levels)

    def __getitem__(self, part: slice) -> Stack:
        return Stack(
            self.layout,
            self.inside[..., part],
            self.values[..., part],
            self.slopes[..., part],
            self.levels[part],
            self.tissue[part],
            self.sizes[part],
            self.shares[part],
        )


def _must_match(brain: Prepared, step: int, shape: tuple[int, ...]) -> None:
    if brain.step != step:
        fine, coarse = sorted((step, brain.step))
        raise ValueError(f"prepared on lattices of {fine} and {coarse} mm: take one for both")
    if brain.inside.shape != shape:
        raise ValueError(f"lattices of {shape} and {brain.inside.shape} voxels: align both alike")


def _cubes(shape: tuple[int, ...], edge: int) -> Whole:
    """Return the voxels of each cube of a lattice, (cubes, edge³), by flat index."""
    flat = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
    whole = np.pad(flat, [(0, -n % edge) for n in shape], constant_values=flat.size)
    x, y, z = (n // edge for n in whole.shape)
    cubes = whole.reshape(x, edge, y, edge, z, edge).transpose(0, 2, 4, 1, 3, 5)
    return cubes.reshape(-1, edge**3)


def _packed(held: npt.NDArray[np.generic]) -> npt.NDArray[np.uint16]:
    padded = np.pad(held, (0, -len(held) % WORD))
    return np.packbits(padded).view(np.uint16)
