"""Studies are pulled from a real Orthanc: all of each, byte for byte, once."""

from __future__ import annotations

import pytest

from deepbrainprint.intake.pull.asks import Kind, ask, ask_for_dates
from deepbrainprint.intake.pull.order import Way
from tests.instances import delivery, mr_image, receive, save
from tests.integration.orthanc import needs_orthanc
from tests.integration.pulling import (
    by_accession,
    dicom_files,
    filed,
    order_of,
    pull,
    receiver,
    sent,
    states,
    study,
)
from tests.rows import count, rows

pytestmark = [needs_orthanc, pytest.mark.slow]

RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"  # not among what a study is usually asked for


@pytest.mark.parametrize("way", [Way.GET, Way.WEB])
def test_real_studies_come_byte_for_byte_and_only_once(
    way, orthanc, intake_settings, database, shared_data
):
    files = dicom_files(shared_data / "dicom" / "repositioned_volunteer")
    orthanc.upload(files)
    asks = [ask_for_dates("2022-04-07"), ask(Kind.PATIENT, "crlab", "line 1")]

    first = pull(intake_settings, database, order_of(orthanc, way), asks)
    second = pull(intake_settings, database, order_of(orthanc, way), asks)

    assert filed(database) == sent(files)
    assert states(database, first) == ["fetched"] * 4
    assert states(database, second) == ["already_here"] * 4
    assert rows(database, "select sum(repeats) from instance") == [(0,)]
    name = "DICOMWEB" if way is Way.WEB else "ORTHANC"
    assert rows(database, "select distinct calling_ae from instance") == [(name,)]


def test_real_studies_come_by_c_move_to_our_listener(
    orthanc, intake_settings, database, shared_data
):
    files = dicom_files(shared_data / "dicom" / "repositioned_volunteer" / "HFS")
    orthanc.upload(files)
    with receiver(intake_settings, database) as port:
        orthanc.add_modality("us", ae_title=intake_settings.ae_title, port=port)
        asks = [ask(Kind.PATIENT, "crlab", "line 1")]
        pull_id = pull(intake_settings, database, order_of(orthanc, Way.MOVE), asks)
    assert filed(database) == sent(files)
    assert states(database, pull_id) == ["fetched"]


@pytest.mark.parametrize("way", [Way.GET, Way.WEB])
def test_every_transfer_syntax_comes_as_the_pacs_keeps_it(
    way, orthanc, intake_settings, database, shared_data
):
    files = dicom_files(shared_data / "dicom" / "transfer_syntaxes" / "In")
    orthanc.upload(files)
    [uid] = orthanc.uids("studies")
    pull(intake_settings, database, order_of(orthanc, way), [ask(Kind.STUDY, uid, "line 1")])
    assert filed(database) == sent(files)


@pytest.mark.parametrize("way", [Way.GET, Way.WEB])
def test_only_what_is_missing_of_a_study_is_fetched(
    way, orthanc, intake_settings, database, tmp_path
):
    images = study(5, AccessionNumber="A1")
    orthanc.upload(save(tmp_path, *images))
    for image in images[1:3]:
        receive(intake_settings, database, delivery(image))
    pull_id = pull(intake_settings, database, order_of(orthanc, way), by_accession("A1"))
    assert states(database, pull_id) == ["fetched"]
    assert rows(database, "select count(*), sum(repeats) from instance") == [(5, 0)]


def test_only_what_is_missing_of_a_study_is_moved(orthanc, intake_settings, database, tmp_path):
    images = study(4, AccessionNumber="A1")
    orthanc.upload(save(tmp_path, *images))
    receive(intake_settings, database, delivery(images[0]))
    with receiver(intake_settings, database) as port:
        orthanc.add_modality("us", ae_title=intake_settings.ae_title, port=port)
        pull(intake_settings, database, order_of(orthanc, Way.MOVE), by_accession("A1"))
    assert rows(database, "select count(*), sum(repeats) from instance") == [(4, 0)]


def test_an_unusual_object_in_a_study_comes_too(orthanc, intake_settings, database, tmp_path):
    images = study(2, AccessionNumber="A1")
    images[1].SOPClassUID = RT_DOSE
    orthanc.upload(save(tmp_path, *images))
    pull_id = pull(intake_settings, database, order_of(orthanc), by_accession("A1"))
    assert states(database, pull_id) == ["fetched"]
    assert count(database, "instance") == 2


@pytest.mark.parametrize("way", [Way.GET, Way.WEB])
def test_a_range_of_dates_brings_the_studies_of_its_modality(
    way, orthanc, intake_settings, database, tmp_path
):
    wanted = study(1) + study(1, StudyDate="20240119")
    others = study(1, Modality="CT") + study(1, StudyDate="20240120")
    orthanc.upload(save(tmp_path, *wanted, *others))
    pull(intake_settings, database, order_of(orthanc, way), [ask_for_dates("20240116-20240119")])
    assert set(filed(database)) == {image.SOPInstanceUID for image in wanted}


@pytest.mark.parametrize("way", [Way.GET, Way.WEB])
def test_what_the_pacs_does_not_have_is_reported_by_its_line(
    way, orthanc, intake_settings, database, tmp_path
):
    orthanc.upload(save(tmp_path, *study(1, AccessionNumber="A1")))
    pull_id = pull(intake_settings, database, order_of(orthanc, way), by_accession("A0", "A1"))
    statement = "select place, state, studies, reason_code from pull_ask where pull_id = %s"
    assert sorted(rows(database, statement, pull_id)) == [
        ("line 1", "not_there", 0, "not_there"),
        ("line 2", "answered", 1, ""),
    ]


def test_an_instance_that_cannot_be_filed_is_kept_aside_and_the_others_come(
    orthanc, intake_settings, database, tmp_path
):
    images = study(3, AccessionNumber="A1")
    orthanc.upload(save(tmp_path, *images))
    changed = mr_image(SOPInstanceUID=images[1].SOPInstanceUID, rows=16)
    receive(intake_settings, database, delivery(changed))
    pull_id = pull(intake_settings, database, order_of(orthanc), by_accession("A1"))
    [(state, code, reason)] = rows(
        database, "select state, reason_code, reason from pull_study where pull_id = %s", pull_id
    )
    assert (state, code) == ("failed", "refused_here")
    assert "1 other_bytes" in reason
    assert count(database, "quarantine") == 1
    assert count(database, "instance") == 3
