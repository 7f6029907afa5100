"""``checkpoint``: a function of which reverse mode stores little, and computes the rest again, as in JAX."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from . import tree
from .array import Array, as_node, wrap
from .control import captured_by, traced_body, with_operands
from .node import Graph, Node, const_value, make, rebuild, results
from .op import Call, Cond, Loop
from .scope import current
from .trace import call_user
from .where import error


def checkpoint(
    fun: Callable[..., Any] | None = None,
    *,
    policy: int | None = None,
    prevent_cse: bool = True,
    static_argnums: int | Sequence[int] = (),
) -> Any:
    """``fun``, of which reverse mode stores the arguments alone, and computes everything else again.

    Of the loops in it (``scan``, ``fori_loop``, ``while_loop``, and Python's own) some of the states between steps are
    kept, and the others computed again from them, by Griewank's binomial schedule. For n steps about √(2n) are kept,
    and then no step is computed more than twice again; where n is not known before the loop ends, up to 64 (fewer if
    they are large), and then each step at most five times up to ten million. A ``policy`` that is a number says how
    many. Values and derivatives are the same; forward mode stores nothing anyway.

    Usable as a decorator. Numbers and strings among the arguments are known while tracing, as ``static_argnums`` makes
    them in JAX; ``prevent_cse`` is there for programs written for JAX, and holds always.

    Raises TypeError for a ``fun`` that is no function, and for another policy.

    >>> from chainrule import grad
    >>> def decay(x):
    ...     for _ in range(1000):
    ...         x = x - 0.001 * x * x
    ...     return x
    >>> round(float(grad(checkpoint(decay))(1.0)), 6) == round(float(grad(decay)(1.0)), 6)
    True

    Source: A. Griewank & A. Walther, Algorithm 799: revolve, ACM TOMS 26 (2000).
    """
    if fun is None:
        return functools.partial(checkpoint, policy=policy)
    if not callable(fun):
        raise error(TypeError, f"checkpoint takes a function, not {fun!r:.60}")
    kept = _kept(policy)

    @functools.wraps(fun)
    def recomputed(*args: Any, **kwargs: Any) -> Any:
        if current() is None:
            return fun(*args, **kwargs)
        return _called(fun, args, kwargs, kept)

    return recomputed


def _kept(policy: Any) -> int:
    if policy is None:
        return 0
    if isinstance(policy, (int, np.integer)) and not isinstance(policy, bool) and policy > 0:
        return int(policy)
    message = "policy is how many states of each loop are kept: a number greater than 0, or None for about √(2n)"
    raise error(TypeError, f"{message}, not {policy!r:.60}")


def _called(fun: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], kept: int) -> Any:
    """One call in a trace: a ``Call`` of the function's graph."""
    leaves, structure = tree.flatten((args, kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, (Array, np.ndarray))]
    nodes = [as_node(leaves[i]) for i in places]

    def flat(*arrays: Array) -> Any:
        values = list(leaves)
        for i, array in zip(places, arrays, strict=True):
            values[i] = array
        positional, named = tree.unflatten(structure, values)
        return call_user(fun, *positional, **named)

    body = traced_body(fun, flat, [n.type for n in nodes], hoist=False)
    captures = captured_by([body])
    graph = with_checkpoints(with_operands(body, len(nodes), captures), kept)
    call = make(Call(graph, "recompute"), (*nodes, *captures))
    found = [
        const_value(output) if weak else wrap(result)  # a Python number stays one
        for output, weak, result in zip(graph.outputs, body.weak, results(call), strict=True)
    ]
    return tree.unflatten(body.tree, found)


def with_checkpoints(graph: Graph, kept: int) -> Graph:
    """The program with checkpoints in all loops that do not say themselves how many."""
    done: dict[Graph, Graph] = {}

    def inside(body: Graph) -> Graph:
        if body not in done:
            done[body] = with_checkpoints(body, kept)
        return done[body]

    def visit(node: Node, args: tuple[Node, ...]) -> Node:
        op = node.op
        match op:
            case Loop():
                op = replace(op, body=inside(op.body), kept=kept if op.kept is None else op.kept)
            case Cond(branches):
                op = Cond(tuple(map(inside, branches)))
            case Call():
                op = replace(op, body=inside(op.body))
        return make(op, args)

    outputs, moved = rebuild(graph.outputs, {}, visit)
    return graph.replace(outputs, {moved[n]: where for n, where in graph.provenance.items() if n in moved})


__all__ = ["checkpoint"]
