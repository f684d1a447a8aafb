"""The supervisor's tools, each with real processes, sockets and a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from pydantic import SecretStr

from deepbrainprint.database.connection import Database
from deepbrainprint.errors import Conflict, Misconfigured, TryAgain
from deepbrainprint.settings import Settings
from deepbrainprint.stack import down, settings_of_home, status
from deepbrainprint.stack.account import choose_account
from deepbrainprint.stack.airflow import configure_airflow, read_password
from deepbrainprint.stack.child import Child
from deepbrainprint.stack.layout import Layout, lay_out
from deepbrainprint.stack.ledger import (
    Ledger,
    Player,
    boot_id,
    hold_lock,
    is_running,
    write_ledger,
)
from deepbrainprint.stack.part import Part, kill_session
from deepbrainprint.stack.plan import environment_of, plan_stack
from deepbrainprint.stack.ports import choose_port
from deepbrainprint.stack.postgres import (
    database_url,
    is_ready,
    postgres_part,
    prepare_cluster,
    socket_folder,
)
from deepbrainprint.stack.supervisor import stop_leftovers
from tests.integration.services import wait_until

HOST = "127.0.0.1"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return lay_out(Settings(home=tmp_path / "home"))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Not pytest's folder: every start of pytest closes that one to PostgreSQL's account."""
    with tempfile.TemporaryDirectory(prefix="dbp-stack-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def sleeper(layout: Layout, seconds: float = 600) -> Part:
    command = ("/bin/sh", "-c", f"sleep {seconds} & sleep {seconds}")
    return Part("sleeper", command, {"PATH": os.environ["PATH"]}, layout.log("sleeper"))


def end(child: Child) -> None:
    child.ask_to_stop()
    child.see_off(time.monotonic() + 20)


def test_a_port_that_the_site_asked_for_and_is_taken_stops_the_start(layout, taken_port) -> None:
    settings = Settings(home=layout.home, listener_host=HOST, listener_port=taken_port)
    with pytest.raises(Misconfigured, match=f"DBP_LISTENER_PORT: port {taken_port} is taken"):
        plan_stack(layout, settings)


def test_a_default_port_that_is_taken_is_replaced_by_a_free_one(taken_port) -> None:
    found = choose_port(taken_port, host=HOST, setting="X", explicit=False)
    assert found != taken_port
    socket.create_server((HOST, found)).close()


def test_a_replaced_port_is_said(layout, taken_port) -> None:
    settings = Settings(home=layout.home, listener_host=HOST)
    settings = settings.model_copy(update={"listener_port": taken_port})
    settings.model_fields_set.discard("listener_port")  # as if it were the default
    notes = plan_stack(layout, settings).info.notes
    assert any(note.startswith(f"port {taken_port} was taken") for note in notes)


def test_a_home_that_cannot_be_made_is_a_wrong_setting(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match="DBP_HOME"):
        lay_out(Settings(home=tmp_path / "file" / "home"))


def test_a_full_disk_says_how_much_to_free(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1 << 20))
    with pytest.raises(TryAgain, match="is full: free at least 256 MB"):
        lay_out(Settings(home=tmp_path / "home"))


def test_other_users_cannot_look_into_a_new_home(layout) -> None:
    assert all(
        folder.stat().st_mode & 0o077 == 0
        for folder in (layout.home, layout.airflow, layout.logs, layout.ledger.parent)
    )


def test_only_one_supervisor_holds_a_home(layout) -> None:
    assert not is_running(layout)
    with hold_lock(layout):
        assert is_running(layout)
        with pytest.raises(Conflict), hold_lock(layout, patience_seconds=0.1):
            pass
    assert not is_running(layout)


def test_a_part_that_dies_is_started_again_and_its_log_is_named(layout) -> None:
    child = Child(sleeper(layout, 0.1))
    wait_until(lambda: not child.runs)
    child.tend()
    assert "ended with code 0" in child.player.words
    assert "sleeper.log" in child.player.words
    wait_until(lambda: child.tend() or child.player.restarts == 1, seconds=10)
    assert child.player.restarts == 1
    end(child)


def test_a_part_that_dies_again_and_again_stops_the_start(layout) -> None:
    child = Child(Part("broken", ("/bin/false",), {}, layout.log("broken")))
    wait_until(lambda: child.tend() or child.hopeless is not None, seconds=20)
    assert isinstance(child.hopeless, TryAgain)
    assert "broken does not start" in str(child.hopeless)


def test_a_wrong_setting_of_a_part_is_passed_on_at_once(layout) -> None:
    said = ("/bin/sh", "-c", "echo deepbrainprint: DBP_X is wrong >&2; exit 5")
    child = Child(Part("listener", said, {}, layout.log("listener"), ours=True))
    wait_until(lambda: not child.runs)
    child.tend()
    assert isinstance(child.hopeless, Misconfigured)
    assert str(child.hopeless) == "DBP_X is wrong"


def test_stopping_a_part_ends_what_it_started(layout) -> None:
    child = Child(sleeper(layout))
    leader = psutil.Process(child.player.pid)
    wait_until(lambda: len(leader.children()) == 2)
    grandchildren = leader.children()
    end(child)
    wait_until(lambda: not any(process.is_running() for process in grandchildren), seconds=5)
    assert not any(process.is_running() for process in grandchildren)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a death")
def test_a_part_ends_when_its_supervisor_is_killed(layout) -> None:
    code = (
        "import sys, time; from pathlib import Path; from deepbrainprint.stack.part import *\n"
        "log = Path(sys.argv[1]); print(start(Part('s', ('/bin/sleep', '600'), {}, log)).pid,"
        " flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, layout.log("s")]
    supervisor = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout
    part = psutil.Process(int(supervisor.stdout.readline()))
    supervisor.kill()
    supervisor.wait()
    wait_until(lambda: not part.is_running(), seconds=5)
    assert not part.is_running()


def test_what_a_killed_supervisor_left_is_ended(layout) -> None:
    child = Child(sleeper(layout))
    write_ledger(layout, Ledger(1, boot_id(), "ready", players=(child.player,)))
    stop_leftovers(layout)
    wait_until(lambda: not child.runs, seconds=5)
    assert not child.runs


def test_a_number_that_another_process_got_since_is_spared(layout) -> None:
    child = Child(sleeper(layout))
    later = Player("listener", child.player.pid, time.time() + 60, 0, "")
    write_ledger(layout, Ledger(1, boot_id(), "ready", players=(later,)))
    stop_leftovers(layout)
    assert child.runs
    write_ledger(layout, Ledger(1, "another boot", "ready", players=(child.player,)))
    stop_leftovers(layout)
    assert child.runs
    kill_session(child.player.pid)


def test_down_and_status_of_a_home_that_never_ran_say_so(tmp_path) -> None:
    settings = Settings(home=tmp_path / "nothing")
    assert not down(settings)
    assert not status(settings).running
    assert settings_of_home(settings) == settings
    assert not settings.home.exists()


def test_parts_see_exactly_the_settings_that_were_chosen(monkeypatch) -> None:
    for name in [name for name in os.environ if name.startswith("DBP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DBP_QUIET_SECONDS", "5")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "SequentialExecutor")
    settings = Settings(airflow_password=SecretStr("hidden"))
    environment = environment_of(settings, without=["airflow_password"])
    told = {name: value for name, value in environment.items() if name.startswith("DBP_")}
    assert told == {"DBP_QUIET_SECONDS": "5.0"}
    assert not any(name.startswith("AIRFLOW") for name in environment)


def test_keys_and_password_are_private_and_outlive_a_restart(layout) -> None:
    settings = Settings(home=layout.home)
    configure_airflow(layout, settings, port=8080)
    password = read_password(layout, "admin")
    keys = (layout.airflow / "keys.json").read_text()
    configure_airflow(layout, settings, port=8081)
    assert password
    assert (read_password(layout, "admin"), (layout.airflow / "keys.json").read_text()) == (
        password,
        keys,
    )
    files = [path for path in layout.airflow.iterdir() if path.is_file()]
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


@pytest.fixture
def cluster(open_folder: Path) -> Iterator[tuple[Layout, Child]]:
    """A running cluster in a folder whose path is too long for a socket and has a space."""
    layout = lay_out(Settings(home=open_folder / ("long " * 25) / "home"))
    prepare_cluster(layout, choose_account())
    child = Child(postgres_part(layout, choose_account()))
    wait_until(lambda: is_ready(layout))
    yield layout, child
    end(child)
    shutil.rmtree(socket_folder(layout), ignore_errors=True)


def test_both_databases_answer_whatever_the_length_of_the_path(cluster) -> None:
    layout, _ = cluster
    for name in ("deepbrainprint", "airflow"):
        assert can_connect(database_url(layout, name))


def test_a_killed_postgresql_recovers_despite_the_file_it_left(cluster) -> None:
    layout, child = cluster
    os.kill(child.player.pid, signal.SIGKILL)
    wait_until(lambda: not child.runs)
    prepare_cluster(layout, choose_account())
    wait_until(lambda: child.tend() or is_ready(layout))
    assert can_connect(database_url(layout, "deepbrainprint"))


def test_a_wrong_database_password_is_a_wrong_setting(cluster) -> None:
    layout, child = cluster
    rules = layout.postgres / "data" / "pg_hba.conf"
    rules.write_text("local all all scram-sha-256\n")
    child.ask_to_stop()
    wait_until(lambda: not child.runs)
    wait_until(lambda: child.tend() or is_ready(layout))
    url = database_url(layout, "deepbrainprint").replace("postgres:@", "postgres:wrong@")
    with pytest.raises(Misconfigured, match="password"):
        can_connect(url)


def test_another_version_of_postgresql_is_refused(layout) -> None:
    (layout.postgres / "data").mkdir(parents=True)
    (layout.postgres / "data" / "PG_VERSION").write_text("12\n")
    with pytest.raises(Misconfigured, match="PostgreSQL 12"):
        prepare_cluster(layout, None if os.geteuid() else choose_account())


def can_connect(url: str) -> bool:
    database = Database(url, maximum_connections=1)
    try:
        with database.transaction() as connection:
            return not connection.closed
    finally:
        database.close()
