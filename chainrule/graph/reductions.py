"""Sums, extremes, means and running sums, with NumPy's axis, dtype, keepdims, initial and where."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import dim as dims
from . import express, lift
from .array import Array, as_array, as_node, call, elementwise, implements, wrap
from .creation import as_dtype, lift_size
from .dim import Dim, Size
from .dtype import BOOL, INT64, DType, inexact_of, is_complex, is_float
from .node import Node, constant, make
from .op import Cumulative, Reduce, Stop
from .shapes import axes_of, axis_of, expand_dims
from .where import error

_NO = object()  # a keyword that is not given


def _kept(found: Node, axes: tuple[int, ...], keepdims: bool) -> Array:
    result = wrap(found)
    return expand_dims(result, axes) if keepdims and axes else result


def _refuse_out(out: Any) -> None:
    if out is not None:
        raise error(TypeError, "out= is not supported in traced programs; assign the result: y[...] = np.sum(x)")


def _masked(x: Array, where: Any, neutral: Any) -> Array:
    return x if where is True else elementwise("where", where, x, wrap(constant(neutral, x.dtype)))


def _accumulator(dtype: DType) -> DType:
    """Sums and products of booleans and small integers are int64, as NumPy's."""
    return INT64 if dtype.kind in "bi" else dtype


@implements("sum")
def sum(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = _NO,
    where: Any = True,
) -> Array:  # fmt: skip
    """As ``np.sum``."""
    return _reduced("sum", "add", 0, a, axis, dtype, out, keepdims, initial, where)


@implements("prod")
def prod(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = _NO,
    where: Any = True,
) -> Array:  # fmt: skip
    """As ``np.prod``."""
    return _reduced("prod", "mul", 1, a, axis, dtype, out, keepdims, initial, where)


def _reduced(
    kind: Any, primitive: str, neutral: int, a: Any, axis: Any, dtype: Any, out: Any, keepdims: bool,
    initial: Any, where: Any,
) -> Array:  # fmt: skip
    _refuse_out(out)
    x = as_array(_as_stacked(a))
    x = x.astype(as_dtype(dtype, _accumulator(x.dtype)))
    x = _masked(x, where, neutral)
    axes = axes_of(axis, x.ndim)
    found = _kept(express.reduce(kind, as_node(x), axes), axes, keepdims)
    return found if initial is _NO else elementwise(primitive, found, initial)


def _as_stacked(a: Any) -> Any:
    """Lists of values as one array (``np.sum([x, y])``), generators as lists."""
    return call("array", a) if isinstance(a, (list, tuple)) else a


@implements("max", "amax")
def max(
    a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = _NO, where: Any = True
) -> Array:
    """As ``np.max``: NaN where there is one."""
    return _extreme("max", "maximum", a, axis, out, keepdims, initial, where)


@implements("min", "amin")
def min(
    a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = _NO, where: Any = True
) -> Array:
    """As ``np.min``: NaN where there is one."""
    return _extreme("min", "minimum", a, axis, out, keepdims, initial, where)


def _extreme(kind: Any, primitive: str, a: Any, axis: Any, out: Any, keepdims: bool, initial: Any, where: Any) -> Array:
    _refuse_out(out)
    x = as_array(_as_stacked(a))
    if is_complex(x.dtype):
        raise error(TypeError, f"np.{kind} of complex numbers; use np.abs, .real or .imag")
    axes = axes_of(axis, x.ndim)
    if initial is _NO:
        if where is not True:
            raise error(ValueError, f"np.{kind} with where= needs initial=, the value where nothing is selected")
        if dims.product(x.shape[i] for i in axes) == 0:
            raise error(ValueError, f"np.{kind} of an array without elements has no value; give initial=")
    elif where is not True:
        x = elementwise("where", where, x, initial)
    if x.dtype == BOOL:
        return _kept(express.reduce("any" if kind == "max" else "all", as_node(x), axes), axes, keepdims)
    found = _kept(express.reduce(kind, as_node(x), axes), axes, keepdims)
    return found if initial is _NO else elementwise(primitive, found, initial)


@implements("ptp")
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Array:
    return max(a, axis, out, keepdims) - min(a, axis, out, keepdims)


@implements("any")
def any(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True) -> Array:
    return _logical("any", a, axis, out, keepdims, where, neutral=False)


@implements("all")
def all(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True) -> Array:
    return _logical("all", a, axis, out, keepdims, where, neutral=True)


def _logical(kind: Any, a: Any, axis: Any, out: Any, keepdims: bool, where: Any, neutral: bool) -> Array:
    _refuse_out(out)
    x = _masked(wrap(lift.to_bool(as_node(_as_stacked(a)))), where, neutral)
    axes = axes_of(axis, x.ndim)
    return _kept(express.reduce(kind, as_node(x), axes), axes, keepdims)


@implements("count_nonzero")
def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Array:
    return sum(wrap(lift.to_bool(as_node(a))), axis, keepdims=keepdims)


@implements("argmax")
def argmax(a: Any, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Array:
    return _position("argmax", a, axis, out, keepdims)


@implements("argmin")
def argmin(a: Any, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Array:
    return _position("argmin", a, axis, out, keepdims)


def _position(kind: Any, a: Any, axis: Any, out: Any, keepdims: bool) -> Array:
    _refuse_out(out)
    x = as_array(a)
    rank = x.ndim
    if x.size == 0:
        raise error(ValueError, f"attempt to get {kind} of an empty sequence")
    if axis is None:
        found = wrap(make(Reduce(kind, (0,)), (as_node(x.ravel()),)))
        return found.reshape((1,) * rank) if keepdims else found
    at = axis_of(axis, rank)
    return _kept(make(Reduce(kind, (at,)), (as_node(x),)), (at,), keepdims)


# --- means --------------------------------------------------------------------------------------------------


def count(x: Array, axes: tuple[int, ...]) -> Dim:
    return dims.product(x.shape[i] for i in axes)


def as_number(size: Dim) -> Any:
    """A size as a number of the program."""
    return lift_size(size) if isinstance(size, Size) else float(size)


@implements("mean")
def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True
) -> Array:
    """As ``np.mean``: NaN for no elements."""
    _refuse_out(out)
    x = as_array(_as_stacked(a))
    x = x.astype(as_dtype(dtype, inexact_of(x.dtype)))
    axes = axes_of(axis, x.ndim)
    total = sum(x, axis, keepdims=keepdims, where=where)
    return elementwise("div", total, _selected(x, axes, keepdims, where, 0))


def _selected(x: Array, axes: tuple[int, ...], keepdims: bool, where: Any, ddof: Any) -> Any:
    """How many elements a mean is over, less ``ddof``, not below zero; of the type of x."""
    if where is True:
        size = count(x, axes)
        if isinstance(ddof, int):
            size = dims.maximum(size - ddof, 0)
            return as_number(size) if isinstance(size, int) else as_array(as_number(size)).astype(_real(x))
        return call("maximum", as_number(size) - ddof, 0.0)
    chosen = call("broadcast_to", as_array(where), x.shape)
    number = sum(chosen, axes, keepdims=keepdims).astype(_real(x))
    return call("maximum", number - ddof, 0.0)


def _real(x: Array) -> DType:
    return x.real.dtype if is_complex(x.dtype) else x.dtype


@implements("var")
def var(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: bool = False, *,
    where: Any = True, mean: Any = None, correction: Any = None,
) -> Array:  # fmt: skip
    """As ``np.var``: the mean of squared distances from the mean."""
    _refuse_out(out)
    ddof = ddof if correction is None else correction
    x = as_array(_as_stacked(a))
    x = x.astype(as_dtype(dtype, inexact_of(x.dtype)))
    axes = axes_of(axis, x.ndim)
    centre = _mean(x, axes, where) if mean is None else mean
    distance = x - centre
    squares = abs_squared(distance)
    total = sum(squares, axes, keepdims=keepdims, where=where)
    return elementwise("div", total, _selected(x, axes, keepdims, where, ddof))


def _mean(x: Array, axes: tuple[int, ...], where: Any) -> Array:
    return mean(x, axes, keepdims=True, where=where)


def abs_squared(x: Array) -> Array:
    """|x|² without a root."""
    return x.real * x.real + x.imag * x.imag if is_complex(x.dtype) else x * x


@implements("std")
def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: bool = False,
    **kwargs: Any,
) -> Array:
    """As ``np.std``."""
    return elementwise("sqrt", var(a, axis, dtype, out, ddof, keepdims, **kwargs))


@implements("average")
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    """As ``np.average``."""
    x = as_array(_as_stacked(a))
    if weights is None:
        found = mean(x, axis, keepdims=keepdims)
        size = as_array(as_number(count(x, axes_of(axis, x.ndim)))).astype(found.dtype)
        return (found, call("broadcast_to", size, found.shape)) if returned else found
    w = as_array(weights)
    if w.shape != x.shape:
        if w.ndim != 1 or axis is None or isinstance(axis, tuple):
            raise error(TypeError, "Axis must be specified when shapes of a and weights differ.")
        w = w.reshape([-1 if i == axis_of(axis, x.ndim) else 1 for i in range(x.ndim)])
    if not (is_float(x.dtype) or is_complex(x.dtype)):
        x = x.astype(np.float64)
    total = sum(call("broadcast_to", w, x.shape), axis, keepdims=keepdims)
    found = sum(x * w, axis, keepdims=keepdims) / total
    return (found, call("broadcast_to", total.astype(found.dtype), found.shape)) if returned else found


# --- ignoring NaN -------------------------------------------------------------------------------------------


def _without_nan(a: Any, value: Any) -> tuple[Array, Array]:
    x = as_array(a)
    missing = call("isnan", x)
    return elementwise("where", missing, value, x), ~missing


@implements("nansum")
def nansum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Array:
    return sum(_without_nan(a, 0)[0], axis, dtype, out, keepdims)


@implements("nanprod")
def nanprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Array:
    return prod(_without_nan(a, 1)[0], axis, dtype, out, keepdims)


@implements("nanmean")
def nanmean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Array:
    filled, present = _without_nan(a, 0)
    return sum(filled, axis, dtype, out, keepdims) / sum(present, axis, keepdims=keepdims).astype(filled.dtype)


@implements("nanmax")
def nanmax(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Array:
    return _nan_extreme(max, a, -math.inf, axis, out, keepdims)


@implements("nanmin")
def nanmin(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Array:
    return _nan_extreme(min, a, math.inf, axis, out, keepdims)


def _nan_extreme(function: Callable[..., Array], a: Any, neutral: float, axis: Any, out: Any, keepdims: bool) -> Array:
    x = as_array(a)
    if not is_float(x.dtype):
        return function(x, axis, out, keepdims)
    filled, present = _without_nan(x, neutral)
    found = function(filled, axis, out, keepdims)
    return elementwise("where", any(present, axis, keepdims=keepdims), found, math.nan)


# --- running ------------------------------------------------------------------------------------------------


def _running(kind: Any, a: Any, axis: Any, dtype: Any, out: Any) -> Array:
    _refuse_out(out)
    x = as_array(_as_stacked(a))
    if kind in ("sum", "prod"):
        x = x.astype(as_dtype(dtype, _accumulator(x.dtype)))
    if axis is None:
        x, axis = x.ravel(), 0
    return wrap(make(Cumulative(kind, axis_of(axis, x.ndim)), (as_node(x),)))


@implements("cumsum")
def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Array:
    return _running("sum", a, axis, dtype, out)


@implements("cumprod")
def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Array:
    return _running("prod", a, axis, dtype, out)


@implements("cumulative_sum")
def cumulative_sum(
    x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False
) -> Array:
    return _with_initial(cumsum(x, axis, dtype, out), axis, include_initial, 0)


@implements("cumulative_prod")
def cumulative_prod(
    x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False
) -> Array:
    return _with_initial(cumprod(x, axis, dtype, out), axis, include_initial, 1)


def _with_initial(found: Array, axis: Any, wanted: bool, value: int) -> Array:
    if not wanted:
        return found
    at = axis_of(0 if axis is None else axis, found.ndim)
    first = call("full", (*found.shape[:at], 1, *found.shape[at + 1 :]), value, found.dtype)
    return call("concatenate", [first, found], at)


@implements("cummax")
def cummax(a: Any, axis: Any = None, dtype: Any = None) -> Array:
    """Running maximum (``np.maximum.accumulate``)."""
    return _running("max", a, axis, None, None)


@implements("cummin")
def cummin(a: Any, axis: Any = None, dtype: Any = None) -> Array:
    """Running minimum (``np.minimum.accumulate``)."""
    return _running("min", a, axis, None, None)


# --- sums of exponentials -----------------------------------------------------------------------------------


def _peak(x: Array, axes: tuple[int, ...]) -> Array:
    """The largest element, 0 where it is infinite: what exponents are measured from. A constant to
    differentiation.
    """
    largest = max(x, axes, keepdims=True, initial=-math.inf)
    finite = elementwise("where", elementwise("isfinite", largest), largest, 0.0)
    return wrap(make(Stop(), (as_node(finite),)))


@implements("logsumexp")
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Array:
    """``log Σ b·exp(a)`` without overflow; −inf elements add nothing, a +inf element gives +inf."""
    if return_sign:
        raise error(TypeError, "logsumexp with return_sign is not supported in traced programs")
    x = as_array(_as_stacked(a))
    x = x.astype(inexact_of(x.dtype))
    if is_complex(x.dtype):
        raise error(TypeError, "logsumexp of complex numbers is not supported")
    if b is not None:
        x, b = call("broadcast_arrays", x, as_array(b))
    axes = axes_of(axis, x.ndim)
    peak = _peak(x, axes)
    powers = elementwise("exp", x - peak)
    total = sum(powers if b is None else b * powers, axes, keepdims=True)
    found = elementwise("log", total) + peak
    return found if keepdims else found.reshape([d for i, d in enumerate(x.shape) if i not in axes])


@implements("softmax")
def softmax(x: Any, axis: Any = None) -> Array:
    """``exp(x)/Σ exp(x)``."""
    x = as_array(x)
    axes = axes_of(axis, x.ndim)
    powers = elementwise("exp", x.astype(inexact_of(x.dtype)) - _peak(x * 1.0, axes))
    return powers / sum(powers, axes, keepdims=True)


@implements("log_softmax")
def log_softmax(x: Any, axis: Any = None) -> Array:
    """``x − log Σ exp(x)``."""
    x = as_array(x)
    axes = axes_of(axis, x.ndim)
    shifted = x.astype(inexact_of(x.dtype)) - _peak(x * 1.0, axes)
    total = sum(elementwise("exp", shifted), axes, keepdims=True)
    return elementwise("sub", shifted, elementwise("log", total))
