"""One scan on its own: from a NIfTI file or a DICOM folder to a fingerprint, no database."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any

import numpy as np

from deepbrainprint.encoder.runtime import Encoder, open_encoder
from deepbrainprint.errors import BadStudy
from deepbrainprint.imaging import brain, convert, series, slices, volume
from deepbrainprint.imaging.alignment import Alignment
from deepbrainprint.linkage.calibration import Calibration
from deepbrainprint.records import ByteArray, Contrast, Fingerprint, Volume
from deepbrainprint.settings import Settings


@dataclass(frozen=True)
class FingerprintedScan:
    """A scan, its aligned brain and its fingerprint."""

    path: Path
    alignment: Alignment
    fingerprint: Fingerprint

    def summary(self) -> dict[str, Any]:
        """What a person wants to see of it in one line."""
        return {
            "brain ml": self.alignment.mask_ml,
            "residual": self.alignment.residual,
            "encoder": self.fingerprint.encoder_version,
            "digest": self.fingerprint.input_digest[:12],
        }


@dataclass(frozen=True)
class Comparison:
    """What two scans say about being of one person."""

    words: str
    similarity: float
    llr: float
    probability: float
    same_contrast: bool
    link_above: float
    new_below: float
    encoder_version: str


def fingerprint_all(
    settings: Settings, paths: Sequence[Path]
) -> tuple[list[FingerprintedScan], dict[str, str]]:
    """Fingerprints of what can be used, and for each of the rest the reason."""
    encoder = open_encoder(settings.encoder_path)
    made: list[FingerprintedScan] = []
    refused: dict[str, str] = {}
    for path in paths:
        try:
            made.append(fingerprint(path, encoder))
        except BadStudy as error:
            refused[str(path)] = str(error)
    return made, refused


def fingerprint(
    path: Path, encoder: Encoder, contrast: Contrast | None = None
) -> FingerprintedScan:
    """Fingerprint of a NIfTI file or DICOM folder. BadStudy when it cannot be used."""
    scan, stated = _read(path)
    alignment = brain.extract(scan)
    made = encode(alignment.brain, encoder, contrast or stated)
    return FingerprintedScan(path, alignment, made)


def encode(aligned: ByteArray, encoder: Encoder, contrast: Contrast) -> Fingerprint:
    """Fingerprint of an aligned brain (182, 218, 182)."""
    views = slices.axial(aligned, encoder.planes)  # (planes, 182, 218)
    vector = encoder.encode(views[np.newaxis])[0]  # (512,)
    return Fingerprint(vector, encoder.version, digest_of(views), contrast)


def digest_of(views: ByteArray) -> str:
    """SHA-256 of what the encoder saw."""
    return hashlib.sha256(np.ascontiguousarray(views).tobytes()).hexdigest()


def compare(
    settings: Settings,
    paths: tuple[Path, Path],
    *,
    contrasts: tuple[Contrast | None, Contrast | None] = (None, None),
    png: Path | None = None,
) -> Comparison:
    """Whether two scans show one person. BadStudy when either cannot be used."""
    encoder = open_encoder(settings.encoder_path)
    a, b = (
        fingerprint(path, encoder, contrast)
        for path, contrast in zip(paths, contrasts, strict=True)
    )
    if png is not None:
        slices.compare_picture(a.alignment.brain, b.alignment.brain, png)
    return _weigh(a.fingerprint, b.fingerprint, Calibration.from_json(encoder.calibration))


def _weigh(a: Fingerprint, b: Fingerprint, calibration: Calibration) -> Comparison:
    similarity = float(a.vector @ b.vector)
    same = a.contrast is b.contrast and a.contrast is not Contrast.OTHER
    llr = calibration.llr(similarity, same_contrast=same)
    return Comparison(
        words=_words(llr, calibration),
        similarity=similarity,
        llr=llr,
        probability=1.0 / (1.0 + exp(-llr)),
        same_contrast=same,
        link_above=calibration.link_above,
        new_below=calibration.new_below,
        encoder_version=a.encoder_version,
    )


def _words(llr: float, calibration: Calibration) -> str:
    if llr >= calibration.link_above:
        return "The same person."
    if llr < calibration.new_below:
        return "Two different people."
    return "Not sure: a person should look."


def save(made: Sequence[FingerprintedScan], path: Path) -> None:
    """Write the vectors (n, 512) and what they belong to as one .npz file."""
    np.savez_compressed(
        path,
        vectors=np.stack([f.fingerprint.vector for f in made]) if made else np.empty((0, 512)),
        paths=np.array([str(f.path) for f in made]),
        contrasts=np.array([f.fingerprint.contrast.value for f in made]),
        encoder_versions=np.array([f.fingerprint.encoder_version for f in made]),
    )


def as_json(made: FingerprintedScan) -> dict[str, Any]:
    """A fingerprint as JSON takes it."""
    return {
        "path": str(made.path),
        "contrast": made.fingerprint.contrast.value,
        "encoder_version": made.fingerprint.encoder_version,
        "input_digest": made.fingerprint.input_digest,
        "quality": made.alignment.quality,
        "vector": made.fingerprint.vector,
    }


def _read(path: Path) -> tuple[Volume, Contrast]:
    if path.is_dir():
        return _read_dicom(path)
    return volume.read(path), Contrast.OTHER


def _read_dicom(folder: Path) -> tuple[Volume, Contrast]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    choice, chosen_files = series.choose_files(files)
    with tempfile.TemporaryDirectory() as scratch:
        native = Path(scratch) / "native.nii.gz"
        convert.convert_one(chosen_files, native)
        return volume.read(native), choice.contrast
