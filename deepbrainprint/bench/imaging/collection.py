"""The folder of real data that the benchmark reads; what it lacks is left out and named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scipy import ndimage

from deepbrainprint.imaging import volume
from deepbrainprint.records import MaskArray, Volume

FOLDERS = 4  # t1w, t1_t2, repeat, labels


@dataclass(frozen=True)
class Pair:
    """Two contrasts of one visit."""

    name: str
    first: Path
    second: Path


@dataclass(frozen=True)
class Collection:
    """`t1w/` brains without skull, `t1_t2/` and `repeat/` pairs, `labels/` label maps."""

    folder: Path

    def bare_brains(self) -> list[Path]:
        """T1w scans whose skull was taken off, one for each person."""
        return sorted(self.folder.glob("t1w/*_T1w.nii*"))

    def pairs(self) -> list[Pair]:
        """Scans of one person on one day: T1w and T2w, then T1w and FLAIR of each visit."""
        return [
            *self._pairs("t1_t2", "_T1w", "_inplaneT2"),
            *self._pairs("repeat", "_T1W", "_FLAIR"),
        ]

    def label_maps(self) -> list[Path]:
        """Label maps of whole heads."""
        return sorted(self.folder.glob("labels/*_seg_*.nii*"))

    def lacking(self) -> list[str]:
        """Which of its folders are not there or empty."""
        held = {
            "t1w": self.bare_brains(),
            "t1_t2": self._pairs("t1_t2", "_T1w", "_inplaneT2"),
            "repeat": self._pairs("repeat", "_T1W", "_FLAIR"),
            "labels": self.label_maps(),
        }
        return [name for name, files in held.items() if not files]

    def _pairs(self, folder: str, first: str, second: str) -> list[Pair]:
        found = []
        for path in sorted((self.folder / folder).glob(f"*{first}.nii*")):
            other = path.with_name(path.name.replace(first, second))
            if other.is_file():
                name = path.name.split(first)[0]
                found.append(Pair(f"{folder} {name} {first[1:]}–{second[1:]}", path, other))
        return found


def bare_brain(path: Path) -> tuple[Volume, MaskArray]:
    """A brain that comes without its skull, and its outline."""
    scan = volume.read(path)
    return scan, outline(scan)


def outline(scan: Volume) -> MaskArray:
    """What is not zero, with its holes filled."""
    mask: MaskArray = ndimage.binary_fill_holes(scan.data != 0)
    return mask


def person(path: Path) -> str:
    """The name of a scan in the results: its file's, without contrast and ending."""
    return path.name.split("_")[0]
