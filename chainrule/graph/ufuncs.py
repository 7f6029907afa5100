"""NumPy's and SciPy's elementwise functions on traced values, and NumPy's two protocols.

Ufuncs are known by name, so that SciPy's dispatch without being imported. Most are one primitive; the
others are written in terms of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from .array import FUNCTIONS, Array, as_array, call, elementwise, implements, is_operand, operand
from .dtype import FLOAT64, canonical, is_complex, is_float, is_integer
from .lift import apply, common_dtype, kind_of
from .node import const_value
from .where import error

UFUNCS: Final[dict[str, Callable[..., Any]]] = {}
"""Elementwise functions by the name of their ufunc."""

_SAME: Final = """
    fmod reciprocal square sqrt cbrt hypot sign copysign exp exp2 expm1 log log1p log2 log10
    logaddexp sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh maximum minimum fmax
    fmin logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor
    bitwise_not conj abs mod erf erfc erfcx erfinv ndtr log_ndtr ndtri gamma gammaln digamma expit
    log_expit logit xlogy xlog1py softplus
"""
_RENAMED: Final = {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div",
    "negative": "neg", "floor_divide": "floordiv", "remainder": "mod", "absolute": "abs",
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2",
    "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
    "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge",
    "equal": "eq", "not_equal": "ne",
    "invert": "bitwise_not", "bitwise_invert": "bitwise_not", "left_shift": "shift_left",
    "right_shift": "shift_right", "bitwise_left_shift": "shift_left", "bitwise_right_shift": "shift_right",
    "conjugate": "conj", "loggamma": "gammaln", "psi": "digamma",
}  # fmt: skip
PRIMITIVE: Final = {name: name for name in _SAME.split()} | _RENAMED  # ufunc → primitive


def _primitive_function(name: str, primitive: str) -> Callable[..., Array]:
    def function(*values: Any) -> Array:
        return elementwise(primitive, *values)

    function.__name__ = name
    return function


for _name, _of in PRIMITIVE.items():
    UFUNCS[_name] = _primitive_function(_name, _of)


def ufunc(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            UFUNCS[name] = function
        return function

    return enter


@ufunc("positive")
def positive(x: Any) -> Array:
    return as_array(x).copy()


@ufunc("power", "pow")
def power(x: Any, n: Any) -> Array:
    """``x**n``; integers to a negative known power are refused, as by NumPy."""
    base, exponent = operand(x), operand(n)
    known = exponent if not hasattr(exponent, "op") else const_value(exponent)
    integers = common_dtype((kind_of(base), kind_of(exponent))).kind in "ib"
    if integers and isinstance(known, int) and known < 0:
        raise error(ValueError, "Integers to negative integer powers are not allowed.")
    return elementwise("pow", x, n)


@ufunc("float_power")
def float_power(x: Any, n: Any) -> Array:
    return elementwise("pow", _double(x), _double(n))


def _double(x: Any) -> Array:
    array = as_array(x)
    return array if is_complex(array.dtype) else array.astype(FLOAT64)


def _inexact(x: Any) -> Array:
    array = as_array(x)
    return array if array.dtype.kind in "fc" else array.astype(FLOAT64)


@ufunc("divmod")
def divmod_(a: Any, b: Any) -> tuple[Array, Array]:
    return elementwise("floordiv", a, b), elementwise("mod", a, b)


@ufunc("modf")
def modf(x: Any) -> tuple[Array, Array]:
    whole = elementwise("trunc", _inexact(x))
    fraction = elementwise("where", elementwise("isinf", x), 0.0, as_array(x) - whole)
    return elementwise("copysign", fraction, x), whole


@ufunc("fabs")
def fabs(x: Any) -> Array:
    return elementwise("abs", _inexact(x))


def _rounding(primitive: str) -> Callable[[Any], Array]:
    def function(x: Any) -> Array:
        array = as_array(x)
        return elementwise(primitive, array) if is_float(array.dtype) else positive(_no_complex(array, primitive))

    return function


def _no_complex(x: Array, name: str) -> Array:
    if is_complex(x.dtype):
        raise error(TypeError, f"{name} does not take complex numbers")
    return x


UFUNCS.update({"floor": _rounding("floor"), "ceil": _rounding("ceil"), "trunc": _rounding("trunc")})


@ufunc("rint")
def rint(x: Any) -> Array:
    array = _inexact(x)
    if is_complex(array.dtype):
        return elementwise("complex", elementwise("round", array.real), elementwise("round", array.imag))
    return elementwise("round", array)


def _test(primitive: str, of_exact: bool) -> Callable[[Any], Array]:
    """A test on floating-point numbers, whose answer is known for integers and booleans."""

    def function(x: Any) -> Array:
        array = as_array(x)
        if array.dtype.kind in "fc":
            return elementwise(primitive, array)
        return call("full_like", array, of_exact, dtype=bool)

    return function


UFUNCS.update({"isfinite": _test("isfinite", True), "isnan": _test("isnan", False), "isinf": _test("isinf", False)})


@ufunc("signbit")
def signbit(x: Any) -> Array:
    array = as_array(x)
    return array < 0 if is_integer(array.dtype) else elementwise("signbit", _inexact(array))


@ufunc("deg2rad", "radians")
def deg2rad(x: Any) -> Array:
    return elementwise("mul", _inexact(x), math.pi / 180)


@ufunc("rad2deg", "degrees")
def rad2deg(x: Any) -> Array:
    return elementwise("mul", _inexact(x), 180 / math.pi)


@ufunc("heaviside")
def heaviside(x: Any, at_zero: Any) -> Array:
    x = _inexact(x)
    step = elementwise("where", x < 0, 0.0, elementwise("where", x > 0, 1.0, at_zero))
    return elementwise("where", elementwise("isnan", x), x, step)


@ufunc("logaddexp2")
def logaddexp2(a: Any, b: Any) -> Array:
    return elementwise("logaddexp", _inexact(a) * math.log(2), _inexact(b) * math.log(2)) / math.log(2)


@ufunc("ldexp")
def ldexp(x: Any, n: Any) -> Array:
    return elementwise("mul", x, elementwise("exp2", n))


@ufunc("matmul")
def _matmul(a: Any, b: Any) -> Any:
    return call("matmul", a, b)


@ufunc("vecdot")
def vecdot(a: Any, b: Any) -> Any:
    return call("sum", as_array(a).conj() * b, axis=-1)


# --- scipy.special, in terms of the primitives --------------------------------------------------------------


@ufunc("polygamma")
def polygamma(n: Any, x: Any) -> Array:
    """The n-th derivative of digamma, for a known order ``n``."""
    order = operand(n)
    known = order if not hasattr(order, "op") else const_value(order)
    if not isinstance(known, (int, float)) or known != int(known) or known < 0:
        raise error(TypeError, "polygamma takes a known order, one non-negative integer, while tracing")
    return elementwise("digamma", x) if known == 0 else elementwise("polygamma", int(known), x)


@ufunc("betaln")
def betaln(a: Any, b: Any) -> Array:
    total = elementwise("gammaln", as_array(a) + b)
    return elementwise("gammaln", a) + elementwise("gammaln", b) - total


@ufunc("beta")
def beta(a: Any, b: Any) -> Array:
    return elementwise("exp", betaln(a, b))


@ufunc("entr")
def entr(x: Any) -> Array:
    """``−x·log x``, −inf for negative x."""
    x = _inexact(x)
    return elementwise("where", x < 0, -math.inf, -elementwise("xlogy", x, x))


@ufunc("rel_entr")
def rel_entr(x: Any, y: Any) -> Array:
    """``x·log(x/y)``, inf outside of x, y ≥ 0."""
    x, y = _inexact(x), _inexact(y)
    inside = ((x > 0) & (y > 0)) | ((x == 0) & (y >= 0))
    safe_x, safe_y = elementwise("where", x > 0, x, 1.0), elementwise("where", y > 0, y, 1.0)
    value = elementwise("where", x > 0, x * elementwise("log", safe_x / safe_y), 0.0)
    return elementwise("where", inside, value, math.inf)


@ufunc("kl_div")
def kl_div(x: Any, y: Any) -> Array:
    """``x·log(x/y) − x + y``, inf outside of x, y ≥ 0."""
    x, y = _inexact(x), _inexact(y)
    return elementwise("add", elementwise("sub", rel_entr(x, y), x), y)


# NumPy's ufuncs are functions like all others
for _name in UFUNCS:
    if _name not in ("matmul", "vecdot"):
        FUNCTIONS[_name] = UFUNCS[_name]

# --- the protocols ------------------------------------------------------------------------------------------

_REDUCE: Final = {
    "add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min",
    "logical_and": "all", "logical_or": "any",
}  # fmt: skip
_ACCUMULATE: Final = {"add": "cumsum", "multiply": "cumprod", "maximum": "cummax", "minimum": "cummin"}
_IN_PLACE: Final = {
    "add": "add",
    "multiply": "mul",
    "maximum": "maximum",
    "minimum": "minimum",
    "subtract": "sub",
}
_HARMLESS: Final = {"casting", "order", "subok", "signature"}


@implements("__array_ufunc__")
def array_ufunc(function: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A ufunc called with traced values among its arguments."""
    name = function.__name__
    if kwargs.get("out") is not None:
        return _into(function, method, inputs, kwargs)
    if method == "__call__":
        return _call(name, inputs, kwargs)
    if method == "reduce" and name in _REDUCE:
        kwargs.setdefault("axis", 0)
        return FUNCTIONS[_REDUCE[name]](*inputs, **{k: v for k, v in kwargs.items() if k != "out"})
    if method == "accumulate" and name in _ACCUMULATE:
        kwargs.setdefault("axis", 0)
        return FUNCTIONS[_ACCUMULATE[name]](*inputs, **{k: v for k, v in kwargs.items() if k != "out"})
    if method == "outer":
        a, b = map(as_array, inputs)
        return _call(name, (a.reshape(*a.shape, *[1] * b.ndim), b), kwargs)
    if method == "at" and name in _IN_PLACE and isinstance(inputs[0], Array) and len(inputs) == 3:
        target, index, value = inputs
        value = -as_array(value) if name == "subtract" else value
        target[...] = call("updated", target, index, value, "add" if name == "subtract" else _IN_PLACE[name])
        return None
    raise error(TypeError, f"np.{name}.{method} is not supported in traced programs")


def _call(name: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    function = UFUNCS.get(name)
    if function is None:
        raise unsupported(name)
    if kwargs:
        if kwargs.get("where", True) is not True:
            raise error(TypeError, f"np.{name}(..., where=...): write np.where(condition, np.{name}(...), other)")
        unknown = set(kwargs) - _HARMLESS - {"where", "dtype", "out"}
        if unknown:
            raise error(TypeError, f"np.{name} takes no {sorted(unknown)} in traced programs")
        if kwargs.get("dtype") is not None:
            dtype = canonical(kwargs["dtype"])
            return function(*[as_array(v).astype(dtype) for v in inputs])
    if not all(is_operand(v) for v in inputs):
        return NotImplemented
    return function(*inputs)


def _into(function: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``out=``: only the array itself, from ``concrete += traced``, deserves a word of its own."""
    if any(isinstance(o, np.ndarray) for o in kwargs["out"]):
        raise error(
            TypeError,
            f"np.{function.__name__} of a traced value into a concrete NumPy array (out= or an operation in"
            " place); write x = x + y instead of x += y, or make the array with chainrule.numpy.zeros",
        )
    (target,) = kwargs["out"]
    rest = {k: v for k, v in kwargs.items() if k != "out"}
    target[...] = array_ufunc(function, method, inputs, rest)
    return target


_CHOOSE: Final = "np.where(condition, a, b)"
_INSTEAD: Final = {
    "histogram": "differences of a smooth distribution function, or counts made before the traced function",
    "unique": "a fixed set of values", "nonzero": _CHOOSE, "flatnonzero": _CHOOSE, "argwhere": _CHOOSE,
    "extract": _CHOOSE, "compress": _CHOOSE, "apply_along_axis": "cr.vmap or cr.map", "vectorize": "cr.vmap",
    "array2string": "cr.debug.print", "array_repr": "cr.debug.print", "array_str": "cr.debug.print",
    "save": "the value that the function returns", "copyto": "x[...] = y", "put": "x[i] = v",
    "place": "x[mask] = v", "putmask": "x[mask] = v", "fill_diagonal": "x[i, i] = v",
    "nextafter": "x itself", "spacing": "np.finfo", "append": "np.concatenate", "insert": "np.concatenate",
    "delete": "np.concatenate of slices", "loadtxt": "data that are read before",
    "shares_memory": "x.copy() where sharing matters",
}  # fmt: skip


def unsupported(name: str) -> TypeError:
    """The error for a function that cannot be traced, with what there is instead."""
    instead = _INSTEAD.get(name)
    hint = f"; use {instead}" if instead else "; compute it outside and pass the result in"
    return error(TypeError, f"{name} does not work on traced values{hint}")


@implements("__array_function__")
def array_function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A function of NumPy's called with traced values among its arguments."""
    module = getattr(function, "__module__", "") or ""
    prefix = "linalg." if module.startswith("numpy.linalg") else "fft." if module.startswith("numpy.fft") else ""
    name = prefix + function.__name__
    found = FUNCTIONS.get(name)
    if found is None:
        raise unsupported("np." + name if name not in _INSTEAD else name)
    kwargs = {k: v for k, v in kwargs.items() if v is not np._NoValue}
    if kwargs.get("out", 0) is None:
        del kwargs["out"]
    try:
        return found(*args, **kwargs)
    except TypeError as problem:
        if problem.__traceback__ is not None and problem.__traceback__.tb_next is None:  # the call itself did not fit
            raise error(TypeError, f"np.{name} in traced programs: {problem}") from None
        raise


def binary_node(name: str, a: Any, b: Any) -> Any:
    """A primitive of nodes and Python numbers by NumPy's rules, as a node."""
    return apply(name, a, b)
