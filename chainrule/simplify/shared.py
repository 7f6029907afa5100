"""Loops of which one computes all that another computes: the larger one alone is run.

So the value of a function and its derivative, traced one after the other, share the loops in which both are computed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from chainrule.graph.node import Graph, Node, make, rebuild, results, substitute, topological_until
from chainrule.graph.op import Call, Cond, Gather, Input, Loop

__all__ = ["shared_loops"]

_STAND_IN: Final = 1 << 40
"""The position of an input that no graph has."""


def shared_loops(graph: Graph) -> Graph:
    """``graph`` without loops whose results another loop has, too; also inside bodies."""
    graph = _with_bodies(graph, {})
    while (found := _a_pair(graph)) is not None:
        small, instead = found
        outputs, moved = rebuild(graph.outputs, dict(zip(results(small), instead, strict=True)))
        graph = graph.replace(outputs, {moved[n]: w for n, w in graph.provenance.items() if n in moved})
    return graph


def _with_bodies(graph: Graph, done: dict[Graph, Graph]) -> Graph:
    if not any(isinstance(n.op, (Loop, Cond, Call)) for n in graph.nodes):
        return graph

    def inside(body: Graph) -> Graph:
        if body not in done:
            done[body] = shared_loops(body)
        return done[body]

    def visit(node: Node, args: tuple[Node, ...]) -> Node:
        op = node.op
        match op:
            case Loop():
                op = replace(op, body=inside(op.body))
            case Cond(branches):
                op = Cond(tuple(map(inside, branches)))
            case Call():
                op = replace(op, body=inside(op.body))
        return node if op == node.op and args == node.args else make(op, args)

    outputs, moved = rebuild(graph.outputs, {}, visit)
    if outputs == graph.outputs:
        return graph
    return graph.replace(outputs, {moved[n]: w for n, w in graph.provenance.items() if n in moved})


def _a_pair(graph: Graph) -> tuple[Node, Sequence[Node]] | None:
    """A loop, and its results as those of another one that does not depend on it."""
    alike: defaultdict[object, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Loop) and op.carries:
            begin = node.args[: 1 if op.condition == "predicate" else 2]
            alike[op.condition, op.length, op.reverse, op.kept, begin].append(node)
    for group in _alike_in_their_first_carry(alike.values()):
        group.sort(key=lambda n: (len(n.op.body.outputs), n.digest))  # type: ignore[union-attr]
        for i, small in enumerate(group):
            for large in group[i + 1 :]:
                places = _places(small, large)
                if places is not None and small not in set(topological_until(large.args, ())):
                    every = results(large)
                    return small, [every[k] for k in places]
    return None


def _alike_in_their_first_carry(groups: Iterable[list[Node]]) -> Iterator[list[Node]]:
    """Groups in parts, so that few loops have to be compared with each other."""
    for group in groups:
        parts: defaultdict[Node, list[Node]] = defaultdict(list)
        for node in group if len(group) > 1 else []:
            parts[_first_carry(node)].append(node)
        yield from parts.values()


def _first_carry(node: Node) -> Node:
    """What a loop makes of its first carry in a step, over the values outside and stand-ins for what changes."""
    op = node.op
    assert isinstance(op, Loop)
    first = 0 if op.condition == "predicate" else 1
    inputs = op.body.arguments
    known = {n: make(Input(0, _STAND_IN + k, n.type)) for k, n in enumerate(inputs[: first + op.carries])}
    for k in range(first + op.carries, len(inputs)):
        arg = node.args[k]
        sliced = k < first + op.carries + op.scanned
        known[inputs[k]] = make(Gather((0,)), (arg, known[inputs[0]])) if sliced else arg
    return substitute(op.body.outputs[:1], known)[0]


def _places(small: Node, large: Node) -> list[int] | None:
    """Which results of ``large`` are those of ``small``: its first carries are, and whatever else they give."""
    ours, theirs = small.op, large.op
    assert isinstance(ours, Loop) and isinstance(theirs, Loop)
    first = 0 if ours.condition == "predicate" else 1
    carries = first + ours.carries
    if theirs.carries < ours.carries or small.args[:carries] != large.args[:carries]:
        return None
    inputs = theirs.body.arguments
    scanned = first + theirs.carries
    taken = scanned + theirs.scanned
    slices = dict(zip(large.args[scanned:taken], inputs[scanned:taken], strict=True))
    captured = dict(zip(large.args[taken:], inputs[taken:], strict=True))
    known = dict(zip(ours.body.arguments[:carries], inputs[:carries], strict=True))
    for k, arg in enumerate(small.args[carries:], carries):
        found = (slices if k < carries + ours.scanned else captured).get(arg)
        if found is None:
            return None
        known[ours.body.arguments[k]] = found
    if ours.predicate is not None:
        assert theirs.predicate is not None
        if substitute(ours.predicate.outputs, known) != theirs.predicate.outputs:
            return None
    outputs = substitute(ours.body.outputs, known)
    if outputs[: ours.carries] != theirs.body.outputs[: ours.carries]:
        return None
    stacked = {output: theirs.carries + k for k, output in enumerate(theirs.body.outputs[theirs.carries :])}
    rest = [stacked.get(output) for output in outputs[ours.carries :]]
    return None if None in rest else [*range(ours.carries), *(k for k in rest if k is not None)]
