"""The quarantine desk: what was kept aside, and what people do with it on the command line."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from typer.testing import CliRunner, Result

from deepbrainprint.cli import app
from deepbrainprint.database.arrivals import Arrival
from deepbrainprint.database.connection import Database
from deepbrainprint.database.quarantine import held_counts
from deepbrainprint.database.reports import backlog_report
from deepbrainprint.errors import BadStudy
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.part10 import Delivery, read_delivery
from deepbrainprint.intake.quarantine import desk as quarantine_desk
from deepbrainprint.intake.quarantine.keeping import HeldReason, record_all
from deepbrainprint.intake.spool import instance_path
from deepbrainprint.settings import Settings
from tests.instances import NAME, PATIENT_ID, delivery, encoded, mr_image, receive
from tests.integration.services import environment
from tests.rows import count, rows

pytestmark = pytest.mark.filterwarnings("ignore:.*VR:UserWarning")  # bad objects are the point
SECRETS = [*NAME.split("^"), PATIENT_ID]


class Desk:
    """The command line on one home and database."""

    def __init__(self, settings: Settings) -> None:
        self.environment = environment(settings)

    def run(self, *words: object) -> Result:
        return CliRunner().invoke(app, ["quarantine", *map(str, words)], env=self.environment)

    def says(self, *words: object, code: int = 0) -> str:
        done = self.run(*words)
        assert done.exit_code == code, done.output
        return done.output

    def json(self, *words: object, code: int = 0) -> Any:
        return json.loads(self.says(*words, "--json", code=code))


@pytest.fixture
def desk(intake_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.delenv("SUDO_USER", raising=False)
    return Desk(intake_settings)


def refused(settings: Settings, database: Database, sent: Delivery) -> str:
    """Send what cannot be filed; the code of the refusal."""
    with pytest.raises(BadStudy) as why:
        receive(settings, database, sent)
    return why.value.code


def of_unknown_sender(settings: Settings, database: Database, sent: Delivery) -> None:
    filing = Filing(settings, database)
    with filing.begin(sent) as incoming:
        incoming.write(sent.data_set)
        filing.set_aside(incoming, BadStudy("nobody admitted it", code="unknown_sender"))


def mismatch(image: Dataset | None = None) -> Delivery:
    return delivery(image, sop_instance_uid=generate_uid())


def truncated(image: Dataset | None = None) -> Delivery:
    return delivery(data_set=encoded(mr_image() if image is None else image)[:-100])


def conflict(settings: Settings, database: Database) -> tuple[Dataset, Dataset]:
    """An image that is filed, and the other one under its UID that is held."""
    first = mr_image()
    second = mr_image(
        SOPInstanceUID=first.SOPInstanceUID, StudyInstanceUID=first.StudyInstanceUID,
        SeriesInstanceUID=first.SeriesInstanceUID, PatientName="Anders^Wer", PatientBirthDate="19700131",
    )  # fmt: skip
    receive(settings, database, delivery(first))
    assert refused(settings, database, delivery(second)) == "other_bytes"
    return first, second


BAD: dict[str, Delivery] = {
    "no_uid": delivery(mr_image(StudyInstanceUID=None)),
    "truncated": truncated(),
    "unreadable": delivery(data_set=b"\xff" * 64, transfer_syntax_uid="1.2.840.10008.1.2.1.99"),
    "uid_mismatch": mismatch(),
    "class_mismatch": delivery(sop_class_uid="1.2.840.10008.5.1.4.1.1.2"),
}


@pytest.mark.parametrize("code", BAD)
def test_each_reason_is_listed_with_what_to_do(
    intake_settings: Settings, database: Database, desk: Desk, code: str
):
    assert refused(intake_settings, database, BAD[code]) == code
    [held] = desk.json("list")
    assert (held["reason_code"], held["state"], held["calling_ae"]) == (code, "held", "SCANNER")
    assert held["advice"] == HeldReason(code).advice
    assert code in desk.says("list", "--reason", code)
    assert desk.json("list", "--reason", "other_bytes") == []
    with database.transaction() as connection:
        assert held_counts(connection) == {code: 1}


def test_nothing_held_says_so(desk: Desk):
    assert desk.says("list").strip() == "Nothing is held."


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_inside_is_shown_without_saying_who_it_is(
    intake_settings: Settings, database: Database, desk: Desk, form: list[str]
):
    image = mr_image(StudyDescription=NAME, InstanceNumber="7")
    refused(intake_settings, database, mismatch(image))
    shown = desk.says("show", 1, *form)
    assert image.SOPInstanceUID in shown
    assert "PatientName" in shown
    assert not any(secret in shown for secret in SECRETS)
    assert count(database, "act") == 0


def test_a_name_where_no_name_belongs_is_not_shown_either(
    intake_settings: Settings, database: Database, desk: Desk
):
    image = mr_image(Modality=NAME, StudyInstanceUID=NAME, InstanceNumber=None)
    refused(intake_settings, database, delivery(image))
    shown = desk.json("show", 1)
    values = {element["keyword"]: element["value"] for element in shown["inside"]["elements"]}
    assert (values["Modality"], values["StudyInstanceUID"], values["Rows"]) == (None, None, "32")
    assert not any(secret in json.dumps(shown) for secret in SECRETS)


def test_showing_identity_is_recorded_and_escapes_what_a_header_holds(
    intake_settings: Settings, database: Database, desk: Desk
):
    image = mr_image(PatientComments="[red]\x1b[2Jboo", SpecificCharacterSet="ISO_IR 192")
    image.PatientName = "Groß^Jürgen"
    refused(intake_settings, database, mismatch(image))
    shown = desk.says("show", 1, "--show-identity")
    assert "Groß^Jürgen" in shown
    assert "[red]" in shown
    assert "\x1b[2J" not in shown
    [(act, actor, kind, subject, details)] = rows(
        database, "select act, actor, subject_kind, subject_id, details::text from act"
    )
    assert (act, kind, subject) == ("identity_shown", "quarantine", "1")
    assert actor
    assert "Groß" not in details
    assert [told["act"] for told in desk.json("show", 1)["acts"]] == ["identity_shown"]


@pytest.mark.parametrize(
    "sent", [b"", b"\x00" * 5, b"\xff" * 3000, random.Random(1).randbytes(5000)]
)
def test_bytes_that_are_no_object_can_be_looked_at(
    intake_settings: Settings, database: Database, desk: Desk, sent: bytes
):
    refused(intake_settings, database, delivery(data_set=sent))
    for words in ([], ["--json"], ["--show-identity"]):
        desk.says("show", 1, *words)


@pytest.mark.parametrize("code", ["uid_mismatch", "class_mismatch"])
def test_after_a_mismatch_an_object_is_filed_as_what_it_says_itself(
    intake_settings: Settings, database: Database, desk: Desk, code: str
):
    refused(intake_settings, database, BAD[code])
    assert "released — filed (new)" in desk.says("release", 1, "--reason", "sender is corrected")
    [(uid, sop_class, path)] = rows(
        database, "select sop_instance_uid, sop_class_uid, path from instance"
    )
    filed = read_delivery(intake_settings.instances_folder / path)
    assert filed.data_set == BAD[code].data_set
    assert (filed.sop_instance_uid, filed.sop_class_uid) == (uid, sop_class)
    assert list(intake_settings.quarantine_folder.iterdir()) == []
    assert rows(database, "select act, reason from act") == [("released", "sender is corrected")]
    assert desk.json("list") == []
    assert desk.json("list", "--state", "released")[0]["note"] == "sender is corrected"


def test_an_object_of_a_sender_that_was_not_known_is_filed(
    intake_settings: Settings, database: Database, desk: Desk
):
    of_unknown_sender(intake_settings, database, delivery())
    [done] = desk.json("release", 1)
    assert done["outcome"] == "released"
    assert rows(database, "select calling_ae from instance") == [("SCANNER",)]


def test_what_still_cannot_be_filed_stays_and_says_why(
    intake_settings: Settings, database: Database, desk: Desk
):
    of_unknown_sender(intake_settings, database, truncated())
    assert "stays: the object ends before its last element does" in desk.says("release", 1, code=1)
    [held] = desk.json("list")
    assert (held["state"], held["reason_code"]) == ("held", "truncated")
    assert (intake_settings.quarantine_folder / held["path"]).exists()
    assert count(database, "act") == 0


def test_of_an_unknown_sender_a_mismatch_is_filed_at_the_second_word(
    intake_settings: Settings, database: Database, desk: Desk
):
    of_unknown_sender(intake_settings, database, mismatch())
    assert desk.json("release", 1, code=1)[0]["code"] == "uid_mismatch"
    assert desk.json("release", 1)[0]["outcome"] == "released"


def test_a_conflict_is_never_filed_over_the_first_one(
    intake_settings: Settings, database: Database, desk: Desk
):
    first, _ = conflict(intake_settings, database)
    assert desk.json("release", 1, code=1)[0]["code"] == "other_bytes"
    path = intake_settings.instances_folder / instance_path(first.SOPInstanceUID)
    assert read_delivery(path).data_set == encoded(first)
    assert [held["state"] for held in desk.json("list")] == ["held"]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_conflict_shows_both_copies_and_where_they_differ_but_no_values(
    intake_settings: Settings, database: Database, desk: Desk, form: list[str]
):
    first, _ = conflict(intake_settings, database)
    shown = desk.says("show", 1, *form)
    assert str(intake_settings.instances_folder / instance_path(first.SOPInstanceUID)) in shown
    assert str(intake_settings.quarantine_folder) in shown
    assert not any(secret in shown for secret in [*SECRETS, "Anders", "19700131"])
    found = desk.json("show", 1)["conflict"]["differences"]
    assert [(one["keyword"], one["how"]) for one in found] == [
        ("PatientName", "differs"),
        ("PatientBirthDate", "only held"),
    ]


def test_discarding_removes_the_object_and_keeps_the_story(
    intake_settings: Settings, database: Database, desk: Desk
):
    refused(intake_settings, database, truncated())
    assert "discarded" in desk.says("discard", 1, "--reason", "sent again whole")
    assert list(intake_settings.quarantine_folder.iterdir()) == []
    shown = desk.json("show", 1)
    assert (shown["object"]["state"], shown["inside"]) == ("discarded", None)
    assert [(act["act"], act["reason"]) for act in shown["acts"]] == [
        ("discarded", "sent again whole")
    ]
    with database.transaction() as connection:
        assert held_counts(connection) == {}
        assert backlog_report(connection).quarantined == 0


def test_discarding_needs_a_reason(intake_settings: Settings, database: Database, desk: Desk):
    refused(intake_settings, database, truncated())
    assert desk.run("discard", 1).exit_code == 2
    assert desk.run("discard", 1, "--reason", " ").exit_code == 2
    assert len(desk.json("list")) == 1


def test_deciding_twice_changes_nothing(intake_settings: Settings, database: Database, desk: Desk):
    refused(intake_settings, database, mismatch())
    desk.says("release", 1)
    assert desk.json("release", 1)[0]["outcome"] == "unchanged"
    assert desk.json("discard", 1, "--reason", "x", code=1)[0]["code"] == "already_released"
    assert (count(database, "act"), count(database, "instance")) == (1, 1)


def test_an_unknown_object_is_bad_input(desk: Desk):
    assert desk.run("show", 77).exception.code == "no_such_object"
    assert desk.run("release", 77).exception.code == "no_such_object"


def test_a_selection_is_shown_first_and_done_with_yes(
    intake_settings: Settings, database: Database, desk: Desk
):
    for _ in range(3):
        refused(intake_settings, database, mismatch())
    refused(intake_settings, database, truncated())
    preview = desk.says("release", "--code", "uid_mismatch", "--sender", "SCANNER")
    assert "Nothing was changed. To release these 3 objects" in preview
    assert (count(database, "act"), len(desk.json("list"))) == (0, 4)
    done = desk.json("release", "--code", "uid_mismatch", "--yes")
    assert [one["outcome"] for one in done] == ["released"] * 3
    assert [held["reason_code"] for held in desk.json("list")] == ["truncated"]
    assert desk.run("release").exit_code == 2
    assert desk.run("release", 1, "--code", "truncated").exit_code == 2


def test_the_same_bytes_again_after_a_discard_are_held_anew(
    intake_settings: Settings, database: Database, desk: Desk
):
    sent = truncated()
    for _ in range(2):
        refused(intake_settings, database, sent)
        assert [held["state"] for held in desk.json("list")] == ["held"]
        desk.says("discard", 1, "--reason", "again")
    assert count(database, "act") == 2


def test_a_kept_file_that_has_changed_is_not_filed(
    intake_settings: Settings, database: Database, desk: Desk
):
    refused(intake_settings, database, mismatch())
    [path] = intake_settings.quarantine_folder.glob("*.dcm")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert desk.json("release", 1, code=1)[0]["code"] == "file_changed"
    assert count(database, "instance") == 0


def test_a_stop_between_decision_and_removal_is_made_good(
    intake_settings: Settings, database: Database, desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    refused(intake_settings, database, truncated())
    refused(intake_settings, database, BAD["no_uid"])
    with monkeypatch.context() as stopped:
        stopped.setattr(quarantine_desk, "remove_files", lambda *_: None)
        desk.says("discard", 1, 2, "--reason", "x")
    assert len(list(intake_settings.quarantine_folder.glob("*.dcm"))) == 2
    assert desk.json("discard", 1, "--reason", "x")[0]["outcome"] == "unchanged"
    assert len(list(intake_settings.quarantine_folder.glob("*.dcm"))) == 1
    assert record_all(intake_settings, database) == 0
    assert list(intake_settings.quarantine_folder.iterdir()) == []
    assert desk.json("list") == []


@pytest.mark.parametrize("seed", range(3))
def test_after_a_kill_rows_and_files_agree(
    intake_settings: Settings, database: Database, desk: Desk, seed: int
):
    moment = random.Random(seed)
    images = [mr_image() for _ in range(60)]
    for image in images:
        refused(intake_settings, database, mismatch(image))
    command = [sys.executable, "-m", "deepbrainprint.cli", "quarantine", "release"]
    selection = ["--code", "uid_mismatch", "--yes"]
    doomed = subprocess.Popen(
        [*command, *selection], env=desk.environment, stdout=subprocess.PIPE, text=True
    )
    assert doomed.stdout is not None
    for _ in range(moment.randrange(1, 20)):
        doomed.stdout.readline()
    time.sleep(moment.uniform(0, 0.01))
    doomed.send_signal(signal.SIGKILL)
    doomed.wait()
    assert 0 < len(desk.json("list")) < 60
    record_all(intake_settings, database)
    held = {Path(one["path"]) for one in desk.json("list")}
    assert held == {Path(path.name) for path in intake_settings.quarantine_folder.glob("*.dcm")}
    assert count(database, "act") == 60 - len(held)
    desk.says("release", *selection)
    assert desk.json("list") == []
    assert rows(database, "select sum(repeats) <= 1, count(*) from instance") == [(True, 60)]
    for image in images:
        path = intake_settings.instances_folder / instance_path(image.SOPInstanceUID)
        assert read_delivery(path).data_set == encoded(image)


def test_two_people_at_once_release_an_object_once(intake_settings: Settings, database: Database):
    refused(intake_settings, database, mismatch())
    desks = [quarantine_desk.QuarantineDesk(intake_settings, database, actor=name) for name in "ab"]
    filing = Filing(intake_settings, database)
    seen = [desk.find(1) for desk in desks]  # both see it held
    done = [desk.release(held, filing) for desk, held in zip(desks, seen, strict=True)]
    assert [one.outcome for one in done] == ["released", "unchanged"]
    assert rows(database, "select actor from act") == [("a",)]


def test_acts_can_be_appended_but_never_changed(
    intake_settings: Settings, database: Database, database_url: str, desk: Desk
):
    refused(intake_settings, database, truncated())
    desk.says("discard", 1, "--reason", "x")
    for change in ("update act set actor = 'x'", "delete from act", "truncate act"):
        with pytest.raises(psycopg2.errors.RaiseException, match="rows of act are appended"):
            rows(database, change)


def test_a_held_object_that_is_sent_again_in_order_is_filed_beside_it(
    intake_settings: Settings, database: Database
):
    image = mr_image()
    refused(intake_settings, database, mismatch(image))
    assert receive(intake_settings, database, delivery(image)) is Arrival.NEW
