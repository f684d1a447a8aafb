"""Aligned brains of all listed scans, several at a time, each made once and kept by its digest."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from deepbrainprint.errors import BadStudy
from deepbrainprint.imaging import PREPROCESSING_VERSION, brain, convert, series, strip, volume
from deepbrainprint.records import ByteArray, Contrast, Volume
from deepbrainprint.workflow.known.manifest import ListedScan

CHUNK = 1 << 20  # bytes

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Kept:
    """What preprocessing made of one scan: a file with its brain, or why there is none."""

    digest: str
    seconds: float
    refusal: str = ""
    reasons: tuple[str, ...] = ()  # what is doubtful about it

    def brain(self, cache: Path) -> ByteArray:
        """Read the aligned brain (182, 218, 182)."""
        with np.load(cache / f"{self.digest}.npz", allow_pickle=False) as stored:
            aligned: ByteArray = stored["brain"]
        return aligned


def prepare(
    scans: Sequence[ListedScan],
    cache: Path,
    *,
    workers: int,
    progress: Progress,
    synthstrip: Path | None = None,
) -> list[Kept]:
    """Align every scan, in the order of `scans`; what `cache` holds is not made again.

    A kill loses what was being made and nothing else. `synthstrip` names the weights of a site that
    strips with it.
    """
    cache.mkdir(parents=True, exist_ok=True)
    found: dict[int, Kept] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = {
            pool.submit(prepared, scan.path, scan.contrast, cache, synthstrip): place
            for place, scan in enumerate(scans)
        }
        for job in as_completed(jobs):
            found[jobs[job]] = job.result()
            progress(len(found), len(scans))
    return [found[place] for place in range(len(scans))]


def prepared(path: Path, contrast: Contrast, cache: Path, synthstrip: Path | None = None) -> Kept:
    """Align one scan, or read what was made of it before."""
    digest = digest_of(path, contrast, synthstrip)
    note = cache / f"{digest}.json"
    if note.is_file():
        held = json.loads(note.read_text())
        return Kept(held["digest"], held["seconds"], held["refusal"], tuple(held["reasons"]))
    started = time.perf_counter()
    refusal = ""
    reasons: tuple[str, ...] = ()
    try:
        examined = brain.examine(_opened(path, contrast), strip.chosen(synthstrip))
        alignment, reasons = examined.require(), examined.reasons
        _put(cache / f"{digest}.npz", alignment.brain)
    except BadStudy as error:
        refusal = str(error)
    kept = Kept(digest, time.perf_counter() - started, refusal, reasons)
    part = note.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(asdict(kept)))
    part.replace(note)  # only now it counts
    return kept


def _put(path: Path, aligned: ByteArray) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as file:
        np.savez_compressed(file, brain=aligned)
    part.replace(path)


def digest_of(path: Path, contrast: Contrast, synthstrip: Path | None = None) -> str:
    """Return the start of a SHA-256 of all bytes that the result depends on."""
    total = hashlib.sha256(f"{PREPROCESSING_VERSION} {contrast}".encode())
    weights = [synthstrip] if synthstrip else []
    for member in [*_members(path), *weights]:
        with member.open("rb") as file:
            while part := file.read(CHUNK):
                total.update(part)
    return total.hexdigest()[:24]


def _members(path: Path) -> Iterable[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _opened(path: Path, contrast: Contrast) -> Volume:
    """Read a NIfTI file, or convert the best series of a DICOM folder in that contrast."""
    if not path.is_dir():
        return volume.read(path)
    usable = series.usable(series.sort(list(_members(path))))
    wanted = [members for choice, members in usable if choice.contrast is contrast]
    if not wanted:
        there = ", ".join(sorted({choice.contrast.value for choice, _ in usable}))
        raise BadStudy(f"no usable series shows {contrast}, only {there}", code="no_such_contrast")
    with tempfile.TemporaryDirectory(prefix="dbp-evaluate-") as scratch:
        native = Path(scratch) / "native.nii.gz"
        convert.convert_one(wanted[0], native)
        return volume.read(native)
