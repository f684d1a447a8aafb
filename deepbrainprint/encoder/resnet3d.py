"""ResNet-18 over volumes, as AnatCL releases it (Barbano et al. 2024, arXiv 2408.07079).

He et al. 2016, arXiv 1512.03385, table 1, with every kernel made cubic. Layers are named as in the
authors' checkpoints (github.com/EIDOSLAB/AnatCL, MIT), `encoder.` for this network and `head.` for
what only training needs, so that a site which has those can load them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError  # what torch raises for a file that holds more than tensors
from typing import Any

import torch
import torch.nn.functional as nnf
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from deepbrainprint.errors import Misconfigured
from deepbrainprint.records import FINGERPRINT_LENGTH

AUTHORS_WIDTH = 64
STRIDES = (1, 2, 2, 2)  # of the first block of each stage; each stage doubles the width
PROJECTED = 128  # length of what the loss sees


class Block(nn.Module):
    """Two 3×3×3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(outputs)
        self.conv2 = nn.Conv3d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm3d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, X, Y, Z) → (B, outputs, X/stride, Y/stride, Z/stride)."""
        inner = nnf.relu(self.bn1(self.conv1(x)))
        return nnf.relu(self.downsample(x) + self.bn2(self.conv2(inner)))


class ResNet3d(nn.Module):
    """Volumes (B, 1, X, Y, Z) of any size → features (B, 8·width): 512 for the released width."""

    def __init__(self, width: int = AUTHORS_WIDTH) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(1, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        inputs = width
        for number, stride in enumerate(STRIDES, start=1):
            outputs = width * 2 ** (number - 1)
            stage = nn.Sequential(Block(inputs, outputs, stride), Block(outputs, outputs, 1))
            self.add_module(f"layer{number}", stage)
            inputs = outputs
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Means over the volume of the last stage's maps."""
        x = nnf.relu(self.bn1(self.conv1(x)))
        x = nnf.max_pool3d(x, 3, 2, 1)
        x = self.get_submodule("layer2")(self.get_submodule("layer1")(x))
        # in bfloat16 on a CPU, gradients of weights over so few voxels are now and then not finite
        with torch.autocast(x.device.type, enabled=False):
            x = self.get_submodule("layer4")(self.get_submodule("layer3")(x.float()))
        return x.mean(dim=(2, 3, 4))


class Head(nn.Module):
    """Features (B, F) → what the loss sees (B, 128): an MLP F → F → 128, training only."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, features), nn.ReLU(), nn.Linear(features, PROJECTED)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Unit vectors."""
        return nnf.normalize(self.layers(features), dim=1)


class AnatClBackbone(nn.Module):
    """Grey-matter maps (B, Z, X, Y), 0…1, of any size → features (B, 512).

    A width other than the authors' makes 8·width features, brought to 512 by a linear map.
    """

    def __init__(self, width: int = AUTHORS_WIDTH) -> None:
        super().__init__()
        self.encoder = ResNet3d(width)
        self.widening: nn.Module = nn.Identity()
        if 8 * width != FINGERPRINT_LENGTH:
            self.widening = nn.Linear(8 * width, FINGERPRINT_LENGTH, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Features before normalisation; the network sees (B, 1, X, Y, Z), as the authors' does."""
        features: Tensor = self.widening(self.encoder(maps.permute(0, 2, 3, 1)[:, None]))
        return features


class GreyReader(nn.Module):
    """uint8 (B, Z, X, Y) of `imaging.tissue.grey_map` → 0…1 inside the given cubes."""

    def __init__(self, cubes: tuple[tuple[int, int], ...]) -> None:
        """Take the first and last + 1 cube along x, y and z."""
        super().__init__()
        (self._x, self._y, self._z) = (slice(*ends) for ends in cubes)

    def forward(self, maps: Tensor) -> Tensor:
        """Cut and scale."""
        return maps[:, self._z, self._x, self._y].float() / 255


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def load_authors(path: Path) -> ResNet3d:
    """Return the network with the weights of an AnatCL checkpoint, `.pth` or `.safetensors`.

    A `.pth` file holds {"model": weights}; it is read as plain tensors, and nothing in it is
    executed. Weights of the head and what wrapped the network in training are left out.

    Raises
    ------
    Misconfigured
        `unreadable_weights` or `other_weights` when the file is no such checkpoint.

    """
    weights = {
        name.removeprefix("module.").removeprefix("backbone.").removeprefix("encoder."): tensor
        for name, tensor in _read(path).items()
        if "encoder." in name
    }
    network = ResNet3d()
    problem = _misfit(weights, network.state_dict())
    if problem:
        raise Misconfigured(
            f"{path.name} does not hold the weights of AnatCL's ResNet-18 ({problem}): "
            "name a file fold0.pth to fold4.pth of resnet18-anatcl-l3 or -g3",
            code="other_weights",
        )
    network.load_state_dict(weights)
    return network.eval()


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            tensors: dict[str, Tensor] = load_file(path)
            return tensors
        stored: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise Misconfigured(
            f"{path.name} cannot be read as weights: name a .pth or .safetensors file of AnatCL",
            code="unreadable_weights",
        ) from error
    weights = stored.get("model", stored) if isinstance(stored, dict) else {}
    return {name: tensor for name, tensor in weights.items() if isinstance(tensor, Tensor)}


def _misfit(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """What is wrong, in words; empty when everything fits."""
    if missing := wanted.keys() - found.keys():
        return f"{len(missing)} tensors are missing, such as encoder.{min(missing)}"
    if strange := found.keys() - wanted.keys():
        return f"{len(strange)} tensors are unknown, such as encoder.{min(strange)}"
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            return f"encoder.{name} is {tuple(found[name].shape)}, not {tuple(tensor.shape)}"
    return ""
