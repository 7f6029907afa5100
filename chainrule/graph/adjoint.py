"""Loops in reverse: from cotangents of a loop's results to cotangents of its arguments, by one loop that runs backwards.

Each of its steps reads the state that the step of the loop began with, computes the step again and pulls the cotangents
back through it. The cotangents of the carries are carries, those of captured values add up in carries, those of scanned
arrays are stacked. Loops inside are run again inside, so that memory is the sum of the trip counts and not their product.

Where the number of steps is known when the memory is laid out, the loop is replaced by one that stacks what the reverse
reads of the states, and nothing else. Of an array of which a step reads little, what it reads is stacked, not the array:
``y[i] = sin(y[i-1])`` costs one number a step. Elsewhere (``checkpoint``) states are kept in a few places and steps
repeated.

Source: A. Griewank & A. Walther, Evaluating Derivatives (2008), ch. 3, 4 and 12.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from . import dim as dims
from .checkpoint import backwards
from .dtype import INT64
from .express import NODES, zeros
from .linear import Pair, Pairs, Structured, Var, either, mask_array, materialise, plus
from .loops import Arguments, Places, carry_places, dependence, first_carry, pairs_at, slice_type, union, with_zeros
from .node import Graph, Node, constant, make, results, substitute, topological_until
from .op import Input, Insert, Loop, Scatter, Type


def transpose_loop(
    instruction: Structured, op: Loop, cotangents: dict[int, Pairs], count: int, replaced: dict[Node, Node]
) -> dict[Var, Pairs]:
    """Cotangents of the arguments of a loop, per variable, for K cotangents of its results.

    ``replaced`` gets the results of the loop that is run instead of the primal one.
    """
    adjoint = _adjoint(instruction, op, cotangents, count)
    if not adjoint.wanted:
        return {}
    if op.condition != "predicate" and op.length is not None:
        every = _stacked(instruction.node, op, adjoint, replaced)
    else:
        every = _checkpointed(instruction.node, op, adjoint, replaced)
    rows = pairs_at([*adjoint.places, *adjoint.stacked_places], every)
    total: dict[Var, Pairs] = {}
    for position, row in zip(adjoint.wanted, rows, strict=True):
        source = instruction.sources[position]
        if source is not None:
            before = total.get(source, [None] * count)
            total[source] = [plus(a, b) for a, b in zip(before, row, strict=True)]
    return total


# --- one step -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Adjoint:
    """One step backwards, over the inputs of the loop's body, followed by what is carried and then by ``slices``."""

    wanted: list[int]  # the arguments that get cotangents: those of the carries, captured, scanned
    kinds: list[Type]
    start: list[Node] = field(default_factory=list)  # carried: before the first step backwards
    carried: list[Node] = field(default_factory=list)  # and after one step
    places: Places = field(default_factory=list)  # of the cotangents among the carried
    slices: list[Node] = field(default_factory=list)  # arrays of which a step gets a slice
    stacked: list[Node] = field(default_factory=list)  # what a step gives to be stacked
    stacked_places: Places = field(default_factory=list)

    def carry(self, start: Node) -> Node:
        self.start.append(start)
        return self.input(start.type)

    def input(self, kind: Type) -> Node:
        self.kinds.append(kind)
        return make(Input(0, len(self.kinds) - 1, kind))


def _adjoint(instruction: Structured, op: Loop, cotangents: dict[int, Pairs], count: int) -> _Adjoint:
    kinds = op.body.inputs
    first = first_carry(op)
    arriving = [cotangents.get(i, [None] * count) for i in range(len(op.body.outputs))]
    alive, wanted = _reached(instruction, op, arriving, count)
    carries = range(first, first + op.carries)
    entering = [
        union(arriving[i - first], kinds[i]) if any(alive[i - first]) else None for i in carries
    ]
    while True:
        step = _derive(op, arriving, alive, wanted, entering)
        leaving = [None if m is None else union(row, kinds[i]) for m, row, i in zip(entering, step.rows, carries, strict=True)]
        if all(a is None or b is not None for a, b in zip(entering, leaving, strict=True)):
            break
        entering = [None if b is None else a for a, b in zip(entering, leaving, strict=True)]
    adjoint = step.adjoint
    moving = [i for i in carries if i in wanted]
    captured = [i for i in wanted if i >= first + op.carries + op.scanned]
    scanned = [i for i in wanted if first + op.carries <= i < first + op.carries + op.scanned]
    for i in carries:
        c = i - first
        places = carry_places(adjoint.carried, step.rows[c], alive[c], leaving[c], kinds[i])
        if i in wanted:
            adjoint.places.append(places)
    for i in captured:
        adjoint.places.append(_accumulated(adjoint, step.contributions[i], kinds[i]))
    for i in scanned:
        row: list[tuple[int, int | None] | None] = []
        for pair in step.contributions[i]:
            row.append(None)
            if pair is not None:
                place = len(adjoint.stacked)
                adjoint.stacked.append(materialise(pair[0], kinds[i]))
                if pair[1] is not None:
                    adjoint.stacked.append(mask_array(pair, kinds[i]))
                row[-1] = (place, None if pair[1] is None else place + 1)
        adjoint.stacked_places.append(row)
    shift = len(adjoint.carried)
    adjoint.stacked_places = [
        [None if p is None else (p[0] + shift, None if p[1] is None else p[1] + shift) for p in row]
        for row in adjoint.stacked_places
    ]
    adjoint.wanted = [*moving, *captured, *scanned]
    return adjoint


def _reached(
    instruction: Structured, op: Loop, arriving: Sequence[Pairs], count: int
) -> tuple[list[list[bool]], list[int]]:
    """Per carry and seed whether its cotangent may become nonzero, and the inputs of the body that get cotangents."""
    first = first_carry(op)
    depends = dependence(op.body)
    leaving = [depends[o] for o in op.body.outputs]
    moving = sum(1 << i for i, source in enumerate(instruction.sources) if source is not None)
    before = -1
    while moving != before:
        before = moving
        moving |= sum(1 << first + c for c in range(op.carries) if leaving[c] & before)
    columns, reached = [], 0
    for k in range(count):
        alive = {i for i, row in enumerate(arriving) if row[k] is not None and (i >= op.carries or moving >> first + i & 1)}
        pending = list(alive)
        while pending:
            bits = leaving[pending.pop()] & moving
            reached |= bits
            for c in range(op.carries):
                if bits >> first + c & 1 and c not in alive:
                    alive.add(c)
                    pending.append(c)
        columns.append([c in alive for c in range(op.carries)])
    alive_carries = [[column[c] for column in columns] for c in range(op.carries)]
    reached |= sum(1 << first + c for c, row in enumerate(alive_carries) if any(row))
    return alive_carries, [i for i in range(len(op.body.inputs)) if reached >> i & 1]


@dataclass(slots=True)
class _Step:
    adjoint: _Adjoint
    rows: list[Pairs]  # cotangents of the carries before the step
    contributions: dict[int, Pairs]  # of the other inputs of the body


def _derive(
    op: Loop, arriving: Sequence[Pairs], alive: list[list[bool]], wanted: list[int], entering: Sequence[Node | None]
) -> _Step:
    from .differentiate import pull_pairs

    body, first = op.body, first_carry(op)
    adjoint = _Adjoint([], list(body.inputs))
    seeds: list[Pairs] = []
    for c, (own, mask) in enumerate(zip(alive, entering, strict=True)):
        kind = body.outputs[c].type
        support = None if mask is None else adjoint.carry(mask)
        values = [zeros(kind) if p is None else materialise(p[0], kind) for p in arriving[c]]
        seeds.append([(adjoint.carry(v), support) if on else None for v, on in zip(values, own, strict=True)])
    accumulators = len(adjoint.kinds)
    for output, row in zip(body.outputs[op.carries :], arriving[op.carries :], strict=True):
        whole = Type((op.length, *output.shape), output.dtype) if op.length is not None else output.type
        seeds.append([None if p is None else _slice(adjoint, p, whole) for p in row])
    # the accumulators come between the two, in `_accumulated`; the slices are numbered again there
    adjoint.slices_from = accumulators
    rows = pull_pairs(body.outputs, [body.arguments[i] for i in wanted], seeds)
    found = dict(zip(wanted, rows, strict=True))
    count = len(arriving[0])
    return _Step(adjoint, [found.get(first + c, [None] * count) for c in range(op.carries)], found)
