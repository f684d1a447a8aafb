"""The gallery: an exact FAISS index over fingerprints, kept as a file that can be thrown away.

PostgreSQL is the truth. A fingerprint never changes once stored, so a snapshot can miss rows but
cannot hold wrong ones; what it misses is added before each search. Who a fingerprint belongs to
is not in the index at all: the caller passes the ids that may be found.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import structlog

from deepbrainprint.records import FINGERPRINT_LENGTH, FingerprintId, FloatArray

log = structlog.get_logger()


class Gallery:
    """Fingerprints by id, searched exactly by cosine similarity.

    The ids are ours and not FAISS's: its vectors of integers cannot be read in a process that has
    loaded SimpleITK, because both register the same C++ types.
    """

    def __init__(
        self, index: faiss.Index | None = None, fingerprint_ids: npt.NDArray[np.int64] | None = None
    ) -> None:
        self._index = index or faiss.IndexFlatIP(FINGERPRINT_LENGTH)
        self._ids = np.zeros(0, dtype=np.int64) if fingerprint_ids is None else fingerprint_ids

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def fingerprint_ids(self) -> frozenset[FingerprintId]:
        """Ids of all fingerprints in the index."""
        return frozenset(map(FingerprintId, self._ids.tolist()))

    def missing(self, wanted: Iterable[FingerprintId]) -> list[FingerprintId]:
        """Which of `wanted` are not in the index, in order of id."""
        return sorted(set(wanted) - self.fingerprint_ids)

    def add(self, fingerprint_ids: Sequence[FingerprintId], vectors: FloatArray) -> None:
        """Add unit vectors (n, 512)."""
        if len(fingerprint_ids):
            ids = np.asarray(fingerprint_ids, dtype=np.int64)
            self._index.add(np.ascontiguousarray(vectors, dtype=np.float32))
            self._ids = np.concatenate([self._ids, ids])

    def search(
        self, vector: FloatArray, k: int, *, among: Collection[FingerprintId]
    ) -> list[tuple[FingerprintId, float]]:
        """The k nearest of the fingerprints in `among`, with cosine similarity, best first."""
        k = min(k, len(among))
        if k == 0:
            return []
        D, I = self._index.search(  # noqa: N806, E741 — the field's letters for distances, ids
            vector[np.newaxis].astype(np.float32),  # (1, 512)
            k,
            params=faiss.SearchParameters(sel=self._selector(among)),
        )
        found = zip(I[0].tolist(), D[0].tolist(), strict=True)
        return [
            (FingerprintId(int(self._ids[i])), float(similarity))
            for i, similarity in found
            if i >= 0
        ]

    def save(self, folder: Path, encoder_version: str) -> Path:
        """Write a snapshot named by encoder, size and digest, and drop older ones of it."""
        folder.mkdir(parents=True, exist_ok=True)
        index = io.BytesIO()
        faiss.write_index(self._index, faiss.PyCallbackIOWriter(index.write))
        content = self._ids.tobytes() + index.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        path = folder / f"{_plain(encoder_version)}.{len(self)}.{digest}.gallery"
        _write_whole(path, content)
        for older in set(_snapshots(folder, encoder_version)) - {path}:
            older.unlink(missing_ok=True)
        return path

    def _selector(self, among: Collection[FingerprintId]) -> faiss.IDSelector:
        wanted: npt.NDArray[np.int64] = np.fromiter(among, dtype=np.int64, count=len(among))
        return faiss.IDSelectorBatch(np.flatnonzero(np.isin(self._ids, wanted)))


def open_gallery(folder: Path, encoder_version: str) -> Gallery:
    """The newest sound snapshot of this encoder, or an empty gallery.

    A damaged, half-written or foreign file is never searched: its digest is in its name.
    """
    for path in sorted(_snapshots(folder, encoder_version), key=_size_in_name, reverse=True):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() == path.name.split(".")[-2]:
            return _read(content, _size_in_name(path))
        log.warning("gallery_snapshot_damaged", file=path.name, action="ignored, will be rebuilt")
    return Gallery()


def _read(content: bytes, size: int) -> Gallery:
    ids = np.frombuffer(content, dtype=np.int64, count=size)
    index = io.BytesIO(content[ids.nbytes :])
    return Gallery(faiss.read_index(faiss.PyCallbackIOReader(index.read)), ids)


def _snapshots(folder: Path, encoder_version: str) -> list[Path]:
    return list(folder.glob(f"{_plain(encoder_version)}.*.gallery"))


def _size_in_name(path: Path) -> int:
    return int(path.name.split(".")[-3])


def _plain(encoder_version: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", encoder_version)


def _write_whole(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)
