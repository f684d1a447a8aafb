"""Small but whole-head DICOM series for tests: 128 × 128 × 96 mm of noise, header as wished."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from deepbrainprint.records import Contrast, HeaderIdentity, Volume
from deepbrainprint.simulation.acquisition import Protocol
from deepbrainprint.simulation.scanner import Exam, acquire, write

SOMEBODY = HeaderIdentity("SECRET-ID", "SIM", "Secret^Name", "19601231", "F", "A1", "20240108")


def series(
    contrast: Contrast = Contrast.T1W, *, number: int = 1, slices: int = 24
) -> list[Dataset]:
    """One instance per slice of 4 mm."""
    rng = np.random.default_rng(number)
    data = rng.integers(0, 4096, (32, 32, slices)).astype(np.float32)
    protocol = Protocol(contrast, voxel_mm=(4.0, 4.0, 2.0))  # below 2.5 mm it says 3D
    volume = Volume(data, np.diag([-4.0, -4.0, 4.0, 1.0]))
    exam = Exam("scan", SOMEBODY, protocol, series_number=number)
    return [deepcopy(instance) for instance in acquire(volume, exam)]  # they share elements


def saved(instances: list[Dataset], folder: Path, **header: object) -> list[Path]:
    """The files of `instances`, with header values replaced, or removed by None."""
    for instance in instances:
        for keyword, value in header.items():
            if value is None:
                instance.pop(keyword, None)
            else:
                setattr(instance, keyword, value)
    return write(instances, folder)
