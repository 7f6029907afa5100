"""linearize: one rule per op family, from nodes to a linear program; jvp and vjp run it forward or transposed.

The partial derivatives of scalar primitives come from the table; everything else that is not linear is linearised here,
with the formula in the rule's docstring. Both modes read the same linear program, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

from . import matrix_rules
from .after import AFTER
from .dtype import INT64, is_inexact
from .express import NODES, broadcast, reshape
from .inlined import anywhere, is_linear, place, reaches, standing_alone
from .linear import (
    Combine,
    Join,
    Map,
    Pairs,
    Pick,
    Program,
    Pulled,
    Seed,
    Structured,
    Term,
    Var,
    accumulate,
    follow,
    forward,
    materialise,
)
from .node import Graph, Node, constant, make, result_types, results, substitute, topological
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
from .rule import Rule
from .rules import NotDifferentiable, Work, contraction, gathered, reduction, scalar_op
from .running import places_attained, shifted
from .transpose import transposed

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
    if isinstance(node.op, Call):
        return any(map(_holds_loop, node.op.body.nodes))
    return isinstance(node.op, Loop)


def linearize(outputs: Sequence[Node], inputs: Sequence[Node]) -> Program:
    """The derivative of ``outputs`` with respect to ``inputs`` at the point where they are, as a linear program."""
    work = Work(Program(inputs=[i.type for i in inputs]))
    for position, node in enumerate(inputs):
        if is_inexact(node.dtype):
            work.var[node] = work.emit(Seed(position), node.type)
    _between(work, outputs, inputs)
    work.program.outputs = [work.var.get(o) for o in outputs]
    return work.program


def _between(work: Work, outputs: Sequence[Node], inputs: Sequence[Node]) -> None:
    """Emits the instructions of all nodes between inputs, which have their variables, and outputs."""
    for node in active_nodes(outputs, inputs):
        # what is behind a step function only is between them and has no tangent
        found = None if work.var.keys().isdisjoint(node.args) else _linearize_node(work, node)
        if found is not None:
            work.var[node] = found


# --- rules --------------------------------------------------------------------------------------------------


def _linearize_node(work: Work, node: Node) -> Var | None:
    """Emits the instructions for the tangent of ``node``; None: it has none after all."""
    op, args, var = node.op, node.args, work.var
    match op:
        case Scalar():
            return scalar_op(work, node, op.name)
        case Reduce():
            return reduction(work, node, op)
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
            return contraction(work, node, op)
        case Sort(axis, _):
            order = make(Sort(axis, True), args)
            return gathered(work, var[args[0]], args[0].type, order, axis)
        case Call(_, Rule() as rule):
            return _call(work, node, rule)
        case Cond() | Loop() | Call():
            return work.emit(Structured(node, tuple(var.get(a) for a in args)), Type((), INT64))
        case Project(index) if args[0] in work.results:
            return work.results[args[0]][index]
        case Project(index):
            return work.emit(Pick(var[args[0]], index), node.type) if args[0] in var else None
        case Linalg():
            return _linalg(work, node, op)
        case Callback(key) if key == AFTER:
            return _known_results(work, node, [var.get(args[0])])
        case Callback() if op.effect is not None:
            return None
        case Random() | Callback():
            raise NotDifferentiable(node, f"the derivative of {type(op).__name__.lower()} is not supported")
        case Input() | Const() | SizeOf() | Iota() | Stop():
            return None
        case _:
            assert_never(op)


def _cumulative(work: Work, node: Node, op: Cumulative) -> Var | None:
    """Running sums are linear; running extrema read the place last attained; products see below."""
    x, source = node.args[0], work.var[node.args[0]]
    match op.kind:
        case "sum":
            return work.emit(Map(op, source), node.type)
        case "min" | "max":
            return gathered(work, source, x.type, places_attained(x, node, op), op.axis)
        case "prod":
            n = x.shape[op.axis]
            if not isinstance(n, int):
                return _cumulative_product(work, node, op)
            doubled = x
            by = 1
            while by < n:
                doubled = doubled * shifted(doubled, op.axis, by, backwards=op.reverse)
                by *= 2
            if doubled is x:
                return source
            _between(work, [doubled], [x])
            return work.var[doubled]
        case _:
            assert_never(op.kind)


def _cumulative_product(work: Work, node: Node, op: Cumulative) -> Var:
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


def _linalg(work: Work, node: Node, op: Linalg) -> Var | None:
    """The formulas of ``matrix_rules``; a solution is linear in the right-hand sides."""
    if node.args[0] not in work.var:
        return work.emit(Map(op, work.var[node.args[1]], 1, (node.args[0],)), node.type)
    kinds = [a.type for a in node.args]
    primal = [make(Input(0, i, k)) for i, k in enumerate(kinds)]
    seeds = [make(Input(0, len(kinds) + i, k)) for i, k in enumerate(kinds)]
    sources = [work.var.get(a) for a in node.args]
    moving = [s if v is not None else None for s, v in zip(seeds, sources, strict=True)]
    outputs = matrix_rules.tangents(op, primal, moving)
    inner = linearize([o for o in outputs if o is not None], [s for s in moving if s is not None])
    own = [v for v in sources if v is not None]
    found = iter(place(work.program, inner, own, dict(zip(primal, node.args, strict=True))))
    return _known_results(work, node, [None if o is None else next(found) for o in outputs])


def _known_results(work: Work, node: Node, found: list[Var | None]) -> Var | None:
    """The variables of a node's results; that of a node with several stands for all of them."""
    if isinstance(node.type, Type):
        return found[0]
    work.results[node] = found
    return next((v for v in found if v is not None), None)


def _call(work: Work, node: Node, rule: Rule) -> Var | None:
    """The derivative by a rule of the user's, whose values also take the place of the call's."""
    own = len(node.args) - rule.captured
    if any(a in work.var for a in node.args[own:]):
        raise NotDifferentiable(
            node,
            f"{rule.name} has a derivative rule and reads a traced value of the function around it, with respect to"
            " which the rule says nothing; pass the value as an argument",
        )
    if rule.push is not None:
        return _pushed(work, node, rule, rule.push, own)
    assert rule.forward is not None and rule.pull is not None
    return _pulled(work, node, rule, rule.forward, rule.pull, own)


def _pushed(work: Work, node: Node, rule: Rule, push: Graph, own: int) -> Var | None:
    kinds = result_types(node)
    inexact = [a for a in node.args[:own] if is_inexact(a.dtype)]
    seeds = push.arguments[len(node.args) :]
    sources = [work.var.get(a) for a in inexact]
    moving = [t for t, v in zip(seeds, sources, strict=True) if v is not None]
    inner = linearize(push.outputs[len(kinds) :], moving)
    if not is_linear(inner, seeds):
        raise NotDifferentiable(node, f"the derivative rule of {rule.name} is not linear in the tangents")
    known = dict(zip(push.arguments, node.args, strict=False)) | anywhere(seeds)
    _compute_by(work, node, substitute(push.outputs[: len(kinds)], known))
    found = iter(place(work.program, inner, [v for v in sources if v is not None], known))
    return _known_results(work, node, [next(found) if is_inexact(k.dtype) else None for k in kinds])


def _pulled(work: Work, node: Node, rule: Rule, forward: Graph, pull: Graph, own: int) -> Var | None:
    kinds = result_types(node)
    inexact = tuple(k for k in kinds if is_inexact(k.dtype))
    every = forward.apply(node.args)
    before, after = every[len(kinds) :], node.args[own:]
    seeds = pull.arguments[len(before) : len(before) + len(inexact)]
    inner = linearize(pull.outputs, seeds)
    program = None
    if is_linear(inner, seeds):
        given = zip(pull.arguments, (*before, *seeds, *after), strict=True)
        program = standing_alone(inner, dict(given) | anywhere(seeds))
    _compute_by(work, node, every[: len(kinds)])
    sources = tuple(work.var.get(a) for a in node.args[:own] if is_inexact(a.dtype))
    var = work.emit(Pulled(node, pull, before, after, inexact, program, sources), Type((), INT64))
    place_of = iter(range(len(inexact)))
    found = [work.emit(Pick(var, next(place_of)), k) if is_inexact(k.dtype) else None for k in kinds]
    return _known_results(work, node, found)


def _compute_by(work: Work, node: Node, instead: Sequence[Node]) -> None:
    """The results of a call are those that its rule gives, unless the rule calls for them."""
    if not reaches(instead, node):
        work.program.replaced.update(
            (old, new) for old, new in zip(results(node), instead, strict=True) if old is not new
        )


def needs_reverse(outputs: Sequence[Node], inputs: Sequence[Node]) -> bool:
    """Whether a derivative passes through a call whose rule is for reverse mode."""
    return any(_has_pull(node) for node in active_nodes(outputs, inputs))


def _has_pull(node: Node) -> bool:
    op = node.op
    match op:
        case Call(_, Rule() as rule):
            return rule.pull is not None
        case Cond(branches):
            bodies: tuple[Graph, ...] = branches
        case Loop() | Call():
            bodies = (op.body,)
        case _:
            return False
    return any(_has_pull(n) for body in bodies for n in body.nodes)


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
