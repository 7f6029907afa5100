"""Numbers such as 6.62607015e-34, which stay whole while a shorter form is looked for.

As fractions they would be multiplied with and divided by each other's huge numerators and denominators, and
exponentials of them taken for powers of a millionth root. As positive symbols they are carried along, as people do.

>>> x, T = sp.symbols("x T")
>>> R = whole(8.314)
>>> R, exact(R * x), folded(2 * R * x), folded(R * x / (2 * R)), whole(0.25)
(8.314, 4157*x/500, 16.628*x, x/2, 1/4)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import sympy as sp

from .constants import recognised
from .sums import bottom_up

Expr = Any
SIMPLE: Final = 12  # fractions of numbers up to it are fractions to people too
TENTH: Final = 1000  # so are 1/20 and 1/1000
LARGEST: Final = 10**6  # larger whole numbers are written with a power of ten
SMALLEST: Final = sp.Rational(1, 10**300)  # doubles below it have fewer digits


class Decimal(sp.Symbol):  # type: ignore[misc]
    """A positive number, by its name; a symbol to all algebra."""

    __slots__ = ()

    @property
    def exact(self) -> Any:
        """What the name says, as a fraction."""
        return sp.Rational(self.name)


def whole(value: Any) -> Expr:
    """The number that a Python number stands for: a fraction, one of the table of constants, or ± a ``Decimal``."""
    if isinstance(value, complex):
        return whole(value.real) + sp.I * whole(value.imag)
    found = recognised(value)
    if not isinstance(value, float) or not found.is_Rational or _is_simple(found):
        return found
    return _named(found) if found == sp.Rational(repr(value)) else found


def _is_simple(number: Any) -> bool:
    p, q = abs(number.p), number.q
    return bool((q == 1 and p <= LARGEST) or (p == 1 and q <= TENTH) or (q <= SIMPLE and p <= SIMPLE))


def _named(number: Any) -> Expr:
    """A fraction as ± the ``Decimal`` nearest to it, if it is not simple and a double comes near it."""
    size = abs(number)
    if _is_simple(number) or not SMALLEST < size < 1 / SMALLEST:
        return number
    named = Decimal(repr(float(size)).replace("e+", "e").removesuffix(".0"), positive=True)
    return -named if number < 0 else named


def exact(expr: Expr) -> Expr:
    """``expr`` with fractions in place of decimals."""
    found = expr.atoms(Decimal)
    return expr.xreplace({d: d.exact for d in found}) if found else expr


def is_constant(expr: Expr) -> bool:
    """Whether an expression has no symbols but decimals."""
    return bool(expr.is_number) or all(isinstance(s, Decimal) for s in expr.free_symbols)


# --- for printing -------------------------------------------------------------------------------------------


def folded(expr: Expr) -> Expr:
    """``expr`` with the numbers of each product and each sum made one, where that is shorter to read.

    A quotient becomes the decimal of the nearest double: this is how a formula is written, not what it is.
    """
    return bottom_up(expr, _folded_here) if expr.has(Decimal) else expr


def _folded_here(e: Expr) -> Expr:
    if e.is_Add:
        return _folded_sum(e)
    if isinstance(e, sp.Piecewise):
        return sp.Piecewise(*[(folded(value), folded(condition)) for value, condition in e.args])
    if e.is_Mul:
        return _taken_in(_folded_product(e))
    if e.is_Pow and e.base.is_Add and e.exp.is_Integer and e.exp.is_even:
        above, below = ([t for t in e.base.args if t.could_extract_minus_sign() is minus] for minus in (False, True))
        if all(map(is_constant, above)) and not any(map(is_constant, below)):
            return sp.Pow(-e.base, e.exp)  # (x−a)², not (a−x)²
    return e


def _folded_sum(e: Expr) -> Expr:
    """a·x + b·x as one term."""
    terms: dict[Any, list[Any]] = {}
    for term in e.args:
        _, rest = _numbers_apart(term)
        terms.setdefault(sp.Mul(*rest), []).append(term)
    if len(terms) == len(e.args):
        return e
    found = []
    for rest, same in terms.items():
        if len(same) > 1 and any(t.has(Decimal) for t in same):
            total = sp.Add(*[exact(sp.Mul(*_numbers_apart(t)[0])) for t in same])
            same = [_named(total) * rest]
        found += same
    return sp.Add(*found)


def _numbers_apart(term: Expr) -> tuple[list[Any], list[Any]]:
    """The factors of a term that are rational numbers, and the others."""
    numbers: list[Any] = []
    rest: list[Any] = []
    for factor in sp.Mul.make_args(term):
        base, exponent = factor.as_base_exp()
        is_one = factor.is_Rational or (isinstance(base, Decimal) and exponent.is_Integer)
        (numbers if is_one else rest).append(factor)
    return numbers, rest


def _folded_product(e: Expr) -> Expr:
    numbers, rest = _numbers_apart(e)
    if len(numbers) < 2 or not any(n.has(Decimal) for n in numbers):
        return e
    return sp.Mul(*min(_ways(numbers), key=_length), *rest)


def _taken_in(e: Expr) -> Expr:
    """A number and a sum as that sum of multiples, where that is shorter."""
    numbers, rest = _numbers_apart(e)
    if len(rest) != 1 or not rest[0].is_Add or not numbers or not e.has(Decimal):
        return e
    found = _folded_sum(sp.Add(*[_folded_product(sp.Mul(*numbers, term)) for term in rest[0].args]))
    return min(e, found, key=lambda form: len(str(form)))


def _ways(numbers: Sequence[Any]) -> Iterator[list[Any]]:
    """Ways of writing a product of numbers: one number, one in the denominator, one above and one below, as it is."""
    rational = sp.Mul(*[n for n in numbers if n.is_Rational])
    powers = [n for n in numbers if not n.is_Rational]
    sign = sp.Integer(1 if rational > 0 else -1)
    above = exact(sp.Mul(abs(rational.p), *[n for n in powers if n.as_base_exp()[1].is_positive]))
    below = above / abs(exact(sp.Mul(*numbers)))
    yield [sign * _named(above / below)]
    if exact(_named(below / above)) == below / above:
        yield [sign, 1 / _named(below / above)]
    yield [sign * _named(above), 1 / _named(below)]
    yield list(numbers)


def _length(numbers: Sequence[Any]) -> int:
    """About how long a product of numbers is as text."""
    total = 0
    for number in numbers:
        base, exponent = number.as_base_exp()
        if number.is_Rational:
            total += 1 + len(str(abs(number))) if abs(number) != 1 else 0
        elif base.is_Mul:  # −a
            total += 1 + len(str(abs(base.args[1])))
        else:
            total += 1 + len(str(base)) + (abs(exponent) != 1) + 2 * exponent.is_negative
    return total


def powers_joined(above: list[Any], below: list[Any]) -> tuple[list[Any], list[Any]]:
    """√a·√x/√y as √(a·x/y), for decimals a: SymPy takes positive factors out of roots and other powers."""
    for e in dict.fromkeys(f.exp for f in (*above, *below) if f.is_Pow and isinstance(f.base, Decimal)):
        if e.is_Integer:
            continue
        up, down = ([f for f in row if f.is_Pow and f.exp == e] for row in (above, below))
        if len(up) + len(down) < 2:
            continue
        base = folded(sp.Mul(*[f.base for f in up], *[1 / f.base for f in down]))
        row = above if up else below
        base = base if up else folded(1 / base)
        kept = [f for f in row if f not in (up or down)]
        joined = [*kept, sp.Pow(base, e, evaluate=False)]
        above, below = (joined, [f for f in below if f not in down]) if up else (above, joined)
    return above, below
