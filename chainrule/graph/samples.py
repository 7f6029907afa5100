"""Functions of samples: differences, integrals, interpolation, covariance, sorting and searching."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from . import express
from .array import Array, as_array, as_node, call, elementwise, implements, wrap
from .creation import as_size
from .dim import Size
from .dtype import BOOL, FLOAT64, INT64, inexact_of, promote
from .node import Node, make
from .numeric import clip, where
from .op import Scatter, Sort
from .shapes import axes_of, axis_of, common, concatenate
from .where import error


def _all(axis: int, part: slice) -> tuple[slice, ...]:
    return (*[slice(None)] * axis, part)


@implements("diff")
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Array:
    """As ``np.diff``."""
    x = as_array(a)
    at = axis_of(axis, x.ndim)
    ends: list[list[Array]] = []
    for end in (prepend, append):
        if end is None:
            ends.append([])
            continue
        value = as_array(end)
        if value.ndim == 0:
            value = call("broadcast_to", value, (*x.shape[:at], 1, *x.shape[at + 1 :]))
        ends.append([value])
    x = concatenate([*ends[0], x, *ends[1]], at) if ends[0] or ends[1] else x
    for _ in range(n):
        later, earlier = x[_all(at, slice(1, None))], x[_all(at, slice(None, -1))]
        x = later ^ earlier if x.dtype == BOOL else later - earlier
    return x


@implements("ediff1d")
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Array:
    x = diff(as_array(ary).ravel())
    parts = [call("atleast_1d", p) for p in (to_begin, x, to_end) if p is not None]
    return concatenate(parts) if len(parts) > 1 else x


@implements("gradient")
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """As ``np.gradient`` with first-order ends; spacings are numbers or coordinates."""
    if edge_order != 1:
        raise error(TypeError, "np.gradient with edge_order=2 is not supported in traced programs")
    x = as_array(f)
    x = x.astype(inexact_of(x.dtype))
    axes = axes_of(axis, x.ndim)
    spacings = list(varargs) if len(varargs) > 1 else list(varargs or (1.0,)) * len(axes)
    if len(spacings) != len(axes):
        raise error(TypeError, "invalid number of arguments")
    found = [_gradient(x, h, at) for h, at in zip(spacings, axes, strict=True)]
    return found[0] if len(found) == 1 else tuple(found)


def _gradient(x: Array, spacing: Any, axis: int) -> Array:
    def part(start: int | None, stop: int | None) -> Array:
        return x[_all(axis, slice(start, stop))]

    if as_array(spacing).ndim == 0:
        middle = (part(2, None) - part(None, -2)) / (2.0 * as_array(spacing))
        first, last = (part(1, 2) - part(0, 1)) / spacing, (part(-1, None) - part(-2, -1)) / spacing
        return concatenate([first, middle, last], axis)
    steps = diff(spacing).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    before, after = steps[_all(axis, slice(None, -1))], steps[_all(axis, slice(1, None))]
    both = before + after
    middle = (
        -after / (before * both) * part(None, -2)
        + (after - before) / (before * after) * part(1, -1)
        + before / (after * both) * part(2, None)
    )
    first = (part(1, 2) - part(0, 1)) / steps[_all(axis, slice(0, 1))]
    last = (part(-1, None) - part(-2, -1)) / steps[_all(axis, slice(-1, None))]
    return concatenate([first, middle, last], axis)


@implements("trapezoid", "trapz")
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Array:
    """As ``np.trapezoid``."""
    values = as_array(y)
    at = axis_of(axis, values.ndim)
    if x is None:
        widths = dx
    else:
        points = as_array(x)
        widths = diff(points, axis=axis)
        if points.ndim == 1:
            widths = widths.reshape([-1 if i == at else 1 for i in range(values.ndim)])
    means = (values[_all(at, slice(1, None))] + values[_all(at, slice(None, -1))]) / 2.0
    return elementwise("mul", widths, means).sum(axis=at)


@implements("polyval")
def polyval(p: Any, x: Any) -> Array:
    """As ``np.polyval``: Horner's scheme, highest power first."""
    coefficients = as_array(p)
    found = call("zeros_like", x)
    for i in range(len(coefficients)):
        found = found * x + coefficients[i]
    return found


@implements("vander")
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Array:
    """As ``np.vander``."""
    x = as_array(x)
    count = as_size(x.shape[0] if N is None else N)
    if isinstance(count, Size):
        raise error(TypeError, "np.vander needs a known number of columns")
    powers = np.arange(count)
    return call("power", x[:, None], powers if increasing else powers[::-1].copy())


@implements("convolve")
def convolve(a: Any, v: Any, mode: str = "full") -> Array:
    """As ``np.convolve``."""
    x, kernel = as_array(a), as_array(v)
    if isinstance(kernel.shape[0], Size) or (isinstance(x.shape[0], int) and x.shape[0] < kernel.shape[0]):
        x, kernel = kernel, x
    width, length = kernel.shape[0], x.shape[0]
    if isinstance(width, Size):
        raise error(TypeError, "np.convolve needs one array of known size")
    padded = call("pad", x, width - 1)
    total = length + width - 1
    starts = range(width - 1, -1, -1)
    found = reduce(operator.add, [kernel[k] * padded[slice(i, i + total)] for k, i in enumerate(starts)])
    if mode == "full":
        return found
    middle = (width - 1) // 2
    return found[slice(middle, middle + length)] if mode == "same" else found[slice(width - 1, length)]


@implements("correlate")
def correlate(a: Any, v: Any, mode: str = "valid") -> Array:
    """As ``np.correlate``."""
    return convolve(a, as_array(v).conj()[::-1], mode)


@implements("cov")
def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None) -> Array:
    """As ``np.cov`` without weights."""
    x = call("atleast_2d", m) * 1.0
    x = x.T if not rowvar and x.shape[0] != 1 else x
    if y is not None:
        other = call("atleast_2d", y) * 1.0
        x = concatenate([x, other.T if not rowvar and other.shape[0] != 1 else other])
    less = ddof if ddof is not None else (0 if bias else 1)
    count = call("sum", call("ones", x.shape[-1]))
    centred = x - x.mean(axis=1, keepdims=True)
    return call("squeeze", call("matmul", centred, centred.T.conj()) / (count - less))


@implements("corrcoef")
def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Array:
    """As ``np.corrcoef``."""
    c = cov(x, y, rowvar)
    if c.ndim == 0:
        return c / c
    d = elementwise("sqrt", call("diag", c).real)
    return clip(c / d[:, None] / d, -1, 1)


# --- sorting and searching ----------------------------------------------------------------------------------


def _sorted(a: Any, axis: int | None, indices: bool) -> Array:
    x = as_array(a)
    if axis is None:
        x, axis = x.ravel(), 0
    return wrap(make(Sort(axis_of(axis, x.ndim), indices), (as_node(x),)))


@implements("sort")
def sort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Array:
    """As ``np.sort``."""
    return _sorted(a, axis, indices=False)


@implements("argsort")
def argsort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Array:
    """As ``np.argsort``; equal elements keep their order."""
    return _sorted(a, axis, indices=True)


@implements("median")
def median(
    a: Any, axis: int | None = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False
) -> Array:
    """As ``np.median`` along an axis of known size, or all of them."""
    x = as_array(a)
    ordered = sort(x, axis)
    at = 0 if axis is None else axis_of(axis, x.ndim)
    n = ordered.shape[at]
    if isinstance(n, Size):
        raise error(TypeError, f"np.median along an axis whose size {n} is not known while tracing")
    found = ordered[_all(at, slice((n - 1) // 2, n // 2 + 1))].mean(axis=at, keepdims=keepdims)
    nan = call("isnan", x).any(axis=axis, keepdims=keepdims)
    found = found.reshape([1] * x.ndim) if keepdims and axis is None else found
    return where(nan, math.nan, found)


@implements("searchsorted")
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Array:
    """As ``np.searchsorted``: a binary search where the length of ``a`` is known, else by counting."""
    if sorter is not None:
        raise error(TypeError, "np.searchsorted with sorter= is not supported; index the array with it first")
    table, value = [wrap(n) for n in common([a, v])]
    below: Callable[[Any, Any], Any] = (lambda t, x: t < x) if side == "left" else (lambda t, x: t <= x)
    n = table.shape[0]
    if isinstance(n, Size):
        return call("sum", below(table, value[..., None]), axis=-1)
    found = call("zeros", value.shape, INT64)
    step = 1 << max(n.bit_length() - 1, 0)
    while step and n:
        end = found + step
        inside = (end <= n) & below(table[call("minimum", end, n) - 1], value)
        found = where(inside, end, found)
        step >>= 1
    return found


@implements("digitize")
def digitize(x: Any, bins: Any, right: bool = False) -> Array:
    """As ``np.digitize`` for increasing bins."""
    return searchsorted(bins, x, side="left" if right else "right")


@implements("interp")
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Array:
    """As ``np.interp`` for increasing ``xp`` of known size."""
    if period is not None:
        raise error(TypeError, "np.interp with period= is not supported in traced programs")
    x, xs, fs = as_array(x) * 1.0, as_array(xp) * 1.0, as_array(fp) * 1.0
    n = xs.shape[0]
    i = clip(searchsorted(xs, x, side="right") - 1, 0, max(n - 2, 0) if isinstance(n, int) else n - 2)
    if n == 1:
        return where(
            x < xs[0],
            fs[0] if left is None else left,
            where(x > xs[0], fs[0] if right is None else right, fs[0]),
        )
    x0, f0 = xs[i], fs[i]
    slope = (fs[i + 1] - f0) / (xs[i + 1] - x0)
    found = where(x == xs[i + 1], fs[i + 1], slope * (x - x0) + f0)
    found = where(x < xs[0], fs[0] if left is None else left, found)
    return where(x > xs[-1], fs[-1] if right is None else right, found)


@implements("take_along_axis")
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Array:
    """As ``np.take_along_axis``."""
    x, places = as_array(arr), as_array(indices)
    if axis is None:
        x, axis = x.ravel(), 0
    at = axis_of(axis, x.ndim)
    index: list[Any] = []
    for i, size in enumerate(x.shape):
        if i == at:
            index.append(places)
        else:
            own = call("arange", size).reshape([-1 if j == i else 1 for j in range(x.ndim)])
            index.append(own)
    return x[tuple(index)]


@implements("bincount")
def bincount(x: Any, weights: Any = None, minlength: Any = 0) -> Array:
    """As ``np.bincount`` with exactly ``minlength`` bins, which has to be given; larger values are
    dropped.
    """
    places = as_array(x)
    length = as_size(minlength)
    if length == 0:
        raise error(TypeError, "np.bincount of traced values needs minlength=, the number of bins")
    values = as_array(1 if weights is None else weights)
    dtype = INT64 if weights is None else promote(values.dtype, FLOAT64)
    node: Node = as_node(call("broadcast_to", values.astype(dtype), places.shape))
    base = as_node(call("zeros", (length,), dtype))
    return wrap(make(Scatter((0,), "add"), (base, node, express.cast(as_node(places), INT64))))
