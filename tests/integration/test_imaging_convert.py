"""DICOM to NIfTI through the real dcm2niix: voxels and geometry come over, identity does not."""

from __future__ import annotations

import gzip
import resource

import nibabel as nib
import numpy as np
import pytest

from deepbrainprint.errors import BadStudy, DeepBrainPrintError, TryAgain
from deepbrainprint.imaging.convert import convert_one
from deepbrainprint.records import Contrast
from tests.scans import saved, series

pytest.importorskip("dcm2niix")


def refused(files, target):
    with pytest.raises(DeepBrainPrintError) as error:
        convert_one(files, target)
    assert not target.exists()
    return error.value


def test_voxels_and_geometry_come_over(tmp_path):
    convert_one(saved(series(), tmp_path / "in"), tmp_path / "deep" / "er" / "native.nii.gz")
    image = nib.as_closest_canonical(nib.load(tmp_path / "deep" / "er" / "native.nii.gz"))
    assert image.shape == (32, 32, 24)
    np.testing.assert_allclose(np.abs(np.diag(image.affine)[:3]), 4.0)


def test_no_identity_reaches_the_file_or_its_folder(tmp_path):
    secret = {"SeriesDescription": "Secret", "ProtocolName": "Secret", "ImageComments": "Secret"}
    convert_one(saved(series(), tmp_path / "in", **secret), tmp_path / "out" / "native.nii.gz")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["native.nii.gz"]
    content = gzip.decompress((tmp_path / "out" / "native.nii.gz").read_bytes())
    assert b"ecret" not in content
    assert b"1960" not in content[:352]
    assert content[148:228].strip(b"\0") == b""  # descrip
    assert content[228:252].strip(b"\0") == b""  # aux_file


def test_of_several_volumes_the_magnitude_is_kept_though_another_is_larger(tmp_path):
    phase = series(slices=30)
    for instance in phase:
        instance.SOPInstanceUID += "1"
        instance.InstanceNumber += 24
    files = saved(phase, tmp_path / "p", ImageType=["ORIGINAL", "PRIMARY", "P"])
    files += saved(series(), tmp_path / "m", ImageType=["ORIGINAL", "PRIMARY", "M"])
    convert_one(files, tmp_path / "a.nii.gz")
    assert nib.load(tmp_path / "a.nii.gz").shape == (32, 32, 24)


def test_truncated_pixels_are_named_by_instance(tmp_path):
    files = saved(series(number=7), tmp_path / "in")
    for number in (4, 9):
        files[number].write_bytes(files[number].read_bytes()[:-10])
    error = refused(files, tmp_path / "a.nii.gz")
    assert (type(error), error.code) == (BadStudy, "truncated")
    assert "series 7: pixels of instances 5, 10 end too early" in str(error)


def test_objects_without_pixels_are_said_to_be_so(tmp_path):
    error = refused(saved(series(), tmp_path / "in", PixelData=None), tmp_path / "a.nii.gz")
    assert (type(error), error.code) == (BadStudy, "no_pixels")


def test_one_object_without_pixels_is_named(tmp_path):
    instances = series(number=7)
    del instances[5].PixelData
    error = refused(saved(instances, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert (error.code, "series 7: instance 6" in str(error)) == ("no_pixels", True)


def test_missing_slices_are_named_by_their_neighbours(tmp_path):
    files = saved(series(number=7), tmp_path / "in")
    error = refused([*files[:10], *files[12:]], tmp_path / "a.nii.gz")
    assert (type(error), error.code) == (BadStudy, "missing_slices")
    assert "series 7: slices are missing between instances 10 and 13" in str(error)


def test_slices_in_one_place_are_no_volume(tmp_path):
    files = saved(series(), tmp_path / "in", ImagePositionPatient=[0, 0, 0])
    assert refused(files, tmp_path / "a.nii.gz").code == "not_a_volume"


def test_a_single_slice_is_no_volume(tmp_path):
    assert (
        refused(saved(series()[:1], tmp_path / "in"), tmp_path / "a.nii.gz").code == "not_a_volume"
    )


def test_an_unreadable_transfer_syntax_is_named(tmp_path):
    files = saved(series(number=7), tmp_path / "in")
    stated, unheard_of = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"
    for path in files:
        path.write_bytes(path.read_bytes().replace(stated, unheard_of))
    error = refused(files, tmp_path / "a.nii.gz")
    assert error.code == "unsupported"
    assert "1.2.840.10008.1.2.9" in str(error)


def test_slices_without_a_size_are_no_volume_and_no_words_of_dcm2niix_get_out(tmp_path, capfd):
    files = saved(series(), tmp_path / "in", ProtocolName="Secret", PixelSpacing=[0, 0])
    error = refused(files, tmp_path / "a.nii.gz")
    assert error.code == "not_a_volume"
    assert "Secret" not in "".join([str(error), *capfd.readouterr()])


def test_a_disk_that_takes_no_more_is_no_fault_of_the_study(tmp_path):
    files = saved(series(), tmp_path / "in")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        error = refused(files, tmp_path / "a.nii.gz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (type(error), error.code) == (TryAgain, "conversion_stopped")


def test_every_structural_contrast_of_the_synthetic_scanner_converts(tmp_path):
    for number, contrast in enumerate((Contrast.T2W, Contrast.FLAIR, Contrast.PD), start=1):
        files = saved(series(contrast, number=number), tmp_path / str(number))
        convert_one(files, tmp_path / f"{number}.nii.gz")
        assert nib.load(tmp_path / f"{number}.nii.gz").shape == (32, 32, 24)
