"""``while`` and ``for`` of ordinary Python, traced: the body becomes one ``Loop`` over the variables that it changes.

Which variables these are, and of which types, is found by tracing the body until it gives back what it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from . import express, lift, tree
from .after import noted
from .array import Array, argument, node_of, root_of, wrap
from .blocks import (
    NotRollable,
    Slot,
    Undefined,
    UndefinedReturnValue,
    Variables,
    block_scope,
    enter_slots,
    is_buffer,
    is_numeric,
    kind_of,
    resolved,
    same,
)
from .branches import taking, truth
from .carried import FLAGS, Carried, node_at_end
from .dim import show
from .dtype import INT64
from .iteration import Items
from .node import Graph, Node, constant, make, results, topological
from .op import Const, Input, Loop, Scalar, Type
from .scope import Scope, current
from .trace import close_inner
from .where import error

_INDEX: Final = Type((), INT64)
_PASSES: Final = 20  # traces of one body before it is said to have no fixed types
Body = Callable[..., Any]


@dataclass(slots=True)
class _Pass:
    """One trace of a body: its scope, and the nodes that it gives back for each slot."""

    scope: Scope
    outputs: list[Node]


class _Rolled:
    """A body under tracing: the slots that it goes round with."""

    def __init__(self, variables: Variables, blocks: Sequence[Any], trial: bool) -> None:
        self.variables, self.blocks, self.trial = variables, blocks, trial
        self.start = variables.get()
        self.entered = self.start
        self.slots: list[Slot] = []
        self.carried = Carried(variables, self.start)
        for i, value in enumerate(self.start):
            if isinstance(value, Undefined) or is_buffer(value):
                continue
            leaves, spec = tree.flatten(value)
            if leaves and all(map(is_numeric, leaves)):
                self.slots.append(_slot(i, leaves, spec))

    @property
    def nodes(self) -> list[Node]:
        """The values that the loop begins with."""
        return [n for s in self.slots for n in s.nodes]

    def settle(self, prefix: Sequence[Type], slices: Sequence[Type], run: Body) -> _Pass:
        """The body traced with the right slots and types; ``run`` takes its other arguments.

        A loop in the body of another is traced whenever that one is: from the second time on it begins with what it
        was found to change, so that the number of traces is not multiplied from level to level.
        """
        given = list(self.slots)
        expected = self._expected()
        if expected:
            self.slots += expected
            try:
                return self._settled(prefix, slices, run)
            except (TypeError, ValueError):  # something else is changed, of other types, when it is run from elsewhere
                self.slots = given
        return self._settled(prefix, slices, run)

    def _settled(self, prefix: Sequence[Type], slices: Sequence[Type], run: Body) -> _Pass:
        for _ in range(_PASSES):
            found, grown = self._trace(prefix, slices, run)
            if not grown:
                self._remember()
                return found
        raise error(TypeError, "the variables of a loop do not settle on types", self.variables.where)

    def _remember(self) -> None:
        """Notes what showed only when the body was traced: arrays that it writes to, and variables that it makes."""
        scope, code = current(), getattr(self.blocks[0], "__code__", None)
        if scope is not None and code is not None:
            scope.root.rolled[code] = [replace(s) for s in self.slots if s.born or isinstance(s.place, Array)]

    def _expected(self) -> list[Slot]:
        """The slots of that kind that the body had before, as far as they are still there."""
        scope, code = current(), getattr(self.blocks[0], "__code__", None)
        found: list[Slot] = []
        for slot in [] if scope is None or code is None else scope.root.rolled.get(code, []):
            place = slot.place
            if any(s.place is place for s in self.slots):
                continue
            if isinstance(place, Array):
                if place._scope.alive:
                    found.append(replace(slot, nodes=[place.node]))
            elif type(self.start[place]) in (Undefined, UndefinedReturnValue):
                found.append(replace(slot, nodes=list(slot.nodes)))
        return found

    def scope(self, prefix: Sequence[Type], slices: Sequence[Type] = ()) -> Any:
        types = [*prefix, *(n.type for n in self.nodes), *slices]
        names = [f"i{k}" for k in range(len(prefix))]
        for slot in self.slots:
            shown = slot.show(self.variables) if isinstance(slot.place, int) else "out"
            names += tree.paths(slot.spec, shown if shown.isidentifier() else "result")
        names += [f"item{k}" for k in range(len(slices))]
        return block_scope(types, names, self.trial, self.blocks)

    def enter(self, scope: Scope, skip: int) -> None:
        """Gives the variables the values that stand for them inside."""
        inputs = scope.inputs[skip : skip + len(self.nodes)]
        self.entered = enter_slots(self.slots, inputs, self.start, scope)
        self.carried.enter(self.slots, self.entered, scope)
        self.variables.set(self.entered)

    def _goes_on(self) -> tuple[Any, ...]:
        """The variables at the beginning of a pass: no flag says that the loop has ended."""
        named = zip(self.variables.names, self.entered, strict=True)
        return tuple(False if n.startswith(FLAGS) and isinstance(v, Array) else v for n, v in named)

    def _trace(self, prefix: Sequence[Type], slices: Sequence[Type], run: Body) -> tuple[_Pass, bool]:
        known = len(self.slots)
        with self.scope(prefix, slices) as scope:
            others = [*scope.inputs[: len(prefix)], *scope.inputs[len(scope.inputs) - len(slices) :]]
            try:
                self.enter(scope, len(prefix))
                self.variables.set(self._goes_on())
                before = self.variables.get()
                run([argument(n, scope) for n in others])
                final = self.variables.get()
                grown, outputs = self._outcome(scope, before, final)
                grown |= self.carried.leave(self.slots, final, scope)
            finally:
                self.variables.set(self.start)
        for slot in self.slots[known:]:
            if isinstance(slot.place, int) and not slot.born:  # inside, an array may have been written to
                slot.nodes = [node_at_end(v) for v in tree.leaves(self.start[slot.place])]
        return _Pass(scope, outputs), grown

    def _outcome(self, scope: Scope, before: Sequence[Any], final: Sequence[Any]) -> tuple[bool, list[Node]]:
        """What the body leaves in the slots, and whether there have to be others, or of other types."""
        grown = False
        outputs: list[Node] = []
        assert scope.block is not None
        written = {key: array for key, (array, *_) in scope.block.adopted.items()}
        taken = {s.place for s in self.slots if isinstance(s.place, int)}
        for slot in self.slots:
            if isinstance(slot.place, Array):
                written.pop(id(slot.place), None)
                outputs.append(slot.place._node)
                continue
            name, where = slot.show(self.variables), self.variables.where
            value = final[slot.place]
            if isinstance(value, Undefined):
                raise _lost(name, value, where)
            leaves, spec = tree.flatten(value)
            if spec != slot.spec or not all(map(is_numeric, leaves)):
                change = tree.difference(slot.spec, spec) if spec != slot.spec else f"{value!r:.40} is no number"
                raise error(TypeError, f"{name} changes its structure in the loop: {change}", where)
            for k, leaf in enumerate(leaves):
                wanted = _agree(slot, k, leaf, name, self.variables)
                grown |= wanted
                outputs.append(express.cast(node_at_end(leaf), slot.nodes[k].dtype))
        for i, value in enumerate(final):
            if i not in taken and not same(before[i], value):
                self.slots.append(self._new_slot(i, value))
                grown = True
        for array in written.values():
            home = scope.block.adopted[id(array)][1]
            spec = tree.structure(0)
            self.slots.append(Slot(array, spec, [home.type.dtype], [home]))
            grown = True
        return grown, outputs

    def _new_slot(self, i: int, value: Any) -> Slot:
        name, where = self.variables.show(i), self.variables.where
        start = self.start[i]
        if isinstance(value, Undefined):
            raise _lost(name, value, where)
        leaves, spec = tree.flatten(value)
        if not leaves or not all(map(is_numeric, leaves)):
            raise error(TypeError, f"{name} changes in the loop and is no number or array: {value!r:.60}", where)
        if isinstance(start, Undefined):
            slot = _slot(i, leaves, spec)
            slot.nodes = [express.broadcast_to(constant(0, n.dtype), n.type.shape) for n in slot.nodes]
            slot.born = True
            return slot
        leaves, begin = tree.flatten(start)
        if begin != spec or not all(map(is_numeric, leaves)):
            shown = tree.difference(begin, spec)
            raise error(TypeError, f"{name} changes its structure in the loop: {shown}; begin with a number", where)
        return _slot(i, leaves, spec)

    def check_names(self, over: Sequence[Array]) -> None:
        """An array that goes by two names when the loop begins, inside of it stands for two: neither is written to."""
        named: dict[int, set[str]] = {id(root_of(a)): {"what the loop goes over"} for a in over}
        written: set[int] = set()
        for slot in self.slots:
            if isinstance(slot.place, Array):
                continue
            name = slot.show(self.variables)
            begin, inside = tree.leaves(self.start[slot.place]), tree.leaves(self.entered[slot.place])
            for outer, inner in zip(begin, inside, strict=False):
                if not isinstance(outer, Array) or not outer.shape or not isinstance(inner, Array):
                    continue
                key = id(root_of(outer))
                named.setdefault(key, set()).add(name)
                if type(inner._node.op) is not Input:
                    written.add(key)
        for key in written:
            if len(named[key]) > 1:
                names = " and ".join(sorted(named[key]))
                message = f"{names} are one array when the loop begins, and it is written to; copy it before"
                raise NotRollable(message) if self.trial else error(TypeError, message, self.variables.where)

    def writes_to(self, array: Array) -> bool:
        """Whether the body, as far as it has been traced, writes to the array, or to what it is a part of."""
        return any(slot.place is root_of(array) for slot in self.slots)

    def finish(self, values: Sequence[Node], at_least_once: bool, holds: int | None = None) -> None:
        """The variables after the loop; the value number ``holds`` is a flag that has ended it."""
        rest = iter(values)
        final = list(self.start)
        for slot in self.slots:
            own = [next(rest) for _ in slot.nodes]
            if holds is not None and own == [values[holds]] and not isinstance(slot.place, Array):
                final[slot.place] = True
            elif isinstance(slot.place, Array):
                slot.place._move(own[0])
            elif slot.born and not at_least_once and not isinstance(self.start[slot.place], UndefinedReturnValue):
                loop = f"the loop at {self.variables.where}, which may end at once"
                why = f"gets a value only in {loop}; give it one before"
                final[slot.place] = Undefined(slot.show(self.variables), why)
            else:
                final[slot.place] = tree.unflatten(slot.spec, [wrap(n) for n in own])
        self.carried.finish(self.slots, final, at_least_once)
        self.variables.set(tuple(final))


def _lost(name: str, value: Undefined, where: Any) -> Exception:
    return error(TypeError, f"{name} is lost in the loop: it {value.why or 'has no value at its end'}", where)


def _slot(place: int, leaves: Sequence[Any], spec: tree.TreeDef) -> Slot:
    return Slot(place, spec, [kind_of(v) for v in leaves], [node_at_end(v) for v in leaves])


def _agree(slot: Slot, k: int, leaf: Any, name: str, variables: Variables) -> bool:
    """Whether the start of a variable had to be converted to what the body makes of it."""
    begin, end = slot.nodes[k].type, node_at_end(leaf).type
    if begin.shape != end.shape:
        message = f"{name} has shape {show(begin.shape)} when the loop begins and {show(end.shape)} after one pass"
        raise error(TypeError, message + "; it cannot change in a loop", variables.where)
    wanted = lift.common_dtype((slot.kinds[k], kind_of(leaf)))
    if wanted == begin.dtype or lift.common_dtype((begin.dtype, wanted)) == begin.dtype:
        return False
    slot.nodes[k] = express.cast(slot.nodes[k], wanted)
    return True


# --- the loops ----------------------------------------------------------------------------------------------


def while_loop(test: Body, body: Body, variables: Variables, *, trial: bool, by_data: bool = False) -> None:
    """``while test(): body()``. A ``trial`` begins with a test that holds, and may be run as Python instead; with
    ``by_data`` it raises ``NotRollable`` where the test does not depend on data.
    """
    rolled = _Rolled(variables, [body, test], trial)
    found = rolled.settle((), (), lambda _: body())
    rolled.check_names(())
    with rolled.scope(()) as scope:
        try:
            rolled.enter(scope, 0)
            condition = _test(test())
        finally:
            variables.set(rolled.start)
    op, nodes = _predicate_loop(found, scope, condition, [], rolled)
    if by_data and not _depends_on_data(op, nodes):
        raise NotRollable("its test does not depend on data")
    rolled.finish(results(noted(make(op, nodes))), at_least_once=trial, holds=_flag(condition, scope))


def _flag(condition: Node, scope: Scope) -> int | None:
    """Which argument is a flag that the loop goes on without, and ends with; None where there are other tests."""
    if isinstance(condition.op, Scalar) and condition.op.name == "logical_not" and condition.args[0] in scope.inputs:
        return scope.inputs.index(condition.args[0])
    return None


def for_loop(
    items: Items, extra: Body | None, body: Body, variables: Variables, *, trial: bool, alike: bool = False
) -> None:
    """``for item in items: body(item)``, as long as ``extra`` holds. A ``trial`` may be run as Python instead, and
    raises ``NotRollable`` where ``extra`` does not depend on data; with ``alike`` also where the steps use their items.
    """
    blocks = [body] if extra is None else [body, extra]
    rolled = _Rolled(variables, blocks, trial)
    known = isinstance(items.count, int) and items.count > 0
    if extra is None:
        rolled.finish(_counted(items, body, rolled, alike), at_least_once=known)
        return

    def run(index: list[Array]) -> None:
        _count(index[0])
        body(items.at(index[0], [a[index[0]] for a in items.arrays]))

    found = rolled.settle([_INDEX], (), run)
    rolled.check_names(items.arrays)
    if _has_changed(items):
        raise NotRollable("it writes to the array that it goes over")
    with rolled.scope([_INDEX]) as scope:
        try:
            rolled.enter(scope, 1)
            condition = lift.apply("lt", scope.inputs[0], _seen(items.trips))
            condition = lift.apply("logical_and", condition, _test(extra()))
        finally:
            variables.set(rolled.start)
    following = lift.apply("add", found.scope.inputs[0], constant(1, INT64))
    found = _Pass(found.scope, [following, *found.outputs])
    op, nodes = _predicate_loop(found, scope, condition, [constant(0, INT64)], rolled)
    if trial and not _depends_on_data(op, nodes, skip=1):
        raise NotRollable("where it ends does not depend on data")
    rolled.finish(results(noted(make(op, nodes)))[1:], at_least_once=known)


def _counted(items: Items, body: Body, rolled: _Rolled, alike: bool) -> Sequence[Node]:
    if _has_changed(items):
        raise NotRollable("it writes to the array that it goes over")
    by_index = items.count is None  # nothing can be scanned along an unknown length
    by_index |= any(rolled.writes_to(a) for a in items.arrays)  # nor what changes meanwhile
    scanned = [] if by_index else [node_of(a) for a in items.arrays]
    slices = [Type(n.type.shape[1:], n.type.dtype) for n in scanned]

    def run(others: list[Array]) -> None:
        index, *parts = others
        _count(index)
        body(items.at(index, [a[index] for a in items.arrays] if by_index else parts))

    found = rolled.settle([_INDEX], slices, run)
    rolled.check_names(items.arrays)
    if _has_changed(items) or (not by_index and any(rolled.writes_to(a) for a in items.arrays)):
        return _counted(items, body, rolled, alike)
    starts = rolled.nodes
    own = {found.scope.inputs[0], *found.scope.inputs[1 + len(starts) :]}
    if alike and not own.isdisjoint(topological(found.outputs)):
        raise NotRollable("it is short, and its steps differ")
    if not starts:
        return []
    graph, captured = close_inner(found.scope, found.outputs, found.scope.names, True)
    _see(captured)
    op = Loop("count", graph, None, len(starts), len(scanned), items.count)
    return results(noted(make(op, (items.trips, *starts, *scanned, *captured))))


def _has_changed(items: Items) -> bool:
    """Whether concrete arrays that the loop goes over have become traced: something was written to them."""
    return any(isinstance(resolved(array), Array) for array in items.concrete)


def _count(index: Array) -> None:
    scope = current()
    assert scope is not None
    scope.nonnegative.add(node_of(index))


def _seen(node: Node) -> Node:
    scope = current()
    assert scope is not None
    scope.see(node)
    return node


def _see(captured: Sequence[Node]) -> None:
    for node in captured:
        _seen(node)


def _test(value: Any) -> Node:
    if isinstance(value, Array):
        return truth(value)
    return constant(bool(value), lift.weak_dtype(bool))


def _predicate_loop(
    found: _Pass, scope: Scope, condition: Node, prefix: list[Node], rolled: _Rolled
) -> tuple[Loop, tuple[Node, ...]]:
    starts = [*prefix, *rolled.nodes]
    own = len(starts)
    body, used = close_inner(found.scope, found.outputs, found.scope.names, True)
    predicate, tested = close_inner(scope, [condition], scope.names, True)
    every = list(dict.fromkeys([*used, *tested]))
    _see(every)
    op = Loop("predicate", taking(body, own, used, every), taking(predicate, own, tested, every), own, 0, None)
    return op, (*starts, *every)


def _depends_on_data(op: Loop, nodes: Sequence[Node], skip: int = 0) -> bool:
    """Whether the test of a loop depends on traced values, and not only on how often it went round."""
    assert op.predicate is not None
    n = op.carries
    of_body, of_test = _dependences(op.body), _dependences(op.predicate)
    data = sum(1 << k for k, node in enumerate(nodes) if (k >= n or type(node.op) is not Const))
    while True:
        more = data | sum(1 << k for k in range(n) if of_body[k] & data)
        if more == data:
            break
        data = more
    traced_test = of_test[0] & data
    return bool(traced_test >> skip)


def _dependences(graph: Graph) -> list[int]:
    """For each output the set of arguments that it depends on, as bits."""
    found = {node: 1 << k for k, node in enumerate(graph.arguments)}
    for node in graph.nodes:
        if node not in found:
            bits = 0
            for a in node.args:
                bits |= found[a]
            found[node] = bits
    return [found[o] for o in graph.outputs]
