"""Brain-ID's training scans: one person, one shape, four views from mild to severe.

Liu et al. 2023, arXiv 2311.16914; ranges as in the released configuration. Two views are mildly
and two severely corrupted; all share one deformation and each has a contrast of its own. What is
learned from them is the same person's T1w-like image.

Where it departs from the release, because our scans have no skull and lie on the MNI152 grid:
what surrounds the brain is 0 or fluid; the whole brain is drawn and no crop of it; people are
mirrored in half of the cases. Real anatomies take part beside label maps, repainted by random
intensity curves.

Volumes are (Z, X, Y) on a lattice. All chance comes from a generator on the CPU, so that a seed
gives the same scans on every device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as nnf
from torch import Tensor

from deepbrainprint.encoder.anatomy import T1W_LEVELS, Anatomy
from deepbrainprint.encoder.lattice import (
    LINEAR,
    Deformation,
    Lattice,
    chance,
    drawn_grid,
    on_grid,
    uniform,
)
from deepbrainprint.encoder.synthesis import curves
from deepbrainprint.encoder.voxels import acquire, draw_voxel, photograph

FULL = 300.0  # where the scale of intensities ends
MEANS = (25.0, 225.0)  # of tissues
TEXTURES = (5.0, 25.0)  # deviation of a tissue's 1 mm voxels
BAG_MM = (1.0, 21.0)  # thickness of the fluid around a brain
PHOTO_SHARE, PHOTO_MM = 0.2, (2.0, 12.0)  # people seen as coronal photographs, and their spacing
CSF, GREY_MATTER, WHITE = T1W_LEVELS[:3]
WHITE_QUANTILE = 0.75  # of a T1w brain: white matter's level


@dataclass(frozen=True)
class Corruption:
    """What differs between mild and severe views; ranges are those of uniform draws."""

    gamma: float  # deviation of log γ
    bias: tuple[float, float]  # deviation of the log field's control points
    bias_mm: tuple[float, float]  # between them
    noise: tuple[float, float]  # deviation
    bag: float  # share of views with fluid around the brain
    bag_mm: tuple[float, float]  # between the control points of its thickness


MILD = Corruption(0.01, (0.0, 0.02), (50.0, 100.0), (0.0, 0.02), 0.1, (50.0, 100.0))
SEVERE = Corruption(0.1, (0.1, 0.6), (25.0, 50.0), (5.0, 15.0), 0.5, (12.5, 50.0))
VIEWS = (MILD, MILD, SEVERE, SEVERE)


def between(severity: float) -> Corruption:
    """Mild at 0, severe at 1 and beyond."""
    share = min(severity, 1.0)
    return Corruption(
        MILD.gamma + share * (SEVERE.gamma - MILD.gamma),
        _between(MILD.bias, SEVERE.bias, share),
        _between(MILD.bias_mm, SEVERE.bias_mm, share),
        _between(MILD.noise, SEVERE.noise, share),
        MILD.bag + share * (SEVERE.bag - MILD.bag),
        _between(MILD.bag_mm, SEVERE.bag_mm, share),
    )


def _between(
    mild: tuple[float, float], severe: tuple[float, float], share: float
) -> tuple[float, float]:
    low, high = (m + share * (s - m) for m, s in zip(mild, severe, strict=True))
    return low, high


@dataclass(frozen=True)
class Look:
    """How one scan is taken.

    `photo_mm` above 0 is the spacing of photographs; a curve (256,) of intensities gives the
    contrast, which is drawn where there is none.
    """

    corruption: Corruption
    photo_mm: float = 0.0
    curve: Tensor | None = None


@dataclass(frozen=True)
class Tissue:
    """A person before there is a contrast, all (Z, X, Y) on the lattice.

    shares: (C, Z, X, Y) of the tissues of a label map, or None for a T1w scan; level: grey level
    of a T1w scan, 0…1; fluid: its share; mask: share inside the brain; target: T1w-like, 1 in
    white matter.
    """

    shares: Tensor | None
    level: Tensor
    fluid: Tensor
    mask: Tensor
    target: Tensor


def tissue_of(anatomy: Anatomy, places: Tensor) -> Tissue:
    """The person that lies at `places` (Z, X, Y, 3) of an anatomy, on the device of `places`.

    White matter's level is known for label maps. In a T1w scan it is taken to be the upper quartile
    of the brain, and what is darker than grey matter to be partly fluid.
    """
    channels = on_grid(anatomy.channels.to(places.device), places)
    if anatomy.painted:
        level = torch.tensordot(torch.tensor(T1W_LEVELS).to(places), channels, dims=1)
        mask = channels.sum(dim=0).clamp(max=1)
        return Tissue(channels, level, channels[0], mask, level / WHITE)
    values, mask = channels
    level = (values / mask.clamp(min=0.2)).clamp(0, 1)
    inside = level[mask > 0.5]
    white = inside.quantile(WHITE_QUANTILE).clamp(min=1e-3) if len(inside) else WHITE
    fluid = ((GREY_MATTER - level / white * WHITE) / (GREY_MATTER - CSF)).clamp(0, 1)
    return Tissue(None, level, fluid * mask, mask, values / white)


def smoothed(anatomy: Anatomy, lattice: Lattice) -> Anatomy:
    """The anatomy with 2 mm along z too where the lattice is no finer; else as it is."""
    if lattice.step_mm < 2:
        return anatomy
    return replace(anatomy, channels=nnf.avg_pool3d(anatomy.channels, (2, 1, 1)))


@dataclass(frozen=True)
class Subject:
    """One generated person: views (V, Z, X, Y), 0…1, and the tissue that they show."""

    views: Tensor
    tissue: Tissue


def draw_subject(
    anatomy: Anatomy,
    lattice: Lattice,
    deformation: Deformation,
    generator: torch.Generator,
    device: str = "cpu",
) -> Subject:
    """The person that `deformation` makes of `anatomy`, seen twice mildly and twice severely."""
    tissue = tissue_of(anatomy, deformation.places(lattice).to(device))
    photo_mm = uniform(PHOTO_MM, generator) if chance(PHOTO_SHARE, generator) else 0.0
    views = [draw_view(tissue, lattice, Look(c, photo_mm), generator) for c in VIEWS]
    return Subject(torch.stack(views), tissue)


def draw_view(tissue: Tissue, lattice: Lattice, look: Look, generator: torch.Generator) -> Tensor:
    """One scan (Z, X, Y), 0…1."""
    corruption, photo_mm = look.corruption, look.photo_mm
    values, fluid = paint(tissue, lattice, generator, look.curve)
    if photo_mm:  # a brain out of its skull is dry
        values = values - fluid * tissue.fluid
    elif chance(corruption.bag, generator):
        values = values + fluid * bag(tissue.mask, lattice, corruption, generator)
    gamma = math.exp(corruption.gamma * float(torch.randn((), generator=generator)))
    values = FULL * (values.clamp(min=0) / FULL) ** gamma
    values = values * bias_field(lattice, corruption, generator).to(values.device)
    voxel = photograph(photo_mm) if photo_mm else draw_voxel(generator)
    noise = uniform(corruption.noise, generator)
    values = acquire(values, voxel, lattice, noise=noise, generator=generator)
    return values / values.max().clamp(min=1e-3)


def paint(
    tissue: Tissue, lattice: Lattice, generator: torch.Generator, curve: Tensor | None = None
) -> tuple[Tensor, float]:
    """A contrast (Z, X, Y) on the scale that ends at 300, and what fluid has in it.

    Label maps: each tissue has a mean and a texture, of which a cube of the lattice averages
    step³ 1 mm voxels. T1w scans, and wherever a curve (256,) is given: an intensity curve.
    """
    if tissue.shares is not None and curve is None:
        return _tissues(tissue.shares, lattice, generator)
    curve = curves(1, generator, 1.0)[0] if curve is None else curve
    table = MEANS[0] + (MEANS[1] - MEANS[0]) * curve
    last = len(table) - 1
    values = table.to(tissue.level.device)[(tissue.level.clamp(0, 1) * last).long()]
    return values * tissue.mask, float(table[round(CSF * last)])


def _tissues(shares: Tensor, lattice: Lattice, generator: torch.Generator) -> tuple[Tensor, float]:
    low, high = torch.tensor([MEANS, TEXTURES]).T[:, :, None]
    mean, spread = low + (high - low) * torch.rand(2, len(shares), generator=generator)
    texture = torch.randn(shares.shape[1:], generator=generator) / lattice.step_mm**1.5
    weights = torch.stack([mean, spread]).to(shares.device)
    smooth, rough = torch.tensordot(weights, shares, dims=1)
    return (smooth + rough * texture.to(shares.device)).clamp(min=0), float(mean[0])


def bag(
    mask: Tensor, lattice: Lattice, corruption: Corruption, generator: torch.Generator
) -> Tensor:
    """Share of fluid (Z, X, Y) around the brain, thicker in some places than in others."""
    ends = torch.sort(BAG_MM[0] + (BAG_MM[1] - BAG_MM[0]) * torch.rand(2, generator=generator))
    thin, thick = ends.values.tolist()
    grid = drawn_grid(lattice, corruption.bag_mm, generator)
    drawn = torch.rand(1, *grid.shape, 1, generator=generator)
    thickness = thin + (thick - thin) * grid.evaluate(drawn)[0, ..., 0].to(mask.device)
    layer, fluid = mask, torch.zeros_like(mask)
    for inner in range(0, round(thick), lattice.step_mm):
        layer = nnf.max_pool3d(layer[None], 3, stride=1, padding=1)[0]
        filled = ((thickness - inner) / lattice.step_mm).clamp(0, 1)  # of this layer of cubes
        fluid = torch.maximum(fluid, filled * layer)
    return fluid * (1 - mask)


def bias_field(lattice: Lattice, corruption: Corruption, generator: torch.Generator) -> Tensor:
    """A multiplicative field (Z, X, Y)."""
    spread = uniform(corruption.bias, generator)
    field = drawn_grid(lattice, corruption.bias_mm, generator).draw(1, generator)[0]
    return (LINEAR * spread * field).exp()
