"""Pictures are the right way round, at the right size, and hold nothing but pixels."""

from __future__ import annotations

import itertools
import struct

import nibabel as nib
import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from deepbrainprint.imaging import drawing, pictures, template
from deepbrainprint.imaging.drawing import AMBER, MARGIN, SKY
from deepbrainprint.imaging.views import Direction, tilt, upright
from deepbrainprint.records import Volume

BRIGHT = 200
STORED = ["RAS", "LAS", "LPS", "ASR", "PIR", "SLA", "IRP"]  # LPS is DICOM's, LAS many a NIfTI's


@pytest.fixture
def brain():
    return template.reference().data.astype(np.uint8)


def block(shape, mm, low, high):
    """A volume about the origin of RAS, bright between two corners in mm."""
    affine = np.diag([*mm, 1.0])
    affine[:3, 3] = -np.multiply(mm, np.array(shape) - 1) / 2
    index = np.indices(shape, dtype=np.float32)
    inside = np.ones(shape, bool)
    for axis in range(3):
        place = index[axis] * mm[axis] + affine[axis, 3]
        inside &= (place >= low[axis]) & (place <= high[axis])
    return Volume(np.where(inside, 1000, 10).astype(np.float32), affine), inside


def stored(volume, axes):
    """The same scan with its voxels in another order."""
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(volume.affine), nib.orientations.axcodes2ornt(axes)
    )
    data = nib.apply_orientation(volume.data, turn)
    return Volume(data, volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.data.shape))


def letter(image, side):
    """Which of the letters is drawn at a side of a panel."""
    width, height = image.size
    middle = {
        "left": (MARGIN // 2, height // 2),
        "right": (width - MARGIN // 2, height // 2),
        "top": (width // 2, MARGIN // 2),
        "bottom": (width // 2, height - MARGIN // 2),
    }[side]

    def around(picture, centre):
        return np.asarray(picture.convert("L").crop((centre[0] - 8, centre[1] - 8, centre[0] + 8, centre[1] + 8)), float)  # fmt: skip

    def drawn(name):
        blank = Image.new("RGB", (40, 40))
        ImageDraw.Draw(blank).text(
            (20, 20), name, fill=drawing.INK, font=drawing.font(13), anchor="mm"
        )
        return around(blank, (20, 20))

    found = around(image, middle)
    assert found.max() > 100
    return min("RLAPSI", key=lambda name: np.abs(found - drawn(name)).sum())


def bright_side(image):
    """Towards which sides of a panel the bright block lies."""
    inner = np.asarray(image.convert("L"))[MARGIN:-MARGIN, MARGIN:-MARGIN] > BRIGHT
    down, across = ndimage.center_of_mass(inner)
    return (
        "left" if across < inner.shape[1] / 2 else "right",
        "top" if down < inner.shape[0] / 2 else "bottom",
    )


@pytest.mark.parametrize("axes", STORED)
@pytest.mark.parametrize("corner", list(itertools.product((-1, 1), repeat=3)))
def test_the_letters_say_where_a_block_in_a_corner_of_the_head_lies(axes, corner):
    low = [10 if sign > 0 else -40 for sign in corner]
    scan, _ = block((60, 70, 30), (2.0, 2.0, 4.0), low, [edge + 30 for edge in low])
    patient = {"RL": corner[0], "AP": corner[1], "SI": corner[2]}
    where = {pair[0] if sign > 0 else pair[1] for pair, sign in patient.items()}
    turned = upright(stored(scan, axes))
    for direction in Direction:
        size = turned.data.shape[direction]
        index = round((size - 1) / 2 + corner[direction] * 25 / turned.mm[direction])
        panel = drawing.panel(turned.view(direction, index), 1.5)
        letters = {side: letter(panel, side) for side in ("left", "right", "top", "bottom")}
        assert {letters[side] for side in bright_side(panel)} <= where
        expected = {0: ("A", "P", "S", "I"), 1: ("R", "L", "S", "I"), 2: ("R", "L", "A", "P")}
        assert tuple(letters.values()) == expected[direction]  # radiological


def test_a_cube_is_a_square_however_thick_the_slices_are():
    scan, _ = block((200, 200, 40), (1.0, 1.0, 5.0), (-50, -50, -50), (50, 50, 50))
    turned = upright(scan)
    for direction in Direction:
        panel = drawing.panel(turned.view(direction, turned.data.shape[direction] // 2), 2.0)
        rows, columns = np.where(np.asarray(panel)[MARGIN:-MARGIN, MARGIN:-MARGIN, 0] > 128)
        edges = np.ptp(rows) / 2.0, np.ptp(columns) / 2.0
        assert edges == pytest.approx((100, 100), abs=6)  # mm; a slice is 5


@pytest.mark.parametrize("per_mm", [0.9, 1.5, 2.0])
def test_the_scale_bar_is_as_long_as_what_measures_50_mm(per_mm):
    scan, inside = block((160, 160, 160), (1.0, 1.0, 1.0), (-25, -25, -25), (24.5, 24.5, 24.5))
    picture = np.asarray(pictures.native(scan, inside, per_mm=per_mm, few=True))
    foot, above = picture[-40:], picture[MARGIN:-40]
    bar = (foot[9, :, 0] > 200) & (foot[8, :, 0] > 200) & (foot[10, :, 0] > 200)
    length = int(ndimage.label(bar)[0].tolist().count(1))
    first = above[:, : round(160 * per_mm) + MARGIN]
    line = np.flatnonzero((first == AMBER).all(axis=2).any(axis=0))
    assert length == round(50 * per_mm)
    assert np.ptp(line) + 1 == pytest.approx(length, abs=2)


def test_the_line_runs_along_the_edge_of_the_mask_and_nowhere_else():
    scan, inside = block((100, 100, 20), (1.0, 1.0, 5.0), (-20, -30, -25), (20, 30, 25))
    turned = upright(scan, inside)
    panel = np.asarray(drawing.panel(turned.view(Direction.AXIAL, 10), 2.0))
    line = (panel[MARGIN:-MARGIN, MARGIN:-MARGIN] == AMBER).all(axis=2)
    rows, columns = np.where(line)
    filled = np.flatnonzero(inside.any(axis=(1, 2))), np.flatnonzero(inside.any(axis=(0, 2)))
    assert (columns.min(), columns.max() + 1) == (2 * (99 - filled[0].max()), 2 * (100 - filled[0].min()))  # fmt: skip
    assert (rows.min(), rows.max() + 1) == (2 * (99 - filled[1].max()), 2 * (100 - filled[1].min()))
    assert line.sum() == 2 * (np.ptp(rows) + np.ptp(columns))  # one pixel thin


def test_no_face_is_shown_but_the_skin_over_the_brain_is():
    scan, inside = block((200, 200, 200), (1.0, 1.0, 1.0), (-40, -40, -40), (40, 40, 40))
    data = scan.data.copy()
    data[100, 100 + 40 + 12, 100] = data[100, 100 + 40 + 35, 100] = 900  # skin, nose
    turned = upright(Volume(data, scan.affine), inside)
    view = turned.at(Direction.SAGITTAL, 0.5).without_face()
    front = view.pixels[99, :60]  # the front is at the left
    assert front[30:].max() > 150
    assert front[:30].max() == 0
    hidden = np.asarray(pictures.native(Volume(data, scan.affine), inside, few=True))
    shown = np.asarray(pictures.native(Volume(data, scan.affine), None, few=True))
    assert shown.shape[1] < hidden.shape[1]  # without a mask there is no sagittal view


def test_aligned_brains_are_outlined_by_the_standard_brain(brain):
    shifted = np.roll(brain, 20, axis=0)  # to the patient's right
    picture = np.asarray(pictures.aligned(shifted, per_mm=1.0, few=True))[:, : 182 + 2 * MARGIN]
    line = np.flatnonzero((picture == SKY).all(axis=2).any(axis=0))
    bright = np.flatnonzero((picture[MARGIN : MARGIN + 218, MARGIN:-MARGIN, 0] > 150).any(axis=0))
    assert line.mean() > bright.mean() + MARGIN + 15


def test_pictures_show_the_patients_right_at_the_left(brain, tmp_path):
    brain[120:160, :, :] = 255  # x > 0: right
    pictures.ventricle_picture(brain, tmp_path / "ventricles.png")
    picture = np.asarray(Image.open(tmp_path / "ventricles.png"))[MARGIN : MARGIN + 436, MARGIN:]
    assert picture[:, 44:122].mean() > 250
    assert picture[:, 240:320].mean() < 200


def test_a_mosaic_has_rows_of_axial_coronal_and_sagittal_planes(brain, tmp_path):
    pictures.mosaic(brain, tmp_path / "mosaic.png")
    picture = Image.open(tmp_path / "mosaic.png")
    rows = (436, 364, 364)
    assert picture.size == (4 * (364 + 2 * MARGIN), sum(rows) + 6 * MARGIN + 40)


def test_a_comparison_stacks_two_brains(brain, tmp_path):
    pictures.compare_picture(brain, brain, tmp_path / "sub" / "pair.png")
    picture = np.asarray(Image.open(tmp_path / "sub" / "pair.png"))
    half = (picture.shape[0] - 40) // 2
    assert np.array_equal(picture[:half], picture[half : 2 * half])


def test_a_png_holds_pixels_and_no_text(brain, tmp_path):
    pictures.ventricle_picture(brain, tmp_path / "ventricles.png")
    assert chunks((tmp_path / "ventricles.png").read_bytes()) == {b"IHDR", b"IDAT", b"IEND"}
    assert [path.name for path in tmp_path.iterdir()] == ["ventricles.png"]


def chunks(content):
    found, place = set(), 8
    while place < len(content):
        length, kind = struct.unpack(">L4s", content[place : place + 8])
        found.add(kind)
        place += length + 12
    return found


def test_the_tilt_is_the_angle_to_the_patients_axes():
    turn = np.radians(7)
    affine = np.eye(4)
    affine[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    assert tilt(affine @ np.diag([1.0, 1.0, 5.0, 1.0])) == pytest.approx(7)
