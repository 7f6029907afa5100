"""Small arrays of fixed size become scalar expressions, so that algebra sees through them.

The elements of a rotation matrix, of a 5×5 system or of the four parameters of a model are nodes of their own; views,
stacks and small sums of products vanish, and so do zeros and ones. An axis of events stays what it is: an array (n, 3)
becomes three arrays (n,). Parts of a program where scalars would cost more than loops over the arrays stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, final

import numpy as np

from chainrule.graph.cost import primitive_cost
from chainrule.graph.dim import Shape
from chainrule.graph.express import broadcast, reshape, transpose
from chainrule.graph.node import Graph, Node, constant, make
from chainrule.graph.op import (
    Broadcast,
    Call,
    Concatenate,
    Cond,
    Const,
    Contract,
    Cumulative,
    Insert,
    Linalg,
    Loop,
    Reduce,
    Scalar,
    Scatter,
)

from .elements import Elements
from .small import Parts, Sides, is_zero

LANES: Final = 4.0  # elements of a short array that a loop handles at the cost of one scalar
LOOP: Final = 12.0  # what a loop over a few elements costs beside its operations
STORED: Final = 2.0  # what an element costs that goes through memory, where lanes are events
SOLVED: Final = 1e6  # matrices are factorised as scalars wherever they can


def scalarize(graph: Graph) -> Graph:
    """``graph`` with small arrays as scalars where that is cheaper; bodies of loops and branches likewise.

    Deterministic, in time linear in the size of the graph. What is not finite may vanish in a product with a constant
    zero only if an input was not finite.

    >>> from chainrule.graph.dtype import FLOAT64
    >>> from chainrule.graph.op import Input, Type
    >>> x = make(Input(0, 0, Type((2,), FLOAT64)))
    >>> matrix = constant(np.array([[0.0, 1.0], [1.0, 0.0]]))
    >>> swapped = make(Contract((0, 1), (1,), (0,)), (matrix, x))
    >>> first = make(Contract((0,), (0,), ()), (constant(np.array([1.0, 0.0])), swapped))
    >>> print(scalarize(Graph([x.type], [first])))                                          # doctest: +ELLIPSIS
    %0: float64[2] = input x0
    %1: float64[1] = slice(...) %0
    %2: float64 = reshape(shape=()) %1
    return %2
    """
    return _scalarized(graph, {})


def _scalarized(graph: Graph, bodies: dict[Graph, Graph]) -> Graph:
    found = bodies.get(graph)
    if found is None:
        sides = Sides(graph.nodes)
        supported = Elements(sides, lambda node: node).supports
        chosen = {node for node in graph.nodes if supported(node)}
        components = _components(graph, chosen)
        run = _Run(graph, sides, chosen, bodies)
        rejected = {c for c, worth in _gains(run, components).items() if not worth}
        if rejected:
            chosen = {node for node in chosen if components[node] not in rejected}
            run = _Run(graph, sides, chosen, bodies)
        found = bodies[graph] = run.result()
        bodies[found] = found
    return found


def _components(graph: Graph, chosen: set[Node]) -> dict[Node, int]:
    """Nodes that hand elements to each other, by number."""
    parent = list(range(len(graph.nodes)))
    number = {node: i for i, node in enumerate(graph.nodes)}

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for node in graph.nodes:
        if node in chosen:
            for arg in node.args:
                if arg in chosen:
                    parent[root(number[arg])] = root(number[node])
    return {node: root(number[node]) for node in graph.nodes if node in chosen}


# --- one run over a graph ---------------------------------------------------------------------------------------


@final
class _Run:
    """The graph with the arrays ``chosen`` taken apart."""

    def __init__(self, graph: Graph, sides: Sides, chosen: set[Node], bodies: dict[Graph, Graph]) -> None:
        self.graph, self.sides, self.chosen, self.bodies = graph, sides, chosen, bodies
        self.elements = Elements(sides, self.whole)
        self.new: dict[Node, Node] = {}
        self.assembled: set[Node] = set()  # arrays taken apart that are needed as arrays nevertheless
        for node in graph.nodes:
            if node in chosen:
                self.elements.parts[node] = self.elements.elements(node)
            else:
                self.new[node] = self.rebuilt(node)
        self.outputs = [self.whole(node) for node in graph.outputs]

    def whole(self, node: Node) -> Node:
        """What stands for a node as an array."""
        found = self.new.get(node)
        if found is None:
            self.assembled.add(node)
            found = self.new[node] = self.assemble(node, self.elements.parts[node])
        return found

    def rebuilt(self, node: Node) -> Node:
        """A node that is not taken apart."""
        args = tuple(map(self.whole, node.args))
        op = node.op
        match op:
            case Scalar(name) if any(map(is_zero, args)):
                found = self.elements.arithmetic.scalar(name, args)
                return found if found.type == node.type else make(op, args)
            case Loop():
                body = _scalarized(op.body, self.bodies)
                predicate = op.predicate and _scalarized(op.predicate, self.bodies)
                return make(replace(op, body=body, predicate=predicate), args)
            case Cond(branches):
                return make(Cond(tuple(_scalarized(b, self.bodies) for b in branches)), args)
            case Call(body, rule):
                return make(Call(_scalarized(body, self.bodies), rule), args)
            case _:
                return node if args == node.args else make(op, args)

    def assemble(self, node: Node, parts: Parts) -> Node:
        """An array from its elements."""
        sides, shape = self.sides, node.shape
        small, kept = sides.axes(shape), sides.kept(shape)
        if not small:
            return parts[0]
        source = self.source(parts)
        if source is not None and source.type == node.type:
            return source
        if not kept and all(type(p.op) is Const for p in parts):
            return constant(np.array([p.op.value for p in parts], node.dtype).reshape([int(d) for d in shape]))  # type: ignore[union-attr]
        if all(p is parts[0] for p in parts):
            return broadcast(parts[0], shape, tuple(a for a in range(len(shape)) if a not in small))
        first = small[0] if small == tuple(range(small[0], small[0] + len(small))) else 0
        one = (*kept[:first], 1, *kept[first:])
        others = tuple(a for a in range(len(one)) if a != first)
        stack = make(Concatenate(first), tuple([_repeated(p, one, others) for p in parts]))
        grouped = (*kept[:first], *sides.sizes(shape), *kept[first:])
        order = [*(a for a in range(first) if a not in small), *small]
        order += [a for a in range(len(shape)) if a not in order]
        return transpose(reshape(stack, grouped), tuple(order.index(a) for a in range(len(shape))))

    def source(self, parts: Parts) -> Node | None:
        """The array that the elements are read from, if they are all of it, in order."""
        found = self.elements.read.get(parts[0])
        if found is None:
            return None
        array = found[0]
        same = all(self.elements.read.get(p) == (array, i) for i, p in enumerate(parts))
        return array if same else None

    def result(self) -> Graph:
        if tuple(self.outputs) == self.graph.outputs:
            return self.graph
        provenance = dict(self.graph.provenance)
        for node, where in self.graph.provenance.items():
            for found in self.elements.parts.get(node, (self.new[node],) if node in self.new else ()):
                provenance.setdefault(found, where)
        return self.graph.replace(self.outputs, provenance)


def _repeated(node: Node, shape: Shape, axes: tuple[int, ...]) -> Node:
    """A broadcast, in one step where the node is one itself."""
    if type(node.op) is Broadcast:
        return broadcast(node.args[0], shape, tuple(axes[a] for a in node.op.axes))
    return broadcast(node, shape, axes)


# --- is it worth it? --------------------------------------------------------------------------------------------


def _gains(run: _Run, components: dict[Node, int]) -> dict[int, bool]:
    """For each component, whether its scalars cost less than its arrays. What nobody needs costs nothing."""
    arrays: dict[int, float] = {}
    for node, component in components.items():
        arrays[component] = arrays.get(component, 0.0) + _array_cost(node, run.sides)
    scalars = dict.fromkeys(arrays, 0.0)
    seen = {found for node, found in run.new.items() if node not in run.chosen} | set(run.elements.read)
    for node in _exits(run, components):
        parts = run.elements.parts[node]
        component = components[node]
        if node in run.assembled and run.sides.axes(node.shape):
            scalars[component] += _store_cost(node, run.sides)
        stack = list(parts)
        while stack:
            part = stack.pop()
            if part not in seen:
                seen.add(part)
                scalars[component] += _element_cost(part)
                stack.extend(part.args)
    return {component: scalars[component] < arrays[component] for component in arrays}


def _exits(run: _Run, components: dict[Node, int]) -> Sequence[Node]:
    """The nodes whose elements are read outside of their component."""
    read: dict[Node, None] = {}
    for node in run.graph.nodes:
        if node not in components:
            read.update(dict.fromkeys(a for a in node.args if a in components))
    read.update(dict.fromkeys(o for o in run.graph.outputs if o in components))
    return list(read)


def _store_cost(node: Node, sides: Sides) -> float:
    return 0.5 * sides.count(node.shape)


def _array_cost(node: Node, sides: Sides) -> float:
    """The cost of a node as an array: of one event where it has events, else of a loop over its elements."""
    op = node.op
    match op:
        case Scalar(name):
            each, shape, stored = primitive_cost(name).operations, node.shape, False
        case Reduce() | Cumulative():
            each, shape, stored = 1.0, node.args[0].shape, True
        case Contract(left, right, _):
            size_of = dict(zip(left, node.args[0].shape, strict=True))
            size_of |= dict(zip(right, node.args[1].shape, strict=True))
            each, shape, stored = 2.0, tuple(size_of.values()), True
        case Concatenate() | Insert() | Scatter():
            each, shape, stored = 1.0, node.shape, True
        case Linalg():
            return SOLVED
        case _:
            return 0.0
    count = float(sides.count(shape))
    if len(sides.axes(shape)) < len(shape):
        return each * count + (STORED * count if stored else 0.0)
    return each * math.ceil(count / LANES) + (LOOP if stored else 0.0)


def _element_cost(node: Node) -> float:
    op = node.op
    if type(op) is Scalar:
        return primitive_cost(op.name).operations
    return 1.0 if type(op) is Reduce else 0.0
