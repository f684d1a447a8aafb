"""The source is asked how much it has: a real Orthanc, and peers that answer otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind
from structlog.testing import capture_logs

from deepbrainprint.errors import Misconfigured
from deepbrainprint.intake.closing.closer import Closer
from deepbrainprint.intake.closing.recount import Recount
from tests.instances import save
from tests.integration.open_studies import image_of, pass_time, send_images
from tests.integration.orthanc import needs_orthanc, running_orthanc
from tests.integration.services import free_port
from tests.rows import rows

STUDY, SERIES = "1.2.840.99.1", 4
HOUR = 3600.0  # seconds


def close(settings, database, source: str) -> tuple[str, str, str, str]:
    """What became of the study once it was quiet, with this source to ask."""
    pass_time(database, HOUR)
    asking = settings.model_copy(update={"recount_sources": source})
    Closer(asking, database).close_due()
    [found] = rows(
        database,
        "select state, closing_rule, completeness_code, completeness_reason from study_revision",
    )
    return found


@pytest.fixture
def send(intake_settings, database):
    """Lets images with these numbers arrive in the one series of the one study."""
    return partial(send_images, intake_settings, database, study=STUDY, series=SERIES)


@contextmanager
def answering(answers: dict[str, list[Dataset]] | None) -> Iterator[str]:
    """A PACS that gives these answers by level; None: it fails. Its address."""

    def find(event: evt.Event):
        if answers is None:
            yield 0xA700, None
            return
        for answer in answers.get(event.identifier.QueryRetrieveLevel, []):
            yield 0xFF00, answer

    entity = AE(ae_title="PACS")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    port = free_port()
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_FIND, find)]
    )
    try:
        yield f"SCANNER=PACS@127.0.0.1:{port}"
    finally:
        server.shutdown()


def found(series: int = SERIES, *, number: int | None = None, **values: object) -> Dataset:
    answer = Dataset()
    answer.SeriesInstanceUID = f"{STUDY}.{series}"
    answer.SeriesNumber = series
    if number is not None:
        answer.SOPInstanceUID = f"{STUDY}.{series}.{number}"
    for name, value in values.items():
        setattr(answer, name, value)
    return answer


@needs_orthanc
def test_an_orthanc_that_has_more_keeps_the_study_open(
    intake_settings, database, send, tmp_path: Path
):
    with running_orthanc() as orthanc:
        images = [image_of(STUDY, SERIES, number) for number in range(1, 6)]
        orthanc.upload(save(tmp_path, *images))
        source = f"SCANNER=ORTHANC@127.0.0.1:{orthanc.dicom_port}"
        send([1, 2, 3])
        assert close(intake_settings, database, source) == (
            "receiving",
            "",
            "source_has_more",
            "the source has 5 instances of series 4, 3 are here",
        )
        send([4, 5])
        rows(database, "update study_revision set checked_at = null")
        assert close(intake_settings, database, source)[:3] == ("queued", "source_agrees", "")


def test_a_source_that_has_no_more_ends_the_doubt_about_a_gap(intake_settings, database, send):
    send([1, 2, 4, 5])
    with answering({"SERIES": [found(NumberOfSeriesRelatedInstances=4)]}) as source:
        assert close(intake_settings, database, source)[:3] == ("queued", "source_agrees", "")


def test_a_series_of_which_nothing_came_is_missed(intake_settings, database, send):
    send([1, 2, 3])
    series = [found(n, NumberOfSeriesRelatedInstances=3) for n in (4, 5)]
    with answering({"SERIES": series}) as source:
        missing = close(intake_settings, database, source)[3]
    assert missing == "the source has 3 instances of series 5, 0 are here"


def test_a_source_that_does_not_count_has_its_images_counted(intake_settings, database, send):
    send([1, 2, 3])
    images = [found(number=number) for number in range(1, 5)]
    with answering({"SERIES": [found()], "IMAGE": images}) as source:
        missing = close(intake_settings, database, source)[3]
    assert missing == "the source has 4 instances of series 4, 3 are here"


@pytest.mark.parametrize("answers", [None, {}], ids=["fails", "does not know the study"])
def test_a_source_that_says_nothing_is_no_evidence(intake_settings, database, send, answers):
    send([1, 2, 3])
    with answering(answers) as source:
        assert close(intake_settings, database, source)[:3] == ("queued", "quiet", "")


def test_a_source_that_is_away_is_no_error_and_is_not_asked_each_time(
    intake_settings, database, send
):
    with capture_logs() as logs:
        send([1, 2, 4])
        source = f"SCANNER=127.0.0.1:{free_port()}"
        asking = intake_settings.model_copy(update={"recount_sources": source})
        closer = Closer(asking, database)
        pass_time(database, HOUR)
        for _ in range(3):
            closer.close_due()
            rows(database, "update study_revision set checked_at = null")
        [(state, code)] = rows(database, "select state, completeness_code from study_revision")
        assert (state, code) == ("receiving", "images_missing")
    assert str(logs).count("source_silent") == 1


def test_another_senders_study_is_not_asked_about(intake_settings, database, send):
    send([1, 2, 3])
    with answering({"SERIES": [found(NumberOfSeriesRelatedInstances=9)]}) as source:
        other = source.replace("SCANNER", "OTHER")
        assert close(intake_settings, database, other)[:3] == ("queued", "quiet", "")


@pytest.mark.parametrize("text", ["SCANNER", "SCANNER=", "A=host", "A=host:0", "A=h:99999", "=h:1"])
def test_an_unreadable_setting_says_how_to_write_it(intake_settings, text):
    with pytest.raises(Misconfigured, match="DBP_RECOUNT_SOURCES: write AE=host:port"):
        Recount(intake_settings.model_copy(update={"recount_sources": text}))


def test_an_impossible_address_holds_nothing_up(intake_settings, database, send):
    send([1, 2, 3])
    assert close(intake_settings, database, "SCANNER=no such host:104")[:2] == ("queued", "quiet")
