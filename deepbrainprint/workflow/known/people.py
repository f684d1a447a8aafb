"""Real people of a data folder, and how well an encoder that was just trained tells them apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from deepbrainprint.encoder.network import EncoderNetwork
from deepbrainprint.encoder.population import encode
from deepbrainprint.imaging import reading
from deepbrainprint.records import FloatArray, InputForm
from deepbrainprint.workflow.known.manifest import ListedScan, people_of, read_manifest
from deepbrainprint.workflow.known.preparing import Kept, prepare

MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class KnownPeople:
    """Scans that could be aligned and whose they are; people: (N,) numbers."""

    scans: tuple[ListedScan, ...]
    kept: tuple[Kept, ...]
    people: npt.NDArray[np.int64]
    cache: Path

    @classmethod
    def of(cls, data: Path, cache: Path) -> Self:
        """Read and align those of `data`/manifest.csv; nobody where there is no manifest."""
        if not (data / MANIFEST).is_file():
            return cls((), (), np.empty(0, dtype=np.int64), cache)
        listed = read_manifest(data / MANIFEST)
        kept = prepare(listed, cache, workers=1, progress=lambda _done, _total: None)
        usable = [pair for pair in zip(listed, kept, strict=True) if not pair[1].refusal]
        scans = tuple(scan for scan, _ in usable)
        return cls(scans, tuple(one for _, one in usable), people_of(scans), cache)


def fingerprints_of(known: KnownPeople, network: EncoderNetwork, form: InputForm) -> FloatArray:
    """Unit vectors (N, 512), in the order of the scans."""
    vectors = [
        encode(network, reading.read(one.brain(known.cache), form)[np.newaxis])
        for one in known.kept
    ]
    return np.concatenate(vectors)


def genuine_pairs(known: KnownPeople, vectors: FloatArray) -> list[dict[str, Any]]:
    """Each pair of scans of one person: similarity and how many scans of others come before.

    `rank` is that of the second scan when the first searches all other scans, and `rank_back`
    the other way round; scans of the same person do not count against it.
    """
    similarity = vectors @ vectors.T
    others = known.people[:, None] != known.people[None, :]
    first, second = np.nonzero(np.triu(~others, k=1))
    return [
        {
            "first": known.scans[i].name,
            "second": known.scans[j].name,
            "same_contrast": known.scans[i].contrast is known.scans[j].contrast,
            "similarity": round(float(similarity[i, j]), 4),
            "rank": 1 + int((similarity[i, others[i]] >= similarity[i, j]).sum()),
            "rank_back": 1 + int((similarity[j, others[j]] >= similarity[i, j]).sum()),
        }
        for i, j in zip(first.tolist(), second.tolist(), strict=True)
    ]
