"""What depends on fixed data alone: found, made larger by algebra, and computed once.

A program over arguments and data becomes one over arguments and *statistics* of the data. Sums are split so that parts
over data alone come out, Σ(a(p, x) + b(x)) = Σa + Σb, and moments about a parameter become moments about the mean,
Σ(x − μ)² = Σ(x − x̄)² + 2(x̄ − μ)Σ(x − x̄) + n(x̄ − μ)², which costs no accuracy: no difference is ever expanded.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, Final

from chainrule.graph import dim as dims
from chainrule.graph.cost import primitive_cost
from chainrule.graph.evaluate import evaluate
from chainrule.graph.express import cast, reduce
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
    (term,) = node.args
    assert isinstance(node.op, Reduce)
    if node.shape or node.dtype.kind != "f" or len(node.op.axes) != len(term.shape):
        return None
    total: Node | None = None
    rest: Node | None = None
    gained = False
    for negative, part in _addends(term, fixed):
        coefficient, factors = _factors(part)
        alone = all(f in fixed for f in factors)
        value = _data_sum(factors, term) if alone else _moment(factors, fixed)
        if value is None:
            rest = _joined(rest, negative, part)
        else:
            gained = gained or not alone or bool(factors)
            total = _joined(total, negative, value if coefficient is None else coefficient * value)
    if rest is not None and total is not None:
        total = _joined(total, False, _total(rest))
    return total if gained else None


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


def _data_sum(factors: Sequence[Node], term: Node) -> Node:
    """Σ of a product of data; of an empty one, over the places of ``term``, their number."""
    product = _product(factors)
    return cast(_count(term), term.dtype) if product is None else _total(product)


def _addends(term: Node, fixed: set[Node]) -> list[tuple[bool, Node]]:
    """The addends of a term with their signs; x − μ for data x and a parameter μ stays together."""
    found: list[tuple[bool, Node]] = []
    stack = [(False, term)]
    while stack:
        negative, node = stack.pop()
        op, args = node.op, node.args
        if op in (Scalar("add"), Scalar("sub")) and not _deviation(node, fixed) and node not in fixed and node.shape:
            stack += [(negative != (op == Scalar("sub")), args[1]), (negative, args[0])]
        elif op == Scalar("neg") and node not in fixed:
            stack.append((not negative, args[0]))
        else:
            found.append((negative, node))
    return found


def _factors(term: Node) -> tuple[Node | None, list[Node]]:
    """The product of the factors of rank 0, and the arrays among the factors."""
    found: list[Node] = []
    stack = [term]
    while stack:
        node = stack.pop()
        if node.op == Scalar("mul") and node.shape and len(found) + len(stack) < MOST_FACTORS:
            stack += [node.args[1], node.args[0]]
        else:
            found.append(node)
    return _product([f for f in found if not f.shape]), [f for f in found if f.shape]


def _deviation(node: Node, fixed: set[Node]) -> tuple[float, Node, Node] | None:
    """(sign, x, μ) of a node sign·(x − μ) for data x and a parameter μ."""
    if node.op not in (Scalar("sub"), Scalar("add")):
        return None
    x, parameter = node.args if node.args[0] in fixed else node.args[::-1]
    if x not in fixed or not x.shape or parameter.shape or parameter in fixed or type(parameter.op) is Const:
        return None
    if node.op == Scalar("add"):
        return 1.0, x, -parameter
    return (1.0 if node.args[0] is x else -1.0), x, parameter


def _moment(factors: Sequence[Node], fixed: set[Node]) -> Node | None:
    """Σ w·(x − μ) or Σ w·(x − μ)² by moments about the mean of x; w, a product of data, may be missing."""
    others = [f for f in factors if f not in fixed]
    found = _deviation(others[0], fixed) if others else None
    if found is None or len(others) > 2 or others[0] is not others[-1]:
        return None
    sign, x, centre = found
    weight = _product([f for f in factors if f in fixed])
    count = cast(_count(x), x.dtype)
    mean = _total(x) / count
    deviation = x - mean
    mass = count if weight is None else _total(weight)
    first = _total(deviation if weight is None else weight * deviation)
    away = mean - centre
    if len(others) == 1:
        return sign * (mass * away + first)
    second = _total(deviation * deviation if weight is None else weight * (deviation * deviation))
    return second + (2.0 * first) * away + mass * (away * away)


def _count(x: Node) -> Node:
    total = dims.product(x.shape)
    return constant(total) if isinstance(total, int) else make(SizeOf(total))


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
