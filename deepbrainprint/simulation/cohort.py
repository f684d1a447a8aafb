"""Many people, many visits: what `deepbrainprint simulate` writes, and the parts to send."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from deepbrainprint.errors import BadStudy
from deepbrainprint.records import Contrast, Volume
from deepbrainprint.simulation.acquisition import Orientation, Protocol, Triple
from deepbrainprint.simulation.given import read_nifti
from deepbrainprint.simulation.heads import Conditions, Head, person
from deepbrainprint.simulation.identities import identity_of
from deepbrainprint.simulation.scanner import Compression, Exam, acquire, write

SEVERE_MOTION_VOXELS = 4.0
PEOPLE_PER_SEED = 100_000  # people of two seeds never have the same number
COLUMNS = ("path", "subject", "session", "contrast")
FORMATS = ("dicom", "nifti")


@dataclass(frozen=True)
class Request:
    """What to simulate; `motion` runs from 0 (none) to 1 (severe)."""

    out: Path
    people: int = 1
    visits: int = 1
    contrasts: tuple[Contrast, ...] = (Contrast.T1W,)  # one per visit, in turn
    voxel_mm: Triple = (1.2, 1.2, 1.2)
    orientation: str = Orientation.AXIAL
    format: str = "dicom"
    motion: float = 0.0
    ageing_years: float = 0.0  # from visit to visit
    compress: bool = False
    nifti: tuple[Path, ...] = ()
    seed: int = 0
    late_images: int = 0
    duplicate: bool = False
    wrong_patient_id: bool = False  # every later visit comes under another id

    def __post_init__(self) -> None:
        if self.orientation not in set(Orientation):
            raise BadStudy("orientation is axial, sagittal or coronal", code="unknown_orientation")
        if self.format not in FORMATS:
            raise BadStudy("format is dicom or nifti", code="unknown_format")


@dataclass(frozen=True)
class WrittenScan:
    """One visit on disk: a folder of DICOM files or one NIfTI file."""

    path: Path
    files: tuple[Path, ...]
    subject: str
    session: str
    contrast: Contrast


@dataclass(frozen=True)
class Manifest:
    """Everything that was written; `path` is the table that `evaluate` reads."""

    path: Path
    scans: tuple[WrittenScan, ...]
    late_images: int = 0
    duplicate: bool = False

    def deliveries(self) -> Iterator[tuple[Path, ...]]:
        """DICOM files in the parts to send them in: on time, then repeats, then latecomers."""
        for scan in self.scans:
            yield scan.files[: len(scan.files) - self.late_images]
        if self.duplicate:
            yield from (scan.files[: len(scan.files) - self.late_images] for scan in self.scans)
        if self.late_images:
            yield from (scan.files[-self.late_images :] for scan in self.scans)


def simulate(request: Request, *, report: Callable[[str], None] | None = None) -> Manifest:
    """Write OUT/<person>/<visit>/ and OUT/manifest.csv; `report` gets a line per scan.

    BadStudy for a contrast that is not simulated or a file that is no volume.
    """
    scans: list[WrittenScan] = []
    for visit in _visits(request):
        scans.append(_written(request, visit))
        if report is not None:
            report(f"{visit.subject} {visit.session} {visit.protocol.contrast}")
    table = _tabulated(request.out, scans)
    return Manifest(table, tuple(scans), request.late_images, request.duplicate)


@dataclass(frozen=True)
class _Visit:
    subject: str
    session: str
    protocol: Protocol
    exam: Exam
    scan: Callable[[], Volume]


def _visits(request: Request) -> Iterator[_Visit]:
    if request.nifti:
        for number, path in enumerate(request.nifti, start=1):
            yield _given_visit(request, number, path)
        return
    for number in range(1, request.people + 1):
        head = person(request.seed * PEOPLE_PER_SEED + number)
        for visit in range(1, request.visits + 1):
            yield _simulated_visit(request, head, number, visit)


def _given_visit(request: Request, number: int, path: Path) -> _Visit:
    orientation = Orientation(request.orientation)
    volume = read_nifti(path, orientation)
    columns, rows, slices = np.linalg.norm(volume.affine[:3, :3], axis=0).tolist()
    protocol = Protocol(request.contrasts[0], orientation, (columns, rows, slices))
    exam = Exam(f"given-{request.seed}-{number}", identity_of(number), protocol)
    return _Visit(f"given-{number:03d}", "visit-1", protocol, exam, lambda: volume)


def _simulated_visit(request: Request, head: Head, number: int, visit: int) -> _Visit:
    contrast = request.contrasts[(visit - 1) % len(request.contrasts)]
    protocol = Protocol(contrast, Orientation(request.orientation), request.voxel_mm)
    conditions = Conditions(
        motion=SEVERE_MOTION_VOXELS * request.motion,
        ageing_years=request.ageing_years * (visit - 1),
    )
    other_id = request.wrong_patient_id and visit > 1
    identity = identity_of(head.seed, visit=visit, other_id=other_id)
    return _Visit(
        subject=f"person-{number:03d}",
        session=f"visit-{visit}",
        protocol=protocol,
        exam=Exam(f"person-{head.seed}-{visit}", identity, protocol),
        scan=lambda: head.scan(protocol, seed=visit, conditions=conditions),
    )


def _written(request: Request, visit: _Visit) -> WrittenScan:
    folder = request.out / visit.subject / visit.session
    volume, contrast = visit.scan(), visit.protocol.contrast
    if request.format == "nifti":
        path = folder / f"{contrast}.nii.gz"
        folder.mkdir(parents=True, exist_ok=True)
        image = nib.Nifti1Image(volume.data, volume.affine)
        image.header.set_xyzt_units("mm")
        nib.save(image, path)
        return WrittenScan(path, (path,), visit.subject, visit.session, contrast)
    compression = Compression.RLE if request.compress else Compression.NONE
    files = write(acquire(volume, visit.exam), folder, compression=compression)
    return WrittenScan(folder, tuple(files), visit.subject, visit.session, contrast)


def _tabulated(out: Path, scans: list[WrittenScan]) -> Path:
    """Write manifest.csv, paths relative to it."""
    table = out / "manifest.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for scan in scans:
            where = scan.path.relative_to(out).as_posix()
            writer.writerow((where, scan.subject, scan.session, scan.contrast))
    return table
