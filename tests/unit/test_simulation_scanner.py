"""Volumes as DICOM: valid objects whose geometry and voxels come back through dcm2niix."""

from __future__ import annotations

import subprocess

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from deepbrainprint.errors import BadStudy
from deepbrainprint.records import Contrast, HeaderIdentity, Volume
from deepbrainprint.simulation.acquisition import Orientation, Protocol, directions_of
from deepbrainprint.simulation.deformation import rotation
from deepbrainprint.simulation.given import read_nifti
from deepbrainprint.simulation.scanner import Compression, Exam, acquire, uid, write

dcm2niix = pytest.importorskip("dcm2niix")

SOMEBODY = HeaderIdentity("SIM-1", "SIMULATION", "Mockford^Ada", "19600101", "F", "A1", "20240108")
# type 1 attributes of the MR Image IOD's modules (PS3.3 A.4), then type 2 ones that may be empty
FILLED = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "ImageType",
    "FrameOfReferenceUID",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ScanningSequence",
    "SequenceVariant",
    "PixelData",
]
PRESENT = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "ReferringPhysicianName",
    "AccessionNumber",
    "SeriesNumber",
    "Manufacturer",
    "InstanceNumber",
    "SliceThickness",
    "PositionReferenceIndicator",
    "ScanOptions",
    "MRAcquisitionType",
    "EchoTime",
    "EchoTrainLength",
    "RepetitionTime",
    "PatientPosition",
]


def made_up(orientation=Orientation.AXIAL, *, oblique=(0.0, 0.0, 0.0), values=None) -> Volume:
    """A small volume in which no voxel equals its neighbour."""
    shape = (20, 24, 16)
    rng = np.random.default_rng(7)
    data = rng.integers(0, 4096, shape) if values is None else rng.choice(values, shape)
    affine = np.eye(4)
    affine[:3, :3] = rotation(oblique) @ directions_of(orientation.axes) * (1.3, 1.5, 3.0)
    affine[:3, 3] = (40.5, -12.25, 7.0)
    return Volume(data.astype(np.float32), affine)


def exam(**changes) -> Exam:
    return Exam(**{"key": "k", "identity": SOMEBODY, "protocol": Protocol(), **changes})


def converted(folder, out):
    """What dcm2niix makes of a folder, in canonical order."""
    command = [dcm2niix.bin, "-z", "n", "-f", "scan", "-o", out, folder]
    subprocess.run(command, check=True, capture_output=True)
    return nib.as_closest_canonical(nib.load(out / "scan.nii"))


@pytest.mark.parametrize("orientation", Orientation)
@pytest.mark.parametrize("oblique", [(0.0, 0.0, 0.0), (7.0, -5.0, 11.0)])
@pytest.mark.parametrize("compression", Compression)
def test_geometry_and_voxels_come_back_through_dcm2niix(
    tmp_path, orientation, oblique, compression
):
    volume = made_up(orientation, oblique=oblique)
    write(acquire(volume, exam()), tmp_path / "dicom", compression=compression)
    got = converted(tmp_path / "dicom", tmp_path)
    sent = nib.as_closest_canonical(nib.Nifti1Image(volume.data, volume.affine))
    np.testing.assert_allclose(got.affine, sent.affine, atol=1e-3)
    np.testing.assert_array_equal(np.asarray(got.dataobj), sent.get_fdata())


@pytest.mark.parametrize("contrast", [Contrast.T1W, Contrast.T2W, Contrast.FLAIR, Contrast.PD])
def test_every_object_has_what_the_standard_requires(contrast):
    for image in acquire(made_up(), exam(protocol=Protocol(contrast))):
        assert [word for word in FILLED if not image.get(word) and image.get(word) != 0] == []
        assert [word for word in PRESENT if word not in image] == []


def test_inversion_time_is_there_when_the_sequence_inverts():
    flair, spin_echo = (
        acquire(made_up(), exam(protocol=Protocol(c)))[0] for c in (Contrast.FLAIR, Contrast.T2W)
    )
    assert "IR" in flair.ScanningSequence
    assert flair.InversionTime > 2000
    assert "InversionTime" not in spin_echo


def test_thick_slices_are_a_2d_acquisition():
    thick, thin = (
        acquire(made_up(), exam(protocol=Protocol(voxel_mm=(1, 1, edge))))[0] for edge in (5, 1)
    )
    assert (thick.MRAcquisitionType, thin.MRAcquisitionType) == ("2D", "3D")


def test_files_are_dicom_part_10_and_in_slice_order(tmp_path):
    paths = write(acquire(made_up(), exam()), tmp_path)
    read = [pydicom.dcmread(path) for path in paths]
    assert [path.name for path in paths[:2]] == ["IM0001.dcm", "IM0002.dcm"]
    assert [image.InstanceNumber for image in read] == list(range(1, 17))
    assert len({image.SOPInstanceUID for image in read}) == 16
    assert len({(image.StudyInstanceUID, image.FrameOfReferenceUID) for image in read}) == 1


def test_rle_is_what_the_file_says_it_is(tmp_path):
    path = write(acquire(made_up(), exam()), tmp_path, compression=Compression.RLE)[0]
    read = pydicom.dcmread(path)
    assert read.file_meta.TransferSyntaxUID == RLELossless
    np.testing.assert_array_equal(read.pixel_array, made_up().data[:, :, 0].T)


def test_the_same_key_gives_the_same_bytes(tmp_path):
    first, second = (write(acquire(made_up(), exam()), tmp_path / name)[0] for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_uids_are_valid_and_depend_on_the_words():
    assert pydicom.uid.UID(uid("a", 1)).is_valid
    assert uid("a", 1).startswith("2.25.")
    assert uid("a", 1) == uid("a", 1) != uid("a", 2)


@pytest.mark.parametrize("values", [(-300, 40, 1200), (0, 60000), (0.0, 0.25, 1.5)])
def test_signed_wide_and_fractional_values_survive_up_to_a_scale(values):
    volume = made_up(values=np.array(values, float))
    shown = np.stack([i.pixel_array.T for i in acquire(volume, exam())], axis=2)
    assert np.corrcoef(shown.ravel(), volume.data.ravel())[0, 1] > 0.99999


def test_an_empty_picture_is_still_a_picture():
    blank = Volume(np.zeros((8, 8, 8), np.float32), np.eye(4))
    assert acquire(blank, exam())[0].pixel_array.max() == 0


@pytest.mark.parametrize(
    ("data", "affine", "code"),
    [
        (np.zeros((8, 8)), np.eye(4), "not_a_volume"),
        (np.zeros((8, 8, 8)), np.diag([1, 1, 0, 1]), "no_geometry"),
        (np.zeros((8, 8, 8)), np.eye(4) + np.eye(4, k=1) * [1, 1, 1, 0], "sheared_geometry"),
    ],
)
def test_what_slices_cannot_describe_is_refused(data, affine, code):
    with pytest.raises(BadStudy) as refused:
        acquire(Volume(data.astype(np.float32), affine.astype(float)), exam())
    assert refused.value.code == code


@pytest.mark.parametrize("orientation", Orientation)
def test_a_given_nifti_is_only_turned(tmp_path, orientation):
    given = made_up(Orientation.CORONAL, oblique=(4.0, 2.0, 0.0))
    nib.save(nib.Nifti1Image(given.data, given.affine), tmp_path / "given.nii.gz")
    volume = read_nifti(tmp_path / "given.nii.gz", orientation)
    assert nib.aff2axcodes(volume.affine) == tuple(orientation.axes)
    a, b = (nib.as_closest_canonical(nib.Nifti1Image(v.data, v.affine)) for v in (given, volume))
    np.testing.assert_allclose(a.affine, b.affine, atol=1e-6)
    np.testing.assert_array_equal(a.get_fdata(), b.get_fdata())


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x1f\x8b\x08 cut"])
def test_a_file_that_is_no_nifti_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "x.nii.gz").write_bytes(content)
    with pytest.raises(BadStudy, match="give a whole NIfTI file"):
        read_nifti(tmp_path / "x.nii.gz")
