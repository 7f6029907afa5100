"""Functions of NumPy's that are written in terms of others: choices, comparisons within tolerance, calculus
on samples.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from . import express, lift
from .array import Array, as_array, call, elementwise, implements, operand, wrap
from .dtype import is_complex, is_float, promote
from .where import error

EPSILON: Final = float(np.finfo(np.float64).eps)


# --- choices ------------------------------------------------------------------------------------------------


@implements("where")
def where(condition: Any, x: Any = None, y: Any = None, /) -> Array:
    """As ``np.where`` with three arguments; what is not chosen has no influence, not even on derivatives."""
    if x is None or y is None:
        raise error(
            TypeError,
            "np.where(condition) alone has a size that depends on data; give np.where(condition, a, b)",
        )
    return elementwise("where", condition, x, y)


@implements("select")
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Array:
    """As ``np.select``: the first choice whose condition holds."""
    if len(condlist) != len(choicelist) or not len(condlist):
        raise error(ValueError, "select takes as many conditions as choices, at least one")
    values = [operand(v) for v in (*choicelist, default)]
    dtype = lift.common_dtype(tuple(lift.kind_of(v) for v in values))
    found = wrap(express.cast(lift.strong(values[-1]), dtype))
    for condition, value in zip(reversed(condlist), reversed(values[:-1]), strict=True):
        found = where(condition, wrap(express.cast(lift.strong(value), dtype)), found)
    return found


@implements("piecewise")
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Array:
    """As ``np.piecewise``; every function is computed everywhere and chosen from."""
    x = as_array(x)
    conditions = list(condlist) if isinstance(condlist, (list, tuple)) else [condlist]
    values = [f(x, *args, **kw) if callable(f) else f for f in funclist]
    default = values.pop() if len(values) == len(conditions) + 1 else 0
    found = call("full_like", x, 0) if not isinstance(default, Array) and default == 0 else where(True, default, x)
    for condition, value in zip(conditions, values, strict=True):  # the last one that holds counts
        found = where(condition, value, found)
    return found.astype(x.dtype)


@implements("clip")
def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None) -> Array:
    """As ``np.clip``: min(max(a, a_min), a_max)."""
    low = min if a_min is None else a_min
    high = max if a_max is None else a_max
    found = as_array(a)
    if low is not None:
        found = elementwise("maximum", found, low)
    return found if high is None else elementwise("minimum", found, high)


@implements("nan_to_num")
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Array:
    """As ``np.nan_to_num``."""
    array = as_array(x)
    if is_complex(array.dtype):
        parts = [nan_to_num(p, True, nan, posinf, neginf) for p in (array.real, array.imag)]
        return elementwise("complex", *parts)
    if not is_float(array.dtype):
        return array.copy()
    limits = np.finfo(array.dtype)
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    found = where(call("isnan", array), nan, array)
    return where(array == math.inf, high, where(array == -math.inf, low, found))


@implements("isclose")
def isclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Array:
    """As ``np.isclose``."""
    x, y = as_array(a) * 1.0, as_array(b) * 1.0
    near = (abs(x - y) <= atol + rtol * abs(y)) & call("isfinite", y) | (x == y)
    return elementwise("logical_or", near, call("isnan", x) & call("isnan", y)) if equal_nan else near


@implements("allclose")
def allclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Array:
    """``np.allclose`` as a traced boolean."""
    return isclose(a, b, rtol, atol, equal_nan).all()


@implements("array_equal")
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    x, y = as_array(a1), as_array(a2)
    return (x == y).all() if x.shape == y.shape else False


@implements("isneginf")
def isneginf(x: Any) -> Array:
    return elementwise("eq", x, -math.inf)


@implements("isposinf")
def isposinf(x: Any) -> Array:
    return elementwise("eq", x, math.inf)


@implements("isreal")
def isreal(x: Any) -> Array:
    return elementwise("eq", as_array(x).imag, 0)


@implements("iscomplexobj")
def iscomplexobj(x: Any) -> bool:
    return is_complex(as_array(x).dtype)


@implements("isrealobj")
def isrealobj(x: Any) -> bool:
    return not is_complex(as_array(x).dtype)


@implements("result_type")
def result_type(*values: Any) -> Any:
    return promote(*[v.dtype if isinstance(v, Array) else v for v in values])


# --- elementwise --------------------------------------------------------------------------------------------


@implements("sinc")
def sinc(x: Any) -> Array:
    """``sin(πx)/(πx)``."""
    return elementwise("sinc", x)


@implements("angle")
def angle(z: Any, deg: bool = False) -> Array:
    """As ``np.angle``."""
    z = as_array(z)
    found = elementwise("atan2", z.imag, z.real)
    return call("rad2deg", found) if deg else found


@implements("real")
def real(val: Any) -> Array:
    return as_array(val).real


@implements("imag")
def imag(val: Any) -> Array:
    return as_array(val).imag


@implements("round", "around")
def round(a: Any, decimals: int = 0, out: Any = None) -> Array:
    """As ``np.round``: to even in the middle."""
    x = as_array(a)
    if not (is_float(x.dtype) or is_complex(x.dtype)):
        if decimals >= 0:
            return x.copy()
        scale: int = 10**-decimals
        return (call("rint", x / scale) * scale).astype(x.dtype)
    if decimals == 0:
        return call("rint", x)
    scale = 10 ** abs(decimals)
    return call("rint", x * scale) / scale if decimals > 0 else call("rint", x / scale) * scale


@implements("fix")
def fix(x: Any, out: Any = None) -> Array:
    return call("trunc", x)
