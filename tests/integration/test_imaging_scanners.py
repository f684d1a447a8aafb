"""Conventions of scanners of which there is no real sample: made-up headers after public notes.

UIH's GRID after the table that UIH gave to the authors of dcm2niix (their UIH/README.md); Canon's
and Toshiba's after the same authors' notes: plain public attributes, no private ones.
"""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import pytest

from deepbrainprint.imaging.convert import convert_one
from tests.enhanced import multi_frame
from tests.scans import saved, series
from tests.world import assert_shows

pytest.importorskip("dcm2niix")


def grid(slices, **header):
    """UIH's GRID: one object whose image holds the slices side by side, row after row."""
    whole, across = deepcopy(slices[0]), math.ceil(math.sqrt(len(slices)))
    down = math.ceil(len(slices) / across)
    rows, columns = slices[0].Rows, slices[0].Columns
    tiles = np.zeros((down * rows, across * columns), dtype="<u2")
    for number, one in enumerate(slices):
        top, left = number // across * rows, number % across * columns
        tiles[top : top + rows, left : left + columns] = one.pixel_array
    whole.Rows, whole.Columns = tiles.shape
    whole.PixelData, whole.Manufacturer = tiles.tobytes(), "UIH"
    whole.ImageType = ["ORIGINAL", "PRIMARY", "M", "VFRAME"]
    block = whole.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x50, "DS", str(len(slices)))
    block.add_new(0x51, "SQ", [_place(one) for one in slices])
    for keyword, value in header.items():
        setattr(whole, keyword, value)
    return whole


def _place(one):
    item = type(one)()
    item.ImagePositionPatient = one.ImagePositionPatient
    return item


def from_(manufacturer, model, slices):
    for one in slices:
        one.Manufacturer, one.ManufacturerModelName = manufacturer, model
    return slices


@pytest.mark.parametrize("slices", [24, 25, 17])
def test_a_grid_of_uih_is_cut_into_its_slices(tmp_path, slices):
    instances = series(slices=slices)
    convert_one(saved([grid(instances)], tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances)


@pytest.mark.parametrize(
    ("manufacturer", "model"),
    [("UIH", "uMR 780"), ("TOSHIBA_MEC", "Titan"), ("CANON_MEC", "Galan"), ("Hitachi, Ltd.", "Oasis"),
     ("Philips", "Achieva"), ("SIEMENS", "Aera"), ("GE MEDICAL SYSTEMS", "SIGNA"),
     ("Hyperfine", "Swoop")],
)  # fmt: skip
@pytest.mark.parametrize("enhanced", [False, True])
def test_slices_lie_where_the_header_puts_them_whoever_made_the_scanner(
    tmp_path, manufacturer, model, enhanced
):
    instances = from_(manufacturer, model, series())
    sent = [multi_frame(instances)] if enhanced else instances
    convert_one(saved(sent, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances)


def test_canon_writes_a_b_value_into_a_comment_and_that_does_not_split_the_slices(tmp_path):
    instances = from_("CANON_MEC", "Galan", series())
    for one in instances[::3]:
        one.ImageComments = "b=0(0.000,0.000,0.000)"
    convert_one(saved(instances, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances)


@pytest.mark.parametrize("order", ["<", ">"])
def test_philips_scale_may_change_from_slice_to_slice(tmp_path, order):
    instances = from_("Philips Medical Systems", "Ingenia", series())
    for number, one in enumerate(instances if order == "<" else instances[::-1]):
        one.RescaleSlope, one.RescaleIntercept = 1.5 + number / 4, 0
    convert_one(saved(instances, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances, atol=0.01)
