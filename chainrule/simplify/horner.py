"""Horner's scheme: c₀ + c₁·x + c₂·x² + … as c₀ + x·(c₁ + x·(c₂ + …)), one fused multiply-add a power.

A polynomial is a sum whose addends are (coefficient)·xᵏ, each power of x once. In a sum of arrays the coefficients are
numbers and other nodes of rank 0; in a sum of rank 0 they are anything.

What it does to the floats. Written out, cₖ·xᵏ of a polynomial of degree n goes through k − 1 multiplications for the
power, one by the coefficient, and the additions after it: up to n roundings or more. In the scheme it goes through
k + 1 fused steps at most, the last addend through n. No addend is rounded more often, so that the bound of the error,
and the error where nothing cancels, is no larger. One thing the scheme would lose: that c₀ ± x cancels exactly near its
root, where the other addends are small, as in 1 − x + 1e-8·x². Where the program adds c₀ and ±2ᵐ·x first, the sum is
left as it stands unless the other addends are known to be large there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from chainrule.graph.dtype import is_float
from chainrule.graph.express import spread
from chainrule.graph.node import Graph, Node, const_value, constant, make, rebuild
from chainrule.graph.op import Call, Cond, Contract, Loop, Reduce, Scalar

from .monomial import ROUNDED
from .normal import cheaper

_MOST_FACTORS: Final = 6  # of an addend that is looked into
_MOST_POWER: Final = 64
_MOST_GROUPS: Final = 8  # unknowns whose polynomials are tried apart
_SMALL: Final = 1 / 8  # the rest of a polynomial beside what cancels, from which on nothing is lost

Factors = dict[Node, int]


@dataclass(frozen=True, slots=True)
class Term:
    """sign·∏ coefficients·xᵖᵒʷᵉʳ."""

    sign: int
    coefficients: tuple[Node, ...]
    power: int


@dataclass(frozen=True, slots=True)
class Polynomial:
    """A sum of ``terms`` in ``unknown``, ascending powers."""

    unknown: Node
    terms: tuple[Term, ...]


def horner(graph: Graph) -> Graph:
    """``graph`` with polynomials as Horner's scheme where that is cheaper, in bodies of loops and branches too.

    >>> from chainrule.graph.dtype import FLOAT64
    >>> from chainrule.graph.op import Input, Type
    >>> x = make(Input(0, 0, Type((), FLOAT64)))
    >>> print(horner(Graph([x.type], [3.0 + 0.7 * x + 5.0 * (x * x)])))
    %0: float64 = const 3.0
    %1: float64 = const 0.7
    %2: float64 = const 5.0
    %3: float64 = input x0
    %4: float64 = mul %2 %3
    %5: float64 = add %1 %4
    %6: float64 = mul %5 %3
    %7: float64 = add %0 %6
    return %7
    """
    return _horner(graph, {})


def _horner(graph: Graph, done: dict[Graph, Graph]) -> Graph:
    found = done.get(graph)
    if found is None:
        found = _with_bodies(graph, done)
        polynomials = _polynomials(found)
        for group in _groups(polynomials):
            trial = _rewritten(found, group)
            if cheaper(trial, found):
                found = trial
        done[graph] = found
    return found


def _with_bodies(graph: Graph, done: dict[Graph, Graph]) -> Graph:
    """Recursion over nesting only."""
    if not any(isinstance(n.op, (Loop, Cond, Call)) for n in graph.nodes):
        return graph

    def visit(node: Node, args: tuple[Node, ...]) -> Node:
        op = node.op
        match op:
            case Loop(body=body, predicate=predicate):
                op = replace(op, body=_horner(body, done), predicate=predicate and _horner(predicate, done))
            case Cond(branches):
                op = Cond(tuple(_horner(b, done) for b in branches))
            case Call(body, key):
                op = Call(_horner(body, done), key)
        return node if op == node.op and args == node.args else make(op, args)

    return _replaced(graph, rebuild(graph.outputs, {}, visit))


def _replaced(graph: Graph, new: tuple[tuple[Node, ...], dict[Node, Node]]) -> Graph:
    outputs, names = new
    provenance = dict(graph.provenance)
    for node, where in graph.provenance.items():
        if node in names:
            provenance.setdefault(names[node], where)
    return graph.replace(outputs, provenance)


# --- reading ------------------------------------------------------------------------------------------------


def _polynomials(graph: Graph) -> dict[Node, Polynomial]:
    """Sum → the polynomial that it is; the outermost of nested sums."""
    uses: dict[Node, int] = dict.fromkeys(graph.outputs, 2)
    for node in graph.nodes:
        for a in node.args:
            uses[a] = uses.get(a, 0) + 1
    factors: dict[Node, Factors] = {}
    inner: set[Node] = set()
    sums: list[Node] = []
    for node in graph.nodes:
        factors[node] = _factors(node, factors)
        if _is_sum(node):
            sums.append(node)
            inner.update([a for a in node.args if _is_sum(a) and uses[a] == 1])
    found = {}
    for node in sums:
        if node not in inner:
            polynomial = _polynomial(node, inner, factors)
            if polynomial is not None:
                found[node] = polynomial
    return found


def _is_sum(node: Node) -> bool:
    return isinstance(node.op, Scalar) and node.op.name in ("add", "sub") and is_float(node.dtype)


def _factors(node: Node, known: dict[Node, Factors]) -> Factors:
    """A node as a product of powers; in a product of arrays those of rank 0 are taken as they are."""
    if not isinstance(node.op, Scalar) or not is_float(node.dtype):
        return {node: 1}
    args = [{a: 1} if node.shape and not a.shape else known[a] for a in node.args]
    match node.op.name:
        case "mul":
            parts = args
        case "square":
            parts = [args[0], args[0]]
        case _:
            return {node: 1}
    product: Factors = {}
    for part in parts:
        for factor, power in part.items():
            product[factor] = product.get(factor, 0) + power
    if len(product) > _MOST_FACTORS or max(product.values()) > _MOST_POWER:
        return {node: 1}
    return product


def _polynomial(root: Node, inner: set[Node], factors: dict[Node, Factors]) -> Polynomial | None:
    addends: list[tuple[int, Node]] = []
    pairs: list[tuple[Node, ...]] = []  # what the program adds first
    stack = [(1, root)]
    while stack:
        sign, node = stack.pop()
        if node is root or node in inner:
            first, second = node.args
            stack.append((-sign if isinstance(node.op, Scalar) and node.op.name == "sub" else sign, second))
            stack.append((sign, first))
            if first not in inner and second not in inner:
                pairs.append(node.args)
        else:
            addends.append((sign, node))
    unknown = _unknown([factors[a] for _, a in addends], root)
    if unknown is None:
        return None
    terms: dict[int, Term] = {}
    for sign, addend in addends:
        rest = {addend: 1} if root.shape and not addend.shape else dict(factors[addend])
        power = rest.pop(unknown, 0)
        coefficients = tuple(c for c, times in rest.items() for _ in range(times))
        if power in terms or (root.shape and any(c.shape for c in coefficients)):
            return None
        terms[power] = Term(sign, coefficients, power)
    found = Polynomial(unknown, tuple(terms[p] for p in sorted(terms)))
    meet = any({factors[a].get(unknown, 0) for a in pair} == {0, 1} for pair in pairs)
    return None if meet and _may_cancel(found) else found


def _unknown(addends: Sequence[Factors], root: Node) -> Node | None:
    """What occurs in most addends, and squared in one; the first of equals."""
    counts: Factors = {}
    squared = set()
    for factors in addends:
        for factor, power in factors.items():
            if factor.shape == root.shape and const_value(factor) is None:
                counts[factor] = counts.get(factor, 0) + 1
                if power > 1:
                    squared.add(factor)
    candidates = [f for f in counts if f in squared and counts[f] > 1]
    return max(candidates, key=counts.__getitem__, default=None)


# --- accuracy -----------------------------------------------------------------------------------------------


def _may_cancel(polynomial: Polynomial) -> bool:
    """Whether c₀ + c₁·x, which the program adds first, may be exact near its root, and the rest small there."""
    constant_term, linear, *others = polynomial.terms
    if _is_rounded(polynomial.unknown) or any(map(_is_rounded, constant_term.coefficients)):
        return False
    start, slope = _number(constant_term), _number(linear)
    if abs(math.frexp(slope)[0]) != 0.5:
        return False  # c₁·x is rounded
    try:
        rest = math.fsum(_number(t) * (-start / slope) ** t.power for t in others)
    except OverflowError:
        return False
    return not abs(rest) >= _SMALL * abs(start)


def _is_rounded(node: Node) -> bool:
    op = node.op
    return op.name in ROUNDED if isinstance(op, Scalar) else isinstance(op, (Reduce, Contract))


def _number(term: Term) -> float:
    """The coefficient if it is a number, else NaN."""
    values = [const_value(c) for c in term.coefficients]
    if not all(isinstance(v, float) for v in values):
        return math.nan
    return term.sign * math.prod(v for v in values if isinstance(v, float))


# --- writing ------------------------------------------------------------------------------------------------


def _groups(polynomials: dict[Node, Polynomial]) -> Iterable[dict[Node, Polynomial]]:
    """Polynomials in the same unknown, which share its powers, together; all of them if the unknowns are many."""
    groups: dict[Node, dict[Node, Polynomial]] = {}
    for node, polynomial in polynomials.items():
        groups.setdefault(polynomial.unknown, {})[node] = polynomial
    if len(groups) > _MOST_GROUPS:
        return [polynomials]
    return groups.values()


def _rewritten(graph: Graph, polynomials: dict[Node, Polynomial]) -> Graph:
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        found = polynomials.get(node)
        if found is not None:
            new[node] = _scheme(found, node, new)
        else:
            args = tuple([new[a] for a in node.args])
            new[node] = node if args == node.args else make(node.op, args)
    return _replaced(graph, (tuple(new[o] for o in graph.outputs), new))


def _scheme(polynomial: Polynomial, root: Node, new: dict[Node, Node]) -> Node:
    """The polynomial ``root`` written again, with ``new`` nodes for old ones."""
    powers: dict[int, Node] = {1: new[polynomial.unknown]}
    *lower, top = polynomial.terms
    sign, value = _coefficient(top, new)
    before = top.power
    for term in reversed(lower):
        value = _times(_power(powers, before - term.power), value)
        other, addend = _coefficient(term, new)
        if addend is None:
            addend = constant(1.0, root.dtype)
        if sign == other:
            value = addend + value
        elif other > 0:
            sign, value = 1, addend - value
        else:
            value = value - addend
        before = term.power
    if before:
        value = _times(_power(powers, before), value)
    assert value is not None
    return spread(value if sign > 0 else -value, root.shape)


def _coefficient(term: Term, new: dict[Node, Node]) -> tuple[int, Node | None]:
    """Sign and size of a coefficient, None for 1; a number is positive."""
    sign, value = term.sign, None
    for c in term.coefficients:
        value = new[c] if value is None else value * new[c]
    number = None if value is None else const_value(value)
    if value is not None and isinstance(number, float):
        if number < 0:
            sign = -sign
        value = None if abs(number) == 1 else constant(abs(number), value.dtype)
    return sign, value


def _times(x: Node, coefficient: Node | None) -> Node:
    return x if coefficient is None else coefficient * x


def _power(powers: dict[int, Node], exponent: int) -> Node:
    """xᵏ by squaring; the recursion is as deep as k has bits."""
    found = powers.get(exponent)
    if found is None:
        found = _power(powers, exponent // 2) * _power(powers, exponent - exponent // 2)
        powers[exponent] = found
    return found
