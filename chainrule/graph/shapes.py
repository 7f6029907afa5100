"""Functions that move elements around: reshape, transpose, stack, split, pad, roll, repeat and their kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from . import dim as dims
from . import express, lift
from .array import Array, as_array, as_node, implements, node_of, operand, view_of, wrap
from .creation import as_shape
from .dim import Dim, Shape, Size
from .node import Node, make
from .op import Concatenate
from .where import error


def axis_of(axis: Any, rank: int) -> int:
    """An axis counted from the front."""
    found: int = axis.__index__()
    if not -rank <= found < rank:
        raise error(ValueError, f"axis {found} is out of bounds for array of dimension {rank}")
    return found % rank


def axes_of(axis: Any, rank: int) -> tuple[int, ...]:
    """One axis, a tuple of them, or None for all; ascending."""
    if axis is None:
        return tuple(range(rank))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    found = tuple(sorted(axis_of(a, rank) for a in axes))
    if len(set(found)) != len(found):
        raise error(ValueError, "duplicate value in 'axis'")
    return found


def view(x: Array, read: Callable[[Node], Node], write: Callable[[Node, Node], Node] | None = None) -> Array:
    """``read`` of x, a view of it that is written through by ``write``."""
    return view_of(wrap(read(node_of(x))), x, read, write)


# --- shape --------------------------------------------------------------------------------------------------


@implements("reshape")
def reshape(a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None) -> Array:
    """As ``np.reshape`` in C order; one size may be −1, sizes may be symbolic."""
    if order not in ("C", "A", "K"):
        raise error(TypeError, "reshape in C order only; transpose before and after for the other")
    x = as_array(a)
    wanted = _completed(x.shape, newshape if shape is None else shape)
    return view(x, lambda node: express.reshape(node, wanted))


def _completed(shape: Shape, wanted: Any) -> Shape:
    sizes = list(wanted) if isinstance(wanted, (tuple, list)) else [wanted]
    total = dims.product(shape)
    unknown = [i for i, d in enumerate(sizes) if not isinstance(d, Size) and not isinstance(d, Array) and d == -1]
    if len(unknown) > 1:
        raise error(ValueError, "can only specify one unknown dimension")
    known = as_shape([d for i, d in enumerate(sizes) if i not in unknown])
    rest = dims.product(known)
    if unknown:
        if rest == 0:
            raise error(ValueError, f"cannot reshape array of size {total} into shape {wanted}")
        quotient = dims.floordiv(total, rest)
        found = (*known[: unknown[0]], quotient, *known[unknown[0] :])
    else:
        found = known
    if dims.product(found) != total:
        raise error(ValueError, f"cannot reshape array of shape {dims.show(shape)} into {dims.show(as_text(sizes))}")
    return found


def as_text(sizes: Sequence[Any]) -> Shape:
    return tuple(sizes)


@implements("ravel")
def ravel(a: Any, order: str = "C") -> Array:
    return reshape(a, -1, order) if as_array(a).ndim != 1 else view(as_array(a), lambda n: n, lambda _, v: v)


@implements("transpose", "permute_dims")
def transpose(a: Any, axes: Any = None) -> Array:
    x = as_array(a)
    order = tuple(reversed(range(x.ndim))) if axes is None else tuple(axis_of(i, x.ndim) for i in axes)
    if sorted(order) != list(range(x.ndim)):
        raise error(ValueError, "axes don't match array")
    return _transposed(x, order)


def _transposed(x: Array, order: tuple[int, ...]) -> Array:
    back = tuple(np.argsort(order).tolist())
    return view(x, lambda n: express.transpose(n, order), lambda _, v: express.transpose(v, back))


@implements("matrix_transpose", "linalg.matrix_transpose")
def matrix_transpose(x: Any, /) -> Array:
    return swapaxes(x, -1, -2)


@implements("swapaxes")
def swapaxes(a: Any, axis1: int, axis2: int) -> Array:
    x = as_array(a)
    order = list(range(x.ndim))
    i, j = axis_of(axis1, x.ndim), axis_of(axis2, x.ndim)
    order[i], order[j] = order[j], order[i]
    return _transposed(x, tuple(order))


@implements("moveaxis")
def moveaxis(a: Any, source: Any, destination: Any) -> Array:
    x = as_array(a)
    froms = [axis_of(s, x.ndim) for s in (source if isinstance(source, (tuple, list)) else [source])]
    tos = [axis_of(d, x.ndim) for d in (destination if isinstance(destination, (tuple, list)) else [destination])]
    order = [i for i in range(x.ndim) if i not in froms]
    for to, source_axis in sorted(zip(tos, froms, strict=True)):
        order.insert(to, source_axis)
    return _transposed(x, tuple(order))


@implements("rollaxis")
def rollaxis(a: Any, axis: int, start: int = 0) -> Array:
    x = as_array(a)
    axis = axis_of(axis, x.ndim)
    start = start + x.ndim if start < 0 else start
    return moveaxis(x, axis, start - 1 if axis < start else start)


@implements("expand_dims")
def expand_dims(a: Any, axis: Any) -> Array:
    x = as_array(a)
    axes = axes_of(axis, x.ndim + (len(axis) if isinstance(axis, (tuple, list)) else 1))
    shape = list(x.shape)
    for i in axes:
        shape.insert(i, 1)
    return _reshaped(x, tuple(shape))


def _reshaped(x: Array, shape: Shape) -> Array:
    """A reshape that only adds or drops axes of size 1, which NumPy always gives as a view."""
    return view(x, lambda n: express.reshape(n, shape), lambda base, v: express.reshape(v, base.shape))


@implements("squeeze")
def squeeze(a: Any, axis: Any = None) -> Array:
    x = as_array(a)
    axes = axes_of(axis, x.ndim) if axis is not None else tuple(i for i, d in enumerate(x.shape) if d == 1)
    if any(x.shape[i] != 1 for i in axes):
        raise error(ValueError, "cannot select an axis to squeeze out which has size not equal to one")
    return _reshaped(x, tuple(d for i, d in enumerate(x.shape) if i not in axes))


@implements("broadcast_to")
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Array:
    node = as_node(array)
    wanted = as_shape(shape)
    if len(node.shape) > len(wanted) or lift.broadcast_shapes(node.shape, wanted) != wanted:
        raise error(ValueError, f"{dims.show(node.shape)} does not broadcast to {dims.show(wanted)}")
    found = wrap(express.broadcast_to(node, wanted))
    found._frozen = "the result of broadcast_to is read-only, as in NumPy; copy first: x = x.copy()"
    return found


@implements("broadcast_arrays")
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Array, ...]:
    arrays = [as_array(a) for a in args]
    shape = lift.broadcast_shapes(*[a.shape for a in arrays])
    return tuple(broadcast_to(a, shape) for a in arrays)


@implements("atleast_1d")
def atleast_1d(*arys: Any) -> Any:
    return _each(lambda x: x.reshape(1) if x.ndim == 0 else x, arys)


@implements("atleast_2d")
def atleast_2d(*arys: Any) -> Any:
    return _each(lambda x: _reshaped(x, (1,) * (2 - x.ndim) + x.shape) if x.ndim < 2 else x, arys)


@implements("atleast_3d")
def atleast_3d(*arys: Any) -> Any:
    def widen(x: Array) -> Array:
        return x if x.ndim > 2 else x[:, :, None] if x.ndim == 2 else x.reshape(1, -1, 1)

    return _each(widen, arys)


def _each(function: Callable[[Array], Array], values: tuple[Any, ...]) -> Any:
    found = tuple(function(as_array(v)) for v in values)
    return found[0] if len(found) == 1 else found


@implements("shape")
def shape(a: Any) -> Shape:
    return as_array(a).shape


@implements("ndim")
def ndim(a: Any) -> int:
    return as_array(a).ndim


@implements("size")
def size(a: Any, axis: int | None = None) -> Dim:
    return as_array(a).size if axis is None else as_array(a).shape[axis]


# --- joining and splitting ----------------------------------------------------------------------------------


def common(arrays: Any) -> list[Node]:
    """Nodes of one element type, by promotion."""
    if isinstance(arrays, Array):
        arrays = list(arrays)
    values = [operand(a) for a in arrays]
    if not values:
        raise error(ValueError, "need at least one array")
    dtype = lift.common_dtype(tuple(lift.kind_of(v) for v in values))
    return [express.cast(v, dtype) if isinstance(v, Node) else lift.literal(v, dtype) for v in values]


@implements("concatenate", "concat")
def concatenate(arrays: Any, /, axis: int | None = 0, *, dtype: Any = None, casting: str = "same_kind") -> Array:
    nodes = common(arrays)
    if axis is None:
        nodes, axis = [express.reshape(n, (dims.product(n.shape),)) for n in nodes], 0
    if any(not n.shape for n in nodes):
        raise error(ValueError, "zero-dimensional arrays cannot be concatenated; use np.stack")
    at = axis_of(axis, len(nodes[0].shape))
    rests = {(*n.shape[:at], *n.shape[at + 1 :]) if len(n.shape) > at else None for n in nodes}
    if len(rests) > 1 or len({len(n.shape) for n in nodes}) > 1:
        shapes = ", ".join(dims.show(n.shape) for n in nodes)
        raise error(ValueError, f"arrays of shapes {shapes} do not match outside of axis {at}")
    found = wrap(nodes[0] if len(nodes) == 1 else make(Concatenate(at), tuple(nodes)))
    return found if dtype is None else found.astype(dtype)


@implements("stack")
def stack(arrays: Any, axis: int = 0, *, dtype: Any = None, casting: str = "same_kind") -> Array:
    nodes = common(arrays)
    first = nodes[0].shape
    if any(n.shape != first for n in nodes):
        shapes = ", ".join(dims.show(n.shape) for n in nodes)
        raise error(ValueError, f"all input arrays must have the same shape, not {shapes}")
    at = axis_of(axis, len(first) + 1)
    wide = [wrap(express.reshape(n, (*first[:at], 1, *first[at:]))) for n in nodes]
    return concatenate(wide, at, dtype=dtype)


@implements("vstack", "row_stack")
def vstack(tup: Any, **kwargs: Any) -> Array:
    return concatenate([atleast_2d(a) for a in tup], 0, **kwargs)


@implements("hstack")
def hstack(tup: Any, **kwargs: Any) -> Array:
    arrays = [atleast_1d(a) for a in tup]
    return concatenate(arrays, 0 if arrays[0].ndim == 1 else 1, **kwargs)


@implements("dstack")
def dstack(tup: Any) -> Array:
    return concatenate([atleast_3d(a) for a in tup], 2)


@implements("column_stack")
def column_stack(tup: Any) -> Array:
    arrays = [as_array(a) for a in tup]
    return concatenate([a if a.ndim > 1 else a.reshape(-1, 1) for a in arrays], 1)


@implements("block")
def block(arrays: Any) -> Array:
    """Nested lists of blocks, at most two deep."""
    if not isinstance(arrays, list):
        return as_array(arrays)
    rows = [concatenate([atleast_1d(b) for b in r], -1) if isinstance(r, list) else atleast_1d(r) for r in arrays]
    if not any(isinstance(r, list) for r in arrays):
        return concatenate(rows, -1)
    return concatenate([atleast_2d(r) for r in rows], -2)


@implements("array_split")
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    x = as_array(ary)
    axis = axis_of(axis, x.ndim)
    total = x.shape[axis]
    if isinstance(indices_or_sections, (int, np.integer)):
        sections = int(indices_or_sections)
        if isinstance(total, Size):
            part = dims.floordiv(total, sections)
            if part * sections != total:
                raise error(ValueError, f"an axis of size {total} is not visibly a multiple of {sections}")
            bounds: list[Any] = [part * i for i in range(sections + 1)]
        else:
            each, extra = divmod(total, sections)
            bounds = [i * each + min(i, extra) for i in range(sections + 1)]
    else:
        bounds = [0, *indices_or_sections, None]
    whole = [slice(None)] * axis
    return [x[(*whole, slice(a, b))] for a, b in pairwise(bounds)]


@implements("split")
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    x = as_array(ary)
    total = x.shape[axis]
    if isinstance(indices_or_sections, (int, np.integer)) and isinstance(total, int) and total % indices_or_sections:
        raise error(ValueError, "array split does not result in an equal division")
    return array_split(x, indices_or_sections, axis)


@implements("hsplit")
def hsplit(ary: Any, indices_or_sections: Any) -> list[Array]:
    return split(ary, indices_or_sections, 0 if as_array(ary).ndim == 1 else 1)


@implements("vsplit")
def vsplit(ary: Any, indices_or_sections: Any) -> list[Array]:
    return split(ary, indices_or_sections, 0)


@implements("unstack")
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Array, ...]:
    return tuple(moveaxis(x, axis, 0))
