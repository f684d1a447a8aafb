"""Where the brain is found, beside what is known of it."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from deepbet import BrainExtraction
from scipy import ndimage

from deepbrainprint.bench.imaging import heads
from deepbrainprint.imaging import deepbet, volume
from deepbrainprint.imaging.outline import dice
from deepbrainprint.imaging.strip import brain_mask
from deepbrainprint.records import Contrast, Volume

pytestmark = pytest.mark.slow  # seconds for each


@pytest.mark.parametrize("name", ["t1_t2/sub-01_T1w", "t1_t2/sub-02_inplaneT2", "t1w/sub-03_T1w"])
def test_our_runtime_finds_what_the_package_finds(shared_data, name):
    data = volume.read(shared_data / f"{name}.nii.gz").data
    theirs = BrainExtraction(no_gpu=True)
    expected = theirs.postprocess(theirs.run_model(data.copy()) > 0.5).astype(bool)
    assert dice(deepbet.brain(data), expected) > 0.9995


def test_the_same_scan_has_the_same_mask_in_any_unit(shared_data):
    data = volume.read(shared_data / "repeat/study1_FLAIR.nii.gz").data
    first = deepbet.brain(data)
    assert np.array_equal(deepbet.brain(data), first)
    assert dice(deepbet.brain(data * 8 - 1000), first) > 0.9999


def test_nothing_is_found_where_nothing_is():
    assert not deepbet.brain(np.zeros((40, 40, 40), np.float32)).any()


@pytest.mark.parametrize("person", [1, 7])
def test_a_stripped_brain_with_noise_around_it_is_found_again(shared_data, person):
    scan = volume.read(shared_data / f"t1w/sub-{person:02d}_T1w.nii.gz")
    rng = np.random.default_rng(person)
    noise = rng.normal(0, 4, (2, *scan.data.shape))
    noisy = np.hypot(scan.data + noise[0], noise[1]).astype(np.float32)
    outline = ndimage.binary_fill_holes(scan.data != 0)
    assert dice(brain_mask(Volume(noisy, scan.affine)), outline) > 0.97


def test_a_flair_scan_has_the_mask_of_its_t1w_neighbour(shared_data):
    """Both lie in one scanner's world; the T1w mask is sampled where the FLAIR has voxels."""
    t1w, flair = (volume.read(shared_data / f"repeat/study2_{c}.nii.gz") for c in ("T1W", "FLAIR"))
    step = np.linalg.inv(t1w.affine) @ flair.affine
    places = (
        np.tensordot(step[:3, :3], np.indices(flair.data.shape), 1) + step[:3, 3, None, None, None]
    )
    carried = ndimage.map_coordinates(brain_mask(t1w).astype(np.float32), places, order=1) > 0.5
    assert dice(carried, brain_mask(flair)) > 0.96


@pytest.mark.parametrize("contrast", ["T1w", "T2w", "FLAIR"])
def test_the_mask_of_a_painted_head_is_the_inside_of_its_skull(shared_data, contrast):
    drawn = heads.label_map(shared_data / "labels/training_seg_02.nii.gz")
    scan = heads.head(drawn, Contrast(contrast), 2)
    found = brain_mask(upright(scan.data, scan.affine))
    assert dice(found, upright(drawn.brain().astype(np.float32), drawn.affine).data > 0) > 0.94


def upright(data, affine):
    """The voxels in RAS order, as files are read."""
    image = nib.as_closest_canonical(nib.Nifti1Image(data, affine))
    return Volume(np.ascontiguousarray(image.dataobj), image.affine)


@pytest.mark.parametrize("end", ["top", "bottom"])
def test_a_head_that_the_field_of_view_cuts_off_keeps_its_mask_up_to_the_cut(shared_data, end):
    scan = volume.read(shared_data / "t1_t2/sub-01_inplaneT2.nii.gz")  # slices of 5 mm
    whole = brain_mask(scan)
    filled = np.flatnonzero(whole.any(axis=(0, 1)))
    fifth = round(len(filled) / 5)
    kept = slice(0, filled[-1] + 1 - fifth) if end == "top" else slice(filled[0] + fifth, None)
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (kept.start or 0)
    cut = Volume(np.ascontiguousarray(scan.data[:, :, kept]), affine)
    assert dice(brain_mask(cut), whole[:, :, kept]) > 0.96  # a dome at the top gives 0.92
