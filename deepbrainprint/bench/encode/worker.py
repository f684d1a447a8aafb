"""One variant in a process of its own, so that threads, memory and time to load are its own.

`python -m deepbrainprint.bench.encode.worker VARIANT FOLDER VIEWS` (a JSON object, the encoder's
folder, a .npy file of views) opens the encoder, encodes one scan and prints how long that took.
Then it answers each JSON line on stdin with one on stdout: `{"batch": 8, "times": 3, "warm_up":
false}` with the seconds of each time and the mean of all cores, `{"vectors": PATH}` by writing the
fingerprints of all views there.
"""

from __future__ import annotations

import json
import sys
import time

_STARTED = time.perf_counter()

from pathlib import Path  # noqa: E402 — the imports are what is timed
from typing import Any, cast  # noqa: E402

import numpy as np  # noqa: E402

from deepbrainprint.bench.imaging.memory import peak_rss_mb  # noqa: E402
from deepbrainprint.encoder.card import read_card  # noqa: E402
from deepbrainprint.encoder.runtime import (  # noqa: E402
    Encoder,
    LoadedEncoder,
    Runtime,
    open_encoder,
)
from deepbrainprint.records import ByteArray  # noqa: E402


def opened(variant: dict[str, Any], folder: Path) -> Encoder:
    """The encoder in `folder` as this variant runs it."""
    plain = not variant["compiled"] and variant["precision"] != "bf16"
    if plain:
        runtime = cast("Runtime", variant["runtime"])
        return open_encoder(folder, runtime, threads=variant["threads"])
    from deepbrainprint.encoder.runtime_torch import TorchEngine  # noqa: PLC0415 — torch

    card = read_card(folder)
    reduced = variant["precision"] == "bf16"
    engine = TorchEngine.opened(
        folder, card, variant["threads"], compiled=variant["compiled"], reduced=reduced
    )
    return LoadedEncoder(card, engine)


def timed(encoder: Encoder, views: ByteArray, times: int, *, warm_up: bool) -> list[float]:
    """Seconds of each of `times` encodings of `views`, perhaps after one that does not count."""
    if warm_up:
        encoder.encode(views)
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        encoder.encode(views)
        seconds.append(time.perf_counter() - started)
    return seconds


def answer(encoder: Encoder, views: ByteArray, order: dict[str, Any]) -> dict[str, Any]:
    """Carry out one order."""
    if "vectors" in order:
        np.save(order["vectors"], encoder.encode(views))
        return {}
    batch = np.resize(views, (order["batch"], *views.shape[1:]))  # brains repeat where too few
    spent = time.process_time()
    seconds = timed(encoder, batch, order["times"], warm_up=order["warm_up"])
    encodings = order["times"] + order["warm_up"]
    each = (time.process_time() - spent) / encodings
    return {"seconds": seconds, "processor_seconds": each, "peak_rss_mb": peak_rss_mb()}


def _import_library(runtime: str) -> None:
    __import__({"onnx": "onnxruntime"}.get(runtime, runtime))


def _main(told: str, folder: str, file: str) -> None:
    variant, views = json.loads(told), np.load(file, allow_pickle=False)
    _import_library(variant["runtime"])
    imported = time.perf_counter()
    encoder = opened(variant, Path(folder))
    ready = time.perf_counter()
    encoder.encode(views[:1])
    done = time.perf_counter()
    seconds = {"import": imported - _STARTED, "open": ready - imported, "first": done - ready}
    _print({"seconds": seconds, "peak_rss_mb": peak_rss_mb()})
    for line in sys.stdin:
        _print(answer(encoder, views, json.loads(line)))


def _print(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
