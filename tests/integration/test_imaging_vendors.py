"""Real data of each vendor, folder by folder: the same voxels in the same places as the truth."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import nibabel as nib
import numpy as np
import pydicom
import pytest

from deepbrainprint.errors import BadStudy
from deepbrainprint.imaging.convert import convert_one
from deepbrainprint.imaging.headers import read
from tests.world import assert_same, assert_shows, places_of, values_at

pytest.importorskip("dcm2niix")

TRUE = [
    "ge/anatomical/001", "ge/anatomical/001_implicit", "generic/anatomical/001",
    "generic/anatomical/001_implicit", "generic/anatomical/002_non_isotropic",
    "generic/compressed/001", "generic/compressed_j2k/001", "generic/compressed_jpeg/001",
    "generic/compressed_jpegls/001", "generic/compressed_rle/001", "hitachi/anatomical/001",
    "hitachi/anatomical/001_implicit", "hyperfine/anatomical/001",
    "siemens_multiframe/anatomical/001", "failing/slicecount/001",
]  # fmt: skip
REFUSED = {
    "failing/sliceincrement/001": (
        "missing_slices", "series 2: slices are missing between instances 9 and 10",
    ),
    # its ground truth was resampled to even slices by the tool that made it: nobody scanned that
    "failing/sliceincrement/002": (
        "missing_slices", "series 3: slices are missing between instances 3 and 5",
    ),
    "failing/sliceorientation/001": (
        "mixed_orientations", "series 202: not in line with instances 1–2",
    ),
    "failing/notavolume/001": (
        "not_a_volume", "series 4: instances 23–26 all lie in one place",
    ),
    "generic/rgb/001": ("not_a_volume", "instances 39–42 are in colour"),
    # its ground truth is one slice
    "ge/anatomical/001_single_slice": ("not_a_volume", "series 4: the images form no 3-D volume"),
}  # fmt: skip


def slices_of(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("folder", TRUE)
def test_crops_equal_their_ground_truth(shared_data, tmp_path, folder):
    source = shared_data / "dicom" / "vendors" / folder
    convert_one(sorted(source.iterdir()), tmp_path / "a.nii.gz")
    assert_same(tmp_path / "a.nii.gz", source.parent / f"{source.name}_ground_truth.nii.gz")


def test_a_mirrored_truth_is_told_from_the_truth(shared_data, tmp_path):
    source = shared_data / "dicom" / "vendors" / "hitachi" / "anatomical" / "001"
    truth = nib.load(source.parent / "001_ground_truth.nii.gz")
    mirrored = nib.Nifti1Image(truth.get_fdata(), np.diag([-1.0, 1, 1, 1]) @ truth.affine)
    nib.save(mirrored, tmp_path / "mirrored.nii")
    convert_one(sorted(source.iterdir()), tmp_path / "a.nii.gz")
    with pytest.raises(AssertionError):
        assert_same(tmp_path / "a.nii.gz", tmp_path / "mirrored.nii")


@pytest.mark.parametrize("folder", REFUSED)
def test_what_forms_no_volume_is_refused_with_its_instances(shared_data, tmp_path, folder):
    code, words = REFUSED[folder]
    files = sorted((shared_data / "dicom" / "vendors" / folder).iterdir())
    with pytest.raises(BadStudy) as error:
        convert_one(files, tmp_path / "a.nii.gz")
    assert error.value.code == code
    assert words in str(error.value)
    assert not (tmp_path / "a.nii.gz").exists()


@pytest.mark.parametrize("number", range(1, 10))
def test_mosaics_in_nine_transfer_syntaxes_equal_their_reference(shared_data, tmp_path, number):
    folder = shared_data / "dicom" / "transfer_syntaxes"
    convert_one([folder / "In" / f"{number}.dcm"], tmp_path / "a.nii.gz")
    assert_same(tmp_path / "a.nii.gz", folder / "Ref" / f"{number}.nii")


def test_a_tilted_gantry_is_straightened_as_dcm2niix_does_it(shared_data, tmp_path):
    dcm2niix = pytest.importorskip("dcm2niix")
    source = shared_data / "dicom" / "vendors" / "failing" / "gantrytilting" / "001"
    convert_one(sorted(source.iterdir()), tmp_path / "a.nii.gz")
    ours = nib.load(tmp_path / "a.nii.gz")
    edges = ours.affine[:3, :3] / np.linalg.norm(ours.affine[:3, :3], axis=0)
    np.testing.assert_allclose(edges.T @ edges, np.eye(3), atol=1e-6)
    assert_pixels_stay(ours, slices_of(source))
    command = [dcm2niix.bin, "-z", "n", "-b", "n", "-f", "t", "-o", str(tmp_path), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    theirs = nib.load(tmp_path / "t_Tilt_1.nii")
    np.testing.assert_allclose(nib.affines.voxel_sizes(ours.affine),
                               nib.affines.voxel_sizes(theirs.affine), atol=1e-3)  # fmt: skip


def assert_pixels_stay(image, instances):
    """Each slice's centre of mass lies where the header puts it, within a tenth of a pixel."""
    data = image.get_fdata() - image.get_fdata().min()
    inverse = np.linalg.inv(image.affine)
    for one in instances:
        places = places_of(one)
        weights = one.pixel_array.ravel().astype(float) * float(one.RescaleSlope)
        weights += float(one.RescaleIntercept) - image.get_fdata().min()
        centre = nib.affines.apply_affine(inverse, weights @ places / weights.sum())
        plane = data[..., round(centre[2])]
        grid = np.indices(plane.shape).reshape(2, -1)
        found = grid @ plane.ravel() / plane.sum()
        np.testing.assert_allclose([*found, round(centre[2])], centre, atol=0.1)


@pytest.mark.parametrize("pose", ["HFS", "HFP", "HFDL", "HFDR"])
def test_one_head_in_four_positions_lies_where_the_header_puts_it(shared_data, tmp_path, pose):
    source = shared_data / "dicom" / "repositioned_volunteer" / pose
    convert_one(sorted(source.iterdir()), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", slices_of(source))


@pytest.mark.slow
def test_philips_slices_keep_their_place_and_get_philips_own_scale(shared_data, tmp_path):
    source = shared_data / "dicom" / "philips_mprage"
    convert_one(sorted(source.iterdir()), tmp_path / "a.nii.gz")
    instances = slices_of(source)
    image = nib.load(tmp_path / "a.nii.gz")
    assert image.shape == (256, 256, len(instances))
    for one in instances[::20]:
        slope, intercept = float(one.RescaleSlope), float(one.RescaleIntercept)
        scale = float(one[0x2005, 0x100E].value)  # Philips' Scale Slope: floating-point values
        truth = (one.pixel_array * slope + intercept) / (slope * scale)
        found = values_at(image, places_of(one)).reshape(truth.shape)
        np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("number", [5, 6])
def test_xa30_frames_lie_where_their_groups_put_them(shared_data, tmp_path, number):
    folder = shared_data / "dicom" / "siemens_xa30_enhanced" / f"{number}_anat-T1w_acq-tfl"
    (path,) = folder.iterdir()
    convert_one([path], tmp_path / "a.nii.gz")
    assert read(path).normalised is (number == 6)
    image, whole = nib.load(tmp_path / "a.nii.gz"), pydicom.dcmread(path)
    for pixels, group in zip(
        whole.pixel_array, whole.PerFrameFunctionalGroupsSequence, strict=True
    ):
        frame = pydicom.Dataset()
        frame.update(group.PlanePositionSequence[0])
        frame.update(group.PlaneOrientationSequence[0])
        frame.update(group.PixelMeasuresSequence[0])
        frame.Rows, frame.Columns = whole.Rows, whole.Columns
        found = values_at(image, places_of(frame)).reshape(pixels.shape)
        np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("folder", ["16_DWI_dir80_PA", "99_Phoenix_Document"])
def test_the_rest_of_the_xa30_study_ends_in_words(shared_data, tmp_path, folder):
    files = sorted((shared_data / "dicom" / "siemens_xa30_enhanced" / folder).iterdir())
    if folder.startswith("99"):
        with pytest.raises(BadStudy, match="holds no pixels"):
            convert_one(files, tmp_path / "a.nii.gz")
    else:
        convert_one(files, tmp_path / "a.nii.gz")
        assert nib.load(tmp_path / "a.nii.gz").shape == (72, 72, 39)


def test_odd_and_broken_files_end_in_a_volume_or_in_words(shared_data, tmp_path):
    files = [p for p in (shared_data / "dicom" / "odd").rglob("*") if p.is_file()]
    by_series: dict[str, list] = {}
    for path in files:
        if (header := read(path)) is not None:
            by_series.setdefault(header.series_uid, []).append(path)
    assert len(by_series) > 30
    for number, members in enumerate(by_series.values()):
        with contextlib.suppress(BadStudy):
            convert_one(members, tmp_path / f"{number}.nii.gz")
    written = [path.name for path in tmp_path.iterdir()]
    assert all(name.endswith(".nii.gz") and not name.startswith(".") for name in written)


@pytest.mark.slow
def test_a_whole_head_of_170_slices_needs_less_than_500_mb(shared_data, tmp_path):
    source, target = shared_data / "dicom" / "philips_mprage", tmp_path / "a.nii.gz"
    program = (
        "import sys, resource; from pathlib import Path;"
        "from deepbrainprint.imaging.convert import convert_one;"
        "convert_one(sorted(Path(sys.argv[1]).iterdir()), Path(sys.argv[2]));"
        "own = int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]);"
        "print(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1024)"
    )  # its own ru_maxrss would be at least that of the process that starts it
    done = subprocess.run([sys.executable, "-c", program, source, target],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert int(done.stdout) < 500
