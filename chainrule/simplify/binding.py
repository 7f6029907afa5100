"""What depends on fixed data alone: found, made larger by algebra, and computed once.

A program over arguments and data becomes one over arguments and *statistics* of the data. Sums are split so that parts
over data alone come out, Σ(a(p, x) + b(x)) = Σa + Σb, and moments about a parameter become moments about the mean,
Σ(x − μ)² = Σ(x − x̄)² + 2(x̄ − μ)Σ(x − x̄) + n(x̄ − μ)², which costs no accuracy: no difference is ever expanded.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, Final, final

from chainrule.graph import dim as dims
from chainrule.graph.cost import primitive_cost
from chainrule.graph.evaluate import evaluate
from chainrule.graph.express import broadcast, cast, reduce, spread
from chainrule.graph.node import Graph, Node, constant, make, rebuild
from chainrule.graph.op import (
    Broadcast,
    Callback,
    Cast,
    Concatenate,
    Const,
    Input,
    Iota,
    Pad,
    Random,
    Reduce,
    Reshape,
    Reverse,
    Scalar,
    SizeOf,
    Slice,
    Stop,
    Transpose,
    Type,
)

VIEWS: Final = (Broadcast, Transpose, Reshape, Slice, Reverse, Pad, Concatenate)
MOST_FACTORS: Final = 8
DEAR: Final = 16.0  # operations from which on an element is loaded rather than computed again


def data_nodes(graph: Graph, data: Container[int]) -> set[Node]:
    """The nodes that depend on the inputs at the positions ``data`` alone, and on at least one of them."""
    found: set[Node] = set()
    plain: set[Node] = set()  # numbers, which depend on nothing
    for node in graph.nodes:
        op = node.op
        if type(op) is Input:
            if op.position in data:
                found.add(node)
        elif type(op) in (Callback, Random):
            continue
        elif all(a in found or a in plain for a in node.args):
            (found if any(a in found for a in node.args) else plain).add(node)
    return found


# --- sums -----------------------------------------------------------------------------------------------------


def split_sums(graph: Graph, data: Container[int]) -> Graph:
    """``graph`` with sums over the data taken apart; the parts that need no argument are sums over data alone."""
    fixed = data_nodes(graph, data)
    is_sum = [n for n in graph.nodes if n not in fixed and isinstance(n.op, Reduce) and n.op.kind == "sum"]
    known = {node: split for node in is_sum if (split := _split(node, fixed)) is not None}
    if not known:
        return graph
    # What replaces a sum may hold sums that are replaced as well: all are made of what is below them.
    done: dict[Node, Node] = {}

    def visit(node: Node, args: tuple[Node, ...]) -> Node:
        found = known.get(node)
        if found is None:
            return node if args == node.args else make(node.op, args)
        return rebuild([found], done)[0][0]

    for node in graph.nodes:
        done[node] = visit(node, tuple([done[a] for a in node.args]))
    return graph.replace([done[o] for o in graph.outputs])


def _split(node: Node, fixed: set[Node]) -> Node | None:
    """Σ as a sum of simpler ones, None where nothing is gained."""
    return None if node.dtype.kind != "f" else _Sum(node, fixed).split()


@final
class _Sum:
    """A sum over some axes of a term. *Coefficients* do not depend on these axes, *data* on nothing else."""

    def __init__(self, node: Node, fixed: set[Node]) -> None:
        assert isinstance(node.op, Reduce)
        (self.term,) = node.args
        self.node, self.fixed, self.axes = node, fixed, node.op.axes
        self.kept = {axis: i for i, axis in enumerate(a for a in range(len(self.term.shape)) if a not in self.axes)}
        self.events = tuple(self.term.shape[a] for a in self.axes)

    def split(self) -> Node | None:
        total: Node | None = None
        rest: Node | None = None
        gained = False
        for negative, part in self.addends():
            coefficient, data, others = self.factors(part)
            value = self.moment(data, others) if others else self.data_sum(data)
            if value is None:
                rest = _joined(rest, negative, part)
            else:
                gained = gained or bool(data or others)
                total = _joined(total, negative, value if coefficient is None else coefficient * value)
        if not gained or total is None:
            return None
        if rest is not None:
            total = _joined(total, False, make(self.node.op, (spread(rest, self.term.shape),)))
        return spread(total, self.node.shape)

    def coefficient(self, node: Node) -> Node | None:
        """A node that is the same for all events, over the other axes."""
        if not node.shape:
            return node
        if type(node.op) is not Broadcast or any(a in self.axes for a in node.op.axes):
            return None
        return broadcast(node.args[0], self.node.shape, tuple(self.kept[a] for a in node.op.axes))

    def data(self, node: Node) -> Node | None:
        """Data over the events."""
        if not self.kept:
            return node if node in self.fixed else None
        if type(node.op) is Broadcast and node.op.axes == self.axes and node.args[0] in self.fixed:
            return node.args[0]
        return None

    def addends(self) -> list[tuple[bool, Node]]:
        """The addends of the term with their signs; x − μ for data x and a parameter μ stays together."""
        found: list[tuple[bool, Node]] = []
        stack = [(False, self.term)]
        while stack:
            negative, node = stack.pop()
            op, args = node.op, node.args
            whole = node in self.fixed or not node.shape or self.deviation(node) is not None
            if not whole and op in (Scalar("add"), Scalar("sub")):
                stack += [(negative != (op == Scalar("sub")), args[1]), (negative, args[0])]
            elif not whole and op == Scalar("neg"):
                stack.append((not negative, args[0]))
            else:
                found.append((negative, node))
        return found

    def factors(self, part: Node) -> tuple[Node | None, list[Node], list[Node]]:
        """(the product of the coefficients in a product, data, the rest)"""
        coefficient: Node | None = None
        data: list[Node] = []
        others: list[Node] = []
        stack = [part]
        while stack:
            node = stack.pop()
            found = self.coefficient(node)
            own = self.data(node)
            if found is not None:
                coefficient = found if coefficient is None else coefficient * found
            elif own is not None:
                data.append(own)
            elif node.op == Scalar("mul") and len(data) + len(others) + len(stack) < MOST_FACTORS:
                stack += [node.args[1], node.args[0]]
            else:
                others.append(node)
        return coefficient, data, others

    def data_sum(self, data: Sequence[Node]) -> Node:
        """Σ of a product of data; of an empty one, the number of events."""
        product = _product(data)
        return self.count() if product is None else _total(product)

    def count(self) -> Node:
        total = dims.product(self.events)
        return cast(constant(total) if isinstance(total, int) else make(SizeOf(total)), self.node.dtype)

    def deviation(self, node: Node) -> tuple[float, Node, Node] | None:
        """(sign, x, μ) of a node sign·(x − μ) for data x and a parameter μ."""
        if node.op not in (Scalar("sub"), Scalar("add")):
            return None
        first, second = node.args
        sign = 1.0
        x, centre = self.data(first), self.coefficient(second)
        if x is None:
            x, centre = self.data(second), self.coefficient(first)
            sign = 1.0 if node.op == Scalar("add") else -1.0
        if x is None or centre is None or centre in self.fixed or type(centre.op) is Const:
            return None
        return sign, x, -centre if node.op == Scalar("add") else centre

    def moment(self, data: Sequence[Node], others: Sequence[Node]) -> Node | None:
        """Σ w·(x − μ) or Σ w·(x − μ)² by moments about the mean of x; w is a product of data, or missing."""
        found = self.deviation(others[0])
        if found is None or len(others) > 2 or others[0] is not others[-1]:
            return None
        sign, x, centre = found
        weight = _product(data)
        mean = _total(x) / self.count()
        deviation = x - mean
        mass = self.count() if weight is None else _total(weight)
        first = _total(deviation if weight is None else weight * deviation)
        away = mean - centre
        if len(others) == 1:
            return sign * (mass * away + first)
        second = _total(deviation * deviation if weight is None else weight * (deviation * deviation))
        return second + (2.0 * first) * away + mass * (away * away)


def _joined(total: Node | None, negative: bool, value: Node) -> Node:
    if total is None:
        return -value if negative else value
    return total - value if negative else total + value


def _total(x: Node) -> Node:
    return reduce("sum", x, tuple(range(len(x.shape))))


def _product(factors: Sequence[Node]) -> Node | None:
    found: Node | None = None
    for factor in factors:
        found = factor if found is None else found * factor
    return found


# --- what is computed once --------------------------------------------------------------------------------------


def precompute(graph: Graph, arguments: int, values: Sequence[Any], data: Container[int]) -> tuple[Graph, list[Any]]:
    """(graph, values): the graph over its first ``arguments`` inputs and over what was computed from the data.

    ``values`` are those of the inputs behind the arguments. Numbers that depend on the data alone are computed; arrays
    only if an element costs more to compute than to load.
    """
    fixed = data_nodes(graph, data)
    wanted = _frontier(graph, fixed)
    types = graph.inputs[arguments:]
    given = [make(Input(0, i, t)) for i, t in enumerate(types)]
    outputs, _ = rebuild(wanted, dict(zip(graph.arguments[arguments:], given, strict=True)))
    computed = evaluate(Graph(types, outputs), list(values)) if wanted else []
    known = {node: make(Input(0, len(graph.inputs) + i, node.type)) for i, node in enumerate(wanted)}
    rest, mapping = rebuild(graph.outputs, known)
    provenance = {mapping[n]: where for n, where in graph.provenance.items() if n in mapping}
    names = [*graph.names, *(f"statistic{i}" for i in range(len(wanted)))]
    whole = Graph([*graph.inputs, *(n.type for n in wanted)], rest, names, provenance)
    return _without_unused(whole, arguments, [*values, *computed])


def _frontier(graph: Graph, fixed: set[Node]) -> list[Node]:
    """The nodes to compute beforehand: what others read, or the nearest below it that is worth it."""
    cost: dict[Node, float] = {}
    for node in graph.nodes:
        if node in fixed:
            cost[node] = _own_cost(node) + sum(cost.get(a, 0.0) for a in node.args if a.shape)
    wanted: dict[Node, None] = {}
    seen: set[Node] = set()
    stack = [a for node in graph.nodes if node not in fixed for a in node.args if a in fixed]
    stack += [o for o in graph.outputs if o in fixed]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if type(node.op) is Input or not isinstance(node.type, Type):
            continue
        if not node.shape or cost[node] >= DEAR:
            if type(node.op) in VIEWS and node.shape:
                stack.extend(a for a in node.args if a in fixed)
            else:
                wanted[node] = None
        else:
            stack.extend(a for a in node.args if a in fixed)
    return [node for node in graph.nodes if node in wanted]


def _own_cost(node: Node) -> float:
    op = node.op
    if type(op) is Scalar:
        return primitive_cost(op.name).operations
    if type(op) in VIEWS or type(op) in (Input, Const, Iota, Cast, Stop):
        return 0.0
    return DEAR  # sums, products, sorts, loops


def _without_unused(graph: Graph, arguments: int, values: Sequence[Any]) -> tuple[Graph, list[Any]]:
    used = {n.op.position for n in graph.nodes if isinstance(n.op, Input)}
    kept = [i for i in range(len(graph.inputs)) if i < arguments or i in used]
    place = {old: make(Input(0, new, graph.inputs[old])) for new, old in enumerate(kept)}
    known = {node: place[i] for i, node in enumerate(graph.arguments) if i in place}
    outputs, mapping = rebuild(graph.outputs, known)
    provenance = {mapping[n]: where for n, where in graph.provenance.items() if n in mapping}
    smaller = Graph([graph.inputs[i] for i in kept], outputs, [graph.names[i] for i in kept], provenance)
    return smaller, [values[i - arguments] for i in kept if i >= arguments]
