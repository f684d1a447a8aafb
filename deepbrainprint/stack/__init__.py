"""The whole service on one machine: PostgreSQL, Airflow, listener and dispatcher under one home."""

from __future__ import annotations

from deepbrainprint.stack.control import (
    PartState,
    PartStatus,
    StackStatus,
    down,
    run_foreground,
    settings_of_home,
    status,
    up,
)
from deepbrainprint.stack.ledger import StackInfo

__all__ = [
    "PartState",
    "PartStatus",
    "StackInfo",
    "StackStatus",
    "down",
    "run_foreground",
    "settings_of_home",
    "status",
    "up",
]
