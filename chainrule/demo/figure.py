"""The figure: data, components and pulls; as an image, or with characters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .fits import Fit
from .model import HIGH, LOW, FloatArray, background, density


def binned(
    m: FloatArray, s: FloatArray, p: FloatArray, bins: int
) -> tuple[NDArray[np.int64], FloatArray, FloatArray, FloatArray]:
    """Counts, edges, and what the fit expects in each bin: in all, and of background.

    Each event has a resolution of its own; the expectation is the mean over a sample of them.
    """
    counts, edges = np.histogram(m, bins=bins, range=(LOW, HIGH))
    middles = (edges[1:] + edges[:-1]) / 2
    scale = m.size * (edges[1] - edges[0])
    some = np.sort(s)[:: max(1, s.size // 50)]
    everything = np.mean([density(middles, np.full(bins, each), *p) for each in some], axis=0)
    return counts, edges, scale * everything, scale * (1 - p[0]) * background(middles, p[3])


def draw_characters(m: FloatArray, s: FloatArray, fit: Fit, columns: int = 60) -> str:
    """A histogram for the terminal, in rich's markup."""
    counts, edges, expected, _ = binned(m, s, fit.parameters, 40)
    scale = columns / max(counts.max(), expected.max())
    lines = ["Pairs per GeV: [cyan]█[/] data, [red]┃[/] fit"]
    for low, count, curve in zip(edges, counts, expected, strict=False):
        bar = ("█" * round(count * scale)).ljust(columns + 1)
        mark = round(curve * scale)
        before, after = bar[:mark], bar[mark + 1 :].rstrip()
        lines.append(f"{low:5.0f} [cyan]{before}[/][red]┃[/][cyan]{after}[/] [dim]{count}[/]")
    return "\n".join(lines)


def save_figure(path: Path, m: FloatArray, s: FloatArray, fit: Fit) -> None:
    """Data with the fit and its components, and below them the pulls. Raises ImportError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("--plot needs matplotlib: pip install 'chainrule[plot]'") from None

    counts, edges, expected, below = binned(m, s, fit.parameters, 80)
    middles, errors = (edges[1:] + edges[:-1]) / 2, np.sqrt(np.maximum(expected, 1))
    figure = Figure(figsize=(7, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.errorbar(middles, counts, np.sqrt(counts), fmt="k.", markersize=4, label="CMS, Run 2011A")
    upper.plot(middles, expected, "C3-", label="fit")
    upper.fill_between(middles, below, expected, color="C3", alpha=0.2, linewidth=0, label="Z → μμ")
    upper.fill_between(middles, 0, below, color="C0", alpha=0.4, linewidth=0, label="background")
    mass, width = (f"{fit.parameters[i]:.2f} ± {fit.errors[i]:.2f} GeV" for i in (1, 2))
    upper.text(0.03, 0.95, f"$m_Z$ = {mass}\n$\\Gamma_Z$ = {width}", transform=upper.transAxes, va="top")
    upper.set(ylabel=f"pairs per {edges[1] - edges[0]:g} GeV", xlim=(LOW, HIGH), ylim=(0, None))
    upper.legend(frameon=False)
    lower.bar(middles, (counts - expected) / errors, edges[1] - edges[0], color="0.4")
    lower.axhline(0, color="C3", linewidth=1)
    lower.set(xlabel="mass of the muon pair (GeV)", ylabel="pull", ylim=(-4.5, 4.5))
    figure.savefig(path, dpi=150)
