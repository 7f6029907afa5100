"""Series, continued fractions and recurrences, in the forms of Numerical Recipes and of textbooks."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest

import chainrule as cr
from tests.programs.precise import on_mpmath, verify


def polynomial(x: Any, a: Any, b: Any) -> Any:
    total = 0.0
    for c in [a, -1.5, b, 0.25, a * b, 1.0]:
        total = total * x + c
    return total


def test_horner() -> None:
    def truth(x: Any, a: Any, b: Any) -> Any:
        return a * x**5 - 1.5 * x**4 + b * x**3 + 0.25 * x**2 + a * b * x + 1

    verify(polynomial, 0.7, 2.0, -0.3, truth=truth)


TINY = 1e-300


def gamma_fraction(a: Any, x: Any) -> Any:
    """The upper incomplete gamma function's continued fraction by modified Lentz: Numerical Recipes' gcf."""
    b = x + 1.0 - a
    c = 1.0 / TINY
    d = 1.0 / b
    h = d
    for i in range(1, 300):
        an = -i * (i - a)
        b += 2.0
        d = an * d + b
        if abs(d) < TINY:
            d = TINY
        c = b + an / c
        if abs(c) < TINY:
            c = TINY
        d = 1.0 / d
        step = d * c
        h *= step
        if abs(step - 1.0) < 1e-16:
            break
    return math.exp(-x + a * math.log(x) - math.lgamma(a)) * h


def gamma_series(a: Any, x: Any) -> Any:
    """The lower incomplete gamma function's series: Numerical Recipes' gser."""
    ap = a
    term = total = 1.0 / a
    while True:
        ap += 1.0
        term *= x / ap
        total += term
        if abs(term) < abs(total) * 1e-17:
            return total * math.exp(-x + a * math.log(x) - math.lgamma(a))


def gammq(a: Any, x: Any) -> Any:
    """Q(a, x)."""
    if x < a + 1.0:
        return 1.0 - gamma_series(a, x)
    return gamma_fraction(a, x)


@pytest.mark.parametrize(("a", "x"), [(3.5, 2.0), (0.5, 2.25)])
def test_incomplete_gamma_function(a: float, x: float) -> None:
    def truth(a: Any, x: Any) -> Any:
        return mpmath.gammainc(a, x, regularized=True)

    verify(gammq, a, x, truth=truth, rtol=1e-9)


def beta_fraction(a: Any, b: Any, x: Any) -> Any:
    """Numerical Recipes' betacf, with both of its half steps."""
    qab, qap, qam = a + b, a + 1.0, a - 1.0
    c = 1.0
    d = 1.0 - qab * x / qap
    if abs(d) < TINY:
        d = TINY
    d = 1.0 / d
    h = d
    m = 1
    while m < 10000:
        m2 = 2 * m
        for aa in (m * (b - m) * x / ((qam + m2) * (a + m2)), -(a + m) * (qab + m) * x / ((a + m2) * (qap + m2))):
            d = 1.0 + aa * d
            if abs(d) < TINY:
                d = TINY
            c = 1.0 + aa / c
            if abs(c) < TINY:
                c = TINY
            d = 1.0 / d
            step = d * c
            h *= step
        if abs(step - 1.0) <= 1e-16:
            break
        m += 1
    return h


def betai(a: Any, b: Any, x: Any) -> Any:
    """The regularised incomplete beta function."""
    if x == 0.0 or x == 1.0:
        return x
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(1.0 - x))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * beta_fraction(a, b, x) / a
    return 1.0 - front * beta_fraction(b, a, 1.0 - x) / b


@pytest.mark.parametrize("x", [0.75])
def test_incomplete_beta_function(x: float) -> None:
    def truth(a: Any, b: Any, x: Any) -> Any:
        return mpmath.betainc(a, b, 0, x, regularized=True)

    verify(betai, 1.7, 2.4, x, truth=truth, rtol=1e-9)


def bessj(n: int, x: Any) -> Any:
    """J of order n ≥ 2 by Miller's downward recurrence, normalised by J₀ + 2J₂ + 2J₄ + … = 1."""
    top = 2 * ((n + int(math.sqrt(60.0 * n)) + 20) // 2)
    is_odd = False
    above, here = 0.0, 1.0
    total = result = 0.0
    for j in range(top, 0, -1):
        below = 2.0 * j / x * here - above
        above, here = here, below
        if abs(here) > 1e10:
            here *= 1e-10
            above *= 1e-10
            result *= 1e-10
            total *= 1e-10
        if is_odd:
            total += here
        is_odd = not is_odd
        if j == n:
            result = above
    return result / (2.0 * total - here)


@pytest.mark.parametrize(("n", "x"), [(2, 1.5), (5, 9.0)])
def test_bessel_function_by_downward_recurrence(n: int, x: float) -> None:
    verify(lambda x: bessj(n, x), x, truth=lambda x: mpmath.besselj(n, x), rtol=1e-9)


def clenshaw(x: Any, shift: Any) -> Any:
    """A Chebyshev series Σ cₖ·Tₖ(x) whose coefficients fall geometrically."""
    b1 = b2 = 0.0
    for k in reversed(range(1, 30)):
        b1, b2 = 2 * x * b1 - b2 + shift**k, b1
    return x * b1 - b2 + 1.0


def test_clenshaws_recurrence() -> None:
    def truth(x: Any, s: Any) -> Any:
        return mpmath.fsum(s**k * mpmath.chebyt(k, x) for k in range(30))

    verify(clenshaw, 0.3, 0.6, truth=truth)


def collatz_weight(x: Any, start: Any) -> Any:
    """A power series along Collatz's sequence: even steps are passed over with ``continue``."""
    total = 0.0
    n = start
    power = 1.0
    while n != 1:
        power *= x
        if n % 2 == 0:
            n //= 2
            continue
        n = 3 * n + 1
        total += power / n
    return total


@pytest.mark.parametrize("start", [1, 27])
def test_collatz_with_continue(start: int) -> None:
    steps, n, coefficients = 0, start, {}
    while n != 1:
        steps += 1
        if n % 2:
            n = 3 * n + 1
            coefficients[steps] = mpmath.mpf(1) / n
        else:
            n //= 2

    def truth(x: Any) -> Any:
        return mpmath.fsum(c * x**k for k, c in coefficients.items())

    verify(lambda x: collatz_weight(x, start), 0.9, truth=truth)
    assert cr.jit(collatz_weight)(0.9, start) == pytest.approx(float(truth(mpmath.mpf("0.9"))), rel=1e-13)


def logistic_map(r: Any, x: Any, steps: int = 25) -> Any:
    for _ in range(steps):
        x = r * x * (1 - x)
    return x


def test_logistic_map() -> None:
    verify(logistic_map, 2.9, 0.2, rtol=1e-8)
    verify(lambda x: logistic_map(4.0, x, 5), 0.2, truth=lambda x: mpmath.sin(32 * mpmath.asin(mpmath.sqrt(x))) ** 2)


def elliptic_k(k: Any) -> Any:
    a, g = 1.0, math.sqrt(1 - k * k)
    while abs(a - g) > 1e-15 * a:
        a, g = (a + g) / 2, math.sqrt(a * g)
    return math.pi / (2 * a)


def test_arithmetic_geometric_mean() -> None:
    verify(elliptic_k, 0.6, truth=lambda k: mpmath.ellipk(k * k))


def dilogarithm(x: Any) -> Any:
    """Li₂ by its series, after the reflections that bring its argument into [0, ½]."""
    if x > 0.5:
        return math.pi**2 / 6 - math.log(x) * math.log(1 - x) - dilogarithm_series(1 - x)
    elif x < 0:
        return -dilogarithm_series(x / (x - 1)) - 0.5 * math.log(1 - x) ** 2
    else:
        return dilogarithm_series(x)


def dilogarithm_series(x: Any) -> Any:
    total, power, k = 0.0, 1.0, 0
    while k < 200:
        k += 1
        power *= x
        term = power / k**2
        total += term
        if term < 1e-18:
            break
    return total


@pytest.mark.parametrize("x", [0.8, 0.3, -0.7])
def test_dilogarithm(x: float) -> None:
    verify(dilogarithm, x, truth=lambda x: mpmath.polylog(2, x).real)


def euler_zeta(s: Any, terms: int = 12) -> Any:
    """ζ(s) by Euler and Maclaurin, with Bernoulli numbers of its own."""
    bernoulli = {2: 1 / 6, 4: -1 / 30, 6: 1 / 42, 8: -1 / 30, 10: 5 / 66, 12: -691 / 2730}
    total = sum(n**-s for n in range(1, terms))
    total += terms ** (1 - s) / (s - 1) + terms**-s / 2
    factor = s * terms ** (-s - 1)
    for k, b in bernoulli.items():
        total += b / math.factorial(k) * factor
        factor *= (s + k - 1) * (s + k) / terms**2
    return total


def test_zeta_function() -> None:
    verify(euler_zeta, 2.5, truth=mpmath.zeta, rtol=1e-9)


def associated_legendre(theta: Any, m: int = 2, degree: int = 9) -> Any:
    x = math.cos(theta)
    pmm = 1.0
    if m > 0:
        root = math.sqrt((1.0 - x) * (1.0 + x))
        factor = 1.0
        for _ in range(1, m + 1):
            pmm *= -factor * root
            factor += 2.0
    if degree == m:
        return pmm
    pmmp1 = x * (2 * m + 1) * pmm
    if degree == m + 1:
        return pmmp1
    for n in range(m + 2, degree + 1):
        pll = (x * (2 * n - 1) * pmmp1 - (n + m - 1) * pmm) / (n - m)
        pmm, pmmp1 = pmmp1, pll
    return pll


def test_legendre_functions() -> None:
    verify(associated_legendre, 0.8, truth=lambda t: mpmath.legenp(9, 2, mpmath.cos(t)).real, rtol=1e-9)


def sine(x: Any) -> Any:
    """Argument reduction and Taylor's series, as a first course writes it."""
    n = round(x / math.pi)
    x = x - n * math.pi
    sign = -1.0 if n % 2 else 1.0
    term = total = x
    k = 1
    while abs(term) > 1e-18 and k < 60:
        term = -term * x * x / ((k + 1) * (k + 2))
        total = total + term
        k += 2
    return sign * total


@pytest.mark.parametrize("x", [0.5, 4.0, -8.3])
def test_sine_by_its_series(x: float) -> None:
    verify(sine, x, truth=mpmath.sin)


def wynn_epsilon(x: Any) -> Any:
    """log(1 + x) from eleven partial sums, accelerated by Wynn's epsilon table, which is written in place."""
    n = 11
    e = np.zeros(n + 1)
    partial = 0.0
    for j in range(n):
        partial += (-1) ** j * x ** (j + 1) / (j + 1)
        e[j] = partial
        if j == 0:
            continue
        aux2 = 0.0
        for i in range(j, 0, -1):
            aux1 = aux2
            aux2 = e[i - 1]
            e[i - 1] = aux1 + 1.0 / (e[i] - aux2)
    return e[0]


def test_wynns_epsilon() -> None:
    verify(wynn_epsilon, 0.9, rtol=1e-7)
    assert wynn_epsilon(0.9) == pytest.approx(math.log(1.9), rel=1e-8)


def test_reference_programs_agree_with_themselves() -> None:
    with mpmath.workdps(30):
        assert abs(on_mpmath(logistic_map)(mpmath.mpf(2), mpmath.mpf("0.5"), 3) - 0.5) < 1e-25
