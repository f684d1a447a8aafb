"""Prometheus metrics of the listener: its processes count into files that the keeper adds up."""

from __future__ import annotations

import threading

from prometheus_client import Counter, Histogram

from deepbrainprint.database.arrivals import Arrival
from deepbrainprint.intake.listener.storing import StoreAnswer

_MOST_TITLES = 200  # whoever calls under ever new titles does not fill the memory
_OTHERS = "other"
_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)

_ASSOCIATIONS = Counter("dbp_associations", "Associations by how they ended", ["ae", "ended"])
_INSTANCES = Counter("dbp_instances", "Instances answered with Success", ["ae", "arrival"])
_BYTES = Counter("dbp_received_bytes", "Bytes of data sets answered with Success", ["ae"])
_REFUSALS = Counter("dbp_refusals", "Instances refused, by reason", ["ae", "reason"])
_SECONDS = Histogram(
    "dbp_store_seconds",
    "Time from the last byte of a data set to its answer",
    ["ae"],
    buckets=_BUCKETS,
)

_titles: set[str] = set()
_lock = threading.Lock()


def count_association(ae: str, ended: str) -> None:
    """Count an association that has ended."""
    _ASSOCIATIONS.labels(_title(ae), ended or "unknown").inc()


class OfSender:
    """The counters of one sender, looked up once for an association."""

    def __init__(self, ae: str) -> None:
        self._title = _title(ae)
        self._new = _INSTANCES.labels(self._title, Arrival.NEW.value)
        self._repeats = _INSTANCES.labels(self._title, Arrival.REPEAT.value)
        self._bytes = _BYTES.labels(self._title)
        self._seconds = _SECONDS.labels(self._title)

    def count(self, answer: StoreAnswer, seconds: float) -> None:
        """Count one answered C-STORE."""
        self._seconds.observe(seconds)
        if answer.arrival is None:
            _REFUSALS.labels(self._title, answer.code).inc()
            return
        (self._new if answer.arrival is Arrival.NEW else self._repeats).inc()
        self._bytes.inc(answer.size_bytes)


def _title(ae: str) -> str:
    with _lock:
        if ae in _titles or len(_titles) < _MOST_TITLES:
            _titles.add(ae)
            return ae
    return _OTHERS
