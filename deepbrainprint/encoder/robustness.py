"""How much feature maps change when only the scan does, and how much from person to person.

Brain-ID's measures (Liu et al. 2023, arXiv 2311.16914, released code): L1, SSIM and MS-SSIM between
the maps of differently corrupted or deformed views. SSIM: Wang et al. 2004, IEEE TIP 13, equation
13; MS-SSIM: Wang, Simoncelli & Bovik 2003, Asilomar. Both on maps brought to 0…1 together, in a
Gaussian window of 11 voxels and deviation 1.5, without its margins.

The released code measures within a subject only. Between subjects the same measures are taken here
in the aligned space, where they say how much of a map belongs to everybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor

from deepbrainprint.encoder.anatomy import Anatomy
from deepbrainprint.encoder.lattice import (
    Deforming,
    Lattice,
    draw_deformation,
    on_lattice,
)
from deepbrainprint.encoder.mild_to_severe import draw_subject, smoothed
from deepbrainprint.encoder.unet import UNet

WINDOW, DEVIATION = 11, 1.5
K1, K2 = 0.01, 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


Measured = dict[str, float]


@torch.inference_mode()
def robustness(
    network: UNet,
    anatomies: Sequence[Anatomy],
    lattice: Lattice,
    generator: torch.Generator,
    device: str = "cpu",
) -> Measured:
    """L1, SSIM and MS-SSIM of feature maps, each a mean over people made of the anatomies.

    `intra_subject`: a mild and a severe view of one shape. `intra_subject_deformed`: such views in
    two shapes of one anatomy, brought back to it. `inter_subject`: the same of two anatomies, which
    lie in one space. Good features have a high SSIM and a low L1 in the first two, and the contrary
    in the third. `ms_ssim_scales`: how many of the five published scales fit into a map.
    """
    network.eval()
    same, deformed, others = [], [], []
    earlier: Tensor | None = None
    for anatomy in (smoothed(anatomy, lattice) for anatomy in anatomies):
        maps = feature_maps(network, anatomy, lattice, generator, device)
        same.append(compared(maps.mild, maps.severe))
        again = feature_maps(network, anatomy, lattice, generator, device).severe_back
        deformed.append(compared(maps.mild_back, again))
        if earlier is not None:
            others.append(compared(earlier, again))
        earlier = maps.mild_back
    return (
        _means("intra_subject", same)
        | _means("intra_subject_deformed", deformed)
        | _means("inter_subject", others)
        | {"ms_ssim_scales": float(scales_in(lattice.shape))}
    )


@dataclass(frozen=True)
class FeatureMaps:
    """Of a mild and a severe view of one person (C, Z, X, Y), and both back in the anatomy."""

    mild: Tensor
    severe: Tensor
    mild_back: Tensor
    severe_back: Tensor


def feature_maps(
    network: UNet,
    anatomy: Anatomy,
    lattice: Lattice,
    generator: torch.Generator,
    device: str = "cpu",
) -> FeatureMaps:
    """The maps of a new person."""
    deformation = draw_deformation(lattice, generator, Deforming())
    views = draw_subject(anatomy, lattice, deformation, generator, device).views
    mild, severe = network.features(views[[0, -1], None])
    back = deformation.inverse(lattice).to(device)
    return FeatureMaps(
        mild, severe, on_lattice(mild, back, lattice), on_lattice(severe, back, lattice)
    )


def compared(first: Tensor, second: Tensor) -> Measured:
    """All measures of two maps (C, Z, X, Y)."""
    return {
        "l1": l1(first, second),
        "ssim": ssim(first, second),
        "ms_ssim": ms_ssim(first, second),
    }


def _means(name: str, measured: Sequence[Measured]) -> Measured:
    return {
        f"{name}_{measure}": sum(m[measure] for m in measured) / len(measured)
        for measure in (measured[0] if measured else ())
    }


def l1(first: Tensor, second: Tensor) -> float:
    """Mean absolute difference of two maps (C, Z, X, Y)."""
    return float((first - second).abs().mean())


def ssim(first: Tensor, second: Tensor) -> float:
    """Structural similarity of two maps (C, Z, X, Y), 1 when they are the same."""
    whole, _ = _similarity(_unit(first), _unit(second))
    return float(whole.mean())


def ms_ssim(first: Tensor, second: Tensor, scales: int | None = None) -> float:
    """The same at several scales, each half as fine as the one before: Π cs_j^w_j · ssim_M^w_M.

    As many of the five published scales as fit into the maps, or `scales`; their weights are
    brought to a sum of 1. Released code gives no figure where five do not fit.
    """
    scales = scales or scales_in(first.shape[1:])
    weights = torch.tensor(SCALE_WEIGHTS[:scales], device=first.device)
    product, one, two = torch.ones(len(first), device=first.device), _unit(first), _unit(second)
    for scale, weight in enumerate(weights / weights.sum(), start=1):
        whole, structure = _similarity(one, two)
        product = product * (whole if scale == scales else structure).clamp(min=0) ** weight
        one, two = _halved(one), _halved(two)
    return float(product.mean())


def scales_in(shape: Sequence[int]) -> int:
    """How many scales leave room for more than the window; at most the five published."""
    room = [min(shape) > (WINDOW - 1) * 2**scale for scale in range(5)]
    return max(1, room.count(True))


def _halved(volume: Tensor) -> Tensor:
    return nnf.avg_pool3d(volume, 2, padding=[size % 2 for size in volume.shape[2:]])


def _unit(channels: Tensor) -> Tensor:
    """0…1 over all channels together, as (C, 1, Z, X, Y)."""
    channels = channels.float()
    low, high = channels.min(), channels.max()
    return ((channels - low) / (high - low).clamp(min=1e-9))[:, None]


def _similarity(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """(C,) SSIM and (C,) its part without luminance, of maps (C, 1, Z, X, Y) in 0…1."""
    c1, c2 = K1**2, K2**2
    mean1, mean2 = _blurred(first), _blurred(second)
    variance1 = _blurred(first**2) - mean1**2
    variance2 = _blurred(second**2) - mean2**2
    covariance = _blurred(first * second) - mean1 * mean2
    structure = (2 * covariance + c2) / (variance1 + variance2 + c2)
    luminance = (2 * mean1 * mean2 + c1) / (mean1**2 + mean2**2 + c1)
    return (luminance * structure).flatten(1).mean(dim=1), structure.flatten(1).mean(dim=1)


def _blurred(volume: Tensor) -> Tensor:
    """Through the window, one axis after the other, without margins."""
    offset = torch.arange(WINDOW) - (WINDOW - 1) / 2
    weights = torch.exp(-((offset / DEVIATION) ** 2) / 2)
    weights = (weights / weights.sum()).to(volume.device)
    for shape in ((WINDOW, 1, 1), (1, WINDOW, 1), (1, 1, WINDOW)):
        volume = nnf.conv3d(volume, weights.reshape(1, 1, *shape))
    return volume
