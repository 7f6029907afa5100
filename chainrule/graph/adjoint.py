"""Loops in reverse: cotangents of a loop's results → cotangents of its arguments, by one loop that runs backwards.

Each of its steps has the state that the step of the loop began with, computes the step again and pulls the
cotangents back through it. The cotangents of the carries are carries, those of captured values add up in carries,
those of scanned arrays are stacked. Loops inside are run again inside, so that memory is the sum of the trip counts
and not their product.

Where the number of steps is a size, the loop is replaced by one that also stacks what the reverse reads of the states,
or what gives that, if it is fewer numbers. Of an array of which a step reads little, what it reads is stacked and not
the array: ``y[i] = sin(y[i-1])`` costs one number a step. Where the number of steps is known only when they are done,
see ``trajectory``.

Source: A. Griewank & A. Walther, Evaluating Derivatives (2008), ch. 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from . import dim as dims
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
from .checkpoint import Backwards, backwards, live
from .cost import node_cost
from .cut import minimum_cut
from .dtype import BOOL
from .express import NODES, reduce, zeros
from .linear import Pair, Pairs, Structured, Var, either, mask_array, materialise, plus
from .node import Graph, Node, make, results, substitute, topological_until
from .op import Gather, Input, Loop, Scalar, Type
from .trajectory import along, record

SMALL: Final = 8
"""Captured values of a map of up to so many numbers get their cotangents stacked and summed: so it stays a map."""


def transpose_loop(
    instruction: Structured, op: Loop, cotangents: dict[int, Pairs], count: int, replaced: dict[Node, Node]
) -> dict[Var, Pairs]:
    """Cotangents of the arguments of a loop, per variable, for K cotangents of its results.

    ``replaced`` gets the results of the loop that is run instead of the primal one.
    """
    step = _settled(instruction, op, cotangents, count)
    if not step.wanted:
        return {}
    node = instruction.node
    if op.kept is not None and op.condition != "map":
        every = _through_checkpoints(node, op, step, replaced)
    elif op.condition != "predicate" and op.length is not None:
        every = _through_stacks(node, op, step, replaced)
    else:
        every = _through_trajectory(node, op, step, replaced)
    total: dict[Var, Pairs] = {}
    for position, row in zip(step.wanted, pairs_at(step.places, every), strict=True):
        source = instruction.sources[position]
        if source is not None:
            if position in step.summed:
                row = [None if p is None else _sum(p) for p in row]
            before = total.get(source, [None] * count)
            total[source] = [plus(a, b) for a, b in zip(before, row, strict=True)]
    return total


def _sum(pair: Pair) -> Pair:
    """The sum over the steps."""
    return reduce("sum", pair[0], (0,)), None if pair[1] is None else reduce("any", pair[1], (0,))


# --- one step backwards -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Step:
    """One step backwards: a program over the inputs of the loop's body, what is carried, and slices of arrays."""

    kinds: list[Type]
    wanted: list[int] = field(default_factory=list)  # the arguments of the loop that get cotangents
    start: dict[Node, Node] = field(default_factory=dict)  # what is carried, as input → before the first step
    slices: dict[Node, Node] = field(default_factory=dict)  # input → the array that it is a slice of
    carried: list[Node] = field(default_factory=list)  # what is carried, after a step
    stacked: list[Node] = field(default_factory=list)  # what is stacked
    places: Places = field(default_factory=list)  # of the cotangents wanted, among carried and stacked
    summed: set[int] = field(default_factory=set)  # the arguments whose cotangents are stacked and then summed

    def carry(self, start: Node) -> Node:
        return self._input(start, start.type, self.start)

    def slice(self, array: Node) -> Node:
        return self._input(array, slice_type(array.type), self.slices)

    def _input(self, outer: Node, kind: Type, into: dict[Node, Node]) -> Node:
        self.kinds.append(kind)
        node = make(Input(0, len(self.kinds) - 1, kind))
        into[node] = outer
        return node

    @property
    def outputs(self) -> list[Node]:
        return [*self.carried, *self.stacked]


def _settled(instruction: Structured, op: Loop, cotangents: dict[int, Pairs], count: int) -> _Step:
    """The step, with supports of the carried cotangents that hold from step to step.

    The K cotangents of a carry share one support, their union, which starts as it comes and is given up where the step
    supports everything.
    """
    first, kinds = first_carry(op), op.body.inputs
    arriving = [cotangents.get(i, [None] * count) for i in range(len(op.body.outputs))]
    alive, wanted = _reached(instruction, op, arriving, count)
    own = kinds[first : first + op.carries]
    entering = [union(arriving[c], kind) if any(alive[c]) else None for c, kind in enumerate(own)]
    while True:
        step, rows = _derive(op, arriving, alive, wanted, entering)
        before = [rows.get(first + c, [None] * count) for c in range(op.carries)]
        leaving = [None if m is None else union(r, k) for m, r, k in zip(entering, before, own, strict=True)]
        if all(a is None or b is not None for a, b in zip(entering, leaving, strict=True)):
            break
        entering = [None if b is None else a for a, b in zip(entering, leaving, strict=True)]
    for c, kind in enumerate(own):
        places = carry_places(step.carried, before[c], alive[c], leaving[c], kind)
        if first + c in wanted:
            step.wanted.append(first + c)
            step.places.append(places)
    scanned, last = first + op.carries, first + op.carries + op.scanned
    captured = [i for i in wanted if i >= last]
    if op.condition == "map" and all(_is_small(kinds[i]) for i in captured):
        step.summed.update(captured)  # the steps stay independent
    for i in captured:
        if i not in step.summed:
            step.wanted.append(i)
            step.places.append(_accumulated(step, rows[i], kinds[i]))
    stacked = [i for i in wanted if scanned <= i < last or i in step.summed]
    (step.stacked,), places_of_stacked = aligned(
        [[rows[i] for i in stacked]], [kinds[i] for i in stacked], len(step.carried)
    )
    step.wanted.extend(stacked)
    step.places.extend(places_of_stacked)
    return step


def _is_small(kind: Type) -> bool:
    size = dims.product(kind.shape)
    return isinstance(size, int) and size <= SMALL


def _reached(
    instruction: Structured, op: Loop, arriving: Sequence[Pairs], count: int
) -> tuple[list[list[bool]], list[int]]:
    """Per carry and seed whether its cotangent may become nonzero; the inputs of the body that get cotangents."""
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
        alive = {i for i, row in enumerate(arriving) if row[k] is not None}
        alive -= {c for c in range(op.carries) if not moving >> first + c & 1}
        pending = list(alive)
        while pending:
            bits = leaving[pending.pop()] & moving
            reached |= bits
            for c in range(op.carries):
                if bits >> first + c & 1 and c not in alive:
                    alive.add(c)
                    pending.append(c)
        columns.append([c in alive for c in range(op.carries)])
    rows = [[column[c] for column in columns] for c in range(op.carries)]
    reached |= sum(1 << first + c for c, row in enumerate(rows) if any(row))
    return rows, [i for i in range(len(op.body.inputs)) if reached >> i & 1]


def _derive(
    op: Loop, arriving: Sequence[Pairs], alive: list[list[bool]], wanted: list[int], entering: Sequence[Node | None]
) -> tuple[_Step, dict[int, Pairs]]:
    """A step that pulls cotangents with these supports, and the cotangents of the body's inputs."""
    from .differentiate import pull_pairs

    body = op.body
    step = _Step(list(body.inputs))
    seeds: list[Pairs] = []
    for c, (own, mask) in enumerate(zip(alive, entering, strict=True)):
        kind = body.outputs[c].type
        support = None if mask is None else step.carry(mask)
        values = [zeros(kind) if p is None else materialise(p[0], kind) for p in arriving[c]]
        seeds.append([(step.carry(v), support) if on else None for v, on in zip(values, own, strict=True)])
    for output, row in zip(body.outputs[op.carries :], arriving[op.carries :], strict=True):
        assert op.length is not None
        whole = Type((op.length, *output.shape), output.dtype)
        seeds.append([None if pair is None else _slice(step, pair, whole) for pair in row])
    rows = pull_pairs(body.outputs, [body.arguments[i] for i in wanted], seeds, repeated=True)
    return step, dict(zip(wanted, rows, strict=True))


def _slice(step: _Step, pair: Pair, whole: Type) -> Pair:
    return (
        step.slice(materialise(pair[0], whole)),
        None if pair[1] is None else step.slice(mask_array(pair, whole)),
    )


def _accumulated(step: _Step, row: Pairs, kind: Type) -> list[tuple[int, int | None] | None]:
    """Carries that add up what each step gives for a captured value."""
    reached = union(row, kind)
    support = None
    if reached is not None:
        before = step.carry(zeros(Type(kind.shape, BOOL)))
        support = either(before, reached)
        assert support is not None
    total: Pairs = []
    for pair in row:
        more = None if pair is None else (materialise(pair[0], kind), None)
        total.append(None if more is None else plus((step.carry(zeros(kind)), None), more))
    return carry_places(step.carried, total, [p is not None for p in row], support, kind)


# --- a number of steps that is a size -----------------------------------------------------------------------


def _through_stacks(node: Node, op: Loop, step: _Step, replaced: dict[Node, Node]) -> tuple[Node, ...]:
    """The loop backwards over stacks of what it reads of the states; all its results."""
    body = op.body
    saved, chained = _saved(op, step)
    stacks: dict[Node, Node] = {}
    if saved:
        stacked = dict.fromkeys([*body.outputs[op.carries :], *saved])
        recording = replace(op, body=body.replace([*body.outputs[: op.carries], *stacked]))
        every = results(make(recording, node.args))
        place = {output: op.carries + i for i, output in enumerate(stacked)}
        primal = [*range(op.carries), *(place[o] for o in body.outputs[op.carries :])]
        replaced.update((a, every[i]) for a, i in zip(results(node), primal, strict=True) if a is not every[i])
        stacks = {value: every[place[value]] for value in saved}
    used = set(topological_until(step.outputs, stacks))
    arguments, inside = Arguments(), dict[Node, Node]()
    index = inside[body.arguments[0]] = arguments.add(node.args[0], body.inputs[0])
    for inner, outer in step.start.items():
        inside[inner] = arguments.add(outer, inner.type)
    last = 1 + op.carries
    scanned = zip(body.arguments[last : last + op.scanned], node.args[last : last + op.scanned], strict=True)
    for inner, outer in (*stacks.items(), *((a, b) for a, b in scanned if a in used), *step.slices.items()):
        inside[inner] = arguments.add(outer, inner.type)
    count = len(arguments.outer) - 1 - len(step.start)
    for inner, outer in zip(body.arguments[last + op.scanned :], node.args[last + op.scanned :], strict=True):
        if inner in used:
            inside[inner] = arguments.add(outer, inner.type)
    for c in chained:
        stack, begin = stacks[body.outputs[c]], node.args[1 + c]
        every_step, start = arguments.add(stack, stack.type), arguments.add(begin, begin.type)
        final = arguments.share(node.args[0], body.inputs[0]) - 1
        first = NODES.eq(index, final if op.reverse else 0)
        before = make(Gather((0,)), (every_step, index + 1 if op.reverse else index - 1))
        inside[body.arguments[1 + c]] = NODES.where(first, start, before)
    outputs = substitute(step.outputs, inside)
    condition: Literal["count", "map"] = "count" if step.carried else "map"
    back = Loop(
        condition, Graph(arguments.kinds, outputs), None, len(step.carried), count, op.length,
        reverse=bool(step.carried) and not op.reverse,
    )  # fmt: skip
    return results(make(back, tuple(arguments.outer)))


def _saved(op: Loop, step: _Step) -> tuple[list[Node], list[int]]:
    """What to stack of each step, so that a step backwards can have all that it reads of the state.

    That is what is fewest numbers: of a large array of which little is read, what is read. The carry out of a step is
    the carry into the next one: where both are read, the first is stacked, and the carry is one of the second list.
    """
    body = op.body
    carries = body.arguments[1 : 1 + op.carries]
    primal, readers = _read_of_the_state(step)
    found = minimum_cut(primal, carries, readers)
    chained = [
        c
        for c, (carry, after) in enumerate(zip(carries, body.outputs, strict=False))
        if carry in found and after in primal and not isinstance(after.op, Input)
    ]
    if not chained:
        return found, []
    following = list(dict.fromkeys(body.outputs[c] for c in chained))
    known = [carries[c] for c in chained]
    rest = topological_until(readers, {*following, *known})
    needed = [carry for carry in carries if carry not in known]
    return [*minimum_cut(rest, needed, [r for r in readers if r in set(rest)]), *following], chained


def _read_of_the_state(step: _Step) -> tuple[list[Node], list[Node]]:
    """(what of a step backwards depends on the step of the loop alone, what of it the rest of the step reads)."""
    own = {*step.start, *step.slices}
    primal: dict[Node, None] = {}
    readers: list[Node] = [*step.outputs]
    for node in topological_until(step.outputs, ()):
        if node not in own and all(a in primal for a in node.args):
            primal[node] = None
        else:
            readers.extend(node.args)
    return list(primal), [n for n in dict.fromkeys(readers) if n in primal]


# --- few states, on request ---------------------------------------------------------------------------------


def _through_checkpoints(node: Node, op: Loop, step: _Step, replaced: dict[Node, Node]) -> tuple[Node, ...]:
    """The loop backwards, with most states computed again; what is carried and what is stacked."""
    if op.condition == "predicate":
        counted = record(node, op, [])
        replaced.update((a, b) for a, b in zip(results(node), counted.every, strict=False) if a is not b)
        trips = counted.trips
    else:
        trips = NODES.maximum(node.args[0], 0)
    loop = Backwards(node.args, op, trips, _state(op, step), trips)
    found = backwards(loop, step.start, step.carried, step.slices, step.stacked)
    return (*found[: len(step.carried)], *found[len(found) - len(step.stacked) :])


def _state(op: Loop, step: _Step) -> list[int]:
    """The carries that a step backwards needs, and the steps before it."""
    read = {n.op.position for n in topological_until(step.outputs, ()) if isinstance(n.op, Input)}
    return live(op, [i - first_carry(op) for i in read])


# --- a number of steps that is known when they are done -----------------------------------------------------


def _operations(node: Node) -> int:
    """What it costs to compute a node again; loops inside are run again, whatever that costs."""
    return int(node_cost(node, {}).operations) if isinstance(node.op, Scalar) else 0


def _through_trajectory(node: Node, op: Loop, step: _Step, replaced: dict[Node, Node]) -> tuple[Node, ...]:
    primal, readers = _read_of_the_state(step)
    first = first_carry(op)
    carries = op.body.arguments[first : first + op.carries]
    recorded = record(node, op, minimum_cut(primal, carries, readers, _operations))
    replaced.update((a, b) for a, b in zip(results(node), recorded.every, strict=False) if a is not b)
    loop = Backwards(node.args, op, recorded.trips, _state(op, step), recorded.trips)
    return along(recorded, loop, step.start, step.carried)
