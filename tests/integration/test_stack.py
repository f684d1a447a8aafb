"""The whole embedded stack: started, signed in to, killed in parts and as a whole, stopped."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from deepbrainprint.settings import Settings
from deepbrainprint.stack import PartState, down, status, up
from deepbrainprint.stack.layout import layout_of
from deepbrainprint.stack.ledger import is_running, read_ledger
from tests.integration.services import free_port, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    """Settings of a stack that is up, in a folder that pytest does not close to other accounts."""
    with tempfile.TemporaryDirectory(prefix="dbp-stack-", ignore_cleanup_errors=True) as folder:
        chosen = Settings(
            home=Path(folder) / "home",
            listener_host="127.0.0.1",
            listener_port=free_port(),
            airflow_url=f"http://127.0.0.1:{free_port()}",
        )
        up(chosen, report=lambda _words: None)
        yield chosen
        down(chosen)


def pid_of(settings: Settings, name: str) -> int:
    return next(part.pid for part in status(settings).parts if part.name == name)


def supervisor_of(settings: Settings) -> psutil.Process:
    ledger = read_ledger(layout_of(settings))
    assert ledger
    return psutil.Process(ledger.pid)


def kill_supervisor(settings: Settings) -> None:
    supervisor = supervisor_of(settings)
    supervisor.kill()
    wait_until(lambda: not is_running(layout_of(settings)))


def test_every_part_is_up(settings: Settings) -> None:
    found = status(settings)
    assert found.healthy
    assert {part.name for part in found.parts} == {
        *(
            "postgres",
            "api-server",
            "scheduler",
            "dag-processor",
            "listener",
            "dispatcher",
            "dicomweb",
        ),
    }


def test_the_password_that_status_tells_opens_airflow(settings: Settings) -> None:
    found = status(settings)
    assert found.info
    user = {"username": found.info.airflow_user, "password": found.password.get_secret_value()}
    assert httpx.post(f"{found.info.airflow_url}/auth/token", json=user).status_code == 201


def test_the_dag_is_known_and_not_paused(settings: Settings) -> None:
    found = status(settings)
    assert found.info
    user = {"username": found.info.airflow_user, "password": found.password.get_secret_value()}
    token = httpx.post(f"{found.info.airflow_url}/auth/token", json=user).json()["access_token"]
    address = f"{found.info.airflow_url}/api/v2/dags/ingest_study"
    header = {"Authorization": f"Bearer {token}"}
    wait_until(lambda: httpx.get(address, headers=header).is_success, seconds=60)
    assert httpx.get(address, headers=header).json()["is_paused"] is False


def test_no_secret_stands_in_arguments_or_logs(settings: Settings) -> None:
    secret = status(settings).password.get_secret_value()
    parent = supervisor_of(settings)
    for process in (parent, *parent.children(recursive=True)):
        assert secret not in " ".join(process.cmdline())
    for log in layout_of(settings).logs.rglob("*.log"):
        assert secret not in log.read_text(errors="replace")


def test_a_killed_part_comes_back(settings: Settings) -> None:
    before = pid_of(settings, "listener")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: pid_of(settings, "listener") not in (0, before))
    wait_until(lambda: status(settings).healthy)
    assert status(settings).healthy


def test_a_killed_supervisor_leaves_nothing_that_hinders_the_next(settings: Settings) -> None:
    old = [process.pid for process in supervisor_of(settings).children(recursive=True)]
    kill_supervisor(settings)
    assert all(part.state is PartState.DOWN for part in status(settings).parts)
    up(settings, report=lambda _words: None)
    assert status(settings).healthy
    assert not any(psutil.pid_exists(pid) for pid in old)


def test_down_ends_every_process_and_up_starts_them_again(settings: Settings) -> None:
    old = [process.pid for process in supervisor_of(settings).children(recursive=True)]
    assert down(settings)
    assert not any(psutil.pid_exists(pid) for pid in old)
    assert not down(settings)
    up(settings, report=lambda _words: None)
    assert status(settings).healthy


def test_up_of_a_running_stack_is_harmless(settings: Settings) -> None:
    before = supervisor_of(settings).pid
    words: list[str] = []
    up(settings, report=words.append)
    assert words[0] == "runs already"
    assert supervisor_of(settings).pid == before


def test_all_state_is_closed_to_other_users(settings: Settings) -> None:
    home: Path = layout_of(settings).home
    assert all(path.stat().st_mode & 0o007 == 0 for path in home.iterdir())
