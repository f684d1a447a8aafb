from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from pydicom.uid import generate_uid
from structlog.testing import capture_logs

from deepbrainprint.errors import Misconfigured
from deepbrainprint.intake.dicomweb.app import create_app
from deepbrainprint.intake.dicomweb.service import serve_dicomweb
from deepbrainprint.intake.dicomweb.tokens import Right, Tokens, end_token, new_token
from deepbrainprint.settings import Settings
from tests.certificates import authority, signed
from tests.instances import NAME, PATIENT_ID, mr_image
from tests.integration.services import Service, closed_to_all, free_port, wait_until
from tests.integration.web import BOTH, BOUNDARY, STORED, body, part10, post, running, told
from tests.rows import count, rows

pytestmark = pytest.mark.slow  # many processes are started


def every_route(app):
    uid = generate_uid()
    for route in app.routes:
        for method in route.methods:
            yield method, re.sub(r"{\w+}", uid, route.path)


def test_every_route_wants_a_token_with_the_right_of_that_route(intake_settings, database):
    app = create_app(intake_settings, database)
    without = {
        "GET": new_token(database, "STORES", frozenset({Right.STORE}), days=1, by="tester"),
        "POST": new_token(database, "ASKS", frozenset({Right.QUERY}), days=1, by="tester"),
    }
    routes = sorted(set(every_route(app)))
    assert len(routes) == 6 + 2 + 2
    with running(app) as url, httpx.Client(base_url=url) as web:
        for method, path in routes:
            if path in {"/healthz", "/readyz"}:
                assert web.request(method, path).status_code == 200
                continue
            for header in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eDp4"}):
                answer = web.request(method, path, headers=header)
                assert (answer.status_code, answer.json()["code"]) == (401, "no_token"), path
                assert answer.headers["www-authenticate"].startswith("Bearer")
            known = {"Authorization": f"Bearer {without[method]}"}
            answer = web.request(method, path, headers=known)
            assert (answer.status_code, answer.json()["code"]) == (403, "no_right"), path
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert web.get(path).status_code == 404


def test_a_token_counts_until_it_is_revoked_or_has_expired(web, database):
    assert web.get("/studies").status_code == 200
    [(used,)] = rows(database, "select last_used_at is not null from access_token")
    assert used
    rows(database, "update access_token set expires_at = now()")
    assert web.get("/studies").status_code == 401
    rows(database, "update access_token set expires_at = now() + interval '1 day'")
    assert web.get("/studies").status_code == 200
    end_token(database, "GATEWAY", by="tester")
    assert web.get("/studies").status_code == 401


def test_of_a_token_only_its_digest_is_kept(database):
    token = new_token(database, "GATEWAY", BOTH, days=1, by="tester")
    [row] = rows(database, "select access_token::text from access_token")
    assert token not in row[0]
    assert len(token) > 40


def test_answers_carry_the_headers_that_browsers_heed(web):
    for answer in (web.get("/studies"), web.get("/nothing"), web.post("/studies")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_nothing_that_is_logged_says_who_was_asked_for_or_stored(web, filed, capfd):
    study = filed(AccessionNumber="ACC-SECRET").StudyInstanceUID
    token = web.headers["authorization"].removeprefix("Bearer ")
    with capture_logs() as log:
        web.get("/studies", params={"PatientID": PATIENT_ID, "AccessionNumber": "ACC-SECRET"})
        web.get("/studies", params={"StudyDate": "ACC-SECRET"})
        web.get(f"/studies/{study}/series")
        post(web, body(part10(mr_image(StudyInstanceUID=None))))
        web.get("/ACC-SECRET")
    shown = json.dumps(log, default=str) + "".join(capfd.readouterr())
    for secret in (PATIENT_ID, "ACC-SECRET", study, NAME, token):
        assert secret not in shown
    requests = [line for line in log if line["event"] == "request"]
    assert [line["route"] for line in requests][:3] == ["/studies"] * 2 + [
        "/studies/{study}/series"
    ]
    assert requests[0]["token"] == "GATEWAY"


def test_who_asked_and_how_much_was_told_is_recorded(web, database, filed):
    filed()
    web.get("/series", params={"PatientID": PATIENT_ID})
    assert rows(
        database, "select actor, act, subject_id, details from act where act = 'queried'"
    ) == [("token:GATEWAY", "queried", "SERIES", {"keys": ["PatientID"], "answers": 1})]


def test_an_error_that_nobody_expected_is_told_without_its_text(web, monkeypatch, capfd):
    def fail(*_, **__):
        raise ValueError(PATIENT_ID)

    monkeypatch.setattr("deepbrainprint.intake.dicomweb.app.run_search", fail)
    with capture_logs() as log:
        answer = web.get("/studies")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert log[0]["error"] == "ValueError"
    assert PATIENT_ID not in json.dumps(log) + "".join(capfd.readouterr())


@pytest.mark.slow
def test_memory_does_not_grow_with_the_size_of_a_body(intake_settings, database, tmp_path):
    port = free_port()
    served = intake_settings.model_copy(update={"dicomweb_port": port})
    token = new_token(database, "GATEWAY", BOTH, days=1, by="tester")
    service = Service("dicomweb.service", "serve_dicomweb", served, tmp_path / "log")
    service.wait_for("reconciled")
    peaks = []
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=120,
    ) as web:
        for number in (2, 16):
            answer = post(web, large_body(number))
            assert answer.status_code == 200
            assert len(told(answer, STORED)) == number
            peaks.append(peak_bytes(service.process.pid))
        assert "server" not in answer.headers
    assert service.stop() == 0
    assert count(database, "instance") == 2 + 16
    assert peaks[1] - peaks[0] < 8 << 20
    assert not re.search(f"{NAME}|{PATIENT_ID}", (tmp_path / "log").read_text())


def large_body(number: int):
    """A body of instances of 25 MB, in pieces."""
    for _ in range(number):
        file = part10(mr_image(PixelData=bytes(25 << 20)))
        yield f"--{BOUNDARY}\r\n\r\n".encode()
        yield from (file[start : start + (1 << 18)] for start in range(0, len(file), 1 << 18))
        yield b"\r\n"
    yield body()


def peak_bytes(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) << 10


@pytest.fixture
def service(intake_settings, tmp_path):
    """Starts the service as a process; settings may be changed."""
    started = []

    def start(**changes) -> Service:
        served = intake_settings.model_copy(update={"dicomweb_port": free_port()} | changes)
        started.append(Service("dicomweb.service", "serve_dicomweb", served, tmp_path / "log"))
        return started[-1]

    yield start
    for process in started:
        process.kill()


def test_the_service_speaks_tls_where_a_certificate_is_set(service, database, tmp_path):
    trusted = authority(tmp_path)
    own = signed(tmp_path, trusted)
    running_ = service(tls_certificate=own.certificate, tls_key=own.key)
    assert running_.wait_for("serving_dicomweb")["tls"] is True
    token = new_token(database, "GATEWAY", BOTH, days=1, by="tester")
    url = f"https://127.0.0.1:{running_.settings.dicomweb_port}"
    context = ssl.create_default_context(cafile=trusted.certificate)
    with httpx.Client(verify=context, headers={"Authorization": f"Bearer {token}"}) as web:
        wait_until(lambda: answers(web, f"{url}/healthz"))
        answer = web.get(f"{url}/studies")
    assert answer.status_code == 200
    assert answer.headers["strict-transport-security"]
    assert running_.stop() == 0


def answers(web: httpx.Client, url: str) -> bool:
    try:
        return web.get(url).is_success
    except httpx.TransportError:
        return False


def test_the_service_registers_what_it_took_while_postgresql_was_away(
    service, database, postgres_url
):
    running_ = service()
    running_.wait_for("reconciled")
    token = new_token(database, "GATEWAY", BOTH, days=1, by="tester")
    url = f"http://127.0.0.1:{running_.settings.dicomweb_port}"
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as web:
        wait_until(lambda: web.get("/studies").is_success)
        with closed_to_all(postgres_url, database):
            assert post(web, body(part10(mr_image()))).status_code == 200
    running_.wait_for("journal_registered")
    assert count(database, "instance") == 1


def test_the_service_warns_of_tokens_that_go_in_clear(service):
    running_ = service(dicomweb_host="0.0.0.0")
    assert "DBP_TLS_CERTIFICATE" in running_.wait_for("tokens_in_clear")["reason"]


def test_a_taken_port_is_named(intake_settings):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = intake_settings.model_copy(update={"dicomweb_port": other.getsockname()[1]})
        with pytest.raises(Misconfigured, match="DBP_DICOMWEB_PORT"):
            serve_dicomweb(taken)


def command(database_url, *words) -> subprocess.CompletedProcess[str]:
    plain = {name: text for name, text in os.environ.items() if not name.startswith("DBP_")}
    return subprocess.run(
        [sys.executable, "-m", "deepbrainprint.cli", *words],
        capture_output=True,
        text=True,
        env=plain | {"DBP_DATABASE_URL": database_url},
        check=False,
    )


@pytest.mark.slow
def test_tokens_are_made_listed_and_revoked_by_command(database_url, database):
    made = command(database_url, "token", "add", "PACS-1", "--may", "store", "--days", "30")
    assert made.returncode == 0, made.stderr
    [token] = made.stdout.split()
    holder = Tokens(Settings(), database).holder(token)
    assert (holder.name, holder.rights) == ("PACS-1", {Right.STORE})

    again = command(database_url, "token", "add", "PACS-1", "--may", "query")
    assert "there is a token PACS-1 already" in again.stderr
    assert command(database_url, "token", "add", "PACS-2").returncode == 3
    assert command(database_url, "token", "add", "two words", "--may", "store").returncode == 3

    listed = json.loads(command(database_url, "token", "list", "--json").stdout)
    assert [(one["name"], one["may_store"], one["may_query"]) for one in listed] == [
        ("PACS-1", True, False)
    ]
    assert token not in command(database_url, "token", "list").stdout
    assert command(database_url, "token", "revoke", "PACS-1").returncode == 0
    assert command(database_url, "token", "revoke", "PACS-1").returncode == 3
    assert Tokens(Settings(), database).holder(token) is None
    assert rows(database, "select act, subject_id from act order by act_id") == [
        ("token_made", "PACS-1"),
        ("token_revoked", "PACS-1"),
    ]
