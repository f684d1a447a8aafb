"""Pulling from a PACS that is away, refuses, breaks off or lies, and when we have trouble."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr
from pydicom import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt

from deepbrainprint.database.connection import Database
from deepbrainprint.errors import Conflict, Misconfigured, TryAgain
from deepbrainprint.intake.pull import campaign, retrieval, session
from deepbrainprint.intake.pull.order import Order, Way
from deepbrainprint.intake.pull.query import FIND
from deepbrainprint.intake.pull.retrieval import MOVE
from deepbrainprint.intake.reconciliation import reconcile
from tests.certificates import authority, signed
from tests.instances import save
from tests.integration.orthanc import Orthanc, needs_orthanc, running_orthanc
from tests.integration.pulling import (
    by_accession,
    order_of,
    pull,
    states,
    strange_pacs,
    study,
)
from tests.integration.services import closed_to_all, free_port, wait_until
from tests.rows import count, rows

pytestmark = pytest.mark.slow  # many processes are started


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "FIRST_PAUSE_SECONDS", 0.2)


def test_a_pacs_that_is_away_is_tried_again_and_the_pull_can_be_resumed(intake_settings, database):
    order = Order(way=Way.GET, source="AWAY", host="127.0.0.1", port=free_port(), attempts=3)
    with pytest.raises(TryAgain) as caught:
        pull(intake_settings, database, order, by_accession("A1"))
    assert caught.value.code == "pacs_away"
    assert rows(database, "select state, reason_code from pull") == [("stopped", "pacs_away")]
    assert rows(database, "select state from pull_ask") == [("waiting",)]


@needs_orthanc
def test_a_pacs_that_goes_away_in_the_middle_of_a_study_is_waited_for(
    intake_settings, database, tmp_path
):
    with running_orthanc() as orthanc:
        images = study(30, AccessionNumber="A1")
        orthanc.upload(save(tmp_path, *images))
        outage = threading.Thread(target=_restart_after, args=(orthanc, database, 5))
        outage.start()
        pull_id = pull(
            intake_settings, database, order_of(orthanc, rate=20.0, attempts=8), by_accession("A1")
        )
        outage.join()
    assert states(database, pull_id) == ["fetched"]
    assert rows(database, "select count(*), sum(repeats) from instance") == [(30, 0)]
    [(attempts,)] = rows(database, "select attempts from pull_study")
    assert attempts > 1


def _restart_after(orthanc: Orthanc, database: Database, instances: int) -> None:
    wait_until(lambda: count(database, "instance") >= instances)
    orthanc.process.kill()
    orthanc.process.wait()
    orthanc.start()


def nothing(event: evt.Event) -> Iterator[Any]:
    yield 0x0000, None


def test_a_pacs_that_refuses_us_is_reported_as_such(intake_settings, database):
    with (
        strange_pacs(nothing, require_calling_aet=["SOMEONE"]) as order,
        pytest.raises(TryAgain, match="refuses an association") as caught,
    ):
        pull(intake_settings, database, order, by_accession("A1"))
    assert caught.value.code == "pacs_refused"


def everything(event: evt.Event) -> Iterator[Any]:
    """All studies, whatever the question was."""
    for number in range(3):
        answer = Dataset()
        answer.QueryRetrieveLevel = "STUDY"
        answer.StudyInstanceUID = f"1.2.{number}"
        yield 0xFF00, answer
    yield 0x0000, None


def test_studies_that_nobody_asked_for_are_not_fetched(intake_settings, database):
    with strange_pacs(everything) as order:
        pull(intake_settings, database, order, by_accession("A1"))
    assert rows(database, "select state, reason_code from pull_ask") == [
        ("not_there", "others_answered")
    ]
    assert count(database, "pull_study") == 0


def failing(event: evt.Event) -> Iterator[Any]:
    yield 0xA700, None


def test_a_question_that_the_pacs_cannot_answer_is_reported_with_its_status(
    intake_settings, database
):
    with strange_pacs(failing) as order:
        pull(intake_settings, database, order, by_accession("A1"))
    [(state, code, reason)] = rows(database, "select state, reason_code, reason from pull_ask")
    assert (state, code) == ("failed", "pacs_failed")
    assert "0xA700" in reason


def one_study(event: evt.Event) -> Iterator[Any]:
    answer = Dataset()
    answer.QueryRetrieveLevel = "STUDY"
    answer.StudyInstanceUID = "1.2.3"
    answer.AccessionNumber = "A1"
    answer.NumberOfStudyRelatedInstances = "7"
    yield 0xFF00, answer
    yield 0x0000, None


def test_a_pacs_without_c_get_is_said_to_have_none(intake_settings, database):
    with strange_pacs(one_study) as order, pytest.raises(Misconfigured) as caught:
        pull(intake_settings, database, order, by_accession("A1"))
    assert caught.value.code == "not_offered"


def test_a_pacs_that_does_not_know_where_to_move_to_is_told_so(intake_settings, database):
    def move(event: evt.Event) -> Iterator[Any]:
        yield None, None

    contexts = [build_context(FIND), build_context(MOVE)]
    handlers = [(evt.EVT_C_MOVE, move)]
    with (
        strange_pacs(one_study, handlers, supported_contexts=contexts) as order,
        pytest.raises(Misconfigured, match="enter our host") as caught,
    ):
        pull(intake_settings, database, replace(order, way=Way.MOVE), by_accession("A1"))
    assert caught.value.code == "unknown_destination"


@needs_orthanc
def test_a_pacs_that_moves_to_somewhere_else_is_not_believed(
    orthanc, intake_settings, database, tmp_path, monkeypatch
):
    monkeypatch.setattr(retrieval, "_ARRIVAL_SECONDS", 0.2)
    orthanc.upload(save(tmp_path, *study(1, AccessionNumber="A1")))
    port = free_port()
    elsewhere = AE()
    elsewhere.supported_contexts = AllStoragePresentationContexts
    taken = [(evt.EVT_C_STORE, lambda _: 0)]
    server = elsewhere.start_server(("127.0.0.1", port), block=False, evt_handlers=taken)
    orthanc.add_modality("us", ae_title=intake_settings.ae_title, port=port)
    order = order_of(orthanc, Way.MOVE, attempts=1)
    pull_id = pull(intake_settings, database, order, by_accession("A1"))
    server.shutdown()
    assert states(database, pull_id) == ["failed"]
    assert rows(database, "select reason_code from pull_study") == [("nothing_arrived",)]


@needs_orthanc
def test_two_processes_never_work_on_one_pull(orthanc, intake_settings, database):
    pull_id = session.open_pull(database, order_of(orthanc), by_accession("A1"))
    with session._held(intake_settings, pull_id), pytest.raises(Conflict) as caught:
        session.carry_out(intake_settings, database, pull_id)
    assert caught.value.code == "pull_is_running"
    session.carry_out(intake_settings, database, pull_id)


@needs_orthanc
def test_a_disk_that_is_full_stops_the_pull_and_not_the_study(
    orthanc, intake_settings, database, tmp_path
):
    orthanc.upload(save(tmp_path, *study(3, AccessionNumber="A1")))
    full = intake_settings.model_copy(update={"minimum_free_bytes": 1 << 60})
    order = order_of(orthanc, attempts=1)
    pull_id = session.open_pull(database, order, by_accession("A1"))
    with pytest.raises(TryAgain) as caught:
        session.carry_out(full, database, pull_id)
    assert caught.value.code == "disk_full"
    assert states(database, pull_id) == ["waiting"]
    session.carry_out(intake_settings, database, pull_id)
    assert states(database, pull_id) == ["fetched"]


@needs_orthanc
def test_postgresql_that_goes_away_in_the_middle_is_waited_for(
    orthanc, intake_settings, database, postgres_url, tmp_path
):
    orthanc.upload(save(tmp_path, *study(30, AccessionNumber="A1")))
    waits = threading.Event()

    def watch(now: campaign.Progress) -> None:
        if now.doing.startswith("trying again"):
            waits.set()

    order = order_of(orthanc, rate=40.0, attempts=8)
    with ThreadPoolExecutor(max_workers=1) as beside:
        pulling = beside.submit(
            pull, intake_settings, database, order, by_accession("A1"), report=watch
        )
        wait_until(lambda: count(database, "instance") >= 5)
        with closed_to_all(postgres_url, database):
            assert waits.wait(timeout=10)
        pull_id = pulling.result(timeout=20)
    assert states(database, pull_id) == ["fetched"]
    reconcile(intake_settings, database)  # what was filed while it was away
    assert count(database, "instance") == 30


@needs_orthanc
def test_a_connection_that_is_cut_in_the_middle_of_an_answer_is_made_good(
    orthanc, intake_settings, database, tmp_path
):
    images = study(8, AccessionNumber="A1", rows=2000)
    files = save(tmp_path, *images)
    orthanc.upload(files)
    with cutting_proxy(orthanc.http_port, after_bytes=200_000) as port:
        url = f"http://127.0.0.1:{port}/dicom-web"
        order = replace(order_of(orthanc, Way.WEB), url=url)
        pull_id = pull(intake_settings, database, order, by_accession("A1"))
    assert states(database, pull_id) == ["fetched"]
    assert rows(database, "select attempts > 1 from pull_study") == [(True,)]
    assert rows(database, "select count(*), sum(repeats) from instance") == [(8, 0)]


@contextmanager
def cutting_proxy(target: int, *, after_bytes: int) -> Iterator[int]:
    """Passes all on to a port of this machine, but cuts the first long answer; its port."""
    door = socket.create_server(("127.0.0.1", 0))
    cuts = iter([after_bytes])

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", target)) as server:
            threading.Thread(target=_pump, args=(client, server), daemon=True).start()
            passed, limit = 0, None
            while chunk := server.recv(1 << 16):
                passed += len(chunk)
                if passed > after_bytes:
                    limit = next(cuts, None) if limit is None else limit
                    if limit:
                        client.shutdown(socket.SHUT_RDWR)
                        return
                client.sendall(chunk)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = door.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield door.getsockname()[1]
    door.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(1 << 16):
            sink.sendall(chunk)


@pytest.fixture
def guarded_web() -> Iterator[tuple[str, list[str]]]:
    """A DICOMweb server that wants a token and has nothing; its URL, and what it was shown."""
    shown: list[str] = []

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers.get("Authorization", ""))
            self.send_response(200 if shown[-1] == "Bearer let-me-in" else 401)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/dicom-web", shown
    server.shutdown()


def test_a_token_is_read_from_its_file_and_shown(guarded_web, intake_settings, database, tmp_path):
    url, shown = guarded_web
    file = tmp_path / "token"
    file.write_text("let-me-in\n")
    settings = intake_settings.model_copy(update={"pull_token_file": file})
    pull(settings, database, Order(way=Way.WEB, source="WEB", url=url), by_accession("A1"))
    assert set(shown) == {"Bearer let-me-in"}
    assert rows(database, "select state from pull_ask") == [("not_there",)]
    assert "let-me-in" not in str(rows(database, "select p::text from pull p"))


def test_a_token_that_is_refused_stops_the_pull_and_is_not_repeated(
    guarded_web, intake_settings, database
):
    url, _ = guarded_web
    settings = intake_settings.model_copy(update={"pull_token": SecretStr("old-token")})
    with pytest.raises(Misconfigured, match="DBP_PULL_TOKEN") as caught:
        pull(settings, database, Order(way=Way.WEB, source="WEB", url=url), by_accession("A1"))
    assert caught.value.code == "token_refused"
    assert "old-token" not in str(caught.value)


@needs_orthanc
def test_a_study_comes_over_tls_and_not_from_a_stranger(intake_settings, database, tmp_path):
    ours = authority(tmp_path)
    pacs = signed(tmp_path, ours, "pacs")
    us = signed(tmp_path, ours, "us")
    stranger = authority(tmp_path, "stranger")
    told = {"tls_certificate": us.certificate, "tls_key": us.key}
    trusting = intake_settings.model_copy(update=told | {"tls_client_authority": ours.certificate})
    doubting = intake_settings.model_copy(
        update=told | {"tls_client_authority": stranger.certificate}
    )
    with running_orthanc(
        DicomTlsEnabled=True,
        DicomTlsCertificate=str(pacs.certificate),
        DicomTlsPrivateKey=str(pacs.key),
        DicomTlsTrustedCertificates=str(ours.certificate),
    ) as orthanc:
        orthanc.upload(save(tmp_path, *study(2, AccessionNumber="A1")))
        order = order_of(orthanc, tls=True, attempts=1)
        with pytest.raises(TryAgain, match="TLS"):
            pull(doubting, database, order, by_accession("A1"))
        pull(trusting, database, order, by_accession("A1"))
    assert count(database, "instance") == 2
