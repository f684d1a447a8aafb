"""The model card as the service reads it: `card.json` beside `encoder.onnx`. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepbrainprint.errors import Misconfigured

CARD, GRAPH = "card.json", "encoder.onnx"
SHIPPED_VERSION = "first-light-94e8b585"


@dataclass(frozen=True)
class Card:
    """What the service must know of an encoder; the whole document is in `document`."""

    version: str
    planes: tuple[int, ...]  # axial indices on the 1 mm grid, in the order of the input channels
    onnx_sha256: str
    calibration: dict[str, Any]
    document: dict[str, Any]


def shipped() -> Path:
    """Folder of the encoder that comes with the package."""
    return Path(__file__).parent / "weights" / SHIPPED_VERSION


def read_card(folder: Path | None) -> Card:
    """The card in `folder`, or of the shipped encoder; Misconfigured if it cannot be used."""
    path = (folder or shipped()) / CARD
    try:
        document = json.loads(path.read_text())
        return Card(
            version=document["version"],
            planes=tuple(document["planes"]),
            onnx_sha256=document["onnx_sha256"],
            calibration=document["calibration"],
            document=document,
        )
    except FileNotFoundError:
        raise Misconfigured(
            f"{path} is missing: point DBP_ENCODER_PATH at a folder made by `deepbrainprint train`",
            code="encoder_missing",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Misconfigured(
            f"{path} is damaged: copy or train the encoder again", code="encoder_damaged"
        ) from error


def write_card(folder: Path, document: dict[str, Any]) -> Path:
    """Write `document` as the card of `folder`, with the digest of the graph that lies there."""
    path = folder / CARD
    whole = document | {"onnx_sha256": sha256_of(folder / GRAPH)}
    path.write_text(json.dumps(whole, indent=1) + "\n")
    return path


def checked_graph(folder: Path, card: Card) -> Path:
    """The ONNX file of `folder`; Misconfigured when it is missing or not the one of the card."""
    path = folder / GRAPH
    if not path.is_file():
        raise Misconfigured(
            f"{path} is missing: copy or train the encoder again", code="encoder_missing"
        )
    if sha256_of(path) != card.onnx_sha256:
        raise Misconfigured(
            f"{path} does not match the digest in {CARD}: copy or train the encoder again",
            code="encoder_damaged",
        )
    return path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
