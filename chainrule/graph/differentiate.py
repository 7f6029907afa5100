"""linearize: one rule per op family, from nodes to a linear program; jvp and vjp run it forward or transposed.

The partial derivatives of scalar primitives come from the table; everything else that is not linear is linearised here,
with the formula in the rule's docstring. Both modes read the same linear program, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from .dim import Dim
from .dtype import INT64, is_complex, is_inexact
from .express import NODES, broadcast, cast, reduce, reshape
from .linear import (
    Combine, Join, Map, Pick, Program, Seed, Structured, Term, Var, accumulate, forward, transposed,
)  # fmt: skip
from .node import Node, const_value, constant, make, results, substitute, topological
from .op import (
    Broadcast, Call, Callback, Cast, Concatenate, Cond, Const, Contract, Cumulative, Gather, Input, Insert, Iota,
    Linalg, Loop, Pad, Project, Random, Reduce, Reshape, Reverse, Scalar, Scatter, SizeOf, Slice, Sort, Stop,
    Transpose, Type,
)  # fmt: skip
from .scalar import PRIMITIVES, partials_of

Blame = Callable[[Node, str], Exception]


class NotDifferentiable(TypeError):
    """An op on the way has no derivative (in this mode). ``node`` is the op's."""

    def __init__(self, node: Node, message: str) -> None:
        super().__init__(message)
        self.node = node


# --- the two modes ----------------------------------------------------------------------------------------------------------


def jvp(
    outputs: Sequence[Node], inputs: Sequence[Node], seeds: Sequence[Sequence[Node | None]]
) -> tuple[list[Node], list[list[Node | None]]]:
    """Values, and tangents of ``outputs`` for K tangents of ``inputs``: ``seeds[input][k]`` → ``[output][k]``.

    A tangent None is zero. The values are those of ``outputs``, loops and branches being shared with the tangents.
    """
    program = linearize(outputs, inputs)
    if seeds and len(seeds[0]) > 1:
        program = accumulate(program)
    tangents, replaced = forward(program, seeds)
    values = list(outputs)
    if replaced:
        # a replacement may itself use results of loops replaced before it: repeat until none is left
        flat = [t for row in tangents for t in row if t is not None]
        for _ in replaced:
            both = substitute([*values, *flat], replaced)
            if both == (*values, *flat):
                break
            values, flat = list(both[: len(values)]), list(both[len(values) :])
        rest = iter(flat)
        tangents = [[None if t is None else next(rest) for t in row] for row in tangents]
    return values, tangents


def vjp(
    outputs: Sequence[Node], inputs: Sequence[Node], cotangents: Sequence[Sequence[Node | None]]
) -> list[list[Node | None]]:
    """Cotangents of ``inputs`` for K cotangents of ``outputs``: ``cotangents[output][k]`` → ``[input][k]``."""
    program = linearize(outputs, inputs)
    if cotangents and len(cotangents[0]) > 1:
        program = accumulate(program)
    return transposed(program, cotangents)


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
    """The loops through which a derivative passes: reverse mode cannot transpose them, forward mode can."""
    found = []
    for node in active_nodes(outputs, inputs):
        if isinstance(node.op, Loop) or (isinstance(node.op, Cond) and any(_has_loop(b) for b in node.op.branches)):
            found.append(node)
    return found


def _has_loop(graph: object) -> bool:
    from .node import Graph

    assert isinstance(graph, Graph)
    return any(
        isinstance(n.op, Loop) or (isinstance(n.op, Cond) and any(_has_loop(b) for b in n.op.branches)) for n in graph.nodes
    )


def linearize(outputs: Sequence[Node], inputs: Sequence[Node]) -> Program:
    """The derivative of ``outputs`` with respect to ``inputs`` at the point where they are, as a linear program."""
    program = Program(inputs=[i.type for i in inputs])
    var: dict[Node, Var] = {}
    for position, node in enumerate(inputs):
        if is_inexact(node.dtype):
            var[node] = program.emit(Seed(position), node.type)
    for node in active_nodes(outputs, inputs):
        found = _linearize_node(program, node, var)
        if found is not None:
            var[node] = found
    program.outputs = [var.get(o) for o in outputs]
    return program


# --- rules ------------------------------------------------------------------------------------------------------------------


def _linearize_node(program: Program, node: Node, var: dict[Node, Var]) -> Var | None:
    """Emits the instructions for the tangent of ``node``; None: it has none after all."""
    op, args = node.op, node.args
    match op:
        case Scalar():
            return _scalar(program, node, var)
        case Reduce():
            return _reduce(program, node, op, var)
        case Cumulative():
            return _cumulative(program, node, op, var)
        case Broadcast() | Transpose() | Reshape() | Slice() | Reverse() | Pad() | Cast():
            return program.emit(Map(op, var[args[0]]), node.type)
        case Concatenate() | Insert():
            types = tuple(a.type for a in args)
            return program.emit(Join(op, tuple(var.get(a) for a in args), types), node.type)
        case Scatter():
            used = (var.get(args[0]), var.get(args[1]))
            return program.emit(Join(op, used, (args[0].type, args[1].type), args[2:]), node.type)
        case Gather():
            return program.emit(Map(op, var[args[0]], 0, args[1:]), node.type) if args[0] in var else None
        case Contract():
            return _contract(program, node, op, var)
        case Sort(axis, _):
            order = make(Sort(axis, True), args)
            return _gather_along(program, var[args[0]], args[0].type, order, axis)
        case Cond() | Loop():
            return program.emit(Structured(node, tuple(var.get(a) for a in args)), Type((), INT64))
        case Project(index):
            if args[0] not in var or not is_inexact(node.dtype):
                return None
            return program.emit(Pick(var[args[0]], index), node.type)
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


def _operand(program: Program, arg: Node, node: Node, var: dict[Node, Var]) -> Var:
    """The tangent of an argument in the shape of the result: a rank-0 argument repeats."""
    source = var[arg]
    if arg.shape or not node.shape:
        return source
    return program.emit(Map(Broadcast(node.shape, ()), source), Type(node.shape, arg.dtype))


def _scalar(program: Program, node: Node, var: dict[Node, Var]) -> Var | None:
    """d op = Σ ∂op/∂xᵢ·dxᵢ, each where its mask holds."""
    assert isinstance(node.op, Scalar)
    primitive = PRIMITIVES[node.op.name]
    if any(is_complex(a.dtype) for a in node.args) and not primitive.holomorphic:
        return _non_holomorphic(program, node, node.op.name, var)
    if node.op.name == "complex":
        parts = [_operand(program, a, node, var) if a in var else None for a in node.args]
        terms = [Term(program.emit(Map(node.op, p, slot), node.type)) for slot, p in enumerate(parts) if p is not None]
        return program.emit(Combine(tuple(terms)), node.type)
    functions = partials_of(node.op.name)
    masks = primitive.masks
    merged: dict[tuple[Var, Node | None], Node | None] = {}
    operands: dict[Node, Var] = {}
    for position, arg in enumerate(node.args):
        rule = functions[position]
        if arg not in var or rule is None:
            continue
        partial = rule(NODES, node, *node.args)
        if isinstance(partial, (int, float, complex)):
            if partial == 0:
                continue
            coefficient = None if partial == 1 else constant(partial, node.dtype)
        else:
            coefficient = None if const_value(partial) == 1 else partial
        where = masks[position] if masks is not None else None
        mask = None if where is None else where(NODES, node, *node.args)
        if arg not in operands:
            operands[arg] = _operand(program, arg, node, var)
        key = (operands[arg], mask)
        if key in merged:
            before = merged[key]
            one = constant(1, node.dtype)
            coefficient = (one if before is None else before) + (one if coefficient is None else coefficient)
        merged[key] = coefficient
    if not merged:
        return None
    return program.emit(Combine(tuple(Term(s, c, m) for (s, m), c in merged.items())), node.type)


def _non_holomorphic(program: Program, node: Node, name: str, var: dict[Node, Var]) -> Var | None:
    """real, imag and conj are linear over the reals; d|z| = Re(z̄/|z|·dz), d arg z = Im(dz/z); where per branch."""
    arg = node.args[0]
    match name:
        case "real" | "imag" | "conj":
            return program.emit(Map(node.op, var[arg]), node.type)
        case "abs":
            zero = NODES.eq(node, constant(0, node.dtype))
            safe = NODES.where(zero, constant(1, node.dtype), node)
            direction = NODES.conj(arg) / NODES.complex(safe, constant(0, node.dtype))
            turned = program.emit(Combine((Term(var[arg], direction),)), arg.type)
            return program.emit(Map(Scalar("real"), turned), node.type)
        case "angle":
            turned = program.emit(Combine((Term(var[arg], 1 / arg),)), arg.type)
            return program.emit(Map(Scalar("imag"), turned), node.type)
        case _:
            raise NotDifferentiable(node, f"{name} of complex numbers has no derivative")


def _reduce(program: Program, node: Node, op: Reduce, var: dict[Node, Var]) -> Var | None:
    """Sum is linear; min and max share the tangents of the places that attain them; d Πx = Σ (Π of the others)·dx."""
    x, source = node.args[0], var[node.args[0]]
    match op.kind:
        case "sum":
            return program.emit(Map(op, source), node.type)
        case "min" | "max":
            attained = NODES.eq(x, _back(node, x, op.axes))
            number = reduce("sum", cast(attained, node.dtype), op.axes)
            chosen = program.emit(Combine((Term(source, None, attained),)), x.type)
            summed = program.emit(Map(Reduce("sum", op.axes), chosen), node.type)
            return program.emit(Combine((Term(summed, 1 / number),)), node.type)
        case "prod":
            others = _product_of_others(x, op.axes)
            weighted = program.emit(Combine((Term(source, others),)), x.type)
            return program.emit(Map(Reduce("sum", op.axes), weighted), node.type)
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
        before = _running_product(inner, axis, backwards=False)
        after = _running_product(inner, axis, backwards=True)
        own = before * after
        kept = tuple(i for i in range(len(x.shape)) if i not in axes or i <= axis)
        own = broadcast(own, x.shape, kept)
        result = own if result is None else result * own
        inner = reduce("prod", inner, (axis,))
    assert result is not None
    return result


def _running_product(x: Node, axis: int, *, backwards: bool) -> Node:
    """Exclusive running product along ``axis``: 1 where there is nothing before."""
    n: Dim = x.shape[axis]
    one = broadcast(constant(1, x.dtype), tuple(1 if i == axis else d for i, d in enumerate(x.shape)), ())
    inclusive = make(Cumulative("prod", axis, backwards), (x,))
    starts = tuple(1 if i == axis and backwards else 0 for i in range(len(x.shape)))
    counts = tuple(n - 1 if i == axis else d for i, d in enumerate(x.shape))
    shifted = make(Slice(starts, counts, (1,) * len(x.shape)), (inclusive,))
    return make(Concatenate(axis), (shifted, one) if backwards else (one, shifted))


def _cumulative(program: Program, node: Node, op: Cumulative, var: dict[Node, Var]) -> Var | None:
    """Running sums are linear, running extrema read the place last attained, d yⱼ = Σᵢ (Π of xₖ≤ⱼ without xᵢ)·dxᵢ."""
    x, source = node.args[0], var[node.args[0]]
    axis, rank = op.axis, len(x.shape)
    match op.kind:
        case "sum":
            return program.emit(Map(op, source), node.type)
        case "min" | "max":
            place = broadcast(make(Iota(x.shape[axis])), x.shape, (axis,))
            backwards = op.reverse
            last = x.shape[axis] - 1
            far = constant(last, INT64) if isinstance(last, int) else make(SizeOf(last))
            fresh = NODES.eq(x, node)
            records = NODES.where(fresh, place, far if backwards else constant(0, INT64))
            order = make(Cumulative("min" if backwards else "max", axis, backwards), (records,))
            return _gather_along(program, source, x.type, order, axis)
        case "prod":
            # M[.., j, i] = Π over k ≤ j, k ≠ i of xₖ for i ≤ j: an (n, n) array, exact at zeros
            n = x.shape[axis]
            shape = (*x.shape, n)
            i = broadcast(make(Iota(n)), shape, (rank,))
            k = broadcast(make(Iota(n)), shape, (axis,))
            wide = broadcast(x, shape, tuple(range(rank)))
            without = NODES.where(NODES.eq(i, k), constant(1, x.dtype), wide)
            product = make(Cumulative("prod", axis, op.reverse), (without,))
            reached = NODES.le(k, i) if op.reverse else NODES.ge(k, i)
            matrix = NODES.where(reached, product, constant(0, x.dtype))
            repeated = program.emit(
                Map(Broadcast(shape, (*range(axis), rank, *range(axis + 1, rank))), source), Type(shape, x.dtype)
            )
            weighted = program.emit(Combine((Term(repeated, matrix),)), Type(shape, x.dtype))
            return program.emit(Map(Reduce("sum", (rank,)), weighted), node.type)
        case _:
            assert_never(op.kind)


def _gather_along(program: Program, source: Var, kind: Type, order: Node, axis: int) -> Var:
    """take_along_axis of the tangent."""
    indices = tuple(
        order if i == axis else broadcast(make(Iota(d)), order.shape, (i,)) for i, d in enumerate(kind.shape)
    )
    gather = Gather(tuple(range(kind.rank)))
    return program.emit(Map(gather, source, 0, indices), Type(order.shape, kind.dtype))


def _contract(program: Program, node: Node, op: Contract, var: dict[Node, Var]) -> Var:
    """d(a·b) = da·b + a·db."""
    terms = []
    for slot, arg in enumerate(node.args):
        if arg in var:
            other = node.args[1 - slot]
            terms.append(Term(program.emit(Map(op, var[arg], slot, (other,)), node.type)))
    return program.emit(Combine(tuple(terms)), node.type)


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
    "NotDifferentiable", "active_nodes", "jvp", "linearize", "loops_between", "results", "unit_seeds", "vjp",
]  # fmt: skip
