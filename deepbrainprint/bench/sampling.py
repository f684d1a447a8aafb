"""Where the threads of a process are, looked up a few hundred times a second.

`python -m deepbrainprint.bench.sampling listen` runs our listener and samples it and the workers
that it spawns: each writes a file into the folder that the environment names when it ends.
`bare PORT` runs a pynetdicom listener whose handler does nothing.
"""

from __future__ import annotations

import atexit
import json
import linecache
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

from deepbrainprint.settings import load_settings

FOLDER_VARIABLE = "BENCH_SAMPLES"
_PAUSE_SECONDS = 0.002
_SWITCH_SECONDS = 0.0001  # else a thread that computes is seen only when it comes to wait

_Place = tuple[str, str, str, int]  # role of the thread, file, function, line


class Sampler(threading.Thread):
    """Counts in which line each other thread is, and writes the counts when the process ends."""

    def __init__(self, folder: Path) -> None:
        super().__init__(name="sampler", daemon=True)
        self._folder = folder
        self._counts: Counter[_Place] = Counter()
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Look until the process ends."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        atexit.register(self._write)
        while not self._stop_asked.wait(_PAUSE_SECONDS):
            frames = sys._current_frames()  # noqa: SLF001 — there is no other way to see them
            for thread in threading.enumerate():
                if thread is not self and thread.ident in frames:
                    self._counts[_place(thread, frames[thread.ident])] += 1

    def _write(self) -> None:
        self._stop_asked.set()
        self.join()
        rows = [
            {"thread": role, "file": file, "function": function, "line": line, "count": count}
            | {"code": linecache.getline(file, line).strip()}
            for (role, file, function, line), count in self._counts.items()
        ]
        path = self._folder / f"{os.getpid()}.json"
        path.write_text(json.dumps(rows), "utf-8")


def _place(thread: threading.Thread, frame: FrameType) -> _Place:
    """Where in code of somebody's package it is: what Python's own library does is its caller's."""
    while frame.f_back is not None and _is_python(frame.f_code.co_filename):
        frame = frame.f_back
    code = frame.f_code
    return _role(thread), code.co_filename, code.co_qualname, frame.f_lineno or 0


def _is_python(file: str) -> bool:
    return "site-packages" not in file and "deepbrainprint" not in file


def _role(thread: threading.Thread) -> str:
    """What the thread is for; pynetdicom names its classes so, threading names others by target."""
    kind = type(thread).__name__
    if kind == "Thread":
        return thread.name.rpartition("(")[2].strip(")").partition("@")[0]
    return kind


def _bare_listener(port: int) -> None:
    """A pynetdicom listener as it comes, with nothing to do."""
    from pynetdicom import AE, AllStoragePresentationContexts, evt  # noqa: PLC0415

    ae = AE("BARE")
    ae.supported_contexts = AllStoragePresentationContexts
    server = ae.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0x0000)]
    )
    if server is None:
        raise AssertionError
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    server.shutdown()


def _main() -> None:
    if sys.argv[1:2] == ["bare"]:
        _bare_listener(int(sys.argv[2]))
        return
    from deepbrainprint.intake.listener import listen  # noqa: PLC0415

    listen(load_settings())


if __name__ in {"__main__", "__mp_main__"}:  # the second: a worker that was spawned
    Sampler(Path(os.environ[FOLDER_VARIABLE])).start()
if __name__ == "__main__":
    _main()
