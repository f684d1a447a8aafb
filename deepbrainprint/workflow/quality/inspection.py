"""Taking one input through series choice, conversion, mask and alignment, whatever comes of it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepbrainprint.errors import BadStudy, NotApplicable
from deepbrainprint.imaging import brain, convert, series, volume
from deepbrainprint.imaging.brain import Examination, Verdict
from deepbrainprint.imaging.strip import Stripper
from deepbrainprint.records import SeriesChoice, Volume

NIFTI = (".nii", ".nii.gz")
BEST_FIRST = (Verdict.PASS, Verdict.FLAG, Verdict.FAIL)


@dataclass(frozen=True)
class Refusal:
    """Why a step could not go on."""

    code: str
    words: str


@dataclass(frozen=True)
class InspectedScan:
    """One scan of an input: a NIfTI file, or a usable series of a DICOM study."""

    series: SeriesChoice | None  # None: a NIfTI file
    files: int
    seconds: float  # of conversion and reading
    scan: Volume | None = None  # None: conversion refused it
    refusal: Refusal | None = None  # of conversion
    examination: Examination | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether it can be fingerprinted."""
        return Verdict.FAIL if self.examination is None else self.examination.verdict


@dataclass(frozen=True)
class Inspection:
    """All that was found out about one input."""

    name: str  # the path as it was given, or the study's number
    series: tuple[SeriesChoice, ...] = ()  # empty for a NIfTI file
    scans: tuple[InspectedScan, ...] = ()  # best first
    refusal: Refusal | None = None  # of the input as a whole
    seconds: float = 0.0  # of reading headers and choosing
    recorded: str = ""  # what the service wrote down about the study

    @property
    def verdict(self) -> Verdict:
        """That of its best scan: one is enough for a fingerprint."""
        return min(
            (scan.verdict for scan in self.scans), key=BEST_FIRST.index, default=Verdict.FAIL
        )


def inspect_path(path: Path, strip: Stripper) -> Inspection:
    """Inspect a NIfTI file, a DICOM folder or a DICOM file; raises for no fault of the data."""
    if path.is_dir():
        files = sorted(member for member in path.rglob("*") if member.is_file())
        return inspect_dicom(str(path), files, strip)
    if path.name.lower().endswith(NIFTI):
        return Inspection(str(path), scans=_examined([_opened(path)], strip))
    return inspect_dicom(str(path), [path], strip)


def inspect_dicom(
    name: str, files: Sequence[Path], strip: Stripper, recorded: str = ""
) -> Inspection:
    """Inspect the study in `files`: the usable series, the most useful first.

    As many are examined as the service would use; the reason of each other says so.
    """
    started = time.perf_counter()
    found = series.sort(files)
    seconds = time.perf_counter() - started
    choices = [choice for choice, _ in found]
    if refusal := _unusable(found, len(files)):
        return Inspection(name, tuple(choices), (), refusal, seconds, recorded)
    scans: list[InspectedScan] = []
    quota = series.Quota()
    for place, (choice, members) in enumerate(found):
        if not choice.usable:
            continue
        if spare := quota.refusal(choice.contrast):
            choices[place] = replace(choice, reason=f"{spare}; {choice.reason}")
            continue
        scans.append(_converted(choice, members))
        if scans[-1].scan is not None:
            quota.take(choice.contrast)
    return Inspection(name, tuple(choices), _examined(scans, strip), None, seconds, recorded)


def _unusable(found: series.Found, files: int) -> Refusal | None:
    """Why nothing of what `series.sort` found can be used; None when something can."""
    if not found and files == 0:
        return Refusal("no_files", "there is no file in it: name a folder that holds the study")
    if not found:
        what = "the file is no" if files == 1 else f"none of its {files} files is a"
        return Refusal("unreadable_file", f"{what} readable NIfTI file or DICOM object")
    try:
        series.usable(found)
    except NotApplicable as error:
        return Refusal(error.code, str(error))
    return None


def _converted(choice: SeriesChoice, members: Sequence[Path]) -> InspectedScan:
    started = time.perf_counter()
    scan, refusal = None, None
    with tempfile.TemporaryDirectory(prefix="dbp-quality-") as scratch:
        target = Path(scratch) / "native.nii.gz"
        try:
            convert.convert_one(members, target)
            scan = volume.read(target)
        except BadStudy as error:
            refusal = Refusal(error.code, str(error))
    return InspectedScan(choice, len(members), time.perf_counter() - started, scan, refusal)


def _opened(path: Path) -> InspectedScan:
    started = time.perf_counter()
    scan, refusal = None, None
    try:
        scan = volume.read(path)
    except BadStudy as error:
        refusal = Refusal(error.code, str(error))
    return InspectedScan(None, 1, time.perf_counter() - started, scan, refusal)


def _examined(scans: Sequence[InspectedScan], strip: Stripper) -> tuple[InspectedScan, ...]:
    """Examine the scans of one visit together; those that conversion refused stay as they are."""
    volumes = (one.scan for one in scans if one.scan is not None)
    examinations = brain.examine_visit(volumes, strip)
    return tuple(one if one.scan is None else _with(one, next(examinations)) for one in scans)


def _with(one: InspectedScan, examination: Examination) -> InspectedScan:
    return InspectedScan(one.series, one.files, one.seconds, one.scan, None, examination)
