"""LARS, as Barlow Twins and after it DeepBrainPrint use it (You et al. 2017, arXiv 1708.03888).

Each weight's step is scaled by the ratio of its norm to that of its gradient, so that no layer
moves much faster than another at a high learning rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import cos, pi
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

REFERENCE_BATCH = 256  # for which rates are given; others scale with the batch
WEIGHTS_RATE, OTHERS_RATE = 0.2, 0.0048
LAST = 0.001  # share of the rate at the end of the run


class Lars(Optimizer):
    """Momentum with a rate for each weight; biases and norms neither decay nor are scaled."""

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        momentum: float = 0.9,
        trust: float = 0.001,
        weight_decay: float = 1e-6,
    ) -> None:
        defaults = {"momentum": momentum, "trust": trust, "weight_decay": weight_decay}
        super().__init__(groups, {"lr": 0.0} | defaults)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every parameter that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)
        return loss

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        step = parameter.grad
        if step is None:
            return
        if parameter.ndim > 1:
            step = step + group["weight_decay"] * parameter
            size, pull = parameter.norm(), step.norm()
            ratio = group["trust"] * size / pull
            step = step * torch.where((size > 0) & (pull > 0), ratio, torch.ones_like(ratio))
        state = self.state[parameter]
        speed = state.setdefault("speed", torch.zeros_like(parameter))
        speed.mul_(group["momentum"]).add_(step)
        parameter.sub_(group["lr"] * speed)


def groups(module: nn.Module, batch: int) -> list[dict[str, Any]]:
    """Return the published rates for a batch: weights 0.2, biases and norms 0.0048, of 256."""
    free = [p for p in module.parameters() if p.requires_grad]
    share = batch / REFERENCE_BATCH
    return [
        {"params": [p for p in free if p.ndim > 1], "full_rate": WEIGHTS_RATE * share},
        {"params": [p for p in free if p.ndim <= 1], "full_rate": OTHERS_RATE * share},
    ]


def rate(elapsed: float, warmup: float) -> float:
    """Return the share of the full rate: linear warm-up, then a cosine down to 0.001.

    `elapsed` and `warmup` are shares of the run.
    """
    if elapsed < warmup:
        return elapsed / warmup
    falling = (1 + cos(pi * min((elapsed - warmup) / (1 - warmup), 1.0))) / 2
    return falling + (1 - falling) * LAST
