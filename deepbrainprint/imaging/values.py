"""Values out of a DICOM data set whatever state they are in: blank, absent, wrong or in a list."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

# what pydicom raises for files and values that break PS3.5
BROKEN = (InvalidDicomError, OSError, EOFError, ValueError, TypeError, KeyError, AttributeError,
          IndexError, NotImplementedError, OverflowError, LookupError, RecursionError,
          struct.error, zlib.error)  # fmt: skip


def _value(dataset: Dataset, keyword: str) -> Any:
    try:
        return dataset.get(keyword)
    except BROKEN:
        return None


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    value = _value(dataset, keyword)
    return list(value) if isinstance(value, pydicom.Sequence) else []


def _parts(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, str) or not isinstance(value, Iterable):
        return [value]
    return list(value)


def text(dataset: Dataset, keyword: str) -> str:
    return "\\".join(str(part) for part in _parts(_value(dataset, keyword))).strip("\0 ")


def words(dataset: Dataset, keyword: str) -> frozenset[str]:
    return frozenset(text(dataset, keyword).upper().split("\\")) - {""}


def first_words(layers: Iterable[Dataset], keyword: str) -> frozenset[str]:
    return next((words for layer in layers if (words := words(layer, keyword))), frozenset())


def numbers(layers: Iterable[Dataset], *keywords: str) -> tuple[float, ...]:
    """The finite numbers of the first of `keywords` that holds nothing else."""
    for layer in layers:
        for keyword in keywords:
            if numbers := _as_numbers(_parts(_value(layer, keyword))):
                return numbers
    return ()


def _as_numbers(parts: Sequence[Any]) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()


def number(layers: Sequence[Dataset], *keywords: str) -> float | None:
    return next(iter(numbers(layers, *keywords)), None)


def positive(layers: Sequence[Dataset], *keywords: str) -> float | None:
    number = number(layers, *keywords)
    return number if number and number > 0 else None


def whole(dataset: Dataset, keyword: str, *, default: int = 0) -> int:
    number = number([dataset], keyword)
    return int(number) if number is not None else default
