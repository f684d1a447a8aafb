"""Which scans are measured and whose they are: a CSV file with a line for each."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deepbrainprint.errors import BadStudy
from deepbrainprint.records import Contrast

NEEDED = ("path", "subject", "session", "contrast")
MOST_FAULTS = 5  # named in one message


@dataclass(frozen=True)
class ListedScan:
    """One line: a NIfTI file, or a DICOM folder and which contrast of it."""

    path: Path
    name: str  # the path as the manifest has it
    subject: str
    session: str
    contrast: Contrast
    dataset: str = ""
    scanner: str = ""
    years: float | None = None  # since the first session


def read_manifest(manifest: Path) -> list[ListedScan]:
    """Read the scans of `manifest`; its paths are absolute or relative to its folder.

    Raises
    ------
    BadStudy
        `bad_manifest` with the numbers of the lines that cannot be used, and why.

    """
    try:
        text = manifest.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(f"{manifest} cannot be read as text: {error}") from error
    lines = csv.DictReader(text.splitlines())
    if missing := [name for name in NEEDED if name not in (lines.fieldnames or ())]:
        raise _bad(f"{manifest} has no column {', '.join(missing)}: {', '.join(NEEDED)} are needed")
    found: list[ListedScan] = []
    faults: list[str] = []
    for line in lines:
        try:
            found.append(_scan(line, manifest.parent))
        except ValueError as error:
            faults.append(f"line {lines.line_num}: {error}")
    if faults:
        more = f" and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        raise _bad(f"{manifest}: {'; '.join(faults[:MOST_FAULTS])}{more}")
    if not found:
        raise _bad(f"{manifest} lists no scan")
    return found


def people_of(scans: Sequence[ListedScan]) -> npt.NDArray[np.int64]:
    """Return a number for each scan's person; subjects of two datasets are two people."""
    names = [f"{scan.dataset}\n{scan.subject}" for scan in scans]
    numbers: npt.NDArray[np.int64] = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return numbers


def _scan(line: Mapping[str, str | None], folder: Path) -> ListedScan:
    values = {name: (value or "").strip() for name, value in line.items() if name}
    for name in ("path", "subject"):
        if not values[name]:
            raise ValueError(f"no {name}")
    path = folder / values["path"]
    if not path.exists():
        raise ValueError(f"{values['path']} is not there")
    return ListedScan(
        path,
        values["path"],
        values["subject"],
        values["session"],
        _contrast(values["contrast"]),
        values.get("dataset", ""),
        values.get("scanner", ""),
        _years(values.get("years", "")),
    )


def _years(word: str) -> float | None:
    try:
        return float(word) if word else None
    except ValueError:
        raise ValueError(f"{word} is no number of years") from None


def _contrast(word: str) -> Contrast:
    known = {contrast.value.lower(): contrast for contrast in Contrast}
    if word.lower() not in known:
        raise ValueError(f"{word or 'nothing'} is no contrast: use one of {', '.join(Contrast)}")
    return known[word.lower()]


def _bad(words: str) -> BadStudy:
    return BadStudy(words, code="bad_manifest")
