"""The process that owns the port: accepts, counts, and hands each connection to a worker.

One process accepts for all, so that the limit on associations holds over all of them and the
worker with least to do gets the next one; the kernel's own spreading (SO_REUSEPORT) puts four
associations on two workers evenly in three cases of eight. The port is shared all the same: a
second listener may start on it before the first one stops.
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import structlog

from deepbrainprint.errors import Misconfigured, TryAgain
from deepbrainprint.intake.listener.places import Places
from deepbrainprint.intake.listener.worker import (
    DRAIN,
    DRAIN_SECONDS,
    ENDED,
    LARGEST_MESSAGE,
    READY,
    work,
)
from deepbrainprint.settings import Settings

log = structlog.get_logger()

_WAITING_CONNECTIONS = 512
_LOOK_SECONDS = 0.1  # how soon a stop is seen
_START_SECONDS = 60.0
_MOST_WORKERS = 4
_MORE_CONNECTIONS = 256  # beyond the limit on associations: to be refused in order, or silent


@dataclass
class _Seat:
    """One worker, the way to it, and how many connections it has."""

    number: int
    process: BaseProcess
    channel: socket.socket
    active: int = 0
    is_ready: bool = False


class Keeper:
    """Runs the workers and feeds them until it is told to stop."""

    def __init__(self, settings: Settings, folder: str) -> None:
        self._settings = settings
        self._places_file = Path(folder) / "places"
        self._places = Places(self._places_file)
        self._context = multiprocessing.get_context("spawn")
        self._seats: list[_Seat] = []
        self._doors: dict[socket.socket, bool] = {}  # listening socket: whether it is encrypted
        self._selector = selectors.DefaultSelector()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Bind the ports and start the workers; drain and stop them at the end.

        Misconfigured when a port cannot be bound.
        """
        with ExitStack() as stack:
            for port, is_encrypted in _ports(self._settings):
                door = stack.enter_context(_bound(self._settings, port))
                self._doors[door] = is_encrypted
            for number in range(worker_count(self._settings)):
                self._seats.append(self._hired(number))
            try:
                self._await_workers()
                for door in self._doors:
                    door.listen(_WAITING_CONNECTIONS)
                    self._selector.register(door, selectors.EVENT_READ)
                yield
            finally:
                self._drain()

    def serve(self, stop: threading.Event) -> None:
        """Hand over connections until `stop` is set."""
        while not stop.is_set():
            for key, _ in self._selector.select(_LOOK_SECONDS):
                source = key.fileobj
                if not isinstance(source, socket.socket):
                    continue
                if source in self._doors:
                    self._accept(source)
                else:
                    self._hear(source)

    @property
    def active(self) -> int:
        """Connections that are open now."""
        return sum(seat.active for seat in self._seats)

    def vital(self) -> str:
        """Words on what is wrong with the receiving processes, or an empty text."""
        well = sum(seat.is_ready and seat.process.is_alive() for seat in list(self._seats))
        wanted = worker_count(self._settings)
        return "" if well == wanted else f"{well} of {wanted} receiving processes are up"

    def _accept(self, door: socket.socket) -> None:
        try:
            connection, peer = door.accept()
        except OSError:  # the peer has gone again, or we have no more descriptors
            time.sleep(_LOOK_SECONDS)
            return
        with connection:
            if self.active >= self._settings.maximum_associations + _MORE_CONNECTIONS:
                return
            told = {"address": peer[0], "tls": self._doors[door]}
            self._hand_over(connection, json.dumps(told).encode())

    def _hand_over(self, connection: socket.socket, message: bytes) -> None:
        for seat in sorted(self._seats, key=lambda seat: seat.active):
            if not seat.is_ready:
                continue
            with suppress(OSError):  # it dies at this moment; its end is heard soon
                socket.send_fds(seat.channel, [message], [connection.fileno()])
                seat.active += 1
                return

    def _hear(self, channel: socket.socket) -> None:
        """A worker is ready, has ended an association, or is no more."""
        seat = next(seat for seat in self._seats if seat.channel is channel)
        try:
            message = channel.recv(LARGEST_MESSAGE)
        except OSError:
            message = b""
        if message == READY:
            seat.is_ready = True
        elif message == ENDED:
            seat.active -= 1
        else:
            self._replace(seat)

    def _replace(self, seat: _Seat) -> None:
        log.error("worker_died", associations=seat.active, exit_code=seat.process.exitcode)
        self._selector.unregister(seat.channel)
        seat.channel.close()
        seat.process.join(1)
        self._seats.remove(seat)
        time.sleep(_LOOK_SECONDS)  # one that dies at once must not keep us busy
        self._places.clear(seat.number)
        self._seats.append(self._hired(seat.number))

    def _hired(self, number: int) -> _Seat:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        told = (self._settings, theirs, self._places_file, number)
        process = self._context.Process(target=work, args=told, daemon=True)
        process.start()
        theirs.close()
        self._selector.register(ours, selectors.EVENT_READ)
        return _Seat(number, process, ours)

    def _await_workers(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not all(seat.is_ready for seat in self._seats):
            if time.monotonic() > deadline:
                raise TryAgain("the receiving processes do not start; see the log before this line")
            for key, _ in self._selector.select(_LOOK_SECONDS):
                if isinstance(key.fileobj, socket.socket):
                    self._hear(key.fileobj)

    def _drain(self) -> None:
        """No new connections; workers finish what they have, within a bound."""
        for door in self._doors:
            with suppress(KeyError):
                self._selector.unregister(door)
            door.close()
        for seat in self._seats:
            with suppress(OSError):
                seat.channel.send(DRAIN)
        deadline = time.monotonic() + DRAIN_SECONDS + 5
        for seat in self._seats:
            seat.process.join(max(0.1, deadline - time.monotonic()))
            if seat.process.is_alive():
                seat.process.kill()
            seat.channel.close()
        self._selector.close()


def worker_count(settings: Settings) -> int:
    """How many processes receive."""
    return settings.listener_workers or min(_MOST_WORKERS, len(os.sched_getaffinity(0)))


def _ports(settings: Settings) -> list[tuple[int, bool]]:
    """Each port with whether it speaks TLS."""
    plain = [] if settings.plain_port_closed else [(settings.listener_port, False)]
    return plain + ([(settings.tls_port, True)] if settings.tls_certificate else [])


@contextmanager
def _bound(settings: Settings, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.listener_host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            door.bind((settings.listener_host, port))
        except OSError as error:
            raise _cannot_bind(settings, port, error) from None
        door.setblocking(False)
        yield door


def _cannot_bind(settings: Settings, port: int, error: OSError) -> Misconfigured:
    setting = "DBP_LISTENER_PORT" if port == settings.listener_port else "DBP_TLS_PORT"
    if error.errno == errno.EADDRINUSE:
        return Misconfigured(
            f"port {port} is taken: stop what uses it or set {setting} to a free one",
            code="port_taken",
        )
    return Misconfigured(
        f"cannot listen on {settings.listener_host} port {port} ({error.strerror}): "
        f"correct DBP_LISTENER_HOST or {setting}",
        code="cannot_listen",
    )
