"""Rules of the ops that only move elements about: fewer, and nearer to the leaves if smaller there."""

from __future__ import annotations

from typing import Final

from chainrule.graph.dim import Dim, Shape, at_least
from chainrule.graph.express import broadcast, pad, reduce, reshape, slice_, transpose, zeros
from chainrule.graph.node import Node, const_value, make
from chainrule.graph.op import (
    Broadcast,
    Concatenate,
    Cumulative,
    Gather,
    Insert,
    Iota,
    Pad,
    Reduce,
    Reshape,
    Reverse,
    Scatter,
    Slice,
    Transpose,
)

from .known import is_zeros, uniform
from .pattern import on
from .rewrite import Table

Box = tuple[Shape, Shape, tuple[int, ...]]  # starts, counts and steps of a window


@on(Broadcast, Reshape)
def same_shape(node: Node) -> Node | None:
    (x,) = node.args
    return x if x.shape == node.shape else None


@on(Broadcast)
def broadcast_of_broadcast(node: Node) -> Node | None:
    (x,) = node.args
    assert isinstance(node.op, Broadcast)
    if type(x.op) is not Broadcast:
        return None
    return broadcast(x.args[0], node.op.shape, tuple(node.op.axes[a] for a in x.op.axes))


@on(Transpose)
def transpose_of(node: Node) -> Node | None:
    (x,) = node.args
    assert isinstance(node.op, Transpose)
    axes, inner = node.op.axes, x.op
    match inner:
        case _ if axes == tuple(range(len(axes))):
            return x
        case Transpose():
            return transpose(x.args[0], tuple(inner.axes[a] for a in axes))
        case Broadcast():
            target = [axes.index(a) for a in inner.axes]  # input axis → axis of the result
            order = tuple(sorted(range(len(target)), key=target.__getitem__))
            return broadcast(transpose(x.args[0], order), node.shape, tuple(sorted(target)))
        case _:
            return None


@on(Reshape)
def reshape_of(node: Node) -> Node | None:
    (x,) = node.args
    if type(x.op) is Reshape:
        return reshape(x.args[0], node.shape)
    source = uniform(x)
    return None if source is None else broadcast(source, node.shape, ())


@on(Reverse)
def reverse_of(node: Node) -> Node | None:
    (x,) = node.args
    assert isinstance(node.op, Reverse)
    axes = tuple(a for a in node.op.axes if x.shape[a] != 1)
    if axes != node.op.axes:
        return make(Reverse(axes), (x,)) if axes else x
    if type(x.op) is Reverse:
        both = tuple(sorted(set(axes) ^ set(x.op.axes)))
        return make(Reverse(both), x.args) if both else x.args[0]
    if type(x.op) is Broadcast:
        kept = tuple(i for i, a in enumerate(x.op.axes) if a in axes)
        source = make(Reverse(kept), x.args) if kept else x.args[0]
        return make(x.op, (source,))
    return None


# --- windows ------------------------------------------------------------------------------------------------


def _end(start: Dim, count: Dim, step: int) -> Dim:
    """The first place after a window."""
    return start + (count - 1) * step + 1


def _inside(start: Dim, end: Dim, low: Dim, high: Dim) -> bool:
    return at_least(start, low) and at_least(high, end)


def _apart(start: Dim, end: Dim, low: Dim, high: Dim) -> bool:
    return at_least(low, end) or at_least(start, high)


@on(Slice)
def slice_of(node: Node) -> Node | None:
    (x,) = node.args
    op = node.op
    assert isinstance(op, Slice)
    if op.counts == x.shape and set(op.steps) <= {1}:
        return x
    if 0 in op.counts:
        return zeros(node.type)
    inner, window = x.op, (op.starts, op.counts, op.steps)
    match inner:
        case Slice():
            starts = tuple(
                a + b * step for a, b, step in zip(inner.starts, op.starts, inner.steps, strict=True)
            )
            steps = tuple(a * b for a, b in zip(inner.steps, op.steps, strict=True))
            return slice_(x.args[0], starts, op.counts, steps)
        case Broadcast():
            part = slice_(x.args[0], *(tuple(v[a] for a in inner.axes) for v in window))  # type: ignore[arg-type]
            return broadcast(part, op.counts, inner.axes)
        case Pad():
            return _slice_of_pad(window, inner, x.args[0], node)
        case Concatenate(axis):
            return _slice_of_concatenate(window, axis, x.args)
        case Insert():
            return _slice_of_insert(window, inner, x.args[0], x.args[1])
        case _:
            return None


def _slice_of_pad(window: Box, inner: Pad, x: Node, node: Node) -> Node | None:
    inside = True
    for start, count, step, low, n, between in zip(*window, inner.low, x.shape, inner.inner, strict=True):
        if between:
            return None
        end = _end(start, count, step)
        if _apart(start, end, low, low + n):
            return zeros(node.type)
        inside = inside and _inside(start, end, low, low + n)
    if not inside:
        return None
    starts, counts, steps = window
    return slice_(x, tuple(s - a for s, a in zip(starts, inner.low, strict=True)), counts, steps)


def _slice_of_concatenate(window: Box, axis: int, pieces: tuple[Node, ...]) -> Node | None:
    starts, counts, steps = window
    end = _end(starts[axis], counts[axis], steps[axis])
    offset: Dim = 0
    for piece in pieces:
        after = offset + piece.shape[axis]
        if _inside(starts[axis], end, offset, after):
            moved = (*starts[:axis], starts[axis] - offset, *starts[axis + 1 :])
            return slice_(piece, moved, counts, steps)
        offset = after
    return None


def _slice_of_insert(window: Box, inner: Insert, base: Node, v: Node) -> Node | None:
    starts, counts, steps = window
    if starts == inner.starts and steps == inner.steps and counts == v.shape:
        return v
    inside = True
    for start, count, step, low, n, stride in zip(*window, inner.starts, v.shape, inner.steps, strict=True):
        if n == 0:
            return slice_(base, *window)
        end, high = _end(start, count, step), _end(low, n, stride)
        if _apart(start, end, low, high):
            return slice_(base, *window)
        inside = inside and stride == 1 and _inside(start, end, low, high)
    moved = tuple(s - a for s, a in zip(starts, inner.starts, strict=True))
    return slice_(v, moved, counts, steps) if inside else None


@on(Pad)
def pad_of(node: Node) -> Node | None:
    (x,) = node.args
    op = node.op
    assert isinstance(op, Pad)
    if x.shape == node.shape:
        return x
    if is_zeros(x):
        return zeros(node.type)
    if type(x.op) is Pad and not any(op.inner):
        low = tuple(a + b for a, b in zip(op.low, x.op.low, strict=True))
        high = tuple(a + b for a, b in zip(op.high, x.op.high, strict=True))
        return pad(x.args[0], low, high, x.op.inner)
    return None


@on(Concatenate)
def concatenate_of(node: Node) -> Node | None:
    assert isinstance(node.op, Concatenate)
    axis = node.op.axis
    pieces: list[Node] = []
    for piece in node.args:
        if type(piece.op) is Concatenate and piece.op.axis == axis:
            pieces.extend(piece.args)
        elif piece.shape[axis] != 0:
            pieces.append(piece)
    if tuple(pieces) == node.args:
        return pieces[0] if len(pieces) == 1 else None
    return make(node.op, tuple(pieces)) if pieces else node.args[0]


@on(Insert)
def insert_into(node: Node) -> Node | None:
    base, v = node.args
    op = node.op
    assert isinstance(op, Insert)
    if 0 in v.shape:
        return base
    if v.shape == base.shape:
        return v
    if type(base.op) is Insert and base.op == op and base.args[1].shape == v.shape:
        return make(op, (base.args[0], v))
    if is_zeros(base):
        ends = map(_end, op.starts, v.shape, op.steps)
        high = tuple(n - e for n, e in zip(base.shape, ends, strict=True))
        padded = pad(v, op.starts, high, tuple(s - 1 for s in op.steps))
        return padded if padded.type == node.type else None
    return None


# --- indices, reductions ------------------------------------------------------------------------------------


@on(Gather)
def gather_of(node: Node) -> Node | None:
    """Constant scalar indices are windows of one element; all indices in order are the array itself."""
    x, *indices = node.args
    assert isinstance(node.op, Gather)
    axes = node.op.axes
    if len(axes) == 1 and type(indices[0].op) is Iota and indices[0].shape == (x.shape[axes[0]],):
        return transpose(x, (axes[0], *(a for a in range(len(x.shape)) if a != axes[0])))
    starts, counts = [0] * len(x.shape), list(x.shape)
    for axis, index in zip(axes, indices, strict=True):
        value = const_value(index)
        if value is None:
            return None
        value = max(value, 0)
        if not at_least(x.shape[axis], value + 1):
            if not isinstance(x.shape[axis], int) or x.shape[axis] == 0:
                return None
            value = x.shape[axis] - 1
        starts[axis], counts[axis] = value, 1
    window = slice_(x, tuple(starts), tuple(counts), (1,) * len(starts))
    return reshape(window, node.shape)


@on(Scatter)
def scatter_of_nothing(node: Node) -> Node | None:
    return node.args[0] if 0 in node.args[1].shape else None


_IDEMPOTENT: Final = frozenset(("min", "max", "any", "all"))


@on(Reduce)
def reduce_of(node: Node) -> Node | None:
    (x,) = node.args
    op, inner = node.op, x.op
    assert isinstance(op, Reduce)
    if not op.axes:
        return x if x.dtype == node.dtype else None
    if op.kind in ("any", "all") and type(inner) is Reduce and inner.kind == op.kind:
        left = [a for a in range(len(x.args[0].shape)) if a not in inner.axes]
        return make(Reduce(op.kind, tuple(sorted((*inner.axes, *(left[a] for a in op.axes))))), x.args)
    if op.kind in _IDEMPOTENT and type(inner) is Broadcast:
        repeated = [a for a in op.axes if a not in inner.axes]
        if repeated and 0 not in x.shape:
            source = x.args[0]
            shape = tuple(d for i, d in enumerate(x.shape) if i not in repeated)
            new = _positions(len(x.shape), repeated)
            smaller = broadcast(source, shape, tuple(new[a] for a in inner.axes))
            return reduce(op.kind, smaller, tuple(new[a] for a in op.axes if a in inner.axes))
    return None


def _positions(rank: int, removed: list[int]) -> dict[int, int]:
    """Old axis → new axis when some are removed."""
    kept = [a for a in range(rank) if a not in removed]
    return {a: i for i, a in enumerate(kept)}


@on(Cumulative)
def cumulative_of_one(node: Node) -> Node | None:
    assert isinstance(node.op, Cumulative)
    return node.args[0] if node.shape[node.op.axis] == 1 else None


VIEWS: Final = Table([
    same_shape, broadcast_of_broadcast, transpose_of, reshape_of, reverse_of, slice_of, pad_of,
    concatenate_of, insert_into, gather_of, scatter_of_nothing, reduce_of, cumulative_of_one,
])  # fmt: skip
