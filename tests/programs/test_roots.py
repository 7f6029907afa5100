"""Roots of equations by iteration: loops that end when they have converged, in the forms of textbooks."""

from __future__ import annotations

import cmath
import math
from typing import Any

import mpmath
import numpy as np
import pytest

import chainrule as cr
from tests.programs.precise import on_mpmath, verify


def newton_sqrt(a: Any) -> Any:
    x = a
    while abs(x * x - a) > 1e-13 * a:
        x = 0.5 * (x + a / x)
    return x


@pytest.mark.parametrize("a", [0.03, 1e4])
def test_square_root_by_newton(a: float) -> None:
    verify(newton_sqrt, a, truth=mpmath.sqrt)


def kepler(mean_anomaly: Any, eccentricity: Any) -> Any:
    """The eccentric anomaly E of Kepler's equation M = E − e·sin E."""
    if eccentricity < 0.8:
        anomaly = mean_anomaly
    else:
        anomaly = math.pi
    for _ in range(100):
        f = anomaly - eccentricity * math.sin(anomaly) - mean_anomaly
        anomaly = anomaly - f / (1 - eccentricity * math.cos(anomaly))
        if abs(f) < 1e-14:
            break
    return anomaly


@pytest.mark.parametrize(("m", "e"), [(5.9, 0.6), (0.4, 0.85)])
def test_keplers_equation(m: float, e: float) -> None:
    def truth(m: Any, e: Any) -> Any:
        return mpmath.findroot(lambda u: u - e * mpmath.sin(u) - m, kepler(float(m), float(e)))

    verify(kepler, m, e, truth=truth)


def escape(re: Any, im: Any, limit: int = 80) -> Any:
    """The smoothed escape time of the Mandelbrot set; −1 inside of it."""
    c = complex(re, im)
    z = 0j
    for n in range(limit):
        z = z * z + c
        if abs(z) > 20:
            return n + 1 - math.log(math.log(abs(z))) / math.log(2)
    return -1.0


@pytest.mark.parametrize(("re", "im"), [(-0.75, 0.1), (30.0, 1.0), (0.1, 0.2)])
def test_mandelbrot_returns_where_it_escapes(re: float, im: float) -> None:
    def truth(re: Any, im: Any) -> Any:
        z, c = mpmath.mpc(0), mpmath.mpc(re, im)
        for n in range(80):
            z = z * z + c
            if abs(z) > 20:
                return n + 1 - mpmath.log(mpmath.log(abs(z)), 2)
        return mpmath.mpf(-1)

    verify(escape, re, im, truth=truth, rtol=1e-8)


def bisect(f: Any, a: Any, b: Any) -> Any:
    fa = f(a)
    while b - a > 1e-15 * (abs(a) + abs(b)):
        m = (a + b) / 2
        fm = f(m)
        if fm == 0:
            break
        if (fa < 0) == (fm < 0):
            a, fa = m, fm
        else:
            b = m
        if m == (a + b) / 2:
            break
    return (a + b) / 2


def lambert(y: Any) -> Any:
    """W of w·exp(w) = y: bisection finds the root, and two steps of Newton's make it a function of y."""

    def f(w: Any) -> Any:
        return w * math.exp(w) - y

    w = bisect(f, 0.0, y)
    for _ in range(2):
        w = w - f(w) / (math.exp(w) * (1 + w))
    return w


@pytest.mark.parametrize("y", [0.2, 17.0])
def test_bisection(y: float) -> None:
    verify(lambert, y, truth=lambda y: mpmath.lambertw(y).real)


def cubic_root(p: Any, q: Any) -> Any:
    """The real root of x³ + p·x + q with p > 0, by Halley's method."""
    x = 0.0
    dx = 1.0
    while abs(dx) > 1e-14 * (1 + abs(x)):
        f = (x * x + p) * x + q
        f1 = 3 * x * x + p
        f2 = 6 * x
        dx = 2 * f * f1 / (2 * f1 * f1 - f * f2)
        x -= dx
    return x


def test_cubic_equation_by_halley() -> None:
    def cardano(p: Any, q: Any) -> Any:
        root = mpmath.sqrt((q / 2) ** 2 + (p / 3) ** 3)
        u, v = -q / 2 + root, q / 2 + root
        return mpmath.cbrt(u) - mpmath.cbrt(v)

    verify(cubic_root, 1.3, -2.7, truth=cardano)


def secant(f: Any, x0: Any, x1: Any, tol: Any = 1e-14, maxiter: Any = 60) -> Any:
    """As scipy.optimize.newton without a derivative."""
    f0, f1 = f(x0), f(x1)
    for _ in range(maxiter):
        if f1 == f0:
            return (x0 + x1) / 2.0
        x2 = x1 - f1 * (x1 - x0) / (f1 - f0)
        if abs(x2 - x1) <= tol * abs(x2):
            return x2
        x0, f0 = x1, f1
        x1 = x2
        f1 = f(x1)
    return float("nan")


def internal_rate(payment: Any, years: Any) -> Any:
    """The rate at which payments of so many years are worth 10 today."""
    rate = secant(lambda r: payment * (1 - (1 + r) ** (-years)) / r - 10.0, 0.05, 0.06)
    excess = payment * (1 - (1 + rate) ** (-years)) / rate - 10.0  # a last step with the slope at hand
    slope = payment * (years * (1 + rate) ** (-years - 1) / rate - (1 - (1 + rate) ** (-years)) / rate**2)
    return rate - excess / slope


def test_secant_with_early_return() -> None:
    def truth(payment: Any, years: Any) -> Any:
        return mpmath.findroot(lambda r: payment * (1 - (1 + r) ** (-years)) / r - 10, 0.05)

    verify(internal_rate, 1.2, 12.0, truth=truth, rtol=1e-7, atol=1e-8)


def regula_falsi(a: Any) -> Any:
    """tan x = a·x … of x·sin x = a·cos x in (0, π/2), with the Illinois modification."""

    def f(x: Any) -> Any:
        return x * np.sin(x) - a * np.cos(x)

    low, high = 0.0, np.pi / 2
    f_low, f_high = f(low), f(high)
    side = 0
    for _ in range(100):
        x = (f_low * high - f_high * low) / (f_low - f_high)
        fx = f(x)
        if abs(fx) < 1e-15 or abs(high - low) < 1e-15:
            break
        if fx * f_high > 0:
            high, f_high = x, fx
            if side == -1:
                f_low /= 2
            side = -1
        elif fx * f_low > 0:
            low, f_low = x, fx
            if side == +1:
                f_high /= 2
            side = +1
        else:
            break
    for _ in range(2):
        x = x - f(x) / ((1 + a) * np.sin(x) + x * np.cos(x))
    return x


def test_false_position() -> None:
    def truth(a: Any) -> Any:
        return mpmath.findroot(lambda x: x * mpmath.tan(x) - a, regula_falsi(float(a)))

    verify(regula_falsi, 0.8, truth=truth)


def durand_kerner(b: Any, c: Any, d: Any) -> Any:
    """All roots of z³ + b·z² + c·z + d at once; returns the sum of their moduli."""
    roots = [complex(0.4, 0.9) ** k for k in range(3)]
    change = 1.0
    while change > 1e-14:
        change = 0.0
        for i in range(3):
            z = roots[i]
            value = ((z + b) * z + c) * z + d
            for j in range(3):
                if j != i:
                    value = value / (z - roots[j])
            roots = [z - value if k == i else r for k, r in enumerate(roots)]
            change = max(change, abs(value))
    return sum(abs(z) for z in roots)


def test_all_roots_of_a_polynomial() -> None:
    def truth(b: Any, c: Any, d: Any) -> Any:
        return mpmath.fsum(abs(z) for z in mpmath.polyroots([1, b, c, d], maxsteps=200, extraprec=200))

    verify(durand_kerner, -1.5, 2.0, 1.25, truth=truth, rtol=1e-8)


def refraction(angle: Any, index: Any) -> Any:
    """The angle behind a surface; total reflection gives the angle itself."""
    s = math.sin(angle) / index
    if s > 1.0:
        return angle
    return cmath.asin(s).real


def test_total_reflection() -> None:
    verify(refraction, 0.5, 1.5, truth=lambda a, n: mpmath.asin(mpmath.sin(a) / n))
    verify(refraction, 0.9, 0.6, truth=lambda a, n: a + 0 * n)


def solve_2x2(a: Any, b: Any) -> Any:
    """Newton's method for x² + y² = a, x·y = b, with its own Jacobian matrix; returns x."""
    x, y = 2.0, 0.5
    iterations = 0
    converged = False
    while not converged and iterations < 50:
        f = x**2 + y**2 - a
        g = x * y - b
        determinant = 2 * x * x - 2 * y * y
        dx = (x * f - 2 * y * g) / determinant
        dy = (2 * x * g - y * f) / determinant
        x, y = x - dx, y - dy
        iterations += 1
        converged = math.hypot(f, g) < 1e-14
    return x


def test_newton_for_two_equations() -> None:
    def truth(a: Any, b: Any) -> Any:
        return (mpmath.sqrt(a + 2 * b) + mpmath.sqrt(a - 2 * b)) / 2

    verify(solve_2x2, 5.0, 1.0, truth=truth)


def test_a_program_is_its_own_truth_on_mpmath() -> None:
    with mpmath.workdps(30):
        assert 1e-26 < abs(on_mpmath(newton_sqrt)(mpmath.mpf(2)) - mpmath.sqrt(2)) < 1e-23


def test_batched_over_starting_points() -> None:
    a = np.linspace(0.1, 9, 7)
    np.testing.assert_allclose(cr.vmap(cr.grad(newton_sqrt))(a), 0.5 / np.sqrt(a), rtol=1e-12)
    c = np.array([[0.4, 0.35], [-0.75, 0.1], [0.1, 0.2], [3.0, 4.0]])
    one_by_one = [cr.grad(escape, argnums=(0, 1))(*p) for p in c]
    np.testing.assert_allclose(np.stack(cr.vmap(cr.grad(escape, argnums=(0, 1)))(*c.T), 1), one_by_one, rtol=1e-9)
