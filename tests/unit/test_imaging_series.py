"""Which series of a study is fingerprinted, and what is said of the others."""

from __future__ import annotations

import random

import pytest
from pydicom.uid import EnhancedSRStorage, SecondaryCaptureImageStorage

from deepbrainprint.errors import NotApplicable
from deepbrainprint.imaging import series as imaging_series
from deepbrainprint.imaging.series import Quota, choose, choose_files, sort, without_twins
from deepbrainprint.records import Contrast
from tests.scans import saved, series


def sole(files):
    [(choice, members)] = sort(files)
    return choice, members


@pytest.mark.parametrize("contrast", [Contrast.T1W, Contrast.T2W, Contrast.FLAIR, Contrast.PD])
def test_a_structural_series_is_known_by_its_timings(tmp_path, contrast):
    files = saved(series(contrast), tmp_path, SeriesDescription="", ProtocolName="")
    choice, members = sole(files)
    assert (choice.contrast, choice.usable, choice.instance_count) == (contrast, True, 24)
    assert sorted(members) == files


def test_timings_win_over_the_description(tmp_path):
    files = saved(series(Contrast.T2W), tmp_path, SeriesDescription="T1 MPRAGE")
    assert sole(files)[0].contrast is Contrast.T2W


BLANK = dict.fromkeys(
    ("EchoTime", "RepetitionTime", "InversionTime", "ScanningSequence", "SequenceVariant"), ""
)


def test_with_blank_timings_the_description_decides_and_the_reason_does_not_quote_it(tmp_path):
    choice, _ = sole(saved(series(), tmp_path, **BLANK, SeriesDescription="flair of Mr Secret"))
    assert (choice.contrast, choice.usable) == (Contrast.FLAIR, True)
    assert choice.confidence < 0.5
    assert "description decides" in choice.reason
    assert "Secret" not in choice.reason


def test_with_nothing_to_go_by_the_series_is_usable_but_hardly_trusted(tmp_path):
    files = saved(series(), tmp_path, **BLANK, SeriesDescription="", ProtocolName="")
    choice, _ = sole(files)
    assert (choice.contrast, choice.usable) == (Contrast.OTHER, True)
    assert choice.confidence <= 0.2


@pytest.mark.parametrize(
    ("header", "contrast"),
    [
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, Contrast.DERIVED),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, Contrast.LOCALIZER),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P"]}, Contrast.OTHER),
        ({"DiffusionBValue": 1000.0}, Contrast.DIFFUSION),
        ({"ScanningSequence": ["EP", "GR"]}, Contrast.FMRI),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "PERFUSION"]}, Contrast.PERFUSION),
        ({"EchoTime": 20, "RepetitionTime": 28, "ScanningSequence": "GR"}, Contrast.SWI),
        ({"AngioFlag": "Y"}, Contrast.OTHER),
        ({"Modality": "CT"}, Contrast.OTHER),
    ],
)
def test_what_shows_no_structure_is_not_usable(tmp_path, header, contrast):
    changes = {"InversionTime": None, **header} if "EchoTime" in header else header
    choice, _ = sole(saved(series(), tmp_path, **changes))
    assert (choice.contrast, choice.usable) == (contrast, False)


def test_a_contrast_agent_makes_another_contrast(tmp_path):
    choice, _ = sole(saved(series(), tmp_path, ContrastBolusAgent="GADOVIST"))
    assert (choice.contrast, choice.usable) == (Contrast.T1W_ENHANCED, True)


def test_a_slab_that_is_shorter_than_a_head_is_refused_with_its_size(tmp_path):
    choice, _ = sole(saved(series(slices=10), tmp_path))
    assert not choice.usable
    assert "128 × 128 × 40 mm covered by 10 slices" in choice.reason


def test_three_orientations_of_few_slices_are_a_localizer(tmp_path):
    instances = series()[:9]
    for number, turn in enumerate(
        [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1]] * 3
    ):
        instances[number].ImageOrientationPatient = turn
    choice, _ = sole(saved(instances, tmp_path))
    assert (choice.contrast, choice.usable) == (Contrast.LOCALIZER, False)


def test_the_order_of_the_files_does_not_matter(tmp_path):
    files = saved(series(number=1), tmp_path / "1") + saved(series(number=2), tmp_path / "2")
    shuffled = random.Random(3).sample(files, len(files))
    assert sort(shuffled) == sort(files)


def test_t1w_is_preferred_to_every_other_contrast(tmp_path):
    cast = (Contrast.PD, Contrast.T2W, Contrast.FLAIR, Contrast.T1W)
    for number, contrast in enumerate(cast, start=1):
        saved(series(contrast, number=number), tmp_path / str(number))
    found = sort(list(tmp_path.rglob("*.dcm")))
    assert [choice.series_number for choice, _ in found] == [4, 3, 2, 1]
    assert choose(found)[0].contrast is Contrast.T1W


def test_a_whole_series_is_preferred_to_a_truncated_one(tmp_path):
    broken = saved(series(Contrast.T1W, number=1), tmp_path / "1")
    broken[3].write_bytes(broken[3].read_bytes()[:-100])
    whole = saved(series(Contrast.T2W, number=2), tmp_path / "2")
    assert choose_files([*broken, *whole])[0].series_number == 2
    assert "1 of 24 instances without whole pixels" in sole(broken)[0].reason


def test_a_second_reconstruction_of_one_acquisition_is_left_aside(tmp_path):
    files = saved(series(number=5), tmp_path / "5") + saved(series(number=6), tmp_path / "6")
    (first, _), (second, _) = sort(files)
    assert (first.series_number, first.usable) == (5, True)
    assert (second.series_number, second.usable) == (6, False)
    assert second.reason.startswith("same acquisition as series 5")


def test_a_repeated_acquisition_is_not_a_second_reconstruction(tmp_path):
    first = saved(series(number=5), tmp_path / "5")
    second = saved(series(number=6), tmp_path / "6", AcquisitionTime="121500")
    assert [choice.usable for choice, _ in sort(first + second)] == [True, True]


def test_of_two_spin_echoes_in_one_series_the_later_is_converted(tmp_path):
    early, late = series(Contrast.PD), series(Contrast.PD)
    for number, instance in enumerate(late):
        instance.SOPInstanceUID = f"{instance.SOPInstanceUID}.{number}"[:64]
        instance.InstanceNumber += 24
    files = saved(early, tmp_path / "a") + saved(late, tmp_path / "b", EchoTime=90)
    choice, members = sole(files)
    assert (choice.contrast, choice.instance_count) == (Contrast.T2W, 48)
    assert {path.parent.name for path in members} == {"b"}


def test_an_instance_that_lies_there_twice_counts_once(tmp_path):
    files = saved(series(), tmp_path / "a") + saved(series(), tmp_path / "b")
    assert sole(files)[0].instance_count == 24


def test_a_report_is_a_report(tmp_path):
    pixels = ("Rows", "Columns", "PixelData", "ImageType")
    header = dict.fromkeys(pixels) | {"SOPClassUID": EnhancedSRStorage, "Modality": "SR"}
    choice, _ = sole(saved(series()[:1], tmp_path, **header))
    assert (choice.contrast, choice.usable) == (Contrast.REPORT, False)


def test_a_scanned_report_and_a_picture_are_derived_and_say_why(tmp_path):
    pictures = series(slices=1)
    choice, _ = sole(saved(pictures, tmp_path, SOPClassUID=SecondaryCaptureImageStorage))
    assert (choice.contrast, choice.usable) == (Contrast.DERIVED, False)
    assert choice.reason == "secondary capture: a picture, not a scan"


def test_of_two_reconstructions_the_normalised_one_is_used(tmp_path):
    plain, even = ["ORIGINAL", "PRIMARY", "M", "ND"], ["ORIGINAL", "PRIMARY", "M", "NORM"]
    files = saved(series(number=5), tmp_path / "5", ImageType=plain)
    files += saved(series(number=6), tmp_path / "6", ImageType=even)
    (first, _), (second, _) = sort(files)
    assert (first.series_number, second.series_number) == (6, 5)
    assert second.reason.startswith("same acquisition as series 6")


def test_a_series_with_the_pixels_of_a_better_one_is_left_aside(tmp_path):
    coarse = saved(series(Contrast.T2W, number=2), tmp_path / "2")
    found = sort(coarse + saved(series(number=1), tmp_path / "1"))
    twins = without_twins(found, {choice.series_uid: "one" for choice, _ in found})
    (first, _), (second, _) = twins
    assert (first.series_number, first.usable) == (1, True)
    assert (second.series_number, second.usable) == (2, False)
    assert second.reason.startswith("same pixels as series 1")
    assert without_twins(found, {first.series_uid: 1, second.series_uid: 2}) == found


def test_of_one_contrast_two_series_are_used_and_of_a_study_six():
    quota = Quota()
    for contrast in (Contrast.T1W, Contrast.T1W, Contrast.FLAIR):
        assert quota.refusal(contrast) == ""
        quota.take(contrast)
    assert quota.refusal(Contrast.T1W) == "not needed: 2 better T1w series are used"
    for contrast in (Contrast.FLAIR, Contrast.T2W, Contrast.T2W):
        quota.take(contrast)
    assert quota.refusal(Contrast.PD) == "not needed: 6 better series are used"


def test_what_is_no_dicom_does_not_harm_the_rest(tmp_path):
    files = saved(series(), tmp_path)
    for name, content in {"a": b"", "b": b"text", "c": files[0].read_bytes()[:200]}.items():
        (tmp_path / name).write_bytes(content)
    assert sole([*files, *(tmp_path / name for name in "abc")])[0].usable


@pytest.mark.parametrize("value", ["", "abc", "1\\2\\3", "nan", "-1", "1e400"])
def test_wrong_values_do_not_crash(tmp_path, value):
    files = saved(series(), tmp_path)
    for keyword in (b"2300", b"2.98"):  # as text, padded: what no writer of ours would let through
        for path in files:
            padded = value.encode()[: len(keyword)].ljust(len(keyword))
            path.write_bytes(path.read_bytes().replace(keyword, padded))
    assert sole(files)[0].instance_count == 24


def test_no_usable_series_is_not_applicable_with_a_reason_for_each_and_no_header_text(tmp_path):
    files = saved(series(number=3, slices=6), tmp_path / "a", SeriesDescription="Secret^Name")
    files += saved(series(number=4), tmp_path / "b", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with pytest.raises(NotApplicable) as refused:
        choose_files(files)
    assert refused.value.code == "no_brain_series"
    assert "series 3: 128 × 128 × 24 mm" in str(refused.value)
    assert "series 4: image type localizer" in str(refused.value)
    assert "Secret" not in str(refused.value)


def test_no_files_at_all_is_not_applicable():
    with pytest.raises(NotApplicable, match="no object belongs to a series"):
        choose_files([])


def test_a_long_list_of_reasons_is_cut():
    choice = imaging_series.SeriesChoice("1", 1, Contrast.OTHER, False, 1.0, "x", 1)
    with pytest.raises(NotApplicable, match="and 8 more"):
        choose([(choice, [])] * 20)


USED = {
    "philips_mprage": (1301, Contrast.T1W),
    "repositioned_volunteer/HFS": (3, Contrast.T1W),
    "repositioned_volunteer/HFP": (2, Contrast.T1W),
    "repositioned_volunteer/HFDL": (2, Contrast.T1W),
    "repositioned_volunteer/HFDR": (2, Contrast.T1W),
    "siemens_xa30_enhanced": (6, Contrast.T1W),  # 5 is the same, not normalised
}


@pytest.mark.parametrize("folder", USED)
def test_real_studies_yield_their_t1w(shared_data, folder):
    files = [path for path in (shared_data / "dicom" / folder).rglob("*") if path.is_file()]
    choice, _ = choose_files(files)
    assert (choice.series_number, choice.contrast) == USED[folder]


def test_an_enhanced_study_tells_repeat_diffusion_and_report_apart(shared_data):
    folder = shared_data / "dicom" / "siemens_xa30_enhanced"
    found = {c.series_number: c for c, _ in sort([p for p in folder.rglob("*") if p.is_file()])}
    assert found[5].reason.startswith("same acquisition as series 6")
    assert (found[5].usable, found[6].usable) == (False, True)
    assert found[16].contrast is Contrast.DIFFUSION
    assert (found[99].contrast, found[99].instance_count) == (Contrast.REPORT, 7)


# by folder of shared/data/dicom: what each series number was taken for
TAKEN_FOR = {
    "philips_mprage": {1301: "T1w"},
    "repositioned_volunteer/HFS": {3: "T1w"},
    "repositioned_volunteer/HFP": {2: "T1w"},
    "repositioned_volunteer/HFDL": {2: "T1w"},
    "repositioned_volunteer/HFDR": {2: "T1w"},
    "siemens_xa30_enhanced": {5: "T1w", 6: "T1w", 16: "diffusion", 99: "report"},
    "transfer_syntaxes": {1: "fmri"},
    "vendors/ge": {4: "T1w"},
    "vendors/hitachi": {10: "PD"},
    "vendors/hyperfine": {10: "FLAIR"},
    "vendors/siemens_multiframe": {5: "T1w"},
    "vendors/generic": {4: "FLAIR", 201: "derived", 747197466: "derived"},
    "vendors/failing": {2: "other", 3: "other", 4: "FLAIR other", 202: "localizer"},
    "odd": {
        0: "derived other report", 1: "T1w derived other report", 2: "T1w localizer other report",
        3: "other", 4: "other", 5: "other", 18: "derived", 700: "derived",
    },
}  # fmt: skip


@pytest.mark.parametrize("folder", TAKEN_FOR)
def test_every_real_series_is_taken_for_what_it_is(shared_data, folder):
    files = [path for path in (shared_data / "dicom" / folder).rglob("*") if path.is_file()]
    found = sort(files)
    taken: dict[int, set[str]] = {}
    for choice, _ in found:
        taken.setdefault(choice.series_number, set()).add(choice.contrast.value)
    assert {n: " ".join(sorted(names)) for n, names in taken.items()} == TAKEN_FOR[folder]
    assert all(choice.reason for choice, _ in found)


@pytest.mark.parametrize("folder", ["odd", "vendors"])
def test_odd_files_are_sorted_without_a_crash_and_none_is_a_brain(shared_data, folder):
    files = [path for path in (shared_data / "dicom" / folder).rglob("*") if path.is_file()]
    assert not any(choice.usable for choice, _ in sort(files))
