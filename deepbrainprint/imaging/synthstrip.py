"""SynthStrip in place of deepbet, where a site provides its weights.

A 3-D U-Net that gives each voxel its distance to the edge of the brain, in any contrast (Hoopes et
al., NeuroImage 2022;260:119474).

The weights come with FreeSurfer under its own licence and are not shipped: `synthstrip.1.pt`, to
be named in DBP_SYNTHSTRIP_PATH. The network is built to the shapes that the file holds. It was
tried here with random weights of those shapes only, not with the real file.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepbrainprint.errors import Misconfigured
from deepbrainprint.imaging.outline import filled, largest
from deepbrainprint.imaging.resampling import resampled
from deepbrainprint.records import FloatArray, MaskArray, Volume

if TYPE_CHECKING:
    from torch import Tensor

LEVELS, CONVOLUTIONS = 7, 2  # of the U-Net, and of each of its levels
CHANNELS = (16, 32, 64, 64, 64, 64, 64)
SIDE, LEAST, MOST = 64, 192, 320  # voxels: a multiple of the first, between the others
BRIGHTEST = 99.0  # percentile that becomes 1
EDGE_MM = 1.0  # distance outside the brain's edge that is still inside the mask
FAR_MM = 100.0
LEAKAGE = 0.2  # slope of the activation below zero


def stripper(path: Path) -> Callable[[Volume], MaskArray]:
    """Return a function that finds the brain in a scan with the weights in `path`.

    Misconfigured `missing_weights` or `wrong_weights` when the file is not SynthStrip's.
    """
    weights = _read(path)
    return functools.partial(_brain, weights)


def layout() -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of all weights that the network has."""
    return {
        f"{name}.conv.{kind}": shape
        for name, (before, after) in _channels().items()
        for kind, shape in (("weight", (after, before, 3, 3, 3)), ("bias", (after,)))
    }


def _channels() -> dict[str, tuple[int, int]]:
    """Return channels before and after each convolution, by name."""
    found: dict[str, tuple[int, int]] = {}
    count = 1
    for level, wide in enumerate(CHANNELS[:-1]):
        for number in range(CONVOLUTIONS):
            found[f"encoder.{level}.{number}"], count = (count, wide), wide
    for level, wide in enumerate(CHANNELS[:0:-1]):
        for number in range(CONVOLUTIONS):
            found[f"decoder.{level}.{number}"], count = (count, wide), wide
        count += CHANNELS[LEVELS - 2 - level]
    for number, wide in enumerate((CHANNELS[0], CHANNELS[0], 1)):
        found[f"remaining.{number}"], count = (count, wide), wide
    return found


def _brain(weights: Mapping[str, Tensor], scan: Volume) -> MaskArray:
    import torch  # noqa: PLC0415 — seconds to import

    lattice = conformed(scan)
    with torch.inference_mode():
        image = torch.from_numpy(_scaled(resampled(scan, lattice, np.eye(4))))[None, None]
        distance = _distance(weights, image)[0, 0].numpy()
    # beyond the lattice 0 is read, so that near must be large
    near = Volume(FAR_MM - np.clip(distance, -FAR_MM, FAR_MM), lattice.affine)
    mask = resampled(near, scan, np.eye(4)) > FAR_MM - EDGE_MM
    return filled(largest(mask))


def conformed(scan: Volume) -> Volume:
    """Return an empty lattice of 1 mm around `scan` whose axes run left, down and to the front."""
    corners = np.array(np.meshgrid(*((-0.5, n - 0.5) for n in scan.data.shape))).reshape(3, -1)
    corners = scan.affine[:3, :3] @ corners + scan.affine[:3, 3:]
    low, high = corners.min(axis=1), corners.max(axis=1)
    affine = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    size = np.abs(affine[:3, :3].T @ (high - low))
    shape = np.clip(np.ceil(size / SIDE) * SIDE, LEAST, MOST).astype(int)
    affine[:3, 3] = (low + high) / 2 - affine[:3, :3] @ ((shape - 1) / 2)
    return Volume(np.zeros(shape, dtype=np.float32), affine)


def _scaled(data: FloatArray) -> FloatArray:
    data = data - data.min()
    bright = max(float(np.percentile(data, BRIGHTEST)), 1e-6)
    scaled: FloatArray = np.clip(data / bright, 0, 1).astype(np.float32)
    return scaled


def _distance(weights: Mapping[str, Tensor], data: Tensor) -> Tensor:
    """Run the network on (1, 1, i, j, k), each a multiple of 64."""
    from torch.nn import functional  # noqa: PLC0415 — seconds to import

    kept: list[Tensor] = []
    for level in range(LEVELS - 1):
        kept.append(_convolved(weights, f"encoder.{level}", data))
        data = functional.max_pool3d(kept[-1], 2)
    for level in range(LEVELS - 1):
        data = _convolved(weights, f"decoder.{level}", data)
        data = _joined(data, kept.pop())
    data = _convolved(weights, "remaining", data)
    last = "remaining.2.conv"
    return functional.conv3d(data, weights[f"{last}.weight"], weights[f"{last}.bias"], padding=1)


def _joined(data: Tensor, kept: Tensor) -> Tensor:
    import torch  # noqa: PLC0415 — seconds to import

    for axis in (2, 3, 4):
        data = data.repeat_interleave(2, dim=axis)
    return torch.cat([data, kept], dim=1)


def _convolved(weights: Mapping[str, Tensor], name: str, data: Tensor) -> Tensor:
    from torch.nn import functional  # noqa: PLC0415 — seconds to import

    for number in range(CONVOLUTIONS):
        kernel, bias = (weights[f"{name}.{number}.conv.{kind}"] for kind in ("weight", "bias"))
        data = functional.conv3d(data, kernel, bias, padding=1)
        data = functional.leaky_relu_(data, LEAKAGE)
    return data


def _read(path: Path) -> dict[str, Tensor]:
    """Read the weights, alone or in a training checkpoint; other entries are left out."""
    import torch  # noqa: PLC0415 — seconds to import

    if not path.is_file():
        raise Misconfigured(
            "SynthStrip's weights are not there: set DBP_SYNTHSTRIP_PATH to synthstrip.1.pt",
            code="missing_weights",
        )
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever a damaged file meets
        raise _wrong("it cannot be read") from error
    held = held.get("model_state_dict", held) if isinstance(held, dict) else {}
    for name, shape in layout().items():
        if name not in held or tuple(held[name].shape) != shape:
            raise _wrong(f"{name} is missing or has another shape")
    return {name: held[name].float() for name in layout()}


def _wrong(what: str) -> Misconfigured:
    return Misconfigured(
        f"DBP_SYNTHSTRIP_PATH names no SynthStrip weights: {what}; "
        "take synthstrip.1.pt of FreeSurfer 7.3 or later",
        code="wrong_weights",
    )
