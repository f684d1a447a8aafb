"""Parts that every test may ask for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# pynetdicom's namesakes of DCMTK's programs stand there, first where its environment is activated
SCRIPTS = Path(sys.executable).parent
os.environ["PATH"] = os.pathsep.join(
    folder for folder in os.environ.get("PATH", "").split(os.pathsep) if Path(folder) != SCRIPTS
)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real MRI and DICOM; skips the test on a machine that has none."""
    folder = Path(os.environ.get("TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "manifest.csv").is_file():
        pytest.skip("no real data here: set TEST_DATA to the folder that holds manifest.csv")
    return folder
