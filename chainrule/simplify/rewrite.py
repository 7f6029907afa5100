"""The driver: rules applied bottom-up, to a fixed point, in time linear in the size of the graph.

It walks an explicit stack: a node waits for its arguments' normal forms, is offered to the rules
that its op and its arguments' ops select, and a replacement is normalised in its turn. Rules look
down only, so that a node's normal form is settled once, wherever the node occurs. Bodies of
structured ops are graphs of their own and are rewritten as such.

It always ends, whatever the rules. A graph of n nodes may be rewritten ``FUEL``·n + 1000 times, each time by a node
and the few nodes that one rule writes below it: no more nodes than that ever wait, and each is settled once. A node
whose replacement leads back to it is found waiting on the stack, and what there is stands. So the cost is linear even
for rules that undo each other or let terms grow. That the rules and the passes between which ``pipeline`` alternates
do not undo each other is another matter, which costs time alone, and is tested on random programs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, final

from chainrule.graph.node import Graph, Node, make
from chainrule.graph.op import Call, Cond, Loop, Project, Scalar

from .pattern import Rewrite, Rule, Worth, argument_key

_STRUCTURED: Final = (Loop, Cond, Call)
_EVERY: Final = "*"  # in place of a primitive's name: all of them
FUEL: Final = 40  # rewrites per node of the graph, after which what there is stands


@final
class Table:
    """Rules in order of preference, indexed by what they want to see. Tables are added with ``+``."""

    __slots__ = ("_chosen", "_families", "_is_indexed", "_named", "rules")

    def __init__(self, rules: Iterable[Rule | Sequence[Rule]]) -> None:
        flat: list[Rule] = []
        for entry in rules:
            flat.extend([entry] if isinstance(entry, Rule) else entry)
        self.rules = tuple(flat)
        self._named: dict[str, list[tuple[Worth, str, Rewrite]]] = {}
        self._families: dict[type, list[Rewrite]] = {}
        self._chosen: dict[tuple[str, ...], tuple[Rewrite, ...]] = {}
        self._is_indexed = False

    def _index(self) -> None:
        """Compiles the rules: before the first argument is looked at, for the rules say which numbers they name."""
        named: dict[str, list[tuple[Worth, str, Rewrite]]] = {}
        families: dict[type, list[Rewrite]] = {}
        for r in self.rules:
            for worth, rewrite in r.variants:
                if isinstance(r.root, str):
                    named.setdefault(r.root, []).append((worth, r.kinds, rewrite))
                elif r.root is Scalar:
                    named.setdefault(_EVERY, []).append((worth, r.kinds, rewrite))
                else:
                    families.setdefault(r.root, []).append(rewrite)
        self._named, self._families, self._is_indexed = named, families, True

    def __add__(self, other: Table) -> Table:
        return Table((*self.rules, *other.rules))

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)

    def candidates(self, node: Node) -> Sequence[Rewrite]:
        """The rules worth trying on a node, those of its family first."""
        if not self._is_indexed:
            self._index()
        op, args = node.op, node.args
        if type(op) is not Scalar:
            return self._families.get(type(op), ())
        key: tuple[str, ...]
        if len(args) == 2:  # in plain words what the other case says: nodes come by the hundred thousand
            one, two = args[0].op, args[1].op
            first = one.name if type(one) is Scalar else argument_key(args[0])
            second = two.name if type(two) is Scalar else argument_key(args[1])
            key = (op.name, args[1].type.dtype.kind, first, second)
        else:
            key = (op.name, args[-1].type.dtype.kind, *[argument_key(a) for a in args])
        found = self._chosen.get(key)
        return self._choose(key) if found is None else found

    def _choose(self, key: tuple[str, ...]) -> tuple[Rewrite, ...]:
        """The rules for a primitive, a kind of element type and keys of arguments."""
        name, kind, *arguments = key
        found = self._chosen[key] = tuple(
            rewrite
            for worth, kinds, rewrite in (*self._named.get(_EVERY, ()), *self._named.get(name, ()))
            if kind in kinds and worth(arguments)
        )
        return found


def rewrite(graph: Graph, table: Table) -> Graph:
    """``graph`` with the rules of ``table`` applied until none applies.

    What replaces a node inherits its provenance.
    """
    return Driver(table).graph(graph)


@final
class Driver:
    """A table at work. It remembers normal forms, which do not depend on the graph that a node is in.

    ``steps`` counts visits of nodes; it grows linearly with the size of the graphs.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.steps = 0
        self.graphs: dict[Graph, Graph] = {}
        self.normal: dict[Node, Node] = {}
        # node with several results → what these became
        self.expanded: dict[Node, tuple[Node, ...]] = {}

    def graph(self, graph: Graph) -> Graph:
        """The normal form of a graph; each different body is rewritten once."""
        found = self.graphs.get(graph)
        if found is None:
            normal = self.normal
            _Normaliser(self, FUEL * len(graph) + 1000).run(graph.nodes)
            outputs = [normal[o] for o in graph.outputs]
            provenance = dict(graph.provenance)
            for node, where in graph.provenance.items():
                if node in normal:
                    provenance.setdefault(normal[node], where)
            found = graph.replace(outputs, provenance)
            self.graphs[graph] = self.graphs[found] = found
        return found


@final
class _Normaliser:
    """One walk over a graph, which adds the normal forms of its nodes to the driver's."""

    def __init__(self, driver: Driver, fuel: int) -> None:
        self.driver = driver
        self.fuel = fuel
        self.normal = driver.normal
        # node → (it with normal arguments, its replacement, for whose normal form it waits)
        self.waiting: dict[Node, tuple[Node, Node]] = {}

    def run(self, nodes: Sequence[Node]) -> None:
        """Finds the normal forms of nodes that come arguments first."""
        normal = self.normal
        stack: list[Node] = []
        steps = 0
        for given in nodes:
            if given in normal:
                continue
            stack.append(given)
            while stack:
                node = stack[-1]
                if node in normal:
                    stack.pop()
                    continue
                steps += 1
                if node is not given:  # a replacement
                    height = len(stack)
                    for a in node.args[::-1]:
                        if a not in normal:
                            stack.append(a)
                    if len(stack) > height:
                        continue
                if self.settle(node, stack):
                    stack.pop()
        self.driver.steps += steps

    def settle(self, node: Node, stack: list[Node]) -> bool:
        """Finds the normal form of a node whose arguments have theirs, or pushes what it waits for."""
        normal, waiting = self.normal, self.waiting
        if node in waiting:
            rebuilt, target = waiting[node]
        else:
            rebuilt = node
            args = tuple(map(normal.__getitem__, node.args))
            if args != node.args:
                rebuilt = make(node.op, args)
                if rebuilt in normal:
                    normal[node] = normal[rebuilt]
                    return True
            if rebuilt in waiting:  # the rules run in a circle
                target = rebuilt
            else:
                target = self.rewritten(rebuilt)
                if target is not rebuilt and target not in waiting:
                    waiting[node] = waiting[rebuilt] = rebuilt, target
                    if target not in normal:
                        stack.append(target)
                        return False
        # no rule applies, or the rules run in a circle: what there is stands
        normal[node] = normal[rebuilt] = normal.get(target, rebuilt)
        return True

    def rewritten(self, node: Node) -> Node:
        """The node after one rewrite, or itself."""
        op = node.op
        if type(op) is Project and node.args[0] in self.driver.expanded:
            return self.driver.expanded[node.args[0]][op.index]
        if self.fuel <= 0:
            return node
        if type(op) in _STRUCTURED:
            bodies = self.with_normal_bodies(node)
            if bodies is not node:
                return bodies
        for rule in self.driver.table.candidates(node):
            found = rule(node)
            if found is None or found is node:
                continue
            self.fuel -= 1
            if isinstance(found, tuple):
                self.driver.expanded[node] = found
                return node
            assert found.type is node.type or found.type == node.type, (node, found)
            replaced: Node = found
            return replaced
        return node

    def with_normal_bodies(self, node: Node) -> Node:
        """A structured op with the bodies rewritten: recursion over nesting only."""
        op, graph = node.op, self.driver.graph
        match op:
            case Loop(body=body, predicate=predicate):
                new: Loop | Cond | Call = replace(op, body=graph(body), predicate=predicate and graph(predicate))
            case Cond(branches):
                new = Cond(tuple(graph(b) for b in branches))
            case Call(body, key):
                new = Call(graph(body), key)
            case _:
                return node
        return node if new == op else make(new, node.args)
