"""Shading of the receive coil, put on a known brain and taken off again."""

from __future__ import annotations

import numpy as np
import pytest

from deepbrainprint.imaging import shading, template

X, Y, Z = (axis / 100 - 1 for axis in np.indices(template.SHAPE, dtype=np.float32))
COIL = np.exp(0.3 * X - 0.25 * Y * Z + 0.2 * Z**2).astype(np.float32)


def unevenness(data, truth):
    """Standard deviation of the logarithm of what is left of the shading."""
    inside = template.mask() & (truth > 20)
    return float(np.log(data[inside] / truth[inside]).std())


@pytest.mark.parametrize("contrast", ["as the template", "inverted"])
def test_shading_goes_and_tissue_stays(contrast):
    brain = template.reference().data
    truth = (brain if contrast == "as the template" else 300 - brain) * template.mask()
    even, steepness = shading.evened(truth * COIL, template.mask())
    assert unevenness(truth * COIL, truth) > 0.1
    assert unevenness(even, truth) < 0.03
    assert steepness == pytest.approx(unevenness(truth * COIL, truth), rel=0.2)


def test_a_brain_without_shading_is_left_as_it_is():
    truth = template.reference().data * template.mask()
    even, steepness = shading.evened(truth, template.mask())
    assert unevenness(even, truth) < 0.02
    assert steepness < 0.02


def test_a_bright_lesion_is_no_shading():
    truth = template.reference().data * template.mask()
    lesion = ((X + 0.4) ** 2 + (Y + 0.1) ** 2 + (Z + 0.1) ** 2) < 0.2**2
    truth[lesion & template.mask()] = 400
    even, _ = shading.evened(truth, template.mask())
    assert unevenness(even, truth) < 0.06


def test_too_little_of_a_brain_is_left_alone():
    few = template.mask().copy()
    few[:, :, 60:] = False
    few[:, 70:] = False
    data = template.reference().data * few
    even, steepness = shading.evened(data, few)
    assert steepness == 0
    assert np.array_equal(even, data)
