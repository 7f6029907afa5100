"""The normal form: products are (invariant coefficient)·∏ atomᵖ, equal addends merge, coefficients leave sums.

The graph is read into monomials (``monomial``), on which this algebra is a matter of adding
exponents, and written again so that what depends on parameters only is computed apart, every
subproduct and every reciprocal once (``products``). The result stands if it costs less than what
was there.

What it may do to the floats. Products are taken in another order, invariant factors first: a few
roundings, and a product of extreme factors may overflow, or lose digits as a denormal number, where
the program's did not. It cannot where n factors multiplied lie within 1e±(300/n): four within 1e±75
(1e±9 in float32). That is promised, and no more, for a program that leaves this range is rare, and
what would hold without it is dear: (x − μ)²·(−1/(2σ²)) would take a multiplication an event more
each time, and a test of the coefficients, once per call, a second program beside it to be compiled.
Equal factors cancel, so that a
removable singularity goes (x²/x at 0). Beyond that nothing becomes singular: a divisor b·c is
formed only where the program formed it, and powers of opposite sign are never factored out.
Differences are left alone: a sum is an atom, its square the square of an atom, Σ(x−μ)² stays.
Addends change places only among addends that carry a rounding error anyway; inputs, constants and
differences of them, which may be exact, keep their places, and what would cancel as a whole (x − x)
stays to cancel at run time.

Left alone on purpose: exp(a)·exp(b), for the rounding error of a + b is magnified |a + b| times;
log(c·f), for log c + log f cancels where the product is near 1; Σ(a + b), for the sums may cancel
where the elements do not; a choice (``where``), for the masked branch may be singular; integers and
complex numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, final
from weakref import WeakKeyDictionary

import numpy as np

from chainrule.graph.cost import graph_cost, node_cost
from chainrule.graph.dim import Shape
from chainrule.graph.node import Graph, Node, const_value
from chainrule.graph.op import Broadcast, Call, Cond, Const, Contract, Loop, Op, Reduce, Scalar, Type

from .monomial import ONE, Atom, Atoms, Factors, Monomial, common_factors, without
from .products import Writer

_LARGEST_POWER: Final = 8
_MOST_TERMS: Final = 8  # terms of sums that are merged
_FEW_SUMS: Final = 14  # sums that one loop holds in registers
_WORTH: Final = 1e-9  # the relative gain from which on another form is better


def normal_form(graph: Graph) -> Graph:
    """``graph`` in normal form if that is cheaper, else itself; bodies of loops and branches each by themselves."""
    return _normal(graph, {})


def _normal(graph: Graph, done: dict[Graph, Graph]) -> Graph:
    found = done.get(graph)
    if found is None:
        found = Reader(graph, done).written()
        if not cheaper(found, graph):
            found = graph
        if sums_carried(found) > _FEW_SUMS:
            gathered = Reader(found, done, gather=True).written()
            if cheaper(gathered, found):
                found = gathered
        done[graph] = found
    return found


def cheaper(new: Graph, old: Graph) -> bool:
    """Whether ``new`` takes fewer operations than ``old``."""
    if new == old:
        return False
    return operations(new) < operations(old) * (1 - _WORTH)


def operations(graph: Graph) -> float:
    """The operations of a graph; a sum that its loop cannot hold in registers costs a load and a store more."""
    known = _costs.get(graph)
    if known is None:
        known = _costs[graph] = _operations(graph)
    return known


_costs: Final[WeakKeyDictionary[Graph, float]] = WeakKeyDictionary()  # graphs are compared more than once


def _operations(graph: Graph) -> float:
    many: dict[Shape, list[float]] = {}
    for node in graph.nodes:
        if isinstance(node.op, Reduce):
            many.setdefault(node.args[0].shape, []).append(node_cost(node, {}).operations)
    return graph_cost(graph).operations + sum(2 * sum(costs[_FEW_SUMS:]) for costs in many.values())


def sums_carried(graph: Graph) -> int:
    """How many reductions there are."""
    return sum(isinstance(n.op, Reduce) for n in graph.nodes)


@final
class Reader:
    """Reads a graph into monomials."""

    def __init__(self, graph: Graph, bodies: dict[Graph, Graph], gather: bool = False) -> None:
        self.graph = graph
        self.gather = gather
        self.bodies = bodies
        self.atoms = Atoms(min((_limits(n) for n in graph.nodes), key=lambda t: t[1], default=_limits(None)))
        self.values: dict[Node, Monomial] = {}
        self.uses: dict[Node, int] = dict.fromkeys(graph.outputs, 2)  # how often a node is wanted
        for node in graph.nodes:
            for a in node.args:
                self.uses[a] = self.uses.get(a, 0) + 1
        self.private: set[int] = set()  # sums that are wanted in one place
        self.first_new = 0  # the first atom that is not older than the sum being read
        self.divisors: set[Factors] = set()  # what the program divides by

    def written(self) -> Graph:
        """The graph of the normal form."""
        for node in self.graph.nodes:
            self.values[node] = self.monomial(node)
        outputs = [(self.values[o], o.type) for o in self.graph.outputs]
        writer = Writer(self.atoms, self.divisors)
        nodes = writer.write(outputs)
        provenance: dict[Node, Any] = {}
        for node, where in self.graph.provenance.items():
            new = node in self.values and writer.known(self.values[node], node.type)
            if new:
                provenance.setdefault(new, where)
        return self.graph.replace(nodes, provenance)

    def monomial(self, node: Node) -> Monomial:
        """A node as a monomial, its arguments being read."""
        op, values = node.op, self.values
        if isinstance(node.type, tuple) or node.dtype.kind != "f":
            return self.atom(node)
        match op:
            case Scalar("mul"):
                found = self.atoms.times(values[node.args[0]], values[node.args[1]])
            case Scalar("div"):
                found = self.quotient(values[node.args[0]], values[node.args[1]])
            case Scalar("add"):
                found = self.sum(node, 1.0)
            case Scalar("sub"):
                found = self.sum(node, -1.0)
            case Scalar("neg"):
                number, factors = values[node.args[0]]
                found = Monomial(-number, factors)
            case Scalar("square"):
                found = self.atoms.power(values[node.args[0]], 2)
            case Scalar("reciprocal"):
                found = self.quotient(ONE, values[node.args[0]])
            case Scalar("pow"):
                found = self.power(node)
            case Const():
                found = self.number(node)
            case Broadcast() if not node.args[0].shape:
                found = values[node.args[0]]
            case Reduce("sum") | Contract():
                found = self.linear(node)
            case _:
                found = None
        return self.atom(node) if found is None else found

    def atom(self, node: Node) -> Monomial:
        """The op of a node applied to monomials."""
        op: Op = node.op
        match op:
            case Loop(body=body, predicate=predicate):
                op = replace(
                    op,
                    body=_normal(body, self.bodies),
                    predicate=predicate and _normal(predicate, self.bodies),
                )
            case Cond(branches):
                op = Cond(tuple(_normal(b, self.bodies) for b in branches))
            case Call(body, key):
                op = Call(_normal(body, self.bodies), key)
        return self.atoms.atom(op, tuple([self.values[a] for a in node.args]), node)

    def number(self, node: Node) -> Monomial | None:
        """Scalar constants that are normal numbers are part of the coefficient, others are atoms."""
        value = const_value(node)
        if value is None or not self.atoms.is_safe(value):
            return None
        return Monomial(value, ())

    def quotient(self, x: Monomial, y: Monomial) -> Monomial | None:
        inverse = self.atoms.power(y, -1)
        found = inverse and self.atoms.times(x, inverse)
        if found is not None and y.factors:
            coefficient, arrays = self.atoms.split(y)
            for part in (coefficient.factors, arrays):
                if len(part) > 1 and all(power > 0 for _, power in part):
                    self.divisors.add(part)
        return found

    def power(self, node: Node) -> Monomial | None:
        exponent = const_value(node.args[1])
        if exponent is None or not 0 < abs(exponent) <= _LARGEST_POWER or exponent != int(exponent):
            return None
        return self.atoms.power(self.values[node.args[0]], int(exponent))

    def linear(self, node: Node) -> Monomial | None:
        """Coefficients leave sums and contractions."""
        outside: Monomial | None = ONE
        inside = []
        for a in node.args:
            coefficient, arrays = self.atoms.split(self.values[a])
            outside = outside and self.atoms.times(outside, coefficient)
            inside.append(Monomial(1.0, arrays))
        found = self.atoms.atom(node.op, tuple(inside), node)
        if self.gather and isinstance(node.op, Reduce) and self.uses[node] == 1:
            self.private.add(found.factors[0][0])
        return outside and self.atoms.times(outside, found)

    def gathered(self, terms: list[Monomial], kind: Type) -> list[Monomial]:
        """Σa·c + Σb·d as Σ(a·c + b·d), for reductions that are wanted here only."""
        found: list[Monomial] = []
        groups: dict[object, list[tuple[Monomial, Atom]]] = {}
        for term in terms:
            reduced = [a for a, p in term.factors if p == 1 and a in self.private and self.atoms.all[a].node]
            if len(reduced) != 1:
                found.append(term)
                continue
            atom = self.atoms.all[reduced[0]]
            assert atom.node is not None
            coefficient = Monomial(term.number, without(term.factors, ((atom.number, 1),)))
            groups.setdefault((atom.op, atom.node.args[0].type), []).append((coefficient, atom))
        for members in groups.values():
            inside: Monomial | None = None
            node = members[0][1].node
            assert node is not None
            for coefficient, atom in members:
                part = self.atoms.times(coefficient, atom.args[0])
                if part is None:
                    return terms
                inside = part if inside is None else self.total(inside, part, node.args[0].type, True)
                if inside is None:
                    return terms
            assert inside is not None
            coefficient, arrays = self.atoms.split(inside)
            new = self.atoms.atom(node.op, (Monomial(1.0, arrays),), node)
            self.private.add(new.factors[0][0])
            product = self.atoms.times(coefficient, new)
            if product is None:
                return terms
            found.append(product)
        return found

    # --- sums -------------------------------------------------------------------------------------------------

    def sum(self, node: Node, sign: float) -> Monomial | None:
        """The sum or difference of the arguments, common factors outside."""
        x, y = (self.values[a] for a in node.args)
        y = Monomial(sign * y.number, y.factors)
        alone = all(self.uses[a] == 1 for a in node.args)
        found = self.total(x, y, node.type, alone)
        if found is None:
            return None
        for atom, _ in found.factors:
            if self.atoms.all[atom].op is None and self.uses[node] == 1 and atom >= self.first_new:
                self.private.add(atom)
            else:
                self.private.discard(atom)
        return found

    def total(self, x: Monomial, y: Monomial, kind: Type, alone: bool) -> Monomial | None:
        """x + y as (common factors)·(the rest of x + the rest of y).

        Common invariants stay with the terms unless one of these gets rid of its coefficient. ``alone``: x and y are
        wanted here only. None if a number leaves its range.
        """
        atoms = self.atoms
        self.first_new = len(atoms.all)
        coefficient_x, array_x = atoms.split(x)
        coefficient_y, array_y = atoms.split(y)
        scalar_kind = Type((), kind.dtype)
        common = common_factors(array_x, array_y)
        rest_x, rest_y = without(array_x, common), without(array_y, common)
        shared = common_factors(coefficient_x.factors, coefficient_y.factors)
        left = Monomial(x.number, without(coefficient_x.factors, shared))
        right = Monomial(y.number, without(coefficient_y.factors, shared))
        if rest_x or rest_y:
            if shared and left.factors and right.factors:  # no gain in pulling them out
                left, right, shared = coefficient_x, coefficient_y, ()
            left, right = _times(left, rest_x), _times(right, rest_y)
        inner = kind if rest_x or rest_y else scalar_kind
        outside = Monomial(1.0, tuple(sorted((*shared, *common))))
        if not left.factors and not right.factors:
            return self.merged(x, y, left.number + right.number, outside, kind if array_x else scalar_kind)
        inside = self.added([left, right], inner, alone)
        return inside and atoms.times(outside, inside)

    def merged(
        self, x: Monomial, y: Monomial, number: float, factors: Monomial, kind: Type
    ) -> Monomial | None:
        """Multiples of the same; numbers, and what cancels, are added at run time."""
        if not factors.factors or not self.atoms.is_safe(number):
            return self.atoms.sum((x, y), kind)
        return Monomial(number, factors.factors)

    def added(self, terms: list[Monomial], kind: Type, alone: bool) -> Monomial | None:
        """An atom for the sum of terms that have nothing in common, with a canonical sign."""
        if alone:
            terms = self.spliced(terms, kind)
            if self.gather and not kind.shape:
                terms = self.gathered(terms, kind)
        number = 1.0
        sizes = {abs(t.number) for t in terms}
        if len(sizes) == 1:
            number = sizes.pop()
        if min(terms, key=lambda t: t.factors).number < 0:
            number = -number
        if number != 1:
            terms = [Monomial(t.number / number, t.factors) for t in terms]
        if len(terms) == 1:
            return Monomial(terms[0].number * number, terms[0].factors)
        return self.atoms.times(Monomial(number, ()), self.atoms.sum(tuple(terms), kind))

    def spliced(self, terms: list[Monomial], kind: Type) -> list[Monomial]:
        """The terms with the terms of sums among them, equal ones merged, if these carry rounding errors anyway.

        In a sum of arrays the addends of rank 0 may be exact: what they add up to is the sum less rounded terms.
        """
        longer: list[Monomial] = []
        for term in terms:
            coefficient, arrays = self.atoms.split(term) if kind.shape else (Monomial(term.number, ()), term.factors)
            inner = self.inner(arrays, kind)
            parts = [] if inner is None else [self.atoms.times(coefficient, t) for t in inner.args]
            if inner is None or None in parts or not self.is_free(coefficient, inner, kind):
                longer.append(term)
            else:
                longer.extend([p for p in parts if p is not None])
        if len(longer) == len(terms) or len(longer) > _MOST_TERMS:
            return terms
        return self.collected(longer, kind) if self.are_movable(longer, kind) else terms

    def are_movable(self, terms: Sequence[Monomial], kind: Type) -> bool:
        """Whether the terms of a sum are rounded anyway, those of rank 0 in a sum of arrays aside."""
        return all(self.atoms.is_rounded(t) for t in terms if not kind.shape or self.atoms.split(t)[1])

    def inner(self, factors: Factors, kind: Type) -> Atom | None:
        """The sum that ``factors`` is, if its terms may join another sum.

        It is wanted there only, or it is one array and an invariant: then what is added instead is another invariant.
        """
        if len(factors) != 1 or factors[0][1] != 1:
            return None
        atom = self.atoms.all[factors[0][0]]
        if atom.op is not None or not self.are_movable(atom.args, kind):
            return None
        affine = bool(kind.shape) and sum(bool(self.atoms.split(t)[1]) for t in atom.args) == 1
        return atom if affine or atom.number in self.private else None

    def is_free(self, coefficient: Monomial, inner: Atom, kind: Type) -> bool:
        """Whether it takes no multiplication more to multiply each term of a sum."""
        if abs(coefficient.number) == 1 and not coefficient.factors:
            return True
        plain = [t for t in inner.args if abs(t.number) == 1 and not self.atoms.split(t)[0].factors]
        return bool(kind.shape) and len(plain) <= 1

    def collected(self, terms: list[Monomial], kind: Type) -> list[Monomial]:
        """Terms with the same arrays in one, their coefficients added."""
        coefficients: dict[Factors, Monomial] = {}
        for term in terms:
            coefficient, arrays = (
                self.atoms.split(term) if kind.shape else (Monomial(term.number, ()), term.factors)
            )
            before = coefficients.get(arrays)
            if before is None:
                coefficients[arrays] = coefficient
                continue
            if before.factors == coefficient.factors:
                number = before.number + coefficient.number
                added = Monomial(number, before.factors) if self.atoms.is_safe(number) else None
            else:
                added = self.total(before, coefficient, Type((), kind.dtype), False)
            if added is None:
                return terms
            coefficients[arrays] = added
        return [_times(coefficient, arrays) for arrays, coefficient in coefficients.items()]


def _times(coefficient: Monomial, arrays: Factors) -> Monomial:
    return Monomial(coefficient.number, tuple(sorted((*coefficient.factors, *arrays))))


def _limits(node: Node | None) -> tuple[float, float]:
    """The smallest and the largest normal number of the type of a node."""
    narrow = node is not None and not isinstance(node.type, tuple) and node.dtype == np.float32
    found = np.finfo(np.float32) if narrow else np.finfo(np.float64)
    return float(found.tiny), float(found.max)
