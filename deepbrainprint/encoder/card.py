"""The model card as the service reads it: `card.json` beside `encoder.onnx`. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepbrainprint.errors import Misconfigured
from deepbrainprint.records import InputForm

CARD, GRAPH, WEIGHTS = "card.json", "encoder.onnx", "encoder.safetensors"
SHIPPED_VERSION = "first-light-94e8b585"
METHODS = ("deepbrainprint", "brain-id", "anatcl")  # published ones that have weights
SHIPPED_METHODS: dict[str, str] = {}  # of those, the versions that come with the package
KINDS = ("planes", "volume", "grey")


@dataclass(frozen=True)
class Card:
    """What the service must know of an encoder; the whole document is in `document`."""

    version: str
    form: InputForm  # what it reads of a brain
    onnx_sha256: str
    calibration: dict[str, Any]
    document: dict[str, Any]


def shipped() -> Path:
    """Folder of the encoder that comes with the package."""
    return Path(__file__).parent / "weights" / SHIPPED_VERSION


def folder_of(method: str, own: Path | None) -> Path:
    """Folder of a published method's encoder: below `own` by its name, else as shipped.

    Misconfigured, saying how to get one, where there is none.
    """
    if own is not None and (own / method / CARD).is_file():
        return own / method
    if method in SHIPPED_METHODS:
        return Path(__file__).parent / "weights" / SHIPPED_METHODS[method]
    raise Misconfigured(
        f"{method} has no weights here: run `deepbrainprint train --recipe {method}`, put what it "
        f"makes in a folder {method}/ and point DBP_METHODS_PATH at the folder above",
        code="no_weights",
    )


def read_card(folder: Path | None) -> Card:
    """The card in `folder`, or of the shipped encoder; Misconfigured if it cannot be used."""
    path = (folder or shipped()) / CARD
    try:
        document = json.loads(path.read_text())
        return Card(
            version=document["version"],
            form=_form(document),
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


def _form(document: dict[str, Any]) -> InputForm:
    if "input" not in document:  # cards before there were volumes
        return InputForm(planes=tuple(document["planes"]))
    told = document["input"]
    if told["kind"] not in KINDS:
        raise ValueError(f"{told['kind']} is no kind of input")
    return InputForm(told["kind"], tuple(told["planes"]), float(told["step_mm"]))


def write_card(folder: Path, document: dict[str, Any]) -> Path:
    """Write `document` as the card of `folder`, with the digests of what lies there."""
    path = folder / CARD
    whole = document | {"onnx_sha256": sha256_of(folder / GRAPH)}
    if (folder / WEIGHTS).is_file():
        whole["weights_sha256"] = sha256_of(folder / WEIGHTS)
    path.write_text(json.dumps(whole, indent=1) + "\n")
    return path


def checked_graph(folder: Path, card: Card) -> Path:
    """The ONNX file of `folder`; Misconfigured when it is missing or not the one of the card."""
    return _checked(folder / GRAPH, card.onnx_sha256)


def checked_weights(folder: Path, card: Card) -> Path:
    """The safetensors of `folder`; Misconfigured when missing or not those of the card."""
    return _checked(folder / WEIGHTS, card.document.get("weights_sha256"))


def _checked(path: Path, digest: str | None) -> Path:
    if not path.is_file():
        raise Misconfigured(
            f"{path} is missing: copy or train the encoder again", code="encoder_missing"
        )
    if sha256_of(path) != digest:
        raise Misconfigured(
            f"{path} does not match the digest in {CARD}: copy or train the encoder again",
            code="encoder_damaged",
        )
    return path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
