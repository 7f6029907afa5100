"""What all costs have in common: parameters, data, and kernels of value, gradient and Hessian."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule import api
from chainrule.graph.where import error

from .parameters import Parameters

if TYPE_CHECKING:
    from .total import CostSum

FloatArray = NDArray[np.float64]

CHISQUARE = 1.0
NEGATIVE_LOG_LIKELIHOOD = 0.5


class Cost(abc.ABC):
    """A function of named parameters to be minimised.

    ``cost(a, b, …)`` and ``cost([a, b, …])`` are its value; ``grad``, ``hessian``, ``value_and_grad`` and
    ``value_grad_hess`` take the same arguments. One kernel each is compiled at the first call, and what depends on the
    data alone is computed once: the data are copied, so other data are given by assignment (``cost.data = …``).
    """

    has_grad = True
    has_hessian = True
    errordef = CHISQUARE
    """How much the cost rises at one standard deviation."""

    def __init__(self, parameters: Parameters, verbose: int = 0) -> None:
        self._parameters = parameters
        self.verbose = verbose
        self._version = 0
        self._functions: dict[str, Any] = {}
        self._made_for: Any = None

    @property
    def npar(self) -> int:
        """How many parameters there are."""
        return len(self._parameters)

    @property
    @abc.abstractmethod
    def ndata(self) -> float:
        """How many points or bins are fitted; infinite for unbinned data, which have no degrees of freedom."""

    @abc.abstractmethod
    def _expression(self, parameters: Sequence[Any], data: Any) -> Any:
        """The cost in NumPy, for traced parameters and data (as ``_arrays`` gives them)."""

    @abc.abstractmethod
    def _arrays(self) -> Any:
        """The data that ``_expression`` needs: a pytree of arrays."""

    def _state(self) -> Any:
        """Changes when the data do."""
        return self._version

    def _changed(self) -> None:
        self._version += 1

    def __call__(self, *args: Any) -> float:
        """The value of the cost."""
        value = float(self._function("value")(self._vector(args)))
        if self.verbose >= 1:
            print(args, "->", value)
        return value

    def grad(self, *args: Any) -> FloatArray:
        """Its gradient, float64[npar]."""
        gradient: FloatArray = self._function("grad")(self._vector(args))
        return gradient

    def hessian(self, *args: Any) -> FloatArray:
        """Its second derivatives, float64[npar, npar]."""
        hessian: FloatArray = self._function("hessian")(self._vector(args))
        return hessian

    def value_and_grad(self, *args: Any) -> tuple[float, FloatArray]:
        """(value, gradient) in one pass over the data: what ``scipy.optimize.minimize(…, jac=True)`` takes."""
        value, gradient = self._function("value_and_grad")(self._vector(args))
        return float(value), gradient

    def value_grad_hess(self, *args: Any) -> tuple[float, FloatArray, FloatArray]:
        """(value, gradient, Hessian) in one pass over the data."""
        value, gradient, hessian = self._function("value_grad_hess")(self._vector(args))
        return float(value), gradient, hessian

    def _vector(self, args: tuple[Any, ...]) -> FloatArray:
        vector = np.array(args[0] if len(args) == 1 and np.ndim(args[0]) == 1 else args, float)
        if vector.shape != (self.npar,):
            names = ", ".join(self._parameters)
            given = "×".join(map(str, vector.shape)) or "no"
            message = f"{type(self).__name__}({names}) takes {self.npar} numbers, not {given}"
            raise error(TypeError, message)
        return vector

    def _function(self, kind: str) -> Any:
        state = self._state()
        if self._made_for != state:
            self._functions, self._made_for = {}, state
        if kind not in self._functions:
            self._functions[kind] = self._made(kind)
        return self._functions[kind]

    def _made(self, kind: str) -> Any:
        transforms: dict[str, Callable[..., Any]] = {
            "grad": api.grad,
            "hessian": api.hessian,
            "value_and_grad": api.value_and_grad,
            "value_grad_hess": api.value_grad_hess,
        }
        if kind != "value":
            return transforms[kind](self._function("value"))
        count = self.npar

        def cost(p: Any, data: Any) -> Any:
            return self._expression([p[i] for i in range(count)], data)

        return api.bind(cost, data=self._arrays())

    def __add__(self, other: Cost | float) -> CostSum:
        """The sum of two costs; parameters of the same name are shared."""
        from .total import CostSum

        return CostSum(self, other)

    def __radd__(self, other: Cost | float) -> CostSum:
        from .total import CostSum

        return CostSum(other, self)


def float_array(value: Any, *, copy: bool = False) -> NDArray[Any]:
    """At least one dimension, float64 unless it has a floating dtype."""
    array = np.atleast_1d(value)
    dtype = array.dtype if array.dtype.kind == "f" else np.float64
    return np.array(array, dtype) if copy else np.asarray(array, dtype)


def check_shape(result: Any, shape: tuple[int, ...], what: str) -> Any:
    """The model's result, if it has the shape it must have."""
    if np.shape(result) != shape:
        raise error(ValueError, f"the {what} must return an array of shape {shape}, not {np.shape(result)}")
    return result
