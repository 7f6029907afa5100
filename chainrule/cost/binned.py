"""Likelihoods of histograms, also of weighted ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.graph.trace import call_user
from chainrule.graph.where import error

from .base import FloatArray, check_shape, float_array
from .masked import MaskedCost, excluded
from .normalise import PANEL, nodes
from .parameters import model_parameters
from .plots import plot_histogram
from .statistics import multinomial_chi2, poisson_chi2

UsePdf = Literal["", "approximate", "numerical"]


class BinnedCost(MaskedCost):
    """Common to plain and extended likelihoods of histograms.

    ``n`` are the counts, of shape (bins, …), or (bins, …, 2) with sums of weights and of squared weights; ``xe`` the
    edges, one array for each axis. ``model(x, …)`` is a cumulative distribution; x has shape (m,), or (axes, m). With
    ``use_pdf`` it is a density, integrated over each bin by the midpoint (``"approximate"``) or, in one dimension, by
    Gauss–Legendre quadrature (``"numerical"``).

    Weighted counts are scaled to the Poisson counts of the same relative error, as in Bohm & Zech,
    Nucl. Instrum. Meth. A 748 (2014) 1.
    """

    def __init__(
        self,
        n: ArrayLike,
        xe: Any,
        model: Callable[..., Any],
        verbose: int,
        use_pdf: UsePdf,
        name: Sequence[str] | None,
    ) -> None:
        if use_pdf not in ("", "approximate", "numerical"):
            raise error(ValueError, f"use_pdf={use_pdf!r} is not understood; it is '', 'approximate' or 'numerical'")
        if not isinstance(xe, Iterable):
            raise error(ValueError, "xe must be the bin edges, or a sequence of them for each axis")
        edges = list(xe)
        axes = [float_array(e) for e in edges] if edges and np.ndim(edges[0]) else [float_array(edges)]
        counts = float_array(n, copy=True)
        weighted = counts.ndim == len(axes) + 1 and counts.shape[-1] == 2
        if counts.ndim != len(axes) + weighted:
            raise error(ValueError, f"n has {counts.ndim} dimensions, but xe names {len(axes)}")
        for i, axis in enumerate(axes):
            if len(axis) != counts.shape[i] + 1:
                given = f"{counts.shape[i]} counts and {len(axis)} edges"
                raise error(ValueError, f"along axis {i} there are {given}; edges are one more")
        if use_pdf == "numerical" and len(axes) > 1:
            raise error(ValueError, 'use_pdf="numerical" is for one-dimensional histograms')
        super().__init__(model_parameters(model, name), counts, verbose)
        self._axes = axes
        self._weighted = weighted
        self._model = model
        self._use_pdf = use_pdf

    @property
    def n(self) -> NDArray[Any]:
        """The counts, also those that are masked out."""
        return self.data

    @n.setter
    def n(self, value: ArrayLike) -> None:
        self.data = value

    @property
    def xe(self) -> Any:
        """The edges: one array, or a tuple of them."""
        return self._axes[0] if len(self._axes) == 1 else tuple(self._axes)

    @property
    def ndata(self) -> float:
        return float(np.prod(self._masked.shape[: len(self._axes)]))

    def prediction(self, args: Sequence[float]) -> FloatArray:
        """The expected counts."""
        data = self._arrays()
        return np.asarray(self._expected([float(a) for a in args], data))

    def pulls(self, args: Sequence[float]) -> FloatArray:
        """(n − expected)/error in each bin; NaN where the error is zero or the bin is masked."""
        if self._weighted:
            n, deviation = self.data[..., 0].copy(), np.sqrt(self.data[..., 1])
        else:
            n, deviation = self.data.copy(), np.sqrt(self.data)
        left_out = excluded(self.mask, n.shape[0]).reshape(-1, *[1] * (n.ndim - 1))
        n[(deviation == 0) | left_out] = np.nan
        with np.errstate(invalid="ignore", divide="ignore"):
            pulls: FloatArray = (n - self.prediction(args)) / deviation
        return pulls

    def visualize(self, args: Sequence[float], bins: int = 0) -> None:
        """Draws a one-dimensional histogram and the expected counts, with matplotlib."""
        if len(self._axes) > 1:
            raise error(ValueError, "visualize draws one-dimensional histograms")
        counts = self.data[..., 0] if self._weighted else self.data
        errors = np.sqrt(self.data[..., 1] if self._weighted else self.data)
        left_out = excluded(self.mask, len(counts))
        plot_histogram(self._axes[0], counts, errors, self.prediction(args), left_out)

    # --- the expression ---

    def _arrays(self) -> dict[str, Any]:
        counts = self._masked[..., 0] if self._weighted else self._masked
        data: dict[str, Any] = {"counts": counts, "n": counts, "total": float(counts.sum())}
        data |= self._points()
        if self._weighted:
            data["scale"] = scale = _bohm_zech_scale(self._masked)
            data["n"] = counts * scale
        if self._indices is not None:
            data["used"] = self._indices
        return data

    def _points(self) -> dict[str, Any]:
        """Where the model is evaluated, and the widths or weights that integrate a density."""
        if self._use_pdf == "numerical":
            x, weights = nodes(self._axes[0], PANEL)
            return {"x": x.reshape(-1), "weights": weights}
        if self._use_pdf == "approximate":
            widths = [np.diff(axis) for axis in self._axes]
            middle = [axis[:-1] + 0.5 * width for axis, width in zip(self._axes, widths, strict=True)]
            volume = np.prod(np.array(np.meshgrid(*widths, indexing="ij")), axis=0)
            return {"x": self._grid(middle), "weights": volume}
        return {"x": self._grid(self._axes)}

    def _grid(self, axes: Sequence[FloatArray]) -> FloatArray:
        if len(axes) == 1:
            return axes[0]
        return np.stack([x.reshape(-1) for x in np.meshgrid(*axes, indexing="ij")])

    def _integrals(self, parameters: Sequence[Any], data: dict[str, Any]) -> Any:
        """The model's integral over each bin, masked ones included."""
        bins = tuple(len(axis) - 1 for axis in self._axes)
        values = check_shape(call_user(self._model, data["x"], *parameters), np.shape(data["x"])[-1:], "model")
        if self._use_pdf == "numerical":
            return np.sum(np.reshape(values, np.shape(data["weights"])) * data["weights"], axis=1)
        if self._use_pdf == "approximate":
            return np.reshape(values, bins) * data["weights"]
        values = np.reshape(values, tuple(b + 1 for b in bins))
        for axis in range(len(bins)):
            values = np.diff(values, axis=axis)
        return np.maximum(values, 0.0)  # rounding may make a difference of equal values negative

    def _expected(self, parameters: Sequence[Any], data: dict[str, Any]) -> Any:
        return self._integrals(parameters, data)

    def _compared(self, parameters: Sequence[Any], data: dict[str, Any]) -> Any:
        """The expected counts of the bins that are used, in the scale of ``data["n"]``."""
        expected = self._expected(parameters, data)
        if "used" in data:
            expected = expected[data["used"]]
        return expected * data["scale"] if "scale" in data else expected


class BinnedNLL(BinnedCost):
    """The fit of a normalised distribution to a histogram; see ``BinnedCost`` for the arguments.

    >>> import numpy as np
    >>> def cdf(x, tau):
    ...     return 1 - np.exp(-x / tau)
    >>> cost = BinnedNLL([50, 30, 20], [0.0, 1.0, 2.0, 3.0], cdf)
    >>> round(cost(2.0), 6)
    50.619823
    """

    def __init__(
        self,
        n: ArrayLike,
        xe: Any,
        cdf: Callable[..., Any],
        *,
        verbose: int = 0,
        use_pdf: UsePdf = "",
        name: Sequence[str] | None = None,
    ) -> None:
        super().__init__(n, xe, cdf, verbose, use_pdf, name)

    @property
    def cdf(self) -> Callable[..., Any]:
        """The model."""
        return self._model

    def _expected(self, parameters: Sequence[Any], data: dict[str, Any]) -> Any:
        """Probabilities, among the bins that are used, times all counts."""
        p = self._integrals(parameters, data)
        if "used" in data:
            p = p / np.sum(p[data["used"]])
        return p * data["total"]

    def _expression(self, parameters: Sequence[Any], data: Any) -> Any:
        statistic = poisson_chi2 if self._weighted else multinomial_chi2
        return statistic(data["n"], self._compared(parameters, data))


class ExtendedBinnedNLL(BinnedCost):
    """The fit of a distribution and of the expected number of entries to a histogram; see ``BinnedCost``.

    ``scaled_cdf`` is the cumulative distribution times the expected number.

    >>> import numpy as np
    >>> def cdf(x, n, tau):
    ...     return n * (1 - np.exp(-x / tau))
    >>> cost = ExtendedBinnedNLL([50, 30, 20], [0.0, 1.0, 2.0, 3.0], cdf)
    >>> np.round(cost.grad(130.0, 2.0), 4)
    array([ 0.0153, -1.4357])
    """

    def __init__(
        self,
        n: ArrayLike,
        xe: Any,
        scaled_cdf: Callable[..., Any],
        *,
        verbose: int = 0,
        use_pdf: UsePdf = "",
        name: Sequence[str] | None = None,
    ) -> None:
        super().__init__(n, xe, scaled_cdf, verbose, use_pdf, name)

    @property
    def scaled_cdf(self) -> Callable[..., Any]:
        """The model."""
        return self._model

    def _expression(self, parameters: Sequence[Any], data: Any) -> Any:
        return poisson_chi2(data["n"], self._compared(parameters, data))


def _bohm_zech_scale(counts: NDArray[Any]) -> FloatArray:
    """|Σw|/Σw² in each bin; bins without entries get the median of the others."""
    value, variance = counts[..., 0], counts[..., 1]
    scale = np.zeros_like(value)
    filled = variance > 0
    scale[filled] = np.abs(value[filled]) / variance[filled]
    scale[~filled] = np.median(scale[filled]) if filled.any() else 1.0
    return scale


