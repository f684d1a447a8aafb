"""`process-now`, `retention` and what `studies N` says of completeness, as a user meets them."""

from __future__ import annotations

import json
import re

import pytest
from pydicom.uid import generate_uid

from deepbrainprint.cli.completeness import say_upkeep, upkeep_document, upkeep_of
from deepbrainprint.intake.closing.closer import Closer
from tests.instances import NAME, PATIENT_ID, delivery, mr_image, receive
from tests.integration.services import Service
from tests.integration.test_cli import run, says
from tests.integration.test_retention import make_older
from tests.rows import rows


@pytest.fixture
def send(intake_settings, database):
    """Let images with these numbers arrive in a series of their own."""

    def send(*numbers: int, series: int = 3, study: str = "") -> str:
        study, series_uid = study or generate_uid(), generate_uid()
        for number in numbers:
            image = mr_image(
                study_uid=study,
                SeriesInstanceUID=series_uid,
                SeriesNumber=series,
                InstanceNumber=number,
                PixelData=bytes((number + n) % 256 for n in range(1024)),
            )
            receive(intake_settings, database, delivery(image))
        return study

    return send


@pytest.fixture
def ask(intake_settings):
    def ask(*words: object, **more: str):
        variables = {
            "DBP_DATABASE_URL": intake_settings.database_url.get_secret_value(),
            "DBP_HOME": str(intake_settings.home),
        }
        return run(*words, **variables | more)

    return ask


def test_process_now_closes_a_study_in_the_dispatchers_next_round(
    intake_settings, database, send, ask, tmp_path
):
    send(1, 2, 4)
    eager = intake_settings.model_copy(update={"dispatch_seconds": 0.05})
    service = Service("dispatch", "dispatch", eager, tmp_path / "log")
    service.wait_for("dispatching")
    answer = ask("process-now", 1)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "Study 1 goes on as revision 1: queued.\n"
    assert service.wait_for("study_closed")["rule"] == "asked"
    assert service.stop() == 0
    [(act, subject)] = rows(database, "select act, subject_id from act")
    assert (act, subject) == ("asked_to_process_now", "1")
    says(ask("process-now", 1), "study 1 is not waiting for images: its revision 1 is", code=1)


def test_process_now_of_no_study_is_bad_input(ask):
    says(ask("process-now", 77), "there is no study 77", code=3)


def test_a_study_that_waits_says_why_until_when_and_what_to_do(
    intake_settings, database, send, ask
):
    send(1, 2, 4)
    quick = intake_settings.model_copy(update={"quiet_seconds": 1e-6})
    Closer(quick, database).close_due()
    told = ask("studies", 1).stdout
    assert re.search(
        r"Waits since .*Z, until .*Z at most: series 3 lacks image 3, 3 are here", told
    )
    assert "`deepbrainprint process-now 1` processes what is here." in told
    assert "Quiet time 0.0 s: DBP_QUIET_SECONDS, as SCANNER has sent 0 of the 20" in told
    assert NAME not in told
    assert PATIENT_ID not in told
    story = json.loads(ask("studies", 1, "--json").stdout)
    assert story["completeness"]["missing_code"] == "images_missing"


def test_a_duplicate_series_is_told_with_both_places(intake_settings, database, send, ask):
    send(1, 2, 3, series=5)
    send(1, 2, 3, series=9)
    quick = intake_settings.model_copy(update={"quiet_seconds": 1e-6})
    Closer(quick, database).close_due()
    told = ask("studies", 2).stdout
    assert "Series 9 has the same pixels as series 5 of study 1 (3 images)." in told
    assert "Closed (quiet): quiet for 0.0 s" in told
    [duplicate] = json.loads(ask("studies", 2, "--json").stdout)["duplicate_series"]
    assert duplicate["original_study_id"] == 1


def test_retention_tells_deletes_and_says_what_is_kept_for_ever(database, send, ask):
    send(1, 2)
    rows(database, "update study_revision set state = 'decided', ended_at = now()")
    make_older(database)
    kept = ask("retention").stdout
    assert "DBP_RETENTION_DAYS is 0: kept for ever." in kept
    planned = json.loads(ask("retention", "--dry-run", "--json", DBP_RETENTION_DAYS="30").stdout)
    assert (planned["instances"], len(planned["studies"])) == (2, 1)
    assert (
        "Would be deleted: 2 instances of 1 studies"
        in ask("retention", "--dry-run", DBP_RETENTION_DAYS="30").stdout
    )
    done = json.loads(ask("retention", "--json", DBP_RETENTION_DAYS="30").stdout)
    assert done["instances"] == 2


def test_status_counts_what_waits_and_what_came_before_and_tells_how_long_the_disk_lasts(
    intake_settings, database, send, capsys
):
    send(1, 2, 4, series=5)
    send(1, 2, 4, series=9)
    quick = intake_settings.model_copy(update={"quiet_seconds": 1e-6})
    Closer(quick, database).close_due()
    upkeep = upkeep_of(intake_settings, intake_settings.database_url.get_secret_value())
    assert upkeep is not None
    say_upkeep(upkeep)
    told = capsys.readouterr().out
    assert "waiting because they look incomplete: 2" in told
    assert "series that came before under other UIDs: 1" in told
    assert re.search(r"disk: [\d,.]+ GB free", told)


def test_status_warns_of_a_disk_that_gets_full(intake_settings, database, capsys):
    low = intake_settings.model_copy(update={"low_free_bytes": 1 << 60})
    upkeep = upkeep_of(low, intake_settings.database_url.get_secret_value())
    say_upkeep(upkeep)
    assert re.search(r"disk: low: [\d,.]+ GB free", capsys.readouterr().out)
    assert upkeep_document(upkeep)["disk"]["state"] == "low"
