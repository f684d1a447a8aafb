"""Two scans of one visit: the template and a thick-sliced, moved, inverted copy of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deepbrainprint.imaging import brain, template, visit
from deepbrainprint.imaging.alignment import find
from deepbrainprint.records import Volume

pytestmark = pytest.mark.slow  # together more than the fast tests may take

CORNERS = np.array([[x, y, z, 1.0] for x in (-60, 60) for y in (-90, 60) for z in (-40, 70)])


def head(*, step=(2, 2, 2), motion=None, inverted=False, slices=slice(None)):
    """The template in voxels of `step` mm; its mask beside it."""
    block = tuple(slice(n // 2, None, n) for n in step)
    data, mask = template.reference().data[block], template.mask()[block]
    affine = template.affine() @ np.diag([*step, 1.0])
    affine[:3, 3] = (template.affine() @ [*(n // 2 for n in step), 1.0])[:3]
    affine[:3, 3] += affine[:3, 2] * (slices.start or 0)
    data = np.where(mask, 300 - data, 0) if inverted else data * mask
    moved = (np.eye(4) if motion is None else motion) @ affine
    return Volume(data[:, :, slices].astype(np.float32), moved), mask[:, :, slices].copy()


def motion(degrees=(0.0, 0.0, 0.0), shift=(0.0, 0.0, 0.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def displacement(found, true):
    return float(np.linalg.norm((CORNERS @ (found - true).T)[:, :3], axis=1).max())


@pytest.mark.parametrize(
    "true",
    [motion(), motion((6, -4, 5), (3, -5, 4)), motion((0, 0, 8), (60, -80, 40))],
    ids=["still", "moved", "coordinates set anew"],
)
def test_another_contrast_of_the_visit_is_moved_onto_the_first(true):
    scan, mask = head()
    anchor = visit.anchored(scan, mask, np.eye(4))
    other, other_mask = head(step=(1, 1, 5), motion=true, inverted=True)
    assert displacement(visit.moved(anchor, other, other_mask), true) < 1  # mm


def test_a_slab_of_the_visit_lies_where_the_whole_head_says():
    scan, mask = head()
    true = motion((4, 0, 0), (0, 5, -5))
    anchor = visit.anchored(scan, mask, np.eye(4))
    slab, slab_mask = head(step=(1, 1, 5), motion=true, inverted=True, slices=slice(12, 26))
    assert displacement(visit.moved(anchor, slab, slab_mask), true) < 1.5  # mm


def test_the_mask_is_carried_over():
    scan, mask = head()
    true = motion((5, 0, 0), (10, 0, 0))
    other, expected = head(step=(1, 1, 5), motion=true)
    carried = visit.carried(visit.anchored(scan, mask, np.eye(4)), other, true)
    assert 2 * (carried & expected).sum() / (carried.sum() + expected.sum()) > 0.97


def test_scans_of_one_visit_share_one_shape(monkeypatch):
    scans = [head(), head(step=(1, 1, 5), motion=motion((4, 3, 0), (5, 0, 0)), inverted=True)]
    masks = {id(scan): mask for scan, mask in scans}
    monkeypatch.setattr(brain, "brain_mask", lambda scan, _: masks[id(scan)])
    first, second = brain.examine_visit([scan for scan, _ in scans])
    between = second.require().transform @ np.linalg.inv(first.require().transform)
    assert np.allclose(between[:3, :3] @ between[:3, :3].T, np.eye(3), atol=1e-6)


def test_a_scan_that_does_not_fit_the_first_is_aligned_on_its_own(monkeypatch):
    scan, mask = head()
    upside_down = Volume(scan.data[:, ::-1, ::-1].copy(), scan.affine)  # whatever its header says
    masks = {id(scan): mask, id(upside_down): mask[:, ::-1, ::-1].copy()}
    monkeypatch.setattr(brain, "brain_mask", lambda volume, _: masks[id(volume)])
    _, second = brain.examine_visit([scan, upside_down])
    assert displacement(second.require().transform, find(upside_down, masks[id(upside_down)])) < 1
    assert second.require().residual < 0.2
