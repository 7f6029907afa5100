"""Sums of products: dot, matmul, einsum and their kind, as ``Contract`` nodes over axis labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import dim as dims
from . import express, lift
from .array import FUNCTIONS, Array, as_array, call, implements, node_of, wrap
from .dim import Dim, Shape
from .dtype import BOOL, INT64
from .node import Node, make
from .op import Contract
from .shapes import axis_of, common
from .where import error

Labels = tuple[int, ...]


def contract(operands: list[Node], labels: list[Labels], out: Labels) -> Node:
    """Σ over all labels that are not in ``out`` of the product of the operands, two at a time from the
    left.
    """
    sizes = _sizes(operands, labels)
    parts = [_prepared(x, own, sizes) for x, own in zip(operands, labels, strict=True)]
    while len(parts) > 1:
        (x, left), (y, right) = parts[0], parts[1]
        needed = {*out, *(label for _, own in parts[2:] for label in own)}
        kept = tuple(dict.fromkeys(label for label in (*left, *right) if label in needed))
        if len(parts) == 2:
            kept = tuple(label for label in out if label in kept)
        parts[:2] = [(_pair(x, left, y, right, kept), kept)]
    x, own = parts[0]
    x, own = _summed(x, own, set(out))
    x = express.transpose(x, tuple(own.index(label) for label in out if label in own))
    return express.broadcast(
        x, tuple(sizes[label] for label in out), tuple(i for i, label in enumerate(out) if label in own)
    )


def _sizes(operands: list[Node], labels: list[Labels]) -> dict[int, Dim]:
    sizes: dict[int, Dim] = {}
    for x, own in zip(operands, labels, strict=True):
        for label, size in zip(own, x.shape, strict=True):
            before = sizes.get(label, 1)
            if before == 1:
                sizes[label] = size
            elif size not in (1, before):
                shapes = " and ".join(dims.show(o.shape) for o in operands)
                raise error(ValueError, f"shapes {shapes} do not match in a product: {before} is not {size}")
    return sizes


def _prepared(x: Node, labels: Labels, sizes: dict[int, Dim]) -> tuple[Node, Labels]:
    """Axes of size 1 that are stretched elsewhere dropped, labels that repeat taken along the diagonal."""
    kept = tuple(label for label, d in zip(labels, x.shape, strict=True) if d != 1 or sizes[label] == 1)
    if kept != labels:
        shape = tuple(d for label, d in zip(labels, x.shape, strict=True) if d != 1 or sizes[label] == 1)
        x, labels = express.reshape(x, shape), kept
    while len(set(labels)) < len(labels):
        label = next(i for i in labels if labels.count(i) > 1)
        i = labels.index(label)
        j = labels.index(label, i + 1)
        x = node_of(call("diagonal", wrap(x), 0, i, j))
        labels = (*(k for n, k in enumerate(labels) if n not in (i, j)), label)
    return x, labels


def _summed(x: Node, labels: Labels, kept: set[int]) -> tuple[Node, Labels]:
    axes = tuple(i for i, label in enumerate(labels) if label not in kept)
    return express.reduce("sum", x, axes), tuple(label for label in labels if label in kept)


def _pair(x: Node, left: Labels, y: Node, right: Labels, out: Labels) -> Node:
    if not set(left) & set(right) - set(out) or (not out and set(left) == set(right)):
        return _elementwise(x, left, y, right, out)
    number = {label: i for i, label in enumerate(dict.fromkeys((*left, *right)))}  # equal products become one node

    def numbered(labels: Labels) -> Labels:
        return tuple(number[label] for label in labels)

    return make(Contract(numbered(left), numbered(right), numbered(out)), (x, y))


def _elementwise(x: Node, left: Labels, y: Node, right: Labels, out: Labels) -> Node:
    """A product with nothing summed but what stands in one operand alone, or everything (a dot product)."""
    everything = not out and set(left) == set(right)
    if not everything:
        x, left = _summed(x, left, set(out))
        y, right = _summed(y, right, set(out))
    axes = left if everything else out
    product = lift.apply("mul", _spread(x, left, axes), _spread(y, right, axes))
    return express.reduce("sum", product, tuple(range(len(axes)))) if everything else product


def _spread(x: Node, labels: Labels, out: Labels) -> Node:
    """Axes in the order of ``out``, size 1 where a label is missing."""
    x = express.transpose(x, tuple(labels.index(label) for label in out if label in labels))
    if not labels:
        return x
    sizes = iter(x.shape)
    return express.reshape(x, tuple(next(sizes) if label in labels else 1 for label in out))


def _computed(operands: list[Node], labels: list[Labels], out: Labels) -> Array:
    if operands[0].dtype == BOOL:
        found = contract([express.cast(x, INT64) for x in operands], labels, out)
        return wrap(lift.to_bool(found))
    return wrap(contract(operands, labels, out))


# --- NumPy's functions --------------------------------------------------------------------------------------


@implements("matmul", "linalg.matmul")
def matmul(x1: Any, x2: Any, /) -> Array:
    """As ``np.matmul``."""
    x, y = common([x1, x2])
    if not x.shape or not y.shape:
        raise error(ValueError, "matmul: a scalar is no matrix; use *")
    inner, rows, columns = 0, 1, 2
    batch = max(len(x.shape), len(y.shape), 2) - 2
    stacked = tuple(range(3, 3 + batch))
    left = (*stacked[batch - max(len(x.shape) - 2, 0) :], rows, inner) if len(x.shape) > 1 else (inner,)
    right = (*stacked[batch - max(len(y.shape) - 2, 0) :], inner, columns) if len(y.shape) > 1 else (inner,)
    if x.shape[-1] != y.shape[-2 if len(y.shape) > 1 else -1]:
        raise error(ValueError, f"matmul: {dims.show(x.shape)} and {dims.show(y.shape)} do not match")
    ends = (*((rows,) if len(x.shape) > 1 else ()), *((columns,) if len(y.shape) > 1 else ()))
    return _computed([x, y], [left, right], (*stacked, *ends))


@implements("dot")
def dot(a: Any, b: Any, out: Any = None) -> Array:
    """As ``np.dot``."""
    x, y = common([a, b])
    if not x.shape or not y.shape:
        return wrap(lift.apply("mul", x, y))
    if x.shape[-1] != y.shape[-2 if len(y.shape) > 1 else -1]:
        raise error(ValueError, f"dot: {dims.show(x.shape)} and {dims.show(y.shape)} do not match")
    left = tuple(range(1, len(x.shape)))
    right = tuple(range(len(x.shape), len(x.shape) + len(y.shape) - 1))
    at = max(len(right) - 1, 0)
    return _computed([x, y], [(*left, 0), (*right[:at], 0, *right[at:])], (*left, *right))


@implements("vdot")
def vdot(a: Any, b: Any, /) -> Array:
    """As ``np.vdot``: Σ conj(a)·b over all elements."""
    return dot(as_array(a).conj().ravel(), as_array(b).ravel())


@implements("linalg.vecdot")
def linalg_vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Array:
    return call("sum", as_array(x1).conj() * x2, axis=axis)


@implements("inner")
def inner(a: Any, b: Any, /) -> Array:
    """As ``np.inner``: the last axes summed."""
    x, y = common([a, b])
    if not x.shape or not y.shape:
        return wrap(lift.apply("mul", x, y))
    left = tuple(range(1, len(x.shape)))
    right = tuple(range(len(x.shape), len(x.shape) + len(y.shape) - 1))
    return _computed([x, y], [(*left, 0), (*right, 0)], (*left, *right))


@implements("outer", "linalg.outer")
def outer(a: Any, b: Any, out: Any = None) -> Array:
    x, y = as_array(a).ravel(), as_array(b).ravel()
    return x[:, None] * y


@implements("tensordot", "linalg.tensordot")
def tensordot(a: Any, b: Any, axes: Any = 2) -> Array:
    """As ``np.tensordot``."""
    x, y = common([a, b])
    if isinstance(axes, (int, np.integer)):
        first, second = list(range(len(x.shape) - int(axes), len(x.shape))), list(range(int(axes)))
    else:
        first, second = ([int(n)] if isinstance(n, (int, np.integer)) else list(n) for n in axes)
    first = [axis_of(i, len(x.shape)) for i in first]
    second = [axis_of(i, len(y.shape)) for i in second]
    left = list(range(len(x.shape)))
    right = list(range(len(x.shape), len(x.shape) + len(y.shape)))
    for i, j in zip(first, second, strict=True):
        if x.shape[i] != y.shape[j]:
            raise error(ValueError, f"tensordot: {dims.show(x.shape)} and {dims.show(y.shape)} do not match")
        right[j] = left[i]
    out = (
        *(n for i, n in enumerate(left) if i not in first),
        *(n for j, n in enumerate(right) if j not in second),
    )
    return _computed([x, y], [tuple(left), tuple(right)], out)


@implements("kron")
def kron(a: Any, b: Any) -> Array:
    """As ``np.kron``."""
    x, y = as_array(a), as_array(b)
    rank = max(x.ndim, y.ndim)
    x = x.reshape((1,) * (rank - x.ndim) + x.shape)
    y = y.reshape((1,) * (rank - y.ndim) + y.shape)
    left = [d for n in x.shape for d in (n, 1)]
    right = [d for n in y.shape for d in (1, n)]
    shape = [n * m for n, m in zip(x.shape, y.shape, strict=True)]
    return (x.reshape(left) * y.reshape(right)).reshape(shape)


@implements("cross", "linalg.cross")
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Array:
    """As ``np.cross`` of vectors with three components."""
    if axis is not None:
        axisa = axisb = axisc = axis
    move = FUNCTIONS["moveaxis"]
    x, y = move(a, axisa, 0), move(b, axisb, 0)
    if x.shape[0] != 3 or y.shape[0] != 3:
        raise error(ValueError, "np.cross takes vectors with three components")
    parts = [x[i] * y[j] - x[j] * y[i] for i, j in ((1, 2), (2, 0), (0, 1))]
    return call("stack", parts, axisc)


@implements("einsum")
def einsum(*operands: Any, out: Any = None, optimize: Any = False, **_: Any) -> Array:
    """As ``np.einsum``, with a string of subscripts, or operands and lists of labels in turns."""
    subscripts, values = _spelled(operands)
    nodes = common(list(values))
    text = subscripts.replace(" ", "")
    given, arrow, wanted = text.partition("->")
    terms = given.split(",")
    if len(terms) != len(nodes):
        raise error(ValueError, f"einsum: {len(terms)} terms in {subscripts!r} for {len(nodes)} operands")
    extra = max(
        (len(n.shape) - len(t.replace("...", "")) for n, t in zip(nodes, terms, strict=True) if "..." in t),
        default=0,
    )
    labels = [_labels(t, n.shape, extra, subscripts) for t, n in zip(terms, nodes, strict=True)]
    if arrow:
        if "..." not in wanted and extra:
            raise error(ValueError, f"einsum: the result of {subscripts!r} leaves out the ellipsis")
        out_labels = _term(wanted, extra)
    else:
        letters = given.replace(",", "").replace("...", "")
        once = sorted(c for c in set(letters) if letters.count(c) == 1)
        out_labels = (*range(-extra, 0), *map(ord, once))
    unknown = [chr(k) for k in out_labels if not any(k in own for own in labels)]
    if unknown or len(set(out_labels)) != len(out_labels):
        raise error(ValueError, f"einsum: the result of {subscripts!r} has labels that repeat or are in no operand")
    return _computed(nodes, labels, out_labels)


def _spelled(operands: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    if isinstance(operands[0], str):
        return operands[0], operands[1:]
    pairs = list(operands)
    tail = "->" + _letters(pairs.pop()) if len(pairs) % 2 else ""
    return ",".join(_letters(p) for p in pairs[1::2]) + tail, tuple(pairs[::2])


def _letters(labels: Any) -> str:
    return "".join("..." if i is Ellipsis else chr(ord("A") + i if i < 26 else ord("a") + i - 26) for i in labels)


def _term(term: str, extra: int) -> Labels:
    before, dots, after = term.partition("...")
    return (*map(ord, before), *(range(-extra, 0) if dots else ()), *map(ord, after))


def _labels(term: str, shape: Shape, extra: int, subscripts: str) -> Labels:
    named = len(term.replace("...", ""))
    own = len(shape) - named if "..." in term else 0
    if named + own != len(shape) or own < 0:
        raise error(ValueError, f"einsum: {term!r} in {subscripts!r} for an operand with {len(shape)} axes")
    return _term(term, own)


@implements("linalg.multi_dot")
def multi_dot(arrays: Any) -> Array:
    """The matrix product of all, from the left."""
    found = as_array(arrays[0])
    for other in arrays[1:]:
        found = dot(found, other)
    return found


@implements("linalg.matrix_power")
def matrix_power(a: Any, n: int) -> Array:
    """As ``np.linalg.matrix_power`` for a known ``n``."""
    x = as_array(a)
    if not isinstance(n, (int, np.integer)):
        raise error(TypeError, f"matrix_power takes a known integer as its exponent, not {n!r:.60}")
    if n < 0:
        return matrix_power(call("linalg.inv", x), -n)
    found: Array | None = None
    while n:
        if n & 1:
            found = x if found is None else matmul(found, x)
        x = matmul(x, x) if n > 1 else x
        n >>= 1
    return call("eye", x.shape[-1], dtype=x.dtype) if found is None else found
