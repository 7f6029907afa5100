"""Rules that keep every float: ±0, infinities, NaN (but not its payload) and denormals included.

They follow from IEEE arithmetic, or only move elements about. What holds over the reals alone is in ``real``.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from chainrule.graph import dim as dims
from chainrule.graph.dtype import DType
from chainrule.graph.evaluate import evaluate
from chainrule.graph.express import broadcast, cast, fold, spread
from chainrule.graph.node import Graph, Node, const_value, constant, make
from chainrule.graph.op import (
    Broadcast,
    Cast,
    Concatenate,
    Const,
    Contract,
    Gather,
    Insert,
    Pad,
    Reduce,
    Reshape,
    Reverse,
    Scalar,
    Slice,
    Stop,
    Transpose,
)

from .bodies import BODIES
from .known import uniform
from .pattern import CONSTANTS, REPEATED, Constant, P, Wild, on, rule
from .rewrite import Table
from .views import VIEWS

x, y, z, w = Wild("x"), Wild("y"), Wild("z"), Wild("w")
c = Constant("c")
INF: Final = math.inf


def is_power_of_two(c: Node) -> bool:
    """Whether c and 1/c are powers of two, so that dividing by c and multiplying by 1/c round alike."""
    value = const_value(c)
    if not isinstance(value, float) or value == 0 or not math.isfinite(value):
        return False
    limits = np.finfo(c.dtype)
    return abs(math.frexp(value)[0]) == 0.5 and float(limits.tiny) <= abs(1 / value) <= float(limits.max)


def is_no_coefficient(x: Node, y: Node) -> bool:
    """Whether x is no number beside an array: there a sign costs nothing, as it would in front of the product."""
    return len(x.shape) >= len(y.shape)


ARITHMETIC: Final = Table([
    rule(x * 1, x, on="fi"),
    rule(x * -1, -x, on="fi"),
    rule(x / 1, x),
    rule(x / -1, -x),
    rule(x - 0, x, on="fi"),
    rule(x + -0.0, x),
    rule(x + 0, x, on="i"),
    rule(0 - x, -x, on="i"),
    rule(-0.0 - x, -x),
    rule(x * 0, 0, on="i"),
    rule(x - x, 0, on="i"),
    rule(P.neg(P.neg(x)), x, on="fic"),
    rule(x - -y, x + y, on="fi"),
    rule(x + -y, x - y, on="fi"),
    rule(-x * -y, x * y, on="fi"),
    rule(-x / -y, x / y),
    rule(c * -x, -c * x),
    rule(-(c * x), -c * x),
    rule(-x / c, x / -c),
    rule(c / -x, -c / x),
    rule(-(x / c), x / -c),
    rule(-(c / x), -c / x, where=lambda c, x: const_value(c) != 1),  # a plain 1/x stays, for it may be shared
    rule(-x * y, -(x * y), on="fi", where=is_no_coefficient),
    rule(-x / y, -(x / y)),
    rule(x / -y, -(x / y)),
    rule(x / c, x * (1 / c), where=lambda x, c: is_power_of_two(c)),
    rule(P.reciprocal(x), 1 / x),
    rule(P.square(x), x * x, on="fi"),
    rule(P.pow(x, 0), 1),
    rule(P.pow(x, 1), x),
    rule(P.pow(1, x), 1),
    rule(P.abs(-x), P.abs(x)),
    rule(P.abs(P.abs(x)), P.abs(x)),
    rule(P.abs(x * x), x * x),
    rule(P.abs(P.exp(x)), P.exp(x)),
    rule(P.sign(P.sign(x)), P.sign(x)),
    rule(P.copysign(x, P.copysign(y, z)), P.copysign(x, z)),
    rule(P.conj(P.conj(x)), x, on="c"),
    rule(P.conj(x), x, on="bif"),
    rule(P.real(x), x, on="bif"),
    rule(P.imag(x), 0, on="bif"),
    *[rule(getattr(P, a)(getattr(P, b)(x)), getattr(P, b)(x))
      for a in ("floor", "ceil", "trunc", "round") for b in ("floor", "ceil", "trunc", "round")],
])  # fmt: skip

CHOICE: Final = Table([
    rule(P.where(True, x, y), x, on="bifc"),
    rule(P.where(False, x, y), y, on="bifc"),
    rule(P.where(x, y, y), y, on="bifc"),
    rule(P.where(P.logical_not(x), y, z), P.where(x, z, y), on="bifc"),
    rule(P.where(x, P.where(x, y, z), w), P.where(x, y, w), on="bifc"),
    rule(P.where(x, y, P.where(x, z, w)), P.where(x, y, w), on="bifc"),
    rule(P.where(x, y, P.where(z, y, w)), P.where(P.logical_or(x, z), y, w), on="bifc"),
    rule(P.where(x, P.where(z, y, w), w), P.where(P.logical_and(x, z), y, w), on="bifc"),
    rule(P.where(x, True, False), x, on="b"),
    rule(P.where(x, False, True), P.logical_not(x), on="b"),
    *[rule(f(x, x), x, on="bif") for f in (P.maximum, P.minimum, P.fmax, P.fmin)],
    *[rule(f(f(x, y), y), f(x, y), on="bif") for f in (P.maximum, P.minimum)],
    rule(P.maximum(x, -INF), x),
    rule(P.minimum(x, INF), x),
    rule(P.logical_not(P.logical_not(x)), x, on="b"),
    rule(P.logical_not(P.eq(x, y)), P.ne(x, y), on="b"),
    rule(P.logical_not(P.ne(x, y)), P.eq(x, y), on="b"),
    *[rule(f(x, x), x, on="b") for f in (P.logical_and, P.logical_or)],
    rule(P.logical_and(x, True), x, on="b"),
    rule(P.logical_and(x, False), False, on="b"),
    rule(P.logical_or(x, False), x, on="b"),
    rule(P.logical_or(x, True), True, on="b"),
    rule(P.logical_xor(x, False), x, on="b"),
    rule(P.logical_xor(x, True), P.logical_not(x), on="b"),
    rule(P.logical_xor(x, x), False, on="b"),
    rule(P.logical_and(x, P.logical_not(x)), False, on="b"),
    rule(P.logical_or(x, P.logical_not(x)), True, on="b"),
    rule(P.logical_and(x, P.logical_or(x, y)), x, on="b"),
    rule(P.logical_or(x, P.logical_and(x, y)), x, on="b"),
    rule(P.logical_and(P.logical_not(x), P.logical_not(y)), P.logical_not(P.logical_or(x, y)), on="b"),
    rule(P.logical_or(P.logical_not(x), P.logical_not(y)), P.logical_not(P.logical_and(x, y)), on="b"),
    rule(P.lt(x, x), False, on="bif"),
    rule(P.gt(x, x), False, on="bif"),
    rule(P.le(x, x), True, on="bi"),
    rule(P.ge(x, x), True, on="bi"),
    rule(P.eq(x, x), True, on="bi"),
    rule(P.ne(x, x), False, on="bi"),
    rule(P.ne(x, x), P.isnan(x)),
    rule(P.eq(x, x), P.logical_not(P.isnan(x))),
    rule(P.eq(x, True), x, on="b"),
    rule(P.eq(x, False), P.logical_not(x), on="b"),
])  # fmt: skip


# --- constants ----------------------------------------------------------------------------------------------

_SMALL: Final = 64  # elements of a constant that folding may make


@on(Scalar, worth=lambda keys: all(key in CONSTANTS for key in keys))
def constant_scalar(node: Node) -> Node | None:
    for a in node.args:
        if type(a.op) is not Const:
            return None
    if not node.shape:
        assert isinstance(node.op, Scalar)
        return fold(node.op.name, node.args)
    return folded(node)


@on(Cast, Reduce, Transpose, Reshape, Slice, Reverse, Pad, Concatenate, Insert, Gather, Contract, Stop)
def constant_array(node: Node) -> Node | None:
    for a in node.args:
        if type(a.op) is not Const:
            return None
    return folded(node)


def folded(node: Node) -> Node | None:
    """The constant that an op of constants is, if it is small."""
    count = dims.product(node.shape)
    if not isinstance(count, int) or count > _SMALL or any(isinstance(d, dims.Size) for d in _dimensions(node)):
        return None
    (value,) = evaluate(Graph((), (node,)), ())
    return constant(value, node.dtype)


def _dimensions(node: Node) -> list[Any]:
    match node.op:
        case Slice(starts, counts, _):
            return [*starts, *counts]
        case Pad(low, high, _):
            return [*low, *high]
        case Insert(starts, _):
            return [*starts]
        case _:
            return []


# --- element types and broadcasts ---------------------------------------------------------------------------


@on(Cast)
def cast_of_cast(node: Node) -> Node | None:
    """Casts to the same type, and casts of a cast that kept the value."""
    (inner,) = node.args
    if inner.dtype == node.dtype:
        return inner
    if type(inner.op) is Cast and keeps_values(inner.args[0].dtype, inner.dtype):
        return cast(inner.args[0], node.dtype)
    if type(inner.op) is Broadcast:
        return broadcast(cast(inner.args[0], node.dtype), inner.op.shape, inner.op.axes)
    return None


def keeps_values(source: DType, target: DType) -> bool:
    """Whether every value of one type is a value of the other."""
    int64_to_float = source.kind == "i" and source.itemsize == 8 and target.kind in "fc"  # "safe" for NumPy
    return np.can_cast(source, target, "safe") and not int64_to_float


@on(Stop)
def stop_of_stop(node: Node) -> Node | None:
    (inner,) = node.args
    return inner if type(inner.op) in (Stop, Const) or inner.dtype.kind in "bi" else None


@on(Scalar, worth=lambda keys: REPEATED in keys)
def scalar_of_broadcasts(node: Node) -> Node | None:
    """Elementwise on repeated values is the repeat of the elementwise.

    Where only some arguments are repeated scalars, those are used as scalars.
    """
    args = node.args
    for a in args:
        if type(a.op) is Broadcast:
            break
    else:
        return None
    assert isinstance(node.op, Scalar)
    sources = [a.args[0] if type(a.op) is Broadcast else a for a in args if a.shape]
    first = next(a.op for a in args if type(a.op) is Broadcast)
    alike = all(type(a.op) is Broadcast and a.op.axes == first.axes for a in args if a.shape)
    if alike and all(s.shape == sources[0].shape for s in sources):
        small = [a.args[0] if a.shape else a for a in args]
        return broadcast(make(node.op, tuple(small)), first.shape, first.axes)
    if all(uniform(a) is not None for a in args if a.shape):  # rank-0 sources only
        return spread(make(node.op, tuple([uniform(a) or a for a in args])), node.shape)
    plain = tuple([uniform(a) or a for a in args])
    return make(node.op, plain) if plain != args else None


FOLDING: Final = Table([constant_scalar, constant_array, cast_of_cast, stop_of_stop, scalar_of_broadcasts])

EXACT: Final = FOLDING + ARITHMETIC + CHOICE + VIEWS + BODIES
"""All rules that keep every float."""
