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
from deepbrainprint.imaging.contrast import COMPUTED, NOT_MAGNITUDE
from deepbrainprint.imaging.geometry import measure
from deepbrainprint.imaging.headers import ImageHeader, read_all
from deepbrainprint.imaging.members import of_one_volume
from deepbrainprint.imaging.pixeldata import PixelState
from deepbrainprint.records import AffineArray

LONGEST_SECONDS = 600
CANNOT_WRITE = 7  # exit status of dcm2niix
SMALLEST_MM3 = 1e-6  # of a voxel
LISTED = 8  # instance numbers that a message names
FLAGS = (
    "-b", "y", "-ba", "y",  # sidecar without identity: it says what each volume is
    "-z", "n",  # written again, compressed, once the volume is chosen
    "-x", "i",  # neither crop nor rotate: reading reorients
    "-d", "0", "-g", "i", "-c", "", "-w", "2", "-f", "volume",
)  # fmt: skip
READ_BY_DCM2NIIX = frozenset(
    {
        uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
        uid.JPEGBaseline8Bit, uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless,
        uid.JPEGLSNearLossless, uid.JPEG2000Lossless, uid.JPEG2000, uid.RLELossless,
    }
)  # fmt: skip


@dataclass(frozen=True)
class Converted:
    """One volume that dcm2niix wrote: its file and its sidecar."""

    path: Path
    sidecar: dict[str, Any]

    @property
    def kinds(self) -> frozenset[str]:
        """Values of Image Type, upper case."""
        return frozenset(str(kind).upper() for kind in self.sidecar.get("ImageType", ()))


def convert_one(files: Sequence[Path], target: Path) -> None:
    """Write the structural volume of one series to `target` (….nii.gz), whole or not at all.

    Of several volumes the largest that is magnitude and not computed is taken, of several in one
    series the first. The file holds voxels and geometry, no text. A repeat gives the same file.

    Raises
    ------
    BadStudy
        `no_pixels`, `truncated`, `missing_slices`, `unsupported` or `not_a_volume`.
    TryAgain
        `conversion_slow`, `conversion_stopped` or `disk`: the machine, not the data.

    """
    headers = of_one_volume(read_all(files))
    _guard_pixels(headers)
    _guard_slices(headers)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="dbp-convert-") as scratch:
            volumes = _run([header.path for header in headers], Path(scratch))
            _write(_best(volumes, headers), target)
    except OSError as error:
        raise TryAgain(
            f"the volume cannot be written ({error.strerror or 'cut short'}): free the disk",
            code="disk",
        ) from error


def _guard_pixels(headers: Sequence[ImageHeader]) -> None:
    absent = [header for header in headers if header.pixels is PixelState.ABSENT]
    truncated = [header for header in headers if header.pixels is PixelState.TRUNCATED]
    if not headers or len(absent) == len(headers):
        raise BadStudy("the series holds no pixels: send its images", code="no_pixels")
    if truncated:
        raise BadStudy(
            f"series {headers[0].series_number}: pixels of {_instances(truncated)} end too early: "
            "send the series again",
            code="truncated",
        )
    if absent:
        raise BadStudy(
            f"series {headers[0].series_number}: {_instances(absent)} hold no pixels: "
            "send the series again",
            code="no_pixels",
        )


def _guard_slices(headers: Sequence[ImageHeader]) -> None:
    if any("MOSAIC" in header.kinds for header in headers):
        return  # each instance is a volume
    geometry = measure(headers)
    series = f"series {headers[0].series_number}"
    if geometry.gaps:
        gap, more = geometry.gaps[0], len(geometry.gaps) - 1
        also = f" and in {more} more places" if more else ""
        raise BadStudy(
            f"{series}: slices are missing between {_frames(headers)} {gap.before} and {gap.after}"
            f"{also}: send the series again",
            code="missing_slices",
        )
    if geometry.known and len(headers) > 1 and geometry.slices == 1:
        raise BadStudy(f"{series}: all slices lie in one place: no volume", code="not_a_volume")


def _frames(headers: Sequence[ImageHeader]) -> str:
    return "frames" if len(headers) == 1 else "instances"


def _instances(headers: Sequence[ImageHeader]) -> str:
    numbers = ", ".join(str(header.instance_number) for header in headers[:LISTED])
    more = f" and {len(headers) - LISTED} more" if len(headers) > LISTED else ""
    return f"instance {numbers}{more}" if len(headers) == 1 else f"instances {numbers}{more}"


def _run(files: Sequence[Path], scratch: Path) -> list[Converted]:
    """What dcm2niix makes of `files`; its words may quote the header, so they go nowhere."""
    source, result = scratch / "dicom", scratch / "nifti"
    source.mkdir()
    result.mkdir()
    for number, path in enumerate(files, start=1):
        (source / f"{number:06d}.dcm").symlink_to(path.resolve())
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


def _sidecar(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.with_suffix(".json").read_text(errors="replace"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _best(volumes: Sequence[Converted], headers: Sequence[ImageHeader]) -> Any:
    """The image to keep: magnitude before phase, measured before computed, then the largest."""
    images = [(one, nib.load(one.path)) for one in volumes]
    fit = [(one, image) for one, image in images if _is_volume(image)]
    if not fit:
        raise _nothing(headers)
    return max(fit, key=lambda pair: _fitness(*pair))[1]


def _is_volume(image: Any) -> bool:
    plain = image.get_data_dtype().names is None  # colour has named fields
    deep = len(image.shape) >= 3 and min(image.shape[:3]) > 1
    return plain and deep and _has_size(image.affine)


def _has_size(affine: AffineArray) -> bool:
    return bool(np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > SMALLEST_MM3)


def _fitness(one: Converted, image: Any) -> tuple[bool, bool, int]:
    computed = one.kinds & COMPUTED or one.kinds >= {"DERIVED", "SECONDARY"}
    return not one.kinds & NOT_MAGNITUDE, not computed, int(np.prod(image.shape[:3]))


def _nothing(headers: Sequence[ImageHeader]) -> BadStudy:
    series = f"series {headers[0].series_number}"
    foreign = {header.transfer_syntax_uid for header in headers} - READ_BY_DCM2NIIX
    if foreign:
        return BadStudy(
            f"{series}: transfer syntax {uid.UID(min(foreign)).name} cannot be read: "
            "send it uncompressed",
            code="unsupported",
        )
    return BadStudy(f"{series}: the images form no 3-D volume", code="not_a_volume")


def _write(image: Any, target: Path) -> None:
    """Voxels and affine alone: dcm2niix fills the header's text fields from the DICOM header."""
    stored = image.slicer[..., 0] if len(image.shape) == 4 else image
    data = np.asanyarray(stored.dataobj)
    if data.dtype == np.float64:  # scaled on the way in
        data = data.astype(np.float32)
    fresh = nib.Nifti1Image(data, image.affine)
    fresh.header.set_xyzt_units("mm")
    part = target.with_name(f".{target.name.removesuffix('.nii.gz')}.part.nii.gz")
    nib.save(fresh, part)
    _sync(part)
    part.replace(target)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
