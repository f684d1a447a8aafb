"""The figures of an examination beside their limits, with a plain sentence for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deepbrainprint.imaging import plausibility, quality, strip


@dataclass(frozen=True)
class Figure:
    """One measured figure; without limits it is good whatever its value."""

    name: str  # as in `imaging.quality`
    value: float
    label: str
    unit: str = ""
    decimals: int = 2
    least: float | None = None
    most: float | None = None
    meaning: str = ""
    advice: str = ""  # what to do when it is beyond a limit

    @property
    def good(self) -> bool:
        """Whether it lies within its limits."""
        low = self.least is not None and self.value < self.least
        return not low and not (self.most is not None and self.value > self.most)

    @property
    def shown(self) -> str:
        """The value with its unit."""
        return f"{self.value:.{self.decimals}f} {self.unit}".strip()

    @property
    def limits(self) -> str:
        """The limits in words."""
        low, high = (
            "" if bound is None else f"{bound:.{self.decimals}f}"
            for bound in (self.least, self.most)
        )
        if low and high:
            return f"{low} to {high}"
        return f"at least {low}" if low else f"at most {high}" if high else "no limit"


def figures_of(measured: Mapping[str, float]) -> tuple[Figure, ...]:
    """Every figure of `measured` with its explanation, the telling ones first."""
    order = {name: place for place, name in enumerate(_known(0.0))}
    names = sorted(measured, key=lambda name: (order.get(name, len(order)), name))
    return tuple(_explained(name, measured[name]) for name in names)


def _explained(name: str, value: float) -> Figure:
    known = _known(value).get(name)
    return known or Figure(name, value, name.replace("_", " ").capitalize(), decimals=3)


def _known(value: float) -> dict[str, Figure]:
    figures = (*_of_alignment(value), *_of_scan(value))
    return {figure.name: figure for figure in figures}


def _of_alignment(value: float) -> tuple[Figure, ...]:
    return (
        Figure(
            "residual", value, "Residual", most=quality.DOUBTFUL_RESIDUAL,
            meaning="Share of the standard brain that the aligned scan does not explain. 0 is "
            "best; large lesions and wide ventricles raise it.",
            advice="Look whether the blue line follows the brain in the aligned views. If it does "
            "not, send another series of this visit.",
        ),
        Figure(
            "structure", value, "Structure", most=plausibility.MOST_UNLIKE,
            meaning="Share of the standard brain's fine structure that is not in the scan. 0 is "
            "best; what is above the limit is not taken for a brain, unless its outline is that "
            f"of one and this at most {plausibility.MOST_UNLIKE_IN_SHAPE:.2f}.",
            advice="Look whether the aligned views show a brain, and lying straight.",
        ),
        Figure(
            "overlap", value, "Overlap", least=quality.LEAST_OVERLAP,
            meaning="How well the aligned brain mask fills the outline of the standard brain. 1 "
            "is best.",
            advice="Look at the amber line: where it leaves brain out or takes skull in, the mask "
            "is wrong, and another series may do better. After surgery it may be right.",
        ),
        Figure(
            "coverage", value, "Coverage", least=quality.LEAST_COVERAGE,
            meaning="Share of the standard brain that lies inside the images.",
            advice="Send a series that covers the whole brain, if there is one.",
        ),
        Figure(
            "scale", value, "Size", least=quality.SCALES[0], most=quality.SCALES[1],
            meaning="Volume of this brain relative to the standard brain, which is larger than "
            "most.",
            advice="Check the voxel size in the header. A small child's brain may be right.",
        ),
        Figure(
            "stretch", value, "Stretch", most=plausibility.MOST_STRETCH,
            meaning="Longest over shortest stretch that the alignment needed. 1 is none.",
            advice="Check the voxel size in the header, and the blue line in the aligned views.",
        ),
    )  # fmt: skip


def _of_scan(value: float) -> tuple[Figure, ...]:
    return (
        Figure(
            "mask_ml", value, "Brain volume", "ml", 0,
            least=strip.SMALLEST_ML, most=strip.LARGEST_ML,
            meaning="Volume inside the brain mask.",
            advice="Look at the amber line: it should follow the brain.",
        ),
        Figure(
            "noise", value, "Noise", decimals=3, most=quality.MOST_NOISE,
            meaning="Noise relative to the range of grey levels in the brain.",
            advice="Send a less noisy series of this visit, if there is one.",
        ),
        Figure(
            "slice_mm", value, "Longest voxel edge", "mm", most=quality.THICK_MM,
            meaning="Thick slices show less of a person; alone they are noted, not doubted.",
            advice="Thinner slices make the fingerprint surer; nothing has to be done.",
        ),
        Figure(
            "shading", value, "Shading",
            meaning="How unevenly the coil lit the brain, as spread of a logarithm: 0.1 is a "
            "tenth. It has been taken off.",
        ),
        Figure(
            "mask_borrowed", value, "Mask borrowed", decimals=0,
            meaning="1 where the mask is that of another series of the visit, because its own "
            "differed from it.",
        ),
    )  # fmt: skip
