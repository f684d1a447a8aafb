"""What `simulate` writes: folders, a manifest, and the parts to send."""

from __future__ import annotations

import csv

import nibabel as nib
import numpy as np
import pydicom
import pytest

from deepbrainprint.errors import BadStudy
from deepbrainprint.records import Contrast
from deepbrainprint.simulation.cohort import Request, simulate

pytestmark = pytest.mark.slow  # together more than the fast tests may take

SMALL = {"voxel_mm": (8.0, 8.0, 12.0)}


def rows(manifest) -> list[dict[str, str]]:
    with manifest.path.open() as file:
        return list(csv.DictReader(file))


def test_every_visit_is_a_folder_and_a_row(tmp_path):
    manifest = simulate(Request(tmp_path, people=2, visits=2, **SMALL))
    assert list(rows(manifest)[0]) == ["path", "subject", "session", "contrast"]
    for row in rows(manifest):
        assert pydicom.dcmread(tmp_path / row["path"] / "IM0001.dcm").Modality == "MR"
    assert [(r["subject"], r["session"]) for r in rows(manifest)] == [
        ("person-001", "visit-1"),
        ("person-001", "visit-2"),
        ("person-002", "visit-1"),
        ("person-002", "visit-2"),
    ]


def test_visits_take_the_contrasts_in_turn(tmp_path):
    contrasts = (Contrast.T1W, Contrast.T2W)
    manifest = simulate(Request(tmp_path, visits=3, contrasts=contrasts, **SMALL))
    assert [row["contrast"] for row in rows(manifest)] == ["T1w", "T2w", "T1w"]


def test_two_seeds_share_nobody(tmp_path):
    first, second = (simulate(Request(tmp_path / str(s), seed=s, **SMALL)) for s in (1, 2))
    a, b = (pydicom.dcmread(m.scans[0].files[7]) for m in (first, second))
    assert a.PatientID != b.PatientID
    assert a.StudyInstanceUID != b.StudyInstanceUID
    assert not np.array_equal(a.pixel_array, b.pixel_array)


def test_nifti_comes_out_as_nifti(tmp_path):
    manifest = simulate(Request(tmp_path, format="nifti", **SMALL))
    assert nib.load(tmp_path / rows(manifest)[0]["path"]).ndim == 3


def test_a_given_nifti_becomes_a_study_as_it_is(tmp_path):
    data = np.random.default_rng(0).integers(0, 500, (9, 10, 11)).astype(np.int16)
    nib.save(nib.Nifti1Image(data, np.diag([-0.3, -1, 2, 1])), tmp_path / "given.nii")
    (scan,) = simulate(Request(tmp_path / "out", nifti=(tmp_path / "given.nii",))).scans
    assert len(scan.files) == 11
    first = pydicom.dcmread(scan.files[0])
    np.testing.assert_array_equal(first.pixel_array, data[:, :, 0].T)
    assert list(map(float, first.PixelSpacing)) == pytest.approx([1, 0.3])


def test_late_and_repeated_images_are_parts_of_their_own(tmp_path):
    manifest = simulate(Request(tmp_path, late_images=2, duplicate=True, **SMALL))
    on_time, again, late = manifest.deliveries()
    assert on_time == again
    assert (*on_time, *late) == manifest.scans[0].files
    assert len(late) == 2


def test_a_wrong_patient_id_comes_with_the_second_visit(tmp_path):
    manifest = simulate(Request(tmp_path, visits=2, wrong_patient_id=True, **SMALL))
    first, second = (pydicom.dcmread(scan.files[0]) for scan in manifest.scans)
    assert first.PatientID != second.PatientID
    assert first.PatientName == second.PatientName


@pytest.mark.parametrize("wrong", [{"orientation": "upside-down"}, {"format": "jpeg"}])
def test_an_unknown_word_is_refused_with_the_known_ones(tmp_path, wrong):
    with pytest.raises(BadStudy, match=r"is axial|is dicom"):
        Request(tmp_path, **wrong)
