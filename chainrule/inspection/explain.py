"""``explain``: a derivative, node by node."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import api
from chainrule.graph import tree
from chainrule.graph.differentiate import vjp
from chainrule.graph.evaluate import evaluate
from chainrule.graph.node import Graph, Node, constant, make, results
from chainrule.graph.op import Const, Input, Project, Scalar
from chainrule.graph.scalar import partials_of
from chainrule.graph.where import error, of_function
from chainrule.selection import function_name, selection

from .labels import expression, is_conversion, node_names, short
from .table import html_table, text_table

HEADING = ("node", "computed as", "value", "rule", "adjoint")
LETTERS = ("u", "v", "w")


@dataclass(frozen=True)
class Step:
    """One node: its name, what it computes, its value, its partial derivatives, and ∂result/∂node."""

    name: str
    computed: str
    value: Any
    rule: str
    adjoint: Any

    def cells(self) -> tuple[str, str, str, str, str]:
        """As text."""
        adjoint = "" if self.adjoint is None else short(self.adjoint)
        return self.name, self.computed, short(self.value), self.rule, adjoint


@dataclass(frozen=True)
class Explanation:
    """The steps of a program in the order of evaluation; read upwards, the adjoints in the order of reverse mode."""

    title: str
    steps: tuple[Step, ...]
    derivatives: dict[str, Any]

    def __str__(self) -> str:
        rows = [step.cells() for step in self.steps]
        found = "\n".join(f"∂{self.title}/∂{name} = {short(value, 12)}" for name, value in self.derivatives.items())
        return f"{text_table(HEADING, rows)}\n{found}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        table = html_table(HEADING, [step.cells() for step in self.steps])
        return table + "".join(
            f"<p>∂{self.title}/∂{name} = {short(value, 12)}</p>" for name, value in self.derivatives.items()
        )


def explain(fun: Callable[..., Any], *args: Any, wrt: Any = None, **kwargs: Any) -> Explanation:
    """How the derivatives of ``fun`` at these arguments come about: a table of node │ value │ rule │ adjoint.

    Each row is an operation of the program as it was written. The rule gives its partial derivatives by its first and
    second argument, u and v, with y for its own value. The adjoint ∂result/∂node is the sum, over the rows that use the
    node, of their adjoint times their partial: reverse mode, from the last row to the first. ``wrt`` names the
    arguments of interest (default: all that are floats); adjoints that do not lead to one are left out.

    Raises TypeError if the result is not one number.

    >>> import numpy as np
    >>> def f(x, a):
    ...     y = a * x
    ...     return np.sin(y)
    >>> print(explain(f, 0.5, 2.0))
    node │ computed as │ value    │ rule               │ adjoint
    ─────┼─────────────┼──────────┼────────────────────┼─────────
    x    │ argument    │ 0.5      │                    │ 1.0806
    a    │ argument    │ 2        │                    │ 0.270151
    y    │ a * x       │ 1        │ ∂/∂u = v, ∂/∂v = u │ 0.540302
    t1   │ sin(y)      │ 0.841471 │ ∂/∂u = cos(u)      │ 1
    ∂f/∂x = 1.08060461174
    ∂f/∂a = 0.270151152934
    """
    given, chosen = arguments(fun, args, kwargs, wrt)
    graph = api.trace(fun, *given)
    name = function_name(fun)
    if len(graph.outputs) != 1 or graph.outputs[0].type.shape != ():
        message = f"explain takes a function with one number as its result; {name}'s is another"
        raise error(TypeError, message, of_function(fun))
    leaves = [np.asarray(leaf) for leaf in tree.leaves((tuple(given), {}))]
    values = dict(zip(graph.nodes, _values(graph, leaves), strict=True))
    owners = [i for i, a in enumerate(given) for _ in tree.leaves(a)]
    wanted = {node for node in graph.nodes if isinstance(node.op, Input) and owners[node.op.position] in chosen}
    adjoints = _adjoints(graph, values, wanted)
    names = node_names(graph)
    steps = tuple(
        Step(
            names[node],
            "argument" if isinstance(node.op, Input) else expression(node, names),
            values[node],
            rule_of(node),
            adjoints.get(node),
        )
        for node in [*_inputs(graph), *[n for n in graph.nodes if not isinstance(n.op, Input)]]
        if not isinstance(node.op, (Const, Project)) and not is_conversion(node)
    )
    derivatives = {
        names[node]: adjoints.get(node, np.zeros(node.shape)) for node in _inputs(graph) if node in wanted
    }
    return Explanation(name, steps, derivatives)


def arguments(fun: Callable[..., Any], args: Any, kwargs: Any, wrt: Any) -> tuple[list[Any], set[int]]:
    """All arguments by position, integers as floats where they are differentiated, and which ones those are."""
    try:
        bound = inspect.signature(fun).bind(*args, **kwargs)
        bound.apply_defaults()
        given = list(bound.args)
    except TypeError as problem:
        raise error(TypeError, f"{function_name(fun)}: {problem}") from None
    if wrt is None:
        chosen = {i for i, a in enumerate(given) if _is_float(a)}
    else:
        found = selection(None, wrt).resolve(fun, given, {})
        chosen = {i for i in found if isinstance(i, int)}
    for i in chosen:
        given[i] = tree.map(lambda leaf: float(leaf) if type(leaf) is int else leaf, given[i])
    return given, chosen


def _is_float(argument: Any) -> bool:
    return all(type(leaf) is int or np.asarray(leaf).dtype.kind == "f" for leaf in tree.leaves(argument))


def _values(graph: Graph, leaves: list[Any]) -> list[Any]:
    """The value of each node: an array, or a tuple of them for nodes with several results."""
    parts = [results(node) for node in graph.nodes]
    flat = iter(evaluate(graph.replace([r for row in parts for r in row]), leaves))
    found = [[next(flat) for _ in row] for row in parts]
    return [tuple(row) if isinstance(n.type, tuple) else row[0] for n, row in zip(graph.nodes, found, strict=True)]


def _inputs(graph: Graph) -> list[Node]:
    return sorted((n for n in graph.nodes if isinstance(n.op, Input)), key=lambda n: n.op.position)  # type: ignore[union-attr]


def _adjoints(graph: Graph, values: dict[Node, Any], wanted: set[Node]) -> dict[Node, Any]:
    """∂result/∂node of the nodes that lead from the wanted arguments to the result, in numbers."""
    leading = set(wanted)
    for node in graph.nodes:
        if any(a in leading for a in node.args):
            leading.add(node)
    found: dict[Node, Any] = {}
    gathered: dict[Node, dict[int, Any]] = {}  # of nodes with several results, by position
    if graph.outputs[0] in leading:
        found[graph.outputs[0]] = np.ones(())
    for node in reversed(graph.nodes):
        adjoint = gathered.get(node) if isinstance(node.type, tuple) else found.get(node)
        if adjoint is None or not node.args or node not in leading:
            continue
        if isinstance(node.op, Project):
            row = gathered.setdefault(node.args[0], {})
            row[node.op.index] = row.get(node.op.index, 0.0) + adjoint
            continue
        for argument, part in zip(node.args, _pulled(node, adjoint, values), strict=True):
            if part is not None and argument in leading:
                found[argument] = found.get(argument, 0.0) + part
    return found | {node: tuple(row.get(i, 0.0) for i in range(len(node.type))) for node, row in gathered.items()}


def _pulled(node: Node, adjoint: Any, values: dict[Node, Any]) -> list[Any]:
    """The adjoint of a node times its partials, one for each argument; None where it does not depend on it."""
    fresh = [make(Input(0, i, a.type)) for i, a in enumerate(node.args)]
    outputs = results(make(node.op, tuple(fresh)))
    given = [adjoint.get(i) for i in range(len(outputs))] if isinstance(adjoint, dict) else [adjoint]
    moved = [i for i, g in enumerate(given) if g is not None]
    seeds = [make(Input(0, len(fresh) + k, outputs[i].type)) for k, i in enumerate(moved)]
    floats = [f for f in fresh if f.type.dtype.kind in "fc"]
    rows = vjp([outputs[i] for i in moved], floats, [[s] for s in seeds])
    parts = {f: row[0] for f, row in zip(floats, rows, strict=True)}
    asked = [f for f in fresh if parts.get(f) is not None]
    program = Graph([n.type for n in (*fresh, *seeds)], [parts[f] or constant(0.0) for f in asked])
    arguments = [*[values[a] for a in node.args], *[np.asarray(given[i], outputs[i].dtype) for i in moved]]
    computed = dict(zip(asked, evaluate(program, arguments), strict=True))
    if isinstance(node.op, Scalar):  # a branch that was not taken: its partial may be infinite, its share is 0
        shape = arguments[-1].shape
        computed = {f: np.where(arguments[-1] == 0, 0.0, v) if v.shape == shape else v for f, v in computed.items()}
    return [computed.get(f) for f in fresh]


def rule_of(node: Node) -> str:
    """The partial derivatives of an operation, as text.

    >>> from chainrule import spec, trace
    >>> rule_of(trace(np.sin, spec()).outputs[0])
    '∂/∂u = cos(u)'
    """
    if not isinstance(node.op, Scalar):
        return "" if isinstance(node.op, Input) else LINEAR.get(type(node.op).__name__, "by its own rule")
    from sympy import Symbol

    from chainrule.graph.namespaces import sympy_namespace

    if node.op.name == "where":
        return "∂/∂v where u, ∂/∂w where not"
    if node.op.name == "pow":
        return "∂/∂u = v*u**(v - 1)" + ("" if isinstance(node.args[1].op, Const) else ", ∂/∂v = y*log(u)")
    partials = partials_of(node.op.name)
    letters = [Symbol(letter) for letter in LETTERS[: len(node.args)]]
    shown = []
    for letter, partial, argument in zip(letters, partials, node.args, strict=True):
        if partial is not None and not isinstance(argument.op, Const):
            value = partial(sympy_namespace(), Symbol("y"), *letters)
            text = str(value)
            shown.append(f"∂/∂{letter} = {text if len(text) <= 40 else 'piecewise'}")
    return ", ".join(shown) if shown else "constant"


LINEAR = {
    "Reduce": "to each element",
    "Broadcast": "sums up",
    "Transpose": "transposed back",
    "Reshape": "reshaped back",
    "Slice": "to its place",
    "Reverse": "reversed back",
    "Pad": "cut out",
    "Concatenate": "taken apart",
    "Insert": "cut out",
    "Gather": "to its place",
    "Scatter": "taken from its place",
    "Contract": "contracted with the others",
    "Project": "to its place",
    "Stop": "none: stop_gradient",
    "Cast": "as it is",
    "Loop": "the loop backwards",
    "Cond": "through the branch taken",
}
