"""The driver: rules applied bottom-up, to a fixed point, in time linear in the size of the graph.

It walks an explicit stack: a node waits for its arguments' normal forms, is offered to the rules
that its op and its arguments' ops select, and a replacement is normalised in its turn. Rules look
down only, so that a node's normal form is settled once, wherever the node occurs. Bodies of
structured ops are graphs of their own and are rewritten as such.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, final

from chainrule.graph.node import Graph, Node, make
from chainrule.graph.op import Call, Cond, Loop, Project, Scalar

from .pattern import ANY, Rewrite, Rule, argument_key

FUEL: Final = 40  # rewrites per node of the graph, after which what there is stands


@final
class Table:
    """Rules in order of preference, indexed by what they want to see. Tables are added with ``+``."""

    __slots__ = ("_chosen", "_families", "_named", "rules")

    def __init__(self, rules: Iterable[Rule | Sequence[Rule]]) -> None:
        flat: list[Rule] = []
        for entry in rules:
            flat.extend([entry] if isinstance(entry, Rule) else entry)
        self.rules = tuple(flat)
        self._named: dict[str, list[tuple[str, str, Rewrite]]] = {}
        self._families: dict[type, list[Rewrite]] = {}
        self._chosen: dict[tuple[str, str, str], tuple[Rewrite, ...]] = {}
        for r in self.rules:
            for first, second, rewrite in r.variants:
                if isinstance(r.root, str):
                    self._named.setdefault(r.root, []).append((first, second, rewrite))
                else:
                    self._families.setdefault(r.root, []).append(rewrite)

    def __add__(self, other: Table) -> Table:
        return Table((*self.rules, *other.rules))

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)

    def candidates(self, node: Node) -> Sequence[Rewrite]:
        """The rules worth trying on a node, those of its family first."""
        op = node.op
        if type(op) is not Scalar:
            return self._families.get(type(op), ())
        args = node.args
        key = (op.name, argument_key(args[0]), argument_key(args[1]) if len(args) > 1 else ANY)
        found = self._chosen.get(key)
        if found is None:
            named = [
                rewrite
                for first, second, rewrite in self._named.get(op.name, ())
                if first in (ANY, key[1]) and second in (ANY, key[2])
            ]
            found = self._chosen[key] = (*self._families.get(Scalar, ()), *named)
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
            _Normaliser(self, FUEL * len(graph) + 1000).run(graph.outputs)
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

    def run(self, outputs: Sequence[Node]) -> None:
        normal = self.normal
        steps = 0
        for root in outputs:
            stack = [root]
            while stack:
                node = stack[-1]
                if node in normal:
                    stack.pop()
                    continue
                steps += 1
                pending = [a for a in node.args if a not in normal]
                if pending:
                    pending.reverse()
                    stack.extend(pending)
                elif self.settle(node, stack):
                    stack.pop()
        self.driver.steps += steps

    def settle(self, node: Node, stack: list[Node]) -> bool:
        """Finds the normal form of a node whose arguments have theirs, or pushes what it waits for."""
        normal, waiting = self.normal, self.waiting
        rebuilt, target = waiting.get(node, (node, None))
        if target is None:
            args = tuple([normal[a] for a in node.args])
            if args != node.args:
                rebuilt = make(node.op, args)
                if rebuilt in normal:
                    normal[node] = normal[rebuilt]
                    return True
            if rebuilt not in waiting:
                target = self.rewritten(rebuilt)
                if target is not rebuilt and target not in waiting:
                    waiting[node] = waiting[rebuilt] = rebuilt, target
                    if target not in normal:
                        stack.append(target)
                        return False
        if target in normal:
            normal[node] = normal[rebuilt] = normal[target]
        else:  # no rule applies, or the rules run in a circle
            normal[node] = normal[rebuilt] = rebuilt
        return True

    def rewritten(self, node: Node) -> Node:
        """The node after one rewrite, or itself."""
        op = node.op
        if type(op) is Project and node.args[0] in self.driver.expanded:
            return self.driver.expanded[node.args[0]][op.index]
        if self.fuel <= 0:
            return node
        if type(op) is not Scalar:
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
            assert found.type == node.type, (node, found)
            replaced: Node = found
            return replaced
        return node

    def with_normal_bodies(self, node: Node) -> Node:
        """A structured op with the bodies rewritten: recursion over nesting only."""
        op, graph = node.op, self.driver.graph
        match op:
            case Loop(body=body, predicate=predicate):
                new: Loop | Cond | Call = replace(
                    op, body=graph(body), predicate=predicate and graph(predicate)
                )
            case Cond(branches):
                new = Cond(tuple(graph(b) for b in branches))
            case Call(body, key):
                new = Call(graph(body), key)
            case _:
                return node
        return node if new == op else make(new, node.args)
