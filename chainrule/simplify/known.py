"""What is known about the values of a node from its structure: signs and kinds."""

from __future__ import annotations

from typing import Final

import numpy as np

from chainrule.graph.node import Node
from chainrule.graph.op import Broadcast, Cast, Const, Reduce, Reshape, Scalar, SizeOf, Stop, Transpose

_NONNEGATIVE: Final = frozenset(
    ("exp", "exp2", "abs", "hypot", "cosh", "expit", "softplus", "sech", "ndtr", "erfc", "erfcx", "square")
)
_DEPTH: Final = 6  # how far down it looks: a constant, so that rules stay linear


def scalar_name(node: Node) -> str:
    """The primitive of a node, "" for other ops."""
    return node.op.name if type(node.op) is Scalar else ""


def is_nonnegative(node: Node, depth: int = _DEPTH) -> bool:
    """Whether no element is below zero, −0.0 not being below, and NaN being anything."""
    if depth == 0 or node.dtype.kind not in "bif":
        return False
    op, args = node.op, node.args
    match op:
        case Const():
            return bool(np.all((op.value >= 0) | (op.value != op.value)))
        case SizeOf():
            return True
        case Cast() | Stop() | Broadcast() | Reshape() | Transpose() | Reduce("sum" | "min" | "max" | "prod"):
            return is_nonnegative(args[0], depth - 1)
        case Scalar(name):
            if name in _NONNEGATIVE:
                return node.dtype.kind == "f"
            if name == "mul" and args[0] is args[1]:
                return node.dtype.kind == "f"
            if name in ("add", "mul", "div", "sqrt"):
                return all(is_nonnegative(a, depth - 1) for a in args)
            if name in ("maximum", "fmax"):
                return any(is_nonnegative(a, depth - 1) for a in args)
            return False
        case _:
            return False


def uniform(node: Node) -> Node | None:
    """The rank-0 node that a node repeats, if it is a broadcast of one."""
    return node.args[0] if type(node.op) is Broadcast and not node.args[0].shape else None


def is_zeros(node: Node) -> bool:
    """Whether all elements are structural zeros: +0.0, 0 or False."""
    source = node.args[0] if type(node.op) is Broadcast else node
    op = source.op
    return type(op) is Const and not op.data.strip(b"\0")
