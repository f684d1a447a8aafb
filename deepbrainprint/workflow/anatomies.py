"""From a folder of brains and label maps to aligned anatomies, cached by each file's digest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import structlog
from scipy import ndimage

from deepbrainprint.encoder.anatomy import (
    T1W_LEVELS,
    TISSUES,
    Anatomy,
    from_brain,
    from_labels,
    from_shares,
)
from deepbrainprint.encoder.card import sha256_of
from deepbrainprint.errors import BadStudy
from deepbrainprint.imaging import PREPROCESSING_VERSION, template, tissue
from deepbrainprint.imaging.alignment import align
from deepbrainprint.imaging.volume import read
from deepbrainprint.records import AffineArray, ByteArray, InputForm, MaskArray, Volume

FLUID = 24  # FreeSurfer's cerebrospinal fluid outside the ventricles
EXTRACEREBRAL = 500  # SynthSeg's labels from here on are skull, scalp, eyes
CLOSING_MM = 3  # sulci are filled as a skull stripper fills them

log = structlog.get_logger()


@dataclass(frozen=True)
class Source:
    """One training file: what it is called, its digest and where its aligned form lies."""

    name: str  # folder/stem
    sha256: str
    path: Path
    cached: Path

    @property
    def kind(self) -> str:
        """`t1w` or `labels`."""
        return self.path.parent.name


def sources(data: Path, cache: Path) -> list[Source]:
    """Every NIfTI file under `data`/t1w and `data`/labels, in order; BadStudy if there is none."""
    paths = [p for kind in ("t1w", "labels") for p in sorted((data / kind).glob("*.nii.gz"))]
    if not paths:
        raise BadStudy(
            "no NIfTI file lies in t1w/ or labels/ of the data folder: name the folder above them",
            code="no_training_data",
        )
    return [_source(path, cache) for path in paths]


def _source(path: Path, cache: Path) -> Source:
    digest = sha256_of(path)
    name = f"{path.parent.name}/{path.name.removesuffix('.nii.gz')}"
    return Source(name, digest, path, cache / f"{digest[:16]}-{PREPROCESSING_VERSION}.npz")


def prepared(found: Sequence[Source], form: InputForm) -> Iterator[Anatomy]:
    """Each source as an anatomy that `form` can be drawn from; aligned once, then cached."""
    for number, source in enumerate(found, start=1):
        log.info("preparing", source=source.name, number=number, of=len(found))
        if source.kind == "labels":
            yield from_labels(source.name, _labelled(source))
        else:
            brain = aligned_brain(source)
            if form.kind == "grey":
                yield from_shares(source.name, tissue.tissue_shares(brain))
            else:
                yield from_brain(source.name, brain)


def aligned_brain(source: Source) -> ByteArray:
    """A brain whose skull is already removed, on the grid; or a label map as a T1w-like brain."""
    if source.kind == "labels":
        levels = painted(_labelled(source).astype(np.int16))
        return np.asarray(levels * 255, dtype=np.uint8)
    if not source.cached.is_file():
        volume = read(source.path)
        _keep(source, align(volume, volume.data > 0).brain)
    return _kept(source)


def _labelled(source: Source) -> ByteArray:
    if not source.cached.is_file():
        volume = read(source.path)
        labels = volume.data.round().astype(np.int16)
        mask = brain_of(labels)
        transform = align(Volume(painted(labels), volume.affine), mask).transform
        _keep(source, _on_grid(np.where(mask, labels, 0), volume.affine, transform))
    return _kept(source)


def brain_of(labels: npt.NDArray[np.int16]) -> MaskArray:
    """The brain with its sulci filled, as a skull stripper leaves it."""
    tissue = (labels > 0) & (labels < EXTRACEREBRAL) & (labels != FLUID)
    inner = ndimage.distance_transform_edt(~tissue) <= CLOSING_MM
    closed = ndimage.distance_transform_edt(inner) > CLOSING_MM
    mask: MaskArray = (closed | tissue) & (labels > 0) & (labels < EXTRACEREBRAL)
    return mask


def painted(labels: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """The label map in the grey levels of a T1-weighted scan."""
    table = np.zeros(max(int(labels.max()), EXTRACEREBRAL) + 1, dtype=np.float32)
    for level, group in zip(T1W_LEVELS, TISSUES, strict=True):
        table[list(group)] = level
    return table[labels]


def _on_grid(
    labels: npt.NDArray[np.int16], affine: AffineArray, transform: AffineArray
) -> ByteArray:
    """Nearest-neighbour labels on the reference grid."""
    index = np.linalg.inv(affine) @ transform @ template.affine()
    moved: ByteArray = ndimage.affine_transform(
        labels.astype(np.uint8), index[:3, :3], index[:3, 3], output_shape=template.SHAPE, order=0
    )
    return moved


def _keep(source: Source, array: ByteArray) -> None:
    source.cached.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(source.cached, array=array)


def _kept(source: Source) -> ByteArray:
    with np.load(source.cached, allow_pickle=False) as stored:
        kept: ByteArray = stored["array"]
    return kept
