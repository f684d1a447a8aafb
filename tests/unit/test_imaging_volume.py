from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepbrainprint.errors import BadStudy
from deepbrainprint.imaging import volume
from deepbrainprint.records import Volume

SHAPE = (10, 12, 14)
AXES = [a + b + c for a in "RL" for b in "AP" for c in "SI"] + ["SRA", "PIL", "ASR"]


@pytest.fixture
def data():
    return np.random.default_rng(0).integers(1, 200, SHAPE).astype(np.float32)


def stored(data, path, affine=None, axes="RAS"):
    image = nib.Nifti1Image(data, np.diag([1.0, 2.0, 3.0, 1.0]) if affine is None else affine)
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axes)
    )
    nib.save(image.as_reoriented(turn), path)
    return path


def refusal(path):
    with pytest.raises(BadStudy) as caught:
        volume.read(path)
    assert "\n" not in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("axes", AXES)
def test_a_file_reads_as_ras_in_whatever_order_it_was_stored(data, tmp_path, axes):
    read = volume.read(stored(data, tmp_path / "scan.nii.gz", axes=axes))
    assert np.array_equal(read.data, data)
    assert np.allclose(read.affine, np.diag([1, 2, 3, 1]))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(angle=st.floats(-0.7, 0.7), axes=st.sampled_from(AXES))
def test_reordering_moves_no_voxel_in_the_world(data, tmp_path, angle, axes):
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:2, :2] = turn @ affine[:2, :2]
    read = volume.read(stored(data, tmp_path / "scan.nii", affine, axes))
    brightest = np.unravel_index(data.argmax(), SHAPE)
    found = np.unravel_index(read.data.argmax(), read.data.shape)
    assert np.allclose((read.affine @ [*found, 1]), affine @ [*brightest, 1], atol=1e-4)


def test_a_file_of_one_volume_in_four_dimensions_is_a_volume(data, tmp_path):
    assert volume.read(stored(data[..., None], tmp_path / "scan.nii")).data.shape == SHAPE


def test_written_volumes_read_back_without_any_text_in_the_header(data, tmp_path):
    path = tmp_path / "series-3" / "native.nii.gz"
    volume.write(Volume(data, np.eye(4)), path)
    assert np.array_equal(volume.read(path).data, data)
    header = nib.load(path).header
    assert not any(
        bytes(header[field]).strip(b"\0") for field in ("descrip", "db_name", "intent_name")
    )
    assert [p.name for p in path.parent.iterdir()] == ["native.nii.gz"]


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 3), (10, 12, 14, 5), (1, 64, 64)])
def test_what_is_no_single_volume_is_refused(tmp_path, shape):
    path = tmp_path / "scan.nii"
    nib.save(nib.Nifti1Image(np.ones(shape, np.float32), np.eye(4)), path)
    assert refusal(path) == "not_a_volume"


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_an_empty_image_is_refused(tmp_path, value):
    assert refusal(stored(np.full(SHAPE, value, np.float32), tmp_path / "a.nii")) == "not_a_volume"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(data, tmp_path, value):
    data[3, 3, 3] = value
    assert refusal(stored(data, tmp_path / "scan.nii")) == "not_a_volume"


def test_a_header_that_promises_more_than_a_head_is_refused_before_decoding(data, tmp_path):
    path = stored(data, tmp_path / "scan.nii")
    raw = bytearray(path.read_bytes())
    raw[42:48] = np.array([4096, 4096, 4096], "<i2").tobytes()
    path.write_bytes(raw)
    assert refusal(path) == "not_a_volume"


@pytest.mark.parametrize("keep", [0, 100, 400, 2000])
def test_a_truncated_file_is_refused(data, tmp_path, keep):
    path = stored(data, tmp_path / "scan.nii.gz")
    path.write_bytes(path.read_bytes()[:keep])
    assert refusal(path) == "unreadable_nifti"


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "scan.nii"
    path.write_text("no image")
    assert refusal(path) == "unreadable_nifti"


def test_a_missing_file_is_refused(tmp_path):
    assert refusal(tmp_path / "absent.nii") == "unreadable_nifti"
