"""How much waits in the database, for probes and metrics."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from deepbrainprint.database.connection import Connection
from deepbrainprint.database.queries import fetch_one


@dataclass(frozen=True)
class IntakeDepth:
    """Counts, and the age in seconds of the study that waits longest."""

    studies_receiving: int
    studies_queued: int
    studies_running: int
    outbox_waiting: int
    quarantine_objects: int
    oldest_waiting_seconds: float

    def gauges(self) -> dict[str, float]:
        """By the name of the metric."""
        return {f"dbp_{name}": value for name, value in asdict(self).items()}


def intake_depth(connection: Connection) -> IntakeDepth:
    """How much waits now."""
    row = fetch_one(connection, "intake_depth")
    assert row is not None  # noqa: S101 — a query of aggregates always returns one row
    return IntakeDepth(*row)
