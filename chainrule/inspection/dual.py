"""Forward mode in its oldest form: numbers a + b·ε with ε² = 0 (Clifford 1873)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.graph.namespaces import numpy_namespace
from chainrule.graph.scalar import partials_of
from chainrule.graph.ufuncs import PRIMITIVE

PRIMITIVES_OF = {**PRIMITIVE, "power": "pow", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "round"}
"""NumPy's ufuncs by name → primitives of the table."""


class Dual(np.lib.mixins.NDArrayOperatorsMixin):
    """A value with its derivative; NumPy's functions of it give values with derivatives.

    Comparisons compare values, so that ordinary Python control flow works.

    >>> Dual(3.0, 1.0) ** 2
    Dual(9.0, 6.0)
    """

    def __init__(self, value: Any, derivative: Any = 0.0) -> None:
        self.value, self.derivative = value, derivative

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        name = PRIMITIVES_OF.get(ufunc.__name__)
        if method != "__call__" or kwargs or name is None:
            return NotImplemented
        values = [a.value if isinstance(a, Dual) else a for a in args]
        value = ufunc(*values)
        if isinstance(value, np.bool_):
            return bool(value)
        derivative: Any = 0.0
        for argument, partial in zip(args, partials_of(name), strict=True):
            if isinstance(argument, Dual) and partial is not None:
                derivative = derivative + partial(numpy_namespace(), value, *values) * argument.derivative
        return Dual(value, derivative)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.where and not kwargs and isinstance(args[0], (bool, np.bool_)):
            return args[1] if args[0] else args[2]
        return NotImplemented

    def __float__(self) -> float:
        return float(self.value)

    def __repr__(self) -> str:
        return f"Dual({float(self.value)}, {float(self.derivative)})"


def derivative_by_dual_numbers(fun: Callable[..., Any], args: list[Any], position: int) -> float:
    """∂fun/∂args[position] of a function of numbers, run by Python itself on dual numbers."""
    given = list(args)
    given[position] = Dual(float(args[position]), 1.0)
    found = fun(*given)
    if isinstance(found, np.ndarray):
        raise ValueError(f"{getattr(fun, '__name__', 'the function')} made an array")
    result = float(found.derivative) if isinstance(found, Dual) else 0.0
    if math.isnan(result) and not any(math.isnan(float(a)) for a in args):
        raise ValueError("the derivative is NaN")
    return result
