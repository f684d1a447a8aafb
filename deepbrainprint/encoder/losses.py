"""DeepBrainPrint's two branches and how they are mixed (arXiv 2302.13057 and its code).

Barlow Twins: Zbontar et al. 2021, arXiv 2103.03230, equation 1.
NT-Xent: Chen et al. 2020, arXiv 2002.05709, equation 1, on mined triplets.
"""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor


def barlow_twins(first: Tensor, second: Tensor, *, redundancy: float) -> Tensor:
    """Σ_i (C_ii − 1)² + λ Σ_{i≠j} C_ij², C the (D, D) cross-correlation of two views (B, D)."""
    correlation = _whiten(first).T @ _whiten(second) / len(first)
    squared = correlation**2
    diagonal = correlation.diagonal()
    off_diagonal = squared.sum() - (diagonal**2).sum()
    return ((diagonal - 1) ** 2).sum() + redundancy * off_diagonal


def _whiten(batch: Tensor) -> Tensor:
    centred = batch - batch.mean(dim=0)
    return centred / (centred.var(dim=0, unbiased=False) + 1e-5).sqrt()  # BatchNorm's ε


def mine(similarity: Tensor, people: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Anchors, easiest positives and semi-hard negatives as index vectors.

    similarity: (B, B); people: (B,) labels. The positive is the most similar scan of the same
    person; the negative is the most similar scan of another person that is less similar than
    that positive. Anchors that lack either are left out.
    """
    same = people[:, None] == people[None, :]
    itself = torch.eye(len(people), dtype=torch.bool)
    nearest, positive = similarity.masked_fill(~same | itself, -torch.inf).max(dim=1)
    unfit = same | (similarity >= nearest[:, None])
    hardest, negative = similarity.masked_fill(unfit, -torch.inf).max(dim=1)
    anchors = torch.nonzero((nearest > -torch.inf) & (hardest > -torch.inf))[:, 0]
    return anchors, positive[anchors], negative[anchors]


def nt_xent_mined(vectors: Tensor, people: Tensor, *, temperature: float) -> Tensor:
    """Mean over mined triplets of −log( e^{s_ap/τ} / (e^{s_ap/τ} + e^{s_an/τ}) ).

    vectors: (B, D), s is cosine. 0 where no triplet can be mined.
    """
    unit = nnf.normalize(vectors, dim=1)
    similarity = unit @ unit.T
    anchors, positive, negative = mine(similarity.detach(), people)
    if len(anchors) == 0:
        return vectors.sum() * 0
    gap = similarity[anchors, negative] - similarity[anchors, positive]
    return nnf.softplus(gap / temperature).mean()


def nt_xent_all(vectors: Tensor, people: Tensor, *, temperature: float) -> Tensor:
    """NT-Xent with every scan of another person as a negative; mean over ordered positive pairs.

    vectors: (B, D), s is cosine: −log( e^{s_ap/τ} / (e^{s_ap/τ} + Σ_n e^{s_an/τ}) ).
    """
    unit = nnf.normalize(vectors, dim=1)
    logits = unit @ unit.T / temperature
    same = people[:, None] == people[None, :]
    crowd = logits.masked_fill(same, -torch.inf).logsumexp(dim=1, keepdim=True)
    positive = same & ~torch.eye(len(people), dtype=torch.bool)
    return nnf.softplus(crowd - logits)[positive].mean()


def mix(self_supervised: Tensor, contrastive: Tensor, *, beta: float, weight: float) -> Tensor:
    """β(t)·L_BT + (1 − β(t))·10⁴·L_NT, `weight` being the 10⁴."""
    return beta * self_supervised + (1 - beta) * weight * contrastive


def beta(kind: str, elapsed: float) -> float:
    """β for the elapsed share t/H of the run: `linear` 1 − t/H, one `step` down half way, or ½."""
    elapsed = min(max(elapsed, 0.0), 1.0)
    return {"linear": 1.0 - elapsed, "step": float(elapsed < 0.5), "constant": 0.5}[kind]
