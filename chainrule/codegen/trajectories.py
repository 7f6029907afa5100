"""Trajectories of loops in memory: stacks that a loop of unknown length fills step by step for a loop backwards."""

from __future__ import annotations

from typing import Final

from chainrule.graph.dtype import INT64
from chainrule.graph.node import Graph, Node, const_value, constant
from chainrule.graph.op import Gather, Loop, Project, Scalar, Scatter, Type

__all__ = ["UNBOUNDED", "counter_of", "is_written_first", "most_steps"]

UNBOUNDED: Final = 1 << 62
"""More steps than any loop has."""

_NUMBER, _ADD, _ONE = Type((), INT64), Scalar("add"), constant(1, INT64)
_GET, _PUT = Gather((0,)), Scatter((0,), "set")


def counter_of(loop: Node) -> int | None:
    """The carry that counts the steps of a ``while`` from 0, if there is one."""
    op = loop.op
    assert isinstance(op, Loop)
    for k, (start, end) in enumerate(zip(loop.args, op.body.outputs, strict=False)):
        is_number = start.type == _NUMBER and const_value(start) == 0
        if is_number and end.op == _ADD and set(end.args) == {op.body.arguments[k], _ONE}:
            return k
    return None


def most_steps(count: Node) -> int:
    """A number that a trip count does not exceed."""
    if count.op == Scalar("minimum"):
        known = [int(value) for value in map(const_value, count.args) if value is not None]
        return max(0, min(known, default=UNBOUNDED))
    return UNBOUNDED


def is_written_first(graph: Graph, loop: Node, carry: int, counter: int | None) -> bool:
    """Whether nothing in ``graph`` reads an element of a ``while`` loop's carry before the loop has written it.

    Then it does not matter what the carry starts with. That is so if the loop only writes it, step k to place k,
    and what reads it afterwards are loops of at most as many steps, of which step k reads place k.
    """
    op = loop.op
    assert isinstance(op, Loop) and op.predicate is not None
    if counter is None:
        return False
    inside, after = op.body.arguments[carry], op.body.outputs[carry]
    if after.op != _PUT or (after.args[0], after.args[2]) != (inside, op.body.arguments[counter]):
        return False
    if inside in op.body.outputs or inside in op.predicate.nodes:
        return False
    if any(inside in node.args for node in op.body.nodes if node is not after):
        return False
    results = {n.op.index: n for n in graph.nodes if isinstance(n.op, Project) and n.args[0] is loop}
    stack = results.get(carry)
    if stack is None:
        return True
    steps = results.get(counter)
    readers = [n for n in graph.nodes if stack in n.args]
    return stack not in graph.outputs and all(_reads_what_is_there(n, stack, steps) for n in readers)


def _reads_what_is_there(loop: Node, stack: Node, steps: Node | None) -> bool:
    """Whether a loop has at most so many steps and reads in step k place k of a stack, and nothing else of it."""
    op = loop.op
    if not isinstance(op, Loop) or op.condition != "count":
        return False
    trips = loop.args[0]
    if trips is not steps and not (trips.op == Scalar("minimum") and steps in trips.args):
        return False
    places = [k for k, a in enumerate(loop.args) if a is stack]
    arguments = op.body.arguments
    if places[0] < 1 + op.carries + op.scanned:
        return False
    given = {arguments[k] for k in places}
    reads = [n for n in op.body.nodes if not given.isdisjoint(n.args)]
    return given.isdisjoint(op.body.outputs) and all(n.op == _GET and n.args[1] is arguments[0] for n in reads)
