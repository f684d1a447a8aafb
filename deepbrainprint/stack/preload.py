"""Tasks are forks of the scheduler: what it has imported, none of them imports again."""

from __future__ import annotations

import contextlib
import importlib
import sys

# Imported only, never called here: their thread pools must begin after the fork.
_HEAVY = (
    "torch",
    "SimpleITK",
    "deepbet",
    "nilearn.datasets",
    "nibabel",
    "scipy.ndimage",
    "onnxruntime",
    "faiss",
    "psycopg2",
)


def preload_for_tasks() -> None:
    """Import the heavy libraries when this process is the scheduler; elsewhere do nothing."""
    if "scheduler" not in sys.argv[1:2]:
        return
    for name in _HEAVY:
        with contextlib.suppress(ImportError):  # the task that needs it says so better
            importlib.import_module(name)
