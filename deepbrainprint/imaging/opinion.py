"""What is known of a series when it is classified, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepbrainprint.imaging.geometry import Geometry
from deepbrainprint.imaging.headers import ImageHeader, Pulse
from deepbrainprint.records import Contrast

UNKNOWN = 0.2


@dataclass(frozen=True)
class Opinion:
    """What a series was taken for."""

    contrast: Contrast
    confidence: float  # 0…1
    reason: str
    usable: bool = False

    @property
    def unknown(self) -> bool:
        """Nothing speaks for or against a structural image."""
        return self.contrast is Contrast.OTHER and self.confidence <= UNKNOWN


@dataclass(frozen=True)
class Evidence:
    """What the rules look at."""

    headers: Sequence[ImageHeader]
    kinds: frozenset[str]  # values of Image Type that most instances have
    pulse: Pulse
    geometry: Geometry
    hint: Contrast | None
    echoes: int = 1  # different echo times in the whole series

    @property
    def first(self) -> ImageHeader:
        """A header that stands for the series."""
        return self.headers[0]


def timings(pulse: Pulse) -> str:
    """The timings in words, e.g. `TE 96 ms, TR 5200 ms, 2D`."""
    named = {"TE": pulse.echo_ms, "TR": pulse.repetition_ms, "TI": pulse.inversion_ms}
    words = [f"{name} {value:.4g} ms" for name, value in named.items() if value is not None]
    return ", ".join([*words, "3D" if pulse.volumetric else "2D"])
