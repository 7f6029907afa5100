"""What is known about parameters from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chainrule.graph import where

from .base import Cost, FloatArray, float_array


class NormalConstraint(Cost):
    """(p − value)ᵀ C⁻¹ (p − value): normally distributed knowledge about parameters.

    ``error`` is a standard deviation for each parameter, or their covariance matrix.

    >>> constraint = NormalConstraint(["a", "b"], [1.0, 2.0], [0.5, 0.1])
    >>> round(constraint(1.5, 2.1), 12)
    2.0
    """

    def __init__(self, args: str | Iterable[str], value: ArrayLike, error: ArrayLike) -> None:
        names = (args,) if isinstance(args, str) else tuple(args)
        self._expected = float_array(value, copy=True)
        if len(set(names)) < len(names):
            raise _error(f"a parameter is named twice in {names}")
        if self._expected.shape != (len(names),):
            raise _error(f"{len(names)} parameters need as many values, not {np.shape(value)}")
        self._covariance = _covariance(float_array(error, copy=True), len(names))
        super().__init__(dict.fromkeys(names))

    @property
    def ndata(self) -> float:
        return float(len(self._expected))

    @property
    def value(self) -> FloatArray:
        """The expected values. Assign to change them."""
        return self._expected

    @value.setter
    def value(self, value: ArrayLike) -> None:
        self._expected = np.array(np.broadcast_to(float_array(value), self._expected.shape))
        self._changed()

    @property
    def covariance(self) -> FloatArray:
        """The covariance matrix, or the variances. Assign to change it."""
        return self._covariance

    @covariance.setter
    def covariance(self, value: ArrayLike) -> None:
        given = float_array(value, copy=True)
        self._covariance = _covariance(np.sqrt(given) if given.ndim == 1 else given, len(self._expected))
        self._changed()

    def _arrays(self) -> dict[str, Any]:
        c = self._covariance
        return {"value": self._expected, "inverse": 1 / c if c.ndim == 1 else np.linalg.inv(c)}

    def _expression(self, parameters: Sequence[Any], data: Any) -> Any:
        delta = np.stack(parameters) - data["value"]
        inverse = data["inverse"]
        return np.sum(delta**2 * inverse) if np.ndim(inverse) == 1 else np.dot(delta, np.dot(inverse, delta))


def _covariance(deviation: FloatArray, count: int) -> FloatArray:
    """Variances of standard deviations; a matrix is taken as it is, if it is a covariance."""
    if deviation.shape == (count,):
        return deviation**2
    if deviation.shape != (count, count):
        raise _error(f"{count} parameters need {count} errors or a {count}×{count} matrix, not shape {deviation.shape}")
    if not np.allclose(deviation, deviation.T) or np.linalg.eigvalsh(deviation).min() <= 0:
        raise _error("the covariance matrix is not symmetric and positive definite")
    return deviation


def _error(message: str) -> Exception:
    return where.error(ValueError, f"NormalConstraint: {message}")
