"""Monomials: number · ∏ atomᵖ, the currency of the normal form.

An atom is what the form does not look into: an input, a function of monomials, a sum of monomials,
a reduction. Atoms are numbered in the order in which the graph, read from its outputs, needs them:
the order depends on the structure alone, and what an atom is made of has smaller numbers. Atoms of
rank 0 in a product of arrays are its invariant coefficient.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, Final, NamedTuple, final

from chainrule.graph.node import Node
from chainrule.graph.op import Contract, Op, Reduce, Scalar

Factors = tuple[tuple[int, int], ...]  # (atom, power), ascending, no power 0

MOST_FACTORS: Final = 12  # different atoms in a product; a longer one becomes an atom
# primitives whose result is rounded, so that one need not care for its last bit
ROUNDED: Final = frozenset([
    "mul", "div", "sqrt", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "pow", "sin", "cos", "tan",
    "sinh", "cosh", "tanh", "sech", "expit", "erf", "erfc", "atan",
])  # fmt: skip


class Monomial(NamedTuple):
    """``number`` times the product of the powers of ``factors``."""

    number: float
    factors: Factors


ONE: Final = Monomial(1.0, ())


@final
class Atom:
    """``op`` applied to monomials; a sum of ``args`` if ``op`` is None.

    ``node`` is a node of the old graph that it is (None for sums), ``type`` its type. ``rounded``:
    its value carries the error of a rounding, in contrast to an input, or a difference that may be
    exact.
    """

    __slots__ = ("args", "array", "node", "number", "op", "rounded", "type")

    def __init__(
        self, number: int, op: Op | None, args: tuple[Monomial, ...], node: Node | None, type: Any
    ) -> None:
        self.number, self.op, self.args, self.node, self.type = number, op, args, node, type
        self.array = not isinstance(type, tuple) and bool(type.shape)
        match op:
            case Scalar(name):
                self.rounded = name in ROUNDED
            case _:
                self.rounded = isinstance(op, (Reduce, Contract))


@final
class Atoms:
    """The atoms of one graph, interned, and arithmetic on the monomials of them.

    ``limits``: the smallest and the largest number that a coefficient may be.
    """

    def __init__(self, limits: tuple[float, float]) -> None:
        self.all: list[Atom] = []
        self._smallest, self._largest = limits
        self._known: dict[Hashable, Monomial] = {}
        self._roots: dict[int, Monomial] = {}  # number of an atom √m → m
        self._root_of: dict[int, int] = {}  # number of an atom a → number of √a

    def atom(self, op: Op, args: tuple[Monomial, ...], node: Node) -> Monomial:
        """The atom ``op(args)`` as a monomial; ``node`` tells shapes and element types."""
        key = (op, args, node.type, *[a.type for a in node.args])
        return self._known.get(key) or self._new(key, op, args, node, node.type)

    def sum(self, terms: tuple[Monomial, ...], type: Any) -> Monomial:
        """The sum of ``terms``, in this order if it is new."""
        key = (type.dtype, type.shape, tuple(sorted(terms, key=lambda t: (t.factors, t.number))))
        return self._known.get(key) or self._new(key, None, terms, None, type)

    def _new(
        self, key: Hashable, op: Op | None, args: tuple[Monomial, ...], node: Node | None, type: Any
    ) -> Monomial:
        atom = Atom(len(self.all), op, args, node, type)
        self.all.append(atom)
        if isinstance(op, Scalar) and op.name == "sqrt":
            self._roots[atom.number] = args[0]
            number, factors = args[0]
            if number == 1 and len(factors) == 1 and factors[0][1] == 1:
                self._root_of[factors[0][0]] = atom.number
        elif op is None:
            atom.rounded = all(map(self.is_rounded, args))
        found = self._known[key] = Monomial(1.0, ((atom.number, 1),))
        return found

    def is_safe(self, number: float) -> bool:
        """Whether a number is a normal float of the narrowest type in the graph, so that it carries all its digits."""
        return self._smallest <= abs(number) <= self._largest

    def times(self, x: Monomial, y: Monomial) -> Monomial | None:
        """x·y; None if the number leaves the range of normal floats, or there are too many factors."""
        number = x.number * y.number
        if not self.is_safe(number):
            return None
        if not x.factors or not y.factors:
            return Monomial(number, x.factors or y.factors)
        powers = dict(x.factors)
        for atom, power in y.factors:
            powers[atom] = powers.get(atom, 0) + power
        roots = self._roots and [a for a in powers if a in self._roots]
        if roots:
            return self._without_squares_of_roots(number, powers, sorted(roots))
        if len(powers) > MOST_FACTORS:
            return None
        return Monomial(number, tuple(sorted([item for item in powers.items() if item[1]])))

    def _without_squares_of_roots(
        self, number: float, powers: dict[int, int], roots: list[int]
    ) -> Monomial | None:
        """√m·√m is m, and m/√m is √m."""
        rest = ONE
        for root in roots:
            whole = int(powers[root] / 2)  # towards zero
            powers[root] -= 2 * whole
            squared = self.power(self._roots[root], whole)
            product = squared and _disjoint_times(rest, squared)
            if product is None:
                return None
            rest = product
        for atom, power in rest.factors:
            powers[atom] = powers.get(atom, 0) + power
        for atom in sorted(powers):
            half = self._root_of.get(atom)
            if half is not None and powers.get(half, 0) * powers[atom] < 0:
                sign = 1 if powers[atom] > 0 else -1
                powers[half], powers[atom] = sign, powers[atom] - sign
        if len(powers) > MOST_FACTORS:
            return None
        return Monomial(number * rest.number, tuple(sorted([item for item in powers.items() if item[1]])))

    def power(self, x: Monomial, exponent: int) -> Monomial | None:
        """xⁿ for a whole number n of any sign; None as for ``times``."""
        try:
            number = x.number**exponent
        except (OverflowError, ZeroDivisionError):
            return None
        if not self.is_safe(number):
            return None
        if exponent == 0:
            return ONE
        return Monomial(number, tuple([(a, p * exponent) for a, p in x.factors]))

    def split(self, x: Monomial) -> tuple[Monomial, Factors]:
        """The invariant coefficient (number and atoms of rank 0), and the factors that are arrays."""
        arrays = self.all
        coefficient = tuple([f for f in x.factors if not arrays[f[0]].array])
        if len(coefficient) == len(x.factors):
            return x, ()
        return Monomial(x.number, coefficient), tuple([f for f in x.factors if arrays[f[0]].array])

    def is_rounded(self, x: Monomial) -> bool:
        """Whether the value is not exact anyway, so that a sum with it may be taken in another order."""
        if len(x.factors) != 1:
            return bool(x.factors)
        ((atom, power),) = x.factors
        return power != 1 or abs(math.frexp(x.number)[0]) != 0.5 or self.all[atom].rounded


def _disjoint_times(x: Monomial, y: Monomial) -> Monomial:
    powers = dict(x.factors)
    for atom, power in y.factors:
        powers[atom] = powers.get(atom, 0) + power
    return Monomial(x.number * y.number, tuple(sorted(powers.items())))


def common_factors(x: Factors, y: Factors) -> Factors:
    """The factors that both products have, with the smaller power; powers of different sign have nothing in common."""
    other = dict(y)
    found = []
    for atom, power in x:
        second = other.get(atom, 0)
        if power > 0 < second:
            found.append((atom, min(power, second)))
        elif power < 0 > second:
            found.append((atom, max(power, second)))
    return tuple(found)


def without(x: Factors, y: Factors) -> Factors:
    """The product x divided by the product y."""
    if not y:
        return x
    powers = dict(x)
    for atom, power in y:
        powers[atom] = powers.get(atom, 0) - power
    return tuple(sorted([item for item in powers.items() if item[1]]))
