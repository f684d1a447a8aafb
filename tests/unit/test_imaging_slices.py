from __future__ import annotations

import numpy as np
import pytest

from deepbrainprint.imaging import slices, template


@pytest.fixture
def brain():
    return template.reference().data.astype(np.uint8)


def test_the_grid_covers_the_usual_box_of_the_world():
    low, high = template.affine()[:3, 3], template.affine() @ [181, 217, 181, 1]
    assert template.reference().data.shape == (182, 218, 182)
    assert low.tolist() == [-91, -126, -72]
    assert high[:3].tolist() == [90, 91, 109]


def test_the_template_is_symmetric_about_the_middle_of_the_head():
    data = template.reference().data
    left, right = data[1:91], data[92:182][::-1]  # x = −90…−1 and 90…1 mm
    assert np.corrcoef(left.ravel(), right.ravel())[0, 1] > 0.99


def test_the_templates_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        template.reference().data[0, 0, 0] = 1


def test_axial_planes_come_in_the_order_asked_for(brain):
    planes = slices.axial(brain, [100, 90])
    assert planes.shape == (2, 182, 218)
    assert np.array_equal(planes[1], brain[:, :, 90])


def test_a_brain_off_the_grid_has_no_planes():
    with pytest.raises(ValueError, match="on the grid"):
        slices.axial(np.zeros((8, 8, 8), np.uint8), [4])


def test_the_ventricle_plane_shows_dark_ventricles_beside_the_midline(brain):
    plane = slices.axial(brain, [slices.VENTRICLE_Z])[0]
    middle = plane[91 - 25 : 91 + 26, 85:150]
    dark = (middle < 100).sum()
    assert dark > 500  # mm²
    assert (plane[[40, 141], 100:130] > 100).all()
