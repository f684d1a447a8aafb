"""Series of real scanners: whole ones are not called incomplete, and a missing image is noticed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import dcmread

from deepbrainprint.database.connection import Database
from deepbrainprint.intake.closing.closer import Closer
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.part10 import Delivery
from deepbrainprint.settings import Settings
from tests.rows import rows

STACKS = {  # and how many images each has
    "philips_mprage": 170,
    "repositioned_volunteer/HFS": 35,
    "repositioned_volunteer/HFP": 35,
    "repositioned_volunteer/HFDL": 35,
    "repositioned_volunteer/HFDR": 35,
    "vendors/ge/anatomical/001": 4,
    "vendors/ge/anatomical/001_implicit": 4,
    "vendors/generic/anatomical/001": 4,
    "vendors/generic/anatomical/001_implicit": 4,
    "vendors/generic/anatomical/002_non_isotropic": 4,
    "vendors/generic/compressed/001": 4,
    "vendors/generic/compressed_j2k/001": 4,
    "vendors/generic/compressed_jpeg/001": 4,
    "vendors/generic/compressed_jpegls/001": 4,
    "vendors/generic/compressed_rle/001": 4,
    "vendors/generic/rgb/001": 4,
    "vendors/hitachi/anatomical/001": 4,
    "vendors/hitachi/anatomical/001_implicit": 4,
    "vendors/failing/gantrytilting/001": 4,
}
OTHERS = {
    "siemens_xa30_enhanced": 10,  # multi-frame, and seven reports
    "vendors/siemens_multiframe/anatomical/001": 1,
    "vendors/hyperfine/anatomical/001": 1,
    "vendors/ge/anatomical/001_single_slice": 1,
    "vendors/failing/notavolume/001": 4,  # all in one place
    "vendors/failing/sliceorientation/001": 4,  # two orientations
    "vendors/failing/slicecount/001": 2,
    "transfer_syntaxes/In": 9,  # one image nine times, all of one number
}


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "LICENSE")


def send(settings: Settings, database: Database, paths: list[Path]) -> None:
    """File real objects as a door would, their bytes as they are."""
    filing = Filing(settings, database)
    for path in paths:
        content, header = path.read_bytes(), dcmread(path, stop_before_pixels=True)
        sent = Delivery(
            data_set=content[144 + header.file_meta.FileMetaInformationGroupLength :],
            sop_class_uid=header.SOPClassUID,
            sop_instance_uid=header.SOPInstanceUID,
            transfer_syntax_uid=header.file_meta.TransferSyntaxUID,
            calling_ae="SCANNER",
        )
        filing.receive(sent, [sent.data_set])


def outcome(settings: Settings, database: Database) -> tuple[str, str]:
    """The state and what is missing once the study has been quiet for an hour."""
    hour = timedelta(hours=1)
    rows(database, "update study set last_instance_at = last_instance_at - %s", hour)
    Closer(settings, database).close_due()
    [(state, missing)] = rows(database, "select state, completeness_reason from study_revision")
    return state, missing


@pytest.mark.parametrize(("folder", "count"), (STACKS | OTHERS).items())
def test_a_whole_real_study_closes(intake_settings, database, shared_data, folder, count):
    paths = files_of(shared_data / "dicom" / folder)
    assert len(paths) == count
    send(intake_settings, database, paths)
    assert outcome(intake_settings, database) == ("queued", "")


@pytest.mark.parametrize("folder", STACKS)
def test_a_real_study_without_one_inner_image_waits(intake_settings, database, shared_data, folder):
    paths = files_of(shared_data / "dicom" / folder)
    numbers = sorted((_number(path), path) for path in paths)
    gone, path = numbers[len(numbers) // 2]
    send(intake_settings, database, [other for other in paths if other != path])
    state, missing = outcome(intake_settings, database)
    assert state == "receiving"
    assert f"lacks image {gone}, {len(paths) - 1} are here" in missing


def test_a_real_study_that_came_with_a_gap_waits(intake_settings, database, shared_data):
    folder = shared_data / "dicom/vendors/failing/sliceincrement/002"  # numbers 1, 2, 4, 5 or so
    send(intake_settings, database, files_of(folder))
    assert "lacks image" in outcome(intake_settings, database)[1]


def _number(path: Path) -> int:
    return int(dcmread(path, specific_tags=["InstanceNumber"]).InstanceNumber)
