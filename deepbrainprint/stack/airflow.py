"""The parts of Airflow, its configuration and its users. Airflow itself is never imported here.

Everything is in one private `airflow.cfg`, so `AIRFLOW_HOME=<home>/airflow airflow …` sees what
the service sees, and no secret stands in a process's arguments.
"""

from __future__ import annotations

import base64
import configparser
import io
import json
import os
import secrets
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from deepbrainprint.errors import Misconfigured, TryAgain
from deepbrainprint.settings import Settings
from deepbrainprint.stack.layout import Layout, write_private
from deepbrainprint.stack.part import Part
from deepbrainprint.stack.postgres import database_url

PARTS = ("api-server", "dag-processor", "scheduler")  # no triggerer: no task of ours defers

_PRELOAD = '''"""Made by `deepbrainprint up`: what the scheduler imports, no task has to."""

from deepbrainprint.stack.preload import preload_for_tasks

preload_for_tasks()
'''


def airflow_parts(layout: Layout, environment: dict[str, str]) -> list[Part]:
    """The processes of Airflow; `environment` is what tasks see."""
    options = {"scheduler": ("--skip-serve-logs",)}  # the API server reads the files itself
    parts = [
        Part(
            name,
            (sys.executable, "-m", "airflow", name, *options.get(name, ())),
            environment,
            layout.log(name),
        )
        for name in PARTS
    ]
    # Running tasks report to the API server; it says goodbye at once but lingers before it exits.
    return [
        replace(part, wave=1, grace_seconds=3.0) if part.name == "api-server" else part
        for part in parts
    ]


def airflow_environment(layout: Layout, settings: Settings) -> dict[str, str]:
    """What every Airflow process needs beside the service's own variables.

    Runs share the cores: a numerical library that takes all of them for each run spends more time
    waiting than computing.
    """
    threads = str(max(1, (os.cpu_count() or 1) // settings.maximum_open_runs))
    libraries = ("OMP", "OPENBLAS", "MKL")
    return {
        "AIRFLOW_HOME": str(layout.airflow),
        "NO_COLOR": "1",
        **{f"{library}_NUM_THREADS": threads for library in libraries},
    }


def password_file(layout: Layout) -> Path:
    """Where Airflow's sign-in page looks passwords up: JSON, user name to password."""
    return layout.airflow / "passwords.json"


def read_password(layout: Layout, user: str) -> str:
    """The password of `user`, or nothing when there is none yet."""
    path = password_file(layout)
    known: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return known.get(user, "")


def configure_airflow(layout: Layout, settings: Settings, *, port: int) -> None:
    """Write configuration, users and the preload hook. Misconfigured without the `dags` folder."""
    _write_password(layout, settings)
    write_private(layout.airflow / "airflow.cfg", _configuration(layout, settings, port))
    hooks = layout.airflow / "config"
    hooks.mkdir(mode=0o700, exist_ok=True)
    write_private(hooks / "airflow_local_settings.py", _PRELOAD)


def migrate_airflow(layout: Layout, environment: dict[str, str]) -> bool:
    """Bring Airflow's tables up to date; False when this version has done so before."""
    stamp = layout.airflow / "migrated-to"
    version = metadata.version("apache-airflow")
    if stamp.exists() and stamp.read_text("utf-8") == version:
        return False
    log = layout.log("airflow-migrate")
    with log.open("ab") as output:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise TryAgain(
            f"Airflow's database could not be prepared: its reason is at the end of {log}",
            code="airflow_not_migrated",
        )
    write_private(stamp, version)
    return True


def _configuration(layout: Layout, settings: Settings, port: int) -> str:
    parser = configparser.ConfigParser(interpolation=None)
    host = urlsplit(settings.airflow_url).hostname or "127.0.0.1"
    parser.read_dict(_sections(layout, settings, host, port))
    for section in parser.values():
        for name, value in section.items():
            section[name] = value.replace("%", "%%")  # Airflow reads with interpolation
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def _sections(
    layout: Layout, settings: Settings, host: str, port: int
) -> dict[str, dict[str, object]]:
    keys = _keys(layout)
    here = f"http://127.0.0.1:{port}"
    return {
        "core": {
            "dags_folder": _dags_folder(),
            "plugins_folder": _dags_folder().parent / "plugins",
            "executor": "LocalExecutor",
            "parallelism": 5,
            "load_examples": False,
            "dags_are_paused_at_creation": False,
            "execution_api_server_url": f"{here}/execution/",
            "fernet_key": keys["fernet"],
            "simple_auth_manager_users": f"{settings.airflow_user}:admin",
            "simple_auth_manager_passwords_file": password_file(layout),
        },
        "database": {
            "sql_alchemy_conn": database_url(layout, "airflow", driver="+psycopg2"),
            "sql_alchemy_conn_async": database_url(layout, "airflow", driver="+asyncpg"),
        },
        "scheduler": {
            # The default second between looks is most of an empty task's time.
            "scheduler_idle_sleep_time": 0.25,
            # Find work that a killed scheduler left within a minute, not within five.
            "orphaned_tasks_check_interval": 30,
            "task_instance_heartbeat_timeout": 60,
        },
        "workers": {
            # A worker may notice only at its next heartbeat that its task has ended.
            "min_heartbeat_interval": 1,
            "max_failed_heartbeats": 15,
        },
        "api": {"host": host, "port": port, "base_url": here, "secret_key": keys["api"]},
        "api_auth": {"jwt_secret": keys["jwt"]},
        "dag_processor": {
            "parsing_processes": 1,
            "refresh_interval": 30,
            "print_stats_interval": 300,
        },
        "logging": {
            "base_log_folder": layout.logs / "airflow",
            "dag_processor_child_process_log_directory": layout.logs / "airflow" / "dag_processor",
            "colored_console_log": False,
            "namespace_levels": "http.access=WARNING",
            "file_task_handler_new_folder_permissions": "0o700",
            "file_task_handler_new_file_permissions": "0o600",
        },
        "usage_data_collection": {"enabled": False},
    }


def _dags_folder() -> Path:
    folder = Path(__file__).resolve().parents[2] / "dags"
    if not (folder / "ingest_study.py").is_file():
        raise Misconfigured(
            f"there are no DAGs in {folder}: run from a checkout installed with `pip install -e`",
            code="no_dags",
        )
    return folder


def _keys(layout: Layout) -> dict[str, str]:
    """Keys that all parts must agree on, made once per home."""
    path = layout.airflow / "keys.json"
    if not path.exists():
        fresh = {
            "fernet": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "jwt": secrets.token_urlsafe(64),
            "api": secrets.token_urlsafe(32),
        }
        write_private(path, json.dumps(fresh))
    keys: dict[str, str] = json.loads(path.read_text("utf-8"))
    return keys


def _write_password(layout: Layout, settings: Settings) -> None:
    wanted = settings.airflow_password.get_secret_value()
    kept = wanted or read_password(layout, settings.airflow_user) or secrets.token_urlsafe(12)
    write_private(password_file(layout), json.dumps({settings.airflow_user: kept}))
