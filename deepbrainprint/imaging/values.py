"""Values out of a DICOM data set whatever state they are in: blank, absent, wrong or in a list.

`layers` are the data sets in which a fact may stand, the most specific first.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

# what pydicom raises for files and values that break PS3.5
BROKEN = (
    InvalidDicomError, BytesLengthException, OSError, EOFError, ValueError, TypeError,
    AttributeError, LookupError, NotImplementedError, OverflowError, RecursionError,
    struct.error, zlib.error,
)  # fmt: skip


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Items of a sequence; none when it is absent or broken."""
    value = _value(dataset, keyword)
    return list(value) if isinstance(value, pydicom.Sequence) else []


def text(dataset: Dataset, keyword: str) -> str:
    """The value as text without padding, parts joined by a backslash."""
    return "\\".join(str(part) for part in _parts(_value(dataset, keyword))).strip("\0 ")


def words(dataset: Dataset, keyword: str) -> frozenset[str]:
    """The parts of a value in upper case."""
    parts = text(dataset, keyword).upper().split("\\")
    return frozenset(part.strip() for part in parts) - {""}


def first_words(layers: Iterable[Dataset], keyword: str) -> frozenset[str]:
    """`words` of the first layer that has any."""
    return next((found for layer in layers if (found := words(layer, keyword))), frozenset())


def private_items(dataset: Dataset, group: int, element: int) -> list[Dataset]:
    """Items of a private sequence, `element` within whatever block its creator reserved."""
    value = _private(dataset, group, element)
    return list(value) if isinstance(value, pydicom.Sequence) else []


def private_words(dataset: Dataset, group: int, element: int) -> frozenset[str]:
    """`words` of a private element, `element` within whatever block its creator reserved."""
    parts = (str(part).upper().strip("\0 ") for part in _parts(_private(dataset, group, element)))
    return frozenset(parts) - {""}


def numbers(layers: Iterable[Dataset], *keywords: str) -> tuple[float, ...]:
    """The first value that holds finite numbers and nothing else."""
    for layer in layers:
        for keyword in keywords:
            if found := _as_numbers(_parts(_value(layer, keyword))):
                return found
    return ()


def number(layers: Iterable[Dataset], *keywords: str) -> float | None:
    """The first of `numbers`."""
    return next(iter(numbers(layers, *keywords)), None)


def positive(layers: Iterable[Dataset], *keywords: str) -> float | None:
    """`number` where it is above 0, which often stands for blank."""
    found = number(layers, *keywords)
    return found if found and found > 0 else None


def whole(dataset: Dataset, keyword: str, *, default: int = 0) -> int:
    """`number` cut to an integer."""
    found = number([dataset], keyword)
    return int(found) if found is not None else default


def _value(dataset: Dataset, keyword: str) -> Any:
    try:
        return dataset.get(keyword)
    except BROKEN:
        return None


def _private(dataset: Dataset, group: int, element: int) -> Any:
    """PS3.5 section 7.8.1: the block is the upper byte of the element number, 10 to FF."""
    for tag in dataset.keys():  # noqa: SIM118 — iterating a Dataset decodes every element
        if tag.group == group and tag.element > 0xFFF and tag.element & 0xFF == element:
            try:
                return dataset[tag].value
            except BROKEN:
                return None
    return None


def _parts(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, str) or not isinstance(value, Iterable):
        return [value]
    return list(value)


def _as_numbers(parts: Sequence[Any]) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        return ()
    return found if all(map(math.isfinite, found)) else ()
