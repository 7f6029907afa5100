"""Sizes: a dimension is an ``int`` or a ``Size``, a polynomial in named sizes in canonical form.

A named size is at least 2 (0 and 1 broadcast differently and always specialise), which decides most
comparisons that slicing and broadcasting need. What stays undecided is an error at trace time, not a guess.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .where import error, over_traced

SMALLEST = 2  # the least value of a named size


@dataclass(frozen=True, slots=True)
class Atom:
    """A named size (``kind == "name"``), or ``//``, ``%``, ``min``, ``max`` of two dimensions."""

    kind: str
    name: str = ""
    left: Dim = 0
    right: Dim = 0

    def __str__(self) -> str:
        if self.kind == "name":
            return self.name
        if self.kind in ("min", "max"):
            return f"{self.kind}({self.left}, {self.right})"
        return f"(({self.left}){self.kind}({self.right}))"


Monomial = tuple[Atom, ...]  # sorted by their text; () is the constant monomial


@dataclass(frozen=True, slots=True)
class Size:
    """Σ coefficient·monomial, sorted, without zero coefficients, never a plain number.

    >>> n = size("n")
    >>> str(2*n - 1), (n + 1) - n, (n*n) // n
    ('2*n-1', 1, Size(n))
    """

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, (int, Size)):
            return _with_number(operator.add, self, other)
        return _collect((*_terms(self), *_terms(other)))

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return _collect((m, -c) for m, c in self.terms)

    def __sub__(self, other: Any) -> Any:
        if not isinstance(other, (int, Size)):
            return _with_number(operator.sub, self, other)
        return self + (-other)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __truediv__(self, other: Any) -> Any:
        return _with_number(operator.truediv, self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _with_number(lambda a, b: b / a, self, other)

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, (int, Size)):
            return _with_number(operator.mul, self, other)
        return _collect(
            (tuple(sorted((*m, *k), key=str)), c * d) for m, c in self.terms for k, d in _terms(other)
        )

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return floordiv(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        return floordiv(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return remainder(self, other)

    def __rmod__(self, other: Dim) -> Dim:
        return remainder(other, self)

    def __ge__(self, other: Dim) -> bool:
        return _decided(self, other, f"{self} >= {other}")

    def __gt__(self, other: Dim) -> bool:
        return _decided(self, other + 1, f"{self} > {other}")

    def __le__(self, other: Dim) -> bool:
        return _decided(other, self, f"{self} <= {other}")

    def __lt__(self, other: Dim) -> bool:
        return _decided(other, self + 1, f"{self} < {other}")

    def __bool__(self) -> bool:
        raise over_traced(error(TypeError, f"the size {self} is not known while tracing"))

    def __int__(self) -> int:
        raise over_traced(error(TypeError, f"the size {self} is not known while tracing; pass it as a concrete number"))

    __index__ = __int__

    def __str__(self) -> str:
        text = ""
        for monomial, coefficient in self.terms:
            factors = [str(a) for a in monomial]
            if abs(coefficient) != 1 or not factors:
                factors.insert(0, str(abs(coefficient)))
            sign = "-" if coefficient < 0 else "+" if text else ""
            text += sign + "*".join(factors)
        return text

    def __repr__(self) -> str:
        return f"Size({self})"


_value: Callable[[Size], Any] | None = None


def values_by(value: Callable[[Size], Any]) -> None:
    """Sets how a size becomes a traced number, for arithmetic with what is no size: ``0.5*x.shape[0]``."""
    global _value
    _value = value


def _with_number(apply: Callable[[Any, Any], Any], size: Size, other: Any) -> Any:
    """Arithmetic of a size with a Python number; with all else it is the other's."""
    if _value is None or not isinstance(other, (int, float, complex, Size)):
        return NotImplemented
    return apply(_value(size), _value(other) if isinstance(other, Size) else other)


def _decided(a: Dim, b: Dim, asked: str) -> bool:
    """Whether a ≥ b, where every value of the named sizes gives the same answer."""
    if at_least(a, b):
        return True
    if at_least(b - 1, a):
        return False
    raise error(TypeError, f"whether {asked} is not known while tracing; pass it as a concrete number")


Dim = int | Size
Shape = tuple[Dim, ...]


def size(name: str) -> Size:
    """The named size ``name``."""
    if not name.isidentifier():
        raise ValueError(f"a size is named by an identifier, not {name!r}")
    return Size((((Atom("name", name),), 1),))


def _terms(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(dim, Size):
        return dim.terms
    return (((), dim),) if dim else ()


def _collect(terms: Iterable[tuple[Monomial, int]]) -> Dim:
    total: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        total[monomial] = total.get(monomial, 0) + coefficient
    kept = [(m, c) for m, c in total.items() if c]
    if not kept:
        return 0
    if len(kept) == 1 and kept[0][0] == ():
        return kept[0][1]
    # higher degree first, the constant last, names in order: 2*n-1
    return Size(tuple(sorted(kept, key=lambda t: (-len(t[0]), tuple(map(str, t[0]))))))


def _compound(kind: str, left: Dim, right: Dim) -> Size:
    return Size((((Atom(kind, "", left, right),), 1),))


def floordiv(a: Dim, b: Dim) -> Dim:
    """a // b, exact where the polynomial division is."""
    if b == 0:
        raise ZeroDivisionError(f"the size {a} divided by 0")
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if b == 1 or a == 0:
        return a
    exact = _divide(a, b)
    return _compound("//", a, b) if exact is None else exact


def _divide(a: Dim, b: Dim) -> Dim | None:
    divisor = _terms(b)
    if len(divisor) != 1:
        return 1 if a == b else None
    monomial, coefficient = divisor[0]
    result = []
    for m, c in _terms(a):
        rest = list(m)
        for atom in monomial:
            if atom not in rest:
                return None
            rest.remove(atom)
        if c % coefficient:
            return None
        result.append((tuple(rest), c // coefficient))
    return _collect(result)


def remainder(a: Dim, b: Dim) -> Dim:
    if b == 0:
        raise ZeroDivisionError(f"the size {a} modulo 0")
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if b == 1 or _divide(a, b) is not None:
        return 0
    return _compound("%", a, b)


def lower_bound(dim: Dim) -> int | None:
    """A number that ``dim`` is never below, or None where none follows from the canonical form."""
    total = 0
    for monomial, coefficient in _terms(dim):
        if monomial and coefficient < 0:
            return None
        least = 1
        for atom in monomial:
            bound = _atom_bound(atom)
            if bound is None:
                return None
            least *= bound
        total += coefficient * least
    return total


def _atom_bound(atom: Atom) -> int | None:
    if atom.kind == "name":
        return SMALLEST
    left, right = lower_bound(atom.left), lower_bound(atom.right)
    if atom.kind == "max":
        known = [b for b in (left, right) if b is not None and b >= 0]
        return max(known) if known else None
    if left is None or right is None or left < 0 or right < (0 if atom.kind == "min" else 1):
        return None
    return min(left, right) if atom.kind == "min" else 0


def at_least(a: Dim, b: Dim) -> bool:
    """Whether a ≥ b follows; False means "does not follow"."""
    bound = lower_bound(a - b)
    return bound is not None and bound >= 0


def minimum(a: Dim, b: Dim) -> Dim:
    if at_least(a, b):
        return b
    return a if at_least(b, a) else _compound("min", a, b)


def maximum(a: Dim, b: Dim) -> Dim:
    if at_least(a, b):
        return a
    return b if at_least(b, a) else _compound("max", a, b)


def evaluate(dim: Dim, sizes: Mapping[str, int]) -> int:
    """The number that ``dim`` is for given named sizes."""
    if isinstance(dim, int):
        return dim
    total = 0
    for monomial, coefficient in dim.terms:
        product = coefficient
        for atom in monomial:
            product *= _evaluate_atom(atom, sizes)
        total += product
    return total


def _evaluate_atom(atom: Atom, sizes: Mapping[str, int]) -> int:
    if atom.kind == "name":
        return sizes[atom.name]
    a, b = evaluate(atom.left, sizes), evaluate(atom.right, sizes)
    match atom.kind:
        case "//":
            return a // b
        case "%":
            return a % b
        case "min":
            return min(a, b)
        case _:
            return max(a, b)


def names(dim: Dim) -> tuple[str, ...]:
    """The named sizes in ``dim``, in order of first appearance."""
    found: dict[str, None] = {}
    for monomial, _ in _terms(dim):
        for atom in monomial:
            if atom.kind == "name":
                found[atom.name] = None
            else:
                found.update(dict.fromkeys((*names(atom.left), *names(atom.right))))
    return tuple(found)


def substitute(dim: Dim, sizes: Mapping[str, Dim]) -> Dim:
    """``dim`` with named sizes replaced by other dimensions."""
    total: Dim = 0
    for monomial, coefficient in _terms(dim):
        product: Dim = coefficient
        for atom in monomial:
            product = product * _substitute_atom(atom, sizes)
        total = total + product
    return total


def _substitute_atom(atom: Atom, sizes: Mapping[str, Dim]) -> Dim:
    if atom.kind == "name":
        return sizes.get(atom.name, size(atom.name))
    a, b = substitute(atom.left, sizes), substitute(atom.right, sizes)
    match atom.kind:
        case "//":
            return floordiv(a, b)
        case "%":
            return remainder(a, b)
        case "min":
            return minimum(a, b)
        case _:
            return maximum(a, b)


def product(shape: Iterable[Dim]) -> Dim:
    """The number of elements of an array of this shape."""
    total: Dim = 1
    for dim in shape:
        total = total * dim
    return total


def show(shape: Shape) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def broadcast(*shapes: Shape) -> Shape:
    """NumPy's broadcast of shapes (``ValueError`` where they do not match or cannot be told).

    >>> broadcast((3, 1), (4,))
    (3, 4)
    """
    rank = max(map(len, shapes), default=0)
    result: list[Dim] = []
    for axis in range(-rank, 0):
        dim: Dim = 1
        for shape in shapes:
            if -axis > len(shape) or shape[axis] == 1 or shape[axis] == dim:
                continue
            if dim != 1:
                listed = " and ".join(map(show, shapes))
                hint = ""
                if isinstance(dim, Size) or isinstance(shape[axis], Size):
                    hint = f" ({dim} and {shape[axis]} may differ: give equal sizes the same name)"
                raise ValueError(f"shapes {listed} do not broadcast{hint}")
            dim = shape[axis]
        result.append(dim)
    return tuple(result)
