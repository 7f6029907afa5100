"""Calls with derivative rules, replaced by their bodies: what is done once no derivative is taken any more."""

from __future__ import annotations

from dataclasses import replace

from chainrule.graph.node import Graph, Node, make, rebuild
from chainrule.graph.op import Call, Cond, Loop, Project
from chainrule.graph.rule import Rule


def inline_rules(graph: Graph) -> Graph:
    """``graph`` without calls that have a ``Rule``, in the bodies of loops and branches, too.

    >>> from chainrule.graph.dtype import FLOAT64
    >>> from chainrule.graph.node import results, scalar
    >>> from chainrule.graph.op import Input, Type
    >>> x = make(Input(0, 0, Type((), FLOAT64)))
    >>> body = Graph([x.type], [scalar("sin", x)])
    >>> print(inline_rules(Graph([x.type], results(make(Call(body, Rule("f", 0)), (scalar("exp", x),))))))
    %0: float64 = input x0
    %1: float64 = exp %0
    %2: float64 = sin %1
    return %2
    """
    return _inlined(graph, {})


def _inlined(graph: Graph, known: dict[Graph, Graph]) -> Graph:
    """Recursion over nesting only; ``known`` has the bodies that were done."""
    found = known.get(graph)
    if found is None:
        found = known[graph] = _rebuilt(graph, known)
    return found


def _rebuilt(graph: Graph, known: dict[Graph, Graph]) -> Graph:
    if not any(type(n.op) in (Loop, Cond, Call) for n in graph.nodes):
        return graph
    inside: dict[Node, tuple[Node, ...]] = {}
    places: dict[Node, object] = {}

    def visit(node: Node, args: tuple[Node, ...]) -> Node:
        op = node.op
        match op:
            case Project(index) if args[0] in inside:
                return inside[args[0]][index]
            case Call(body, Rule()):
                call = make(op, args)
                own = _inlined(body, known)
                inside[call], moved = rebuild(own.outputs, dict(zip(own.arguments, args, strict=True)))
                places.update((moved[n], w) for n, w in own.provenance.items() if n in moved)
                return call
            case Call(body):
                return make(replace(op, body=_inlined(body, known)), args)
            case Cond(branches):
                return make(Cond(tuple(_inlined(b, known) for b in branches)), args)
            case Loop():
                predicate = op.predicate and _inlined(op.predicate, known)
                return make(replace(op, body=_inlined(op.body, known), predicate=predicate), args)
            case _:
                return node if args == node.args else make(op, args)

    outputs, moved = rebuild(graph.outputs, {}, visit)
    own = {moved[n]: w for n, w in graph.provenance.items() if n in moved}
    return graph.replace(outputs, {**places, **own})
