"""Derivatives of the digamma function for lanes: a function for each order, a number in the program."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

from chainrule.codegen.vecmath_lanes import Float, M, Ops, V, horner, select, select_rare
from chainrule.codegen.vecmath_trig import sin_cos_pi

BERNOULLI: Final = (
    Fraction(1, 6), Fraction(-1, 30), Fraction(1, 42), Fraction(-1, 30), Fraction(5, 66),
    Fraction(-691, 2730), Fraction(7, 6), Fraction(-3617, 510), Fraction(43867, 798), Fraction(-174611, 330),
)  # fmt: skip
"""B₂, B₄, …, B₂₀."""


@functools.cache
def polygamma(order: int) -> Callable[[Ops[Any, Any], Any], Any]:
    """What emits ψ⁽ⁿ⁾(x), the n-th derivative of digamma, for a fixed order n ≥ 1, as `vecmath.FUNCTIONS` do.

    For x > 0 within a few ulp: (−1)ⁿ⁺¹ n! ζ(n+1, x), a sum of terms of one sign. Raises ValueError for n < 1
    or n > 100.
    """
    if not 1 <= order <= 100:
        raise ValueError(
            f"polygamma of order {order}: compiled code has the orders 1 to 100 (digamma is order 0)"
        )
    reflected = _reflected(order)

    def emit(b: Ops[V, M], x: V) -> V:
        given = Float(b, x)
        negative = given < 0.0
        y = _zeta_form(order, select(negative, 1.0 - given, given))
        (result,) = select_rare(negative, reflected, (given, y), (y,))
        value: Any = result.value
        return value  # type: ignore[no-any-return]

    return emit


def _zeta_form(order: int, x: Float) -> Float:
    """(−1)ⁿ⁺¹ n! ζ(n+1, x) for x ≥ 0: some terms of Σ (x+k)⁻ˢ, Euler and Maclaurin's formula for the rest."""
    s = order + 1
    terms = 10 + s  # so far out that the asymptotic series has converged to the last bit
    reciprocal = 1.0 / (x + float(terms))
    # a¹⁻ˢ (1/(s−1) + 1/(2a) + Σ B₂ⱼ s(s+1)…(s+2j−2)/(2j)! a⁻²ʲ)
    factors = [float(b * _rising(s, 2 * j - 1) / math.factorial(2 * j)) for j, b in enumerate(BERNOULLI, 1)]
    square = reciprocal * reciprocal
    series = 1.0 / (s - 1) + (0.5 * reciprocal + square * horner(square, factors))
    total = _power(reciprocal, s - 1) * series
    for k in range(terms - 1, 0, -1):  # from the smallest
        total = total + _power(1.0 / (x + float(k)), s)
    total = total + _power(1.0 / x, s)
    return float((-1) ** s * math.factorial(order)) * total


def _rising(start: int, count: int) -> int:
    return math.prod(range(start, start + count))


def _power(x: Float, exponent: int) -> Float:
    """xⁿ for n ≥ 1 by squaring."""
    result: Float | None = None
    while True:
        if exponent & 1:
            result = x if result is None else result * x
        exponent >>= 1
        if not exponent:
            assert result is not None
            return result
        x = x * x


def _reflected(order: int) -> Callable[..., tuple[Any, ...]]:
    """ψ⁽ⁿ⁾(x) = (−1)ⁿ ψ⁽ⁿ⁾(1−x) − π dⁿ/dxⁿ cot(πx), for negative x; the derivative is a polynomial in the
    cotangent.
    """
    coefficients = _cotangent_derivative(order)
    parity = order + 1  # of the polynomial: its powers are all even or all odd
    factors = [-(math.pi ** (order + 1)) * c for c in coefficients[parity % 2 :: 2]]

    def rare(b: Ops[V, M], x: V, of_one_minus_x: V) -> tuple[V, ...]:
        _, sine, cosine = sin_cos_pi(Float(b, x))
        cotangent = cosine / sine
        polynomial = horner(cotangent * cotangent, factors)
        if parity % 2:
            polynomial = polynomial * cotangent
        value: Any = (float((-1) ** order) * Float(b, of_one_minus_x) + polynomial).value
        return (value,)

    rare.__name__ = f"polygamma{order}_reflected"  # what an emitter calls the function it makes of it
    return rare


def _cotangent_derivative(order: int) -> list[int]:
    """Coefficients, lowest power of c first, of dⁿ c/dxⁿ for c = cot x: each step is P ↦ −(1 + c²) P′."""
    polynomial = [0, 1]
    for _ in range(order):
        derivative = [k * p for k, p in enumerate(polynomial)][1:]
        polynomial = [0] * (len(derivative) + 2)
        for k, p in enumerate(derivative):
            polynomial[k] -= p
            polynomial[k + 2] -= p
    return polynomial
