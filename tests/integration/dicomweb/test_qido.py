from __future__ import annotations

import httpx
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from deepbrainprint.intake.dicomweb.app import create_app
from deepbrainprint.intake.dicomweb.tokens import new_token
from tests.instances import NAME
from tests.integration.web import BOTH, body, post, running

CHARSETS = "dicom/odd/pydicom/data/charset_files"


def values(answer: httpx.Response, tag: str) -> list:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom+json"
    return [one.get(tag, {}).get("Value", [None])[0] for one in answer.json()]


STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"


def test_studies_series_and_instances_are_found_by_all_six_paths(web, filed):
    study, series = generate_uid(), generate_uid()
    images = [filed(study_uid=study, SeriesInstanceUID=series) for _ in range(2)]
    other = filed()
    mine = {image.SOPInstanceUID for image in images}
    every = {*mine, other.SOPInstanceUID}
    assert set(values(web.get("/studies"), STUDY)) == {study, other.StudyInstanceUID}
    assert set(values(web.get("/series"), SERIES)) == {series, other.SeriesInstanceUID}
    assert set(values(web.get("/instances"), INSTANCE)) == every
    assert values(web.get(f"/studies/{study}/series"), SERIES) == [series]
    assert set(values(web.get(f"/studies/{study}/instances"), INSTANCE)) == mine
    within = web.get(f"/studies/{study}/series/{series}/instances")
    assert set(values(within, INSTANCE)) == mine
    assert values(web.get(f"/studies/{generate_uid()}/series"), SERIES) == []
    assert web.get("/studies/nothing/series").status_code == 400
    assert web.get("/studies/*/series").status_code == 400


def test_attributes_match_by_keyword_and_by_tag(web, filed):
    one, two = filed(AccessionNumber="A1").StudyInstanceUID, filed(PatientID="%").StudyInstanceUID
    for parameters, expected in [
        ({"AccessionNumber": "A1"}, {one}),
        ({"00080050": "A?"}, {one}),
        ({"PatientID": "%"}, {two}),
        ({"PatientID": "\\"}, set()),
        ({"PatientName": "sonder*"}, {one, two}),
        ({"StudyInstanceUID": f"{one},{two}"}, {one, two}),
        ({"StudyInstanceUID": f"{one}\\1.2"}, {one}),
        ({"StudyDate": "20261121", "ModalitiesInStudy": "CT,MR"}, {one, two}),
        ({"StudyDate": "-20200101"}, set()),
        ({"PatientID": ""}, {one, two}),
    ]:
        assert set(values(web.get("/studies", params=parameters), STUDY)) == expected, parameters
    assert values(web.get("/series?Modality=MR&limit=1&SeriesNumber="), "00080060") == ["MR"]
    assert values(web.get("/instances", params={"Rows": "33"}), INSTANCE) == []


def test_pages_follow_one_another(web, filed):
    for _ in range(5):
        filed()
    every = values(web.get("/studies"), STUDY)
    pages = [values(web.get(f"/studies?limit=2&offset={n}"), STUDY) for n in (0, 2, 4, 6)]
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert [uid for page in pages for uid in page] == every
    assert values(web.get("/studies?limit=0"), STUDY) == []


def test_what_is_over_the_servers_limit_is_warned_of(intake_settings, database, filed):
    for _ in range(3):
        filed()
    token = new_token(database, "X", BOTH, days=1, by="tester")
    app = create_app(intake_settings.model_copy(update={"most_answers": 2}), database)
    with (
        running(app) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as web,
    ):
        assert len(web.get("/studies").json()) == 2
        assert "Additional results can be requested" in web.get("/studies").headers["warning"]
        assert "warning" in web.get("/studies?limit=9").headers
        assert "warning" not in web.get("/studies?limit=2").headers
        assert "warning" not in web.get("/studies?offset=1").headers


def test_fields_are_those_of_the_standard_and_those_asked_for(web, filed):
    filed(StudyDescription="Head", Manufacturer="GE", SeriesDescription="T1")
    [plain] = web.get("/studies").json()
    assert "00081030" not in plain
    assert plain["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": NAME}]}
    assert plain["00201208"] == {"vr": "IS", "Value": [1]}
    assert plain["00080056"]["Value"] == ["UNAVAILABLE"]
    [more] = web.get("/studies?includefield=StudyDescription,PatientWeight").json()
    assert more["00081030"]["Value"] == ["Head"]
    [all_] = web.get("/series?includefield=all").json()
    assert (all_["00080070"]["Value"], all_["00081030"]["Value"]) == (["GE"], ["Head"])


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=-1", "limit is no whole number"),
        ("limit=1&limit=2", "limit is given more than once"),
        ("offset=x", "offset is no whole number"),
        ("StudyDate=yesterday", "StudyDate is no date"),
        ("PatientID=a&00100020=b", "PatientID is given more than once"),
        ("Nonsense=1", "Nonsense is neither a parameter nor a DICOM attribute"),
        ("99999999=1", "99999999 is neither"),
        ("PatientWeight=1", "PatientWeight cannot be searched for here"),
        ("Modality=MR", "Modality cannot be searched for here"),
        ("00400275.00400007=x", "lies in a sequence"),
        ("includefield=Nonsense", "Nonsense is neither"),
        ("fuzzymatching=maybe", "fuzzymatching is neither true nor false"),
        ("StudyInstanceUID=%27;drop", "StudyInstanceUID holds something that is no UID"),
        ("%3Cscript%3E=1", "a parameter is neither"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(web, query, message):
    answer = web.get(f"/studies?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_query")
    assert message in answer.json()["message"]


def test_fuzzy_matching_is_said_not_to_be_done(web, filed):
    filed()
    answer = web.get("/studies?fuzzymatching=true&PatientName=sonderling*")
    assert len(answer.json()) == 1
    assert answer.headers["warning"].startswith("299 ")
    assert "fuzzymatching" in answer.headers["warning"]
    assert "warning" not in web.get("/studies?fuzzymatching=false").headers


def test_only_dicom_json_is_answered(web):
    assert web.get("/studies", headers={"Accept": "application/json"}).status_code == 200
    accept = 'multipart/related; type="application/dicom+xml"'
    assert web.get("/studies", headers={"Accept": accept}).status_code == 406


@pytest.mark.parametrize("file", ["chrH32", "chrI2", "chrX1", "chrX2", "chrGreek"])
def test_a_name_in_a_foreign_character_set_goes_in_by_stow_and_comes_out_by_qido(
    web, shared_data, file
):
    path = shared_data / CHARSETS / f"{file}.dcm"
    sent = dcmread(path)
    assert post(web, body(path.read_bytes())).status_code == 200
    answer = web.get("/studies", params={"PatientName": str(sent.PatientName)})
    [name] = values(answer, "00100010")
    groups = [name.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
    assert "=".join(groups).rstrip("=") == str(sent.PatientName)
