"""Real scans whose person is known, from the manifest of a data folder, aligned as in service."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepbrainprint.encoder.card import sha256_of
from deepbrainprint.encoder.network import EncoderNetwork
from deepbrainprint.encoder.population import encode_slices
from deepbrainprint.imaging import PREPROCESSING_VERSION, brain, slices, volume
from deepbrainprint.records import ByteArray, FloatArray

MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class KnownScan:
    """One line of a manifest."""

    path: Path
    name: str  # the path as the manifest has it
    subject: str
    contrast: str


def known_scans(data: Path) -> list[KnownScan]:
    """The NIfTI files of `data`/manifest.csv that exist; none where there is no manifest."""
    manifest = data / MANIFEST
    if not manifest.is_file():
        return []
    with manifest.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    scans = [KnownScan(data / r["path"], r["path"], r["subject"], r["contrast"]) for r in rows]
    return [s for s in scans if s.path.is_file() and s.path.name.endswith((".nii", ".nii.gz"))]


def known_brain(scan: KnownScan, cache: Path) -> ByteArray:
    """The aligned brain (182, 218, 182) of a scan, kept in `cache` by digest and preprocessing."""
    digest = sha256_of(scan.path)[:16]
    kept = cache / f"known-{digest}-{PREPROCESSING_VERSION}.npz"
    if not kept.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(kept, array=brain.extract(volume.read(scan.path)).brain)
    with np.load(kept, allow_pickle=False) as stored:
        aligned: ByteArray = stored["array"]
    return aligned


def fingerprints_of(
    scans: Sequence[KnownScan], network: EncoderNetwork, planes: Sequence[int], cache: Path
) -> FloatArray:
    """Unit vectors (N, 512), in the order of `scans`."""
    vectors = [
        encode_slices(network, slices.axial(known_brain(scan, cache), planes)[np.newaxis])
        for scan in scans
    ]
    return np.concatenate(vectors)


def genuine_pairs(
    scans: Sequence[KnownScan], vectors: FloatArray, people: npt.NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Each pair of scans of one person: similarity and how many scans of others come before.

    `rank` is that of the second scan when the first searches all other scans, and `rank_back`
    the other way round; scans of the same person do not count against it.
    """
    similarity = vectors @ vectors.T
    others = people[:, None] != people[None, :]
    first, second = np.nonzero(np.triu(~others, k=1))
    return [
        {
            "first": scans[i].name,
            "second": scans[j].name,
            "same_contrast": scans[i].contrast == scans[j].contrast,
            "similarity": round(float(similarity[i, j]), 4),
            "rank": 1 + int((similarity[i, others[i]] >= similarity[i, j]).sum()),
            "rank_back": 1 + int((similarity[j, others[j]] >= similarity[i, j]).sum()),
        }
        for i, j in zip(first.tolist(), second.tolist(), strict=True)
    ]
