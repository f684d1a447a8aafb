"""The model card that people read, written from the one that the service reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MODEL_CARD = "MODEL_CARD.md"
WARNING = (
    "**Research use. Not a medical device.** What it does on other scanners, on children, after "
    "surgery or with large lesions has not been measured. A person should confirm what follows "
    "from it."
)
PURPOSE = {
    "deepbrainprint": "DeepBrainPrint (arXiv 2302.13057): a ResNet-18 over axial planes, two "
    "branches of loss.",
    "brain-id": "Brain-ID (arXiv 2311.16914): dense features that do not depend on the contrast, "
    "pooled into a fingerprint. The pooling is this project's; the paper identifies nobody.",
    "anatcl": "AnatCL (arXiv 2408.07079): a 3D ResNet-18 over a map of grey matter, drawn towards "
    "brains of like anatomy and age. The paper identifies nobody.",
}
DEPARTURES = {
    "deepbrainprint": (
        "No ImageNet weights were to be had: all layers are learned from scratch, none is frozen.",
        (
            "No ADNI: people are generated from the anatomies below, two scans of each in a "
            "batch, so that every anchor has a positive."
        ),
        (
            "What is kept is the last state; the published early stop compares losses whose "
            "weights change from epoch to epoch."
        ),
    ),
    "brain-id": (
        "A smaller network on coarser voxels than the paper's (see the recipe), for two cores.",
        "Anatomies are the label maps and brains below, not six cohorts.",
    ),
    "anatcl": (
        "Maps of grey matter come from this project's own segmentation, not from CAT12.",
        (
            "Descriptors are volumes and thickness proxies of template blocks, not FreeSurfer's "
            "cortical parcels, and people, with their ages, are generated."
        ),
    ),
}


def write_model_card(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write MODEL_CARD.md from a finished card document."""
    method = document["method"]
    parts = [
        f"# {document['version']}",
        PURPOSE[method],
        WARNING,
        "## What differs from the paper",
        _bullets(DEPARTURES[method]),
        "## Data",
        _data(document["data"]),
        "## Training",
        _training(document),
        "## Measured",
        _results(document["results"]),
    ]
    path = folder / MODEL_CARD
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _data(sources: Sequence[Mapping[str, str]]) -> str:
    rows = [f"| {s['name']} | {s['role']} | {s['sha256'][:12]} |" for s in sources]
    return "\n".join(["| file | role | SHA-256 begins |", "|---|---|---|", *rows])


def _training(document: Mapping[str, Any]) -> str:
    run, recipe, graph = document["training"], document["recipe"], document["graph"]
    told = ", ".join(f"{name} {value}" for name, value in recipe.items() if name != "name")
    if "steps" in run:
        spent = (
            f"{run['steps']} steps in {60 * run['hours']:.0f} minutes of training on "
            f"{run['cpu_cores']} {run['machine']} cores, {run['framework']}. Curves: `curves.png`."
        )
    else:
        spent = f"Nothing was trained: the weights are {run['weights']}."
    kept = (
        f"`encoder.onnx`: {graph['precision']} weights, {graph['size_bytes'] / 1e6:.1f} MB, least "
        f"cosine with torch in single precision {graph['parity']:.6f}."
    )
    return f"{spent}\n\n{kept}\n\nRecipe `{recipe['name']}`: {told}."


def _results(results: Mapping[str, Any]) -> str:
    made = results["generated"]
    words = (
        f"Of {made['people']} generated people of held-out anatomies, in galleries of "
        f"{made['gallery_people']}, the right one comes first in "
        f"{100 * made['same_contrast_rank1']:.1f} % of searches in one contrast and "
        f"{100 * made['cross_contrast_rank1']:.1f} % across contrasts."
    )
    own = results.get("of_the_method", {})
    if own:
        told = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in own.items())
        words += f" On held-out people: {told}."
    pairs = results["real_pairs"]
    if not pairs:
        return words
    rows = [
        f"| {p['first']} | {p['second']} | {p['similarity']:.3f} | {p['rank']} / {p['rank_back']} |"
        for p in pairs
    ]
    head = ["| scan | scan of the same person | cosine | rank there / back |", "|---|---|---|---|"]
    return "\n".join([words, "", "Real people, who were not learned from:", "", *head, *rows])
