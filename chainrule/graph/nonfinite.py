"""Where a program's results stop being finite: the op that made NaN or infinity of finite numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .evaluate import Interpreter, NumPyArithmetic, bind_sizes
from .node import Graph, Node
from .op import Call, Cond, Input, Loop, Project, Scalar
from .where import Where

Value = Any


@dataclass(frozen=True, slots=True)
class Found:
    """A node whose value is not finite, with what it was computed from; ``place`` says in which steps of loops."""

    node: Node
    value: Value
    graph: Graph
    inputs: tuple[tuple[Node, Value], ...]
    place: tuple[str, ...] = ()

    @property
    def where(self) -> tuple[Where | None, bool]:
        """The user's line, and whether the node itself is on it (else it is part of a derivative of what is there)."""
        seen: set[Node] = set()
        level = [self.node]
        while level:
            for node in level:
                where = self.graph.provenance.get(node)
                if where is not None:
                    return where, node is self.node
            seen.update(level)
            level = [a for a in dict.fromkeys(a for n in level for a in n.args) if a not in seen]
        return None, False


def find_nonfinite(graph: Graph, args: Sequence[Any]) -> Found | None:
    """The first node on the way to a result that is NaN or infinite while its arguments are not; None: there is none.

    What no result depends on, such as a branch that was not chosen, does not count.
    """
    values = [np.asarray(a).astype(t.dtype) for a, t in zip(args, graph.inputs, strict=True)]
    interpreter = Interpreter(NumPyArithmetic(), bind_sizes(graph, [v.shape for v in values]))
    with np.errstate(all="ignore"):
        return _in_graph(interpreter, graph, values)


def is_finite(value: Value) -> bool:
    """Whether all numbers are; of a node with several results, of all results."""
    if isinstance(value, tuple):
        return all(is_finite(v) for v in value)
    return value.dtype.kind not in "fc" or bool(np.isfinite(value).all())


def _in_graph(interpreter: Interpreter, graph: Graph, args: Sequence[Value]) -> Found | None:
    known: dict[Node, Value] = {}
    for node in graph.nodes:
        known[node] = interpreter.node(node, [known[a] for a in node.args], args)
    found = next((o for o in graph.outputs if not is_finite(known[o])), None)
    if found is None:
        return None
    node = found
    while True:
        earlier = _cause(node, known)
        if earlier is None:
            break
        node = earlier
    inner = _in_bodies(interpreter, node, [known[a] for a in node.args])
    if inner is not None:
        return inner
    value = known[node]
    return Found(node, value, graph, tuple((a, known[a]) for a in node.args))


def _cause(node: Node, known: Mapping[Node, Value]) -> Node | None:
    """An argument that is not finite, and that the value depends on."""
    args = list(node.args)
    if node.op == Scalar("where"):
        mask, *choices = (known[a] for a in args)
        for arg, value, chosen in zip(args[1:], choices, (mask, ~mask), strict=True):
            if not is_finite(np.where(chosen, value, np.zeros((), value.dtype))):
                return arg
        return None
    if isinstance(node.op, Project):
        return args[0]
    return next((a for a in args if not is_finite(known[a])), None)


def _in_bodies(interpreter: Interpreter, node: Node, args: list[Value]) -> Found | None:
    """Where in the bodies of a loop, branch or call that was given finite arguments."""
    match node.op:
        case Call(body):
            return _in_graph(interpreter, body, args)
        case Cond(branches):
            index = min(max(int(args[0]), 0), len(branches) - 1)
            return _in_graph(interpreter, branches[index], args[1:])
        case Loop():
            return _in_loop(interpreter, node.op, args)
        case _:
            return None


def _in_loop(interpreter: Interpreter, op: Loop, args: list[Value]) -> Found | None:
    """In the first step that gives something that is not finite."""
    if op.condition == "predicate":
        assert op.predicate is not None
        carries, captured = args[: op.carries], args[op.carries :]
        number = 0
        while interpreter.run(op.predicate, [*carries, *captured])[0]:
            given = [*carries, *captured]
            carries = interpreter.run(op.body, given)
            if not all(map(is_finite, carries)):
                return _placed(_in_graph(interpreter, op.body, given), number)
            number += 1
        return None
    trips = max(int(args[0]), 0)
    first = 1 + op.carries
    carries, scanned, captured = args[1:first], args[first : first + op.scanned], args[first + op.scanned :]
    for index in reversed(range(trips)) if op.reverse else range(trips):
        given = [np.asarray(index), *carries, *(s[index, ...] for s in scanned), *captured]
        results = interpreter.run(op.body, given)
        if not all(map(is_finite, results)):
            return _placed(_in_graph(interpreter, op.body, given), index)
        carries = results[: op.carries]
    return None


def _placed(found: Found | None, step: int) -> Found | None:
    return None if found is None else replace(found, place=(f"step {step}", *found.place))


def is_argument(node: Node) -> bool:
    """Whether the value was not finite from the start."""
    return isinstance(node.op, Input)
