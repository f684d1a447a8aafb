"""Grey, white and fluid of an aligned brain, whatever the contrast."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("nilearn")

from deepbrainprint.errors import BadStudy
from deepbrainprint.imaging import template
from deepbrainprint.imaging.tissue import FLUID, GREY, WHITE, grey_map, in_cubes, tissue_shares

CONTRASTS = {"T1w": (125, 200, 40), "T2w": (140, 100, 230), "FLAIR": (200, 165, 45)}
THERE = 0.3  # a voxel holds a tissue when this much more of it than of the others is in it


@pytest.fixture(scope="module")
def truth():
    """Tissues (3, 182, 218, 182) of somebody who is not quite the template: swollen and moved."""
    grey, white = (template.tissue_share(name) for name in ("gm", "wm"))
    most = np.argmax([grey, white, np.maximum(1 - grey - white, 0)], axis=0)
    shares = (most == np.arange(3)[:, None, None, None]) * template.mask().astype(np.float32)
    matrix, moved = np.diag([1.03, 0.98, 1.02]), np.array([-2.0, 3.0, 1.0])
    return np.stack([ndimage.affine_transform(s, matrix, moved, order=1) for s in shares])


def _scan(truth, levels):
    """A noisy scan of `truth` with those levels of grey, white and fluid."""
    there = truth.sum(axis=0)
    scan = np.tensordot(np.float32(levels), truth, axes=(0, 0)) / np.maximum(there, 0.1)
    scan += 6 * np.random.default_rng(1).standard_normal(scan.shape, dtype=np.float32)
    return np.where(there > 0.5, np.clip(scan, 1, 255), 0).astype(np.uint8)


@pytest.fixture(scope="module")
def scans(truth):
    return {name: _scan(truth, levels) for name, levels in CONTRASTS.items()}


@pytest.fixture(scope="module")
def found(scans):
    return {name: tissue_shares(scan) for name, scan in scans.items()}


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_each_tissue_is_found_where_it_is_in_every_contrast(truth, found, contrast):
    for name in (GREY, WHITE, FLUID):
        wanted = truth[name] > np.delete(truth, name, axis=0).max(axis=0) + THERE
        assert (found[contrast][name][wanted] > 127).mean() > 0.88


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_shares_add_up_inside_the_brain_and_are_nothing_outside(scans, found, contrast):
    total = found[contrast].sum(axis=0, dtype=np.int16)
    assert np.abs(total[scans[contrast] > 0] - 255).max() <= 1
    assert total[scans[contrast] == 0].max() == 0


def test_the_same_person_has_the_same_grey_map_in_every_contrast(found):
    maps = [in_cubes(shares[GREY], 3).ravel().astype(float) for shares in found.values()]
    assert np.corrcoef(maps).min() > 0.93


def test_the_grey_map_is_the_share_of_grey_in_cubes(scans, found):
    assert np.array_equal(grey_map(scans["T2w"], 3), in_cubes(found["T2w"][GREY], 3))


def test_the_same_brain_gives_the_same_shares_bit_for_bit(scans, found):
    assert np.array_equal(tissue_shares(scans["T1w"]), found["T1w"])


def test_swapping_the_contrast_does_not_swap_the_tissues(scans, found):
    scan = scans["T1w"]
    inverted = np.where(scan > 0, 256 - scan.astype(np.int16), 0).astype(np.uint8)
    plain, turned = (
        s[GREY][scan > 0].astype(float) for s in (found["T1w"], tissue_shares(inverted))
    )
    assert np.corrcoef(plain, turned)[0, 1] > 0.97


@pytest.mark.parametrize("filled", [0, 40], ids=["nothing", "a crumb"])
def test_too_little_brain_is_refused(filled):
    brain = np.zeros(template.SHAPE, np.uint8)
    brain[60 : 60 + filled, 80 : 80 + filled, 70 : 70 + filled] = 100
    with pytest.raises(BadStudy, match="whole brain") as caught:
        grey_map(brain, 3)
    assert caught.value.code == "empty_brain"


@pytest.mark.parametrize(("step", "shape"), [(3, (60, 72, 60)), (1.5, (121, 145, 121))])
def test_cubes_fill_the_grid_from_its_first_voxel(step, shape):
    assert in_cubes(np.full(template.SHAPE, 200, np.uint8), step).shape == shape


def test_a_cube_is_the_mean_of_what_it_covers():
    share = np.zeros(template.SHAPE, np.uint8)
    share[0, :, :] = 240  # of 3 voxels along x: 80; of one and a half: 160
    share[3, :3, :3] = 90
    assert in_cubes(share, 3)[:2, 0, 0].tolist() == [80, 30]
    assert in_cubes(share, 1.5)[:3, 40, 40].tolist() == [160, 0, 0]
    share[1, :, :] = 120  # the first cube of 1.5 mm has half of this voxel, the second the rest
    assert in_cubes(share, 1.5)[:2, 40, 40].tolist() == [200, 40]


@pytest.mark.slow
def test_a_real_person_has_one_grey_map_in_t1w_and_t2w(shared_data):
    from deepbrainprint.imaging import brain, volume  # noqa: PLC0415

    def grey(name):
        aligned = brain.extract(volume.read(shared_data / "t1_t2" / f"{name}.nii.gz")).brain
        return grey_map(aligned, 3).ravel().astype(float)

    names = ("sub-01_T1w", "sub-01_inplaneT2", "sub-02_T1w", "sub-02_inplaneT2")
    alike = np.corrcoef([grey(name) for name in names])
    assert min(alike[0, 1], alike[2, 3]) > max(alike[0, 3], alike[2, 1])
