"""What each part of a method contributes: the same run without it, several seeds, one table."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepbrainprint.encoder.anatomy import Anatomy
from deepbrainprint.encoder.objectives import objective_of
from deepbrainprint.encoder.recipe import PUBLISHED, STANDARD, PlaneRecipe, named_recipe
from deepbrainprint.encoder.training import fit
from deepbrainprint.encoder.whitening import whiten
from deepbrainprint.linkage import evaluation
from deepbrainprint.linkage.evaluation import Searches
from deepbrainprint.workflow.anatomies import prepared, sources
from deepbrainprint.workflow.known.people import KnownPeople, fingerprints_of
from deepbrainprint.workflow.training import generated_results, parted, populations

# What differs from the published recipe, so that a study of many runs ends on two cores. LARS with
# the published rates moves a network from scratch too slowly to be told apart after so few steps.
SHORT: dict[str, Any] = {"pixel_mm": 2.5, "optimiser": "adamw", "warmup": 0.02, "check_every": 60}
SPREAD = 7  # mm between planes where there are several

Report = Callable[[str, int, int], None]  # what, done, of how many


@dataclass(frozen=True)
class Study:
    """One question: the variants that answer it, by name, as changes of the recipe."""

    question: str
    variants: Mapping[str, Mapping[str, Any]]


def _around(count: int) -> dict[str, Any]:
    """`count` planes about that of the ventricles."""
    return {"planes": tuple(90 + SPREAD * (n - count // 2) for n in range(count))}


STUDIES = {
    "beta": Study(
        "How should the weight of Barlow Twins fall?",
        {kind: {"beta": kind} for kind in ("linear", "step", "constant")},
    ),
    "transforms": Study(
        "What does each transform contribute?",
        {"all six": {}}
        | {
            f"without {name}": {"transforms": tuple(n for n in PUBLISHED if n != name)}
            for name in PUBLISHED
        }
        | {"standard": {"transforms": STANDARD}, "none": {"transforms": ()}},
    ),
    "input": Study(
        "One slice or several?",
        {f"{count} planes" if count > 1 else "1 plane": _around(count) for count in (1, 3, 7, 13)},
    ),
}


@dataclass(frozen=True)
class Effort:
    """How much is spent on each variant."""

    steps: int = 200
    seeds: int = 3


def study(name: str, data: Path, out: Path, effort: Effort, report: Report) -> dict[str, Any]:
    """Train every variant of a study with several seeds and measure it; a stopped one goes on.

    Writes `out`/`name`.json after every run. Measured on generated people of held-out anatomies and
    on the real people of `data`/manifest.csv who were not learned from.
    """
    asked = STUDIES[name]
    runs = [(variant, seed) for seed in range(1, effort.seeds + 1) for variant in asked.variants]
    bench = _Bench.of(data, out / "cache")
    found: dict[str, list[dict[str, Any]]] = {variant: [] for variant in asked.variants}
    for number, (variant, seed) in enumerate(runs):
        report(f"{variant}, seed {seed}", number, len(runs))
        base = named_recipe("deepbrainprint", steps=effort.steps, seed=seed, **SHORT)
        recipe = replace(base, **asked.variants[variant])
        if not isinstance(recipe, PlaneRecipe):
            raise TypeError(recipe)
        folder = out / name / f"{variant}-{seed}".replace(" ", "-")
        found[variant].append(_run(bench, recipe, folder) | {"seed": seed})
        document = {
            "question": asked.question,
            "recipe": "deepbrainprint",
            "changes": {key: value for key, value in SHORT.items() if key != "check_every"},
            "steps": effort.steps,
            "variants": {v: _summary(results) for v, results in found.items() if results},
        }
        (out / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    report("done", len(runs), len(runs))
    return document


@dataclass(frozen=True)
class _Bench:
    """What all runs of a study share."""

    learned: Sequence[Anatomy]
    held: Sequence[Anatomy]
    known: KnownPeople
    fresh: np.ndarray[tuple[int], np.dtype[np.bool_]]  # scans of `known` not learned from

    @classmethod
    def of(cls, data: Path, cache: Path) -> _Bench:
        found = sources(data, cache)
        form = named_recipe("deepbrainprint").form
        anatomies = dict(zip([s.name for s in found], prepared(found, form), strict=True))
        learned, held = parted(found)
        known = KnownPeople.of(data, cache)
        taught = {s.path for s in learned}
        fresh = np.array([scan.path not in taught for scan in known.scans], dtype=bool)
        return cls(
            [anatomies[s.name] for s in learned], [anatomies[s.name] for s in held], known, fresh
        )


def _run(bench: _Bench, recipe: PlaneRecipe, folder: Path) -> dict[str, Any]:
    done = folder / "result.json"
    if done.is_file():
        result: dict[str, Any] = json.loads(done.read_text())
        return result
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    objective = objective_of(recipe, bench.learned, bench.held)
    network = fit(objective, recipe, folder, lambda *_: None)
    whiten(objective, bench.learned, recipe)
    result = generated_results(populations(objective, bench.held, recipe))
    if bench.known.scans:
        vectors = fingerprints_of(bench.known, network, recipe.form).astype(np.float64)
        # those who were learned from stand in the gallery and ask nothing
        searches = Searches.among(vectors @ vectors.T, bench.known.people, probes=bench.fresh)
        result |= {
            f"real_{key}": float(score(searches).mean())
            for key, score in evaluation.STANDARD.items()
        }
    result["seconds"] = round(time.monotonic() - began, 1)
    done.write_text(json.dumps(result))
    for checkpoint in folder.glob("checkpoint*"):
        checkpoint.unlink()
    return result


def _summary(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean, least and greatest of each figure over the seeds."""
    names = [name for name in results[0] if name.endswith(("rank1", "rank_1", "_at_3"))]
    return {
        name: {
            "mean": float(np.mean([r[name] for r in results])),
            "least": float(min(r[name] for r in results)),
            "most": float(max(r[name] for r in results)),
        }
        for name in names
    } | {"seeds": [r["seed"] for r in results]}
