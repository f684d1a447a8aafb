"""The sums over points that finding an alignment takes, on a CUDA device.

The formulas are those of `imaging.registration`, in double precision. The joint histogram is a
product of two matrices instead of scattered additions, whose order a GPU does not promise: the same
input gives the same result there too, and within rounding that of the processor.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepbrainprint.records import AffineArray

if TYPE_CHECKING:
    from torch import Tensor

    from deepbrainprint.imaging.registration import Problem, Source, Target, Vector

DRIVER = Path("/dev/nvidiactl")  # looked for first: torch takes seconds to import
KEPT = 8  # scans and templates at one resolution each, a few megabytes


@functools.cache
def device() -> str:
    """Return "cuda" where torch can use one, else nothing."""
    if not DRIVER.exists():
        return ""
    import torch  # noqa: PLC0415 — seconds to import

    return "cuda" if torch.cuda.is_available() else ""


def summed(
    problem: Problem, transform: AffineArray, levels: int, where: str
) -> tuple[float, Vector, Vector]:
    """Return the mismatch of all points, its pull (3,) by a shift and its moment (3, 3).

    `transform` (4, 4) takes mm of the target to mm of the source's turned world; there are `levels`
    bins; `where` is a torch device.
    """
    import torch  # noqa: PLC0415 — seconds to import

    points, bins, fixed, outline = _points(problem.target, levels, where)
    to_voxel = problem.source.world_to_voxel @ problem.turn
    at = torch.from_numpy(to_voxel @ transform).to(where)
    position = points @ at[:3, :3].T + at[:3, 3]  # (n, 3)
    values, slopes, weight = _looked_up(problem.source, position, where)
    total = weight.sum()
    information, pull = _information(bins, fixed, values[:, 0], weight / total.clamp_min(1e-9))
    gap = (values[:, 1] - outline) * weight
    share = problem.prior.outline_weight / total.clamp_min(1.0)
    force = -pull[:, None] * slopes[:, 0] + 2 * share * gap[:, None] * slopes[:, 1]
    by_mm = force @ torch.from_numpy(to_voxel[:3, :3].copy()).to(where)
    moment = by_mm.T @ (points - torch.from_numpy(problem.centre).to(where))
    mismatch = share * gap.square().sum() - information
    found = torch.cat([mismatch[None], by_mm.sum(dim=0), moment.ravel()]).numpy(force=True)
    return float(found[0]), found[1:4], found[4:].reshape(3, 3)


@functools.lru_cache(maxsize=KEPT)
def _points(target: Target, levels: int, where: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points (n, 3), their bins (n,), the same as ones among zeros (n, levels), outline (n,)."""
    import torch  # noqa: PLC0415 — seconds to import

    bins = torch.from_numpy(target.bins).to(where)
    fixed = torch.nn.functional.one_hot(bins, levels).double()
    return (
        torch.from_numpy(target.points).to(where), bins, fixed,
        torch.from_numpy(target.outline).to(where),
    )  # fmt: skip


@functools.lru_cache(maxsize=KEPT)
def _voxels(source: Source, where: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Values (i·j·k, 2), the last index (3,), steps (3,) and the eight corners of a cell (8,)."""
    import torch  # noqa: PLC0415 — seconds to import

    _, column, row = source.shape
    steps = np.array([column * row, row, 1])
    corners = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1) @ steps
    parts = source.values, np.array(source.shape) - 1, steps, corners.ravel()
    values, last, along, eight = (torch.from_numpy(part).to(where) for part in parts)
    return values.double(), last, along, eight


def _looked_up(source: Source, position: Tensor, where: str) -> tuple[Tensor, Tensor, Tensor]:
    """Trilinear values (n, 2), slopes by voxel (n, 2, 3) and weights (n,), see `lookup`."""
    import torch  # noqa: PLC0415 — seconds to import

    held, last, steps, eight = _voxels(source, where)
    weight = (torch.minimum(position, last - position) + 1).clamp(0, 1).amin(dim=1)
    inside = torch.minimum(position.clamp_min(0), last.double())
    low = torch.minimum(inside.long(), last - 1)
    cell = held[((low * steps).sum(dim=1)[:, None] + eight)].reshape(-1, 2, 2, 2, 2)
    x, y, z = (inside - low).T[:, :, None]  # (n, 1) each
    rise = cell[:, 1] - cell[:, 0]  # (n, y, z, 2)
    plane = cell[:, 0] + x[..., None, None] * rise
    slope_y = plane[:, 1] - plane[:, 0]  # (n, z, 2)
    edge = plane[:, 0] + y[..., None] * slope_y
    rise = rise[:, 0] + y[..., None] * (rise[:, 1] - rise[:, 0])
    slope_z = edge[:, 1] - edge[:, 0]  # (n, 2)
    slopes = torch.stack(
        [part[:, 0] + z * (part[:, 1] - part[:, 0]) for part in (rise, slope_y)] + [slope_z], dim=-1
    )
    slopes = slopes * (inside == position).all(dim=1)[:, None, None]
    return edge[:, 0] + z * slope_z, slopes, weight


def _information(
    bins: Tensor, fixed: Tensor, values: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Information in nats and its derivative (n,) by each value; `weight` sums to one."""
    import torch  # noqa: PLC0415 — seconds to import

    away = values[:, None] - torch.arange(fixed.shape[1], device=values.device)
    far = away.abs()
    near, wing = far < 1, (2 - far).clamp_min(0)
    window = torch.where(near, 2 / 3 - far**2 + far**3 / 2, wing**3 / 6)
    slope = torch.where(near, 1.5 * far**2 - 2 * far, -(wing**2) / 2) * away.sign()
    joint = fixed.T @ (window * weight[:, None])
    moving = joint.sum(dim=0, keepdim=True)
    tiny = 1e-12
    ratio = (joint + tiny) / (joint.sum(dim=1, keepdim=True) * moving + tiny)
    surprise = ((joint + tiny) / (moving + tiny)).log()
    return (joint * ratio.log()).sum(), (slope * surprise[bins]).sum(dim=1) * weight
