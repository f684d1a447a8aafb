"""From encoded bytes to file and row, with a real disk and a real PostgreSQL."""

from __future__ import annotations

import random
import threading
import time

import pytest
from pydicom.uid import generate_uid

from deepbrainprint.database.arrivals import Arrival, instance_paths
from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy, TryAgain
from deepbrainprint.intake import spool
from deepbrainprint.intake.filing import Filing
from deepbrainprint.intake.journal import Journal
from deepbrainprint.intake.part10 import Delivery, read_delivery
from deepbrainprint.intake.reconciliation import Reconciliation, empty_journal, reconcile
from deepbrainprint.records import StudyRevision
from deepbrainprint.settings import Settings
from tests.closing import close_quiet_studies
from tests.instances import NAME, PATIENT_ID, delivery, encoded, mr_image, receive
from tests.rows import count, rows

pytestmark = pytest.mark.filterwarnings("ignore:.*VR:UserWarning")  # bad objects are the point


def refused(settings: Settings, database: Database, sent: Delivery) -> str:
    with pytest.raises(BadStudy) as caught:
        receive(settings, database, sent)
    return caught.value.code


def close(database: Database, quiet_seconds: float = 0.001) -> list[StudyRevision]:
    time.sleep(quiet_seconds)
    with database.transaction() as connection:
        return close_quiet_studies(connection, quiet_seconds=quiet_seconds)


def reconciled(settings: Settings, database: Database) -> Reconciliation:
    return reconcile(settings, database, before=time.time() + 1)


def test_an_instance_becomes_a_file_and_a_row(intake_settings: Settings, database: Database):
    sent = delivery()
    assert receive(intake_settings, database, sent) is Arrival.NEW
    [(path, sha256, size, ae)] = rows(
        database, "select path, sha256, size_bytes, calling_ae from instance"
    )
    file = intake_settings.instances_folder / path
    assert read_delivery(file) == sent
    assert (sha256, size, ae) == (sent.sha256, file.stat().st_size, "SCANNER")


def test_identity_goes_into_the_identity_schema(intake_settings: Settings, database: Database):
    receive(intake_settings, database, delivery())
    assert rows(database, "select name, patient_id from identity.study_identity") == [
        (NAME, PATIENT_ID)
    ]


def test_names_in_any_script_survive_into_the_identity_schema(
    intake_settings: Settings, database: Database
):
    dataset = mr_image(SpecificCharacterSet="GB18030", PatientName="Wang^XiaoDong=王^小东")
    receive(intake_settings, database, delivery(dataset))
    assert rows(database, "select name from identity.study_identity") == [
        ("Wang^XiaoDong=王^小东",)
    ]


def test_very_long_identity_does_not_break_the_row(intake_settings: Settings, database: Database):
    noise = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))
    dataset = mr_image(PatientID=noise, IssuerOfPatientID=noise[::-1])
    assert receive(intake_settings, database, delivery(dataset)) is Arrival.NEW


def test_a_repeat_of_an_instance_is_harmless(intake_settings: Settings, database: Database):
    sent = delivery()
    receive(intake_settings, database, sent)
    assert receive(intake_settings, database, sent) is Arrival.REPEAT
    assert rows(database, "select repeats from instance") == [(1,)]
    assert count(database, "study_revision") == 1


def test_a_repeat_does_not_open_a_closed_study(intake_settings: Settings, database: Database):
    sent = delivery()
    receive(intake_settings, database, sent)
    assert len(close(database)) == 1
    receive(intake_settings, database, sent)
    assert close(database) == []


def test_a_repeat_brings_back_a_file_that_was_lost(intake_settings: Settings, database: Database):
    sent = delivery()
    receive(intake_settings, database, sent)
    file = intake_settings.instances_folder / spool.instance_path(sent.sop_instance_uid)
    file.unlink()
    assert receive(intake_settings, database, sent) is Arrival.REPEAT
    assert read_delivery(file) == sent


def test_other_bytes_under_a_known_uid_are_kept_beside_the_first(
    intake_settings: Settings, database: Database
):
    dataset = mr_image()
    first = delivery(dataset)
    receive(intake_settings, database, first)
    dataset.PixelData = bytes(len(dataset.PixelData))
    changed = delivery(dataset)
    assert refused(intake_settings, database, changed) == "other_bytes"
    [(code, path)] = rows(database, "select reason_code, path from quarantine")
    assert code == "other_bytes"
    assert read_delivery(intake_settings.quarantine_folder / path) == changed
    [(path,)] = rows(database, "select path from instance")
    assert read_delivery(intake_settings.instances_folder / path) == first


def test_other_bytes_do_not_take_the_place_of_a_lost_file(
    intake_settings: Settings, database: Database
):
    dataset = mr_image()
    receive(intake_settings, database, delivery(dataset))
    file = intake_settings.instances_folder / spool.instance_path(dataset.SOPInstanceUID)
    file.unlink()
    dataset.PixelData = bytes(len(dataset.PixelData))
    assert refused(intake_settings, database, delivery(dataset)) == "other_bytes"
    assert not file.exists()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (delivery(mr_image(StudyInstanceUID=None)), "no_uid"),
        (delivery(data_set=b"nothing that DICOM knows"), "truncated"),
        (delivery(data_set=b""), "no_uid"),
        (delivery(mr_image(), sop_instance_uid="1.2.3"), "uid_mismatch"),
        (delivery(mr_image(), sop_class_uid="1.2.840.10008.5.1.4.1.1.2"), "class_mismatch"),
        (delivery(mr_image(), sop_instance_uid="../../etc/cron.d/x"), "invalid_uid"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_filed_is_kept_aside_with_its_reason(
    intake_settings: Settings, database: Database, sent: Delivery, code: str
):
    assert refused(intake_settings, database, sent) == code
    assert refused(intake_settings, database, sent) == code
    [(recorded, path)] = rows(database, "select reason_code, path from quarantine")
    assert recorded == code
    assert read_delivery(intake_settings.quarantine_folder / path).data_set == sent.data_set
    assert count(database, "instance") == 0


def test_reasons_of_quarantine_hold_no_identity(intake_settings: Settings, database: Database):
    refused(intake_settings, database, delivery(mr_image(SeriesInstanceUID=None)))
    refused(intake_settings, database, delivery(data_set=encoded(mr_image())[:-9]))
    notes = [path.read_text() for path in intake_settings.quarantine_folder.glob("*.json")]
    texts = str(rows(database, "select * from quarantine")) + str(notes)
    assert len(notes) == 2
    assert not any(word in texts for word in ("Sonderling", "Ottilie", PATIENT_ID))


def test_an_object_without_pixels_is_filed(intake_settings: Settings, database: Database):
    report = mr_image(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", PixelData=None)
    assert receive(intake_settings, database, delivery(report)) is Arrival.NEW


def test_a_full_disk_refuses_for_now_and_writes_nothing(
    intake_settings: Settings, database: Database
):
    full = intake_settings.model_copy(update={"minimum_free_bytes": 1 << 60})
    with pytest.raises(TryAgain) as caught:
        receive(full, database, delivery())
    assert caught.value.code == "disk_full"
    assert list(intake_settings.home.rglob("*.dcm")) == []


def test_what_was_taken_while_postgresql_was_away_is_registered_once(
    intake_settings: Settings, database: Database
):
    away = Database("postgresql://postgres@/x?host=/nowhere")
    study_uid = generate_uid()
    sent = [delivery(mr_image(study_uid=study_uid)) for _ in range(3)]
    assert [receive(intake_settings, away, one) for one in sent] == [Arrival.NEW] * 3
    journal = Journal(intake_settings)
    assert journal.depth().instances == 3
    assert empty_journal(intake_settings, database, journal) == 3
    assert empty_journal(intake_settings, database, journal) == 0
    assert reconciled(intake_settings, database).registered == 0
    assert rows(database, "select calling_ae from study") == [("SCANNER",)]
    assert receive(intake_settings, database, sent[0]) is Arrival.REPEAT


def test_a_journal_that_a_killed_process_left_is_registered_at_the_next_start(
    intake_settings: Settings, database: Database
):
    away = Database("postgresql://postgres@/x?host=/nowhere")
    receive(intake_settings, away, delivery())
    assert reconciled(intake_settings, database).registered == 1
    journal = Journal(intake_settings)
    assert empty_journal(intake_settings, database, journal) == 0  # known by then
    assert journal.depth().instances == 0
    assert rows(database, "select repeats from instance") == [(0,)]


@pytest.mark.parametrize(
    "bound", [{"journal_bytes": 3000}, {"journal_minutes": 0.0}], ids=["bytes", "minutes"]
)
def test_a_full_journal_refuses_for_now_and_keeps_nothing_more(
    intake_settings: Settings, bound: dict[str, float]
):
    filing = Filing(
        intake_settings.model_copy(update=bound), Database("postgresql://postgres@/x?host=/nowhere")
    )
    codes = [code_of_receiving(filing) for _ in range(50)]
    assert set(codes[4:]) == {"database_away"}
    assert codes.count("") < 4
    assert len(list(intake_settings.instances_folder.rglob("*.dcm"))) <= codes.count("") + 1


def code_of_receiving(filing: Filing) -> str:
    sent = delivery()
    try:
        filing.receive(sent, [sent.data_set])
    except TryAgain as error:
        return error.code
    return ""


def test_what_was_kept_aside_while_postgresql_was_away_is_recorded_later(
    intake_settings: Settings, database: Database
):
    away = Database("postgresql://postgres@/x?host=/nowhere")
    with pytest.raises(BadStudy):
        receive(intake_settings, away, delivery(mr_image(StudyInstanceUID=None)))
    assert reconciled(intake_settings, database).quarantined == 1
    assert reconciled(intake_settings, database).quarantined == 0
    assert rows(database, "select reason_code from quarantine") == [("no_uid",)]


def test_reconciliation_counts_rows_without_a_file_and_foreign_files(
    intake_settings: Settings, database: Database
):
    first, second = delivery(), delivery()
    receive(intake_settings, database, first)
    receive(intake_settings, database, second)
    folder = intake_settings.instances_folder
    (folder / spool.instance_path(first.sop_instance_uid)).unlink()
    (folder / "00" / "holiday.dcm").write_bytes(b"not ours")
    misplaced = (folder / spool.instance_path(second.sop_instance_uid)).read_bytes()
    (folder / "01" / "copy.dcm").write_bytes(misplaced)
    found = reconciled(intake_settings, database)
    assert (found.unreadable, found.rows_without_file, found.registered) == (2, 1, 0)


def test_a_late_image_opens_the_second_revision(intake_settings: Settings, database: Database):
    study_uid = generate_uid()
    receive(intake_settings, database, delivery(mr_image(study_uid=study_uid)))
    [first] = close(database)
    receive(intake_settings, database, delivery(mr_image(study_uid=study_uid)))
    [second] = close(database)
    assert (first.revision, second.revision) == (1, 2)
    assert second.study_id == first.study_id
    with database.transaction() as connection:
        assert len(instance_paths(connection, second)) == 2
    assert rows(database, "select state from study_revision order by revision") == [
        ("superseded",),
        ("queued",),
    ]
    assert rows(database, "select revision from outbox") == [(2,)]


def test_a_study_closes_only_after_its_quiet_time(intake_settings: Settings, database: Database):
    receive(intake_settings, database, delivery())
    assert close(database, quiet_seconds=0.001) != []
    receive(intake_settings, database, delivery())
    with database.transaction() as connection:
        assert close_quiet_studies(connection, quiet_seconds=60) == []


def test_the_same_instance_from_many_senders_at_once_is_filed_once(
    intake_settings: Settings, database: Database
):
    sent = delivery()
    outcomes = in_threads(8, lambda _: receive(intake_settings, database, sent))
    assert sorted(outcomes) == [Arrival.NEW] + [Arrival.REPEAT] * 7
    assert rows(database, "select repeats from instance") == [(7,)]
    assert count(database, "study_revision") == 1


def test_one_uid_claimed_by_many_studies_at_once_is_filed_once(
    intake_settings: Settings, database: Database
):
    uid = generate_uid()
    sent = [delivery(mr_image(SOPInstanceUID=uid)) for _ in range(8)]

    def outcome(number: int) -> str:
        try:
            return receive(intake_settings, database, sent[number])
        except BadStudy as error:
            return error.code

    assert sorted(in_threads(8, outcome)) == [Arrival.NEW] + ["other_bytes"] * 7
    assert count(database, "instance") == 1
    assert count(database, "study") == 1


def test_an_image_that_races_with_closing_is_never_lost(
    intake_settings: Settings, database: Database
):
    study_uid, done = generate_uid(), threading.Event()
    seen: dict[StudyRevision, int] = {}
    closers = [threading.Thread(target=keep_closing, args=(database, seen, done)) for _ in "ab"]
    for closer in closers:
        closer.start()

    def send(_: int) -> int:
        """Twenty images, and more until the study was closed between two of them."""
        deadline, sent = time.monotonic() + 60, 0
        while sent < 20 or (not seen and time.monotonic() < deadline):
            receive(intake_settings, database, delivery(mr_image(study_uid=study_uid, rows=1)))
            sent += 1
        receive(intake_settings, database, delivery(mr_image(study_uid=study_uid, rows=1)))
        return sent + 1

    sent = sum(in_threads(4, send))
    done.set()
    for closer in closers:
        closer.join()
    for run in close(database):
        seen[run] = images_of(database, run)
    assert len(seen) > 1
    assert seen[max(seen)] == sent
    assert seen == {run: images_of(database, run) for run in seen}


def keep_closing(database: Database, seen: dict[StudyRevision, int], done: threading.Event) -> None:
    """Close the study over and over; remember what each revision held when it was closed."""
    while not done.is_set():
        for run in close(database):
            seen[run] = images_of(database, run)


def images_of(database: Database, run: StudyRevision) -> int:
    with database.transaction() as connection:
        return len(instance_paths(connection, run))


def in_threads(number: int, work):
    outcomes = []
    threads = [
        threading.Thread(target=lambda part=part: outcomes.append(work(part)))
        for part in range(number)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
