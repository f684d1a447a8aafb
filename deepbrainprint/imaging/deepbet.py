"""The brain in a head, found by deepbet's two networks (Fisch et al., Comput Biol Med 2024).

The weights come with the deepbet package (MIT) and are read from it when first needed; the
networks run here in fewer passes over memory than as shipped, with the same mask: on 2 CPU cores
half the processor time. A coarse network looks at the whole image in 128³ samples and says where
the brain is, a fine one looks at that box in 256³ samples. Fewer samples are no way to be faster:
with 192³ the mask agreed with that of 256³ only by a Dice of 0.98 to 0.99.

Both are LinkNets whose normalisation is over each image alone, so that the order in which scans
come does not matter. A GPU is used where torch finds one.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deepbrainprint.errors import Misconfigured
from deepbrainprint.imaging.outline import filled, largest
from deepbrainprint.records import FloatArray, MaskArray

if TYPE_CHECKING:
    from torch import Tensor

MODELS = Path("data", "models")  # beside the package, not in it
COARSE, FINE = (128, 128, 128), (256, 256, 256)
DARKEST, BRIGHTEST = 0.5, 99.5  # percentiles of the image that become 0 and 1
MEAN, SPREAD = 0.449, 0.226  # what the networks were trained to see
MARGIN = 0.1  # of the brain's box, on each side
LEAST_SHARE = 0.02  # of a plane must be brain for the plane to be inside the box
Box = tuple[slice, ...]
Array = npt.NDArray[Any]


def brain(data: FloatArray) -> MaskArray:
    """Return where the brain is in `data` (i, j, k), axes close to RAS; nowhere if none is seen.

    Same input, same result. One connected part, its holes filled.
    """
    mask = np.zeros(data.shape, dtype=bool)
    low, high = np.percentile(_nearest(data, COARSE), (DARKEST, BRIGHTEST))
    if not high > low:
        return mask
    box = _box(_seen("bbox_model.pt", _nearest(data, COARSE), low, high), data.shape)
    if box is None:
        return mask
    fine = _seen("model.pt", _nearest(data[box], FINE), low, high)
    whole = largest(_nearest(fine, mask[box].shape))
    mask[box] = filled(whole)
    return mask


def _box(found: MaskArray, shape: tuple[int, ...]) -> Box | None:
    """Return where, among `shape` voxels, the largest part of `found` lies, with a margin."""
    part = largest(found)
    box = []
    for axis, length in enumerate(shape):
        others = tuple(a for a in range(3) if a != axis)
        planes = np.flatnonzero(part.mean(axis=others) > LEAST_SHARE)
        if not planes.size:
            return None
        step = length / part.shape[axis]
        first, last = planes[0] * step, (planes[-1] + 1) * step
        middle, size = round((first + last) / 2), round((last - first) * (1 + 2 * MARGIN))
        box.append(slice(max(0, int(middle - size / 2)), min(length, int(middle + size / 2))))
    return tuple(box)


def _nearest(data: Array, shape: tuple[int, ...]) -> Array:
    """Sample `data` at the centres of `shape` equal cells."""
    for axis, (old, new) in enumerate(zip(data.shape, shape, strict=True)):
        places = ((np.arange(new) + 0.5) * (old / new)).astype(np.intp)
        data = data.take(np.minimum(places, old - 1), axis=axis)
    return data


def _seen(network: str, data: FloatArray, low: float, high: float) -> MaskArray:
    """Run the network in the file `network` on `data`, between `low` and `high`."""
    import torch  # noqa: PLC0415 — seconds to import

    from deepbrainprint.imaging import linknet  # noqa: PLC0415 — needs torch

    exact = torch.backends.cudnn.flags(deterministic=True, benchmark=False, allow_tf32=False)
    with torch.inference_mode(), exact:
        image = torch.from_numpy(data).to(_device())[None, None]  # (1, 1, i, j, k)
        image = linknet.normal(image.sub_(low).div_(high - low).clamp_(0, 1))
        found = linknet.foreground(_weights(network), image.mul_(SPREAD).add_(MEAN))
    mask: MaskArray = found.numpy(force=True)
    return mask


@functools.cache
def _device() -> str:
    import torch  # noqa: PLC0415 — seconds to import

    return "cuda" if torch.cuda.is_available() else "cpu"


@functools.cache
def _weights(network: str) -> dict[str, Tensor]:
    """Read a TorchScript file of the deepbet package, for its weights alone."""
    import torch  # noqa: PLC0415 — seconds to import

    from deepbrainprint.imaging import linknet  # noqa: PLC0415 — needs torch

    spec = importlib.util.find_spec("deepbet")  # not imported: it brings pandas
    path = Path(spec.origin).parents[1] / MODELS / network if spec and spec.origin else MODELS
    if not path.is_file():
        raise Misconfigured(
            "deepbet's weights are missing: run pip install 'deepbrainprint[pipeline]'",
            code="missing_weights",
        )
    load: Any = torch.jit.load  # which has no types
    return linknet.prepared(load(path, map_location=_device()).state_dict())
