"""A minimal expression graph, independent of the project's own, to differentiate partials again.

A tangent is (value, support), the design's third law: its product with a partial is selected by the support.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from chainrule.graph.scalar import PRIMITIVES, partials_of


class Expr:
    """The application of a primitive to expressions and numbers, or a variable (no arguments)."""

    def __init__(self, name: str, *args: Any) -> None:
        self.name, self.args = name, args

    def __add__(self, other: Any) -> Expr:
        return apply("add", self, other)

    def __radd__(self, other: Any) -> Expr:
        return apply("add", other, self)

    def __sub__(self, other: Any) -> Expr:
        return apply("sub", self, other)

    def __rsub__(self, other: Any) -> Expr:
        return apply("sub", other, self)

    def __mul__(self, other: Any) -> Expr:
        return apply("mul", self, other)

    def __rmul__(self, other: Any) -> Expr:
        return apply("mul", other, self)

    def __truediv__(self, other: Any) -> Expr:
        return apply("div", self, other)

    def __rtruediv__(self, other: Any) -> Expr:
        return apply("div", other, self)

    def __pow__(self, other: Any) -> Expr:
        return apply("pow", self, other)

    def __neg__(self) -> Expr:
        return apply("neg", self)


TABLE: dict[tuple[Any, ...], Expr] = {}


def apply(name: str, *args: Any) -> Expr:
    key = (name, *[a if isinstance(a, Expr) else (type(a), repr(a)) for a in args])
    return TABLE.setdefault(key, Expr(name, *args))


M = SimpleNamespace(**{name: lambda *args, name=name: apply(name, *args) for name in PRIMITIVES})


def topological(output: Expr) -> list[Expr]:
    """Every node after its arguments."""
    done: dict[Expr, None] = {}
    stack = [output]
    while stack:
        node = stack[-1]
        waiting = [a for a in node.args if isinstance(a, Expr) and a not in done]
        if waiting:
            stack += waiting
        else:
            done[stack.pop()] = None
    return list(done)


def derivative(output: Any, variable: Expr) -> Any:
    """∂output/∂variable as an expression, by the partials and masks of the table."""
    if not isinstance(output, Expr):
        return 0.0
    tangents: dict[Expr, tuple[Any, Any]] = {variable: (1.0, None)}
    for node in topological(output):
        if node in tangents or not node.args:
            continue
        primitive = PRIMITIVES[node.name]
        total = None
        for i, (argument, partial) in enumerate(zip(node.args, partials_of(node.name), strict=True)):
            if partial is None or argument not in tangents:
                continue
            value, support = tangents[argument]
            rule = None if primitive.masks is None else primitive.masks[i]
            if rule is not None:
                mask = rule(M, node, *node.args)
                support = mask if support is None else M.logical_and(support, mask)
            value = value * partial(M, node, *node.args)
            if support is not None:
                value = M.where(support, value, 0.0)
            if total is None:
                total = value, support
            else:
                both = None if support is None or total[1] is None else M.logical_or(total[1], support)
                total = total[0] + value, both
        if total is not None:
            tangents[node] = total
    return tangents.get(output, (0.0, None))[0]


def evaluate(output: Any, namespace: Any, values: dict[Expr, Any]) -> Any:
    """The value of an expression over one of the namespaces."""
    if not isinstance(output, Expr):
        return output
    known = dict(values)
    for node in topological(output):
        if node not in known:
            arguments = [known[a] if isinstance(a, Expr) else a for a in node.args]
            known[node] = getattr(namespace, node.name)(*arguments)
    return known[output]
