"""What is a brain and what is none, from the voxels to the verdict."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from deepbrainprint.imaging import brain, volume
from deepbrainprint.imaging.brain import Verdict
from deepbrainprint.imaging.strip import brain_mask
from deepbrainprint.records import Volume
from deepbrainprint.simulation import lesions
from deepbrainprint.simulation.impostors import IMPOSTORS

pytestmark = pytest.mark.slow  # seconds for each

T1W, FLAIR = "t1_t2/sub-03_T1w.nii.gz", "repeat/study1_FLAIR.nii.gz"
CHANGES = {
    "bright tumour": lambda scan, mask: lesions.mass(
        scan, mask, place=(0.3, 0.6, 0.65), radius_mm=25, brightness=1.1
    ),
    "dark tumour": lambda scan, mask: lesions.mass(
        scan, mask, place=(0.7, 0.35, 0.6), radius_mm=30, brightness=0
    ),
    "wide ventricles": lambda scan, mask: lesions.wide_ventricles(scan, mask, width_mm=24, fluid=0),
    "resection": lambda scan, mask: lesions.resection(
        scan, mask, place=(0.72, 0.8, 0.6), radius_mm=28, fluid=0
    ),
    "metal": lambda scan, mask: lesions.void(scan, mask, place=(0.5, 1.0, 0.15), radius_mm=45),
    "top missing": lambda scan, mask: lesions.cut(scan, mask, top=0.3),
    "bottom missing": lambda scan, mask: lesions.cut(scan, mask, bottom=0.3),
    "child": lambda scan, _: lesions.smaller(scan, 0.75),
    "shaded": lambda scan, _: lesions.degraded(scan, seed=1, bias=0.4),
    "moving": lambda scan, _: lesions.degraded(scan, seed=1, motion=2.5, noise=0.05),
}


@functools.cache
def scanned(path):
    scan = volume.read(path)
    return scan, brain_mask(scan)


@pytest.mark.parametrize("name", IMPOSTORS)
def test_what_is_no_brain_is_refused_with_the_figure_that_says_so(name):
    scan = IMPOSTORS[name](1)
    turned = Volume(scan.data[::-1, ::-1], scan.affine @ np.diag([-1.0, -1, 1, 1]))
    ready = scan if scan.affine[0, 0] > 0 else turned  # RAS, as files are read
    examined = brain.examine(ready)
    assert (examined.verdict, examined.code) == (Verdict.FAIL, "not_a_brain")
    assert any(letter.isdigit() for letter in examined.reasons[0])


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", [T1W, FLAIR], ids=["T1w", "FLAIR"])
def test_disease_treatment_and_missing_slices_refuse_no_brain(shared_data, name, change):
    examined = brain.examine(CHANGES[change](*scanned(shared_data / name)))
    assert examined.verdict is not Verdict.FAIL


def test_ventricles_that_leave_nothing_in_its_place_are_flagged(shared_data):
    scan, mask = scanned(shared_data / T1W)
    examined = brain.examine(lesions.wide_ventricles(scan, mask, width_mm=40, fluid=0))
    assert examined.verdict is Verdict.FLAG
    assert "unusual_structure" in examined.reasons
