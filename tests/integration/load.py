"""A listener under load: senders that do not stop, and what they find and leave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deepbrainprint.database.connection import Database
from deepbrainprint.intake import spool
from deepbrainprint.intake.part10 import read_delivery
from deepbrainprint.settings import Settings
from tests.instances import encoded, mr_image
from tests.integration.raw_house import descriptors, threads
from tests.integration.raw_peer import RawPeer
from tests.integration.services import Service, free_port, wait_until
from tests.rows import rows

KEPT_CONNECTIONS = 8  # to PostgreSQL, by each worker


@contextmanager
def listening(settings: Settings, log: Path, **changes: object) -> Iterator[Service]:
    """A listener of two workers with some settings of its own."""
    own = {"listener_port": free_port(), "listener_host": "127.0.0.1", "listener_workers": 2}
    service = Service("listener", "listen", settings.model_copy(update=own | changes), log)
    try:
        service.wait_for("reconciled")
        yield service
    finally:
        service.kill()


class Senders:
    """Threads that send instances until they are told to stop or are cut off."""

    def __init__(self, listener: Service, *, threads: int = 3, rows: int = 256) -> None:
        self.acknowledged: dict[str, bytes] = {}
        self.refused: list[int] = []
        self._port = listener.settings.listener_port
        self._rows = rows
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, more: int) -> None:
        """Until so many more have been acknowledged."""
        wanted = len(self.acknowledged) + more
        wait_until(lambda: len(self.acknowledged) >= wanted)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        with suppress(OSError, AssertionError), RawPeer(self._port, patience_seconds=20) as peer:
            peer.associate()
            while not self._stop.is_set():
                image = mr_image(rows=self._rows)
                uid, data_set = str(image.SOPInstanceUID), encoded(image)
                status = peer.store(uid, data_set)
                if status == 0x0000:
                    self.acknowledged[uid] = data_set
                else:
                    self.refused.append(status)
            peer.release()


def kept_right(listener: Service, database: Database, acknowledged: dict[str, bytes]) -> bool:
    """Whether rows and files agree and all that was acknowledged is there, byte for byte."""
    known = {uid for (uid,) in rows(database, "select sop_instance_uid from instance")}
    folder = listener.settings.instances_folder
    assert set(acknowledged) <= known
    assert len(known) == len(list(folder.rglob("*.dcm")))
    for uid, data_set in acknowledged.items():
        assert read_delivery(folder / spool.instance_path(uid)).data_set == data_set
    return True


def workers(listener: Service) -> list[int]:
    """Process ids of the receiving processes."""
    children = Path(f"/proc/{listener.process.pid}/task/{listener.process.pid}/children")
    pids = map(int, children.read_text().split())
    return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def store_one(port: int, **peer: float) -> int:
    image = mr_image()
    with RawPeer(port, **peer) as sender:
        status = sender.associate().store(str(image.SOPInstanceUID), encoded(image))
        sender.release()
    return status


def holdings(listener: Service) -> list[tuple[int, int]]:
    """Descriptors and threads of each process of a listener."""
    return [(descriptors(pid), threads(pid)) for pid in (listener.process.pid, *workers(listener))]


def is_back_to(listener: Service, before: list[tuple[int, int]]) -> bool:
    """Whether nothing is left of what came, but connections to PostgreSQL that are kept open."""

    def is_so() -> bool:
        pairs = zip(holdings(listener), before, strict=True)
        return all(now[0] <= was[0] + KEPT_CONNECTIONS and now[1] <= was[1] for now, was in pairs)

    wait_until(is_so, seconds=10)
    assert is_so(), (before, holdings(listener))
    return True


def all_at_once(actions: list[Callable[[], float]]) -> list[float]:
    """What each of them returns, each in a thread of its own."""
    results = [float("inf")] * len(actions)

    def act(number: int) -> None:
        results[number] = actions[number]()

    acting = [threading.Thread(target=act, args=(number,)) for number in range(len(actions))]
    for thread in acting:
        thread.start()
    for thread in acting:
        thread.join()
    return results


def files(listener: Service) -> list[Path]:
    return list(listener.settings.instances_folder.rglob("*.dcm"))


def journal(listener: Service) -> list[Path]:
    """Names that wait for PostgreSQL."""
    folder = listener.settings.journal_folder
    return [path for path in folder.iterdir() if not path.name.startswith(".")]
