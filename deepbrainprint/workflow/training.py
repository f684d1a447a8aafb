"""One use case: from a folder of brains to an encoder with its card, ready to be used."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from deepbrainprint.encoder.anatomy import Anatomy
from deepbrainprint.encoder.card import GRAPH, sha256_of, write_card
from deepbrainprint.encoder.curves import plot_curves, read_metrics
from deepbrainprint.encoder.export import Exported, export
from deepbrainprint.encoder.network import EncoderNetwork
from deepbrainprint.encoder.population import Population, draw_population
from deepbrainprint.encoder.recipe import Recipe
from deepbrainprint.encoder.retrieval import right_ranks
from deepbrainprint.encoder.training import FRAMEWORK, METRICS, Report, fit
from deepbrainprint.encoder.whitening import whiten
from deepbrainprint.imaging import PREPROCESSING_VERSION, slices
from deepbrainprint.linkage import calibration
from deepbrainprint.linkage.calibration import Scores
from deepbrainprint.records import ByteArray
from deepbrainprint.workflow.anatomies import Source, aligned_brain, prepared, sources
from deepbrainprint.workflow.evidence import Numbers, joined, pair_scores
from deepbrainprint.workflow.known_people import fingerprints_of, genuine_pairs, known_scans

HELD_OUT = 6  # the last sixth of each kind of source is never learned from
GROUPS, GROUP_PEOPLE = 6, 60  # generated people for calibration; a group shares its protocols
CURVES = "curves.png"


def train(data: Path, out: Path, recipe: Recipe, report: Report) -> Path:
    """Train on `data`/t1w and `data`/labels; the folder of the finished encoder under `out`.

    Aligned brains are cached in out/cache and checkpoints in out/run, so that the same call goes
    on after a kill. Known people in `data`/manifest.csv who were not learned from take part in
    the calibration. BadStudy when `data` holds nothing to learn from.
    """
    found = sources(data, out / "cache")
    learned, held = parted(found)
    anatomies = dict(zip([s.name for s in found], prepared(found), strict=True))
    known = [anatomies[s.name] for s in learned]
    fresh = [anatomies[s.name] for s in held]

    run, folder = out / "run", out / "encoder"
    run.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    network = fit(known, fresh, recipe, run, report)
    whiten(network, known, recipe)
    exported = export(network, probes(held, recipe), folder / GRAPH)
    metrics = read_metrics(run / METRICS)
    plot_curves(metrics, folder / CURVES)

    groups = populations(network, fresh, recipe)
    real, pairs = real_scores(data, out / "cache", {s.path for s in learned}, network, recipe)
    calibrated = calibration.fit([*generated_scores(groups), *real], seed=recipe.seed)
    document = {
        **described_encoder(exported, recipe, folder),
        "data": [described(s, held_out=s in held) for s in found],
        "training": described_run(metrics),
        "results": {"generated": generated_results(groups), "real_pairs": pairs},
        "calibration": calibrated.to_json(),
    }
    write_card(folder, document)
    return folder


def parted(found: Sequence[Source]) -> tuple[list[Source], list[Source]]:
    """(learned from, held out): of each kind the last sixth is held out, at least one."""
    held: list[Source] = []
    for kind in sorted({s.kind for s in found}):
        members = [s for s in found if s.kind == kind]
        held += members[len(members) - max(1, len(members) // HELD_OUT) :]
    return [s for s in found if s not in held], held


def probes(held: Sequence[Source], recipe: Recipe) -> ByteArray:
    """Slices (B, P, 182, 218) of the held-out brains, on which the export is checked."""
    return np.stack([slices.axial(aligned_brain(s), recipe.planes) for s in held])


def populations(
    network: EncoderNetwork, anatomies: Sequence[Anatomy], recipe: Recipe
) -> list[Population]:
    """Groups of generated people from held-out anatomies."""
    return [
        draw_population(network, anatomies, recipe, people=GROUP_PEOPLE, seed=recipe.seed + group)
        for group in range(1, GROUPS + 1)
    ]


def generated_scores(groups: Sequence[Population]) -> list[Scores]:
    """Pair scores of the generated people; a person's number is unique over all groups."""
    return joined(
        [
            pair_scores(g.vectors, g.people + GROUP_PEOPLE * i, g.contrasts, source="generated")
            for i, g in enumerate(groups)
        ]
    )


def generated_results(groups: Sequence[Population]) -> dict[str, Any]:
    """Rank-1 of a scan among the scans of its group: the first contrast, then the other two.

    Every person has two scans in the first contrast and one in each of the other two.
    """
    ranks = {
        name: np.concatenate([_ranks(group, same=same) for group in groups])
        for name, same in (("same_contrast", True), ("cross_contrast", False))
    }
    rank1 = {f"{name}_rank1": float((found == 1).mean()) for name, found in ranks.items()}
    people = {"people": GROUP_PEOPLE * len(groups), "gallery_people": GROUP_PEOPLE}
    return {**people, **rank1}


def _ranks(group: Population, *, same: bool) -> Numbers:
    chosen = (group.contrasts == 0) == same
    return right_ranks(group.vectors[chosen], group.people[chosen])


def real_scores(
    data: Path, cache: Path, learned: set[Path], network: EncoderNetwork, recipe: Recipe
) -> tuple[list[Scores], list[dict[str, Any]]]:
    """Pair scores of the known people who were not learned from, and all their genuine pairs.

    People who were learned from are in the gallery of the pairs' ranks, but not in the scores.
    """
    scans = known_scans(data)
    if not scans:
        return [], []
    vectors = fingerprints_of(scans, network, recipe.planes, cache)
    people = np.unique([s.subject for s in scans], return_inverse=True)[1]
    contrasts = np.unique([s.contrast for s in scans], return_inverse=True)[1]
    fresh = np.array([s.path not in learned for s in scans])
    scores = pair_scores(vectors[fresh], people[fresh], contrasts[fresh], source="real")
    return scores, genuine_pairs(scans, vectors, people)


def described_encoder(exported: Exported, recipe: Recipe, folder: Path) -> dict[str, Any]:
    """What the encoder is; its version is the recipe's name and the start of the graph's digest."""
    return {
        "version": f"{recipe.name}-{sha256_of(folder / GRAPH)[:8]}",
        "planes": list(recipe.planes),
        "preprocessing_version": PREPROCESSING_VERSION,
        "graph": asdict(exported),
        "recipe": recipe.as_json(),
    }


def described(source: Source, *, held_out: bool) -> dict[str, str]:
    """A source as the card names it."""
    role = "held out" if held_out else "learned from"
    return {"name": source.name, "sha256": source.sha256, "role": role}


def described_run(metrics: Sequence[dict[str, float]]) -> dict[str, Any]:
    """How long the run took, on what, and where its curves ended."""
    checks = [m["held_out_accuracy"] for m in metrics if "held_out_accuracy" in m]
    return {
        "steps": int(metrics[-1]["step"]),
        "hours": round(metrics[-1]["seconds"] / 3600, 3),
        "cpu_cores": os.cpu_count(),
        "machine": platform.machine(),
        "framework": FRAMEWORK,
        "final_held_out_accuracy": checks[-1] if checks else None,
    }
