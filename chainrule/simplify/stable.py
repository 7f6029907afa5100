"""Rules that make an expression more accurate, or keep it finite where the plain form overflows.

Left out on purpose: sqrt(x² + y²) → hypot(x, y), which helps beyond 1e±154 only and costs many square roots;
exp(x) + exp(−x) → 2·cosh(x), which is no more accurate and hides the sum from its logarithm.
"""

from __future__ import annotations

import math
from typing import Final

from chainrule.graph.express import NODES, apply, broadcast
from chainrule.graph.node import Node, make
from chainrule.graph.op import Broadcast, Reduce, Reshape, Stop

from .known import scalar_name
from .pattern import P, Wild, fitted, on, rule
from .rewrite import Table

x, y, z = Wild("x"), Wild("y"), Wild("z")
LOG_2: Final = math.log(2)


def is_sum_of_exponentials(x: Node, y: Node) -> bool:
    """Whether x is exp(…) + exp(…) (+ …), already or as logaddexp will see it."""
    return scalar_name(x) == "add" and all(scalar_name(a) in ("exp", "add") for a in x.args)


LOGARITHMS: Final = Table([
    rule(P.log(P.exp(x) + P.exp(y)), P.logaddexp(x, y)),
    rule(P.log(x + P.exp(y)), P.logaddexp(P.log(x), y), where=is_sum_of_exponentials),
    rule(P.log(1 + P.exp(x)), P.softplus(x)),
    rule(P.log1p(P.exp(x)), P.softplus(x)),
    rule(P.logaddexp(x, 0), P.softplus(x)),
    rule(P.log(-P.expm1(x)),  # log(1 − eˣ) = x + log(e⁻ˣ − 1)
         P.where(P.lt(x, -LOG_2), P.log1p(-P.exp(x)), x + P.log(P.expm1(-x)))),
    rule(P.log(P.expit(x)), P.log_expit(x)),
    rule(P.log(P.ndtr(x)), P.log_ndtr(x)),
    rule(P.log(1 + x), P.log1p(x)),
    rule(P.log(1 - x), P.log1p(-x)),
    rule(P.log1p(P.expm1(x)), x),
    rule(-P.softplus(-x), P.log_expit(x)),
    rule(-P.log_expit(x), P.softplus(-x)),
    rule(P.softplus(x) - x, P.softplus(-x)),
])  # fmt: skip

EXPONENTIALS: Final = Table([
    rule(P.exp(x) - P.exp(-x), 2 * P.sinh(x)),
    rule((2 * P.sinh(x)) / (P.exp(x) + P.exp(-x)), P.tanh(x)),
    rule(P.sinh(x) / P.cosh(x), P.tanh(x)),
    rule(1 / P.cosh(x), P.sech(x)),
    rule(P.exp(x) - 1, P.expm1(x)),
    rule(P.exp(x) + -1, P.expm1(x)),
    rule(1 - P.exp(x), -P.expm1(x)),
    rule(P.exp(x) / (1 + P.exp(x)), P.expit(x)),
    rule(x / (1 + P.exp(-y)), x * P.expit(y)),
    rule(x / (1 + P.exp(y)), x * P.expit(-y)),
    rule(1 - P.expit(x), P.expit(-x)),
    rule(1 - P.tanh(x) * P.tanh(x), P.sech(x) * P.sech(x)),
])  # fmt: skip

DIFFERENCES: Final = Table([
    rule(1 - P.cos(x), 2 * (P.sin(0.5 * x) * P.sin(0.5 * x))),
    rule(P.cos(x) - 1, -2 * (P.sin(0.5 * x) * P.sin(0.5 * x))),
    rule(1 - P.cos(x) * P.cos(x), P.sin(x) * P.sin(x)),
    rule(1 - P.sin(x) * P.sin(x), P.cos(x) * P.cos(x)),
    rule(P.sqrt(1 + x) - 1, x / (1 + P.sqrt(1 + x))),
    rule(1 - P.erf(x), P.erfc(x)),
    rule(1 + P.erf(x), P.erfc(-x)),
    rule(1 - P.erfc(x), P.erf(x)),
    rule(1 - P.ndtr(x), P.ndtr(-x)),
    rule(1 - x * x, (1 - x) * (1 + x)),
    rule(x * x - 1, (x - 1) * (x + 1)),
    rule(x * x - y * y, (x - y) * (x + y)),
])  # fmt: skip


# --- log Σ exp ----------------------------------------------------------------------------------------------


@on("log")
def log_sum_exp(node: Node) -> Node | None:
    """log Σ exp(x) = m + log Σ exp(x − m), m = max x constant to differentiation (the terms in m' cancel)."""
    (total,) = node.args
    op = total.op
    if type(op) is not Reduce or op.kind != "sum" or node.dtype.kind != "f":
        return None
    (terms,) = total.args
    if scalar_name(terms) != "exp" or _is_shifted(terms.args[0]) or 0 in terms.shape:
        return None
    (x,) = terms.args
    largest = make(Stop(), (make(Reduce("max", op.axes), (x,)),))
    shift = apply("where", NODES.isfinite(largest), largest, 0.0)  # −inf everywhere: the sum is 0, not NaN
    kept = tuple(a for a in range(len(x.shape)) if a not in op.axes)
    repeated = broadcast(shift, x.shape, kept) if kept else shift
    return shift + NODES.log(make(op, (NODES.exp(x - repeated),)))


def _is_shifted(x: Node) -> bool:
    """Whether the largest element was subtracted already."""
    if scalar_name(x) != "sub":
        return False
    m = x.args[1]
    for _ in range(6):
        if type(m.op) is Reduce:
            return m.op.kind == "max"
        if type(m.op) in (Broadcast, Reshape, Stop):
            m = m.args[0]
        elif scalar_name(m) == "where":
            m = m.args[1]
        else:
            return False
    return False


# --- log of products ----------------------------------------------------------------------------------------

_FACTORS: Final = 8


@on("log")
def log_of_exponential_factor(node: Node) -> Node | None:
    """log(a·exp(b)) = log a + b: no underflow, and the same NaN, for a has the sign of the product."""
    if node.dtype.kind != "f" or scalar_name(node.args[0]) not in ("mul", "div"):
        return None
    exponents: list[Node] = []
    above: list[Node] = []
    below: list[Node] = []
    stack = [(node.args[0], True)]
    while stack:
        factor, up = stack.pop()
        name = scalar_name(factor)
        if len(above) + len(below) + len(stack) > _FACTORS:
            return None
        if name == "exp":
            exponents.append(factor.args[0] if up else -factor.args[0])
        elif name == "mul":
            stack.extend((a, up) for a in reversed(factor.args))
        elif name == "div":
            stack.extend([(factor.args[1], not up), (factor.args[0], up)])
        else:
            (above if up else below).append(factor)
    if not exponents:
        return None
    total = _combined("add", exponents)
    assert total is not None
    rest, divisor = _combined("mul", above), _combined("mul", below)
    if rest is None:
        logarithm = None if divisor is None else -NODES.log(divisor)
    else:
        logarithm = NODES.log(rest if divisor is None else rest / divisor)
    return fitted(total if logarithm is None else logarithm + total, node)


def _combined(name: str, terms: list[Node]) -> Node | None:
    """The terms under one operation, those of rank 0 first: they meet outside the loops over elements."""
    result = None
    for term in sorted(terms, key=lambda t: len(t.shape)):
        result = term if result is None else apply(name, result, term)
    return result


STABLE: Final = Table([log_sum_exp, log_of_exponential_factor]) + LOGARITHMS + EXPONENTIALS + DIFFERENCES
"""All rules that make an expression more accurate."""
