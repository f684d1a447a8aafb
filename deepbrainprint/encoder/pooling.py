"""Features of every voxel pooled into one vector for each brain, in the aligned space.

Brain-ID (Liu et al. 2023, arXiv 2311.16914) has features but no fingerprint: this is our own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepbrainprint.encoder.lattice import Lattice
from deepbrainprint.encoder.unet import UNet

CUTS = (90.5, 101.0, 81.0)  # x, y, z, voxel index: each halves the template brain


class VolumeReader(nn.Module):
    """uint8 (B, *form.shape) as read by imaging → float (B, Z, X, Y), 0…1, on the lattice."""

    def __init__(self, lattice: Lattice) -> None:
        super().__init__()
        self._z, self._x, self._y = (slice(*ends) for ends in lattice.window)

    def forward(self, volume: Tensor) -> Tensor:
        """Cut out what brains fill."""
        return volume[:, self._z, self._x, self._y].float() / 255


class BrainIdBackbone(nn.Module):
    """Volumes (B, Z, X, Y), 0 outside the brain → (B, 512), not yet centred or of unit length.

    The mean of each of the 64 features inside the brain in each octant of the aligned space.
    Octants, because left and right, front and back, up and down then count apart, and because each
    is so wide that a millimetre of misalignment moves little of it across its borders.
    """

    def __init__(self, unet: UNet, lattice: Lattice) -> None:
        super().__init__()
        self.unet = unet
        for axis, matrix in zip("zxy", halves(lattice), strict=True):
            self.register_buffer(axis, matrix, persistent=False)

    def forward(self, volume: Tensor) -> Tensor:
        """Features of the volume, brought to 0…1 as in training, pooled."""
        brightest = volume.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-3)
        features = self.unet.features((volume / brightest)[:, None])  # (B, 64, Z, X, Y)
        inside = (volume > 0).to(features.dtype)[:, None]
        counts = self._summed(inside).clamp(min=1.0)  # (B, 1, 8)
        return (self._summed(features * inside) / counts).flatten(1)

    def _summed(self, maps: Tensor) -> Tensor:
        """(B, C, Z, X, Y) → (B, C, 8): sums over octants, the last axis first."""
        maps = self.get_buffer("x") @ (maps @ self.get_buffer("y").T)  # (B, C, Z, 2, 2)
        return (self.get_buffer("z") @ maps.flatten(3)).flatten(2)


def halves(lattice: Lattice) -> tuple[Tensor, ...]:
    """(2, Z), (2, X) and (2, Y): 1 in the lower half of an axis, and 1 in its upper half."""
    cuts = (CUTS[2], CUTS[0], CUTS[1])
    upper = [axis > cut for axis, cut in zip(lattice.axes(), cuts, strict=True)]
    return tuple(torch.stack([~high, high]).float() for high in upper)
