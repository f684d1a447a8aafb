"""The measures of feature robustness, against plain numpy and by hand."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepbrainprint.encoder.anatomy import from_labels  # noqa: E402
from deepbrainprint.encoder.lattice import Lattice  # noqa: E402
from deepbrainprint.encoder.robustness import (  # noqa: E402
    compared,
    feature_maps,
    l1,
    ms_ssim,
    robustness,
    scales_in,
    ssim,
)
from deepbrainprint.encoder.unet import UNet  # noqa: E402

COARSE = Lattice(10)
WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


def _maps(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand(*shape, generator=generator)
    return first, (first + 0.3 * torch.rand(*shape, generator=generator))


def _parts(first, second):
    """SSIM and its structural part of two numpy volumes in 0…1, window by window."""
    offset = np.arange(11) - 5
    line = np.exp(-(offset**2) / (2 * 1.5**2))
    window = np.einsum("a,b,c->abc", *[line / line.sum()] * 3)
    views = [np.lib.stride_tricks.sliding_window_view(v, (11, 11, 11)) for v in (first, second)]

    def mean(values):
        return (values * window).sum(axis=(-3, -2, -1))

    m1, m2 = (mean(v) for v in views)
    v1, v2 = (
        mean((v - m[..., None, None, None]) ** 2) for v, m in zip(views, (m1, m2), strict=True)
    )
    both = mean((views[0] - m1[..., None, None, None]) * (views[1] - m2[..., None, None, None]))
    structure = (2 * both + 0.03**2) / (v1 + v2 + 0.03**2)
    luminance = (2 * m1 * m2 + 0.01**2) / (m1**2 + m2**2 + 0.01**2)
    return (luminance * structure).mean(), structure.mean()


def _unit(channels):
    values = channels.double().numpy()
    return (values - values.min()) / (values.max() - values.min())


def test_l1_is_the_mean_absolute_difference():
    first = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert l1(first, torch.tensor([[[[1.0, 0.0], [3.0, 7.0]]]])) == pytest.approx(5 / 4)


def test_ssim_is_that_of_plain_numpy():
    first, second = _maps(2, 13, 12, 14)
    wanted = np.mean([_parts(a, b)[0] for a, b in zip(_unit(first), _unit(second), strict=True)])
    assert ssim(first, second) == pytest.approx(wanted, abs=1e-4)


def test_ssim_of_two_even_halves_is_known_by_hand():
    # one voxel of window: all 0 except a corner that lies in no other window
    first = torch.zeros(1, 11, 11, 11)
    first[0, 5, 5, 5] = 1
    second = 1 - first  # mean 1 − w, same variance, covariance −variance
    line = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    weight = 1 / line.sum() ** 3  # of the central voxel
    variance = weight - weight**2
    luminance = (2 * weight * (1 - weight) + 1e-4) / (weight**2 + (1 - weight) ** 2 + 1e-4)
    structure = (-2 * variance + 9e-4) / (2 * variance + 9e-4)
    assert ssim(first, second) == pytest.approx(luminance * structure, abs=1e-5)


def test_equal_maps_are_alike_whatever_their_scale():
    first, _ = _maps(3, 24, 24, 24)
    assert ssim(first, first * 5 - 2) == pytest.approx(1, abs=1e-4)
    assert ms_ssim(first, first * 5 - 2) == pytest.approx(1, abs=1e-4)
    assert compared(first, first) == pytest.approx({"l1": 0, "ssim": 1, "ms_ssim": 1}, abs=1e-4)


def test_ms_ssim_is_that_of_plain_numpy_with_an_odd_axis():
    first, _ = _maps(1, 24, 25, 26)
    second = first**6  # darker, so that luminance counts
    one, two = _unit(first)[0], _unit(second)[0]
    structure = _parts(one, two)[1]
    whole = _parts(_halved(one), _halved(two))[0]
    weights = WEIGHTS[:2] / WEIGHTS[:2].sum()
    wanted = structure ** weights[0] * whole ** weights[1]
    assert ms_ssim(first, second, scales=2) == pytest.approx(wanted, abs=1e-4)


def _halved(volume):
    padded = np.pad(volume, [(n % 2, n % 2) for n in volume.shape])
    x, y, z = (n // 2 for n in padded.shape)
    return padded[: 2 * x, : 2 * y, : 2 * z].reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5))


@pytest.mark.parametrize(
    ("shape", "scales"),
    [((161, 200, 200), 5), ((160, 200, 200), 4), ((56, 56, 64), 3), ((9, 9, 9), 1)],
)
def test_as_many_scales_are_taken_as_fit(shape, scales):
    assert scales_in(shape) == scales


def test_a_map_unlike_another_counts_as_unlike_at_every_scale():
    first, _ = _maps(2, 24, 24, 24)
    second, _ = _maps(2, 24, 24, 24, seed=1)
    assert ssim(first, second) < 0.1
    assert ms_ssim(first, second) < 0.2


@pytest.fixture(scope="module")
def anatomies():
    x, y, z = np.ogrid[:182, :218, :182]
    made = []
    for shift in (0, 14, -14):
        radius = np.sqrt(((x - 90) / 72) ** 2 + ((y - 108) / 90) ** 2 + ((z - 80) / 72) ** 2)
        hole = np.sqrt(((x - 90) / 25) ** 2 + ((y - 108 - shift) / 40) ** 2 + ((z - 85) / 20) ** 2)
        labels = np.select([hole < 1, radius < 0.7, radius < 0.95], [4, 2, 3], 0)
        made.append(from_labels(f"head {shift}", labels.astype(np.uint8)))
    return made


class _Outline(UNet):
    """A network whose features are where the brain is: the same in any contrast."""

    def features(self, volume):
        return (volume > 0.05).float().expand(-1, 8, -1, -1, -1)


def test_features_that_ignore_contrast_are_robust_and_raw_intensities_are_not(anatomies):
    class Raw(UNet):
        def features(self, volume):
            return volume.expand(-1, 8, -1, -1, -1)

    outline, raw = (
        robustness(network(16, 2, 8), anatomies, COARSE, torch.Generator().manual_seed(2))
        for network in (_Outline, Raw)
    )
    assert outline["intra_subject_ssim"] > raw["intra_subject_ssim"] + 0.1


def test_maps_of_two_shapes_are_brought_back_to_the_anatomy(anatomies):
    generator = torch.Generator().manual_seed(5)
    network = _Outline(16, 2, 8)
    first, second = (feature_maps(network, anatomies[0], COARSE, generator) for _ in range(2))
    assert l1(first.mild_back, second.mild_back) < 0.6 * l1(first.mild, second.mild)


def test_every_measure_is_reported_for_every_comparison(anatomies):
    generator = torch.Generator().manual_seed(0)
    report = robustness(UNet(16, 2, 8), anatomies[:2], COARSE, generator)
    assert set(report) == {
        "ms_ssim_scales",
        *(
            f"{which}_{measure}"
            for which in ("intra_subject", "intra_subject_deformed", "inter_subject")
            for measure in ("l1", "ssim", "ms_ssim")
        ),
    }
    assert all(np.isfinite(value) for value in report.values())
    again = robustness(UNet(16, 2, 8), anatomies[:1], COARSE, torch.Generator().manual_seed(0))
    assert "inter_subject_l1" not in again  # nobody to compare with
