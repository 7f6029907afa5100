"""Loops of unknown length in reverse: the loop records what its first steps leave for the steps backwards.

Up to a number of steps, a loop that records them needs no second run: the loop backwards reads what was recorded, last
step first. Of a longer loop, the steps beyond are run again between checkpoints, which are so many that memory stays
bounded (``checkpoint``); only then is there any work for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .arguments import Arguments, first_carry
from .checkpoint import Backwards, backwards, counter, slots_for
from .dtype import INT64
from .express import NODES, cast, zeros
from .node import Graph, Node, constant, make, results, substitute, topological_until
from .op import Cond, Gather, Loop, Scatter, Type

_NUMBER = Type((), INT64)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A loop that has recorded its first steps: their number, its results, and a stack for each value recorded.

    ``stacks``: a node of the loop's body → its values before steps 0, 1, …, at most ``slots``.
    """

    trips: Node
    every: tuple[Node, ...]
    stacks: Mapping[Node, Node]
    slots: int


def record(node: Node, op: Loop, saved: Sequence[Node]) -> Recorded:
    """The loop ``node`` again, of unknown length, with stacks of the values ``saved`` of its body."""
    slots, first = slots_for(saved), first_carry(op)
    arguments = Arguments()
    last = first + op.carries
    inside = [arguments.add(a, a.type) for a in node.args[:last]]
    place = counter(node, op)
    number = inside[0] if first else inside[place] if place is not None else arguments.add(constant(0, INT64), _NUMBER)
    kinds = [Type((slots, *value.shape), value.dtype) for value in saved]
    stacks = [arguments.add(zeros(kind), kind) for kind in kinds]
    carries = len(arguments.outer) - first
    inside += [arguments.add(a, a.type) for a in node.args[last:]]
    known = dict(zip(op.body.arguments, inside, strict=True))
    values = substitute([*op.body.outputs, *saved], known)
    outputs = list(values[: op.carries])
    if not first and place is None:
        outputs.append(number + 1)
    step = arguments.share(node.args[0], _NUMBER) - 1 - number if op.reverse else number
    put = Scatter((0,), "set")  # what is put outside is dropped
    outputs += [make(put, (stack, value, step)) for stack, value in zip(stacks, values[op.carries :], strict=True)]
    predicate = None
    if op.predicate is not None:
        predicate = Graph(arguments.kinds, substitute(op.predicate.outputs, known))
    recording = replace(op, body=Graph(arguments.kinds, outputs), predicate=predicate, carries=carries)
    every = results(make(recording, tuple(arguments.outer)))
    trips = NODES.maximum(node.args[0], 0) if first else every[op.carries if place is None else place]
    return Recorded(trips, every, dict(zip(saved, every[len(every) - len(saved) :], strict=True)), slots)


def along(
    recorded: Recorded, loop: Backwards, start: Mapping[Node, Node], carried: Sequence[Node]
) -> tuple[Node, ...]:
    """What is ``carried`` backwards through all steps of the loop, from ``start`` on (as in ``backwards``)."""
    begin = _from_checkpoints(recorded, loop, start, carried)
    op, first = loop.op, first_carry(loop.op)
    arguments = Arguments()
    step = arguments.add(NODES.minimum(recorded.trips, recorded.slots), _NUMBER)
    inside = {inner: arguments.add(outer, inner.type) for inner, outer in zip(start, begin, strict=True)}
    for value, stack in recorded.stacks.items():
        inside[value] = make(Gather((0,)), (arguments.add(stack, stack.type), step))
    used = set(topological_until(carried, inside))
    beyond = first + op.carries
    for inner, outer in zip(op.body.arguments[beyond:], loop.args[beyond:], strict=True):
        if inner in used:
            inside[inner] = arguments.share(outer, inner.type)
    if first:
        inside[op.body.arguments[0]] = (
            arguments.share(recorded.trips, _NUMBER) - 1 - step if op.reverse else step
        )
    body = Graph(arguments.kinds, substitute(carried, inside))
    back = Loop("count", body, None, len(carried), 0, None, reverse=True)
    return results(make(back, tuple(arguments.outer)))


def _from_checkpoints(
    recorded: Recorded, loop: Backwards, start: Mapping[Node, Node], carried: Sequence[Node]
) -> tuple[Node, ...]:
    """The same through the steps that are not recorded, if there are any."""
    arguments = Arguments()
    before = {inner: arguments.add(outer, inner.type) for inner, outer in start.items()}
    args = [arguments.share(a, a.type) for a in loop.args]
    trips = arguments.share(recorded.trips, _NUMBER)
    far = Backwards(args, loop.op, trips, loop.state, steps=trips - recorded.slots)
    after = backwards(far, before, carried)[: len(carried)]
    branches = tuple(Graph(arguments.kinds, outputs) for outputs in ([*before.values()], after))
    more = cast(NODES.gt(recorded.trips, recorded.slots), INT64)
    return results(make(Cond(branches), (more, *arguments.outer)))
