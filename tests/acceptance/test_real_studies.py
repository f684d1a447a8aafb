"""Real scanners' studies, sent by dcmtk's storescu into the running stack."""

from __future__ import annotations

import shutil
import subprocess

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(1800)]

POSITIONS = ("HFS", "HFP", "HFDL", "HFDR")
OTHERS = ("philips_mprage", "siemens_xa30_enhanced")
NO_BRAIN = "odd/pydicom/data/test_files/MR_small.dcm"


@pytest.fixture(scope="module")
def sent(service, shared_data, tmp_path_factory):
    """Our study id by what was sent; each study is settled before the next goes out."""
    for tool in ("storescu", "dcmodify"):
        if shutil.which(tool) is None:
            pytest.skip("dcmtk is not installed: apt-get install dcmtk")
    scratch = tmp_path_factory.mktemp("real")
    dicom = shared_data / "dicom"
    sources = {p: dicom / "repositioned_volunteer" / p for p in POSITIONS}
    sources |= {name: dicom / name for name in OTHERS} | {"no brain": dicom / NO_BRAIN}
    found = {}
    for number, (name, source) in enumerate(sources.items()):
        copy = scratch / str(number)
        (shutil.copytree if source.is_dir() else _copy_file)(source, copy)
        if name in POSITIONS:
            _rename_patient(copy, f"REPOSITIONED-{number}")
        known = {study["study_id"] for study in service.ask("studies")}
        _storescu(service, copy)
        settled = service.settled(studies=len(known) + 1)
        (found[name],) = {study["study_id"] for study in settled} - known
    return found


def _copy_file(source, folder):
    folder.mkdir()
    shutil.copy(source, folder)


def _rename_patient(folder, patient_id):
    files = [str(path) for path in folder.rglob("*") if path.is_file()]
    subprocess.run(["dcmodify", "-nb", "-m", f"PatientID={patient_id}", *files], check=True)


def _storescu(service, folder):
    port = str(service.ask("status")["listener_port"])
    subprocess.run(
        ["storescu", "-R", "+sd", "+r", "-aec", "DEEPBRAINPRINT", "127.0.0.1", port, str(folder)],
        check=True,
        timeout=300,
        env={"TCP_NODELAY": "1", "PATH": "/usr/bin:/bin"},
    )


@pytest.fixture(scope="module")
def decided(service, sent):
    links = {link["study_id"]: link for link in service.ask("links")}
    return {name: links.get(study_id) for name, study_id in sent.items()}


def test_one_volunteer_in_four_positions_is_never_four_people(decided):
    first = decided["HFS"]
    assert first["verdict"] == "new_patient"
    for position in POSITIONS[1:]:
        link = decided[position]
        nearest = link["candidates"][0]["patient_id"]
        assert link["verdict"] in {"linked", "review"}, (position, link)
        assert nearest == first["patient_id"], (position, link)


def test_other_people_are_other_patients(decided):
    volunteer = decided["HFS"]["patient_id"]
    for name in OTHERS:
        assert decided[name]["verdict"] in {"new_patient", "review"}, decided[name]
        assert decided[name]["patient_id"] != volunteer


def test_what_is_no_brain_ends_as_not_applicable(service, sent):
    states = {study["study_id"]: study for study in service.ask("studies")}
    ended = states[sent["no brain"]]
    assert (ended["state"], bool(ended["reason"])) == ("not_applicable", True)


def test_nothing_fails_unexplained(service, sent):
    for study in service.ask("studies"):
        assert study["state"] in {"decided", "not_applicable"}, study
