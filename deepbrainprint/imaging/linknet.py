"""The network that deepbet's weights belong to: a 3-D LinkNet of 1.2 million weights.

An 18-layer residual encoder and a light decoder whose stages are added to the encoder's (Chaurasia
and Culurciello, VCIP 2017). Every normalisation is over one channel of one image. What the network
computes is that of the shipped TorchScript; what is saved are passes over the largest arrays: the
normalisation after the first convolution moves behind the pooling, which keeps order; and
instead of two channels and their softmax only the sign of their difference is computed.

Arrays are (1, channel, i, j, k). Imported late, since torch takes seconds to import.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

Weights = Mapping[str, Tensor]

TINY = 1e-5
PAD = 12  # empty channels that let a convolution over four take the fast path for sixteen


def prepared(weights: Weights) -> dict[str, Tensor]:
    """Return the weights of a LinkNet as `foreground` wants them."""
    made = dict(weights)
    turned = made.pop("up3.tp_conv.0.weight").flip(2, 3, 4).transpose(0, 1)
    made["up3.padded"] = functional.pad(turned, (0, 0, 0, 0, 0, 0, 0, PAD, 0, PAD))
    both = made.pop("tp_conv2.weight")  # (8, 2, 2, 2, 2): last step up, background and brain
    made["last.weight"] = (both[:, 1] - both[:, 0]).flatten(1).contiguous()
    made["last.bias"] = made.pop("tp_conv2.bias").diff().neg()
    for name in ("tp_conv1.0.weight", "conv.0.weight"):
        made[name] = made[name].contiguous(memory_format=torch.channels_last_3d)
    return made


def foreground(weights: Weights, image: Tensor) -> Tensor:
    """Return where the brain is, bool (i, j, k), in `image` (1, 1, i, j, k), multiples of 32."""
    wide = functional.conv3d(image, weights["init.0.weight"], stride=2, padding=3)
    mean, gain = moments(wide)
    first = pooled(wide).sub_(mean).mul_(gain).relu_()
    del wide
    second = _down(weights, "down0", first, 1)
    third = _down(weights, "down1", second, 2)
    fourth = _down(weights, "down2", third, 2)
    found = _up(weights, "up0", _down(weights, "down3", fourth, 2)).add_(fourth)
    found = _up(weights, "up1", found).add_(third)
    found = _up(weights, "up2", found).add_(second)
    found = _level(weights, found).add_(first)
    return _decided(weights, found)


def normal(data: Tensor) -> Tensor:
    """Give every channel mean 0 and variance 1, in place."""
    mean, gain = moments(data)
    return data.sub_(mean).mul_(gain)


def moments(data: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and 1 / standard deviation of every channel, each (1, channel, 1, 1, 1).

    Summed plane by plane and then in double precision: one float32 sum over 16 million voxels
    would move the mask's edge.
    """
    count = data[0, 0].numel()
    planes = torch.linalg.vector_norm(data, dim=(3, 4)).double().square()
    mean = data.mean((3, 4)).double().mean(2)
    variance = (planes.sum(2) / count - mean.square()).clamp_min_(0)
    gain = (variance + TINY).rsqrt()
    return mean[..., None, None, None].float(), gain[..., None, None, None].float()


def pooled(data: Tensor) -> Tensor:
    """Largest of every 3×3×3 voxels, every other one along each axis of even length."""
    for axis in (2, 3, 4):
        lead = (slice(None),) * axis
        even, odd = data[(*lead, slice(0, None, 2))], data[(*lead, slice(1, None, 2))]
        data = torch.maximum(even, odd)
        later = data.narrow(axis, 1, data.shape[axis] - 1)
        torch.maximum(later, odd.narrow(axis, 0, later.shape[axis]), out=later)
    return data


def _down(weights: Weights, name: str, data: Tensor, stride: int) -> Tensor:
    """Two residual blocks, the first with `stride`."""
    return _block(weights, f"{name}.block2", _block(weights, f"{name}.block1", data, stride), 1)


def _block(weights: Weights, name: str, data: Tensor, stride: int) -> Tensor:
    first, second = (weights[f"{name}.double_conv.{n}.weight"] for n in (0, 3))
    inner = normal(functional.conv3d(data, first, stride=stride, padding=1)).relu_()
    inner = normal(functional.conv3d(inner, second, padding=1))
    shortcut = weights.get(f"{name}.downsample.0.weight")
    if shortcut is not None:
        data = normal(functional.conv3d(data, shortcut, stride=stride))
    return inner.add_(data).relu_()


def _up(weights: Weights, name: str, data: Tensor) -> Tensor:
    """Twice the samples along each axis, through a bottleneck."""
    narrow = _mixed(weights, f"{name}.conv1", data)
    kernel = weights[f"{name}.tp_conv.0.weight"]
    raised = functional.conv_transpose3d(narrow, kernel, stride=2, padding=1, output_padding=1)
    return _mixed(weights, f"{name}.conv2", normal(raised).relu_())


def _level(weights: Weights, data: Tensor) -> Tensor:
    """As `_up`, without more samples: its transposed convolution is a plain one, turned round."""
    narrow = _mixed(weights, "up3.conv1", data)
    padded = functional.pad(narrow, (0, 0, 0, 0, 0, 0, 0, PAD))
    turned = functional.conv3d(padded, weights["up3.padded"], padding=1)
    return _mixed(weights, "up3.conv2", normal(turned[:, :-PAD].contiguous()).relu_())


def _mixed(weights: Weights, name: str, data: Tensor) -> Tensor:
    """Mix the channels of each voxel."""
    return normal(functional.conv3d(data, weights[f"{name}.0.weight"])).relu_()


def _decided(weights: Weights, data: Tensor) -> Tensor:
    """Four times the samples along each axis, then brain or not."""
    data = data.contiguous(memory_format=torch.channels_last_3d)  # twice as fast for 8 channels
    kernel, bias = weights["tp_conv1.0.weight"], weights["tp_conv1.0.bias"]
    raised = functional.conv_transpose3d(data, kernel, bias, stride=2, padding=1, output_padding=1)
    raised = normal(raised).relu_()
    kernel, bias = weights["conv.0.weight"], weights["conv.0.bias"]
    raised = normal(functional.conv3d(raised, kernel, bias, padding=1)).relu_()
    x, y, z = raised.shape[2:]
    rows = raised.permute(0, 2, 3, 4, 1).reshape(-1, raised.shape[1])
    brain = torch.mm(rows, weights["last.weight"]) > weights["last.bias"]  # 2×2×2 for each voxel
    return brain.reshape(x, y, z, 2, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(2 * x, 2 * y, 2 * z)
