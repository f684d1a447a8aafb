"""Which source was measured."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]


def commit() -> dict[str, Any] | None:
    """Commit of the checkout and whether the package differs from it; None outside a checkout."""
    try:
        head, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", ".")
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"id": head, "changed": bool(changes)}


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=PACKAGE, capture_output=True, text=True, check=True)
    return done.stdout.strip()
