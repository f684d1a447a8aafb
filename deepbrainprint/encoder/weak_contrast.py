"""Contrastive losses in which others are positives too, as far as they are alike.

y-Aware: Dufumier et al. 2021, arXiv 2106.08808. Threshold and exponential: Barbano et al. 2023,
arXiv 2211.08326. With s_ij = z_i·z_j / τ of unit vectors and w_ij in 0…1 how alike i and j are,
each is the mean over anchors i of

    −τ/τ₀ · Σ_{j≠i} w_ij (s_ij − log D_ij) / Σ_{j≠i} w_ij

with another D: y-Aware Σ_{k≠i} e^{s_ik}; threshold the same over those k that are less alike to i
than j is; exponential Σ_{k≠i} e^{s_ik (1 − w_ik)}. AnatCL (arXiv 2408.07079) takes w from anatomy.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

BASE_TEMPERATURE = 0.07  # τ₀
NOBODY = -1e6  # logit of who takes no part; infinity would leave gradients undefined

Kernel = Literal["rbf", "cauchy", "gaussian"]
Loss = Literal["y_aware", "threshold", "exponential"]


def kernel(squared: Tensor, kind: Kernel, width: float) -> Tensor:
    """How alike two things at a squared distance are: 1 when they are the same.

    rbf e^{−d²/2σ²}; cauchy 1 / (σ d² + 1); gaussian the normal density, which is the rbf divided
    by σ√2π and so may exceed 1 where σ is small.
    """
    if kind == "cauchy":
        return 1 / (width * squared + 1)
    alike = torch.exp(-squared / (2 * width**2))
    return alike if kind == "rbf" else alike / (width * (2 * torch.pi) ** 0.5)


def weak_contrast(vectors: Tensor, alike: Tensor, *, kind: Loss, temperature: float) -> Tensor:
    """The loss of unit vectors (N, D), `alike` (N, N) being their w.

    A positive with nobody in its crowd, as the least alike one of the threshold loss, is left out.
    """
    itself = torch.eye(len(vectors), dtype=torch.bool)
    logits = vectors @ vectors.T / temperature
    crowd = _crowd(logits.masked_fill(itself, NOBODY), alike, kind)
    weights = alike.masked_fill(itself | (crowd < NOBODY / 2), 0)
    mean = (weights * (logits - crowd)).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
    return -(temperature / BASE_TEMPERATURE) * mean.mean()


def _crowd(logits: Tensor, alike: Tensor, kind: Loss) -> Tensor:
    """Logarithm of D, (N, 1) or (N, N)."""
    if kind == "y_aware":
        return logits.logsumexp(dim=1, keepdim=True)
    if kind == "exponential":
        itself = torch.eye(len(alike), dtype=torch.bool)
        return (logits * (1 - alike).masked_fill(itself, 1)).logsumexp(dim=1, keepdim=True)
    less = alike[:, None, :] < alike[:, :, None]  # (i, j, k): k is less alike to i than j is
    return torch.where(less, logits[:, None, :], NOBODY).logsumexp(dim=2)
