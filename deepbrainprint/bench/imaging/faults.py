"""Faults put in on purpose: a benchmark that does not notice them proves nothing.

They are put into this process only, by replacing functions; nothing in the product knows of them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import nibabel as nib
import numpy as np

from deepbrainprint.bench.imaging import displacement
from deepbrainprint.imaging import alignment, registration, template
from deepbrainprint.records import Volume


@contextmanager
def broken(fault: str) -> Iterator[None]:
    """Break imaging meanwhile: `flip` the template or skip `orientation`; "" breaks nothing."""
    displacement.brain_points()  # what judges keeps the right template
    patches = {"flip": _flipped, "orientation": _left_as_stored, "": list}[fault]()
    with ExitStack() as stack:
        stack.callback(_forget)
        for patch in patches:
            stack.enter_context(patch)
        _forget()
        yield


def _flipped() -> list[Any]:
    """The template upside down and back to front."""
    right, mask = template.reference(), template.mask()
    wrong = Volume(np.ascontiguousarray(right.data[:, ::-1, ::-1]), right.affine)
    outline = np.ascontiguousarray(mask[:, ::-1, ::-1])
    return [
        mock.patch.object(template, "reference", return_value=wrong),
        mock.patch.object(template, "mask", return_value=outline),
    ]


def _left_as_stored() -> list[Any]:
    """Voxels that stay in the order of the file."""
    return [mock.patch.object(nib, "as_closest_canonical", lambda image: image)]


def _forget() -> None:
    """Empty what alignment has remembered of the template."""
    for module in (alignment, registration):
        _forget_in(module)


def _forget_in(module: ModuleType) -> None:
    for name, found in vars(module).items():
        if isinstance(found, functools._lru_cache_wrapper) and found.__module__ == module.__name__:  # noqa: SLF001 — the only name that kind of function has
            vars(module)[name].cache_clear()
