"""Versions of a program, chosen once per call by conditions on invariants (LLVM calls it loop unswitching).

A choice `where(c, a, b)` of arrays whose condition has rank 0 makes every element pay for both. The program becomes
a branch: c is tested once, and each version is simplified by itself, so that coefficients leave its sums, and what its
derivatives do not need is gone. Users write such choices (`np.where(flag, f(x), g(x))`); the simplifier writes them
where algebra holds under a condition (``logarithms``).

It is done to whole programs just before they are lowered: value, gradient and Hessian stay one pass over the data.
"""

from __future__ import annotations

from typing import Final

from chainrule.graph.dtype import BOOL, INT64
from chainrule.graph.express import cast
from chainrule.graph.node import Graph, Node, constant, make, rebuild, results
from chainrule.graph.op import Cast, Cond, Const, Input, Reshape, Scalar, Slice

from .bodies import keep_inputs, used_inputs
from .exact import EXACT
from .known import scalar_name, uniform
from .normal import operations
from .pipeline import simplify_version
from .rewrite import rewrite

MOST: Final = 4  # versions of one program
_MOST_NODES: Final = 3000  # of a program: compiling it twice would take longer than most runs of it
_MOST_CONDITIONS: Final = 8  # that are tried
_WORTH: Final = 0.85  # the operations of the cheaper version, by those of both


def versions(graph: Graph) -> Graph:
    """``graph`` as a branch between versions of it, if conditions of rank 0 make one of them cheaper, else itself.

    >>> from chainrule.graph.dtype import FLOAT64
    >>> from chainrule.graph.express import NODES
    >>> from chainrule.graph.op import Reduce, Type
    >>> x, flag = make(Input(0, 0, Type((9,), FLOAT64))), make(Input(0, 1, Type((), BOOL)))
    >>> total = make(Reduce("sum", (0,)), (NODES.where(flag, NODES.exp(x), NODES.sin(x)),))
    >>> print(versions(Graph([x.type, flag.type], [total])))
    %0: bool = input x1
    %1: int64 = cast(dtype=int64) %0
    %2: float64[9] = input x0
    %3: (float64) = cond(branches=<2 graphs>) %1 %2
    %4: float64 = project(index=0) %3
    return %4
    """
    return _versions(graph, MOST)[0] if len(graph) <= _MOST_NODES else graph


def _versions(graph: Graph, most: int) -> tuple[Graph, int]:
    """(the graph as ``most`` versions at most, how many they are). The recursion is that deep."""
    choices = [(c, v) for c in _conditions(graph) for v in (True, False)] if most > 1 else []
    if not choices:
        return graph, 1

    def cost(choice: tuple[Node, bool]) -> float:
        return operations(rewrite(_decided(graph, *choice), EXACT))

    condition, value = min(choices, key=cost)
    cheaper = simplify_version(_decided(graph, condition, value))
    if operations(cheaper) > _WORTH * operations(graph):
        return graph, 1
    cheaper, used = _versions(cheaper, most - 1)
    dearer, others = _versions(simplify_version(_decided(graph, condition, not value)), most - used)
    return _branch(graph, condition, (dearer, cheaper) if value else (cheaper, dearer)), used + others


def _conditions(graph: Graph) -> list[Node]:
    """The conditions of rank 0 under which arrays are chosen, or masks combined, if they take no loop to compute."""
    plain: set[Node] = set()  # made of few numbers by straight-line code
    for node in graph.nodes:
        op = node.op
        straight = type(op) in (Scalar, Cast, Const) and not node.shape
        if type(op) is Input or ((straight or type(op) in (Slice, Reshape)) and all(a in plain for a in node.args)):
            plain.add(node)
    found: dict[Node, None] = {}
    for node in graph.nodes:
        name = scalar_name(node)
        if not (name == "where" or name.startswith("logical")) or not node.shape:
            continue
        for arg in node.args[:1] if name == "where" else node.args:
            condition = arg if not arg.shape else uniform(arg)
            while condition is not None and scalar_name(condition) == "logical_not":
                (condition,) = condition.args
            if condition is not None and condition in plain and type(condition.op) is not Const:
                found[condition] = None
    return [*found][:_MOST_CONDITIONS]


def _decided(graph: Graph, condition: Node, value: bool) -> Graph:
    outputs, mapping = rebuild(graph.outputs, {condition: constant(value, BOOL)})
    provenance = {mapping[n]: where for n, where in graph.provenance.items() if n in mapping}
    return graph.replace(outputs, provenance)


def _branch(graph: Graph, condition: Node, branches: tuple[Graph, Graph]) -> Graph:
    """The versions for false and true as a branch over the inputs that they read."""
    arguments = graph.arguments
    used = sorted(used_inputs(*branches))
    smaller = tuple(keep_inputs(b, {}, {}, used) for b in branches)
    node = make(Cond(smaller), (cast(condition, INT64), *[arguments[i] for i in used]))
    outputs = results(node)
    known = zip(graph.outputs, outputs, strict=True)
    return graph.replace(outputs, {new: graph.provenance[old] for old, new in known if old in graph.provenance})
