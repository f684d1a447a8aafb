from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import MRImageStorage, generate_uid
from pynetdicom import AE, build_context, evt
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from structlog.testing import capture_logs

from deepbrainprint.intake.finding.scp import STUDY_ROOT_FIND, FindScp
from tests.instances import NAME, PATIENT_ID, delivery, mr_image, receive
from tests.integration.services import closed_to_all
from tests.rows import rows

FINDSCU = shutil.which("findscu")
needs_findscu = pytest.mark.skipif(FINDSCU is None, reason="needs findscu: install dcmtk")
CHARSETS = "dicom/odd/pydicom/data/charset_files"


@contextmanager
def serving(intake_settings, database):
    scp = FindScp(intake_settings, database)
    ae = AE(ae_title="FINDER")
    server = ae.start_server(
        ("127.0.0.1", 0),
        block=False,
        contexts=[build_context(STUDY_ROOT_FIND)],
        evt_handlers=[(evt.EVT_C_FIND, scp.find), (evt.EVT_SOP_EXTENDED, scp.negotiate)],
    )
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


@pytest.fixture
def port(intake_settings, database):
    with serving(intake_settings, database) as port:
        yield port


@pytest.fixture
def filed(intake_settings, database):
    """Files MR images given by their attributes."""

    def file(**changes) -> Dataset:
        image = mr_image(**{"StudyDate": "20261121", "StudyTime": "101500"} | changes)
        receive(intake_settings, database, delivery(image))
        return image

    return file


def find(port: int, level: str = "STUDY", *, options: bytes = b"", **keys):
    """Status, identifier and comment of all responses; `options` are negotiated."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    identifier.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid, item.service_class_application_information = STUDY_ROOT_FIND, options
    association = AE(ae_title="READER").associate(
        "127.0.0.1",
        port,
        [build_context(STUDY_ROOT_FIND)],
        ext_neg=[item] if options else None,
    )
    responses = []
    for status, answer in association.send_c_find(identifier, STUDY_ROOT_FIND):
        responses.append((status.Status, answer, status.get("ErrorComment", "")))
    association.release()
    return responses


def found(port: int, level: str = "STUDY", **keys) -> list[Dataset]:
    *pending, (last, _, comment) = find(port, level, **keys)
    assert last == 0, comment
    return [answer for _, answer, _ in pending]


def uids(answers: list[Dataset]) -> set[str]:
    return {answer.StudyInstanceUID for answer in answers}


def findscu(port: int, folder: Path, *keys: str) -> list[Dataset]:
    folder.mkdir()
    asked = [part for key in keys for part in ("-k", key)]
    subprocess.run(
        [FINDSCU, "-S", "-X", "-od", folder, *asked, "127.0.0.1", str(port)],
        check=True,
        capture_output=True,
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    return [dcmread(path) for path in sorted(folder.iterdir())]


@needs_findscu
def test_findscu_finds_what_was_received_at_every_level(port, filed, tmp_path):
    study, series = generate_uid(), generate_uid()
    for number in (1, 2, 3):
        filed(
            study_uid=study,
            SeriesInstanceUID=series,
            SeriesNumber=4,
            InstanceNumber=number,
            SeriesDescription="T1 MPRAGE",
            Manufacturer="SIEMENS",
        )
    filed(PatientID="another")

    [told] = findscu(
        port,
        tmp_path / "studies",
        "QueryRetrieveLevel=STUDY",
        f"PatientID={PATIENT_ID}",
        *("PatientName", "StudyInstanceUID", "ModalitiesInStudy", "AccessionNumber"),
        *("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
    )
    assert (told.StudyInstanceUID, told.PatientName, told.ModalitiesInStudy) == (study, NAME, "MR")
    assert (told.NumberOfStudyRelatedSeries, told.NumberOfStudyRelatedInstances) == (1, 3)
    assert (told.AccessionNumber, told.QueryRetrieveLevel) == ("", "STUDY")
    assert told.SpecificCharacterSet == "ISO_IR 192"

    [told] = findscu(
        port,
        tmp_path / "series",
        "QueryRetrieveLevel=SERIES",
        f"StudyInstanceUID={study}",
        *("SeriesNumber", "SeriesDescription", "Manufacturer", "NumberOfSeriesRelatedInstances"),
    )
    assert (told.SeriesInstanceUID, told.SeriesNumber) == (series, 4)
    assert (told.SeriesDescription, told.Manufacturer) == ("T1 MPRAGE", "SIEMENS")
    assert told.NumberOfSeriesRelatedInstances == 3

    images = findscu(
        port,
        tmp_path / "images",
        "QueryRetrieveLevel=IMAGE",
        f"StudyInstanceUID={study}",
        f"SeriesInstanceUID={series}",
        "InstanceNumber",
        "SOPClassUID",
        "Rows",
        "NumberOfFrames",
    )
    assert {image.InstanceNumber for image in images} == {1, 2, 3}
    assert {(image.SOPClassUID, image.Rows) for image in images} == {(MRImageStorage, 32)}
    assert {image.NumberOfFrames for image in images} == {None}


def test_a_key_matches_by_value_list_wildcard_and_range(port, filed):
    one = filed(
        PatientID="A_1",
        AccessionNumber="ACC100",
        StudyDescription="50% dose\tof 'it'",
        StudyDate="20260101",
        StudyTime="0930",
        PatientBirthDate="19700203",
        StudyID="S1",
        PatientSex="F",
    ).StudyInstanceUID
    two = filed(
        PatientID="AB1",
        AccessionNumber="ACC200",
        StudyDescription="50 per cent",
        StudyDate="20260301",
        StudyTime="235959.5",
        Modality="SR",
        ReferringPhysicianName="Grün^Ärztin",
    ).StudyInstanceUID

    both = {one, two}
    assert uids(found(port)) == both
    for expected, keys in [
        ({one}, {"PatientID": "A_1"}),
        (both, {"PatientID": "A?1"}),
        (both, {"PatientID": "A*"}),
        (set(), {"PatientID": "a_1"}),
        ({one}, {"StudyDescription": "50%*"}),
        ({one}, {"StudyDescription": "*'it'"}),
        (set(), {"StudyDescription": "%"}),
        (set(), {"StudyDescription": "\\"}),
        ({two}, {"AccessionNumber": "ACC200"}),
        (both, {"AccessionNumber": "*"}),
        (both, {"StudyInstanceUID": [one, two]}),
        ({two}, {"StudyInstanceUID": two}),
        (set(), {"StudyInstanceUID": generate_uid()}),
        ({one}, {"StudyDate": "20260101"}),
        ({one}, {"StudyDate": "-20260228"}),
        ({two}, {"StudyDate": "20260102-"}),
        (both, {"StudyDate": "20260101-20260301"}),
        ({one}, {"StudyTime": "0800-1000"}),
        ({one}, {"StudyTime": "093000"}),
        ({two}, {"StudyTime": "2359"}),
        ({one}, {"StudyTime": "-120000"}),
        ({one}, {"PatientBirthDate": "19000101-"}),
        ({one}, {"PatientSex": "F"}),
        ({one}, {"StudyID": "S1"}),
        ({two}, {"ModalitiesInStudy": "SR"}),
        (both, {"ModalitiesInStudy": ["MR", "SR"]}),
        ({two}, {"ReferringPhysicianName": "grün^är*"}),
        (set(), {"ReferringPhysicianName": "grün"}),
    ]:
        assert uids(found(port, **keys)) == expected, keys


def test_a_name_matches_whatever_its_case_and_in_any_component_group(port, filed):
    filed(PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう", SpecificCharacterSet="ISO_IR 192")
    filed(PatientName="ÖZDEMIR^Ayşe^^", SpecificCharacterSet="ISO_IR 192")

    def names(pattern: str) -> list[str]:
        return [str(told.PatientName) for told in found(port, PatientName=pattern)]

    japanese, turkish = ["Yamada^Tarou=山田^太郎=やまだ^たろう"], ["ÖZDEMIR^Ayşe^^"]
    assert names("yamada^tarou") == japanese
    assert names("山田*") == japanese
    assert names("やまだ^た??") == japanese
    assert names("*^tarou=山田*") == japanese
    assert names("*^tarou=山本*") == []
    assert names("=山田^太郎") == japanese
    assert names("özdemir^ayşe") == turkish
    assert names("özdemir^ayşe^") == turkish
    assert names("özdemir") == []
    assert names("?zdem*") == turkish


@pytest.mark.parametrize(
    "file",
    ["chrH31", "chrH32", "chrI2", "chrKoreanMulti", "chrX1", "chrX2", "chrRuss", "chrArab"],
)
def test_names_in_foreign_character_sets_come_back_in_utf_8(
    port, intake_settings, database, shared_data, file
):
    sent = dcmread(shared_data / CHARSETS / f"{file}.dcm")
    receive(
        intake_settings,
        database,
        delivery(sent, sop_class_uid=sent.SOPClassUID, sop_instance_uid=sent.SOPInstanceUID),
    )
    [told] = found(port, PatientName=str(sent.PatientName))
    assert str(told.PatientName) == str(sent.PatientName)
    assert told.SpecificCharacterSet == "ISO_IR 192"


def test_date_and_time_are_one_moment_only_when_that_was_negotiated(port, filed):
    late = filed(StudyDate="20260101", StudyTime="2300").StudyInstanceUID
    early = filed(StudyDate="20260102", StudyTime="0100").StudyInstanceUID
    filed(StudyDate="20260102", StudyTime="2300")
    keys = {"StudyDate": "20260101-20260102", "StudyTime": "2200-0200", "StudyInstanceUID": ""}

    combined = find(port, options=b"\x00\x01\x01", **keys)
    assert {answer.StudyInstanceUID for _, answer, _ in combined[:-1]} == {late, early}
    assert found(port, **keys) == []


def test_levels_above_must_be_named_unless_relational_queries_were_negotiated(port, filed):
    filed()
    [(status, _, comment)] = find(port, "SERIES")
    assert (status, comment) == (0xA900, "StudyInstanceUID is required at level SERIES")
    [(status, _, comment)] = find(port, "IMAGE", StudyInstanceUID="1.2")
    assert (status, comment) == (0xA900, "SeriesInstanceUID is required at level IMAGE")
    assert [status for status, *_ in find(port, "IMAGE", options=b"\x01")] == [0xFF00, 0]


@pytest.mark.parametrize(
    ("keys", "comment"),
    [
        ({"level": "PATIENT"}, "QueryRetrieveLevel is none of STUDY, SERIES, IMAGE"),
        ({"StudyDate": "yesterday"}, "StudyDate is no date"),
        ({"StudyDate": "-"}, "StudyDate is a range without ends"),
        ({"StudyTime": "25h"}, "StudyTime is no time"),
        ({"StudyInstanceUID": "x'; drop table study; --"}, "StudyInstanceUID holds something"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_question_that_is_none_is_refused_with_the_name_of_its_key(port, filed, keys, comment):
    filed()
    [(status, answer, told)] = find(port, **keys)
    assert (status, answer) == (0xA900, None)
    assert told.startswith(comment)


def test_keys_that_are_not_supported_are_left_out_and_said_so(port, filed):
    filed()
    [(status, told, _), (last, *_)] = find(port, PatientWeight="", PatientID="")
    assert (status, last) == (0xFF01, 0)
    assert "PatientWeight" not in told
    assert told.PatientID == PATIENT_ID
    assert find(port, NumberOfStudyRelatedInstances="5")[0][0] == 0xFF01
    assert find(port, Modality="MR")[0][0] == 0xFF01
    told = find(port, InstanceAvailability="", RetrieveAETitle="")[0]
    assert (told[0], told[1].InstanceAvailability) == (0xFF00, "UNAVAILABLE")


def test_what_is_over_the_limit_is_said_after_the_answers(intake_settings, database, filed):
    for _ in range(5):
        filed()
    with serving(intake_settings.model_copy(update={"most_answers": 3}), database) as port:
        statuses = find(port)
    assert [status for status, *_ in statuses] == [0xFF00] * 3 + [0xA700]
    assert statuses[-1][2] == "more than 3 matches: ask for less"


def test_many_answers_come_each_once_over_several_pages(
    intake_settings, database, filed, monkeypatch
):
    monkeypatch.setattr("deepbrainprint.intake.finding.search._PAGE", 3)
    series = generate_uid()
    study = generate_uid()
    images = [filed(study_uid=study, SeriesInstanceUID=series) for _ in range(7)]
    others = [filed() for _ in range(6)]
    with serving(intake_settings, database) as port:
        assert len(found(port)) == len(uids(found(port))) == 7
        told = found(port, "IMAGE", StudyInstanceUID=study, SeriesInstanceUID=series)
        listed = [answer.SeriesInstanceUID for answer in found(port, "SERIES", options=b"\x01")]
    assert sorted(answer.SOPInstanceUID for answer in told) == sorted(
        image.SOPInstanceUID for image in images
    )
    assert sorted(listed) == sorted([series, *(image.SeriesInstanceUID for image in others)])


def test_a_query_ends_with_the_answer_at_which_the_peer_has_cancelled(
    intake_settings, database, filed
):
    for _ in range(4):
        filed()
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    parties = SimpleNamespace(ae_title="READER", sop_class_extended={})
    event = SimpleNamespace(
        identifier=identifier,
        is_cancelled=False,
        assoc=SimpleNamespace(requestor=parties, acceptor=parties),
    )
    responses = FindScp(intake_settings, database).find(event)
    assert [next(responses)[0], next(responses)[0]] == [0xFF00, 0xFF00]
    event.is_cancelled = True
    assert list(responses) == [(0xFE00, None)]


def test_a_query_is_refused_for_now_while_postgresql_is_away(postgres_url, database, port, filed):
    filed()
    with closed_to_all(postgres_url, database):
        [(status, _, comment)] = find(port)
    assert status == 0xA700
    assert "PostgreSQL does not answer" in comment
    assert len(found(port)) == 1


def test_the_log_of_a_query_holds_no_identity(port, filed):
    filed(AccessionNumber="ACC-SECRET")
    with capture_logs() as log:
        found(port, PatientName="Sonder*", PatientID=PATIENT_ID, AccessionNumber="ACC-SECRET")
        find(port, PatientID=PATIENT_ID, StudyDate="GEHEIM")
    events = [line["event"] for line in log]
    assert events == ["query_answered", "query_refused"]
    assert log[0]["actor"] == "ae:READER"
    assert log[0]["keys"] == ("AccessionNumber", "PatientID", "PatientName")
    assert not re.search("Sonder|GEHEIM|SECRET", str(log))


def test_who_asked_and_how_much_was_told_is_recorded_without_values(database, port, filed):
    filed()
    found(port, PatientID=PATIENT_ID)
    find(port, StudyDate="yesterday")
    assert rows(database, "select actor, act, subject_kind, subject_id, details from act") == [
        ("ae:READER", "queried", "query", "STUDY", {"keys": ["PatientID"], "answers": 1})
    ]


def test_what_retention_took_away_is_not_found(database, port, filed):
    study = generate_uid()
    gone, kept = filed(study_uid=study), filed(study_uid=study)
    filed()
    rows(
        database,
        "update instance set deleted_at = now() where sop_instance_uid <> %s",
        kept.SOPInstanceUID,
    )
    [told] = found(port, NumberOfStudyRelatedInstances="")
    assert (told.StudyInstanceUID, told.NumberOfStudyRelatedInstances) == (study, 1)
    series = found(port, "SERIES", StudyInstanceUID=study)
    assert [answer.SeriesInstanceUID for answer in series] == [kept.SeriesInstanceUID]
    keys = {"StudyInstanceUID": study, "SeriesInstanceUID": gone.SeriesInstanceUID}
    assert found(port, "IMAGE", **keys) == []
