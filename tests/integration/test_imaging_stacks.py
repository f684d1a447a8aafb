"""Which slices make the volume, and where it lies: judged against PS3.3's own mapping of pixels."""

from __future__ import annotations

import random

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepbrainprint.errors import BadStudy
from deepbrainprint.imaging.convert import convert_one
from deepbrainprint.records import Contrast
from tests.enhanced import multi_frame
from tests.scans import saved, series
from tests.world import assert_shows, places_of, values_at

pytest.importorskip("dcm2niix")


def apart(slices, first, **header):
    """`slices` as others of the same series: own instances, numbered from `first`."""
    for number, one in enumerate(slices, start=first):
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = (
            f"{one.SOPInstanceUID}.{first}"
        )
        one.InstanceNumber = number
        for keyword, value in header.items():
            setattr(one, keyword, value)
    return slices


def other(slices, seed):
    """`slices` with other pixels."""
    rng = np.random.default_rng(seed)
    for one in slices:
        one.PixelData = rng.integers(0, 4096, (one.Rows, one.Columns)).astype("<u2").tobytes()
    return slices


def turned(slices, rotation, offset=(0.0, 0.0, 0.0)):
    """`slices` moved as a whole by a rotation matrix and an offset, LPS mm."""
    for one in slices:
        axes = np.reshape(np.array(one.ImageOrientationPatient, dtype=float), (2, 3))
        corner = rotation @ np.array(one.ImagePositionPatient, dtype=float) + offset
        one.ImageOrientationPatient = [round(float(x), 9) for x in (axes @ rotation.T).ravel()]
        one.ImagePositionPatient = [round(float(x), 6) for x in corner]
    return slices


def sagittal(slices):
    """`slices` turned so that they lie in sagittal planes."""
    return turned(slices, np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]))


def refusal(instances, folder):
    with pytest.raises(BadStudy) as error:
        convert_one(saved(instances, folder / "in"), folder / "a.nii.gz")
    assert not (folder / "a.nii.gz").exists()
    assert not any(word in str(error.value) for word in ("SECRET", "Secret", "1960", "SIM"))
    return error.value.code, str(error.value)


def rotations():
    turns = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)
    return turns.map(_rotation)


def _rotation(quaternion):
    w, x, y, z = np.array(quaternion) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rotation=rotations(), shuffle=st.randoms(use_true_random=False), stagger=st.booleans())
def test_every_pixel_lies_where_the_header_puts_it_in_any_pose_and_file_order(
    tmp_path_factory, rotation, shuffle, stagger
):
    folder = tmp_path_factory.mktemp("pose")
    instances = turned(series(slices=9), rotation, (30.0, -20.0, 110.0))
    if stagger:  # as interleaved slices are often numbered
        for number, one in enumerate([*instances[::2], *instances[1::2]], start=1):
            one.InstanceNumber = number
    files = saved(instances, folder / "in")
    shuffle.shuffle(files)
    convert_one(files, folder / "a.nii.gz")
    assert_shows(folder / "a.nii.gz", instances)


def test_the_same_files_in_any_order_under_any_name_give_the_same_bytes(tmp_path):
    files = saved(series(), tmp_path / "in")
    renamed = [path.rename(path.with_name(f"{path.stem[::-1]}.IMA")) for path in files]
    convert_one(renamed, tmp_path / "a.nii.gz")
    random.Random(3).shuffle(renamed)
    convert_one(renamed, tmp_path / "other" / "b.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "other" / "b.nii.gz").read_bytes()


def test_left_stays_left(tmp_path):
    instances = series()
    for one in instances:  # the patient's left is where x grows in DICOM
        across = np.broadcast_to(np.arange(one.Columns), (one.Rows, one.Columns))
        one.PixelData = across.astype("<u2").tobytes()
    convert_one(saved(instances, tmp_path / "in"), tmp_path / "a.nii.gz")
    image = nib.as_closest_canonical(nib.load(tmp_path / "a.nii.gz")).get_fdata()
    assert (np.diff(image, axis=0) == -1).all()  # voxels run from left to right


@pytest.mark.parametrize("reverse", [False, True])
def test_slices_numbered_from_the_top_or_the_bottom_are_one_volume(tmp_path, reverse):
    instances = series()
    if reverse:
        for one in instances:
            one.InstanceNumber = 25 - one.InstanceNumber
    convert_one(saved(instances, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances)


@pytest.mark.parametrize(
    "header", [{"EchoTime": 3.0}, {"ProtocolName": "b"}, {"AcquisitionNumber": 2},
               {"ReceiveCoilName": "b"}, {"RepetitionTime": 1234}, {"AcquisitionTime": "101010"}]
)  # fmt: skip
def test_a_header_that_wanders_from_slice_to_slice_does_not_split_the_volume(tmp_path, header):
    instances = series()
    for one in instances[::2]:
        for keyword, value in header.items():
            setattr(one, keyword, value)
    convert_one(saved(instances, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances)


def test_each_slice_has_its_own_scale(tmp_path):
    instances = series()
    for number, one in enumerate(instances):
        one.RescaleSlope, one.RescaleIntercept = 1 + number % 3, -number
    convert_one(saved(instances, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances, atol=1e-3)


def test_a_slice_that_came_twice_under_two_uids_counts_once(tmp_path):
    instances = series()
    again = apart(series()[5:8], 100)
    convert_one(saved([*instances, *again], tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances)


def test_of_several_time_points_the_first_is_taken(tmp_path):
    later = [other(apart(series(), 1 + 24 * n), n) for n in (1, 2)]
    instances = series()
    convert_one(saved([*later[1], *instances, *later[0]], tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances)


def test_an_aborted_first_attempt_is_left_out(tmp_path):
    aborted = other(apart(series()[:10], 1), 1)
    whole = apart(series(), 11)
    convert_one(saved([*aborted, *whole], tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", whole)


def test_of_two_stacks_of_whole_heads_the_one_with_more_slices_is_taken(tmp_path):
    few, many = sagittal(other(apart(series(slices=16), 1), 1)), apart(series(), 17)
    convert_one(saved([*few, *many], tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", many)


def test_images_of_another_size_in_the_series_are_left_out(tmp_path):
    instances = series()
    thumbnails = apart(series()[:3], 100, Rows=16)
    for one in thumbnails:
        one.PixelData = one.PixelData[: 16 * 32 * 2]
    convert_one(saved([*thumbnails, *instances], tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances)


def test_a_slice_that_lies_across_the_others_is_named(tmp_path):
    instances = series(number=7)
    sagittal(instances[9:10])
    code, message = refusal(instances, tmp_path)
    assert code == "mixed_orientations"
    assert "series 7: not in line with instances 1–9, 11–24: instance 10: send" in message


def test_three_planes_of_a_localizer_are_no_volume(tmp_path):
    instances = [*series(slices=5), *sagittal(apart(series(slices=5), 6))]
    code, message = refusal(instances, tmp_path)
    assert (code, "instances 6–10" in message, "instances 1–5" in message) == (
        "mixed_orientations", True, True,
    )  # fmt: skip


def test_slices_missing_in_two_places_are_counted(tmp_path):
    instances = series(number=7)
    del instances[15:17], instances[4]
    code, message = refusal(instances, tmp_path)
    assert code == "missing_slices"
    assert "between instances 4 and 6 and in 1 more places" in message


def test_uneven_slices_are_told_from_missing_ones(tmp_path):
    instances = series(number=7)
    for one in instances[12:]:
        one.ImagePositionPatient = [*one.ImagePositionPatient[:2], one.ImagePositionPatient[2] + 2]
    code, message = refusal(instances, tmp_path)
    assert code == "uneven_slices"
    assert "1.50 times as far apart as the others between instances 12 and 13" in message


def test_two_stacks_with_a_gap_between_are_refused(tmp_path):
    code, message = refusal([*series()[:10], *series()[18:]], tmp_path)
    assert (code, "between instances 10 and 19" in message) == ("missing_slices", True)


BALLS = ((-10.0, -30.0, 20.0, 900.0), (20.0, 15.0, 60.0, 500.0), (-25.0, 40.0, 70.0, 700.0))


def brightness(places):
    """A smooth head of three balls, by place (…, 3) in RAS mm."""
    centres = [(np.array(ball[:3]), ball[3]) for ball in BALLS]
    return sum(peak * np.exp(-((places - c) ** 2).sum(-1) / 800) for c, peak in centres)


def leaning(slope_across, slope_down, rotation):
    """`brightness` on slices each of which is shifted in its plane against the one before."""
    instances = series()
    for number, one in enumerate(instances):
        lean = number * 4 * np.array([slope_across, slope_down, 1.0])
        one.ImagePositionPatient = [float(x) for x in lean + np.array([-64.0, -64.0, 0.0])]
    for one in turned(instances, rotation):
        picture = np.rint(brightness(places_of(one))).reshape(one.Rows, one.Columns)
        one.PixelData = picture.astype("<u2").tobytes()
    return instances


def scanned(instance, places):
    """Which of `places` (…, 3), RAS mm, lie in the slice, half a voxel from its edge or more."""
    axes = np.reshape(np.array(instance.ImageOrientationPatient, dtype=float), (2, 3))
    offset = places * (-1, -1, 1) - np.array(instance.ImagePositionPatient, dtype=float)
    within = [(offset @ axis > 2) & (offset @ axis < 4 * 30.5) for axis in axes]
    return within[0] & within[1] & (np.abs(offset @ np.cross(*axes)) < 0.01)


UPRIGHT, TIPPED = np.eye(3), _rotation((0.9, 0.3, -0.2, 0.25))


@pytest.mark.parametrize("rotation", [UPRIGHT, TIPPED])
@pytest.mark.parametrize(("across", "down"), [(0, 0.27), (0, -0.6), (0.2, 0), (-0.15, -0.2)])
def test_a_leaning_stack_is_straightened(tmp_path, rotation, across, down):
    instances = leaning(across, down, rotation)
    convert_one(saved(instances, tmp_path / "in"), tmp_path / "a.nii.gz")
    image = nib.load(tmp_path / "a.nii.gz")
    edges = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    np.testing.assert_allclose(edges.T @ edges, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(image.header.get_zooms(), 4.0, atol=1e-4)
    voxels = np.indices(image.shape).reshape(3, -1).T
    places = nib.affines.apply_affine(image.affine, voxels)
    inside = np.logical_or.reduce([scanned(one, places) for one in instances])
    assert inside.mean() > 0.5
    wrong = image.get_fdata().ravel() - brightness(places)
    assert np.abs(wrong[inside]).max() < 15  # of 900: linear interpolation


def test_a_stack_that_leans_by_less_than_half_a_voxel_keeps_its_pixels(tmp_path):
    instances = series()
    for number, one in enumerate(instances):
        one.ImagePositionPatient = [0, number * 1.8 / 23, number * 4]
    convert_one(saved(instances, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances)


def test_an_enhanced_object_becomes_the_volume_of_its_frames(tmp_path):
    instances = series()
    shuffled = random.Random(1).sample(instances, k=len(instances))
    convert_one(saved([multi_frame(shuffled)], tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances)


def test_of_an_enhanced_object_with_two_stacks_the_one_with_more_frames_is_taken(tmp_path):
    few, many = sagittal(other(series(slices=16), 1)), series()
    whole = multi_frame([*few, *many], stacks=["1"] * 16 + ["2"] * 24)
    convert_one(saved([whole], tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", many)


def test_of_an_enhanced_object_with_time_points_the_first_is_taken(tmp_path):
    first, later = series(), other(series(), 1)
    for one in later:
        one.TemporalPositionIdentifier = 2
    frames = [frame for pair in zip(first, later, strict=True) for frame in pair]
    convert_one(saved([multi_frame(frames)], tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", first)


def test_of_an_enhanced_object_with_phase_frames_the_magnitude_is_taken(tmp_path):
    phase, magnitude = other(series(), 1), series()
    for one in phase:
        one.ImageType = ["ORIGINAL", "PRIMARY", "P", "NONE"]
    whole = multi_frame([*phase, *magnitude], ImageType=["ORIGINAL", "PRIMARY", "MIXED", "NONE"])
    convert_one(saved([whole], tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", magnitude)


def test_of_an_enhanced_object_with_two_spin_echoes_the_last_is_taken(tmp_path):
    short, long = other(series(Contrast.T2W), 1), series(Contrast.T2W)
    for one in short:
        one.EchoTime = 12.0
    convert_one(saved([multi_frame([*short, *long])], tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", long)


def test_frames_that_are_missing_are_named_by_number(tmp_path):
    instances = series(number=7)
    del instances[10:12]
    code, message = refusal([multi_frame(instances)], tmp_path)
    assert code == "missing_slices"
    assert "series 7: slices are missing between frames 10 and 11" in message


def test_the_volume_found_is_the_one_compared(tmp_path):
    """The comparison itself sees a mirrored volume."""
    instances = series()
    convert_one(saved(instances, tmp_path / "in"), tmp_path / "a.nii.gz")
    image = nib.load(tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image(image.get_fdata()[::-1], image.affine), tmp_path / "b.nii.gz")
    with pytest.raises(AssertionError):
        assert_shows(tmp_path / "b.nii.gz", instances)
    assert values_at(image, places_of(instances[0])).size == 32 * 32
