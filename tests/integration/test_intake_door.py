"""The listener with all its services, asked by real peers as a hospital's machines would."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_context

from deepbrainprint.database.connection import Database
from deepbrainprint.intake.peer import Peer
from deepbrainprint.intake.sender_check.steps import all_well, check_sender
from deepbrainprint.settings import Settings
from tests.certificates import authority, signed
from tests.instances import mr_image, save
from tests.integration.requesters import Requester
from tests.integration.scu import store
from tests.integration.services import Service, closed_to_all, environment, free_port, wait_until
from tests.rows import count, rows

pytestmark = pytest.mark.slow  # many processes are started

HOST = "127.0.0.1"
QUICK = {**os.environ, "TCP_NODELAY": "1"}
_PRIVATE = "1.2.826.0.1.3680043.8.498.4711"
needs_dcmtk = pytest.mark.skipif(
    shutil.which("storescu") is None, reason="needs dcmtk: apt-get install dcmtk"
)


@pytest.fixture
def start(intake_settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts listeners with other settings, and ends them after the test."""
    running: list[Service] = []

    def started(**changes: object) -> Service:
        told = {"listener_port": free_port(), "listener_host": HOST, **changes}
        settings = intake_settings.model_copy(update=told)
        running.append(Service("listener", "listen", settings, tmp_path / "log"))
        running[-1].wait_for("reconciled")
        return running[-1]

    yield started
    for service in running:
        service.kill()


def dcmtk(tool: str, *words: object) -> subprocess.CompletedProcess[str]:
    line = [tool, *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, env=QUICK)


def command(settings: Settings, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deepbrainprint.cli", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(settings),
    )


def peer(listener: Service, *, calling_ae: str = "MR1") -> Peer:
    return Peer(HOST, listener.settings.listener_port, "DEEPBRAINPRINT", calling_ae)


# Who may send


@needs_dcmtk
def test_an_unknown_sender_is_refused_named_and_let_in_by_one_command(
    start: Callable[..., Service], database: Database, tmp_path: Path
):
    listener = start(unknown_senders="refuse")
    [file] = save(tmp_path, mr_image())
    send = ["storescu", "-v", "-aet", "MR7", HOST, listener.settings.listener_port, file]
    refused = dcmtk(*send)
    assert "Calling AE Title Not Recognized" in refused.stdout + refused.stderr
    wait_until(lambda: count(database, "noticed_sender") == 1)
    told = json.loads(command(listener.settings, "senders", "--json").stdout)
    admit = told["not_admitted"][0]["command_to_admit"].split()
    assert admit == ["deepbrainprint", "admit", "--address", HOST, "MR7"]
    assert command(listener.settings, *admit[1:]).returncode == 0
    wait_until(lambda: dcmtk(*send).returncode == 0)
    assert count(database, "instance") == 1


@needs_dcmtk
def test_objects_of_an_unknown_sender_wait_in_quarantine_until_it_is_admitted(
    start: Callable[..., Service], database: Database, tmp_path: Path
):
    listener = start(unknown_senders="quarantine")
    files = save(tmp_path, mr_image(), mr_image())
    done = dcmtk(
        "storescu", "-d", "-nh", "-aet", "MR7", HOST, listener.settings.listener_port, *files
    )
    assert "0x0124" in done.stdout + done.stderr
    assert count(database, "instance") == 0
    held = rows(database, "select quarantine_id from quarantine where reason_code='unknown_sender'")
    assert len(held) == 2
    command(listener.settings, "admit", "MR7")
    ids = [number for (number,) in held]
    released = command(listener.settings, "quarantine", "release", *ids, "--yes")
    assert released.returncode == 0, released.stdout + released.stderr
    assert count(database, "instance") == 2


def test_a_denied_sender_stays_out_though_postgresql_is_away_at_the_start(
    listener: Service, database: Database, postgres_url: str
):
    command(listener.settings, "deny", "MR9")
    wait_until(lambda: not is_let_in(listener, "MR9"))
    with closed_to_all(postgres_url, database):
        listener.stop()
        listener.restart()
        listener.wait_for("listening", times=2)
        assert not is_let_in(listener, "MR9")
        assert is_let_in(listener, "MR1")


def is_let_in(listener: Service, calling_ae: str) -> bool:
    verification = [build_context("1.2.840.10008.1.1")]
    association = peer(listener, calling_ae=calling_ae).associate(verification)
    let_in = bool(association.is_established)
    association.release()
    return let_in


# What is offered


def test_check_sender_finds_all_well(listener: Service):
    found = list(check_sender(peer(listener)))
    assert all_well(found), found
    assert {finding.outcome for finding in found} == {"ok"}, found


@needs_dcmtk
def test_findscu_finds_what_storescu_sent(listener: Service, tmp_path: Path):
    image = mr_image(AccessionNumber="A-17", StudyDate="20240229")
    [file] = save(tmp_path, image)
    port = listener.settings.listener_port
    assert dcmtk("storescu", HOST, port, file).returncode == 0
    keys = [
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        "AccessionNumber=A-1*",
        "-k",
        "StudyInstanceUID",
    ]
    done = dcmtk("findscu", "-v", "-S", *keys, HOST, port)
    assert image.StudyInstanceUID in done.stdout + done.stderr
    keys[3] = "AccessionNumber=B*"
    assert image.StudyInstanceUID not in dcmtk("findscu", "-v", "-S", *keys, HOST, port).stderr


def test_commitment_is_reported_on_the_same_association_and_on_a_new_one(listener: Service):
    waiting = Requester(free_port(), listens=False)
    image = mr_image()
    assert store_over(listener, image) == 0x0000
    for same_association in (True, False):
        requester = waiting if same_association else Requester(free_port())
        if not same_association:
            requester.start()
            words = ["commitment", "address", "SCANNER", HOST, requester.port]
            done = command(listener.settings, *words)
            assert done.returncode == 0, done.stdout + done.stderr
        ask_for_commitment(listener, requester, image, stays=same_association)
        event_type, report = requester.report()
        assert event_type == 1
        assert report.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
        requester.stop()


def test_a_procedure_step_is_kept(listener: Service, database: Database):
    study_uid, step_uid = generate_uid(), generate_uid()
    association = peer(listener).associate([build_context("1.2.840.10008.3.1.2.3.3")])
    step = Dataset()
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    scheduled = Dataset()
    scheduled.StudyInstanceUID = study_uid
    step.ScheduledStepAttributesSequence = [scheduled]
    status, _ = association.send_n_create(step, "1.2.840.10008.3.1.2.3.3", step_uid)
    assert status.Status == 0x0000
    association.release()
    assert rows(database, "select study_uid, state from procedure_step") == [
        (study_uid, "in progress")
    ]


@pytest.mark.parametrize("is_allowed", [True, False], ids=["allowed", "not allowed"])
def test_private_objects_are_taken_where_the_site_allows_it(
    start: Callable[..., Service], is_allowed: bool
):
    listener = start(accept_private_storage=is_allowed)
    association = peer(listener).associate([build_context(_PRIVATE, "1.2.840.10008.1.2.1")])
    assert association.is_established is is_allowed
    association.abort()


# How it is run


def test_associations_are_told_in_the_database(listener: Service, database: Database):
    image = mr_image()
    store_over(listener, image, image, mr_image(StudyInstanceUID=None))
    wait_until(lambda: count(database, "association") == 1)
    told = "select calling_ae, ended, instances, repeats, refusals from association"
    assert rows(database, told) == [("SCANNER", "released", 1, 1, {"no_uid": 1})]


def test_metrics_and_probes_say_what_is(start: Callable[..., Service]):
    port = free_port()
    listener = start(metrics_port=port)
    store_over(listener, mr_image(), mr_image(), mr_image(StudyInstanceUID=None))
    listener.wait_for("association_closed")
    base = f"http://{HOST}:{port}"
    assert httpx.get(f"{base}/healthz").status_code == 200
    ready = httpx.get(f"{base}/readyz")
    assert (ready.status_code, set(ready.json().values())) == (200, {"ok"})
    figures = httpx.get(f"{base}/metrics").text
    assert 'dbp_instances_total{ae="SCANNER",arrival="new"} 2.0' in figures
    assert 'dbp_refusals_total{ae="SCANNER",reason="no_uid"} 1.0' in figures
    assert 'dbp_store_seconds_count{ae="SCANNER"} 3.0' in figures
    for name in ("dbp_disk_free_bytes", "dbp_journal_instances", "dbp_oldest_waiting_seconds"):
        assert name in figures


def test_readiness_says_why_senders_would_be_refused(start: Callable[..., Service]):
    port = free_port()
    changes = {"metrics_port": port, "minimum_free_bytes": 1 << 60}
    start(**changes)
    ready = httpx.get(f"http://{HOST}:{port}/readyz")
    assert ready.status_code == 503
    assert "DBP_MINIMUM_FREE_BYTES" in ready.json()["disk"]
    assert httpx.get(f"http://{HOST}:{port}/healthz").status_code == 200


def test_a_killed_worker_is_replaced_and_the_others_go_on(listener: Service, database: Database):
    children = psutil.Process(listener.process.pid).children()
    workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    os.kill(workers[0].pid, signal.SIGKILL)
    listener.wait_for("worker_died")
    sent = [store_over(listener, mr_image()) for _ in range(6)]
    assert sent == [0x0000] * 6
    assert count(database, "instance") == 6


# Encrypted


@needs_dcmtk
def test_dcmtk_sends_over_tls_and_the_plain_port_can_be_closed(
    start: Callable[..., Service], database: Database, tmp_path: Path
):
    hospital = authority(tmp_path)
    pair = signed(tmp_path, hospital)
    ports = {"tls_port": free_port(), "metrics_port": free_port()}
    files = {"tls_certificate": pair.certificate, "tls_key": pair.key}
    listener = start(plain_port_closed=True, **ports, **files)
    [file] = save(tmp_path, mr_image())
    plain = dcmtk("storescu", HOST, listener.settings.listener_port, file)
    assert plain.returncode != 0
    tls = ["+tla", "+cf", hospital.certificate]
    done = dcmtk("storescu", "-v", *tls, HOST, ports["tls_port"], file)
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: count(database, "association") >= 1)
    assert rows(database, "select is_encrypted from association where instances = 1") == [(True,)]
    assert httpx.get(f"http://{HOST}:{ports['metrics_port']}/readyz").status_code == 200
    silent = time.monotonic()
    assert dcmtk("echoscu", "-to", 3, HOST, ports["tls_port"]).returncode != 0  # plain to TLS
    assert time.monotonic() - silent < 20


def store_over(listener: Service, *images: Dataset) -> int:
    """Send over one association; the status of the first answer that is no Success."""
    association = peer(listener, calling_ae="SCANNER").associate(
        [build_context("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.1")]
    )
    statuses = [store(association, image) for image in images]
    association.release()
    return next((status for status in statuses if status), 0x0000)


def ask_for_commitment(
    listener: Service, requester: Requester, image: Dataset, *, stays: bool
) -> None:
    model, instance = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
    from pynetdicom import evt  # noqa: PLC0415

    ae = AE("SCANNER")
    association = ae.associate(
        HOST,
        listener.settings.listener_port,
        contexts=[build_context(model)],
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, requester.take)],
    )
    request = Dataset()
    request.TransactionUID = generate_uid()
    item = Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    item.ReferencedSOPInstanceUID = image.SOPInstanceUID
    request.ReferencedSOPSequence = [item]
    status, _ = association.send_n_action(request, 1, model, instance)
    assert status.Status == 0x0000
    if stays:
        wait_until(lambda: not requester.reports.empty())
    association.release()
