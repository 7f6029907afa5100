"""Densities from shapes whose integral has no closed form."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.graph.trace import call_user
from chainrule.graph.where import error
from chainrule.selection import function_name

from .base import FloatArray, float_array

PANEL = 16  # nodes on each interval: exact for polynomials up to degree 31


def normalised(
    shape: Callable[..., Any],
    *,
    over: tuple[float, float] | None = None,
    panels: int = 8,
    sample: ArrayLike | None = None,
    volume: float = 1.0,
) -> Callable[..., Any]:
    """The density shape(x, …)/∫ shape(x, …) dx, with the signature of ``shape``.

    The integral is taken ``over`` the interval (low, high) by Gauss–Legendre quadrature with 16 nodes on each of
    ``panels`` parts of it, or as the mean over a ``sample`` that is uniform in phase space (shape (n,) or (k, n)),
    times its ``volume``. It is part of the program: derivatives include it, and as it does not depend on the event it
    is computed once a call.

    >>> import numpy as np
    >>> def peak(x, mu):
    ...     return np.exp(-(x - mu)**2 / 2)
    >>> density = normalised(peak, over=(-40.0, 40.0), panels=20)
    >>> round(float(density(0.0, 0.0) * np.sqrt(2 * np.pi)), 12)
    1.0
    """
    if (over is None) == (sample is None):
        raise error(ValueError, "normalised takes over=(low, high) or sample=…, one of them")
    weights: NDArray[Any] | float
    if over is not None:
        low, high = map(float, over)
        if not (np.isfinite(low) and np.isfinite(high) and low < high) or panels < 1:
            raise error(ValueError, f"over={over!r} must be a finite interval (low, high), and panels at least 1")
        places, weights = (a.reshape(-1) for a in nodes(np.linspace(low, high, panels + 1), PANEL))
    else:
        places = float_array(sample)
        weights = volume / places.shape[-1]

    def density(x: Any, *parameters: Any) -> Any:
        integral = np.sum(call_user(shape, places, *parameters) * weights)
        return call_user(shape, x, *parameters) / integral

    density.__name__ = density.__qualname__ = function_name(shape)
    density.__doc__ = f"{function_name(shape)}, normalised."
    with suppress(TypeError, ValueError):
        density.__signature__ = inspect.signature(shape, eval_str=True)  # type: ignore[attr-defined]
    return density


def nodes(edges: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """(nodes, weights) of Gauss–Legendre quadrature between the edges, each of shape (len(edges) − 1, count)."""
    x, w = np.polynomial.legendre.leggauss(count)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1] + edges[1:])[:, None] / 2 + half * x, half * w
