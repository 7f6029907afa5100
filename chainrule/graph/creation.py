"""Arrays from nothing, from numbers and from parts: ``zeros``, ``arange``, ``array``, ``stack`` and their
kind.

Sizes may be symbolic. All of these give Arrays of the current trace.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from . import dim as dims
from . import express, lift
from .array import (
    FUNCTIONS,
    Array,
    as_array,
    as_node,
    call,
    current_scope,
    elementwise,
    implements,
    operand,
    wrap,
)
from .dim import Dim, Shape, Size
from .dtype import BOOL, FLOAT64, INT64, DType, canonical, inexact_of
from .node import Node, constant, make
from .op import Iota
from .where import error, over_traced


def as_shape(shape: Any) -> Shape:
    """A shape from a size or a sequence of them."""
    if isinstance(shape, Array):
        message = "a shape is made of known sizes, not of traced values; pass a static argument, or use x.shape"
        raise over_traced(error(TypeError, message))
    if not isinstance(shape, (tuple, list, np.ndarray)):
        shape = (shape,)
    return tuple(as_size(d) for d in shape)


def as_size(size: Any) -> Dim:
    """A known size: an int, or a named one."""
    if isinstance(size, Size):
        return size
    if isinstance(size, Array):
        message = f"a size is a known number, not a traced value ({size!r}); x.shape[0] is known"
        raise over_traced(error(TypeError, message))
    try:
        found = operator.index(size)
    except TypeError:
        raise error(TypeError, f"a size is a whole number, not {size!r}") from None
    if found < 0:
        raise error(ValueError, f"a size is not negative, but this is {found}")
    return found


def as_dtype(dtype: Any, default: DType) -> DType:
    if dtype is None:
        return default
    try:
        return canonical(dtype)
    except TypeError as problem:
        raise error(TypeError, str(problem)) from None


def filled(value: Any, shape: Shape, dtype: DType) -> Array:
    return wrap(lift.full(constant(value, dtype), shape))


@implements("zeros", "empty")
def zeros(shape: Any, dtype: Any = None, order: str = "C", **_: Any) -> Array:
    return filled(0, as_shape(shape), as_dtype(dtype, FLOAT64))


@implements("ones")
def ones(shape: Any, dtype: Any = None, order: str = "C", **_: Any) -> Array:
    return filled(1, as_shape(shape), as_dtype(dtype, FLOAT64))


@implements("full")
def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", **_: Any) -> Array:
    node = as_node(fill_value)
    return wrap(express.broadcast_to(express.cast(node, as_dtype(dtype, node.dtype)), as_shape(shape)))


def _like(a: Any, dtype: Any, shape: Any) -> tuple[Shape, DType]:
    array = as_array(a)
    return array.shape if shape is None else as_shape(shape), as_dtype(dtype, array.dtype)


@implements("zeros_like", "empty_like")
def zeros_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **_: Any) -> Array:
    return filled(0, *_like(a, dtype, shape))


@implements("ones_like")
def ones_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **_: Any) -> Array:
    return filled(1, *_like(a, dtype, shape))


@implements("full_like")
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    **_: Any,
) -> Array:
    wanted, kind = _like(a, dtype, shape)
    return wrap(express.broadcast_to(express.cast(as_node(fill_value), kind), wanted))


def iota(length: Dim, dtype: DType = INT64) -> Node:
    """0, 1, …, length−1; short known ones are constants."""
    if isinstance(length, int) and length <= 32:
        return constant(np.arange(length), dtype)
    return express.cast(make(Iota(length)), dtype)


@implements("arange")
def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, **_: Any) -> Array:
    """As ``np.arange``; bounds are known numbers, or sizes."""
    if stop is None:
        start, stop = 0, start
    if any(isinstance(v, Array) for v in (start, stop, step)):
        raise error(TypeError, "np.arange needs known bounds, which say how long the result is; scale np.arange(n)")
    if isinstance(start, Size) or isinstance(stop, Size):
        if not isinstance(step, int):
            raise error(TypeError, "np.arange of a named size takes an integer step")
        count = dims.maximum(dims.floordiv(stop - start + (step - 1), step), 0)
        numbers = wrap(iota(count))
        if step != 1:
            numbers = numbers * step
        found = numbers + lift_size(start) if start != 0 else numbers
        return found.astype(as_dtype(dtype, INT64))
    values: np.ndarray[Any, Any] = np.arange(start, stop, step, dtype)  # type: ignore[call-overload]
    kind = as_dtype(dtype, canonical(values.dtype))
    if kind == INT64 and values.size > 32:
        return wrap(iota(values.size)) * int(step) + int(start) if (start, step) != (0, 1) else wrap(iota(values.size))
    return wrap(current_scope().lift(values.astype(kind)))


def lift_size(size: Any) -> Any:
    return wrap(lift.size_value(size)) if isinstance(size, Size) else size


@implements("linspace")
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """As ``np.linspace``; traced ends too."""
    count = as_size(num)
    first, last = as_array(start), as_array(stop)
    first, last = first * 1.0, last * 1.0
    gaps = dims.maximum(count - 1, 1) if endpoint else count
    step = (last - first) / (float(gaps) if isinstance(gaps, int) else lift_size(gaps))
    numbers = wrap(iota(count, inexact_of(step.dtype)))
    numbers = numbers.reshape((count, *[1] * step.ndim))
    values = numbers * step + first
    if endpoint and isinstance(count, int) and count > 1:  # the last value exactly
        final = call("broadcast_to", last, values.shape[1:])
        values = call("concatenate", [values[:-1], final[None]])
    if axis != 0:
        values = call("moveaxis", values, 0, axis)
    values = values if dtype is None else values.astype(dtype)
    return (values, step) if retstep else values


@implements("logspace")
def logspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: float = 10.0) -> Array:
    return call("power", base, linspace(start, stop, num, endpoint))


@implements("geomspace")
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True) -> Array:
    ends = elementwise("log", as_array(start)), elementwise("log", as_array(stop))
    return elementwise("exp", linspace(*ends, num, endpoint))


@implements("eye")
def eye(N: Any, M: Any = None, k: int = 0, dtype: Any = None, order: str = "C", **_: Any) -> Array:
    rows, columns = as_size(N), as_size(N if M is None else M)
    i, j = wrap(iota(rows)), wrap(iota(columns))
    return elementwise("eq", j - i[:, None], k).astype(as_dtype(dtype, FLOAT64))


@implements("identity")
def identity(n: Any, dtype: Any = None, **_: Any) -> Array:
    return eye(n, dtype=dtype)


@implements("tri")
def tri(N: Any, M: Any = None, k: int = 0, dtype: Any = None, **_: Any) -> Array:
    rows, columns = as_size(N), as_size(N if M is None else M)
    i, j = wrap(iota(rows)), wrap(iota(columns))
    return (j - i[:, None] <= k).astype(as_dtype(dtype, FLOAT64))


@implements("meshgrid")
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Array, ...]:
    arrays = [as_array(x).ravel() for x in xi]
    rank = len(arrays)
    grids = []
    for axis, x in enumerate(arrays):
        place = {0: 1, 1: 0}.get(axis, axis) if indexing == "xy" and rank > 1 else axis
        grids.append(x.reshape([1] * place + [x.shape[0]] + [1] * (rank - 1 - place)))
    return tuple(grids) if sparse else tuple(call("broadcast_arrays", *grids))


@implements("array", "asarray", "asanyarray", "ascontiguousarray")
def array(object: Any, dtype: Any = None, copy: bool | None = None, order: str = "K", **_: Any) -> Array:
    """An Array of a number, an array, or nested sequences of them, traced ones among them."""
    if isinstance(object, (list, tuple)) and contains_traced(object):
        found = _stacked(object)
    elif isinstance(object, Array):
        found = object
    else:
        found = wrap(
            lift.strong(operand(object if isinstance(object, (np.ndarray, np.generic)) else np.asarray(object)))
        )
    if dtype is not None:
        found = found.astype(dtype)
    return found.copy() if found is object else found


FUNCTIONS["asarray"] = FUNCTIONS["asanyarray"] = lambda a, dtype=None, **_: (
    a if isinstance(a, Array) and dtype is None else array(a, dtype)
)


def contains_traced(value: Any) -> bool:
    """Whether a nested sequence has a traced value in it."""
    if isinstance(value, (list, tuple)):
        return any(contains_traced(v) for v in value)
    return isinstance(value, Array)


def _stacked(rows: Any) -> Array:
    parts = [array(r) if isinstance(r, (list, tuple)) else r for r in rows]
    return call("stack", [as_array(p) if not _is_number(p) else p for p in parts])


def _is_number(value: Any) -> bool:
    return type(value) in (float, int, bool, complex)


@implements("copy")
def copy(a: Any, order: str = "K", subok: bool = False) -> Array:
    return wrap(as_node(a))


@implements("astype")
def astype(
    x: Any, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
) -> Array:
    """The elements converted, as NumPy converts; complex numbers to reals only through ``.real``."""
    node = as_node(x)
    kind = as_dtype(dtype, FLOAT64)
    if kind == BOOL:
        return wrap(lift.to_bool(node))
    if node.dtype.kind == "c" and kind.kind != "c":
        raise error(TypeError, f"{node.dtype} to {kind} drops the imaginary part; write x.real.astype(...)")
    return wrap(express.cast(node, kind))
