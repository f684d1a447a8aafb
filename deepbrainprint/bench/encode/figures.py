"""What the times say: medians over rounds with their spread, ratios within rounds, goals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from deepbrainprint.bench.encode.measuring import LOADED, Measured
from deepbrainprint.bench.encode.variants import BASE, Variant
from deepbrainprint.bench.encode.workload import (
    EXACT,
    GPU_MS,
    GPU_SLICES_PER_SECOND,
    LOAD_SECONDS,
    MS_PER_SLICE,
)
from deepbrainprint.bench.imaging.findings import Goal, at_least, at_most
from deepbrainprint.encoder.quantise import PARITY

Row = dict[str, Any]


def results(found: Measured) -> Iterator[Row]:
    """One row for each variant and batch size."""
    slices = found.network.slices
    for variant, batch in sorted(found.times, key=lambda at: _place(found, at)):
        scan_ms = found.times[variant, batch]
        row: Row = {"network": found.network.name} | variant.as_json() | {"batch": batch}
        row["ms_per_scan"] = spread(scan_ms)
        row["processor_ms_per_scan"] = spread(found.processor[variant, batch])
        if slices:
            row["ms_per_slice"] = spread([ms / slices for ms in scan_ms])
            row["slices_per_second"] = spread([1e3 * slices / ms for ms in scan_ms])
        base = found.times.get((_base(variant), batch))
        if base:
            both = zip(scan_ms, base, strict=False)  # an interrupted round has not all
            row["times_as_fast_as_torch"] = spread(theirs / ours for ours, theirs in both)
        yield row


def openings(found: Measured) -> Iterator[Row]:
    """Time to open and memory, one row for each variant."""
    for variant, loads in found.load_seconds.items():
        ready = [each["open"] + each["first"] for each in loads]
        yield {
            "network": found.network.name,
            **variant.as_json(),
            "processes": len(loads),
            "import_seconds": spread([each["import"] for each in loads]),
            "open_to_first_encoding_seconds": spread(ready),
            "peak_rss_mb": found.peak_rss_mb[variant],
        }


def parities(found: Measured) -> Iterator[Row]:
    """Least cosine to the reference, one row for each variant of another name."""
    head = {
        "network": found.network.name,
        "reference": found.reference.name if found.reference else None,
    }
    for variant, value in found.parity.items():
        yield head | variant.as_json() | {"least_cosine": value}


def goals(all_found: Sequence[Measured]) -> Iterator[Goal]:
    """What the project promises of each network; the speed of a slice where a scan is one."""
    for found in all_found:
        name = found.network.name
        if found.network.slices == 1:
            yield _slice_goal(found)
        yield at_most(
            f"{name}: {LOAD_SECONDS} s from opening to the first fingerprint, {LOADED.name}",
            LOAD_SECONDS,
            _ready_seconds(found),
        )
        yield from _parity_goals(found)
        yield from _gpu_goals(found)


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, least and most."""
    listed = sorted(values)
    return {"median": median(listed), "least": listed[0], "most": listed[-1]}


def _slice_goal(found: Measured) -> Goal:
    times = found.times.get((LOADED, 1))
    words = f"{found.network.name}: {MS_PER_SLICE:.0f} ms for one slice, {LOADED.name}, 2 threads"
    return at_most(words, MS_PER_SLICE, median(times) if times else None)


def _ready_seconds(found: Measured) -> float | None:
    loads = found.load_seconds.get(LOADED)
    return median(each["open"] + each["first"] for each in loads) if loads else None


def _parity_goals(found: Measured) -> Iterator[Goal]:
    """One for fp32 and, where the weights are trained, one for fewer bits."""
    for exact, bound in ((True, EXACT), (False, PARITY)):
        if not exact and not found.network.trained:
            continue
        cosines = [c for v, c in found.parity.items() if (v.precision == "fp32") == exact]
        kind = "in fp32" if exact else "in fewer bits"
        words = f"{found.network.name}: least cosine between runtimes {kind}"
        yield at_least(words, bound, min(cosines, default=None))


def _gpu_goals(found: Measured) -> Iterator[Goal]:
    """None at all where nothing ran on a GPU or a scan is more than one slice."""
    on_gpu = {key: median(times) for key, times in found.times.items() if key[0].gpu}
    if not on_gpu or found.network.slices != 1:
        return
    single = min(ms for (_, batch), ms in on_gpu.items() if batch == 1)
    name = found.network.name
    yield at_most(f"{name}: {GPU_MS} ms for one slice on a GPU", GPU_MS, single)
    words = f"{name}: {GPU_SLICES_PER_SECOND:.0f} slices/s on a GPU"
    yield at_least(words, GPU_SLICES_PER_SECOND, 1e3 / min(on_gpu.values()))


def _place(found: Measured, at: tuple[Variant, int]) -> tuple[int, int]:
    """Where a row belongs: in the order in which variants were started, by batch size."""
    variant, batch = at
    return list(found.peak_rss_mb).index(variant), batch


def _base(variant: Variant) -> Variant:
    """Torch in eager mode with the same threads, on the same device."""
    return replace(BASE, threads=variant.threads, gpu=variant.gpu)
