"""What an op and a graph cost: operations, latency and bytes, for choosing between equal forms.

The unit of operations is one addition of two floats, of latency one cycle of a current CPU. The
numbers are round: they rank alternatives and predict no times. Shared nodes count once, views count
nothing: they are fused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from . import dim as dims
from .dim import Dim, Shape
from .node import Graph, Node, const_value, result_types
from .op import (
    Broadcast,
    Call,
    Callback,
    Cast,
    Concatenate,
    Cond,
    Const,
    Contract,
    Cumulative,
    Gather,
    Input,
    Insert,
    Iota,
    Linalg,
    Loop,
    Pad,
    Project,
    Random,
    Reduce,
    Reshape,
    Reverse,
    Scalar,
    Scatter,
    SizeOf,
    Slice,
    Sort,
    Stop,
    Transpose,
)

UNKNOWN: Final = 1000  # what a named size and the trip count of a while loop are taken to be
LANES: Final = 8  # doubles that one instruction works on


def _each(names: str, operations: float, latency: float) -> dict[str, tuple[float, float]]:
    return dict.fromkeys(names.split(), (operations, latency))


# primitive → (operations, latency); those not named are as an addition
_PRIMITIVES: Final[dict[str, tuple[float, float]]] = {
    **_each("neg abs where lt le gt ge eq ne logical_and logical_or logical_xor logical_not copysign", 1, 1),
    **_each("signbit isnan isinf isfinite bitwise_and bitwise_or bitwise_xor bitwise_not", 1, 1),
    **_each("real imag conj complex", 1, 1),
    **_each("div sqrt reciprocal", 8, 13),
    **_each("mod fmod floordiv hypot", 20, 40),
    **_each("exp exp2 expm1 log log1p log2 log10 sin cos", 18, 40),
    **_each("tan sinh cosh tanh sech expit asin acos atan asinh acosh atanh cbrt sinc", 25, 60),
    **_each("pow atan2 softplus log_expit logaddexp logit xlogy xlog1py erf erfc", 40, 80),
    **_each("erfcx erfinv ndtr ndtri log_ndtr gamma gammaln digamma polygamma", 60, 120),
}
_SIMPLE: Final = (1, 4)


@dataclass(frozen=True, slots=True)
class Cost:
    """Operations altogether, cycles along the longest chain of dependent operations, bytes read and written.

    >>> Cost(10, 4, 0) + Cost(2, 1, 8)
    Cost(operations=12, latency=5, bytes=8)
    """

    operations: float
    latency: float
    bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.operations + other.operations, self.latency + other.latency, self.bytes + other.bytes
        )

    def __str__(self) -> str:
        return f"{self.operations:.3g} operations, latency {self.latency:.3g} cycles, {self.bytes:.3g} bytes"


FREE: Final = Cost(0.0, 0.0)
Sizes = Mapping[str, int]


def graph_cost(graph: Graph, sizes: Sizes | None = None) -> Cost:
    """The cost of evaluating a graph once, each node once, with the arrays that go in and out as its bytes.

    ``sizes`` gives named sizes; those it does not give count as 1000.
    """
    sizes = sizes or {}
    operations, longest = 0.0, 0.0
    ready: dict[Node, float] = {}
    for node in graph.nodes:
        cost = node_cost(node, sizes)
        operations += cost.operations
        ready[node] = max([ready[a] for a in node.args], default=0.0) + cost.latency
        longest = max(longest, ready[node])
    kinds = [*graph.inputs, *(t for o in graph.outputs for t in result_types(o))]
    return Cost(operations, longest, sum(_count(t.shape, sizes) * t.dtype.itemsize for t in kinds))


def primitive_cost(name: str) -> Cost:
    """The cost of a scalar primitive on one float.

    >>> primitive_cost("add").operations, primitive_cost("div").operations, primitive_cost("exp").operations
    (1, 8, 18)
    """
    return Cost(*_PRIMITIVES.get(name, _SIMPLE))


def node_cost(node: Node, sizes: Sizes) -> Cost:
    """The cost of one node, given its arguments."""
    op = node.op
    match op:
        case Input() | Const() | SizeOf() | Iota() | Stop() | Project():
            return FREE
        case Broadcast() | Transpose() | Reshape() | Slice() | Reverse() | Pad() | Concatenate():
            return FREE
        case Scalar(name):
            one = primitive_cost(name)
            weight = 4.0 if node.dtype.kind == "c" else 1.0
            return Cost(weight * one.operations * _count(node.shape, sizes), one.latency)
        case Cast():
            return Cost(_count(node.shape, sizes), 4.0)
        case Reduce() | Cumulative():
            count = _count(node.args[0].shape, sizes)
            chain = count / max(_count(node.shape, sizes), 1.0) if isinstance(op, Reduce) else count
            return Cost(count, 4.0 * (chain / LANES + math.log2(LANES)))
        case Insert() | Gather() | Scatter():
            return Cost(sum(_count(a.shape, sizes) for a in node.args[1:]), 5.0)
        case Contract(left, right, _):
            extent = dict(zip(left, node.args[0].shape, strict=True)) | dict(
                zip(right, node.args[1].shape, strict=True)
            )
            summed = _count(tuple(extent.values()), sizes)
            return Cost(2.0 * summed, 4.0 * summed / max(_count(node.shape, sizes), 1.0) / LANES + 4.0)
        case Linalg():
            return _linalg_cost(node, sizes)
        case Sort():
            count = _count(node.shape, sizes)
            return Cost(4.0 * count * math.log2(count + 2), count)
        case Random():
            return Cost(20.0 * _count(node.shape, sizes), 40.0)
        case Cond(branches):
            costs = [graph_cost(b, sizes) for b in branches]
            return Cost(max(c.operations for c in costs), max(c.latency for c in costs) + 2.0)
        case Loop():
            return _loop_cost(node, op, sizes)
        case Call(body):
            inner = graph_cost(body, sizes)
            return Cost(inner.operations, inner.latency)
        case Callback():
            return Cost(1e4, 1e4)
        case _:
            assert_never(op)


def _loop_cost(node: Node, op: Loop, sizes: Sizes) -> Cost:
    body = graph_cost(op.body, sizes)
    if op.predicate is not None:
        body = body + graph_cost(op.predicate, sizes)
        trips = float(UNKNOWN)
    elif op.length is not None:
        trips = float(_size(op.length, sizes))
    else:
        known = const_value(node.args[0])
        size = node.args[0].op
        trips = float(UNKNOWN if known is None else known)
        if isinstance(size, SizeOf):
            trips = float(_size(size.dim, sizes))
    chain = 1.0 if op.condition == "map" else trips
    return Cost((body.operations + 2.0) * trips, body.latency * chain + trips / LANES)


def _linalg_cost(node: Node, sizes: Sizes) -> Cost:
    assert isinstance(node.op, Linalg)
    matrix = node.args[0].shape
    n, batch = float(_size(matrix[-1], sizes)), _count(matrix[:-2], sizes)
    columns = _count(node.args[1].shape[len(matrix) - 1 :], sizes) if len(node.args) > 1 else 0.0
    match node.op.kind:
        case "cholesky":
            each = n**3 / 3
        case "solve_triangular":
            each = n**2 * columns
        case "solve":
            each = 2 * n**3 / 3 + 2 * n**2 * columns
        case "det" | "slogdet":
            each = 2 * n**3 / 3
        case "inv":
            each = 2 * n**3
        case _:
            each = 9 * n**3
    return Cost(batch * each, 20.0 * n)


def _size(dim: Dim, sizes: Sizes) -> int:
    return dims.evaluate(dim, {name: sizes.get(name, UNKNOWN) for name in dims.names(dim)})


def _count(shape: Shape, sizes: Sizes) -> float:
    return float(math.prod(_size(d, sizes) for d in shape))
