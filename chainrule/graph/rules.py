"""Linear programs of single ops: scalar primitives, reductions and contractions.

The partial derivatives of scalar primitives come from the table; the other formulas are in the rules' docstrings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .dtype import DType, is_complex
from .express import NODES, broadcast, cast, reduce
from .linear import Combine, Instruction, Map, Program, Term, Var, add_term, both
from .node import Node, const_value, constant, make
from .op import Broadcast, Contract, Gather, Iota, Reduce, Scalar, Type
from .running import product_of_others
from .scalar import PRIMITIVES, partials_of
from .squares import Known, is_sum_of_squares


class NotDifferentiable(TypeError):
    """An op on the way has no derivative (in this mode). ``node`` is the op's."""

    def __init__(self, node: Node, message: str) -> None:
        super().__init__(message)
        self.node = node


@dataclass(slots=True)
class Work:
    """A linearization under way: the program so far, the variable of each node, what is known of squares."""

    program: Program
    var: dict[Node, Var] = field(default_factory=dict)
    squares: Known = field(default_factory=dict)
    results: dict[Node, list[Var | None]] = field(default_factory=dict)  # of nodes that have several

    def emit(self, instruction: Instruction, kind: Type) -> Var:
        return self.program.emit(instruction, kind)


def scalar_op(work: Work, node: Node, name: str) -> Var | None:
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


def _operand(work: Work, arg: Node, node: Node) -> Var:
    """The tangent of an argument in the shape of the result: a rank-0 argument repeats."""
    source = work.var[arg]
    if arg.shape or not node.shape:
        return source
    return work.emit(Map(Broadcast(node.shape, ()), source), Type(node.shape, arg.dtype))


def _parts_of_complex(work: Work, node: Node) -> Var:
    terms = []
    for slot, arg in enumerate(node.args):
        if arg in work.var:
            terms.append(Term(work.emit(Map(node.op, _operand(work, arg, node), slot), node.type)))
    return work.emit(Combine(tuple(terms)), node.type)


def _non_holomorphic(work: Work, node: Node, name: str) -> Var | None:
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


def reduction(work: Work, node: Node, op: Reduce) -> Var | None:
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
            weighted = work.emit(Combine((Term(source, product_of_others(x, op.axes)),)), x.type)
            return work.emit(Map(Reduce("sum", op.axes), weighted), node.type)
        case _:
            return None


def _back(small: Node, like: Node, axes: tuple[int, ...]) -> Node:
    """A reduced array repeated along the axes that were reduced."""
    if not small.shape:
        return small
    return broadcast(small, like.shape, tuple(i for i in range(len(like.shape)) if i not in axes))


def gathered(work: Work, source: Var, kind: Type, order: Node, axis: int) -> Var:
    """take_along_axis of the tangent."""
    indices = tuple(
        order if i == axis else broadcast(make(Iota(d)), order.shape, (i,)) for i, d in enumerate(kind.shape)
    )
    gather = Gather(tuple(range(kind.rank)))
    return work.emit(Map(gather, source, 0, indices), Type(order.shape, kind.dtype))


def contraction(work: Work, node: Node, op: Contract) -> Var:
    """d(a·b) = da·b + a·db."""
    terms = []
    for slot, arg in enumerate(node.args):
        if arg in work.var:
            terms.append(Term(work.emit(Map(op, work.var[arg], slot, (node.args[1 - slot],)), node.type)))
    return work.emit(Combine(tuple(terms)), node.type)
