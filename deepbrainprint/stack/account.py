"""Whose process PostgreSQL is. It refuses to be root, so root lends it an account."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deepbrainprint.errors import Misconfigured

_NAMES = ("postgres", "pgserver")  # the one the system has, or the one we make


@dataclass(frozen=True)
class Account:
    """A system user."""

    name: str
    uid: int
    gid: int


def choose_account() -> Account | None:
    """None for an ordinary user; root lends an account, because PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    name = next((name for name in _NAMES if name in known), None) or _make_account()
    entry = pwd.getpwnam(name)
    return Account(name, entry.pw_uid, entry.pw_gid)


def own_folder(folder: Path, account: Account | None) -> None:
    """Make or take `folder` for the account alone. Misconfigured when it is another user's."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    wanted = account.uid if account else os.geteuid()
    if account and found.st_uid == os.geteuid():
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)
    elif found.st_uid != wanted or not stat.S_ISDIR(found.st_mode):
        raise Misconfigured(
            f"DBP_HOME: {folder} belongs to another user: run as that user or choose another home",
            code="home_of_another_user",
        )
    folder.chmod(0o700)


def open_the_way(folder: Path) -> None:
    """Let PostgreSQL's account pass through (not list) the folders above its own."""
    for above in folder.parents:
        mode = above.stat().st_mode
        if not mode & stat.S_IXOTH:
            above.chmod(mode | stat.S_IXOTH)


def _make_account() -> str:
    name = _NAMES[-1]
    made = subprocess.run(
        ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name],
        check=False,
        capture_output=True,
    )
    if made.returncode:
        raise Misconfigured(
            f"PostgreSQL does not run as root: add a system user {name}, or start as another user",
            code="no_postgres_account",
        )
    return name
