"""Simple drawings of data and model on matplotlib's current axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.graph.where import error

Array = NDArray[Any]
POINTS = 200


def plot_density(data: Array, density: Callable[[Array], Array], points: int | Sequence[float], bins: int) -> None:
    """A histogram of the data with √n errors, and the density (in events per unit of x) filled below it."""
    from matplotlib import pyplot

    if data.ndim > 1:
        raise error(ValueError, "visualize draws one-dimensional data")
    x = _abscissas(points, data)
    counts, edges = np.histogram(data, bins=bins, range=(x[0], x[-1]))
    middle, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    pyplot.errorbar(middle, counts, np.sqrt(counts), fmt="ok", markersize=3)
    pyplot.fill_between(x, 0, density(x) * width, color="C0", alpha=0.5)


def plot_histogram(edges: Array, counts: Array, errors: Array, expected: Array, left_out: Array) -> None:
    """Counts with errors (hollow where they are left out), and the expected counts as steps."""
    from matplotlib import pyplot

    middle = (edges[1:] + edges[:-1]) / 2
    for chosen, face in ((~left_out, "k"), (left_out, "none")):
        if chosen.any():
            pyplot.errorbar(
                middle[chosen], counts[chosen], errors[chosen], fmt="o", color="k", markerfacecolor=face, markersize=3
            )
    pyplot.stairs(expected, edges, fill=True, color="C0", alpha=0.5)


def plot_points(
    x: Array, y: Array, errors: Array, curve: Callable[[Array], Array], points: int | Sequence[float]
) -> None:
    """Points with errors, and the curve."""
    from matplotlib import pyplot

    pyplot.errorbar(x, y, errors, fmt="ok", markersize=3)
    fine = _abscissas(points, x)
    pyplot.plot(fine, curve(fine))


def _abscissas(points: int | Sequence[float], data: Array) -> Array:
    if isinstance(points, (int, np.integer)):
        return np.linspace(data.min(), data.max(), int(points) or POINTS)
    return np.asarray(points, float)
