"""One use case: from a folder of brains to an encoder with its card, ready to be used."""

from __future__ import annotations

import json
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
from deepbrainprint.encoder.model_card import write_model_card
from deepbrainprint.encoder.network import EncoderNetwork
from deepbrainprint.encoder.objectives import objective_of
from deepbrainprint.encoder.population import Population, draw_population
from deepbrainprint.encoder.recipe import Recipe
from deepbrainprint.encoder.training import FRAMEWORK, METRICS, Objective, Report, fit
from deepbrainprint.encoder.whitening import whiten
from deepbrainprint.errors import Misconfigured
from deepbrainprint.imaging import PREPROCESSING_VERSION, reading
from deepbrainprint.linkage import calibration
from deepbrainprint.linkage.calibration import Scores
from deepbrainprint.linkage.evaluation import Searches
from deepbrainprint.records import ByteArray
from deepbrainprint.workflow.anatomies import Source, aligned_brain, prepared, sources
from deepbrainprint.workflow.evidence import Numbers, joined, pair_scores
from deepbrainprint.workflow.known.people import KnownPeople, fingerprints_of, genuine_pairs

HELD_OUT = 6  # the last sixth of each kind of source is never learned from
GROUPS, GROUP_PEOPLE = 6, 60  # generated people for calibration; a group shares its protocols
CURVES, RECIPE = "curves.png", "recipe.json"


def train(
    data: Path, out: Path, recipe: Recipe, report: Report, weights: Path | None = None
) -> Path:
    """Train on `data`/t1w and `data`/labels; the folder of the finished encoder under `out`.

    Aligned brains are cached in out/cache and checkpoints in out/run, so that the same call goes
    on after a kill. Known people in `data`/manifest.csv who were not learned from take part in
    the calibration. With `weights`, those of the paper's authors, nothing is trained: they are
    brought into the form of an encoder, and calibrated. BadStudy when `data` holds nothing to learn
    from; Misconfigured when a run of another recipe lies in `out`, or the weights do not fit.
    """
    recipe = recipe.released() if weights else recipe
    found = sources(data, out / "cache")
    learned, held = parted(found)
    anatomies = dict(zip([s.name for s in found], prepared(found, recipe.form), strict=True))
    known = [anatomies[s.name] for s in learned]
    fresh = [anatomies[s.name] for s in held]

    run, folder = out / "run", out / "encoder"
    run.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    objective = objective_of(recipe, known, fresh)
    if weights is None:
        _claim(run, recipe)
        network = fit(objective, recipe, run, report)
    else:
        objective.adopt(weights)
        network = objective.network.eval()
    whiten(objective, known, recipe)
    exported = export(network, probes(held, recipe), folder / GRAPH)
    metrics = [] if weights else read_metrics(run / METRICS)
    if metrics:
        plot_curves(metrics, folder / CURVES)

    groups = populations(objective, fresh, recipe)
    real, pairs = real_scores(data, out / "cache", {s.path for s in learned}, network, recipe)
    calibrated = calibration.fit([*generated_scores(groups), *real], seed=recipe.seed)
    document = {
        **described_encoder(exported, recipe, folder),
        "data": [described(s, held_out=s in held) for s in found],
        "training": described_run(metrics),
        "results": {
            "generated": generated_results(groups),
            "real_pairs": pairs,
            "of_the_method": objective.results(),
        },
        "calibration": calibrated.to_json(),
    }
    write_card(folder, document)
    write_model_card(folder, document)
    return folder


def _claim(run: Path, recipe: Recipe) -> None:
    """Note whose run this folder is; a run can only go on with the recipe it was begun with."""
    note, wanted = run / RECIPE, json.dumps(recipe.as_json(), indent=1)
    if note.is_file() and note.read_text() != wanted:
        raise Misconfigured(
            f"{run} holds a run of another recipe: give the options it was begun with, "
            "or another --out",
            code="another_run",
        )
    note.write_text(wanted)


def parted(found: Sequence[Source]) -> tuple[list[Source], list[Source]]:
    """(learned from, held out): of each kind the last sixth is held out, at least one."""
    held: list[Source] = []
    for kind in sorted({s.kind for s in found}):
        members = [s for s in found if s.kind == kind]
        held += members[len(members) - max(1, len(members) // HELD_OUT) :]
    return [s for s in found if s not in held], held


def probes(held: Sequence[Source], recipe: Recipe) -> ByteArray:
    """What the network reads of the held-out brains (B, …), on which the export is checked."""
    return np.stack([reading.read(aligned_brain(s), recipe.form) for s in held])


def populations(
    objective: Objective, anatomies: Sequence[Anatomy], recipe: Recipe
) -> list[Population]:
    """Groups of generated people from held-out anatomies."""
    return [
        draw_population(objective, anatomies, people=GROUP_PEOPLE, seed=recipe.seed + group)
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
    vectors = group.vectors[chosen].astype(np.float64)
    return Searches.among(vectors @ vectors.T, group.people[chosen]).ranks()


def real_scores(
    data: Path, cache: Path, learned: set[Path], network: EncoderNetwork, recipe: Recipe
) -> tuple[list[Scores], list[dict[str, Any]]]:
    """Pair scores of the known people who were not learned from, and all their genuine pairs.

    People who were learned from are in the gallery of the pairs' ranks, but not in the scores.
    """
    known = KnownPeople.of(data, cache)
    if not known.scans:
        return [], []
    vectors = fingerprints_of(known, network, recipe.form)
    contrasts = np.unique([s.contrast for s in known.scans], return_inverse=True)[1]
    fresh = np.array([s.path not in learned for s in known.scans])
    scores = pair_scores(vectors[fresh], known.people[fresh], contrasts[fresh], source="real")
    return scores, genuine_pairs(known, vectors)


def described_encoder(exported: Exported, recipe: Recipe, folder: Path) -> dict[str, Any]:
    """What the encoder is; its version is the recipe's name and the start of the graph's digest."""
    return {
        "version": f"{recipe.name}-{sha256_of(folder / GRAPH)[:8]}",
        "method": recipe.method,
        "input": asdict(recipe.form),
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
    if not metrics:
        return {"framework": FRAMEWORK, "weights": "of the paper's authors"}
    return {
        "steps": int(metrics[-1]["step"]),
        "hours": round(metrics[-1]["seconds"] / 3600, 3),
        "cpu_cores": os.cpu_count(),
        "machine": platform.machine(),
        "framework": FRAMEWORK,
        "last": dict(metrics[-1]),
    }
