"""Which axes of arrays are small, and arithmetic of elements that leaves out what zeros make superfluous."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, cast, final

import numpy as np

from chainrule.graph.dim import Dim, Shape
from chainrule.graph.express import apply, simplified, spread, zeros
from chainrule.graph.node import Node, const_value
from chainrule.graph.op import (
    Broadcast,
    Cast,
    Concatenate,
    Const,
    Input,
    Iota,
    Reduce,
    Reshape,
    Reverse,
    Scalar,
    SizeOf,
    Slice,
    Stop,
    Transpose,
    Type,
)

from .known import is_nonnegative, uniform

Parts = tuple[Node, ...]

SIDE: Final = 16  # axes up to this length are small, wherever they occur
LONGEST: Final = 2048  # so many short pieces may be stacked to one small axis
_FINITE: Final = frozenset((
    "add", "sub", "mul", "neg", "abs", "square", "sin", "cos", "tanh", "sech", "atan", "atan2", "expit", "erf", "erfc",
    "ndtr", "sign", "floor", "ceil", "trunc", "round", "minimum", "maximum", "fmin", "fmax", "where", "copysign",
    "asinh", "hypot", "real", "imag", "conj", "complex", "cbrt", "sinc",
))  # fmt: skip
PAIRWISE: Final = {
    "sum": "add", "prod": "mul", "min": "minimum", "max": "maximum", "any": "logical_or", "all": "logical_and",
}  # fmt: skip


@final
class Sides:
    """Which axes are small: short ones, and those along which a program stacks short pieces."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.stacked: set[Dim] = set()
        for node in nodes:
            op = node.op
            if type(op) is Concatenate and self.is_stack(node, op.axis):
                self.stacked.add(node.shape[op.axis])

    @staticmethod
    def is_stack(node: Node, axis: int) -> bool:
        length = node.shape[axis]
        return isinstance(length, int) and SIDE < length <= 4 * len(node.args) and length <= LONGEST

    def small(self, dim: Dim) -> bool:
        return isinstance(dim, int) and (1 <= dim <= SIDE or dim in self.stacked)

    def axes(self, shape: Shape) -> tuple[int, ...]:
        """The small axes of a shape."""
        return tuple([i for i, d in enumerate(shape) if self.small(d)])

    def sizes(self, shape: Shape) -> tuple[int, ...]:
        """The lengths of the small axes."""
        return tuple([cast(int, d) for d in shape if self.small(d)])

    def kept(self, shape: Shape) -> Shape:
        """The other axes."""
        return tuple([d for d in shape if not self.small(d)])

    def places(self, shape: Shape) -> dict[int, int]:
        """Kept axis → its place among the kept axes."""
        return {axis: i for i, axis in enumerate([i for i, d in enumerate(shape) if not self.small(d)])}

    def count(self, shape: Shape) -> int:
        return math.prod(self.sizes(shape))


# --- arithmetic that knows zeros ------------------------------------------------------------------------------


@final
class Arithmetic:
    """Products and sums that leave out what constants make superfluous."""

    def __init__(self) -> None:
        self.known: dict[Node, bool] = {}

    def finite(self, node: Node) -> bool:
        """Whether a node is finite for all finite inputs, up to overflow. Each node is looked at once."""
        known = self.known
        stack = [node]
        while stack:
            top = stack[-1]
            if top in known:
                stack.pop()
                continue
            looked_at = self.looks_at(top)
            waiting = [a for a in looked_at if a not in known]
            if waiting:
                stack.extend(waiting)
                continue
            op = top.op
            if type(op) is Const:
                known[top] = bool(np.isfinite(op.value).all())
            elif looked_at:
                known[top] = all(known[a] for a in looked_at)
            else:
                known[top] = type(op) in (Input, SizeOf, Iota)
            stack.pop()
        return known[node]

    @staticmethod
    def looks_at(node: Node) -> Parts:
        """The arguments whose finiteness is the node's; none if nothing is known."""
        op = node.op
        match op:
            case Scalar(name) if name in _FINITE:
                return node.args
            case Scalar("div") if const_value(node.args[1]):
                return node.args
            case Scalar("sqrt") if is_nonnegative(node.args[0]):
                return node.args
            case Cast() | Stop() | Broadcast() | Transpose() | Reshape() | Slice() | Reverse() | Reduce("sum"):
                return node.args
            case _:
                return ()

    def mul(self, a: Node, b: Node) -> Node:
        kind = a.type if a.shape else b.type
        if (is_zero(a) and self.finite(b)) or (is_zero(b) and self.finite(a)):
            return zeros(Type(kind.shape, b.dtype))
        return _as_scalars("mul", a, b)

    def add(self, a: Node, b: Node) -> Node:
        if is_zero(a) and (b.shape or not a.shape):
            return b
        if is_zero(b) and (a.shape or not b.shape):
            return a
        return _as_scalars("add", a, b)

    def sub(self, a: Node, b: Node) -> Node:
        if is_zero(b) and (a.shape or not b.shape):
            return a
        if is_zero(a) and (b.shape or not a.shape):
            return simplified("neg", (b,))
        return _as_scalars("sub", a, b)

    def scalar(self, name: str, args: Parts) -> Node:
        """A primitive of elements."""
        if args[-1].dtype.kind in "fc":
            if name == "mul":
                return self.mul(*args)
            if name == "add":
                return self.add(*args)
            if name == "sub":
                return self.sub(*args)
        return simplified(name, args) if name != "where" else _chosen(args)

    def fold(self, kind: str, parts: Sequence[Node]) -> Node:
        """All parts combined; many in halves, so that the chain of dependent operations is short."""
        if len(parts) > 4:
            half = len(parts) // 2
            return self.fold_pair(kind, self.fold(kind, parts[:half]), self.fold(kind, parts[half:]))
        found = parts[0]
        for part in parts[1:]:
            found = self.fold_pair(kind, found, part)
        return found

    def fold_pair(self, kind: str, a: Node, b: Node) -> Node:
        return self.add(a, b) if kind == "sum" and a.dtype.kind in "fc" else apply(PAIRWISE[kind], a, b)

    def sum_of_products(self, pairs: Sequence[tuple[Node, Node]]) -> Node:
        products = [self.mul(*(pair if pair[0].digest <= pair[1].digest else pair[::-1])) for pair in pairs]
        present = [p for p in products if not is_zero(p)]
        shape = next((p.shape for p in products if p.shape), ())
        return spread(self.fold("sum", present or products[:1]), shape)


def is_zero(node: Node) -> bool:
    """Whether all elements are zeros of either sign."""
    source = node.args[0] if type(node.op) is Broadcast else node
    op = source.op
    if type(op) is not Const:
        return False
    return not op.value.any() if op.type.shape else not const_value(source)


def _as_scalars(name: str, a: Node, b: Node) -> Node:
    """The primitive, with repeated scalars as such."""
    if a.shape and b.shape:
        plain_a, plain_b = uniform(a) or a, uniform(b) or b
        if plain_a is not a and plain_b is not b:
            return spread(simplified(name, (plain_a, plain_b)), a.shape)
        return simplified(name, (plain_a, plain_b))
    return simplified(name, (a, b))


def _chosen(args: Parts) -> Node:
    """``where`` with a mask that is known."""
    mask, yes, no = args
    value = const_value(uniform(mask) or mask)
    shape = next((a.shape for a in args if a.shape), ())
    return simplified("where", args) if value is None else spread(yes if value else no, shape)
