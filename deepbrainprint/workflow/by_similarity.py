"""`similarity` on two inputs, and the thresholds that known people give it (arXiv 2602.10043)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepbrainprint.encoder.card import CARD
from deepbrainprint.errors import BadStudy, Misconfigured
from deepbrainprint.imaging import PREPROCESSING_VERSION
from deepbrainprint.linkage.density import threshold
from deepbrainprint.linkage.evaluation import Floats, Mask
from deepbrainprint.linkage.similarity import MEASURES, similarities
from deepbrainprint.records import Contrast
from deepbrainprint.settings import Settings
from deepbrainprint.workflow.comparing import both
from deepbrainprint.workflow.fingerprinting import FingerprintedScan
from deepbrainprint.workflow.known.manifest import ListedScan, people_of, read_manifest
from deepbrainprint.workflow.known.preparing import prepare
from deepbrainprint.workflow.methods import LEAD, SIMILARITY, BySimilarity

SAME, CROSS = "same_contrast", "cross_contrast"

Progress = Callable[[str, int, int], None]  # what, done, of how many


@dataclass(frozen=True)
class Likeness:
    """How alike two inputs are; `threshold` is None where none was learned for such a pair."""

    words: str
    measure: str
    score: float
    threshold: float | None
    same_contrast: bool
    scores: dict[str, float]


def compare(
    settings: Settings,
    paths: tuple[Path, Path],
    *,
    contrasts: tuple[Contrast | None, Contrast | None] = (None, None),
    png: Path | None = None,
) -> Likeness:
    """Return the most alike scans of two inputs. BadStudy when nothing of either can be used."""
    a, b = both(settings, paths, SIMILARITY, contrasts, png)
    found = [_likeness(one, other, settings) for one in a.scans for other in b.scans]
    return max(found, key=lambda one: one.score)


def _likeness(a: FingerprintedScan, b: FingerprintedScan, settings: Settings) -> Likeness:
    describe = BySimilarity().describe
    scores = similarities(describe(a.alignment.brain), describe(b.alignment.brain))
    known = a.fingerprint.contrast
    same = known is b.fingerprint.contrast and known is not Contrast.OTHER
    cut = _thresholds(settings).get(SAME if same else CROSS, {}).get(LEAD)
    return Likeness(_words(scores[LEAD], cut), LEAD, scores[LEAD], cut, same, scores)


def _words(score: float, cut: float | None) -> str:
    if cut is None:
        return "No threshold was learned for such a pair: `train --recipe similarity` learns them."
    return "The same person." if score > cut else "Two different people."


def _thresholds(settings: Settings) -> Mapping[str, Mapping[str, float]]:
    """Read what `learn` left in the folder of methods; nothing where it was not run."""
    path = (settings.methods_path or Path()) / SIMILARITY / CARD
    if settings.methods_path is None or not path.is_file():
        return {}
    try:
        learned: Mapping[str, Mapping[str, float]] = json.loads(path.read_text())["thresholds"]
    except (ValueError, KeyError, TypeError) as error:
        raise Misconfigured(f"{path} is damaged: learn it again", code="damaged_card") from error
    return learned


def learn(data: Path, out: Path, settings: Settings, progress: Progress) -> Path:
    """Find the threshold of every measure by the densities of known pairs; the folder of its card.

    Reads `data`/manifest.csv and keeps aligned brains in `out`/cache. BadStudy where it lists too
    few pairs of one person.
    """
    listed = read_manifest(data / "manifest.csv")
    cache = out / "cache"
    kept = prepare(
        listed,
        cache,
        workers=1,
        progress=lambda done, total: progress("align", done, total),
        synthstrip=settings.synthstrip_path,
    )
    scans = [scan for scan, one in zip(listed, kept, strict=True) if not one.refusal]
    method = BySimilarity()
    held = [method.describe(one.brain(cache)) for one in kept if not one.refusal]
    matrices = method.compare(held, lambda done: progress("compare", done, len(held)))
    document = {
        "method": SIMILARITY,
        "version": f"{SIMILARITY}-{_digest(scans)}",
        "lattice": method.version,
        "lead": LEAD,
        "preprocessing_version": PREPROCESSING_VERSION,
        "data": {"scans": len(scans), "people": int(people_of(scans).max()) + 1},
        "thresholds": _learned(matrices, scans),
    }
    folder = out / "encoder"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).write_text(json.dumps(document, indent=1) + "\n")
    return folder


def _learned(
    matrices: Mapping[str, Floats], scans: list[ListedScan]
) -> dict[str, dict[str, float]]:
    people = people_of(scans)
    contrasts = np.array([scan.contrast.value for scan in scans])
    once = np.triu(np.ones((len(scans), len(scans)), dtype=bool), k=1)
    one_person = people[:, None] == people[None, :]
    alike = contrasts[:, None] == contrasts[None, :]
    found = {
        name: _by_measure(matrices, once & one_person & kind, once & ~one_person & kind)
        for name, kind in ((SAME, alike), (CROSS, ~alike))
    }
    if not any(found.values()):
        raise BadStudy(
            "no threshold parts the people of this manifest: it lists too few who were scanned "
            "twice (five pairs in one contrast, or in two, are needed)",
            code="too_few_pairs",
        )
    return found


def _by_measure(matrices: Mapping[str, Floats], right: Mask, wrong: Mask) -> dict[str, float]:
    """Return a threshold for each measure that parts the pairs; those that do not are left out."""
    found: dict[str, float] = {}
    for name in MEASURES:
        try:
            found[name] = threshold(matrices[name][right], matrices[name][wrong])
        except ValueError:
            continue
    return found


def _digest(scans: list[ListedScan]) -> str:
    names = "\n".join(sorted(scan.name for scan in scans))
    return hashlib.sha256(names.encode()).hexdigest()[:8]
