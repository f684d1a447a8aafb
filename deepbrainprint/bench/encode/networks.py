"""The encoders that are measured, each in the precisions that its runtimes take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deepbrainprint.bench.encode.views import generated
from deepbrainprint.bench.encode.workload import SEED, Workload
from deepbrainprint.encoder import halves, quantise
from deepbrainprint.encoder.card import GRAPH, Card, checked_graph, read_card, shipped, write_card
from deepbrainprint.encoder.recipe import named_recipe
from deepbrainprint.encoder.untrained import write_untrained
from deepbrainprint.errors import Misconfigured
from deepbrainprint.records import ByteArray, InputForm

PUBLISHED = "deepbrainprint"  # the recipe: one 182×218 slice, ResNet-18
PROBES = 8  # brains on which its features are centred
ANY = -1.0  # no cosine is less: random weights have no fingerprints to spoil, only a speed

Say = Callable[[str], None]


@dataclass(frozen=True)
class Network:
    """One encoder: its folder in full precision, and one for each reduced precision."""

    name: str
    trained: bool
    form: InputForm
    folders: dict[str, Path]
    views: ByteArray  # (judged, *form.shape)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def slices(self) -> int | None:
        """How many slices make one scan; none for volumes."""
        return len(self.form.planes) if self.form.kind == "planes" else None

    def as_json(self) -> dict[str, Any]:
        """What it is, for the document."""
        told = {"name": self.name, "trained": self.trained, "input": asdict(self.form)}
        return told | {"slices_per_scan": self.slices} | self.notes


def chosen_folders(given: Path | None, scratch: Path) -> dict[Path, bool]:
    """Folders of encoders and whether they are trained: the given one, else two of our own."""
    if given is not None:
        return {given: True}
    untrained(scratch / "untrained")
    return {scratch / "untrained": False, shipped(): True}


def untrained(folder: Path) -> None:
    """Write the published recipe's network with random weights to `folder`."""
    recipe = named_recipe(PUBLISHED)
    write_untrained(recipe, generated(recipe.form, PROBES, SEED), folder)


def prepared(folder: Path, scratch: Path, load: Workload, say: Say, *, trained: bool) -> Network:
    """Draw brains for the encoder in `folder` and reduce its graph, in `scratch`."""
    card = read_card(folder)
    say(f"{card.version}: drawing brains, reducing the graph")
    views = generated(card.form, load.seen + load.fresh + load.judged, SEED + 1)
    seen, fresh, judged = views[: load.seen], views[load.seen : -load.judged], views[-load.judged :]
    graph = checked_graph(folder, card)
    reduced = scratch / card.version
    notes: dict[str, Any] = {"graph_bytes": graph.stat().st_size}
    folders = {"fp32": folder, "bf16": folder}
    try:
        least = quantise.AIM if trained else ANY
        found = quantise.int8(graph, seen, fresh, _made(reduced / "int8"), least=least)
        folders["int8"] = _carded(reduced / "int8", card)
        notes["int8"] = asdict(found)
    except Misconfigured as error:
        notes["int8"] = {"why_not": str(error)}
    halves.fp16(graph, _made(reduced / "fp16"))
    folders["fp16"] = _carded(reduced / "fp16", card)
    return Network(card.version, trained, card.form, folders, judged, notes)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder / GRAPH


def _carded(folder: Path, card: Card) -> Path:
    """Give a reduced graph the card of the full one, under its own name."""
    version = f"{card.version}-{folder.name}"
    write_card(folder, card.document | {"version": version})
    return folder
