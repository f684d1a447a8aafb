from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

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


def test_pictures_show_the_patients_right_at_the_left(brain, tmp_path):
    brain[120:160, :, :] = 255  # x > 0: right
    slices.ventricle_picture(brain, tmp_path / "ventricles.png")
    picture = np.asarray(Image.open(tmp_path / "ventricles.png"))
    assert picture.shape == (218, 182)
    assert picture[:, 22:62].mean() > 250
    assert picture[:, 120:160].mean() < 200


def test_sagittal_pictures_show_the_front_at_the_left_and_the_top_above(brain, tmp_path):
    brain[:] = 0
    brain[:, 180:, 150:] = 255
    slices.mosaic(brain, tmp_path / "mosaic.png")
    sheet = np.asarray(Image.open(tmp_path / "mosaic.png"))
    sagittal = sheet[-182:, :218]
    assert sagittal[:30, :36].mean() > 200
    assert sagittal[60:150, 60:].mean() < 5


def test_a_comparison_stacks_two_brains(brain, tmp_path):
    slices.compare_picture(brain, brain, tmp_path / "sub" / "pair.png")
    assert Image.open(tmp_path / "sub" / "pair.png").size == (182 * 2 + 218, 218 * 2)
