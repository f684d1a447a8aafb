"""What works now, seen from outside: each part is asked in the way its users ask it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import httpx
import psutil

from deepbrainprint.stack import postgres
from deepbrainprint.stack.layout import Layout
from deepbrainprint.stack.ledger import Player, StackInfo

_HEARTS = {  # part: its entry in Airflow's answer, and the entry's time
    "scheduler": ("scheduler", "latest_scheduler_heartbeat"),
    "dag-processor": ("dag_processor", "latest_dag_processor_heartbeat"),
}


def find_faults(layout: Layout, info: StackInfo, players: Iterable[Player]) -> dict[str, str]:
    """For each part words on what is missing; an empty text when it works."""
    answer = _airflow_answer(info)
    return {player.name: _fault(layout, info, player, answer) for player in players}


def _fault(layout: Layout, info: StackInfo, player: Player, answer: dict[str, Any] | None) -> str:
    if not _is_alive(player):
        return player.words or "does not run"
    looks: dict[str, Callable[[], str]] = {
        "postgres": lambda: "" if postgres.is_ready(layout) else "takes no connections yet",
        "listener": lambda: _listener_fault(info),
        "dicomweb": lambda: _dicomweb_fault(info),
        "api-server": lambda: _silence(info) if answer is None else "",
        "scheduler": lambda: _heart_fault(player, answer),
        "dag-processor": lambda: _heart_fault(player, answer),
    }
    return looks.get(player.name, str)()


def _silence(info: StackInfo) -> str:
    return f"does not answer on {info.airflow_url} yet"


def _heart_fault(player: Player, answer: dict[str, Any] | None) -> str:
    if answer is None:
        return "unknown while the API server does not answer"
    entry, time_name = _HEARTS[player.name]
    heart = answer.get(entry) or {}
    beat = heart.get(time_name)
    if heart.get("status") == "healthy" and beat and _epoch(beat) >= player.created:
        return ""  # and not the last beat of the process before this one
    return "gives no heartbeat yet"


def _airflow_answer(info: StackInfo) -> dict[str, Any] | None:
    with contextlib.suppress(httpx.HTTPError, ValueError):
        answer = httpx.get(f"{info.airflow_url}/api/v2/monitor/health", timeout=5, trust_env=False)
        document: dict[str, Any] = answer.raise_for_status().json()
        return document
    return None


def _is_alive(player: Player) -> bool:
    try:
        return bool(player.pid) and psutil.Process(player.pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _listener_fault(info: StackInfo) -> str:
    """What the listener says of itself; a C-ECHO to itself is part of that."""
    try:
        answer = httpx.get(f"{info.metrics_url}/readyz", timeout=10, trust_env=False)
        checks: dict[str, str] = answer.json()
    except (httpx.HTTPError, ValueError):
        return "does not listen yet"
    return "; ".join(words for words in checks.values() if words != "ok")


def _dicomweb_fault(info: StackInfo) -> str:
    """Its certificate is for others, who know it by its name."""
    with contextlib.suppress(httpx.HTTPError):
        url = f"{info.dicomweb_url}/healthz"
        if httpx.get(url, timeout=5, trust_env=False, verify=False).is_success:  # noqa: S501
            return ""
    return f"does not answer on {info.dicomweb_url} yet"


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
