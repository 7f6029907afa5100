"""``if`` of ordinary Python on a traced condition: both branches are traced, and what differs becomes a ``Cond``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from . import express, lift, tree
from .array import Array, View, as_node, node_of, sharing_of, wrap
from .blocks import (
    Undefined,
    UndefinedReturnValue,
    Variables,
    block_scope,
    is_numeric,
    kind_of,
    same,
    shared,
    stale,
)
from .dim import show
from .dtype import BOOL, INT64
from .node import Graph, Node, constant, make, rebuild, results
from .op import Cond, Input, Scalar, Type
from .scope import Scope
from .sharing import Merge, facts_of
from .trace import close_inner
from .where import Where, error

_ARRAY: Final = "Python `if`, `while`, `and`, `or` and `not` take one truth value, not an array of shape"


def truth(value: Array) -> Node:
    """The truth of a traced value, which must be one."""
    node = node_of(value)
    if node.type.shape:
        advice = "np.all and np.any make one of many, np.where chooses elementwise"
        raise error(TypeError, f"{_ARRAY} {show(node.type.shape)}; {advice}")
    return lift.to_bool(node)


@dataclass(slots=True)
class _Leaf:
    """A number or array that a branch leaves: the node, and its type or that of the Python number it is."""

    value: Any
    node: Node
    kind: Any


@dataclass(slots=True)
class _Outcome:
    """What a branch leaves: the variables, as leaves in their structures, and the arrays that were written to."""

    scope: Scope
    values: list[tuple[list[Any], tree.TreeDef] | Undefined]
    raw: tuple[Any, ...]
    written: dict[int, tuple[Array, Node]]


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The number of a result of the ``Cond``, the variable that gets it, and what that is in each branch."""

    number: int
    name: str = ""
    parts: tuple[Any, ...] = ()


def branch(pred: Array, then: Callable[[], Any], orelse: Callable[[], Any], variables: Variables, live: int) -> None:
    """Runs ``then`` or ``orelse`` on the variables, of which only the first ``live`` are read afterwards."""
    condition = truth(pred)
    start = variables.get()
    if_false = _traced(orelse, variables, _refined(start, condition, False), facts_of(condition, False))
    if_true = _traced(then, variables, _refined(start, condition, True), facts_of(condition, True))
    merge = _Merge(condition, variables, if_false, if_true)
    merged: list[Any] = []
    for i, before in enumerate(start):
        merged.append(merge.variable(i) if i < live or same(if_false.raw[i], if_true.raw[i]) else before)
    arrays = merge.arrays()
    found = merge.results()

    for array, chosen in arrays:
        array._move(found[chosen.number].node)
    merge.spoil()
    handles: dict[tuple[int, ...], Array] = {}

    def finished(value: Any) -> Any:
        return merge.handle(value, found, handles) if isinstance(value, _Chosen) else value

    variables.set(tuple(tree.map(finished, m) if not isinstance(m, Undefined) else m for m in merged))


def _refined(start: tuple[Any, ...], condition: Node, holds: bool) -> tuple[Any, ...]:
    """The variables in a branch: the condition itself is known there, so that flags stay known."""
    known = {condition: holds}
    if isinstance(condition.op, Scalar) and condition.op.name == "logical_not":
        known[condition.args[0]] = not holds
    return tuple(known.get(v.node, v) if isinstance(v, Array) and not v.shape else v for v in start)


def _traced(
    block: Callable[[], Any], variables: Variables, start: tuple[Any, ...], facts: dict[Node, bool]
) -> _Outcome:
    before = variables.get()
    with block_scope((), (), False, [block]) as scope:
        assert scope.block is not None
        scope.block.facts = facts
        variables.set(start)
        try:
            block()
            raw = variables.get()
            values = [_leaves(v) for v in raw]
            written = {key: (array, array._node) for key, (array, *_) in scope.block.adopted.items()}
        finally:
            variables.set(before)
    return _Outcome(scope, values, raw, written)


def _outside(leaf: Any) -> Any:
    """What both branches have computed alike, as a value of the trace around them."""
    return wrap(leaf.node) if isinstance(leaf, Array) and not leaf._scope.alive else leaf


def _leaves(value: Any) -> tuple[list[Any], tree.TreeDef] | Undefined:
    if isinstance(value, Undefined):
        return value
    leaves, spec = tree.flatten(value)
    why = next(filter(None, map(stale, leaves)), None)
    if why is not None:
        return Undefined("", f"is not known: {why}")
    return [_Leaf(v, as_node(v), kind_of(v)) if is_numeric(v) else v for v in leaves], spec


class _Merge:
    """What two branches leave, as one: results that differ become results of the ``Cond``."""

    def __init__(self, condition: Node, variables: Variables, if_false: _Outcome, if_true: _Outcome) -> None:
        self.condition = condition
        self.variables = variables
        self.if_false, self.if_true = if_false, if_true
        self.pairs: dict[tuple[Node, Node], int] = {}

    def variable(self, i: int) -> Any:
        """The value of a variable after the branches, with ``_Chosen`` for results of the ``Cond``."""
        a, b = self.if_false.raw[i], self.if_true.raw[i]
        if same(a, b):
            return a if a is b or isinstance(a, Undefined) else tree.map(_outside, a)
        found: list[Any] = [self.if_false.values[i], self.if_true.values[i]]
        for mine, other in ((0, 1), (1, 0)):
            if isinstance(found[mine], UndefinedReturnValue) and not isinstance(found[other], Undefined):
                found[mine] = self._placeholder(found[other])
        name, where = self.variables.show(i), self.variables.where
        not_known = next((v.why for v in found if isinstance(v, Undefined) and v.why), None)
        if not_known is not None:
            return Undefined(name, not_known)
        if isinstance(found[0], Undefined) or isinstance(found[1], Undefined):
            which = "True" if isinstance(found[0], Undefined) else "False"
            only = f"gets a value only where the condition at {where} is {which}, which is not known while tracing"
            return Undefined(name, f"{only}; give it one before, or in both branches")
        left, spec = found[0]
        right, other_spec = found[1]
        if spec != other_spec:
            difference = tree.difference(spec, other_spec)
            is_result = self.variables.names[i].startswith("ag__")
            message = f"differs in structure between the branches at {where}: {difference}"
            if is_result:
                raise error(TypeError, f"{name} {message}", where)
            return Undefined(name, message)
        leaves = [self._leaf(x, y, name) for x, y in zip(left, right, strict=True)]
        poison = next((v for v in leaves if isinstance(v, Undefined)), None)
        return poison if poison is not None else tree.unflatten(spec, leaves)

    def arrays(self) -> list[tuple[Array, _Chosen]]:
        """The arrays that either branch wrote to."""
        found = []
        for key in dict.fromkeys([*self.if_false.written, *self.if_true.written]):
            array = (self.if_false.written.get(key) or self.if_true.written[key])[0]
            nodes = []
            for outcome in (self.if_false, self.if_true):
                node = outcome.written[key][1] if key in outcome.written else array._node
                outcome.scope.see(node)
                nodes.append(node)
            found.append((array, self._chosen(nodes[0], nodes[1])))
        return found

    def results(self) -> list[Array]:
        """The results of the ``Cond``."""
        done = self._done()
        if not self.pairs:
            return []
        closed = [
            close_inner(outcome.scope, [pair[k] for pair in self.pairs], (), False)
            for k, outcome in enumerate((self.if_false, self.if_true))
        ]
        every = list(dict.fromkeys(n for _, captured in closed for n in captured))
        parent = self.if_false.scope.parent
        for node in every:
            assert parent is not None
            parent.see(node)
        graphs = tuple(taking(graph, 0, captured, every) for graph, captured in closed)
        index = express.cast(self.condition, INT64)
        found = results(make(Cond(graphs), (index, *every)))
        if done is not None:
            assert parent is not None
            parent.effects.append(found[done.number])
        return [wrap(n) for n in found]

    def _done(self) -> _Chosen | None:
        """The result that stands for what is done in the branches, if anything is."""
        effects = [outcome.scope.effects for outcome in (self.if_false, self.if_true)]
        if not any(effects):
            return None
        first, second = (done[-1] if done else constant(0, INT64) for done in effects)
        return self._chosen(express.cast(first, INT64), express.cast(second, INT64))

    def _chosen(self, a: Node, b: Node) -> _Chosen:
        return _Chosen(self.pairs.setdefault((a, b), len(self.pairs)))

    def _leaf(self, a: Any, b: Any, name: str) -> Any:
        if not isinstance(a, _Leaf) or not isinstance(b, _Leaf):
            if same(a, b):
                return a
            shown = " and ".join(f"{getattr(v, 'value', v)!r:.40}" for v in (b, a))
            why = f"is {shown} after the branches at {self.variables.where}, which is no number or array"
            return Undefined(name, why)
        if same(a.value, b.value):
            return _outside(a.value)
        if a.node.type.shape != b.node.type.shape:
            kinds = f"{b.node.type} and {a.node.type}"
            raise error(
                TypeError,
                f"{name} has different shapes after the branches of a traced `if` ({kinds}); make them equal",
                self.variables.where,
            )
        logical = self._logical(a, b)
        if logical is not None:
            return wrap(logical)
        dtype = lift.common_dtype((a.kind, b.kind))
        number = self._chosen(express.cast(a.node, dtype), express.cast(b.node, dtype)).number
        return _Chosen(number, name, (a.value, b.value))

    def handle(self, chosen: _Chosen, found: list[Array], handles: dict[tuple[int, ...], Array]) -> Array:
        """A result as a value of a variable; what has two names in both branches has two names still."""
        key = (chosen.number, *map(id, chosen.parts))
        if key not in handles:
            handles[key] = made = wrap(found[chosen.number].node)
            merge = Merge(chosen.name, self.variables.where)
            for part, holds in zip(chosen.parts, (False, True), strict=True):
                other = shared(part) if made.shape else None
                if other is not None:
                    facts = facts_of(self.condition, holds)
                    sharing_of(made).link(other, merge, facts, isinstance(part, View))
                    sharing_of(made).passive = chosen.name == "the result"
        return handles[key]

    def spoil(self) -> None:
        """What one of the branches has made stale is so after them."""
        for outcome in (self.if_false, self.if_true):
            assert outcome.scope.block is not None
            for sharing, why in outcome.scope.block.spoiled.items():
                if sharing.level < outcome.scope.level:
                    sharing.spoil(why, outcome.scope.parent)

    def _logical(self, a: _Leaf, b: _Leaf) -> Node | None:
        """Truth values of which one is known, as formulas of the condition: flags stay simple."""
        level = self.if_false.scope.level
        p = self.condition
        if type(a.value) is bool and type(b.value) is bool:
            return p if b.value else lift.apply("logical_not", p)
        for known, other, mine in ((b, a, p), (a, b, lift.apply("logical_not", p))):
            if type(known.value) is bool and other.kind == BOOL and other.node.level < level:
                if known.value:
                    return lift.apply("logical_or", mine, other.node)
                return lift.apply("logical_and", lift.apply("logical_not", mine), other.node)
        return None

    def _placeholder(self, other: Any) -> Any:
        """Zeros for a result that this branch does not give: the flag beside it says that they are not used."""
        leaves, spec = other
        zeros = [
            _Leaf(None, express.broadcast_to(constant(0, v.node.dtype), v.node.type.shape), v.kind)
            if isinstance(v, _Leaf)
            else v
            for v in leaves
        ]
        return zeros, spec


def taking(graph: Graph, own: int, captured: list[Node], every: list[Node]) -> Graph:
    """A graph of ``own`` arguments and ``captured`` values that takes all of ``every`` after its own."""
    kinds: tuple[Type, ...] = (*graph.inputs[:own], *(n.type for n in every))
    arguments = [make(Input(0, i, t)) for i, t in enumerate(kinds)]
    place = {n: arguments[own + k] for k, n in enumerate(every)}
    known = dict(zip(graph.arguments, [*arguments[:own], *(place[n] for n in captured)], strict=True))
    outputs, moved = rebuild(graph.outputs, known)
    provenance: dict[Node, Where] = {moved[n]: w for n, w in graph.provenance.items() if n in moved}
    names = (*graph.names[:own], *(f"c{i}" for i in range(len(every))))
    return Graph(kinds, outputs, names, provenance)
