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
from dataclasses import dataclass
from functools import partial
from math import isqrt
from types import MappingProxyType
from typing import Final

from . import dim as dims
from .arguments import Arguments, first_carry
from .dtype import INT64
from .express import NODES, broadcast, cast, zeros
from .node import Graph, Node, const_value, constant, make, results, substitute, topological_until
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


def counter(node: Node, op: Loop) -> int | None:
    """The carry of a loop of unknown length that counts its steps, if it has one."""
    if op.condition == "predicate":
        for k, (start, end) in enumerate(zip(node.args, op.body.outputs, strict=False)):
            if const_value(start) == 0 and start.dtype == INT64 and _is_next(end, op.body.arguments[k]):
                return k
    return None


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


def slots_for(values: Iterable[Node]) -> int:
    """How many steps may be kept if each is kept as these values."""
    size = dims.product([1])
    for value in values:
        size = size + dims.product(value.shape)
    if not isinstance(size, int):
        return SYMBOLIC
    return max(FEWEST, min(MOST, ELEMENTS // size))


@dataclass(frozen=True, slots=True)
class Backwards:
    """A loop by its arguments, how many steps it has done, and the carries (by number) that a step backwards needs.

    ``steps``: how many of its last steps are to be run backwards.
    """

    args: Sequence[Node]
    op: Loop
    trips: Node
    state: Sequence[int]
    steps: Node

    @property
    def slots(self) -> int:
        """The number of checkpoints: as asked; √(2n) for n steps, of which none is then run more than twice again."""
        kept, length = self.op.kept, self.op.length
        most = slots_for([self.op.body.outputs[k] for k in self.state])
        if not isinstance(length, int) or kept is None:
            return kept or most
        return max(1, min(length, kept or max(most, isqrt(2 * length) + 1)))


def backwards(
    loop: Backwards,
    start: Mapping[Node, Node],
    carried: Sequence[Node],
    slices: Mapping[Node, Node] = MappingProxyType({}),
    stacked: Sequence[Node] = (),
) -> tuple[Node, ...]:
    """The loop that runs the steps of ``loop`` backwards, each with the state that it began with; its results.

    A step backwards computes ``carried`` from the inputs of the loop's body and from the keys of ``start``, which begin
    with its values. The results begin with what is carried.

    Of a loop of known length all steps are run; the keys of ``slices`` are then one slice of each of its values, and
    the results end with ``stacked``.
    """
    op, args, first, slots = loop.op, loop.args, first_carry(loop.op), loop.slots
    arguments = Arguments()
    number = arguments.add(loop.steps, _NUMBER)  # the index, inside
    inside = {inner: arguments.add(outer, inner.type) for inner, outer in start.items()}
    top = arguments.add(constant(0, INT64), _NUMBER)
    places = arguments.add(zeros(Type((slots,), INT64)), Type((slots,), INT64))
    stacks = []
    for k in loop.state:
        begin = args[first + k]
        whole = broadcast(begin, (slots, *begin.shape), tuple(range(1, 1 + len(begin.shape))))
        stacks.append(arguments.add(whole, whole.type))
    trips = arguments.add(loop.trips, _NUMBER)
    # the index is that of the loop where its slices and stacks keep their places
    in_place = op.length is not None and op.condition == "count"
    target = number if in_place and not op.reverse else trips - 1 - number
    index = number if in_place else _index(op, target, trips)
    used = set(topological_until([*carried, *stacked, *op.body.outputs], ()))
    others = list(zip(op.body.arguments, args, strict=True))[first + op.carries :]
    scanned, taken = others[: op.scanned], others[op.scanned :]
    arrays = {inner: arguments.share(outer, outer.type) for inner, outer in scanned if inner in used}
    captured = {inner: arguments.share(outer, inner.type) for inner, outer in taken if inner in used}
    for inner, outer in slices.items():
        inside[inner] = make(_GET, (arguments.share(outer, outer.type), index))
    # the state that was reached last is done with
    top = NODES.where(NODES.gt(make(_GET, (places, top)), target), top - 1, top)
    forward = _advance(loop, target, trips, top, places, stacks, captured, arrays)
    inside.update(captured)
    inside.update(_states(loop, forward.state, index, arrays))
    following = [*substitute(carried, inside), forward.top, forward.places, *forward.stacks]
    back = Loop(
        "count", Graph(arguments.kinds, [*following, *substitute(stacked, inside)]), None, len(following), 0,
        op.length if in_place else None, reverse=in_place and not op.reverse,
    )  # fmt: skip
    return results(make(back, tuple(arguments.outer)))


def _index(op: Loop, step: Node, trips: Node) -> Node:
    """The index that a loop gives to its step number ``step``."""
    return trips - 1 - step if op.reverse else step


def _states(loop: Backwards, state: Sequence[Node], index: Node, arrays: Mapping[Node, Node]) -> dict[Node, Node]:
    """Inputs of the loop's body for a state; ``arrays``: which of them are slices of which arrays."""
    inputs, first = loop.op.body.arguments, first_carry(loop.op)
    found = {inputs[first + k]: value for k, value in zip(loop.state, state, strict=True)}
    found.update((inner, make(_GET, (array, index))) for inner, array in arrays.items())
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
    arrays: Mapping[Node, Node],
) -> _Reached:
    """From the last checkpoint to the state before step ``target``, with new checkpoints on the way."""
    op, slots = loop.op, loop.slots
    now = make(_GET, (places, top))
    arguments = Arguments()
    step = arguments.add(now, _NUMBER)
    ahead = _if(NODES.lt(now, target), partial(_mark, slots=slots), lambda step, *_: step, [now, target, top])
    mark = arguments.add(ahead, _NUMBER)
    last = arguments.add(top, _NUMBER)
    kept_places = arguments.add(places, places.type)
    kept = [arguments.add(s, s.type) for s in stacks]
    begin = [make(_GET, (s, top)) for s in stacks]
    state = [arguments.add(b, b.type) for b in begin]
    carries = len(arguments.outer)
    aim = arguments.add(target, _NUMBER)
    number = arguments.add(trips, _NUMBER)
    inside = {inner: arguments.add(outer, inner.type) for inner, outer in captured.items()}
    parts = {inner: arguments.add(array, array.type) for inner, array in arrays.items()}
    inside.update(_states(loop, state, _index(op, step, number), parts))

    keep = NODES.eq(step, mark)
    pushed = NODES.where(keep, last + 1, last)
    slot = NODES.where(keep, pushed, slots)  # what is put outside is dropped
    following = [
        step + 1,
        _if(keep, lambda step, aim, last, _: _mark(step, aim, last, slots), lambda *given: given[3],
            [step, aim, pushed, mark]),
        pushed,
        make(_PUT, (kept_places, step, slot)),
        *[make(_PUT, (stack, value, slot)) for stack, value in zip(kept, state, strict=True)],
        *substitute([op.body.outputs[k] for k in loop.state], inside),
    ]  # fmt: skip
    predicate = Graph(arguments.kinds, [NODES.lt(step, aim)])
    forward = Loop("predicate", Graph(arguments.kinds, following), predicate, carries, 0, None)
    _, _, top, places, *rest = results(make(forward, tuple(arguments.outer)))
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
