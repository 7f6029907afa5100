"""Sums of squares: values that are never negative, and zero only where everything that they are made of is zero.

The root of one (a norm, a distance, |z|) has a corner at zero: its one-sided slopes there cancel, and 0 is a
subgradient. The chain rule would meet 0·inf.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .node import Node, const_value
from .op import Broadcast, Cast, Const, Contract, Reduce, Reshape, Reverse, Scalar, Slice, Transpose

Known = dict[Node, bool]


def is_sum_of_squares(node: Node, known: Known) -> bool:
    """Whether ``node`` is a sum of squares, even powers, absolute values, or of multiples and views of such.

    ``known`` keeps what was found, so that many questions about one program cost one traversal.
    """
    stack = [node]
    while stack:
        top = stack[-1]
        if top in known:
            stack.pop()
            continue
        parts = list(_parts(top))
        missing = [p for p in parts if p is not None and p not in known]
        if missing:
            stack.extend(missing)
        else:
            known[top] = all(p is not None and known[p] for p in parts)
            stack.pop()
    return known[node]


def _parts(node: Node) -> Iterator[Node | None]:
    """What has to be sums of squares for ``node`` to be one; None: it is none."""
    args = node.args
    match node.op:
        case Scalar("square" | "abs") if node.dtype.kind == "f":
            return
        case Scalar("mul") if args[0] is args[1] and node.dtype.kind == "f":
            return
        case Scalar("pow") if _is_even(args[1]):
            return
        case Contract(left, right, _) if args[0] is args[1] and left == right and node.dtype.kind == "f":
            return
        case Scalar("mul" | "div") if _is_positive(args[1]):
            yield args[0]
        case Scalar("mul") if _is_positive(args[0]):
            yield args[1]
        case Scalar("add") | Reduce("sum" | "max", _):
            yield from args
        case Broadcast() | Transpose() | Reshape() | Slice() | Reverse():
            yield args[0]
        case Cast(dtype) if dtype.kind == "f":
            yield args[0]
        case _:
            yield None


def _is_even(node: Node) -> bool:
    value = const_value(node)
    return value is not None and node.dtype.kind in "fi" and value > 0 and value % 2 == 0


def _is_positive(node: Node) -> bool:
    while isinstance(node.op, Broadcast):
        node = node.args[0]
    return isinstance(node.op, Const) and node.dtype.kind == "f" and bool(np.all(node.op.value > 0))
