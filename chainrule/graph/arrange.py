"""Functions that arrange elements anew: flip, roll, repeat, tile, pad, diagonals and triangles."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import dim as dims
from . import express
from .array import Array, as_array, call, implements, node_of, wrap
from .creation import as_size, contains_traced, iota
from .dim import Dim, Size
from .node import constant, make
from .op import Reverse
from .shapes import atleast_2d, axes_of, axis_of, broadcast_to, concatenate, moveaxis, swapaxes, view
from .where import error

# --- turning and repeating ----------------------------------------------------------------------------------


@implements("flip")
def flip(m: Any, axis: Any = None) -> Array:
    x = as_array(m)
    axes = axes_of(axis, x.ndim)
    return view(x, lambda n: make(Reverse(axes), (n,)), lambda _, v: make(Reverse(axes), (v,))) if axes else x


@implements("flipud")
def flipud(m: Any) -> Array:
    return flip(m, 0)


@implements("fliplr")
def fliplr(m: Any) -> Array:
    return flip(m, 1)


@implements("rot90")
def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Array:
    x = as_array(m)
    turns = k % 4
    if turns == 0:
        return x
    if turns == 2:
        return flip(x, axes)
    if turns == 1:
        return swapaxes(flip(x, axes[1]), *axes)
    return flip(swapaxes(x, *axes), axes[1])


@implements("roll")
def roll(a: Any, shift: Any, axis: Any = None) -> Array:
    """As ``np.roll`` for known shifts."""
    x = as_array(a)
    if isinstance(shift, Array):
        raise error(TypeError, "np.roll takes a known shift; index with (np.arange(n) - shift) % n for a traced one")
    if axis is None:
        return roll(x.ravel(), shift, 0).reshape(x.shape)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,) * len(axes)
    for one, by in zip(axes, shifts, strict=True):
        at = axis_of(one, x.ndim)
        length = x.shape[at]
        if isinstance(length, int):
            by = by % length if length else 0
        if by == 0:
            continue
        whole = [slice(None)] * at
        x = concatenate([x[(*whole, slice(-by, None))], x[(*whole, slice(None, -by))]], at)
    return x.copy()


@implements("tile")
def tile(A: Any, reps: Any) -> Array:
    x = as_array(A)
    times = list(reps) if isinstance(reps, (tuple, list)) else [reps]
    times = [1] * (x.ndim - len(times)) + [as_size(t) for t in times]
    x = x.reshape((1,) * (len(times) - x.ndim) + x.shape)
    wide: list[Dim] = [d for t, n in zip(times, x.shape, strict=True) for d in (t, n)]
    split_shape: list[Dim] = [d for n in x.shape for d in (1, n)]
    spread = broadcast_to(x.reshape(split_shape), wide)
    return spread.reshape([t * n for t, n in zip(times, x.shape, strict=True)]).copy()


@implements("repeat")
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Array:
    """As ``np.repeat`` for known numbers of repetitions."""
    x = as_array(a)
    if isinstance(repeats, Array):
        raise error(TypeError, "np.repeat takes known numbers, which say how long the result is")
    if axis is None:
        x, axis = x.ravel(), 0
    at = axis_of(axis, x.ndim)
    counts = repeats if isinstance(repeats, Size) else np.asarray(repeats)
    if isinstance(counts, np.ndarray) and counts.size > 1:
        places = np.repeat(np.arange(counts.size), counts)
        return call("take", x, places, at)
    by = counts if isinstance(counts, Size) else int(counts.reshape(-1)[0])
    before, after = x.shape[:at], x.shape[at + 1 :]
    spread = broadcast_to(x.reshape((*before, x.shape[at], 1, *after)), (*before, x.shape[at], by, *after))
    return spread.reshape((*before, x.shape[at] * by, *after)).copy()


# --- padding ------------------------------------------------------------------------------------------------


@implements("pad")
def pad(array: Any, pad_width: Any, mode: str = "constant", **kwargs: Any) -> Array:
    """As ``np.pad``, modes constant, edge, wrap, reflect and symmetric (the last three not wider than the
    array).
    """
    x = as_array(array)
    widths = _pairs(pad_width, x.ndim)
    if mode == "constant":
        return _padded(x, widths, _pairs(kwargs.get("constant_values", 0), x.ndim, size=False))
    if mode not in ("edge", "wrap", "reflect", "symmetric"):
        raise error(TypeError, f"np.pad with mode {mode!r}; constant, edge, wrap, reflect and symmetric are supported")
    for axis, (low, high) in enumerate(widths):
        length = x.shape[axis]
        if not isinstance(length, int):
            raise error(TypeError, f"np.pad with mode {mode!r} along an axis of unknown size {length}")
        places = np.pad(np.arange(length), (low, high), mode=mode)  # type: ignore[call-overload]
        x = call("take", x, places, axis) if low or high else x
    return x


def _pairs(given: Any, rank: int, size: bool = True) -> list[tuple[Any, Any]]:
    if isinstance(given, (Array, Size)):
        return [(given, given)] * rank
    if isinstance(given, dict):
        pairs = [(0, 0)] * rank
        for axis, pair in given.items():
            pairs[axis_of(axis, rank)] = pair if isinstance(pair, tuple) else (pair, pair)
        return pairs
    if contains_traced(given) or any(isinstance(v, Size) for v in _flat(given)):
        return list(given) if isinstance(given[0], (tuple, list)) else [tuple(given)] * rank
    table = np.broadcast_to(np.asarray(given), (rank, 2))
    return [(a.item(), b.item()) for a, b in table]


def _flat(value: Any) -> list[Any]:
    return [v for part in value for v in _flat(part)] if isinstance(value, (tuple, list)) else [value]


def _padded(x: Array, widths: list[tuple[Any, Any]], values: list[tuple[Any, Any]]) -> Array:
    low, high = tuple(as_size(w[0]) for w in widths), tuple(as_size(w[1]) for w in widths)
    if all(not isinstance(v, Array) and v == 0 for pair in values for v in pair):
        return wrap(express.pad(node_of(x), low, high, (0,) * x.ndim))
    for axis, ((before, after), (left, right)) in enumerate(zip(widths, values, strict=True)):
        parts = []
        for count, value in ((before, left), (None, x), (after, right)):
            if count is None:
                parts.append(x)
            elif count != 0:
                shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
                parts.append(call("full", shape, value, x.dtype))
        x = concatenate(parts, axis)
    return x


# --- diagonals and triangles --------------------------------------------------------------------------------


@implements("diagonal", "linalg.diagonal")
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    x = as_array(a)
    if x.ndim < 2:
        raise error(ValueError, "diag requires an array of at least two dimensions")
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    rows, columns = x.shape[-2:]
    length = dims.minimum(rows, columns - offset) if offset >= 0 else dims.minimum(rows + offset, columns)
    length = dims.maximum(length, 0)
    i = wrap(iota(length))
    return x[(..., i - min(offset, 0), i + max(offset, 0))]


@implements("diag")
def diag(v: Any, k: int = 0) -> Array:
    x = as_array(v)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise error(ValueError, "Input must be 1- or 2-d.")
    n = x.shape[0] + abs(k)
    i = wrap(iota(x.shape[0]))
    zeros = call("zeros", (n, n), x.dtype)
    return call("updated", zeros, (i - min(k, 0), i + max(k, 0)), x, "set")


@implements("diagflat")
def diagflat(v: Any, k: int = 0) -> Array:
    return diag(as_array(v).ravel(), k)


@implements("trace", "linalg.trace")
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Array:
    return diagonal(a, offset, axis1, axis2).sum(axis=-1, dtype=dtype)


def _triangle(m: Any, k: int, lower: bool) -> Array:
    x = atleast_2d(m)
    i, j = wrap(iota(x.shape[-2])), wrap(iota(x.shape[-1]))
    offset = j - i[:, None]
    keep = offset <= k if lower else offset >= k
    return call("where", keep, x, wrap(constant(0, x.dtype)))


@implements("tril")
def tril(m: Any, k: int = 0) -> Array:
    return _triangle(m, k, lower=True)


@implements("triu")
def triu(m: Any, k: int = 0) -> Array:
    return _triangle(m, k, lower=False)


@implements("tril_indices_from")
def tril_indices_from(arr: Any, k: int = 0) -> tuple[Any, ...]:
    return np.tril_indices(*_known_matrix(arr, k))


@implements("triu_indices_from")
def triu_indices_from(arr: Any, k: int = 0) -> tuple[Any, ...]:
    return np.triu_indices(*_known_matrix(arr, k))


def _known_matrix(arr: Any, k: int) -> tuple[int, int, int]:
    rows, columns = as_array(arr).shape
    if isinstance(rows, Size) or isinstance(columns, Size):
        raise error(TypeError, "indices of a triangle of unknown size; give the matrix a fixed size")
    return rows, k, columns
