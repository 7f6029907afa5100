"""Expressions over nodes: the namespace ``NODES``, whose attributes are the primitives, and constructors of views.

``apply`` makes the simplifications that keep every float and cost nothing to see (x·1, x/1, −−x, constants), so that
derivatives are built without ballast. Everything deeper is the simplifier's.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import add, mul, neg, sub
from typing import Any

import numpy as np

from . import dim as dims
from .dim import Dim, Shape
from .dtype import BOOL, FLOAT64, DType
from .node import Node, const_value, constant, make
from .op import Broadcast, Cast, Const, Pad, Reduce, Reshape, Scalar, Slice, Transpose, Type
from .scalar import PRIMITIVES


def lift(value: Any, dtype: DType) -> Node:
    """A node, or a Python number as a constant of ``dtype``."""
    return value if isinstance(value, Node) else constant(value, dtype)


def apply(name: str, *args: Any) -> Node:
    """The primitive ``name`` on nodes and Python numbers; a number takes the type of the nodes beside it."""
    like: DType | None = None
    plain = True
    for a in args:
        if isinstance(a, Node):
            like = a.type.dtype
        else:
            plain = False
    if like is None:
        raise TypeError(f"{name} of numbers only")
    if plain:
        return simplified(name, args)
    if name == "where":
        mask = args[0] if isinstance(args[0], Node) else constant(bool(args[0]))
        if not isinstance(args[1], Node) and not isinstance(args[2], Node):
            like = _compared(mask)
        elif isinstance(args[1], Node):
            like = args[1].dtype
        return simplified(name, (mask, lift(args[1], like), lift(args[2], like)))
    return simplified(name, tuple([a if isinstance(a, Node) else constant(a, like) for a in args]))


def _compared(mask: Node) -> DType:
    """The type of what a mask compares: that of a choice between two numbers."""
    while mask.dtype == BOOL and mask.args:
        mask = mask.args[0]
    return mask.dtype


def simplified(name: str, args: tuple[Node, ...]) -> Node:
    """``Scalar(name)`` on nodes, after the exact simplifications that need only a look at the arguments."""
    identity = _IDENTITIES.get(name)
    if identity is not None:
        found = identity(*args)
        if found is not None:
            return found
    for a in args:
        if type(a.op) is not Const or a.type.shape:
            break
    else:
        folded = fold(name, args)
        if folded is not None:
            return folded
    op = _SCALARS.get(name)
    if op is None:
        op = _SCALARS.setdefault(name, Scalar(name))
    return make(op, args)


_SCALARS: dict[str, Scalar] = {}


def fold(name: str, args: tuple[Node, ...]) -> Node | None:
    """The constant that a primitive of constants is, as NumPy computes it."""
    python = _IN_PYTHON.get(name)
    if python is not None and all(a.type.dtype is FLOAT64 and not a.type.shape for a in args):
        return constant(python(*map(const_value, args)), FLOAT64)
    from .namespaces import numpy_namespace

    function = getattr(numpy_namespace(), name, None)
    if function is None:
        return None
    values = [a.op.value[()] for a in args if isinstance(a.op, Const)]
    result = np.asarray(function(*values))
    node = make(Scalar(name), args)
    return constant(result.astype(node.dtype, copy=False)) if result.shape == node.shape else None


# Python's floats round as NumPy's, and are much faster one by one.
_IN_PYTHON: dict[str, Callable[..., float]] = {"add": add, "sub": sub, "mul": mul, "neg": neg}


def _mul(x: Node, y: Node) -> Node | None:
    if type(x.op) is not Const and type(y.op) is not Const:
        return None
    for a, b in ((x, y), (y, x)):
        value = const_value(a)
        if value is not None and (b.shape or not a.shape) and b.dtype.kind in "fci":
            if value == 1:
                return b
            if value == -1:
                return simplified("neg", (b,))
    return None


def _div(x: Node, y: Node) -> Node | None:
    return x if const_value(y) == 1 and x.dtype.kind in "fc" else None


def _sub(x: Node, y: Node) -> Node | None:
    value = const_value(y)
    return x if value == 0 and np.copysign(1.0, np.real(value)) > 0 and x.dtype.kind in "fi" else None


def _neg(x: Node) -> Node | None:
    return x.args[0] if x.op == Scalar("neg") else None


def _pow(x: Node, y: Node) -> Node | None:
    value = const_value(y)
    if value == 1:
        return x
    if value == 2:
        return make(Scalar("mul"), (x, x))
    return None


def _where(mask: Node, x: Node, y: Node) -> Node | None:
    if x is y and len(x.shape) >= len(mask.shape):
        return x
    value = const_value(mask)
    if value is None:
        return None
    chosen, other = (x, y) if value else (y, x)
    return chosen if chosen.shape or not other.shape else None


def _logical_and(x: Node, y: Node) -> Node | None:
    if x is y:
        return x
    for a, b in ((x, y), (y, x)):
        if const_value(a) is True and (b.shape or not a.shape):
            return b
    return None


def _logical_or(x: Node, y: Node) -> Node | None:
    return x if x is y else None


def _logical_not(x: Node) -> Node | None:
    return x.args[0] if x.op == Scalar("logical_not") and x.args[0].dtype == BOOL else None


def _real(x: Node) -> Node | None:
    return x if x.dtype.kind != "c" else None


_IDENTITIES: dict[str, Callable[..., Node | None]] = {
    "mul": _mul, "div": _div, "sub": _sub, "neg": _neg, "pow": _pow, "where": _where,
    "logical_and": _logical_and, "logical_or": _logical_or, "logical_not": _logical_not,
    "real": _real, "conj": _real,
}  # fmt: skip


class Namespace:
    """``NODES.exp(x)``: the primitives as functions of nodes."""

    def __getattr__(self, name: str) -> Callable[..., Node]:
        if name not in PRIMITIVES:
            raise AttributeError(name)

        def primitive(*args: Any) -> Node:
            return apply(name, *args)

        setattr(self, name, primitive)
        return primitive


NODES = Namespace()


# --- constructors that leave out what does nothing ----------------------------------------------------------


def zeros(kind: Type) -> Node:
    """Zeros (``False``) of a type."""
    return broadcast(constant(0, kind.dtype), kind.shape, ())


def full(value: Any, kind: Type) -> Node:
    return broadcast(constant(value, kind.dtype), kind.shape, ())


def broadcast(x: Node, shape: Shape, axes: tuple[int, ...]) -> Node:
    """Input axis i → result axis ``axes[i]``."""
    return x if x.shape == shape else make(Broadcast(shape, axes), (x,))


def broadcast_to(x: Node, shape: Shape) -> Node:
    """NumPy's ``broadcast_to``: aligned at the last axis, axes of size 1 stretched."""
    if x.shape == shape:
        return x
    offset = len(shape) - len(x.shape)
    kept = [i for i, d in enumerate(x.shape) if d == shape[i + offset]]
    if len(kept) < len(x.shape):
        x = reshape(x, tuple(x.shape[i] for i in kept))
    return broadcast(x, shape, tuple(i + offset for i in kept))


def reshape(x: Node, shape: Shape) -> Node:
    if x.shape == shape:
        return x
    source = x.args[0] if type(x.op) is Reshape else x
    return source if source.shape == shape else make(Reshape(shape), (source,))


def transpose(x: Node, axes: tuple[int, ...]) -> Node:
    return x if axes == tuple(range(len(axes))) else make(Transpose(axes), (x,))


def cast(x: Node, dtype: DType) -> Node:
    if x.dtype == dtype:
        return x
    if type(x.op) is Const and not (x.dtype.kind == "c" and dtype.kind != "c"):
        return constant(x.op.value.astype(dtype))
    return make(Cast(dtype), (x,))


def reduce(kind: Any, x: Node, axes: tuple[int, ...]) -> Node:
    return make(Reduce(kind, axes), (x,)) if axes else x


def slice_(x: Node, starts: Shape, counts: Shape, steps: tuple[int, ...]) -> Node:
    return x if counts == x.shape and not any(s != 1 for s in steps) else make(Slice(starts, counts, steps), (x,))


def pad(x: Node, low: Shape, high: Shape, inner: tuple[int, ...]) -> Node:
    nothing = all(d == 0 for d in (*low, *high, *inner))
    return x if nothing else make(Pad(low, high, inner), (x,))


def spread(x: Node, shape: Shape) -> Node:
    """A rank-0 node repeated over ``shape``; a node that already has this shape."""
    return broadcast(x, shape, ()) if not x.shape and shape else x


def size_product(shape: Shape, axes: tuple[int, ...]) -> Dim:
    """The number of elements along ``axes``."""
    return dims.product(shape[a] for a in axes)
