"""How the coefficients of `chainrule/codegen/vecmath_tables.py` were made.

Run as a script it prints that module, below its first function. Each polynomial interpolates its function at
Chebyshev nodes, in 300 bits, and is then rounded to float64. That is within a small factor of the minimax
polynomial, and any mpmath gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp

Real = Any  # mpmath has no types


def fit(f: Callable[[Real], Real], low: Real, high: Real, terms: int) -> tuple[float, ...]:
    """Monomial coefficients of the interpolant of `f` at `terms` Chebyshev nodes of [low, high]."""
    low, high = mp.mpf(low), mp.mpf(high)
    angles = [mp.pi * (2 * k + 1) / (2 * terms) for k in range(terms)]
    nodes = [(low + high) / 2 + (high - low) / 2 * mp.cos(a) for a in angles]
    vandermonde = mp.matrix(terms, terms)
    values = mp.matrix(terms, 1)
    for i, x in enumerate(nodes):
        values[i] = f(x)
        for j in range(terms):
            vandermonde[i, j] = x**j
    return tuple(float(c) for c in mp.lu_solve(vandermonde, values))


def parts(value: Real, bits: tuple[int, ...]) -> tuple[float, ...]:
    """`value` as a sum of floats of so many bits each, the last one rounded to 53."""
    out = []
    for n in bits:
        unit = mp.mpf(2) ** (mp.floor(mp.log(abs(value), 2)) + 1 - n)
        out.append(float(mp.nint(value / unit) * unit))
        value -= out[-1]
    return (*out, float(value))


def two_over_pi(chunks: int) -> tuple[float, ...]:
    """Digits of 2/pi in base 2**53, each divided by 2**53."""
    with mp.workprec(53 * chunks + 200):
        rest, out = 2 / mp.pi, []
        for _ in range(chunks):
            digit = mp.floor(rest * 2**53)
            out.append(float(digit / 2**53))
            rest = rest * 2**53 - digit
    return tuple(out)


HALF_LN2 = 0.3466  # arguments left by the reduction of exp
SQUARE_LOG = 0.02945  # the square of (sqrt(2) - 1) / (sqrt(2) + 1)
SQUARE_PI_4 = 0.617
ERFC_CENTRE = 4


def root(function: Callable[[Real, Real], Real]) -> Callable[[Real], Real]:
    """`function(x, z)` as a function of z = x**2."""
    return lambda z: function(mp.sqrt(z), z)


def centred(function: Callable[[Real], Real]) -> Callable[[Real], Real]:
    """`function(u)` as a function of u - 5/8."""
    return lambda v: function(v + mp.mpf(5) / 8)


def erfc_scaled(t: Real) -> Real:
    """(1 + 2a) exp(a^2) erfc(a) at a = 4 (1 + t) / (1 - t): near 1.2 for all a > 0."""
    a = ERFC_CENTRE * (1 + t) / (1 - t)
    return (1 + 2 * a) * mp.exp(a * a) * mp.erfc(a)


def erfc_variable(a: Real) -> Real:
    return (mp.mpf(a) - ERFC_CENTRE) / (mp.mpf(a) + ERFC_CENTRE)


def log_tail(s: Real, z: Real) -> Real:
    return (2 * mp.atanh(s) / s - 2 - 2 * z / 3) / z**2


def stirling(t: Real, z: Real) -> Real:
    x = 1 / t
    return (mp.loggamma(x) - ((x - 0.5) * mp.log(x) - x + mp.log(2 * mp.pi) / 2)) * x


def digamma_tail(t: Real, z: Real) -> Real:
    x = 1 / t
    return (mp.digamma(x) - mp.log(x) + t / 2) / z


def digamma_zero() -> Real:
    return mp.findroot(mp.digamma, 1.4616)


def tables() -> dict[str, tuple[float, ...]]:
    """Every table, by name."""
    with mp.workprec(300):
        zero = digamma_zero()
        return {
            "LN2": parts(mp.log(2), (33,)),
            "LN2_PAIR": parts(mp.log(2), (53,)),
            "LOG2_E": parts(1 / mp.log(2), (53,)),
            "LOG10_E": parts(1 / mp.log(10), (53,)),
            "LOG10_2": parts(mp.log(2, 10), (33,)),
            "TWO_THIRDS": parts(mp.mpf(2) / 3, (53,)),
            "PI": parts(mp.pi, (53,)),
            "HALF_PI": parts(mp.pi / 2, (53, 53)),
            "QUARTER_PI": parts(mp.pi / 4, (53,)),
            "THREE_QUARTER_PI": parts(3 * mp.pi / 4, (53,)),
            "SQRT_HALF": parts(mp.sqrt(mp.mpf(1) / 2), (53,)),
            "STIRLING_CONSTANT": parts((mp.log(2 * mp.pi) - 1) / 2, (53,)),
            "TWO_OVER_PI": two_over_pi(23),
            # exp(r) = 1 + r + r^2 EXP(r);  cosh(r) = 1 + z COSH(z), sinh(r) = r + r z SINH(z), z = r^2
            "EXP": fit(lambda r: (mp.exp(r) - 1 - r) / r**2, -HALF_LN2, HALF_LN2, 10),
            "COSH": fit(root(lambda r, z: (mp.cosh(r) - 1) / z), 0, HALF_LN2**2, 6),
            "SINH": fit(root(lambda r, z: (mp.sinh(r) - r) / (r * z)), 0, HALF_LN2**2, 6),
            # log((1 + s) / (1 - s)) = 2s + s z LOG(z), z = s^2;  LOG_TAIL(z) = (LOG(z) - 2/3) / z
            "LOG": fit(root(lambda s, z: (2 * mp.atanh(s) - 2 * s) / (s * z)), 0, SQUARE_LOG, 7),
            "LOG_TAIL": fit(root(log_tail), 0, SQUARE_LOG, 7),
            "SIN": fit(root(lambda x, z: (mp.sin(x) - x) / (x * z)), 0, SQUARE_PI_4, 7),
            "COS": fit(root(lambda x, z: (mp.cos(x) - 1 + z / 2) / z**2), 0, SQUARE_PI_4, 6),
            # atan(x) = x + x z ATAN(z), asin(x) = x + x z ASIN(z) for |x| <= 1/2
            "ATAN": fit(root(lambda x, z: (mp.atan(x) - x) / (x * z)), 0, 0.25, 12),
            "ASIN": fit(root(lambda x, z: (mp.asin(x) - x) / (x * z)), 0, 0.25, 13),
            # erf(x) = x + x ERF(z) for |x| <= 1;  erfc(a) = exp(-a^2) ERFC(t) / (1 + 2a), t = (a-4) / (a+4)
            "ERF": fit(root(lambda x, z: mp.erf(x) / x - 1), 0, 1, 12),
            "ERFC": fit(erfc_scaled, erfc_variable(0.5), 1, 24),
            "CBRT": fit(lambda m: m ** (mp.mpf(-1) / 3), 1, 2, 5),
            # lgamma(1 + u) = u (u - 1) GAMMALN(u - 5/8) for 0 <= u <= 1.25; beyond, Stirling's formula, whose
            # series is STIRLING(1/x^2) / x
            "GAMMALN": fit(centred(lambda u: mp.loggamma(1 + u) / (u * (u - 1))), -0.625, 0.625, 23),
            "STIRLING": fit(root(stirling), 0, mp.mpf(16) / 81, 14),
            # digamma(1 + u) = (1 + u - zero) DIGAMMA(u - 5/8); beyond, log x - 1/(2x) + DIGAMMA_TAIL(z) z,
            # z = 1/x^2
            "DIGAMMA": fit(centred(lambda u: mp.digamma(1 + u) / (1 + u - zero)), -0.625, 0.625, 24),
            "DIGAMMA_TAIL": fit(root(digamma_tail), 0, mp.mpf(16) / 81, 15),
            "DIGAMMA_ZERO": parts(zero, (53,)),
        }


def module_text() -> str:
    """The source of `vecmath_tables.py` below its docstring."""
    lines = []
    for name, values in tables().items():
        rows = [" ".join(v.hex() for v in values[i : i + 4]) for i in range(0, len(values), 4)]
        if len(rows) == 1:
            lines.append(f'{name} = _floats("{rows[0]}")')
        else:
            lines.extend([f'{name} = _floats("""', *rows, '""")'])
    return "\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(module_text(), end="")
