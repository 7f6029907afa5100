"""linearize: one rule per op family, from nodes to a linear program; jvp and vjp run it forward or transposed.

The partial derivatives of scalar primitives come from the table; everything else that is not linear is linearised here,
with the formula in the rule's docstring. Both modes read the same linear program, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from .dtype import INT64, DType, is_complex, is_inexact
from .express import NODES, broadcast, cast, reduce, reshape
from .linear import (
    Combine,
    Instruction,
    Join,
    Map,
    Pairs,
    Pick,
    Program,
    Seed,
    Structured,
    Term,
    Var,
    accumulate,
    add_term,
    both,
    follow,
    forward,
    materialise,
)
from .node import Node, const_value, constant, make, results, topological
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
    Type,
)
from .scalar import PRIMITIVES, partials_of
from .squares import Known, is_sum_of_squares
from .transpose import transposed


class NotDifferentiable(TypeError):
    """An op on the way has no derivative (in this mode). ``node`` is the op's."""

    def __init__(self, node: Node, message: str) -> None:
        super().__init__(message)
        self.node = node


# --- the two modes ------------------------------------------------------------------------------------------

Seeds = Sequence[Sequence[Node | None]]


def jvp(outputs: Sequence[Node], inputs: Sequence[Node], seeds: Seeds) -> tuple[list[Node], list[list[Node | None]]]:
    """Values, and tangents of ``outputs`` for K tangents of ``inputs``: ``seeds[input][k]`` → ``[output][k]``.

    A tangent None is zero. The values are those of ``outputs``, loops and branches being shared with the tangents.
    """
    values, rows = push_pairs(outputs, inputs, [_pairs(row) for row in seeds])
    return values, [_arrays(row, output.type) for row, output in zip(rows, outputs, strict=True)]


def vjp(outputs: Sequence[Node], inputs: Sequence[Node], cotangents: Seeds) -> list[list[Node | None]]:
    """Cotangents of ``inputs`` for K cotangents of ``outputs``: ``cotangents[output][k]`` → ``[input][k]``."""
    return value_and_vjp(outputs, inputs, cotangents)[1]


def value_and_vjp(
    outputs: Sequence[Node], inputs: Sequence[Node], cotangents: Seeds
) -> tuple[list[Node], list[list[Node | None]]]:
    """``outputs`` with their loops shared with the cotangents, and ``vjp``."""
    values, rows = pull(outputs, inputs, [_pairs(row) for row in cotangents])
    return values, [_arrays(row, node.type) for row, node in zip(rows, inputs, strict=True)]


def push_pairs(
    outputs: Sequence[Node], inputs: Sequence[Node], seeds: Sequence[Pairs]
) -> tuple[list[Node], list[Pairs]]:
    """``jvp`` of tangents with their supports."""
    moving = [i for i, row in enumerate(seeds) if any(pair is not None for pair in row)]
    if not moving:
        return list(outputs), [[None] * (len(seeds[0]) if seeds else 0) for _ in outputs]
    given = [seeds[i] for i in moving]
    tangents, replaced = forward(_program(outputs, [inputs[i] for i in moving], given), given)
    return _followed(outputs, tangents, replaced)


def pull_pairs(
    outputs: Sequence[Node], inputs: Sequence[Node], cotangents: Sequence[Pairs], *, repeated: bool = False
) -> list[Pairs]:
    """``vjp`` of cotangents with their supports.

    ``repeated``: the step of a loop, where it is the way of the cotangents from step to step that takes time.
    """
    return pull(outputs, inputs, cotangents, repeated=repeated)[1]


def pull(
    outputs: Sequence[Node], inputs: Sequence[Node], cotangents: Sequence[Pairs], *, repeated: bool = False
) -> tuple[list[Node], list[Pairs]]:
    """``value_and_vjp`` of cotangents with their supports."""
    arriving = [i for i, row in enumerate(cotangents) if any(pair is not None for pair in row)]
    if not arriving:
        return list(outputs), [[None] * (len(cotangents[0]) if cotangents else 0) for _ in inputs]
    given = [cotangents[i] for i in arriving]
    program = _program([outputs[i] for i in arriving], inputs, given, repeated=repeated)
    rows, replaced = transposed(program, given)
    return _followed(outputs, rows, replaced)


def _followed(
    outputs: Sequence[Node], rows: list[Pairs], replaced: Mapping[Node, Node]
) -> tuple[list[Node], list[Pairs]]:
    """Values and derivatives with what is computed elsewhere exchanged."""
    if not replaced:
        return list(outputs), rows
    parts = [n for row in rows for pair in row if pair is not None for n in pair if n is not None]
    done = follow([*outputs, *parts], replaced)
    return [done[o] for o in outputs], [
        [None if p is None else (done[p[0]], None if p[1] is None else done[p[1]]) for p in row] for row in rows
    ]


def _program(
    outputs: Sequence[Node], inputs: Sequence[Node], seeds: Sequence[Pairs], *, repeated: bool = False
) -> Program:
    program = linearize(outputs, inputs)
    return accumulate(program) if repeated or len(seeds[0]) > 1 else program


def _pairs(row: Sequence[Node | None]) -> Pairs:
    return [None if node is None else (node, None) for node in row]


def _arrays(row: Pairs, kind: Type) -> list[Node | None]:
    return [None if pair is None else materialise(pair[0], kind) for pair in row]


def active_nodes(outputs: Sequence[Node], inputs: Sequence[Node]) -> list[Node]:
    """The nodes between inputs and outputs that carry a derivative, arguments first, inputs excluded."""
    wanted = set(inputs)
    active = {i for i in inputs if is_inexact(i.dtype)}
    order = []
    for node in topological(outputs):
        if node in wanted or isinstance(node.op, Stop) or active.isdisjoint(node.args):
            continue
        if isinstance(node.type, Type) and not is_inexact(node.dtype):
            continue
        active.add(node)
        order.append(node)
    return order


def loops_between(outputs: Sequence[Node], inputs: Sequence[Node]) -> list[Node]:
    """The loops through which a derivative passes, and the branches that hold some."""
    return [node for node in active_nodes(outputs, inputs) if _holds_loop(node)]


def _holds_loop(node: Node) -> bool:
    if isinstance(node.op, Cond):
        return any(_holds_loop(n) for branch in node.op.branches for n in branch.nodes)
    return isinstance(node.op, Loop)


def linearize(outputs: Sequence[Node], inputs: Sequence[Node]) -> Program:
    """The derivative of ``outputs`` with respect to ``inputs`` at the point where they are, as a linear program."""
    work = _Work(Program(inputs=[i.type for i in inputs]))
    for position, node in enumerate(inputs):
        if is_inexact(node.dtype):
            work.var[node] = work.emit(Seed(position), node.type)
    _between(work, outputs, inputs)
    work.program.outputs = [work.var.get(o) for o in outputs]
    return work.program


@dataclass(slots=True)
class _Work:
    """A linearization under way: the program so far, the variable of each node, what is known of squares."""

    program: Program
    var: dict[Node, Var] = field(default_factory=dict)
    squares: Known = field(default_factory=dict)

    def emit(self, instruction: Instruction, kind: Type) -> Var:
        return self.program.emit(instruction, kind)


def _between(work: _Work, outputs: Sequence[Node], inputs: Sequence[Node]) -> None:
    """Emits the instructions of all nodes between inputs, which have their variables, and outputs."""
    for node in active_nodes(outputs, inputs):
        # what is behind a step function only is between them and has no tangent
        found = None if work.var.keys().isdisjoint(node.args) else _linearize_node(work, node)
        if found is not None:
            work.var[node] = found


# --- rules --------------------------------------------------------------------------------------------------


def _linearize_node(work: _Work, node: Node) -> Var | None:
    """Emits the instructions for the tangent of ``node``; None: it has none after all."""
    op, args, var = node.op, node.args, work.var
    match op:
        case Scalar():
            return _scalar(work, node, op.name)
        case Reduce():
            return _reduce(work, node, op)
        case Cumulative():
            return _cumulative(work, node, op)
        case Broadcast() | Transpose() | Reshape() | Slice() | Reverse() | Pad() | Cast():
            return work.emit(Map(op, var[args[0]]), node.type)
        case Concatenate() | Insert():
            types = tuple(a.type for a in args)
            return work.emit(Join(op, tuple(var.get(a) for a in args), types), node.type)
        case Scatter():
            used = (var.get(args[0]), var.get(args[1]))
            return work.emit(Join(op, used, (args[0].type, args[1].type), args[2:]), node.type)
        case Gather():
            return work.emit(Map(op, var[args[0]], 0, args[1:]), node.type)
        case Contract():
            return _contract(work, node, op)
        case Sort(axis, _):
            order = make(Sort(axis, True), args)
            return _gather_along(work, var[args[0]], args[0].type, order, axis)
        case Cond() | Loop():
            return work.emit(Structured(node, tuple(var.get(a) for a in args)), Type((), INT64))
        case Project(index):
            return work.emit(Pick(var[args[0]], index), node.type) if args[0] in var else None
        case Linalg(kind):
            raise NotDifferentiable(node, f"the derivative of linalg.{kind} is not supported")
        case Random() | Callback():
            raise NotDifferentiable(node, f"the derivative of {type(op).__name__.lower()} is not supported")
        case Call():
            raise NotDifferentiable(node, "a call with a rule of its own is not supported here")
        case Input() | Const() | SizeOf() | Iota() | Stop():
            return None
        case _:
            assert_never(op)


def _scalar(work: _Work, node: Node, name: str) -> Var | None:
    """d op = Σ ∂op/∂xᵢ·dxᵢ, each where its mask holds."""
    primitive = PRIMITIVES[name]
    if not primitive.holomorphic and any(is_complex(a.dtype) for a in node.args):
        return _non_holomorphic(work, node, name)
    if name == "complex":
        return _parts_of_complex(work, node)
    terms: dict[tuple[Var, Node | None], Node | None] = {}
    operands: dict[Node, Var] = {}
    for position, (arg, rule) in enumerate(zip(node.args, partials_of(name), strict=True)):
        if rule is None or arg not in work.var:
            continue
        coefficient = _as_coefficient(rule(NODES, node, *node.args), node.dtype)
        where = primitive.masks[position] if primitive.masks is not None else None
        mask = None if where is None else where(NODES, node, *node.args)
        if position == 0 and _has_corner(node, name, work.squares):
            mask = both(mask, NODES.ne(arg, 0))
        if arg not in operands:
            operands[arg] = _operand(work, arg, node)
        add_term(terms, Term(operands[arg], coefficient, mask), node.dtype)
    if not terms:
        return None
    return work.emit(Combine(tuple(Term(s, c, m) for (s, m), c in terms.items())), node.type)


def _as_coefficient(partial: Any, dtype: DType) -> Node | None:
    """A partial derivative as a node; None: 1."""
    node: Node = partial if isinstance(partial, Node) else constant(partial, dtype)
    return None if const_value(node) == 1 else node


def _has_corner(node: Node, name: str, known: Known) -> bool:
    """Whether ``node`` is the root of a sum of squares: its slope at zero is taken as 0, not as infinite times 0."""
    if name == "pow":
        exponent = const_value(node.args[1])
        if exponent is None or node.dtype.kind != "f" or not 0 < exponent < 1:
            return False
    elif name != "sqrt":
        return False
    return is_sum_of_squares(node.args[0], known)


def _operand(work: _Work, arg: Node, node: Node) -> Var:
    """The tangent of an argument in the shape of the result: a rank-0 argument repeats."""
    source = work.var[arg]
    if arg.shape or not node.shape:
        return source
    return work.emit(Map(Broadcast(node.shape, ()), source), Type(node.shape, arg.dtype))


def _parts_of_complex(work: _Work, node: Node) -> Var:
    terms = []
    for slot, arg in enumerate(node.args):
        if arg in work.var:
            terms.append(Term(work.emit(Map(node.op, _operand(work, arg, node), slot), node.type)))
    return work.emit(Combine(tuple(terms)), node.type)


def _non_holomorphic(work: _Work, node: Node, name: str) -> Var | None:
    """real, imag and conj are linear over the reals; d|z| = Re(z̄/|z|·dz), at 0 taken as 0; d arg z = Im(dz/z)."""
    arg = node.args[0]
    match name:
        case "real" | "imag" | "conj":
            return work.emit(Map(node.op, work.var[arg]), node.type)
        case "abs":
            direction = NODES.conj(arg) / cast(node, arg.dtype)
            turned = work.emit(Combine((Term(work.var[arg], direction, NODES.ne(node, 0)),)), arg.type)
            return work.emit(Map(Scalar("real"), turned), node.type)
        case "angle":
            turned = work.emit(Combine((Term(work.var[arg], 1 / arg),)), arg.type)
            return work.emit(Map(Scalar("imag"), turned), node.type)
        case _:
            raise NotDifferentiable(node, f"{name} of complex numbers has no derivative")


def _reduce(work: _Work, node: Node, op: Reduce) -> Var | None:
    """Sum is linear; min and max share the tangents of the places that attain them; d Πx = Σ (Π of the others)·dx."""
    x, source = node.args[0], work.var[node.args[0]]
    match op.kind:
        case "sum":
            return work.emit(Map(op, source), node.type)
        case "min" | "max":
            attained = NODES.eq(x, _back(node, x, op.axes))
            number = reduce("sum", cast(attained, node.dtype), op.axes)
            shared = work.emit(Combine((Term(source, _back(1 / number, x, op.axes), attained),)), x.type)
            return work.emit(Map(Reduce("sum", op.axes), shared), node.type)
        case "prod":
            weighted = work.emit(Combine((Term(source, _product_of_others(x, op.axes)),)), x.type)
            return work.emit(Map(Reduce("sum", op.axes), weighted), node.type)
        case _:
            return None


def _back(small: Node, like: Node, axes: tuple[int, ...]) -> Node:
    """A reduced array repeated along the axes that were reduced."""
    if not small.shape:
        return small
    return broadcast(small, like.shape, tuple(i for i in range(len(like.shape)) if i not in axes))


def _product_of_others(x: Node, axes: tuple[int, ...]) -> Node:
    """For each element the product of all others along ``axes``, without a division, so that zeros are right."""
    result: Node | None = None
    inner = x
    for axis in reversed(axes):
        # `inner` is x already reduced along the later axes
        own = _shifted_product(inner, axis, backwards=False) * _shifted_product(inner, axis, backwards=True)
        kept = tuple(i for i in range(len(x.shape)) if i not in axes or i <= axis)
        own = broadcast(own, x.shape, kept)
        result = own if result is None else result * own
        inner = reduce("prod", inner, (axis,))
    assert result is not None
    return result


def _shifted_product(x: Node, axis: int, *, backwards: bool) -> Node:
    """The running product of the elements before each one (after it: ``backwards``) along ``axis``."""
    return _shifted(make(Cumulative("prod", axis, backwards), (x,)), axis, 1, backwards=backwards)


def _shifted(x: Node, axis: int, by: int, *, backwards: bool) -> Node:
    """x moved along ``axis`` by some places, towards the end or ``backwards``, with ones moving in."""
    n = x.shape[axis]
    if isinstance(n, int) and by >= n:
        return broadcast(constant(1, x.dtype), x.shape, ())
    ones = broadcast(constant(1, x.dtype), tuple(by if i == axis else d for i, d in enumerate(x.shape)), ())
    starts = tuple(by if i == axis and backwards else 0 for i in range(len(x.shape)))
    counts = tuple(n - by if i == axis else d for i, d in enumerate(x.shape))
    rest = make(Slice(starts, counts, (1,) * len(x.shape)), (x,))
    return make(Concatenate(axis), (rest, ones) if backwards else (ones, rest))


def _cumulative(work: _Work, node: Node, op: Cumulative) -> Var | None:
    """Running sums are linear; running extrema read the place last attained; products see below."""
    x, source = node.args[0], work.var[node.args[0]]
    match op.kind:
        case "sum":
            return work.emit(Map(op, source), node.type)
        case "min" | "max":
            return _gather_along(work, source, x.type, _places_attained(x, node, op), op.axis)
        case "prod":
            n = x.shape[op.axis]
            if not isinstance(n, int):
                return _cumulative_product(work, node, op)
            doubled = x
            by = 1
            while by < n:
                doubled = doubled * _shifted(doubled, op.axis, by, backwards=op.reverse)
                by *= 2
            if doubled is x:
                return source
            _between(work, [doubled], [x])
            return work.var[doubled]
        case _:
            assert_never(op.kind)


def _places_attained(x: Node, extremum: Node, op: Cumulative) -> Node:
    """The index along the axis at which each running extremum was attained last."""
    size = x.shape[op.axis]
    place = broadcast(make(Iota(size)), x.shape, (op.axis,))
    start = size - 1 if op.reverse else 0
    before = constant(start, INT64) if isinstance(start, int) else make(SizeOf(start))
    records = NODES.where(NODES.eq(x, extremum), place, before)
    return make(Cumulative("min" if op.reverse else "max", op.axis, op.reverse), (records,))


def _cumulative_product(work: _Work, node: Node, op: Cumulative) -> Var:
    """d yⱼ = Σᵢ (Π over k ≤ j, k ≠ i of xₖ)·dxᵢ by an (n, n) matrix, exact at zeros, for an axis of any size."""
    x, source = node.args[0], work.var[node.args[0]]
    axis, rank, n = op.axis, len(x.shape), x.shape[op.axis]
    shape = (*x.shape, n)
    i = broadcast(make(Iota(n)), shape, (rank,))
    k = broadcast(make(Iota(n)), shape, (axis,))
    wide = broadcast(x, shape, tuple(range(rank)))
    without = NODES.where(NODES.eq(i, k), constant(1, x.dtype), wide)
    product = make(Cumulative("prod", axis, op.reverse), (without,))
    reached = NODES.le(k, i) if op.reverse else NODES.ge(k, i)
    others = [a for a in range(rank) if a != axis]
    kind = Type(shape, x.dtype)
    last = Type((*(x.shape[a] for a in others), n), x.dtype)
    moved = work.emit(Map(Transpose((*others, axis)), source), last)
    repeated = work.emit(Map(Broadcast(shape, (*others, rank)), moved), kind)
    weighted = work.emit(Combine((Term(repeated, product, reached),)), kind)
    return work.emit(Map(Reduce("sum", (rank,)), weighted), node.type)


def _gather_along(work: _Work, source: Var, kind: Type, order: Node, axis: int) -> Var:
    """take_along_axis of the tangent."""
    indices = tuple(
        order if i == axis else broadcast(make(Iota(d)), order.shape, (i,)) for i, d in enumerate(kind.shape)
    )
    gather = Gather(tuple(range(kind.rank)))
    return work.emit(Map(gather, source, 0, indices), Type(order.shape, kind.dtype))


def _contract(work: _Work, node: Node, op: Contract) -> Var:
    """d(a·b) = da·b + a·db."""
    terms = []
    for slot, arg in enumerate(node.args):
        if arg in work.var:
            terms.append(Term(work.emit(Map(op, work.var[arg], slot, (node.args[1 - slot],)), node.type)))
    return work.emit(Combine(tuple(terms)), node.type)


def unit_seeds(kind: Type) -> list[Node]:
    """The unit tangents of an array of fixed shape, in C order."""
    number = 1
    for d in kind.shape:
        assert isinstance(d, int)
        number *= d
    if not kind.shape:
        return [constant(1, kind.dtype)]
    flat = make(Iota(number))
    one, zero = constant(1, kind.dtype), constant(0, kind.dtype)
    return [reshape(NODES.where(NODES.eq(flat, constant(i, INT64)), one, zero), kind.shape) for i in range(number)]


__all__ = [
    "NotDifferentiable", "active_nodes", "jvp", "linearize", "loops_between", "results", "unit_seeds", "value_and_vjp",
    "vjp",
]  # fmt: skip
