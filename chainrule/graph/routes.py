"""Calls of functions that cannot dispatch on traced values, as they go in rewritten source: ``math``, builtins, and
what makes arrays. On values that are known they are called as they are.
"""

from __future__ import annotations

import builtins
import cmath
import functools
import math
from collections.abc import Callable, Sequence
from types import UnionType
from typing import Any, Final

import numpy as np

from .array import FUNCTIONS, Array, as_array, elementwise, wrap
from .dim import Size
from .dtype import COMPLEX128, FLOAT64, INT64
from .iteration import Enumerated, Reversed, TracedRange, Zipped
from .where import error

Call = Callable[..., Any]
ROUTES: Final[dict[Any, Call]] = {}
"""What stands in for a function when one of its arguments is traced."""


def route(*functions: Any) -> Callable[[Call], Call]:
    """Enter what stands in for these functions."""

    def enter(stand_in: Call) -> Call:
        for function in functions:
            ROUTES[function] = stand_in
        return stand_in

    return enter


def is_traced(value: Any) -> bool:
    """Whether a value, or one in a container, is traced, or a size."""
    if isinstance(value, (Array, Size, TracedRange)):
        return True
    if isinstance(value, (Enumerated, Reversed, Zipped)):
        return is_traced(value.of)
    if isinstance(value, (list, tuple)):
        return any(map(is_traced, value))
    return isinstance(value, dict) and any(map(is_traced, value.values()))


# --- math and cmath -----------------------------------------------------------------------------------------

_MATH: Final = {
    "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan", "atan2": "arctan2",
    "atanh": "arctanh", "cbrt": "cbrt", "copysign": "copysign", "cos": "cos", "cosh": "cosh", "degrees": "degrees",
    "exp": "exp", "exp2": "exp2", "expm1": "expm1", "fabs": "fabs", "fmod": "fmod", "hypot": "hypot",
    "isfinite": "isfinite", "isinf": "isinf", "isnan": "isnan", "log10": "log10", "log1p": "log1p", "log2": "log2",
    "radians": "radians", "sin": "sin", "sinh": "sinh", "sqrt": "sqrt", "tan": "tan", "tanh": "tanh",
}  # fmt: skip
_SPECIAL: Final = {"erf": "erf", "erfc": "erfc", "gamma": "gamma", "lgamma": "gammaln"}
_COMPLEX: Final = (
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "log10", "sin", "sinh", "sqrt", "tan",
    "tanh", "isfinite", "isinf", "isnan",
)  # fmt: skip


def _as_float(value: Any) -> Any:
    return value.astype(FLOAT64) if isinstance(value, Array) and value.dtype.kind in "bi" else value


def _numpy(name: str) -> Call:
    def function(*args: Any) -> Any:
        return getattr(np, name)(*[as_array(_as_float(a)) for a in args])

    return function


def _primitive(name: str) -> Call:
    return lambda *args: elementwise(name, *map(_as_float, args))


for _name, _np in _MATH.items():
    if hasattr(math, _name):
        ROUTES[getattr(math, _name)] = _numpy(_np)
for _name, _own in _SPECIAL.items():
    ROUTES[getattr(math, _name)] = _primitive(_own)


def _on_complex(name: str) -> Call:
    return lambda z: getattr(np, _MATH[name])(as_array(z).astype(COMPLEX128))


for _name in _COMPLEX:
    ROUTES[getattr(cmath, _name)] = _on_complex(_name)


@route(math.log)
def log(x: Any, base: Any = None) -> Any:
    found = np.log(as_array(_as_float(x)))
    return found if base is None else found / np.log(base)


@route(cmath.log)
def complex_log(z: Any, base: Any = None) -> Any:
    found = np.log(as_array(z).astype(COMPLEX128))
    return found if base is None else found / np.log(base)


@route(math.pow)
def power(x: Any, y: Any) -> Any:
    return as_array(_as_float(x)) ** y


@route(math.floor)
def floor(x: Any) -> Any:
    return np.floor(as_array(x)).astype(INT64)


@route(math.ceil)
def ceil(x: Any) -> Any:
    return np.ceil(as_array(x)).astype(INT64)


@route(math.trunc, int)
def integer(x: Any = 0) -> Any:
    if isinstance(x, Size):
        return x
    return np.trunc(_real(x, "int")).astype(INT64)


@route(math.fsum)
def float_sum(values: Any) -> Any:
    return total(values, 0.0)


@route(math.prod)
def product(values: Any, start: Any = 1) -> Any:
    return functools.reduce(lambda a, b: a * b, values, start)


@route(math.dist)
def distance(p: Any, q: Any) -> Any:
    return np.sqrt(np.sum((as_array(p) - as_array(q)) ** 2))


@route(cmath.phase)
def phase(z: Any) -> Any:
    return np.angle(as_array(z))


@route(cmath.polar)
def polar(z: Any) -> Any:
    return np.abs(as_array(z)), np.angle(as_array(z))


@route(cmath.rect)
def rect(r: Any, phi: Any) -> Any:
    return as_array(r) * np.exp(1j * as_array(phi))


# --- builtins -----------------------------------------------------------------------------------------------


def _real(x: Any, name: str) -> Array:
    array = as_array(x)
    if array.shape:
        raise error(TypeError, f"{name}() takes one number, not an array of shape {array.shape}")
    if array.dtype.kind == "c":
        raise error(TypeError, f"{name}() of a complex number; take .real or abs()")
    return array


@route(float)
def real(x: Any = 0.0) -> Any:
    return _real(x, "float").astype(FLOAT64)


@route(complex)
def complex_number(x: Any = 0, y: Any = 0) -> Any:
    return as_array(x).astype(COMPLEX128) + 1j * as_array(y) if not _is_zero(y) else as_array(x).astype(COMPLEX128)


def _is_zero(y: Any) -> bool:
    return not isinstance(y, Array) and y == 0


@route(bool)
def truth_value(x: Any = False) -> Any:
    from .branches import truth

    return wrap(truth(as_array(x)))


@route(len)
def length(x: Any) -> Any:
    if isinstance(x, Array):
        if not x.shape:
            raise error(TypeError, "len() of a traced scalar")
        return x.shape[0]
    from .iteration import length_of

    found = len(x) if isinstance(x, (list, tuple, dict)) else length_of(x)
    return wrap(x.items().trips) if found is None and isinstance(x, TracedRange) else found


@route(range)
def traced_range(*bounds: Any) -> Any:
    return TracedRange(*bounds)


@route(enumerate)
def enumerated(iterable: Any, start: Any = 0) -> Any:
    return Enumerated(iterable, start)


@route(zip)
def zipped(*iterables: Any, strict: bool = False) -> Any:
    return Zipped(*iterables, strict=strict)


@route(reversed)
def backwards(sequence: Any) -> Any:
    return Reversed(sequence) if isinstance(sequence, (Array, np.ndarray)) else reversed(sequence)


@route(sum)
def total(values: Any, start: Any = 0) -> Any:
    if isinstance(values, Array):
        found = np.sum(values, axis=0)
        return found if isinstance(start, int) and start == 0 else start + found
    return builtins.sum(values, start)


def _extreme(name: str, smaller: Callable[[Any, Any], Any]) -> Call:
    def function(*args: Any, key: Any = None, default: Any = None) -> Any:
        if key is not None:
            raise error(TypeError, f"{name}() of traced values takes no key")
        values = args[0] if len(args) == 1 else args
        if isinstance(values, Array):
            return FUNCTIONS[name](values)
        return functools.reduce(lambda a, b: np.where(as_array(smaller(b, a)), b, a), values)

    return function


ROUTES[min] = _extreme("min", lambda b, a: b < a)
ROUTES[max] = _extreme("max", lambda b, a: b > a)


@route(isinstance)
def is_instance(value: Any, kinds: Any) -> bool:
    """A traced number is an instance of what it will be when it is a number."""
    if not isinstance(value, Array) or isinstance(kinds, tuple):
        return isinstance(value, kinds) if not isinstance(kinds, tuple) else any(is_instance(value, k) for k in kinds)
    if isinstance(kinds, UnionType):
        return any(is_instance(value, k) for k in kinds.__args__)
    if value.shape:
        return issubclass(np.ndarray, kinds)
    python = {"b": bool, "i": int, "u": int, "f": float, "c": complex}[value.dtype.kind]
    return issubclass(python, kinds) or issubclass(value.dtype.type, kinds)


def is_(value: Any, truth: bool) -> Any:
    """``value is True`` or ``value is False``: what comparisons of numbers give are Python's own truth values."""
    if not isinstance(value, Array):
        return value is truth
    if value.shape or value.dtype.kind != "b":
        return False
    return value if truth else FUNCTIONS["logical_not"](value)


def contained(item: Any, container: Any) -> Any:
    """``item in container``."""
    if not is_traced(item) and not is_traced(container):
        return item in container
    if isinstance(container, Array):
        return FUNCTIONS["any"](container == item)
    if isinstance(container, (dict, str)) or not isinstance(container, (list, tuple, set, frozenset, range)):
        raise error(TypeError, f"`in` of a traced value and a {type(container).__name__}; compare with ==")
    found: Any = False
    for value in container:
        found = elementwise("logical_or", found, as_array(value == item))
    return found


@route(sorted)
def in_order(values: Any, *, key: Any = None, reverse: bool = False) -> Any:
    if key is not None:
        raise error(TypeError, "sorted() of traced values takes no key; np.argsort gives the order")
    array = values if isinstance(values, Array) else as_array(FUNCTIONS["array"](list(values)))
    found = list(FUNCTIONS["sort"](array, axis=0))
    return found[::-1] if reverse else found


def _logical(name: str) -> Call:
    def function(values: Any) -> Any:
        if isinstance(values, Array):
            return FUNCTIONS[name](values)
        operator = "logical_and" if name == "all" else "logical_or"
        found: Any = name == "all"
        for value in values:
            if not isinstance(value, Array) and bool(value) != (name == "all"):
                return bool(value)
            found = elementwise(operator, found, value)
        return found

    return function


ROUTES[all] = _logical("all")
ROUTES[any] = _logical("any")


# --- what makes arrays --------------------------------------------------------------------------------------

CREATE: Final[dict[Any, Call]] = {
    getattr(np, name): FUNCTIONS[name]
    for name in (
        "zeros", "ones", "empty", "full", "arange", "linspace", "array", "asarray", "asanyarray", "eye", "identity",
    )
}  # fmt: skip
FRESH: Final = {
    np.zeros, np.ones, np.empty, np.full, np.arange, np.linspace, np.array, np.eye, np.identity, np.zeros_like,
    np.ones_like, np.empty_like, np.full_like, np.copy,
}  # fmt: skip
"""Functions whose results are arrays of their own."""


def sequence_item(values: Sequence[Any], index: Array) -> Any:
    """``values[index]`` of a list of numbers or arrays of one type, for an index that is traced."""
    return as_array(FUNCTIONS["array"](list(values)))[index]


def converted_index(index: Any) -> bool:
    """Whether an index needs a traced array: it holds traced values."""
    parts = index if isinstance(index, tuple) else (index,)
    for part in parts:
        ends = (part.start, part.stop, part.step) if isinstance(part, slice) else (part,)
        if any(is_traced(e) for e in ends):
            return True
    return False
