"""ResNet-18 over axial planes, from scratch (He et al. 2016, arXiv 1512.03385, table 1).

DeepBrainPrint (arXiv 2302.13057) uses ResNet-18 with 512 outputs and, for training only, a
projection head Linear 512→2048 without bias, BatchNorm, ReLU.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from deepbrainprint.encoder.lattice import Lattice
from deepbrainprint.encoder.pooling import BrainIdBackbone, VolumeReader
from deepbrainprint.encoder.recipe import GRID_MM, AnatClRecipe, BrainIdRecipe, PlaneRecipe, Recipe
from deepbrainprint.encoder.resnet3d import AnatClBackbone, GreyReader
from deepbrainprint.encoder.unet import UNet
from deepbrainprint.records import FINGERPRINT_LENGTH

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # width, stride of the first block
INSIDE = 2.0  # level of the mean brain: the outline stays visible whatever the contrast


def averaging_matrix(start: int, stop: int, *, length: int, pixel_mm: float) -> Tensor:
    """(pixels, length): each row averages the 1 mm samples that one pixel covers."""
    pixels = math.ceil((stop - start) / pixel_mm)
    edges = start + torch.arange(pixels + 1, dtype=torch.float64) * pixel_mm
    left = torch.arange(length, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], left + 1) - torch.maximum(edges[:-1, None], left)
    return (overlap.clamp(min=0) / pixel_mm).float()


def standardise(values: Tensor, mask: Tensor) -> Tensor:
    """Planes with mean `INSIDE` and unit deviation inside the brain, 0 outside.

    values: (B, P, X, Y) intensity times mask; mask: (B, P, X, Y) share of the pixel inside.
    Mean and deviation are taken over all planes of a scan, so brightness and gain fall out.
    """
    count = mask.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1.0)
    mean = values.sum(dim=(1, 2, 3), keepdim=True) / count
    centred = values - mean * mask
    deviation = ((centred**2).sum(dim=(1, 2, 3), keepdim=True) / count).sqrt().clamp(min=1e-3)
    return centred / deviation + INSIDE * mask


class PlaneReader(nn.Module):
    """uint8 (B, P, 182, 218) as cut by imaging → standardised float (B, P, X, Y)."""

    def __init__(self, recipe: PlaneRecipe) -> None:
        super().__init__()
        for name, window, length in zip(("rows", "columns"), recipe.window, GRID_MM, strict=False):
            matrix = averaging_matrix(*window, length=length, pixel_mm=recipe.pixel_mm)
            self.register_buffer(name, matrix, persistent=False)

    def forward(self, slices: Tensor) -> Tensor:
        """Reduce to the recipe's pixel size, then standardise."""
        levels = slices.float()
        values = self._reduce(levels / 255)
        return standardise(values, self._reduce((levels > 0).float()))

    def _reduce(self, planes: Tensor) -> Tensor:
        return self.get_buffer("rows") @ planes @ self.get_buffer("columns").T


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, X, Y) → (B, outputs, X/stride, Y/stride)."""
        inner = nnf.relu(self.norm1(self.conv1(x)))
        return nnf.relu(self.shortcut(x) + self.norm2(self.conv2(inner)))


class ResNet18(nn.Module):
    """Standardised planes (B, P, X, Y) → features (B, 512)."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(planes, 64, 7, 2, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        ]
        width = 64
        for outputs, stride in STAGES:
            layers += [Block(width, outputs, stride), Block(outputs, outputs, 1)]
            width = outputs
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Features before normalisation to unit length."""
        return self.layers(x).mean(dim=(2, 3))  # type: ignore[no-any-return]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class ProjectionHead(nn.Sequential):
    """512 → 2048, training only."""

    def __init__(self, width: int) -> None:
        super().__init__(
            nn.Linear(FINGERPRINT_LENGTH, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()
        )


class EncoderNetwork(nn.Module):
    """The whole graph that is shipped: uint8 (B, *recipe.form.shape) → unit vectors (B, 512)."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.reader, self.backbone = _parts(recipe)
        self.centre: Tensor
        self.evening: Tensor
        self.register_buffer("centre", torch.zeros(FINGERPRINT_LENGTH))
        self.register_buffer("evening", torch.eye(FINGERPRINT_LENGTH))

    def forward(self, views: Tensor) -> Tensor:
        """Fingerprints of unit length."""
        return self.fingerprints(self.reader(views))

    def fingerprints(self, views: Tensor) -> Tensor:
        """What the backbone reads (B, …), standardised → unit vectors (B, 512)."""
        return nnf.normalize((self.backbone(views) - self.centre) @ self.evening, dim=1)


def _parts(recipe: Recipe) -> tuple[nn.Module, nn.Module]:
    """What brings the input into shape, and what makes 512 features of it."""
    match recipe:
        case PlaneRecipe():
            return PlaneReader(recipe), ResNet18(len(recipe.planes))
        case BrainIdRecipe():
            lattice = Lattice(recipe.step_mm)
            return VolumeReader(lattice), BrainIdBackbone(
                UNet(recipe.width, recipe.levels), lattice
            )
        case AnatClRecipe():
            return GreyReader(recipe.cubes), AnatClBackbone(recipe.width)
        case _:
            raise TypeError(f"no network belongs to a {type(recipe).__name__}")
