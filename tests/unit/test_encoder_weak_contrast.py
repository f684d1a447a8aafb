"""Weakly contrastive losses, against plain numpy and against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepbrainprint.encoder.weak_contrast import kernel, weak_contrast  # noqa: E402

KINDS = ["y_aware", "threshold", "exponential"]


def _unit(seed, people=7, length=5):
    drawn = np.random.default_rng(seed).normal(size=(people, length))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def _alike(seed, people=7):
    years = np.random.default_rng(seed).uniform(20, 80, people)
    return np.exp(-((years[:, None] - years[None]) ** 2) / (2 * 15**2))


def _denominator(s, w, i, j, kind):
    others = [k for k in range(len(s)) if k != i]
    if kind == "y_aware":
        return sum(np.exp(s[i, k]) for k in others)
    if kind == "exponential":
        return sum(np.exp(s[i, k] * (1 - w[i, k])) for k in others)
    return sum(np.exp(s[i, k]) for k in others if w[i, k] < w[i, j])


def _numpy_loss(z, w, kind, temperature):
    s, anchors = z @ z.T / temperature, []
    for i in range(len(z)):
        total, weight = 0.0, 0.0
        for j in range(len(z)):
            below = 0 if j == i else _denominator(s, w, i, j, kind)
            if below > 0:
                total += w[i, j] * (s[i, j] - np.log(below))
                weight += w[i, j]
        anchors.append(total / weight)
    return -temperature / 0.07 * np.mean(anchors)


def _ours(z, w, kind, temperature=0.1):
    z, w = torch.tensor(z, dtype=torch.float32), torch.tensor(w, dtype=torch.float32)
    return weak_contrast(z, w, kind=kind, temperature=temperature).item()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_a_loss_equals_its_sums_written_out(kind, temperature):
    z, w = _unit(1), _alike(2)
    assert _ours(z, w, kind, temperature) == pytest.approx(
        _numpy_loss(z, w, kind, temperature), rel=1e-4
    )


def test_y_aware_by_hand():
    # 0 and 1 are one person, 2 another; from 0: its twin at s = 1, the other at s = 0.
    # 2 has nobody alike and counts as 0
    z = np.array([[1.0, 0], [1, 0], [0, 1]])
    w = np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])
    expected = (np.log(np.e + 1) - 1) * 2 / 3 / 0.07
    assert _ours(z, w, "y_aware", 1.0) == pytest.approx(expected, rel=1e-5)


def test_the_exponential_loss_does_not_push_away_who_is_fully_alike_by_hand():
    # the twin's term in the denominator is e^{1·(1 − 1)} = 1, the other's e^0 = 1: log 2
    z = np.array([[1.0, 0], [1, 0], [0, 1]])
    w = np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])
    expected = (np.log(2) - 1) * 2 / 3 / 0.07
    assert _ours(z, w, "exponential", 1.0) == pytest.approx(expected, rel=1e-5)


def test_the_threshold_loss_has_only_the_less_alike_in_the_denominator_by_hand():
    # anchor 0: 1 (w ½, s ½) against 2 (w ¼, s 0); 2 is the least alike and has no crowd
    z = np.array([[1.0, 0], [0.5, np.sqrt(0.75)], [0, 1]])
    w = np.array([[1, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 1]])
    s12 = np.sqrt(0.75)
    # anchor 1: 0 and 2 are equally alike: nobody is less, so it counts as 0; anchor 2 as anchor 0
    first, third = np.log(np.exp(0)) - 0.5, np.log(np.exp(0)) - s12
    assert _ours(z, w, "threshold", 1.0) == pytest.approx((first + third) / 3 / 0.07, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_and_pull_the_alike_together(kind):
    z = torch.tensor(_unit(3), dtype=torch.float32, requires_grad=True)
    w = torch.full((7, 7), 0.01)
    w[0, 1] = w[1, 0] = 1.0
    weak_contrast(z, w, kind=kind, temperature=0.1).backward()
    assert torch.isfinite(z.grad).all()
    assert (z.grad[0] @ z[1]).item() < 0  # a step down the slope raises z_0·z_1


def test_kernels_by_hand():
    squared = torch.tensor([0.0, 4.0])
    assert kernel(squared, "rbf", 2.0).tolist() == pytest.approx([1, np.exp(-0.5)])
    assert kernel(squared, "cauchy", 2.0).tolist() == pytest.approx([1, 1 / 9])
    peak = 1 / (2 * np.sqrt(2 * np.pi))
    assert kernel(squared, "gaussian", 2.0).tolist() == pytest.approx([peak, peak * np.exp(-0.5)])
