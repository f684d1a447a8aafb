"""Whether the mask is the brain, and each part of the brain ends where it belongs.

Heads painted from label maps have both truths: which voxels are brain, and where thalamus or
cerebellum lie. The second one is what a template or a scan that is the wrong way round gets wrong,
even where everything still agrees with itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np

from deepbrainprint.bench.imaging import heads
from deepbrainprint.bench.imaging.collection import Collection, bare_brain, person
from deepbrainprint.bench.imaging.findings import (
    Figures,
    Finding,
    Goal,
    at_least,
    at_most,
    column,
    spread,
)
from deepbrainprint.bench.imaging.heads import LabelMap
from deepbrainprint.bench.imaging.workload import Workload
from deepbrainprint.imaging import brain
from deepbrainprint.imaging.brain import Examination
from deepbrainprint.imaging.outline import dice
from deepbrainprint.imaging.strip import brain_mask
from deepbrainprint.records import AffineArray, MaskArray, Volume

LEAST_DICE = 0.96
LANDING_MM = 10.0
# labels of FreeSurfer, and about where their middle lies in MNI152 space, RAS mm
LANDMARKS: dict[str, tuple[tuple[int, ...], tuple[float, float, float]]] = {
    "left thalamus": ((10,), (-11.0, -18.0, 7.0)),
    "right thalamus": ((49,), (11.0, -18.0, 7.0)),
    "left putamen": ((12,), (-26.0, 1.0, 0.0)),
    "right putamen": ((51,), (26.0, 1.0, 0.0)),
    "left hippocampus": ((17,), (-26.0, -22.0, -14.0)),
    "right hippocampus": ((53,), (26.0, -22.0, -14.0)),
    "brain stem": ((16,), (0.0, -30.0, -33.0)),
    "left cerebellum": ((8,), (-24.0, -62.0, -35.0)),
    "right cerebellum": ((47,), (24.0, -62.0, -35.0)),
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Worst:
    """The scan whose mask fits least, for a picture."""

    dice: float = 2.0
    scan: Volume | None = None
    mask: MaskArray | None = None


@dataclass(frozen=True)
class Masked:
    """What was found, and the worst of it."""

    finding: Finding
    worst: Worst = field(default_factory=Worst)


def measure(collection: Collection, load: Workload, say: Say) -> Masked:
    """Compare masks with supplied ones and with those of painted heads."""
    paths, maps = collection.bare_brains()[: load.people], collection.label_maps()
    cases: list[Figures] = []
    worst = Worst()
    for case, scan, mask in chain(_supplied(paths), _painted(maps[: load.label_maps])):
        cases.append(case)
        if case["dice"] < worst.dice:
            worst = Worst(case["dice"], scan, mask)
        say(f"{case['of']} {case['name']} {case.get('contrast', '')}: Dice {case['dice']:.3f}")
    left_out = tuple(f"no folder {n}" for n, has in (("t1w", paths), ("labels", maps)) if not has)
    return Masked(
        Finding("masks", _figures(cases), tuple(_goals(cases)), tuple(cases), left_out), worst
    )


def _supplied(paths: list[Path]) -> Iterator[tuple[Figures, Volume, MaskArray]]:
    for path in paths:
        scan, outline = bare_brain(path)
        mask = brain_mask(scan)
        case: Figures = {"of": "t1w", "name": person(path), "dice": dice(mask, outline)}
        yield case, scan, mask


def _painted(maps: list[Path]) -> Iterator[tuple[Figures, Volume, MaskArray]]:
    with TemporaryDirectory(prefix="dbp-bench-") as folder:
        for number, path in enumerate(maps):
            drawn = heads.label_map(path)
            truth, tissue = drawn.brain(), drawn.tissue()
            for contrast in heads.CONTRASTS:
                scan = heads.stored_head(drawn, contrast, number, Path(folder, "head.nii"))
                examined = brain.examine(scan)
                mask = np.zeros(scan.data.shape, bool) if examined.mask is None else examined.mask
                name = path.name.split(".")[0]
                case: Figures = {"of": "labels", "name": name, "contrast": str(contrast)}
                found = as_read(mask, scan.affine, drawn.affine)
                case |= {"dice": dice(found, truth), "dice_tissue": dice(found, tissue)}
                yield case | _landing(drawn, examined), scan, mask


def as_read(mask: MaskArray, read: AffineArray, stored: AffineArray) -> MaskArray:
    """Turn a mask of a scan as it was read back into the order that it is stored in."""
    turn = nib.orientations.ornt_transform(nib.io_orientation(read), nib.io_orientation(stored))
    return np.asarray(nib.apply_orientation(mask, turn), dtype=bool)


def _landing(drawn: LabelMap, examined: Examination) -> Figures:
    """How far from its place each landmark ended, mm."""
    if examined.alignment is None:
        return {"refused": examined.code, "landing_mm": 999.0}
    to_template = np.linalg.inv(examined.alignment.transform)
    off = {
        name: float(np.linalg.norm((to_template @ [*drawn.centroid(labels), 1])[:3] - place))
        for name, (labels, place) in LANDMARKS.items()
    }
    return {"off_mm": off, "landing_mm": max(off.values())}


def _figures(cases: list[Figures]) -> Figures:
    groups: dict[str, dict[str, str]] = {"t1w": {"of": "t1w"}, "labels": {"of": "labels"}}
    groups |= {f"labels {c}": {"of": "labels", "contrast": str(c)} for c in heads.CONTRASTS}
    found: Figures = {
        name: {"dice": spread(column(cases, "dice", **wanted), worst="least")}
        for name, wanted in groups.items()
    }
    found["labels"]["dice_tissue"] = spread(column(cases, "dice_tissue"), worst="least")
    return found | {"landing_mm": spread(column(cases, "landing_mm"), worst="most")}


def _goals(cases: list[Figures]) -> Iterator[Goal]:
    for group, words in (("t1w", "supplied masks"), ("labels", "masks of painted heads")):
        found = spread(column(cases, "dice", of=group), worst="least").get("median")
        yield at_least(f"Dice with {words} at least {LEAST_DICE} in the median", LEAST_DICE, found)
    landed = spread(column(cases, "landing_mm"), worst="most").get("median")
    yield at_most(
        f"all landmarks of a painted head within {LANDING_MM:.0f} mm, in the median",
        LANDING_MM,
        landed,
    )
