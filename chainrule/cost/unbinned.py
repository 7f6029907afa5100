"""Likelihoods of single events."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chainrule import api
from chainrule.graph.trace import call_user
from chainrule.graph.where import error, of_function
from chainrule.selection import function_name

from .base import FloatArray, check_shape, float_array
from .masked import MaskedCost
from .parameters import model_parameters
from .plots import plot_density
from .statistics import twice_nll


class UnbinnedCost(MaskedCost):
    """Common to plain and extended likelihoods of events: x of shape (n,), or (k, n) for k variables."""

    def __init__(
        self,
        data: ArrayLike,
        model: Callable[..., Any],
        verbose: int,
        log: bool,
        name: Sequence[str] | None,
    ) -> None:
        super().__init__(model_parameters(model, name), float_array(data, copy=True), verbose)
        self._model = model
        self._log = log
        self._scores: Any = None

    @property
    def ndata(self) -> float:
        return float("inf")

    def _arrays(self) -> Any:
        return self._masked

    @abc.abstractmethod
    def _log_density(self, parameters: Sequence[Any], x: Any) -> Any:
        """log of the model, event by event; for extended likelihoods less each event's share of the integral."""

    def fisher_information(self, *args: Any) -> FloatArray:
        """Σᵢ gᵢ gᵢᵀ with the gradient gᵢ of the log-likelihood of each event: an estimate of the inverse covariance."""
        if self._scores is None:
            count = self.npar

            def log_density(p: Any, x: Any) -> Any:
                return self._log_density([p[i] for i in range(count)], x)

            self._scores = api.jacfwd(log_density)
        scores = self._scores(self._vector(args), np.ascontiguousarray(self._masked))
        information: FloatArray = scores.T @ scores
        return information

    def covariance(self, *args: Any) -> FloatArray:
        """The inverse of the Fisher information."""
        covariance: FloatArray = np.asarray(np.linalg.inv(self.fisher_information(*args)), np.float64)
        return covariance

    @property
    @abc.abstractmethod
    def pdf(self) -> Callable[..., Any]:
        """The density, ``f(x, *parameters)``."""

    @property
    @abc.abstractmethod
    def scaled_pdf(self) -> Callable[..., Any]:
        """The density times the number of events."""

    def visualize(self, args: Sequence[float], model_points: int | Sequence[float] = 0, bins: int = 50) -> None:
        """Draws the histogram of one-dimensional data and the model, with matplotlib."""
        plot_density(self.data, lambda x: np.asarray(self.scaled_pdf(x, *args)), model_points, bins)


class UnbinnedNLL(UnbinnedCost):
    """−2 Σ log pdf(xᵢ): the fit of a density to events.

    ``pdf(x, …)`` is normalised; with ``log=True`` it returns its logarithm. Parameter names come from its signature or
    from ``name``, limits from its annotations.

    >>> import numpy as np
    >>> def exponential(x, tau):
    ...     return np.exp(-x / tau) / tau
    >>> cost = UnbinnedNLL([1.0, 2.0, 6.0], exponential)
    >>> round(cost(3.0), 6), np.round(cost.grad(3.0), 6)
    (12.591674, array([0.]))
    """

    def __init__(
        self,
        data: ArrayLike,
        pdf: Callable[..., Any],
        *,
        verbose: int = 0,
        log: bool = False,
        name: Sequence[str] | None = None,
    ) -> None:
        super().__init__(data, pdf, verbose, log, name)

    def _expression(self, parameters: Sequence[Any], data: Any) -> Any:
        values = check_shape(call_user(self._model, data, *parameters), np.shape(data)[-1:], "model")
        return -2.0 * np.sum(values) if self._log else twice_nll(values)

    def _log_density(self, parameters: Sequence[Any], x: Any) -> Any:
        values = check_shape(call_user(self._model, x, *parameters), np.shape(x)[-1:], "model")
        return values if self._log else np.log(values)

    @property
    def pdf(self) -> Callable[..., Any]:
        return _exponential(self._model) if self._log else self._model

    @property
    def scaled_pdf(self) -> Callable[..., Any]:
        events, density = self.data.shape[-1], self.pdf
        return lambda *args: events * density(*args)


class ExtendedUnbinnedNLL(UnbinnedCost):
    """2 (N − Σ log f(xᵢ)): the fit of a density f and of its integral N, the expected number of events.

    ``scaled_pdf(x, …)`` returns (N, f(x)), or (N, log f(x)) with ``log=True``.

    >>> import numpy as np
    >>> def exponential(x, n, tau):
    ...     return n, n * np.exp(-x / tau) / tau
    >>> cost = ExtendedUnbinnedNLL([1.0, 2.0, 6.0], exponential)
    >>> np.round(cost.grad(3.0, 3.0), 6)
    array([0., 0.])
    """

    def __init__(
        self,
        data: ArrayLike,
        scaled_pdf: Callable[..., Any],
        *,
        verbose: int = 0,
        log: bool = False,
        name: Sequence[str] | None = None,
    ) -> None:
        super().__init__(data, scaled_pdf, verbose, log, name)

    def _evaluated(self, parameters: Sequence[Any], x: Any) -> tuple[Any, Any]:
        result = call_user(self._model, x, *parameters)
        if not isinstance(result, tuple) or len(result) != 2:
            message = f"{function_name(self._model)} must return a pair (integral, density)"
            raise error(TypeError, message, of_function(self._model))
        return result[0], check_shape(result[1], np.shape(x)[-1:], "model, in second position,")

    def _expression(self, parameters: Sequence[Any], data: Any) -> Any:
        expected, values = self._evaluated(parameters, data)
        return 2.0 * expected + (-2.0 * np.sum(values) if self._log else twice_nll(values))

    def _log_density(self, parameters: Sequence[Any], x: Any) -> Any:
        expected, values = self._evaluated(parameters, x)
        return (values if self._log else np.log(values)) - expected / np.shape(x)[-1]

    @property
    def pdf(self) -> Callable[..., Any]:
        def density(*args: Any) -> Any:
            expected, values = self._model(*args)
            return (np.exp(values) if self._log else values) / expected

        return density

    @property
    def scaled_pdf(self) -> Callable[..., Any]:
        def density(*args: Any) -> Any:
            values = self._model(*args)[1]
            return np.exp(values) if self._log else values

        return density


def _exponential(model: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: np.exp(model(*args))
