"""LARS against the same written in plain numpy, and its published rates."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from deepbrainprint.encoder import lars


def test_three_steps_are_those_of_a_plain_reference():
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    optimiser = lars.Lars(lars.groups(layer, batch=64), momentum=0.9)
    for group in optimiser.param_groups:
        group["lr"] = group["full_rate"]
    held = {"weight": layer.weight.detach().numpy().copy(), "bias": layer.bias.detach().numpy()}
    held["bias"] = held["bias"].copy()
    speed = {name: np.zeros_like(value) for name, value in held.items()}
    given = torch.tensor([[1.0, -2.0, 0.5], [0.2, 0.1, 3.0]])
    for _ in range(3):
        optimiser.zero_grad()
        layer(given).square().sum().backward()
        slopes = {"weight": layer.weight.grad.numpy(), "bias": layer.bias.grad.numpy()}
        for name, slope in slopes.items():
            step = slope.copy()
            if name == "weight":
                step = step + 1e-6 * held[name]
                step *= 0.001 * np.linalg.norm(held[name]) / np.linalg.norm(step)
            speed[name] = 0.9 * speed[name] + step
            held[name] = held[name] - (0.05 if name == "weight" else 0.0012) * speed[name]
        optimiser.step()
    assert np.allclose(layer.weight.detach(), held["weight"], atol=1e-7)
    assert np.allclose(layer.bias.detach(), held["bias"], atol=1e-7)


def test_a_weight_of_zeros_still_moves():
    parameter = nn.Parameter(torch.zeros(2, 2))
    optimiser = lars.Lars([{"params": [parameter], "lr": 0.1}])
    parameter.sum().backward()
    optimiser.step()
    assert torch.allclose(parameter, torch.full((2, 2), -0.1))


def test_the_published_rates_at_the_published_batch():
    weights, others = lars.groups(nn.Linear(3, 2), batch=64)
    assert weights["full_rate"] == pytest.approx(0.05)
    assert others["full_rate"] == pytest.approx(0.0012)


def test_the_schedule_warms_up_and_falls_to_a_thousandth():
    shares = [lars.rate(step / 180, 10 / 180) for step in range(181)]
    assert shares[0] == 0
    assert shares[5] == pytest.approx(0.5)
    assert max(shares) == shares[10] == pytest.approx(1)
    assert shares[95] == pytest.approx(0.5005, abs=0.001)
    assert shares[-1] == pytest.approx(0.001)
    assert all(a >= b for a, b in pairwise(shares[10:]))


def test_frozen_layers_are_left_out():
    layer = nn.Linear(3, 2)
    layer.weight.requires_grad_(False)
    weights, others = lars.groups(layer, batch=256)
    assert weights["params"] == []
    assert len(others["params"]) == 1
