"""Fits of a curve to points with errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.graph.trace import call_user
from chainrule.graph.where import error

from .base import FloatArray, check_shape, float_array
from .masked import MaskedCost, excluded
from .parameters import model_parameters
from .plots import plot_points
from .statistics import chi2, soft_l1

Loss = str | Callable[[Any], Any]


class LeastSquares(MaskedCost):
    """Σ ((yᵢ − model(xᵢ))/errorᵢ)²: the fit of ``model(x, …)`` to points.

    ``x`` has shape (n,), or (k, n) for k variables. ``loss`` is "linear", "soft_l1" (2 Σ (√(1+z²) − 1), less drawn by
    outliers), or a NumPy function of the squared pulls.

    >>> import numpy as np
    >>> def line(x, a, b):
    ...     return a + b * x
    >>> cost = LeastSquares([1.0, 2.0, 3.0], [2.0, 3.0, 4.5], 0.5, line)
    >>> round(cost(1.0, 1.0), 6), np.round(cost.hessian(1.0, 1.0), 6).tolist()
    (1.0, [[24.0, 48.0], [48.0, 112.0]])
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        yerror: ArrayLike,
        model: Callable[..., Any],
        *,
        loss: Loss = "linear",
        verbose: int = 0,
        name: Sequence[str] | None = None,
    ) -> None:
        columns = float_array(x)
        self._variables = columns.shape[0] if columns.ndim > 1 else 1
        try:
            data = np.stack(np.broadcast_arrays(*np.atleast_2d(columns), float_array(y), yerror)).T
        except ValueError:
            shapes = f"{columns.shape}, {np.shape(y)} and {np.shape(yerror)}"
            raise error(ValueError, f"x, y and yerror have shapes {shapes}, which do not fit together") from None
        super().__init__(model_parameters(model, name), data, verbose)
        self._model = model
        self.loss = loss

    @property
    def loss(self) -> Loss:
        """What is done with the pulls before they are summed."""
        return self._loss

    @loss.setter
    def loss(self, loss: Loss) -> None:
        if not callable(loss) and loss not in ("linear", "soft_l1"):
            raise error(ValueError, f"loss={loss!r} is not known; it is 'linear', 'soft_l1', or a function of z²")
        self._loss = loss
        self._changed()

    @property
    def model(self) -> Callable[..., Any]:
        """The curve."""
        return self._model

    @property
    def x(self) -> NDArray[Any]:
        """The abscissas, also of points that are masked out; (n,) or (k, n). Assign to change them."""
        return self.data[:, 0] if self._variables == 1 else self.data[:, : self._variables].T

    @x.setter
    def x(self, value: ArrayLike) -> None:
        self._assign(slice(0, self._variables), np.atleast_2d(float_array(value)).T)

    @property
    def y(self) -> NDArray[Any]:
        """The ordinates."""
        return self.data[:, -2]

    @y.setter
    def y(self, value: ArrayLike) -> None:
        self._assign(-2, float_array(value))

    @property
    def yerror(self) -> NDArray[Any]:
        """Their errors."""
        return self.data[:, -1]

    @yerror.setter
    def yerror(self, value: ArrayLike) -> None:
        self._assign(-1, float_array(value))

    def _assign(self, columns: int | slice, value: NDArray[Any]) -> None:
        data = self.data.copy()
        data[:, columns] = value
        self.data = data

    @property
    def ndata(self) -> float:
        return float(len(self._masked))

    def prediction(self, args: Sequence[float]) -> FloatArray:
        """The curve at all points."""
        return np.asarray(self._model(self.x, *args))

    def pulls(self, args: Sequence[float]) -> FloatArray:
        """(y − model)/error; NaN where the error is zero or the point is masked."""
        y, deviation = self.y.copy(), self.yerror.copy()
        y[(deviation == 0) | excluded(self.mask, len(y))] = np.nan
        with np.errstate(invalid="ignore", divide="ignore"):
            pulls: FloatArray = (y - self.prediction(args)) / deviation
        return pulls

    def visualize(self, args: Sequence[float], model_points: int | Sequence[float] = 0) -> None:
        """Draws points and curve of one variable, with matplotlib."""
        if self._variables > 1:
            raise error(ValueError, "visualize draws curves of one variable")
        plot_points(self.x, self.y, self.yerror, lambda x: np.asarray(self._model(x, *args)), model_points)

    def _arrays(self) -> dict[str, Any]:
        used = self._masked
        x = used[:, 0] if self._variables == 1 else used[:, : self._variables].T
        return {"x": np.ascontiguousarray(x), "y": used[:, -2].copy(), "yerror": used[:, -1].copy()}

    def _expression(self, parameters: Sequence[Any], data: Any) -> Any:
        y, deviation = data["y"], data["yerror"]
        curve = check_shape(call_user(self._model, data["x"], *parameters), np.shape(y), "model")
        if callable(self._loss):
            return np.sum(call_user(self._loss, ((y - curve) / deviation) ** 2))
        return (chi2 if self._loss == "linear" else soft_l1)(y, deviation, curve)
