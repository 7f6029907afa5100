"""Floats as the numbers that they stand for: fractions, and multiples of a closed table of constants.

>>> recognised(0.5), recognised(2.5066282746310002), recognised(math.pi / 6), recognised(91.1876)
(1/2, sqrt(2)*sqrt(pi), pi/6, 227969/2500)
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from typing import Any, Final

import sympy as sp

SMALL: Final = 64  # the largest numerator and denominator of a factor of a constant
_SHORT: Final = 1000  # decimals with a denominator up to this are fractions at once


@cache
def _table() -> tuple[tuple[float, Any], ...]:
    two_pi = 2 * sp.pi
    entries = (
        sp.pi, sp.sqrt(sp.pi), sp.sqrt(two_pi), sp.log(two_pi), sp.sqrt(2), sp.log(2), sp.E,
        1 / sp.pi, 1 / sp.sqrt(sp.pi), 1 / sp.sqrt(two_pi),
    )  # fmt: skip
    return tuple((float(sp.N(e, 30)), e) for e in entries)


def recognised(value: Any) -> Any:
    """The exact number that a Python number stands for; floats that are none of the table's are their decimals."""
    if isinstance(value, bool):
        return sp.true if value else sp.false
    if isinstance(value, int):
        return sp.Integer(value)
    if isinstance(value, complex):
        return recognised(value.real) + sp.I * recognised(value.imag)
    if not math.isfinite(value):
        return sp.nan if math.isnan(value) else sp.oo if value > 0 else -sp.oo
    return _real(value)


@cache
def _real(value: float) -> Any:
    decimal = Fraction(repr(value))
    if decimal.denominator <= _SHORT or len(repr(abs(value)).replace(".", "").strip("0").split("e")[0]) <= 8:
        return sp.Rational(decimal.numerator, decimal.denominator)
    tolerance = math.ulp(value)
    for number, expression in _table():
        factor = Fraction(value / number).limit_denominator(SMALL)
        if 0 < abs(factor.numerator) <= SMALL and abs(float(factor) * number - value) <= tolerance:
            return sp.Rational(factor.numerator, factor.denominator) * expression
    near = decimal.limit_denominator(SMALL)
    if abs(float(near) - value) <= tolerance:
        return sp.Rational(near.numerator, near.denominator)
    return sp.Rational(decimal.numerator, decimal.denominator)


def is_nice(value: Any) -> bool:
    """Whether a number is as readable as a name for it: small, a simple fraction or one of the table's."""
    if isinstance(value, (bool, complex)) or not math.isfinite(value):
        return True
    found = recognised(value)
    if not found.is_Rational:
        return True
    return bool(abs(found.p) <= 100 and found.q <= 12)
