"""Logarithms of powers and of choices, which need no power: log(a·bᵖ) = log a + p·log b.

Likelihoods are written as logarithms of densities, and densities are products of powers (Pareto, Weibull, gamma, beta,
Student, the tail of a Crystal Ball). The logarithm of the product takes a power and a logarithm an event, and its
derivatives guard the power's singularities; the sum of logarithms takes one logarithm and no guard, and stays finite
where the power overflows. The step is taken before differentiation.

It holds on conditions on the exponent, which is the same for all events (`holds`): the program becomes
`where(condition, log a + p·log b, log(a·bᵖ))`, and the condition chooses between versions of the loop (``versions``).
Where it is false, everything is as it was.

What it does to the floats. The terms may cancel where the product is near 1; what is lost then is a few ulp of p·log b,
no more than one ulp of p changes. As for the exponential factors (``stable``), a product of a negative a and a power
that underflows has the logarithm NaN instead of −inf, and a base of −inf is no better than any other negative one.

log(c·x) with an invariant c stays: Σ log is the logarithm of a product in the loop, where c costs one multiplication,
and log c + log x cancels where c·x is near 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from chainrule.graph.express import NODES, apply
from chainrule.graph.node import Graph, Node, const_value, make, rebuild

from .known import is_nonnegative, scalar_name, uniform
from .pattern import fitted

_MOST_FACTORS: Final = 8
_MOST_CHOICES: Final = 3  # nested ones
_LARGEST_POWER: Final = 8  # half-integer constants up to it are products and roots


def logarithms(graph: Graph) -> Graph:
    """``graph`` with the logarithms of powers written as products, of choices as choices, where that saves powers.

    >>> from chainrule.graph.dtype import FLOAT64
    >>> from chainrule.graph.node import make, scalar
    >>> from chainrule.graph.op import Input, Type
    >>> x, p = make(Input(0, 0, Type((9,), FLOAT64))), make(Input(0, 1, Type((), FLOAT64)))
    >>> print(logarithms(Graph([x.type, p.type], [scalar("log", scalar("pow", x, p))])))
    %0: float64 = input x1
    %1: float64 = floor %0
    %2: bool = lt %1 %0
    %3: float64[9] = input x0
    %4: float64[9] = log %3
    %5: float64[9] = mul %0 %4
    %6: float64[9] = pow %3 %0
    %7: float64[9] = log %6
    %8: float64[9] = where %2 %5 %7
    return %8
    """
    done = _fallbacks(graph)
    if not any(scalar_name(n) == "log" and n not in done for n in graph.nodes):
        return graph

    def visit(node: Node, args: tuple[Node, ...]) -> Node:
        new = node if args == node.args else make(node.op, args)
        if scalar_name(new) != "log" or node in done or not new.shape or new.dtype.kind != "f":
            return new
        product = _product(new.args[0])
        if product is None or not (product.powers or product.choices):
            return new
        return fitted(_logarithm(product, new), new) or new

    outputs, mapping = rebuild(graph.outputs, {}, visit)
    provenance = dict(graph.provenance)
    for node, where in graph.provenance.items():
        if node in mapping:
            provenance.setdefault(mapping[node], where)
    return graph.replace(outputs, provenance)


def _fallbacks(graph: Graph) -> set[Node]:
    """The logarithms that stand where a condition is false, or a multiple or a sum with them."""
    found: set[Node] = set()
    for node in graph.nodes:
        if scalar_name(node) == "where" and _is_condition(node.args[0]):
            level = [node.args[2]]
            for _ in range(3):
                found.update(level)
                level = [a for n in level if scalar_name(n) in ("neg", "add", "sub", "mul") for a in n.args]
    return found


def _is_condition(node: Node, depth: int = 6) -> bool:
    """Whether a condition has been made by ``holds``."""
    condition = _invariant(node)
    if condition is None or not depth:
        return False
    name, args = scalar_name(condition), condition.args
    if name in ("logical_and", "logical_or"):
        return any(_is_condition(a, depth - 1) for a in args)
    return name == "lt" and scalar_name(args[0]) == "floor" and args[0].args == args[1:]


# --- products -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Product:
    """∏ exp(exponents) · ∏ baseᵖ · ∏ choices^±1 · ∏ invariants^±1 · ∏ others^±1; ``False`` stands for −1."""

    exponents: list[Node] = field(default_factory=list)
    powers: list[tuple[Node, Node, bool]] = field(default_factory=list)  # base, p, ±1
    choices: list[tuple[Node, bool]] = field(default_factory=list)
    invariants: list[tuple[Node, bool]] = field(default_factory=list)
    others: list[tuple[Node, bool]] = field(default_factory=list)


def _product(node: Node, up: bool = True) -> _Product | None:
    """``node`` as a product; None if it has too many factors."""
    found = _Product()
    stack = [(node, up)]
    for _ in range(4 * _MOST_FACTORS):
        if not stack:
            return found
        factor, above = stack.pop()
        name = scalar_name(factor)
        invariant = _invariant(factor)
        if invariant is not None:
            found.invariants.append((invariant, above))
        elif name == "mul":
            stack.extend((a, above) for a in reversed(factor.args))
        elif name == "div":
            stack.extend([(factor.args[1], not above), (factor.args[0], above)])
        elif name == "exp":
            found.exponents.append(factor.args[0] if above else -factor.args[0])
        elif name == "pow" and _is_power(factor):
            base, exponent = factor.args
            found.powers.append((base, _invariant(exponent) or exponent, above))
        elif name == "where":
            found.choices.append((factor, above))
        else:
            found.others.append((factor, above))
    return None


def _invariant(node: Node) -> Node | None:
    """The node of rank 0 that all elements are."""
    return node if not node.shape else uniform(node)


def _is_power(node: Node) -> bool:
    """Whether it is a power with one exponent for all elements, which products and roots do not make."""
    exponent = _invariant(node.args[1])
    if exponent is None or exponent.dtype.kind != "f":
        return False
    value = const_value(exponent)
    return not isinstance(value, float) or (value % 1 != 0 and (value % 0.5 != 0 or abs(value) > _LARGEST_POWER))


# --- logarithms ---------------------------------------------------------------------------------------------


def _logarithm(product: _Product, node: Node | None, choices: int = _MOST_CHOICES) -> Node | None:
    """The logarithm of a product with a choice as a choice of logarithms, else as a sum; None where nothing is gained.

    ``node`` is the logarithm as it stands, if it does. Recursion over choices inside choices, ``choices`` at most.
    """
    if not product.choices:
        return _sum_of_logarithms(product, node)
    if len(product.choices) > 1 or product.others or not choices:
        return None
    ((choice, up),) = product.choices
    mask, *branches = choice.args
    parts = []
    for branch in branches:
        part = _product(branch, up)
        if part is None:
            return None
        part.invariants += product.invariants
        part.exponents += product.exponents
        part.powers += product.powers
        parts.append(part)
    if not any(p.powers for p in parts) and any(p.others and not p.exponents for p in parts):
        return None  # one logarithm instead of two
    first, second = (_logarithm(p, None, choices - 1) for p in parts)
    return None if first is None or second is None else apply("where", mask, first, second)


def _sum_of_logarithms(product: _Product, node: Node | None) -> Node | None:
    rest = _multiplied([*product.invariants, *product.others])
    if not product.powers:
        logarithm = None if rest is None or const_value(rest) == 1 else NODES.log(rest)
        return _added([*product.exponents, *([] if logarithm is None else [logarithm])])
    terms: list[Node] = []
    condition: Node | None = None
    for base, exponent, up in product.powers:
        terms.append((exponent if up else -exponent) * NODES.log(base))
        one = holds(base, exponent)
        condition = one if condition is None else apply("logical_and", condition, one)
    if rest is not None and const_value(rest) != 1:
        terms.append(NODES.log(rest))
    if node is None or product.exponents:
        powers = [(NODES.pow(base, exponent), up) for base, exponent, up in product.powers]
        node = NODES.log(_multiplied([*product.invariants, *product.others, *powers]))
    return _added([*product.exponents, apply("where", condition, _added(terms), node)])


def _added(terms: Sequence[Node]) -> Node | None:
    """The sum of the terms; those of rank 0 meet outside the loops over elements."""
    total: Node | None = None
    for term in sorted(terms, key=lambda t: len(t.shape)):
        total = term if total is None else total + term
    return total


def _multiplied(factors: Sequence[tuple[Node, bool]]) -> Node | None:
    """The product of the factors, invariants first; None for an empty one."""
    above: Node | None = None
    below: Node | None = None
    for factor, up in sorted(factors, key=lambda f: len(f[0].shape)):
        if up:
            above = factor if above is None else above * factor
        else:
            below = factor if below is None else below * factor
    if below is None:
        return above
    return 1 / below if above is None else above / below


# --- conditions ---------------------------------------------------------------------------------------------


def holds(base: Node, exponent: Node) -> Node:
    """The condition, of rank 0, on which bᵖ is the exponential of p·log b, and not below zero.

    For p that is no whole number both are NaN where b < 0, and both are right at b = 0 and ∞. For any other p but 0
    and ±∞ they agree where b ≥ 0, which the signs of some invariants may tell, as that of ν in 1 + z²/ν.
    """
    fractional = apply("lt", NODES.floor(exponent), exponent)  # NaN and ±∞ are not below themselves
    needed = _nonnegative_if(base)
    if needed is None:
        return fractional
    size = NODES.abs(exponent)
    whole = apply("logical_and", apply("gt", size, 0.0), apply("lt", size, float("inf")))
    for invariant in needed:
        whole = apply("logical_and", whole, apply("ge", invariant, 0.0))
    return apply("logical_or", fractional, whole)


def _nonnegative_if(node: Node, depth: int = 6) -> list[Node] | None:
    """The invariants that must not be negative so that no element of ``node`` is; None if more is needed."""
    if is_nonnegative(node):
        return []
    invariant = _invariant(node)
    if invariant is not None:
        return [invariant]
    if scalar_name(node) not in ("add", "mul", "div") or not depth:
        return None
    parts = [_nonnegative_if(a, depth - 1) for a in node.args]
    found: dict[Node, None] = {}
    for part in parts:
        if part is None:
            return None
        found.update(dict.fromkeys(part))
    return list(found)
