"""People followed over years: what `deepbrainprint simulate --life` writes.

OUT/<person>/<visit>/ holds the scan, OUT/<person>/made.json what is true of it and the digest of
every file, OUT/manifest.csv the table that `evaluate` reads, OUT/truth.json all that is true. What
is there already, with the same plan and the same digests, is not made again.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from deepbrainprint.errors import BadStudy
from deepbrainprint.records import Contrast, Volume
from deepbrainprint.simulation.cohort import FORMATS, PEOPLE_PER_SEED, Manifest, WrittenScan
from deepbrainprint.simulation.examination import Examined, examined
from deepbrainprint.simulation.identities import identity_at
from deepbrainprint.simulation.individual import Individual, individual, lesion_sites
from deepbrainprint.simulation.life import Life, life
from deepbrainprint.simulation.scanner import Compression, Exam, acquire, write
from deepbrainprint.simulation.visits import Visit, visits

GENERATION = 1  # counts up whenever the same seeds give other voxels
WHITE_LEVEL = 400  # stored number of white matter in T1w; signed 16 bits
DATASET = "generated"
NOTE = "made.json"
COLUMNS = (
    "path", "subject", "session", "contrast", "dataset", "age", "sex", "scanner", "years", "course",
)  # fmt: skip

Record = dict[str, Any]
Progress = Callable[[int, int], None]  # scans made, scans in all


@dataclass(frozen=True)
class FollowUp:
    """What to generate; `years` from the first visit to the last, `contrasts` empty: any."""

    out: Path
    people: int = 1
    visits: int = 3
    years: float = 10.0
    contrasts: tuple[Contrast, ...] = ()
    bare: bool = False  # brains only, as a skull stripper leaves them
    format: str = "nifti"
    compress: bool = False
    seed: int = 0
    workers: int = 1
    late_images: int = 0
    duplicate: bool = False
    wrong_patient_id: bool = False  # every later visit comes under another id

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise BadStudy("format is dicom or nifti", code="unknown_format")


def follow_up(request: FollowUp, *, progress: Progress | None = None) -> Manifest:
    """Generate and write everyone; `progress` is told after each person.

    BadStudy for a contrast that is not simulated. Killed and started again, it goes on.
    """
    request.out.mkdir(parents=True, exist_ok=True)
    made: dict[int, Record] = {}
    for number, note in _all_made(request):
        made[number] = note
        if progress is not None:
            progress(len(made) * request.visits, request.people * request.visits)
    truth = [record for number in sorted(made) for record in made[number]["visits"]]
    _put(request.out / "truth.json", {"generation": GENERATION, "visits": truth})
    table = _tabulated(request.out, truth)
    scans = tuple(_scan(request.out, record) for record in truth)
    return Manifest(table, scans, request.late_images, request.duplicate)


def make_person(request: FollowUp, number: int) -> Record:
    """Scan one person at all visits, or find that this was done; the content of `made.json`."""
    folder = request.out / _subject(number)
    seed = request.seed * PEOPLE_PER_SEED + number
    lived = life(seed, lesion_sites())
    planned = visits(lived, count=request.visits, years=request.years, contrasts=request.contrasts)
    plan = _plan(request, lived, planned)
    found = _found(folder)
    if found is not None and found["plan"] == plan and _unchanged(request.out, found["visits"]):
        return found
    _clear(request.out, found)
    who = individual(seed)
    records = [_made(request, who, visit, _subject(number)) for visit in planned]
    note: Record = {"plan": plan, "visits": records}
    _put(folder / NOTE, note)
    return note


def _all_made(request: FollowUp) -> Iterator[tuple[int, Record]]:
    """Everyone, in the order in which they are done."""
    numbers = range(1, request.people + 1)
    if request.workers == 1:
        yield from ((number, make_person(request, number)) for number in numbers)
        return
    pool = ProcessPoolExecutor(request.workers, mp_context=get_context("spawn"))
    try:
        jobs = {pool.submit(make_person, request, number): number for number in numbers}
        for job in as_completed(jobs):
            yield jobs[job], job.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _plan(request: FollowUp, lived: Life, planned: tuple[Visit, ...]) -> str:
    """A digest of all that decides what is written."""
    how = (GENERATION, request.bare, request.format, request.compress, request.wrong_patient_id)
    return sha256(repr((how, lived, planned)).encode()).hexdigest()


def _found(folder: Path) -> Record | None:
    try:
        note: Record = json.loads((folder / NOTE).read_text())
    except (OSError, json.JSONDecodeError):
        return None
    return note


def _unchanged(out: Path, records: list[Record]) -> bool:
    files = {name: digest for record in records for name, digest in record["files"].items()}
    return all((out / name).is_file() and _digest(out / name) == files[name] for name in files)


def _clear(out: Path, found: Record | None) -> None:
    """Take away what an earlier plan wrote."""
    for record in found["visits"] if found else ():
        for name in record["files"]:
            (out / name).unlink(missing_ok=True)


def _made(request: FollowUp, who: Individual, visit: Visit, subject: str) -> Record:
    """Scan one visit, write it, and say what is true of it."""
    folder = request.out / subject / f"visit-{visit.number}"
    folder.mkdir(parents=True, exist_ok=True)
    seen = examined(who, visit, bare=request.bare)
    writing = _nifti if request.format == "nifti" else partial(_dicom, request, who.life)
    files = writing(seen, visit, folder)
    path = files[0] if request.format == "nifti" else folder
    return {
        "path": path.relative_to(request.out).as_posix(),
        "subject": subject,
        "session": folder.name,
        **_truth(who.life, visit),
        "lost_slices": list(seen.lost),
        "files": {file.relative_to(request.out).as_posix(): _digest(file) for file in files},
    }


def _truth(lived: Life, visit: Visit) -> Record:
    """What is true of one visit, as plain data."""
    state, protocol = lived.at(visit.age), visit.protocol
    return {
        "contrast": protocol.contrast.value,
        "dataset": DATASET,
        "age": round(visit.age, 2),
        "sex": lived.sex,
        "scanner": visit.site.name,
        "years": round(visit.years, 2),
        "course": lived.course.value,
        "orientation": protocol.orientation.value,
        "voxel_mm": protocol.voxel_mm,
        "oblique_deg": protocol.oblique_deg,
        "rotation_deg": visit.pose.rotation_deg,
        "shift_mm": visit.pose.shift_mm,
        "motion_voxels": visit.motion_voxels,
        "defaced": visit.defaced,
        "cut": (visit.cut_first, visit.cut_last),
        "ventricles_grown_ml": state.ventricles_ml,
        "grey_lost": state.grey_lost,
        "lesions": [
            {"place_mm": lesion.place_mm, "radius_mm": radius} for lesion, radius in state.lesions
        ],
    }


def _nifti(seen: Examined, visit: Visit, folder: Path) -> list[Path]:
    path = folder / f"{visit.protocol.contrast}.nii.gz"
    image = nib.Nifti1Image(_stored(seen.volume).data.astype(np.int16), seen.volume.affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return [path]


def _dicom(
    request: FollowUp, lived: Life, seen: Examined, visit: Visit, folder: Path
) -> list[Path]:
    """One file per slice; slices that got lost are not there."""
    identity = identity_at(
        lived.seed,
        visit=visit.number,
        ages=(lived.first_age, visit.age),
        other_id=request.wrong_patient_id and visit.number > 1,
    )
    key = f"life-{lived.seed}-{visit.number}"
    slices = acquire(
        _stored(seen.volume), Exam(key, identity, visit.protocol, station=visit.site.name)
    )
    arrived = [image for number, image in enumerate(slices) if number not in seen.lost]
    compression = Compression.RLE if request.compress else Compression.NONE
    return write(arrived, folder, compression=compression)


def _stored(volume: Volume) -> Volume:
    """Whole numbers, as scanners store them."""
    data = np.clip(np.round(volume.data * WHITE_LEVEL), 0, np.iinfo(np.int16).max)
    return Volume(data.astype(np.float32), volume.affine)


def _tabulated(out: Path, truth: list[Record]) -> Path:
    table = out / "manifest.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(truth)
    return table


def _scan(out: Path, record: Record) -> WrittenScan:
    return WrittenScan(
        path=out / record["path"],
        files=tuple(out / name for name in record["files"]),
        subject=record["subject"],
        session=record["session"],
        contrast=Contrast(record["contrast"]),
    )


def _put(path: Path, content: Record) -> None:
    """Write JSON so that it is there whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1))
    part.replace(path)


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _subject(number: int) -> str:
    return f"person-{number:04d}"
