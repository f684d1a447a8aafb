"""The learning curves of a run, as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Metrics = Sequence[Mapping[str, float]]

PANELS = (
    ("pair accuracy", ("pair_accuracy", "held_out_accuracy"), False),
    ("the two branches (logarithmic)", ("barlow_twins", "nt_xent"), True),
    ("schedule", ("beta", "severity"), False),
)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """One mapping for each step; of steps done twice after a kill, the last counts."""
    steps = {}
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        steps[entry["step"]] = entry
    return [steps[step] for step in sorted(steps)]


def plot_curves(metrics: Metrics, path: Path) -> None:
    """Accuracy, losses and schedule over the steps, as PNG."""
    figure = Figure(figsize=(8, 9), layout="constrained")
    for axes, (title, names, logarithmic) in zip(
        figure.subplots(3, sharex=True), PANELS, strict=True
    ):
        for name in names:
            _draw(axes, metrics, name)
        axes.set(title=title, yscale="log" if logarithmic else "linear")
        axes.legend()
        axes.grid(alpha=0.3)
    axes.set_xlabel("step")
    figure.savefig(path, dpi=100)


def _draw(axes: Axes, metrics: Metrics, name: str) -> None:
    steps = [m["step"] for m in metrics if name in m]
    values = np.array([m[name] for m in metrics if name in m])
    dense = len(values) > len(metrics) / 2
    axes.plot(
        steps, smoothed(values) if dense else values, marker=None if dense else ".", label=name
    )


def smoothed(values: np.ndarray[tuple[int], np.dtype[np.float64]], width: int = 15) -> list[float]:
    """Mean over up to `width` neighbours."""
    half = width // 2
    return [float(values[max(0, i - half) : i + half + 1].mean()) for i in range(len(values))]
