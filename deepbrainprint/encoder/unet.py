"""The 3D U-Net of Brain-ID (Liu et al. 2023, arXiv 2311.16914, and the released code).

Every convolution is preceded by group normalisation and followed by a leaky ReLU. The features are
the last decoder layer, one vector for each voxel; a 1×1×1 convolution turns them into an image.
The released network has 64 maps and 5 levels; the width and depth are free here, and so is the
number of feature maps, so that a small network still gives 64.

Axes are those of our volumes: z (down to up), x (left to right), y (back to front).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from pickle import UnpicklingError  # what torch raises for a file that holds more than tensors
from typing import Any

import torch
import torch.nn.functional as nnf
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from deepbrainprint.errors import Misconfigured

FEATURES = 64
AUTHORS_WIDTH, AUTHORS_LEVELS = 64, 5
GROUPS = 8  # fewer channels than that are normalised as one group
NAMES = (  # how the released code calls what is ours on the left
    ("encoders.", "backbone.encoders."),
    ("decoders.", "backbone.decoders."),
    ("head.", "head.final_conv_image."),
    (".first.", ".basic_module.SingleConv1."),
    (".second.", ".basic_module.SingleConv2."),
    (".norm.", ".groupnorm."),
)


class Layer(nn.Module):
    """Group normalisation, 3×3×3 convolution without bias, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS if inputs >= GROUPS else 1, inputs)
        self.conv = nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, Z, X, Y) → (B, outputs, Z, X, Y)."""
        return nnf.leaky_relu(self.conv(self.norm(x)))


class Level(nn.Module):
    """Two layers of one resolution."""

    def __init__(self, inputs: int, middle: int, outputs: int) -> None:
        super().__init__()
        self.first = Layer(inputs, middle)
        self.second = Layer(middle, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, Z, X, Y) → (B, outputs, Z, X, Y)."""
        return self.second(self.first(x))  # type: ignore[no-any-return]


class UNet(nn.Module):
    """Volume → a vector of features for each voxel → image."""

    def __init__(self, width: int = 16, levels: int = 4, features: int = FEATURES) -> None:
        super().__init__()
        if width < 2 * GROUPS or width % (2 * GROUPS) or features % GROUPS or levels < 2:
            raise Misconfigured(
                f"a U-Net of {levels} levels, {width} maps and {features} features cannot be built:"
                f" give at least 2 levels, maps in {2 * GROUPS}s and features in {GROUPS}s",
                code="wrong_network_size",
            )
        maps = [width * 2**level for level in range(levels)]
        above = [1, *maps[:-1]]  # what a level of the encoder receives
        self.encoders = nn.ModuleList(
            Level(before, max(own // 2, before), own)
            for before, own in zip(above, maps, strict=True)
        )
        out = [features, *maps[1:-1]]
        self.decoders = nn.ModuleList(
            Level(own + below, own, given)
            for own, below, given in reversed(list(zip(maps[:-1], maps[1:], out, strict=True)))
        )
        self.head = nn.Conv3d(features, 1, 1)

    def forward(self, volume: Tensor) -> Tensor:
        """The T1w-like image (B, 1, Z, X, Y), 1 in white matter, of a volume of any contrast."""
        return self.head(self.features(volume))  # type: ignore[no-any-return]

    def features(self, volume: Tensor) -> Tensor:
        """(B, 1, Z, X, Y) with values 0…1 → (B, features, Z, X, Y)."""
        x, skipped = volume, []
        for level, encoder in enumerate(self.encoders):
            x = encoder(nnf.max_pool3d(x, 2) if level else x)
            skipped.append(x)
        for decoder, finer in zip(self.decoders, reversed(skipped[:-1]), strict=True):
            x = decoder(torch.cat([finer, nnf.interpolate(x, size=finer.shape[2:])], dim=1))
        return x


def load_authors(
    path: Path,
    *,
    width: int = AUTHORS_WIDTH,
    levels: int = AUTHORS_LEVELS,
    features: int = FEATURES,
) -> UNet:
    """The released weights, as `.safetensors` or the authors' `.pth`, in evaluation mode.

    The released network reads volumes in the order x, y, z: its kernels are turned to ours.
    Misconfigured when the file cannot be read or is that of another network.
    """
    network = UNet(width, levels, features)
    stored = {key.removeprefix("module."): value for key, value in _tensors(path).items()}
    ours = {}
    for name, wanted in network.state_dict().items():
        key = authors_name(name)
        turned = _turned(stored[key]) if key in stored else torch.empty(0)
        if turned.shape != wanted.shape:
            raise _unfit(path, f"{key} is {'of another shape' if key in stored else 'missing'}")
        ours[name] = turned
    spare = set(stored) - {authors_name(name) for name in ours}
    if strange := sorted(key for key in spare if not key.startswith("head.")):
        raise _unfit(path, f"{strange[0]} is not part of the network")
    network.load_state_dict(ours)
    return network.eval()


def authors_name(name: str) -> str:
    """The released code's name of one of our tensors."""
    for ours, theirs in NAMES:
        name = name.replace(ours, theirs)
    return name


def _turned(tensor: Tensor) -> Tensor:
    """Kernels (O, I, x, y, z) → (O, I, z, x, y); anything else as it is."""
    return tensor.permute(0, 1, 4, 2, 3).contiguous() if tensor.ndim == 5 else tensor


def _tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a file, from under `model` where they lie there.

    The `.pth` holds the authors' settings beside the weights, in a plain Namespace; nothing else
    than that and tensors is unpacked.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):
            document: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise Misconfigured(
            f"{path} is missing: download brain_id_pretrained.pth as the authors' README says",
            code="weights_missing",
        ) from None
    except (OSError, RuntimeError, SafetensorError, UnpicklingError, EOFError) as error:
        raise _unfit(path, "it is damaged or holds more than weights") from error
    weights = document.get("model", document) if isinstance(document, dict) else {}
    return {key: value for key, value in weights.items() if isinstance(value, Tensor)}


def _unfit(path: Path, reason: str) -> Misconfigured:
    return Misconfigured(
        f"{path} does not hold the Brain-ID network ({reason}): give the released file",
        code="weights_differ",
    )
