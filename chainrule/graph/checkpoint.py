"""The states of a loop in reverse order, for a number of steps that is known only when they are done.

A stack of a few checkpoints, of fixed size, holds states; the others are computed again from the checkpoint before
them. Where to keep one is Griewank's binomial schedule: with s checkpoints, C(s+r, r) steps need no step more than r
times. With 64 of them no step is computed twice up to 65 steps, and each at most five times up to ten million. So the
memory of a kernel does not depend on the trip count, a lane of a batch needs as much as any other, and no array grows:
the reverse of a loop is loops, carries and arrays again, to which every transformation applies.

Source: A. Griewank & A. Walther, Algorithm 799: revolve, ACM TOMS 26 (2000).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from . import dim as dims
from .arguments import Arguments, first_carry
from .dtype import INT64
from .express import NODES, broadcast, cast, zeros
from .node import Graph, Node, const_value, constant, make, results, substitute
from .op import Cond, Gather, Input, Loop, Scalar, Scatter, Type

MOST: Final = 64
FEWEST: Final = 8
SYMBOLIC: Final = 24
"""Checkpoints of states whose size is not known."""

ELEMENTS: Final = 1 << 14
"""Numbers that the checkpoints of one loop hold together, as long as there are not too few of them."""

_NUMBER: Final = Type((), INT64)
_GET: Final = Gather((0,))
_PUT: Final = Scatter((0,), "set")


def counted(node: Node, op: Loop) -> tuple[Node, tuple[Node, ...]]:
    """(number of steps, results) of a loop; a loop of unknown length is replaced by one that counts its steps."""
    if op.condition == "count":
        return NODES.maximum(node.args[0], 0), results(node)
    for k, (start, end) in enumerate(zip(node.args, op.body.outputs, strict=False)):
        if const_value(start) == 0 and start.dtype == INT64 and _is_next(end, op.body.arguments[k]):
            return results(node)[k], results(node)
    arguments = Arguments()
    inside = [arguments.add(a, a.type) for a in node.args[: op.carries]]
    number = arguments.add(constant(0, INT64), _NUMBER)
    inside += [arguments.add(a, a.type) for a in node.args[op.carries :]]
    known = dict(zip(op.body.arguments, inside, strict=True))
    assert op.predicate is not None
    counting = replace(
        op,
        body=Graph(arguments.kinds, [*substitute(op.body.outputs, known), number + 1]),
        predicate=Graph(arguments.kinds, substitute(op.predicate.outputs, known)),
        carries=op.carries + 1,
    )
    every = results(make(counting, tuple(arguments.outer)))
    return every[op.carries], every


def _is_next(node: Node, before: Node) -> bool:
    return node.op == Scalar("add") and before in node.args and any(const_value(a) == 1 for a in node.args)


def live(op: Loop, read: Iterable[int]) -> list[int]:
    """The carries in ``read``, and those from which steps compute them; other numbers are no carries."""
    first = first_carry(op)
    found = {k for k in read if 0 <= k < op.carries}
    pending = [op.body.outputs[k] for k in found]
    seen: set[Node] = set()
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        pending.extend(node.args)
        if isinstance(node.op, Input):
            k = node.op.position - first
            if 0 <= k < op.carries and k not in found:
                found.add(k)
                pending.append(op.body.outputs[k])
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Backwards:
    """A loop, how many steps it has done, and the carries (by number) that a step backwards needs."""

    node: Node
    op: Loop
    trips: Node
    state: Sequence[int]

    @property
    def slots(self) -> int:
        """The number of checkpoints."""
        size = dims.product([1])
        for k in self.state:
            size = size + dims.product(self.op.body.outputs[k].shape)
        if not isinstance(size, int):
            return SYMBOLIC
        return max(FEWEST, min(MOST, ELEMENTS // size))


def backwards(loop: Backwards, start: Mapping[Node, Node], carried: Sequence[Node]) -> tuple[Node, ...]:
    """The loop that runs the steps of ``loop`` backwards, each with the state that it began with; its results.

    A step backwards computes ``carried`` from the inputs of the loop's body and from the keys of ``start``, which begin
    with its values. The results begin with what is carried.
    """
    op, node, first, slots = loop.op, loop.node, first_carry(loop.op), loop.slots
    arguments = Arguments()
    number = arguments.add(loop.trips, _NUMBER)  # the index, inside
    inside = {inner: arguments.add(outer, inner.type) for inner, outer in start.items()}
    top = arguments.add(constant(0, INT64), _NUMBER)
    places = arguments.add(zeros(Type((slots,), INT64)), Type((slots,), INT64))
    stacks = []
    for k in loop.state:
        begin = node.args[first + k]
        whole = broadcast(begin, (slots, *begin.shape), tuple(range(1, 1 + len(begin.shape))))
        stacks.append(arguments.add(whole, whole.type))
    trips = arguments.add(loop.trips, _NUMBER)
    captured = {
        inner: arguments.add(outer, inner.type)
        for inner, outer in zip(op.body.arguments[first + op.carries :], node.args[first + op.carries :], strict=True)
    }
    target = trips - 1 - number
    # the state that was reached last is done with
    top = NODES.where(NODES.gt(make(_GET, (places, top)), target), top - 1, top)
    forward = _advance(loop, target, trips, top, places, stacks, captured)
    inside.update(captured)
    inside.update(_states(loop, forward.state, _index(op, target, trips)))
    following = [*substitute(carried, inside), forward.top, forward.places, *forward.stacks]
    back = Loop("count", Graph(arguments.kinds, following), None, len(following), 0, None)
    return results(make(back, tuple(arguments.outer)))


def _index(op: Loop, step: Node, trips: Node) -> Node:
    """The index that a loop gives to its step number ``step``."""
    return trips - 1 - step if op.reverse else step


def _states(loop: Backwards, state: Sequence[Node], index: Node) -> dict[Node, Node]:
    """Inputs of the loop's body for a state."""
    inputs, first = loop.op.body.arguments, first_carry(loop.op)
    found = {inputs[first + k]: value for k, value in zip(loop.state, state, strict=True)}
    if first:
        found[inputs[0]] = index
    return found


@dataclass(frozen=True, slots=True)
class _Reached:
    """The checkpoints after steps forward, and the state reached."""

    top: Node
    places: Node
    stacks: Sequence[Node]
    state: Sequence[Node]


def _advance(
    loop: Backwards,
    target: Node,
    trips: Node,
    top: Node,
    places: Node,
    stacks: Sequence[Node],
    captured: Mapping[Node, Node],
) -> _Reached:
    """From the last checkpoint to the state before step ``target``, with new checkpoints on the way."""
    op, slots = loop.op, loop.slots
    now = make(_GET, (places, top))
    arguments = Arguments()
    step = arguments.add(now, _NUMBER)
    mark = arguments.add(_mark(now, target, top, slots), _NUMBER)
    last = arguments.add(top, _NUMBER)
    kept_places = arguments.add(places, places.type)
    kept = [arguments.add(s, s.type) for s in stacks]
    begin = [make(_GET, (s, top)) for s in stacks]
    state = [arguments.add(b, b.type) for b in begin]
    carries = len(arguments.outer)
    aim = arguments.add(target, _NUMBER)
    number = arguments.add(trips, _NUMBER)
    inside = {inner: arguments.add(outer, inner.type) for inner, outer in captured.items()}
    inside.update(_states(loop, state, _index(op, step, number)))

    keep = NODES.eq(step, mark)
    pushed = NODES.where(keep, last + 1, last)
    slot = NODES.where(keep, pushed, slots)  # what is put outside is dropped
    following = [
        step + 1,
        _if(keep, lambda step, aim, last, mark: _mark(step, aim, last, slots), lambda *given: given[3],
            [step, aim, pushed, mark]),
        pushed,
        make(_PUT, (kept_places, step, slot)),
        *[make(_PUT, (stack, value, slot)) for stack, value in zip(kept, state, strict=True)],
        *substitute([op.body.outputs[k] for k in loop.state], inside),
    ]  # fmt: skip
    predicate = Graph(arguments.kinds, [NODES.lt(step, aim)])
    ahead = Loop("predicate", Graph(arguments.kinds, following), predicate, carries, 0, None)
    _, _, top, places, *rest = results(make(ahead, tuple(arguments.outer)))
    return _Reached(top, places, rest[: len(stacks)], rest[len(stacks) :])


def _if(condition: Node, then: object, otherwise: object, operands: Sequence[Node]) -> Node:
    """One number, of which only the chosen one is computed."""
    kinds = [o.type for o in operands]
    inputs = [make(Input(0, i, kind)) for i, kind in enumerate(kinds)]
    branches = tuple(Graph(kinds, [build(*inputs)]) for build in (otherwise, then))  # type: ignore[operator]
    return results(make(Cond(branches), (cast(condition, INT64), *operands)))[0]


def _mark(step: Node, target: Node, top: Node, slots: int) -> Node:
    """The step at which to keep the next checkpoint after the one at ``step``, which is number ``top``.

    Of the l = target + 1 − step steps that are left to be reversed, as many as the free checkpoints can do in r rounds
    come after it, r being the least number of rounds in which all can be done.
    """
    free = slots - 1 - top
    count = target + 1 - step
    arguments = Arguments()
    rounds = arguments.add(constant(1, INT64), _NUMBER)
    reach = arguments.add(free + 2, _NUMBER)  # C(s+r, r) with s = free + 1, all that can be done
    after = arguments.add(free + 1, _NUMBER)  # C(s−1+r, r), what can be done after the next checkpoint
    wanted = arguments.add(NODES.where(NODES.gt(free, 0), count, 0), _NUMBER)
    places = arguments.add(free, _NUMBER)
    more = rounds + 1
    following = [
        more,
        NODES.floordiv(reach * (places + 1 + more), more),
        NODES.floordiv(after * (places + more), more),
    ]
    body = Graph(arguments.kinds, following)
    search = Loop("predicate", body, Graph(arguments.kinds, [NODES.lt(reach, wanted)]), 3, 0, None)
    possible = results(make(search, tuple(arguments.outer)))[2]
    ahead = NODES.maximum(count - possible, 1)
    return NODES.where(NODES.gt(free, 0), step + ahead, constant(-1, INT64))
