"""What SymPy's classes mean: name of the class → a NumPy function of the arguments' values.

Only names stand here, so that SymPy is not imported for it. ``Pow``, ``Piecewise``, sums, matrices and symbols need
more than their arguments' values, and are translated elsewhere.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.scipy import special


def _nested(combine: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda *args: functools.reduce(combine, args)


def _log(x: Any, base: Any = None) -> Any:
    return np.log(x) if base is None else np.log(x) / np.log(base)


def _sinc(x: Any) -> Any:
    """SymPy's sinc is sin x/x; NumPy's is that of πx."""
    return np.sinc(x / math.pi)


def _heaviside(x: Any, at_zero: Any = 0.5) -> Any:
    return np.where(x > 0, 1.0, np.where(x < 0, 0.0, at_zero))


def _kronecker(i: Any, j: Any, interval: Any = None) -> Any:
    return np.where(i == j, 1.0, 0.0)


def _factorial(n: Any) -> Any:
    return special.gamma(n + 1.0)


def _binomial(n: Any, k: Any) -> Any:
    return np.exp(special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0))


def _harmonic(n: Any) -> Any:
    return special.digamma(n + 1.0) + np.euler_gamma


def _arg(z: Any) -> Any:
    return np.arctan2(np.imag(z), np.real(z))


def _of_reciprocal(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: function(1.0 / x)


def _reciprocal_of(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: 1.0 / function(x)


def _beta(a: Any, b: Any = None) -> Any:
    return special.beta(a, a if b is None else b)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": _nested(operator.add),
    "Mul": _nested(operator.mul),
    "exp": np.exp,
    "log": _log,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "cot": _reciprocal_of(np.tan),
    "sec": _reciprocal_of(np.cos),
    "csc": _reciprocal_of(np.sin),
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "acot": _of_reciprocal(np.arctan),
    "asec": _of_reciprocal(np.arccos),
    "acsc": _of_reciprocal(np.arcsin),
    "atan2": np.arctan2,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "coth": _reciprocal_of(np.tanh),
    "sech": _reciprocal_of(np.cosh),
    "csch": _reciprocal_of(np.sinh),
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "acoth": _of_reciprocal(np.arctanh),
    "asech": _of_reciprocal(np.arccosh),
    "acsch": _of_reciprocal(np.arcsinh),
    "sinc": _sinc,
    "Abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "ceiling": np.ceil,
    "frac": lambda x: x - np.floor(x),
    "Mod": np.mod,
    "Min": _nested(np.minimum),
    "Max": _nested(np.maximum),
    "Heaviside": _heaviside,
    "KroneckerDelta": _kronecker,
    "re": np.real,
    "im": np.imag,
    "conjugate": np.conj,
    "arg": _arg,
    "erf": special.erf,
    "erfc": special.erfc,
    "erfinv": special.erfinv,
    "gamma": special.gamma,
    "loggamma": special.gammaln,
    "digamma": special.digamma,
    "polygamma": special.polygamma,
    "beta": _beta,
    "factorial": _factorial,
    "binomial": _binomial,
    "harmonic": _harmonic,
    "StrictLessThan": operator.lt,
    "LessThan": operator.le,
    "StrictGreaterThan": operator.gt,
    "GreaterThan": operator.ge,
    "Equality": operator.eq,
    "Unequality": operator.ne,
    "And": _nested(np.logical_and),
    "Or": _nested(np.logical_or),
    "Xor": _nested(np.logical_xor),
    "Not": np.logical_not,
    "ITE": np.where,
    # SymPy's code-generation nodes (sympy.codegen.cfunctions)
    "expm1": np.expm1,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "exp2": np.exp2,
    "hypot": np.hypot,
    "Sqrt": np.sqrt,
    "Cbrt": np.cbrt,
    "fma": lambda a, b, c: a * b + c,
}
