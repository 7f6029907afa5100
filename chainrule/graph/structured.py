"""Derivatives of the ops that hold bodies: a branch derives its bodies, a loop carries its tangents along.

Forward, value and tangents come from one loop or branch, which replaces the primal one, so that nothing runs twice.
A branch is transposed branch by branch. The transpose of a loop is refused here; callers run such programs forward.
"""

from __future__ import annotations

from collections.abc import Sequence

from .dtype import is_inexact
from .express import zeros
from .linear import Pair, Pairs, Structured, Var, materialise
from .node import Graph, Node, make, results, substitute
from .op import Cond, Input, Loop, Type


def forward_structured(
    node: Node, tangents: Sequence[Pairs | None], count: int, replaced: dict[Node, Node]
) -> list[Pairs]:
    """Tangents of the results of a Cond or Loop for K tangents per argument (None: does not depend)."""
    if isinstance(node.op, Cond):
        return _forward_cond(node, node.op, tangents, count, replaced)
    assert isinstance(node.op, Loop)
    return _forward_loop(node, node.op, tangents, count, replaced)


def transpose_structured(instruction: Structured, cotangents: dict[int, Pairs], count: int) -> dict[Var, Pairs]:
    """Cotangents of the arguments of a Cond, per variable."""
    from .differentiate import NotDifferentiable

    node = instruction.node
    if not isinstance(node.op, Cond):
        raise NotDifferentiable(
            node, "reverse mode through a loop is not supported; use forward mode (jvp, jacfwd, grad of few numbers)"
        )
    return _transpose_cond(instruction, node.op, cotangents, count)


def dense(pairs: Pairs, kind: Type) -> list[Node]:
    """K tangents as full arrays; a structural zero becomes zeros."""
    return [zeros(kind) if p is None else materialise(p[0], kind) for p in pairs]


# --- branches ---------------------------------------------------------------------------------------------------------------


def _forward_cond(
    node: Node, op: Cond, tangents: Sequence[Pairs | None], count: int, replaced: dict[Node, Node]
) -> list[Pairs]:
    from .differentiate import active_nodes, jvp

    operands = node.args[1:]
    moving = [i for i in range(len(operands)) if tangents[i + 1] is not None]
    active = [False] * len(op.branches[0].outputs)
    for branch in op.branches:
        inputs = branch.arguments
        reached = set(active_nodes(branch.outputs, [inputs[i] for i in moving])) | {inputs[i] for i in moving}
        active = [a or (o in reached and is_inexact(o.dtype)) for a, o in zip(active, branch.outputs, strict=True)]
    branches = []
    for branch in op.branches:
        inputs = branch.arguments
        types = [*branch.inputs, *[branch.inputs[i] for i in moving for _ in range(count)]]
        extra = [make(Input(0, len(inputs) + j, t)) for j, t in enumerate(types[len(inputs) :])]
        seeds = [extra[j * count : (j + 1) * count] for j in range(len(moving))]
        values, rows = jvp(branch.outputs, [inputs[i] for i in moving], seeds)
        outputs = list(values)
        for output, row, wanted in zip(branch.outputs, rows, active, strict=True):
            if wanted:
                outputs.extend(zeros(output.type) if t is None else t for t in row)
        branches.append(Graph(types, outputs))
    given = [t for i in moving for t in dense(_known(tangents[i + 1]), operands[i].type)]
    dual = make(Cond(tuple(branches)), (*node.args, *given))
    return _split(node, dual, active, count, replaced)


def _known(pairs: Pairs | None) -> Pairs:
    assert pairs is not None
    return pairs


def _split(node: Node, dual: Node, active: list[bool], count: int, replaced: dict[Node, Node]) -> list[Pairs]:
    """The results of a dual node as primal replacements and tangents."""
    every = results(dual)
    for primal, value in zip(results(node), every, strict=False):
        replaced[primal] = value
    rest = iter(every[len(active) :])
    return [[(next(rest), None) for _ in range(count)] if wanted else [None] * count for wanted in active]


def _transpose_cond(instruction: Structured, op: Cond, cotangents: dict[int, Pairs], count: int) -> dict[Var, Pairs]:
    from .differentiate import vjp

    node = instruction.node
    operands = node.args[1:]
    moving = [(i, s) for i, s in enumerate(instruction.sources[1:]) if s is not None]
    arriving = sorted(cotangents)
    kinds = [n.type for n in op.branches[0].outputs]
    branches = []
    for branch in op.branches:
        inputs = branch.arguments
        types = [*branch.inputs, *[kinds[r] for r in arriving for _ in range(count)]]
        extra = [make(Input(0, len(inputs) + j, t)) for j, t in enumerate(types[len(inputs) :])]
        rows: list[list[Node | None]] = [[None] * count for _ in branch.outputs]
        for j, r in enumerate(arriving):
            rows[r] = list(extra[j * count : (j + 1) * count])
        back = vjp(branch.outputs, [inputs[i] for i, _ in moving], rows)
        outputs = [
            zeros(operands[i].type) if c is None else c for (i, _), row in zip(moving, back, strict=True) for c in row
        ]
        branches.append(Graph(types, outputs))
    given = [c for r in arriving for c in dense(cotangents[r], kinds[r])]
    flat = iter(results(make(Cond(tuple(branches)), (*node.args, *given))))
    total: dict[Var, Pairs] = {}
    from .linear import plus

    for _, source in moving:
        row: list[Pair | None] = [(next(flat), None) for _ in range(count)]
        before = total.get(source)
        total[source] = row if before is None else [plus(a, b) for a, b in zip(before, row, strict=True)]
    return total


# --- loops ------------------------------------------------------------------------------------------------------------------


def _forward_loop(
    node: Node, op: Loop, tangents: Sequence[Pairs | None], count: int, replaced: dict[Node, Node]
) -> list[Pairs]:
    """The loop whose carries are (values, tangents); which carries have tangents is a fixed point over the body."""
    from .differentiate import active_nodes, jvp

    counted = op.condition != "predicate"
    body, inputs = op.body, op.body.arguments
    # argument i of the loop is input i of the body: the trip count stands where the index does
    carries = range(1, 1 + op.carries) if counted else range(op.carries)
    moving = {i for i in range(len(inputs)) if tangents[i] is not None and is_inexact(inputs[i].dtype)}
    while True:
        wanted = [inputs[i] for i in sorted(moving)]
        reached = set(active_nodes(body.outputs, wanted)) | set(wanted)
        grown = moving | {
            c for c, o in zip(carries, body.outputs, strict=False) if o in reached and is_inexact(o.dtype)
        }
        if grown == moving:
            break
        moving = grown
    active = [o in reached and is_inexact(o.dtype) for o in body.outputs]
    active[: op.carries] = [c in moving for c in carries]

    # the arguments of the dual: carries and their tangents, scanned and theirs, captured and theirs
    first = 1 if counted else 0
    groups = [range(first, first + op.carries), range(first + op.carries, first + op.carries + op.scanned)]
    groups.append(range(groups[1].stop, len(inputs)))
    kinds: list[Type] = [body.inputs[0]] if counted else []
    place: dict[int, int] = {0: 0} if counted else {}
    tangent_place: dict[int, int] = {}
    arguments: list[Node] = [node.args[0]] if counted else []
    for group in groups:
        for i in group:
            place[i] = len(kinds)
            kinds.append(body.inputs[i])
            arguments.append(node.args[i])
        for i in group:
            if i in moving:
                tangent_place[i] = len(kinds)
                kinds.extend([body.inputs[i]] * count)
                pairs = tangents[i]
                kind = node.args[i].type
                arguments.extend([zeros(kind)] * count if pairs is None else dense(pairs, kind))
    fresh = [make(Input(0, j, t)) for j, t in enumerate(kinds)]
    moved = {inputs[i]: fresh[j] for i, j in place.items()}
    outputs = substitute(body.outputs, moved)
    order = sorted(moving)
    seeds = [[fresh[tangent_place[i] + k] for k in range(count)] for i in order]
    values, rows = jvp(outputs, [fresh[place[i]] for i in order], seeds)

    def filled(position: int) -> list[Node]:
        kind = body.outputs[position].type
        return [zeros(kind) if t is None else t for t in rows[position]]

    stepped = [*values[: op.carries]]
    for c in range(op.carries):
        if active[c]:
            stepped.extend(filled(c))
    stacked = [*values[op.carries :]]
    for c in range(op.carries, len(body.outputs)):
        if active[c]:
            stacked.extend(filled(c))
    predicate = op.predicate
    if predicate is not None:
        predicate = Graph(kinds, substitute(predicate.outputs, moved))
    extra = sum(1 for c in range(op.carries) if active[c]) * count
    scanned = op.scanned + sum(1 for i in groups[1] if i in moving) * count
    dual_op = Loop(
        op.condition, Graph(kinds, [*stepped, *stacked]), predicate, op.carries + extra, scanned, op.length, op.reverse
    )
    every = results(make(dual_op, tuple(arguments)))
    carried, rest = every[: op.carries + extra], every[op.carries + extra :]
    number = len(body.outputs) - op.carries
    primal = [*carried[: op.carries], *rest[:number]]
    for old, new in zip(results(node), primal, strict=True):
        replaced[old] = new
    tangent_results = iter([*carried[op.carries :], *rest[number:]])
    return [[(next(tangent_results), None) for _ in range(count)] if a else [None] * count for a in active]
