"""When studies close: quiet, complete, waited for, or asked for."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from deepbrainprint.database.completeness import ask_to_close, completeness_report
from deepbrainprint.intake.closing.closer import Closer
from tests.instances import NAME, PATIENT_ID
from tests.integration.open_studies import reason, states
from tests.rows import rows


def test_a_whole_study_closes_after_its_quiet_time_and_says_why(send, later, closer, database):
    send(range(1, 6))
    later(59)
    closer.close_due()
    assert states(database) == [("receiving", "", "")]
    later(2)
    closer.close_due()
    assert states(database) == [("queued", "quiet", "")]
    [(words,)] = rows(database, "select closing_reason from study_revision")
    assert words.startswith("quiet for 60 s: DBP_QUIET_SECONDS, as SCANNER has sent 0 of the 20")


def test_a_receiving_study_says_which_quiet_time_applies_and_why(send, closer, database):
    send([1])
    closer.close_due()
    [(study_id,)] = rows(database, "select study_id from study")
    with database.transaction() as connection:
        report = completeness_report(connection, study_id)
    assert report is not None
    assert report.quiet_seconds == 60
    assert report.quiet_reason.startswith("DBP_QUIET_SECONDS")


def test_a_study_with_a_gap_waits_says_why_and_closes_at_the_bound(send, later, closer, database):
    send([*range(1, 12), *range(13, 20)])
    later(61)
    closer.close_due()
    assert states(database) == [("receiving", "", "images_missing")]
    assert reason(database) == "series 3 lacks image 12, 18 are here"
    later(899)
    closer.close_due()
    assert states(database) == [("receiving", "", "images_missing")]
    later(2)
    closer.close_due()
    assert states(database) == [("queued", "waited", "images_missing")]
    assert reason(database) == "series 3 lacks image 12, 18 are here"


def test_the_missing_image_ends_the_waiting(send, later, closer, database):
    study = send([1, 2, 4, 5])
    later(61)
    closer.close_due()
    send([3], study=study)
    closer.close_due()
    assert states(database)[0][0] == "receiving"
    later(61)
    closer.close_due()
    assert states(database) == [("queued", "quiet", "")]
    assert reason(database) == ""


def test_an_image_that_comes_while_a_study_waits_starts_the_waiting_anew(
    send, later, closer, database
):
    study = send([1, 2, 4, 5])
    later(61)
    closer.close_due()
    later(880)
    send([6], study=study)
    later(61)
    closer.close_due()
    assert states(database) == [("receiving", "", "images_missing")]
    later(880)
    closer.close_due()
    assert states(database) == [("receiving", "", "images_missing")]
    later(30)
    closer.close_due()
    assert states(database) == [("queued", "waited", "images_missing")]


def test_a_site_that_does_not_wait_keeps_the_reason_all_the_same(settings, send, later, database):
    send([1, 2, 4, 5])
    later(61)
    hasty = settings.model_copy(update={"incomplete_wait_seconds": 0.0})
    Closer(hasty, database).close_due()
    assert states(database) == [("queued", "waited", "images_missing")]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"NumberOfStudyRelatedInstances": 7}, "the study has 7 instances, 5 are here"),
        ({"NumberOfSeriesRelatedInstances": 6}, "series 3 has 6 instances, 5 are here"),
    ],
)
def test_what_a_header_announces_is_waited_for(send, later, closer, database, *, header, words):
    send(range(1, 6), **header)
    later(61)
    closer.close_due()
    assert states(database) == [("receiving", "", "fewer_than_announced")]
    assert words in reason(database)


def test_a_header_that_announces_less_than_came_is_no_reason_to_wait(send, later, closer, database):
    send(range(1, 6), NumberOfStudyRelatedInstances=1, NumberOfSeriesRelatedInstances=1)
    later(61)
    closer.close_due()
    assert states(database) == [("queued", "quiet", "")]


def test_reasons_and_logs_say_nothing_of_the_patient(send, later, closer, database):
    with capture_logs() as logs:
        send([1, 2, 4], SeriesDescription=NAME)
        later(61)
        closer.close_due()
        later(1000)
        closer.close_due()
    told = str(rows(database, "select * from study_revision")) + str(logs)
    assert "study_waits" in told
    assert NAME not in told
    assert PATIENT_ID not in told


def test_a_late_image_of_a_closed_study_is_checked_with_the_whole_study(
    send, later, closer, database
):
    study = send(range(1, 6))
    later(61)
    closer.close_due()
    send([8], study=study)
    later(61)
    closer.close_due()
    assert states(database)[-1] == ("receiving", "", "images_missing")
    send([6, 7], study=study)
    later(61)
    closer.close_due()
    assert states(database) == [("superseded", "quiet", ""), ("queued", "quiet", "")]


def test_an_image_that_comes_during_the_look_keeps_the_study_open(
    settings, send, later, database, monkeypatch
):
    study = send(range(1, 6))
    later(61)
    closer = Closer(settings, database)
    look = closer._findings

    def look_and_receive(*arguments: object, **options: object):
        found = look(*arguments, **options)
        send([6], study=study)
        return found

    monkeypatch.setattr(closer, "_findings", look_and_receive)
    closer.close_due()
    assert states(database) == [("receiving", "", "")]


def test_a_person_can_have_it_processed_now_with_what_is_missing_kept(
    send, later, closer, database
):
    send([1, 2, 4, 5])
    [(study_id,)] = rows(database, "select study_id from study")
    with database.transaction() as connection:
        assert str(ask_to_close(connection, study_id)) == f"study-{study_id}-r1"
    closer.close_due()
    assert states(database) == [("queued", "asked", "images_missing")]
    with database.transaction() as connection:
        assert ask_to_close(connection, study_id) is None
