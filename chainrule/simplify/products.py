"""From monomials back to nodes: every invariant apart, every common subproduct and every reciprocal once.

Products that occur are collected first. The pair of factors that most of them have in common
becomes a factor of its own, until no pair occurs twice: w = f·r, w·z, w·z² are one multiplication
each, and powers become addition chains.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Final, final

from chainrule.graph.express import spread
from chainrule.graph.node import Node, constant, make
from chainrule.graph.op import Scalar

from .monomial import Atom, Atoms, Factors, Monomial

Pair = tuple[int, int]
Symbols = dict[int, int]  # symbol → power; a symbol is an atom, a reciprocal, or a product of two symbols
_MOST_TRIES: Final = 8  # divisors of the program looked at for one atom


@final
class Writer:
    """Writes monomials as nodes. ``divisors``: the products by which the program divides."""

    def __init__(self, atoms: Atoms, divisors: set[Factors]) -> None:
        self.atoms = atoms
        self.divisors: dict[int, list[Factors]] = {}  # atom → products with it, the largest first
        for divisor in sorted(divisors, key=lambda d: (-len(d), d)):
            for atom, _ in divisor:
                self.divisors.setdefault(atom, []).append(divisor)
        self.products: dict[Factors, Symbols] = {}
        self.monomials: dict[Factors, set[Monomial]] = {}  # product of arrays → the monomials with it
        self.quotients: dict[Factors, int] = {}  # product → the reciprocal in it that is used nowhere else
        self.reciprocals: dict[Factors, int] = {}  # divisor → its symbol
        self.parts: list[Any] = [None] * len(atoms.all)  # symbol → divisor, or pair; None for atoms
        self.nodes: dict[int, Node] = {}  # symbol → node
        self._written: dict[tuple[Monomial, Any], Node] = {}
        self._products: dict[Factors, Node | None] = {}

    def write(self, outputs: Sequence[tuple[Monomial, Any]]) -> list[Node]:
        """The nodes of monomials, each with its type."""
        needed = self._needed([m for m, _ in outputs])
        for atom in needed:
            for m in atom.args:
                self._collect(m)
        for m, _ in outputs:
            self._collect(m)
        self._take_out_quotients()
        self._pair()
        for atom in needed:
            self.nodes[atom.number] = self._sum(atom.args, atom.type) if atom.op is None else self._op(atom)
        return [self.fitted(m, kind) for m, kind in outputs]

    def known(self, m: Monomial, kind: Any) -> Node | None:
        """What was written for a monomial, if it was."""
        return None if isinstance(kind, tuple) else self._written.get((m, kind.dtype))

    def _needed(self, roots: list[Monomial]) -> list[Atom]:
        """The atoms below, arguments first."""
        every = self.atoms.all
        wanted = bytearray(len(every))
        for m in roots:
            for a, _ in m.factors:
                wanted[a] = 1
        for number in range(len(every) - 1, -1, -1):
            if wanted[number]:
                for m in every[number].args:
                    for a, _ in m.factors:
                        wanted[a] = 1
        return [atom for atom in every if wanted[atom.number]]

    # --- the products that occur ------------------------------------------------------------------------------

    def _collect(self, m: Monomial) -> None:
        coefficient, arrays = self.atoms.split(m)
        self.monomials.setdefault(arrays, set()).add(m)
        for factors in (coefficient.factors, arrays):
            if factors and factors not in self.products:
                self._resolve(factors)

    def _resolve(self, factors: Factors) -> None:
        """A product as powers of symbols, all positive."""
        symbols = {atom: power for atom, power in factors if power > 0}
        self.products[factors] = symbols
        below = {atom: -power for atom, power in factors if power < 0}
        while below:
            divisor = self._divisor(below)
            power = max(1, min(below.get(atom, 0) // p for atom, p in divisor))
            for atom, p in divisor:
                left = below.pop(atom, 0) - p * power
                if left > 0:
                    below[atom] = left
                elif left < 0:  # 1/c = b·(1/(b·c))
                    symbols[atom] = symbols.get(atom, 0) - left
            symbol = self._reciprocal(divisor)
            symbols[symbol] = symbols.get(symbol, 0) + power

    def _divisor(self, below: Symbols) -> Factors:
        """What to divide by first: the largest divisor of the program that is below, else one atom.

        A reciprocal that is there anyway is preferred to a new one.
        """
        first = min(below)
        choices = self.divisors.get(first, ())[:_MOST_TRIES]
        for divisor in choices:
            if all(below.get(atom, 0) >= power for atom, power in divisor):
                return divisor
        alone = ((first, 1),)
        if alone not in self.reciprocals:
            for divisor in choices:
                if divisor in self.reciprocals and (first, 1) in divisor:
                    return divisor
        return alone

    def _reciprocal(self, divisor: Factors) -> int:
        symbol = self.reciprocals.get(divisor)
        if symbol is None:
            symbol = self.reciprocals[divisor] = self._symbol(divisor)
            if divisor not in self.products:
                self.products[divisor] = dict(divisor)
        return symbol

    def _symbol(self, parts: Any) -> int:
        self.parts.append(parts)
        return len(self.parts) - 1

    def _take_out_quotients(self) -> None:
        """A reciprocal that occurs once is no reciprocal: x/y."""
        places: dict[int, list[Factors]] = {}
        for factors, symbols in self.products.items():
            for symbol, power in symbols.items():
                if symbol >= len(self.atoms.all):
                    places.setdefault(symbol, []).extend([factors] * power)
        for symbol, where in places.items():
            if len(where) == 1 and where[0] not in self.quotients:
                self.quotients[where[0]] = symbol
                del self.products[where[0]][symbol]

    def _pair(self) -> None:
        """Pairs of factors that occur more than once become factors."""
        products = [p for p in self.products.values() if len(p) > 1 or max(p.values(), default=0) > 1]
        occurrences: dict[int, int] = {}
        for p in products:
            for symbol, power in p.items():
                occurrences[symbol] = occurrences.get(symbol, 0) + power
        places: dict[Pair, list[int]] = {}
        expected: dict[Pair, int] = {}
        for i, p in enumerate(products):
            frequent = sorted([s for s in p if occurrences[s] > 1])
            for k, first in enumerate(frequent):
                for second in frequent[k:]:
                    _note((first, second), p, i, places, expected)
        heap = [(-n, pair) for pair, n in expected.items() if n > 1]
        heapify(heap)
        while heap:
            n, pair = heappop(heap)
            found = sum([_times_in(products[i], *pair) for i in places[pair]])
            if found == -n:
                for new, count in self._replace(pair, products, places).items():
                    if count > 1:
                        heappush(heap, (-count, new))
            elif found > 1:
                heappush(heap, (-found, pair))

    def _replace(self, pair: Pair, products: list[Symbols], places: dict[Pair, list[int]]) -> dict[Pair, int]:
        """Makes a pair a symbol wherever it occurs. Returns the pairs with this symbol, and how often they occur."""
        symbol = self._symbol(pair)
        expected: dict[Pair, int] = {}
        for i in places.pop(pair):
            p = products[i]
            times = _times_in(p, *pair)
            if not times:
                continue
            for s in pair:
                p[s] -= times
            for s in set(pair):
                if not p[s]:
                    del p[s]
            p[symbol] = times
            for s in p:
                _note((s, symbol), p, i, places, expected)
        return expected

    # --- nodes ------------------------------------------------------------------------------------------------

    def fitted(self, m: Monomial, kind: Any) -> Node:
        """The node of a monomial with exactly this type."""
        if isinstance(kind, tuple):
            return self.nodes[m.factors[0][0]]
        return spread(self.node(m, kind.dtype), kind.shape)

    def node(self, m: Monomial, dtype: Any) -> Node:
        """The node of a monomial; of rank 0 where there is no array in it."""
        key = (m, dtype)
        found = self._written.get(key)
        if found is None:
            found = self._written[key] = self._monomial(m, dtype)
        return found

    def _monomial(self, m: Monomial, dtype: Any) -> Node:
        if m.number == -1 and len(m.factors) == 1 and m.factors[0][1] == 1:
            atom = self.atoms.all[m.factors[0][0]]
            if atom.op is None and len(atom.args) == 2 and atom.args[0].number * atom.args[1].number < 0:
                return self._sum([Monomial(-t.number, t.factors) for t in atom.args], atom.type)
        (number, invariants), arrays = self.atoms.split(m)
        coefficient = self._scaled(number, invariants, dtype)
        if not arrays:
            return constant(1.0, dtype) if coefficient is None else coefficient
        return self._quotient(coefficient, arrays, dtype)

    def _scaled(self, number: float, factors: Factors, dtype: Any) -> Node | None:
        """number·∏ factors, None for 1."""
        if not factors:
            return None if number == 1 else constant(number, dtype)
        if self._product(factors) is None:
            return self._quotient(constant(number, dtype), factors, dtype)
        node = self._quotient(None, factors, dtype)
        return node if number == 1 else -node if number == -1 else number * node

    def _quotient(self, coefficient: Node | None, factors: Factors, dtype: Any) -> Node:
        if coefficient is not None and self._may_leave_range(factors):
            above = self._multiplied(coefficient, factors)
        else:
            above = self._product(factors)
            if coefficient is not None:
                above = coefficient if above is None else coefficient * above
        divisor = self.quotients.get(factors)
        if divisor is None:
            assert above is not None
            return above
        below = self._product(self.parts[divisor])
        assert below is not None
        return (constant(1.0, dtype) if above is None else above) / below

    def _product(self, factors: Factors) -> Node | None:
        """The product of the symbols of ``factors``, without what it is divided by at last; None for 1."""
        if factors in self._products:
            return self._products[factors]
        found = self._products[factors] = self._multiplied(None, factors)
        return found

    def _multiplied(self, found: Node | None, factors: Factors) -> Node | None:
        for symbol, power in sorted(self.products[factors].items()):
            node = self._of_symbol(symbol)
            for _ in range(power):
                found = node if found is None else found * node
        return found

    def _may_leave_range(self, factors: Factors) -> bool:
        """Whether it has a power of a reciprocal that one monomial wants: c/x/x stays finite where 1/x² does not."""
        powers = self.products[factors]
        alone = len(self.monomials.get(factors, ())) < 2
        return alone and any(n > 1 and isinstance(self._parts_of(s), tuple) for s, n in powers.items())

    def _parts_of(self, symbol: int) -> Any:
        """The first factor of a divisor, which is a pair; that of a product is a symbol."""
        parts = self.parts[symbol]
        return None if parts is None else parts[0]

    def _of_symbol(self, symbol: int) -> Node:
        """The node of a symbol. Recursion over the few factors of one product only."""
        node = self.nodes.get(symbol)
        if node is None:
            parts = self.parts[symbol]
            if isinstance(parts[0], tuple):
                below = self._product(parts)
                assert below is not None
                node = constant(1.0, below.dtype) / below
            else:
                node = self._of_symbol(parts[0]) * self._of_symbol(parts[1])
            self.nodes[symbol] = node
        return node

    def _op(self, atom: Atom) -> Node:
        old, op = atom.node, atom.op
        assert old is not None and op is not None
        if type(op) is not Scalar:
            return make(op, tuple([self.fitted(m, a.type) for m, a in zip(atom.args, old.args, strict=True)]))
        args = tuple([self.node(m, a.dtype) for m, a in zip(atom.args, old.args, strict=True)])
        return spread(make(op, args), old.shape)

    def _sum(self, terms: Sequence[Monomial], kind: Any) -> Node:
        """The sum of the terms in their order, but a positive one first."""
        first = next((i for i, t in enumerate(terms) if t.number > 0), 0)
        total: Node | None = None
        for t in (terms[first], *terms[:first], *terms[first + 1 :]):
            if total is None:
                total = self.node(t, kind.dtype)
            elif t.number > 0:
                total = total + self.node(t, kind.dtype)
            else:
                total = total - self.node(Monomial(-t.number, t.factors), kind.dtype)
        assert total is not None
        return spread(total, kind.shape)


def _note(pair: Pair, p: Symbols, i: int, places: dict[Pair, list[int]], expected: dict[Pair, int]) -> None:
    """Notes that product i has a pair of its factors."""
    first, second = pair
    times = p[first] // 2 if first == second else min(p[first], p[second])
    if times:
        places.setdefault(pair, []).append(i)
        expected[pair] = expected.get(pair, 0) + times


def _times_in(p: Symbols, first: int, second: int) -> int:
    """How often a product contains a pair."""
    return p.get(first, 0) // 2 if first == second else min(p.get(first, 0), p.get(second, 0))
