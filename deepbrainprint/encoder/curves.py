"""The learning curves of a run, as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Metrics = Sequence[Mapping[str, float]]

ACCURACY = ("accuracy", "correlation", "ssim")  # how names of figures end that are shares
SCHEDULE = ("beta", "severity")
BOOKKEEPING = ("step", "seconds", "elapsed", "skipped")


def read_metrics(path: Path) -> list[dict[str, float]]:
    """One mapping for each step; of steps done twice after a kill, the last counts."""
    steps = {}
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        steps[entry["step"]] = entry
    return [steps[step] for step in sorted(steps)]


def plot_curves(metrics: Metrics, path: Path) -> None:
    """Accuracy, losses and schedule over the steps, as PNG."""
    names = dict.fromkeys(name for entry in metrics for name in entry if name not in BOOKKEEPING)
    panels = {
        "how well it does": [n for n in names if n.endswith(ACCURACY)],
        "losses (logarithmic)": [n for n in names if not n.endswith((*ACCURACY, *SCHEDULE))],
        "schedule": [n for n in names if n in SCHEDULE],
    }
    shown = {title: held for title, held in panels.items() if held}
    figure = Figure(figsize=(8, 3 * len(shown)), layout="constrained")
    all_axes = np.ravel(figure.subplots(len(shown), sharex=True))
    for axes, (title, held) in zip(all_axes, shown.items(), strict=True):
        for name in held:
            _draw(axes, metrics, name)
        axes.set(title=title, yscale="log" if "logarithmic" in title else "linear")
        axes.legend()
        axes.grid(alpha=0.3)
    all_axes[-1].set_xlabel("step")
    figure.savefig(path, dpi=100)


def _draw(axes: Axes, metrics: Metrics, name: str) -> None:
    steps = [m["step"] for m in metrics if name in m]
    values = np.array([m[name] for m in metrics if name in m])
    dense = len(values) > len(metrics) / 2
    shown = smoothed(values) if dense else values
    axes.plot(steps, shown, marker=None if dense else ".", label=name.replace("_", " "))


def smoothed(values: np.ndarray[tuple[int], np.dtype[np.float64]], width: int = 15) -> list[float]:
    """Mean over up to `width` neighbours."""
    half = width // 2
    return [float(values[max(0, i - half) : i + half + 1].mean()) for i in range(len(values))]
