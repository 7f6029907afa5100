"""Derivatives of the ops that hold bodies: a branch or call derives its bodies, a loop carries its tangents along.

Forward, value and tangents come from one loop or branch, which replaces the primal one, so that nothing runs twice.
A branch is transposed branch by branch, each of which computes its values again; the transpose of a loop is in
``adjoint``.
Tangents go in and come out with their supports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .adjoint import transpose_loop
from .arguments import (
    Arguments,
    Places,
    aligned,
    carry_places,
    dependence,
    first_carry,
    pairs_at,
    slice_type,
    union,
)
from .express import zeros
from .linear import Pairs, Structured, Var, materialise, plus
from .node import Graph, Node, make, results, substitute
from .op import Call, Cond, Loop


def forward_structured(
    node: Node, tangents: Sequence[Pairs | None], count: int, replaced: dict[Node, Node]
) -> list[Pairs]:
    """Tangents of the results of a Cond, Call or Loop for K tangents per argument (None: does not depend)."""
    rows: list[Pairs] = [[None] * count if row is None else row for row in tangents]
    if isinstance(node.op, (Cond, Call)):
        return _forward_branches(node, node.op, rows, replaced)
    assert isinstance(node.op, Loop)
    return _forward_loop(node, node.op, rows, replaced)


def transpose_structured(
    instruction: Structured, cotangents: dict[int, Pairs], count: int, replaced: dict[Node, Node]
) -> dict[Var, Pairs]:
    """Cotangents of the arguments of a Cond, Call or Loop, per variable."""
    op = instruction.node.op
    if isinstance(op, (Cond, Call)):
        return _transpose_branches(instruction, op, cotangents, count)
    assert isinstance(op, Loop)
    return transpose_loop(instruction, op, cotangents, count, replaced)


def _replace(node: Node, instead: Sequence[Node], replaced: dict[Node, Node]) -> None:
    """Notes that the results of ``node`` are computed elsewhere: not where nothing moves, and it is itself."""
    replaced.update((old, new) for old, new in zip(results(node), instead, strict=True) if old is not new)


# --- branches and calls -------------------------------------------------------------------------------------


def _branches(op: Cond | Call) -> tuple[Graph, ...]:
    return op.branches if isinstance(op, Cond) else (op.body,)


def _split(op: Cond | Call, args: Sequence[Any]) -> tuple[tuple[Any, ...], Sequence[Any]]:
    """What chooses a branch (for a call nothing), and the operands."""
    first = 1 if isinstance(op, Cond) else 0
    return tuple(args[:first]), args[first:]


def _derived(op: Cond | Call, branches: Sequence[Graph], index: tuple[Node, ...], operands: Sequence[Node]) -> Node:
    """The same choice or call with other bodies."""
    new = Cond(tuple(branches)) if isinstance(op, Cond) else replace(op, body=branches[0])
    return make(new, (*index, *operands))


def _forward_branches(
    node: Node, op: Cond | Call, tangents: Sequence[Pairs], replaced: dict[Node, Node]
) -> list[Pairs]:
    from .differentiate import push_pairs

    arguments = Arguments()
    index, operands = _split(op, node.args)
    inputs = [arguments.add(a, a.type) for a in operands]
    seeds = [arguments.share_pairs(row) for row in _split(op, tangents)[1]]
    derived = [push_pairs(branch.outputs, inputs, seeds) for branch in _branches(op)]
    kinds = [o.type for o in _branches(op)[0].outputs]
    flat, places = aligned([rows for _, rows in derived], kinds, len(kinds))
    branches = [Graph(arguments.kinds, [*values, *more]) for (values, _), more in zip(derived, flat, strict=True)]
    every = results(_derived(op, branches, index, arguments.outer))
    _replace(node, every[: len(kinds)], replaced)
    return pairs_at(places, every)


def _transpose_branches(
    instruction: Structured, op: Cond | Call, cotangents: dict[int, Pairs], count: int
) -> dict[Var, Pairs]:
    from .differentiate import pull_pairs

    index, operands = _split(op, instruction.node.args)
    moving = [(i, s) for i, s in enumerate(_split(op, instruction.sources)[1]) if s is not None]
    arguments = Arguments()
    inputs = [arguments.add(a, a.type) for a in operands]
    arriving: list[Pairs] = [[None] * count for _ in _branches(op)[0].outputs]
    for place, row in cotangents.items():
        arriving[place] = arguments.share_pairs(row)
    wanted = [inputs[i] for i, _ in moving]
    flat, places = aligned([pull_pairs(b.outputs, wanted, arriving) for b in _branches(op)], [n.type for n in wanted])
    if not flat[0]:
        return {}
    branches = [Graph(arguments.kinds, outputs) for outputs in flat]
    every = results(_derived(op, branches, index, arguments.outer))
    total: dict[Var, Pairs] = {}
    for (_, source), row in zip(moving, pairs_at(places, every), strict=True):
        before = total.get(source, [None] * count)
        total[source] = [plus(a, b) for a, b in zip(before, row, strict=True)]
    return total


# --- loops --------------------------------------------------------------------------------------------------


def _forward_loop(node: Node, op: Loop, tangents: Sequence[Pairs], replaced: dict[Node, Node]) -> list[Pairs]:
    """The loop whose carries are (values, tangents, supports), and with it the stacked outputs.

    A carry of which some seed's tangent may become nonzero carries one for that seed. The K tangents of a carry share
    one support, their union, which starts as it comes and is given up where the body supports everything.
    """
    first = first_carry(op)
    kinds = op.body.inputs[first : first + op.carries]
    active = _active_carries(op, tangents)
    rows = tangents[first : first + op.carries]
    entering = [union(row, kind) if any(own) else None for row, kind, own in zip(rows, kinds, active, strict=True)]
    while True:
        step = _derive_body(node, op, tangents, active, entering)
        leaving = [
            None if mask is None else union(row, kind)
            for mask, row, kind in zip(entering, step.rows, kinds, strict=False)
        ]
        if all(a is None or b is not None for a, b in zip(entering, leaving, strict=True)):
            break
        entering = [None if b is None else a for a, b in zip(entering, leaving, strict=True)]
    carried = list(step.values[: op.carries])
    places: Places = []
    for row, kind, own, mask in zip(step.rows, kinds, active, leaving, strict=False):
        places.append(carry_places(carried, row, own, mask, kind))
    results_of_step = [o.type for o in op.body.outputs[op.carries :]]
    (outputs,), more = aligned([step.rows[op.carries :]], results_of_step, len(carried) + len(results_of_step))
    body = Graph(step.arguments.kinds, [*carried, *step.values[op.carries :], *outputs])
    predicate = None
    if op.predicate is not None:
        predicate = Graph(step.arguments.kinds, substitute(op.predicate.outputs, step.moved))
    dual = replace(op, body=body, predicate=predicate, carries=len(carried), scanned=step.scanned)
    every = results(make(dual, tuple(step.arguments.outer)))
    primal = [*every[: op.carries], *every[len(carried) : len(carried) + len(results_of_step)]]
    _replace(node, primal, replaced)
    return pairs_at([*places, *more], every)


def _active_carries(op: Loop, tangents: Sequence[Pairs]) -> list[list[bool]]:
    """For each carry and seed, whether the carry's tangent may become nonzero in some step."""
    depends = dependence(op.body)
    first = first_carry(op)
    leaving = [depends[o] for o in op.body.outputs[: op.carries]]
    columns = []
    for k in range(len(tangents[0])):
        moving = sum(1 << i for i, row in enumerate(tangents) if row[k] is not None)
        before = -1
        while moving != before:
            before = moving
            moving |= sum(1 << first + c for c, bits in enumerate(leaving) if bits & before)
        columns.append([bool(moving >> first + c & 1) for c in range(op.carries)])
    return [[column[c] for column in columns] for c in range(op.carries)]


@dataclass(slots=True)
class _Step:
    """The derivative of a loop's body: the dual loop's arguments, and values and tangents after one step."""

    arguments: Arguments
    scanned: int
    moved: dict[Node, Node]  # inputs of the body → of the dual body
    values: list[Node]
    rows: list[Pairs]


def _derive_body(
    node: Node, op: Loop, tangents: Sequence[Pairs], active: list[list[bool]], entering: Sequence[Node | None]
) -> _Step:
    from .differentiate import push_pairs

    arguments = Arguments()
    first = first_carry(op)
    last = first + op.carries
    # the trip count stands where the body has its index
    inputs = [arguments.add(a, op.body.inputs[i]) for i, a in enumerate(node.args[:last])]
    seeds = list(tangents[:first])
    for row, own, mask, start in zip(tangents[first:last], active, entering, node.args[first:last], strict=True):
        kind = start.type
        support = None if mask is None else arguments.add(mask, mask.type)
        values = [zeros(kind) if p is None else materialise(p[0], kind) for p in row]
        seeds.append([(arguments.add(v, kind), support) if on else None for v, on in zip(values, own, strict=True)])
    carried = len(arguments.outer)
    for row, array in zip(tangents[last : last + op.scanned], node.args[last : last + op.scanned], strict=True):
        inputs.append(arguments.add(array, slice_type(array.type)))
        seeds.append(arguments.share_slices(row, array.type))
    scanned = len(arguments.outer) - carried
    for row, value in zip(tangents[last + op.scanned :], node.args[last + op.scanned :], strict=True):
        inputs.append(arguments.add(value, value.type))
        seeds.append(arguments.share_pairs(row))
    moved = dict(zip(op.body.arguments, inputs, strict=True))
    values_after, rows = push_pairs(substitute(op.body.outputs, moved), inputs, seeds)
    return _Step(arguments, scanned, moved, values_after, rows)
