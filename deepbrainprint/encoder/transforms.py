"""The six augmentations of DeepBrainPrint (arXiv 2302.13057 and its code), on batches of planes.

The five that are usual elsewhere (crop, mirror, contrast, blur, noise; SimCLR, arXiv 2002.05709,
appendix A, without colour) stand beside them, for the comparison that the paper makes.

Planes are float (B, P, X, Y), normalised by mean and deviation of the data; what happens to one
scan happens to all its planes. Every draw comes from one seeded generator. Where the published code
relied on a library's defaults, those are written out here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as nnf
from torch import Tensor

NEGATIVE, SHIFT, BIAS, DROPOUT, ELASTIC = 0.4, 0.4, 0.3, 0.4, 0.3  # probabilities
DEGREES = 3.0
OFFSET = 0.25  # of the normalised intensity
BIAS_DEGREE, BIAS_MOST = 3, 0.1
HOLES, HOLE = 3, 10  # how many, and their edge in pixels
SPACING, MAGNITUDE = 30, (1.0, 2.0)  # pixels
CROP = 0.7  # least share of the area
MIRROR, STRETCHED, BLUR, NOISE = 0.5, 0.8, 0.5, 0.5  # probabilities
STRETCH, NOISE_MOST = 0.4, 0.1


def augmented(planes: Tensor, generator: torch.Generator, names: Sequence[str]) -> Tensor:
    """Return a view of each scan (B, P, X, Y): the named transforms, one after the other."""
    for name in names:
        planes = STEPS[name](planes, generator)
    return planes


def negative(planes: Tensor, generator: torch.Generator) -> Tensor:
    """Turn dark into bright between a scan's own least and greatest value, p 0.4."""
    least, most = _range(planes)
    return torch.where(_chosen(planes, NEGATIVE, generator), least + most - planes, planes)


def rotation(planes: Tensor, generator: torch.Generator) -> Tensor:
    """Turn each scan in its plane by up to 3° either way."""
    angle = _drawn((len(planes),), -DEGREES, DEGREES, generator) * torch.pi / 180
    rows, columns = planes.shape[2:]
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # grid_sample counts −1…1 along each edge, so that a turn of a plane that is not square shears
    turn = torch.stack(
        [
            torch.stack([cosine, -sine * rows / columns, zero], dim=1),
            torch.stack([sine * columns / rows, cosine, zero], dim=1),
        ],
        dim=1,
    )
    grid = nnf.affine_grid(turn, list(planes.shape), align_corners=False)
    return nnf.grid_sample(planes, grid, padding_mode="border", align_corners=False)


def shift(planes: Tensor, generator: torch.Generator) -> Tensor:
    """Add up to a quarter either way to all of a scan, p 0.4."""
    offset = _drawn((len(planes), 1, 1, 1), -OFFSET, OFFSET, generator)
    return planes + offset * _chosen(planes, SHIFT, generator)


def bias(planes: Tensor, generator: torch.Generator) -> Tensor:
    """Multiply by exp of a Legendre polynomial of degree 3, coefficients 0…0.1, p 0.3."""
    count, _, rows, columns = planes.shape
    powers = [(i, j) for i in range(BIAS_DEGREE + 1) for j in range(BIAS_DEGREE + 1 - i)]
    weights = _drawn((count, len(powers)), 0, BIAS_MOST, generator)
    x, y = _legendre(rows), _legendre(columns)  # (4, rows), (4, columns)
    shapes = torch.stack([x[i][:, None] * y[j][None, :] for i, j in powers])
    field = torch.einsum("bk,kxy->bxy", weights, shapes)[:, None]
    return planes * torch.where(_chosen(planes, BIAS, generator), field.exp(), torch.ones(()))


def dropout(planes: Tensor, generator: torch.Generator) -> Tensor:
    """Fill three squares of ten pixels with values between a scan's least and greatest, p 0.4."""
    count, _, rows, columns = planes.shape
    least, most = _range(planes)
    hit = _chosen(planes, DROPOUT, generator)
    x, y = torch.arange(rows)[:, None], torch.arange(columns)[None, :]
    for _ in range(HOLES):
        left = torch.randint(rows - HOLE + 1, (count, 1, 1, 1), generator=generator)
        low = torch.randint(columns - HOLE + 1, (count, 1, 1, 1), generator=generator)
        hole = (x >= left) & (x < left + HOLE) & (y >= low) & (y < low + HOLE)
        noise = torch.rand(planes.shape, generator=generator) * (most - least) + least
        planes = torch.where(hit & hole, noise, planes)
    return planes


def elastic(planes: Tensor, generator: torch.Generator) -> Tensor:
    """Move control points 30 pixels apart by normal steps of 1 to 2 pixels' deviation, p 0.3."""
    count, _, rows, columns = planes.shape
    knots = [-(-n // SPACING) + 1 for n in (rows, columns)]
    magnitude = _drawn((count, 1, 1, 1), *MAGNITUDE, generator)
    steps = torch.randn((count, 2, *knots), generator=generator) * magnitude
    steps = steps * _chosen(planes, ELASTIC, generator)
    moved = nnf.interpolate(steps, (rows, columns), mode="bicubic", align_corners=True)
    along = moved.permute(0, 2, 3, 1).flip(-1) * 2 / torch.tensor([columns, rows])
    identity = nnf.affine_grid(
        torch.eye(2, 3).expand(count, 2, 3), list(planes.shape), align_corners=False
    )
    return nnf.grid_sample(planes, identity + along, padding_mode="reflection", align_corners=False)


def crop(planes: Tensor, generator: torch.Generator) -> Tensor:
    """Enlarge a part of 70 to 100 % of each plane's area, anywhere in it, to the whole."""
    count = len(planes)
    edge = _drawn((count,), CROP, 1.0, generator).sqrt()
    room = (1 - edge)[:, None]
    place = _drawn((count, 2), -1.0, 1.0, generator) * room
    still = torch.zeros_like(edge)
    part = torch.stack(
        [
            torch.stack([edge, still, place[:, 0]], dim=1),
            torch.stack([still, edge, place[:, 1]], dim=1),
        ],
        dim=1,
    )
    grid = nnf.affine_grid(part, list(planes.shape), align_corners=False)
    return nnf.grid_sample(planes, grid, padding_mode="border", align_corners=False)


def mirror(planes: Tensor, generator: torch.Generator) -> Tensor:
    """Swap left and right, p 0.5."""
    return torch.where(_chosen(planes, MIRROR, generator), planes.flip(2), planes)


def contrast(planes: Tensor, generator: torch.Generator) -> Tensor:
    """Stretch the values about their mean by 0.6 to 1.4, p 0.8."""
    mean = planes.mean(dim=(1, 2, 3), keepdim=True)
    gain = _drawn((len(planes), 1, 1, 1), 1 - STRETCH, 1 + STRETCH, generator)
    gain = torch.where(_chosen(planes, STRETCHED, generator), gain, torch.ones(()))
    return mean + gain * (planes - mean)


def blur(planes: Tensor, generator: torch.Generator) -> Tensor:
    """Mix each scan with its mean over 3×3 pixels, taken twice, p 0.5."""
    soft = planes
    for _ in range(2):
        soft = nnf.avg_pool2d(soft, 3, stride=1, padding=1, count_include_pad=False)
    share = _drawn((len(planes), 1, 1, 1), 0, 1, generator) * _chosen(planes, BLUR, generator)
    return planes + share * (soft - planes)


def noise(planes: Tensor, generator: torch.Generator) -> Tensor:
    """Add normal noise of up to a tenth of the normalised intensity, p 0.5."""
    level = _drawn((len(planes), 1, 1, 1), 0, NOISE_MOST, generator)
    level = level * _chosen(planes, NOISE, generator)
    return planes + level * torch.randn(planes.shape, generator=generator)


STEPS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "negative": negative,
    "rotation": rotation,
    "shift": shift,
    "bias": bias,
    "dropout": dropout,
    "elastic": elastic,
    "crop": crop,
    "mirror": mirror,
    "contrast": contrast,
    "blur": blur,
    "noise": noise,
}


def _range(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least and the greatest value of each scan, (B, 1, 1, 1)."""
    return planes.amin(dim=(1, 2, 3), keepdim=True), planes.amax(dim=(1, 2, 3), keepdim=True)


def _chosen(planes: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    return torch.rand(len(planes), 1, 1, 1, generator=generator) < probability


def _drawn(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator) * (high - low) + low


def _legendre(count: int) -> Tensor:
    """Legendre polynomials of degree 0…3 at `count` places from −1 to 1, (4, count)."""
    x = torch.linspace(-1, 1, count)
    return torch.stack([torch.ones_like(x), x, (3 * x**2 - 1) / 2, (5 * x**3 - 3 * x) / 2])
