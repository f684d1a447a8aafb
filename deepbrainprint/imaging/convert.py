"""One DICOM series to one NIfTI file, by dcm2niix.

Li X, Morgan PS, Ashburner J, Smith J, Rorden C. The first step for neuroimaging data analysis:
DICOM to NIfTI conversion. J Neurosci Methods 2016;264:47–56.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel as nib
import numpy as np
from pydicom import uid

from deepbrainprint.errors import BadStudy, Misconfigured, TryAgain
from deepbrainprint.imaging import transcoding
from deepbrainprint.imaging.contrast import COMPUTED, NOT_MAGNITUDE
from deepbrainprint.imaging.geometry import Frame
from deepbrainprint.imaging.headers import ImageHeader, read_all
from deepbrainprint.imaging.integrity import guard_pixels, guard_stack
from deepbrainprint.imaging.members import is_tiled, of_one_volume, one_moment, stacks_of
from deepbrainprint.imaging.placement import placed, straighten
from deepbrainprint.records import AffineArray

LONGEST_SECONDS = 600
CANNOT_WRITE = 7  # exit status of dcm2niix
SMALLEST_MM3 = 1e-6  # of a voxel
RESAMPLED = ("_Tilt", "_Eq")  # in the names of what dcm2niix has interpolated
FLAGS = (
    "-b", "y", "-ba", "y",  # sidecar without identity: it says what each volume is
    "-z", "n",  # written again, compressed, once the volume is chosen
    "-x", "i",  # neither crop nor rotate: reading reorients
    "-m", "y",  # one volume even where names or timings wander from slice to slice
    "-d", "0", "-g", "i", "-c", "", "-w", "2", "-f", "volume",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One object for dcm2niix, and which of its frames are wanted, from one end of the stack."""

    header: ImageHeader
    frames: tuple[int, ...]

    @property
    def readable(self) -> bool:
        """Whether dcm2niix may read the file as it is: it trusts the order of the frames."""
        every = tuple(range(self.header.frames))
        in_order = self.frames in {every, every[::-1]}
        return in_order and self.header.transfer_syntax_uid in transcoding.READ_BY_DCM2NIIX


@dataclass(frozen=True)
class Converted:
    """One volume that dcm2niix wrote: its file and its sidecar."""

    path: Path
    sidecar: dict[str, Any]

    @property
    def kinds(self) -> frozenset[str]:
        """Values of Image Type, upper case."""
        return frozenset(str(kind).upper() for kind in self.sidecar.get("ImageType", ()))

    @property
    def resampled(self) -> bool:
        """Whether dcm2niix has interpolated it."""
        return any(mark in self.path.stem for mark in RESAMPLED)


def convert_one(files: Sequence[Path], target: Path) -> None:
    """Write the structural volume of one series to `target` (….nii.gz), whole or not at all.

    Where the header says where the slices lie, the volume is one frame at each place of the
    largest stack of parallel slices, placed as the header says; a sheared stack (gantry tilt) is
    straightened. Of several volumes the magnitude is taken before phase, the first echo of
    gradient echoes, the last of spin echoes, the first time point. The file holds voxels and
    geometry, no text. The same files in any order give the same bytes.

    Raises
    ------
    BadStudy
        `no_pixels`, `truncated`, `damaged_pixels`, `unsupported`, `missing_slices`,
        `uneven_slices`, `mixed_orientations` or `not_a_volume`.
    TryAgain
        `conversion_slow`, `conversion_stopped` or `disk`: the machine, not the data.

    """
    headers = of_one_volume(read_all(files))
    guard_pixels(headers)
    frames = _frames(headers)
    sources = _sources(headers, frames)
    _guard_syntax(sources)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="dbp-convert-") as scratch:
            volumes = _run(sources, Path(scratch))
            _write(*_best(volumes, headers, frames), target)
    except OSError as error:
        raise TryAgain(
            f"the volume cannot be written ({error.strerror or 'cut short'}): free the disk",
            code="disk",
        ) from error


def _frames(headers: Sequence[ImageHeader]) -> list[Frame]:
    """The slices of the volume in order; none where the header does not say where they lie."""
    stacks = [] if is_tiled(headers) else stacks_of(headers)
    if not stacks or min(stacks[0][0].header.spacing_mm) <= 0:
        return []
    volume = one_moment(stacks[0])
    guard_stack(stacks, volume)
    return volume


def _sources(headers: Sequence[ImageHeader], frames: Sequence[Frame]) -> list[Source]:
    if is_tiled(headers):
        headers = headers[:1]  # each object is a volume
    if not frames:
        return [Source(header, tuple(range(header.frames))) for header in headers]
    wanted: dict[Path, list[int]] = {}
    for frame in frames:
        wanted.setdefault(frame.header.path, []).append(frame.index)
    by_path = {frame.header.path: frame.header for frame in frames}
    found = [Source(by_path[path], tuple(indices)) for path, indices in wanted.items()]
    return sorted(found, key=lambda source: source.header.instance_number)


def _guard_syntax(sources: Sequence[Source]) -> None:
    if foreign := {s.header.transfer_syntax_uid for s in sources} - transcoding.SUPPORTED:
        raise BadStudy(
            f"series {sources[0].header.series_number}: transfer syntax "
            f"{uid.UID(min(foreign)).name or '(none stated)'} cannot be read: send it uncompressed",
            code="unsupported",
        )


def _run(sources: Sequence[Source], scratch: Path) -> list[Converted]:
    """What dcm2niix makes of `sources`; its words may quote the header, so they go nowhere."""
    source, result = scratch / "dicom", scratch / "nifti"
    source.mkdir()
    result.mkdir()
    for number, one in enumerate(sources, start=1):
        _provide(one, source / f"{number:06d}.dcm")
    try:
        done = subprocess.run(
            [dcm2niix.bin, *FLAGS, "-o", str(result), str(source)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=LONGEST_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise TryAgain(
            f"dcm2niix took more than {LONGEST_SECONDS} s: the machine is too busy",
            code="conversion_slow",
        ) from None
    except FileNotFoundError:
        raise Misconfigured("dcm2niix is not installed: install deepbrainprint[pipeline]") from None
    if done.returncode < 0 or done.returncode == CANNOT_WRITE:
        raise TryAgain(
            f"dcm2niix stopped with exit status {done.returncode}: look for a full disk or memory",
            code="conversion_stopped",
        )
    return [Converted(path, _sidecar(path)) for path in sorted(result.glob("*.nii"))]


def _provide(one: Source, path: Path) -> None:
    if one.readable:
        path.symlink_to(one.header.path.resolve())
    else:
        transcoding.rewrite(one.header, one.frames, path)


def _sidecar(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.with_suffix(".json").read_text(errors="replace"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _best(
    volumes: Sequence[Converted], headers: Sequence[ImageHeader], frames: Sequence[Frame]
) -> tuple[Any, AffineArray]:
    """The image to keep and its affine: magnitude before phase, measured before computed."""
    images = [(one, nib.load(one.path)) for one in volumes]
    fit = [(one, image) for one, image in images if _is_volume(image)]
    if frames:
        fit = [(one, image) for one, image in fit if not one.resampled]
    found = [(_fitness(one, image), image, _affine(image, frames)) for one, image in fit]
    known = [(fitness, image, affine) for fitness, image, affine in found if affine is not None]
    if not known:
        raise BadStudy(
            f"series {headers[0].series_number}: the images form no 3-D volume: "
            "send one volume of parallel slices",
            code="not_a_volume",
        )
    _, image, affine = max(known, key=lambda one: one[0])
    return image, affine


def _affine(image: Any, frames: Sequence[Frame]) -> AffineArray | None:
    return placed(image.shape, image.affine, frames) if frames else image.affine


def _is_volume(image: Any) -> bool:
    plain = image.get_data_dtype().names is None  # colour has named fields
    deep = len(image.shape) >= 3 and min(image.shape[:3]) > 1
    return plain and deep and _has_size(image.affine)


def _has_size(affine: AffineArray) -> bool:
    return bool(np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > SMALLEST_MM3)


def _fitness(one: Converted, image: Any) -> tuple[bool, bool, int]:
    computed = one.kinds & COMPUTED or one.kinds >= {"DERIVED", "SECONDARY"}
    return not one.kinds & NOT_MAGNITUDE, not computed, int(np.prod(image.shape[:3]))


def _write(image: Any, affine: AffineArray, target: Path) -> None:
    """Voxels and affine alone: dcm2niix fills the header's text fields from the DICOM header."""
    stored = image.dataobj
    data = np.asanyarray(stored.get_unscaled())
    fresh = nib.Nifti1Image(*straighten(data[..., 0] if data.ndim == 4 else data, affine))
    fresh.header.set_slope_inter(stored.slope, stored.inter)
    fresh.header.set_xyzt_units("mm")
    part = target.with_name(f".{target.name.removesuffix('.nii.gz')}.part.nii.gz")
    nib.save(fresh, part)
    _sync(part)
    part.replace(target)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
