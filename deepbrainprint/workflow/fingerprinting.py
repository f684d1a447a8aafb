"""One input on its own: a NIfTI file or a DICOM folder to fingerprints, no database."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepbrainprint.errors import BadStudy
from deepbrainprint.imaging import brain, convert, series, strip, volume
from deepbrainprint.imaging.alignment import Alignment
from deepbrainprint.imaging.brain import Verdict
from deepbrainprint.imaging.strip import Stripper
from deepbrainprint.records import ByteArray, Contrast, Fingerprint, SeriesChoice, Volume
from deepbrainprint.settings import Settings
from deepbrainprint.workflow.converting import none_left
from deepbrainprint.workflow.methods import ENCODER, Method, opened


@dataclass(frozen=True)
class FingerprintedScan:
    """A scan, its aligned brain and its fingerprint; `series` is None for a NIfTI file."""

    series: SeriesChoice | None
    alignment: Alignment
    verdict: Verdict
    reasons: tuple[str, ...]
    fingerprint: Fingerprint

    @property
    def low_quality(self) -> bool:
        """Whether it says too little to be decided on alone."""
        return "low_quality" in self.reasons

    @property
    def number(self) -> int | None:
        """The series number."""
        return self.series.series_number if self.series else None


@dataclass(frozen=True)
class Tools:
    """What finds the brain in a head, and the method that describes it."""

    method: Method
    strip: Stripper


@dataclass(frozen=True)
class FingerprintedInput:
    """All scans of one input that can be used, the best first, and why the others were left out."""

    path: Path
    scans: tuple[FingerprintedScan, ...]
    left_out: tuple[str, ...]

    @property
    def best(self) -> FingerprintedScan:
        """The scan that stands for the input."""
        return self.scans[0]

    def summary(self) -> dict[str, Any]:
        """What a person wants to see of it in one line."""
        best = self.best
        return {
            "series": len(self.scans),
            "brain ml": best.alignment.mask_ml,
            "residual": best.alignment.residual,
            "encoder": best.fingerprint.encoder_version,
            "digest": best.fingerprint.input_digest[:12],
        }


Named = tuple[SeriesChoice | None, Volume]


def fingerprint_all(
    settings: Settings, paths: Sequence[Path], method: str = ENCODER
) -> tuple[list[FingerprintedInput], dict[str, str]]:
    """Fingerprints of what can be used, and for each of the rest the reason."""
    tools = open_tools(settings, method)
    made: list[FingerprintedInput] = []
    refused: dict[str, str] = {}
    for path in paths:
        try:
            made.append(fingerprint(path, tools))
        except BadStudy as error:
            refused[str(path)] = str(error)
    return made, refused


def open_tools(settings: Settings, method: str = ENCODER) -> Tools:
    """The named method, and what the settings name to find brains with."""
    return Tools(opened(method, settings), strip.chosen(settings.synthstrip_path))


def fingerprint(path: Path, tools: Tools, contrast: Contrast | None = None) -> FingerprintedInput:
    """Fingerprints of a NIfTI file or of each usable series of a DICOM folder.

    `contrast` is for a file that says none. BadStudy when nothing of it can be used.
    """
    refusals: list[BadStudy] = []
    if path.is_dir():
        with tempfile.TemporaryDirectory(prefix="dbp-fingerprint-") as scratch:
            scans = _examined(_volumes(path, Path(scratch), refusals), tools, refusals, contrast)
    else:
        scans = _examined(iter([(None, volume.read(path))]), tools, refusals, contrast)
    if not scans:
        raise none_left(refusals)
    return FingerprintedInput(path, tuple(scans), tuple(str(error) for error in refusals))


def _volumes(folder: Path, scratch: Path, refusals: list[BadStudy]) -> Iterator[Named]:
    """Each usable series as a volume, converted when it is asked for."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    quota = series.Quota()
    for number, (choice, members) in enumerate(series.usable(series.sort(files))):
        if quota.refusal(choice.contrast):
            continue
        native = scratch / f"{number}.nii.gz"
        try:
            convert.convert_one(members, native)
            scan = volume.read(native)
        except BadStudy as error:
            refusals.append(error)
            continue
        quota.take(choice.contrast)
        yield choice, scan


def _examined(
    volumes: Iterator[Named],
    tools: Tools,
    refusals: list[BadStudy],
    contrast: Contrast | None,
) -> list[FingerprintedScan]:
    """Fingerprints of the scans of one visit that are brains; the same pixels count once."""
    choices: list[SeriesChoice | None] = []
    made: dict[str, FingerprintedScan] = {}
    for number, found in enumerate(brain.examine_visit(_scans(volumes, choices), tools.strip)):
        choice = choices[number]
        if found.alignment is None or found.verdict is Verdict.FAIL:
            refusals.append(_refusal(choice, BadStudy(found.reasons[0], code=found.code)))
            continue
        stated = contrast or (choice.contrast if choice else Contrast.OTHER)
        encoded = described(found.alignment.brain, tools.method, stated)
        scan = FingerprintedScan(choice, found.alignment, found.verdict, found.reasons, encoded)
        twin = made.setdefault(encoded.input_digest, scan)
        if twin is not scan:
            refusals.append(_refusal(choice, BadStudy(f"same pixels as series {twin.number}")))
    return list(made.values())


def _scans(volumes: Iterator[Named], choices: list[SeriesChoice | None]) -> Iterator[Volume]:
    for choice, scan in volumes:
        choices.append(choice)
        yield scan


def _refusal(choice: SeriesChoice | None, error: BadStudy) -> BadStudy:
    if choice is None:
        return error
    return BadStudy(f"series {choice.series_number}: {error}", code=error.code)


def described(aligned: ByteArray, method: Method, contrast: Contrast) -> Fingerprint:
    """What a method keeps of an aligned brain (182, 218, 182); 512 numbers if it was learned."""
    vector = method.entry(method.describe(aligned)).ravel()
    return Fingerprint(vector, method.version, digest_of(aligned), contrast)


def digest_of(views: ByteArray) -> str:
    """SHA-256 of what the encoder saw."""
    return hashlib.sha256(np.ascontiguousarray(views).tobytes()).hexdigest()


def save(made: Sequence[FingerprintedInput], path: Path) -> None:
    """Write the vectors (n, …) of the best scans and what they belong to as one .npz file."""
    best = [one.best.fingerprint for one in made]
    np.savez_compressed(
        path,
        vectors=np.stack([f.vector for f in best]) if best else np.empty((0, 512)),
        paths=np.array([str(one.path) for one in made]),
        contrasts=np.array([f.contrast.value for f in best]),
        encoder_versions=np.array([f.encoder_version for f in best]),
    )


def as_json(made: FingerprintedInput) -> dict[str, Any]:
    """An input as JSON takes it: its best scan, and every scan under `series`."""
    return {
        "path": str(made.path),
        **_scan_json(made.best),
        "series": [_scan_json(scan) for scan in made.scans],
        "left_out": list(made.left_out),
    }


def _scan_json(scan: FingerprintedScan) -> dict[str, Any]:
    return {
        "series_number": scan.number,
        "contrast": scan.fingerprint.contrast.value,
        "confidence": scan.series and scan.series.confidence,
        "reason": scan.series and scan.series.reason,
        "verdict": scan.verdict.value,
        "doubts": list(scan.reasons),
        "encoder_version": scan.fingerprint.encoder_version,
        "input_digest": scan.fingerprint.input_digest,
        "quality": scan.alignment.quality,
        "vector": scan.fingerprint.vector,
    }
