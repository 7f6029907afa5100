"""Differential equations and integrals: fixed steps, adaptive steps, recurrences on grids."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest

import chainrule as cr
from tests.programs.precise import verify

A = [0.0, 1 / 4, 3 / 8, 12 / 13, 1.0, 1 / 2]
B = [
    [],
    [1 / 4],
    [3 / 32, 9 / 32],
    [1932 / 2197, -7200 / 2197, 7296 / 2197],
    [439 / 216, -8.0, 3680 / 513, -845 / 4104],
    [-8 / 27, 2.0, -3544 / 2565, 1859 / 4104, -11 / 40],
]
FIFTH = [16 / 135, 0.0, 6656 / 12825, 28561 / 56430, -9 / 50, 2 / 55]
ERROR = [1 / 360, 0.0, -128 / 4275, -2197 / 75240, 1 / 50, 2 / 55]


def fehlberg(f: Any, t: Any, y: Any, end: Any, tolerance: float) -> Any:
    """Runge, Kutta and Fehlberg's method, whose steps are as long as the error estimate allows."""
    h = 0.1 * (end - t)
    while t < end:
        if t + h > end:
            h = end - t
        k = []
        for a, row in zip(A, B, strict=True):
            k.append(f(t + a * h, y + h * sum(b * ki for b, ki in zip(row, k, strict=True))))
        error = abs(h * sum(e * ki for e, ki in zip(ERROR, k, strict=True)))
        if error <= tolerance:
            t = t + h
            y = y + h * sum(c * ki for c, ki in zip(FIFTH, k, strict=True))
        if error == 0:
            h = 2 * h
        else:
            h = h * min(4.0, max(0.1, 0.9 * (tolerance / error) ** 0.2))
    return y


def logistic_growth(rate: Any, start: Any) -> Any:
    return fehlberg(lambda t, y: rate * y * (1 - y), 0.0, start, 3.0, 1e-10)


def test_adaptive_steps() -> None:
    def truth(r: Any, y: Any) -> Any:
        return 1 / (1 + (1 / y - 1) * mpmath.exp(-3 * r))

    verify_loosely(logistic_growth, 1.2, 0.1, truth=truth)


def verify_loosely(program: Any, *x: float, truth: Any) -> None:
    """The method's own error is of the order of its tolerance."""
    verify(program, *x, truth=truth, rtol=2e-7, atol=2e-7)


def leapfrog(x: Any, v: Any, steps: int = 200, dt: float = 0.02) -> Any:
    """A pendulum, kick and drift; returns its energy less the start's, and its angle."""
    a = -math.sin(x)
    for _ in range(steps):
        v = v + 0.5 * dt * a
        x = x + dt * v
        a = -math.sin(x)
        v = v + 0.5 * dt * a
    return x * v + 0.5 * v * v - math.cos(x)


def test_leapfrog() -> None:
    verify(leapfrog, 0.7, -0.3, rtol=1e-9)


def orbit(eccentricity: Any) -> Any:
    """A planet by leapfrog with arrays, until it has been around once; returns its distance then."""
    r = np.array([1.0 - eccentricity, 0.0])
    v = np.array([0.0, np.sqrt((1 + eccentricity) / (1 - eccentricity))])
    dt = 0.01
    for step in range(10_000):
        r = r + 0.5 * dt * v
        v = v - dt * r / np.sum(r**2) ** 1.5
        r = r + 0.5 * dt * v
        if step > 300 and r[1] > 0:
            break
    return r[0] ** 2 + r[1]


def test_orbit_that_ends_after_one_turn() -> None:
    verify(orbit, 0.3, rtol=1e-8)


def lorenz(state: Any, sigma: Any, rho: Any, beta: Any) -> Any:
    x, y, z = state
    return np.array([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])


def rk4(state: Any, dt: Any, steps: int, *parameters: Any) -> Any:
    for _ in range(steps):
        k1 = lorenz(state, *parameters)
        k2 = lorenz(state + dt / 2 * k1, *parameters)
        k3 = lorenz(state + dt / 2 * k2, *parameters)
        k4 = lorenz(state + dt * k3, *parameters)
        state = state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return state


def lorenz_end(sigma: Any, rho: Any) -> Any:
    end = rk4(np.array([1.0, 1.0, 1.05]), 0.01, 60, sigma, rho, 8 / 3)
    return end[0] + 0.1 * end[2]


def test_lorenz_by_runge_kutta() -> None:
    verify(lorenz_end, 10.0, 28.0, rtol=1e-8, atol=1e-10)


def numerov(energy: Any) -> Any:
    """The harmonic oscillator's wave function at the edge, by Numerov's recurrence over a stored grid."""
    n = 201
    x = np.linspace(0.0, 4.0, n)
    h2 = (x[1] - x[0]) ** 2
    psi = np.zeros(n)
    f = 1 + h2 / 12 * (2 * energy - x**2)
    psi[0] = 1.0
    psi[1] = (12 - 10 * f[0]) * psi[0] / (2 * f[1])
    for i in range(1, n - 1):
        psi[i + 1] = ((12 - 10 * f[i]) * psi[i] - f[i - 1] * psi[i - 1]) / f[i + 1]
    return psi[n - 1]


def test_numerov() -> None:
    def truth(e: Any) -> Any:
        h2 = (mpmath.mpf(4) / 200) ** 2
        f = [1 + h2 / 12 * (2 * e - (mpmath.mpf(i) / 50) ** 2) for i in range(201)]
        before, now = mpmath.mpf(1), (12 - 10 * f[0]) / (2 * f[1])
        for i in range(1, 200):
            before, now = now, ((12 - 10 * f[i]) * now - f[i - 1] * before) / f[i + 1]
        return now

    verify(numerov, 0.73, truth=truth, rtol=1e-8)


def simpson(f: Any, a: Any, b: Any, n: int = 60) -> Any:
    h = (b - a) / n
    total = f(a) + f(b)
    for i in range(1, n):
        if i % 2 == 0:
            total += 2 * f(a + i * h)
        else:
            total += 4 * f(a + i * h)
    return total * h / 3


def gaussian_area(width: Any, end: Any) -> Any:
    def density(x: Any) -> Any:
        return np.exp(-0.5 * (x / width) ** 2) / (width * np.sqrt(2 * np.pi))

    return simpson(density, -0.5, end)


def test_simpson_of_a_closure() -> None:
    def truth(w: Any, e: Any) -> Any:
        return mpmath.ncdf(e / w) - mpmath.ncdf(-0.5 / w)

    verify(gaussian_area, 0.8, 1.3, truth=truth, rtol=1e-6, atol=1e-7)


def romberg(rate: Any, tolerance: float = 1e-13) -> Any:
    """∫₀¹ exp(−rate·x²) dx, halving steps until two estimates agree; the table is a row of an array."""
    row = np.zeros(12)
    row[0] = 0.5 * (1 + math.exp(-rate))
    n = 1
    for k in range(1, 12):
        h = 1.0 / n
        middle = 0.0
        for i in range(n):
            middle += math.exp(-rate * ((i + 0.5) * h) ** 2)
        old = row[0]
        row[0] = 0.5 * (old + h * middle)
        factor = 1.0
        for j in range(1, k + 1):
            factor *= 4.0
            new = row[j - 1] + (row[j - 1] - old) / (factor - 1)
            old = row[j]
            row[j] = new
        n *= 2
        if k > 3 and abs(row[k] - row[k - 1]) < tolerance:
            return row[k]
    return row[11]


def test_romberg() -> None:
    def truth(a: Any) -> Any:
        return mpmath.sqrt(mpmath.pi / a) * mpmath.erf(mpmath.sqrt(a)) / 2

    verify(romberg, 1.7, truth=truth, rtol=1e-9)


def heat(conductivity: Any, amplitude: Any) -> Any:
    """Crank and Nicolson's steps of the heat equation with Thomas's tridiagonal solver."""
    n = 8
    u = amplitude * np.sin(np.pi * np.arange(1, n + 1) / (n + 1))
    r = conductivity * 0.02 * (n + 1) ** 2 / 2
    for _ in range(2):
        d = np.zeros(n)
        for i in range(n):
            left = u[i - 1] if i > 0 else 0.0
            right = u[i + 1] if i < n - 1 else 0.0
            d[i] = u[i] + r * (left - 2 * u[i] + right)
        c = np.zeros(n)
        c[0] = -r / (1 + 2 * r)
        d[0] = d[0] / (1 + 2 * r)
        for i in range(1, n):
            m = 1 + 2 * r + r * c[i - 1]
            c[i] = -r / m
            d[i] = (d[i] + r * d[i - 1]) / m
        u[n - 1] = d[n - 1]
        for i in range(n - 2, -1, -1):
            u[i] = d[i] - c[i] * u[i + 1]
    return u[3]


def test_heat_equation() -> None:
    def truth(k: Any, a: Any) -> Any:
        s = 4 * mpmath.sin(mpmath.pi / 18) ** 2 * k * mpmath.mpf(0.02) * 81 / 2
        return a * mpmath.sin(4 * mpmath.pi / 9) * ((1 - s) / (1 + s)) ** 2

    verify(heat, 0.1, 2.0, truth=truth)


def bouncing_ball(height: Any, restitution: Any) -> Any:
    """A ball's height after two seconds, bounce by bounce."""
    g, t, end = 9.81, 0.0, 2.0
    t = math.sqrt(2 * height / g)
    v = g * t
    while t < end:
        v *= restitution
        flight = 2 * v / g
        if t + flight > end:
            s = end - t
            return v * s - 0.5 * g * s * s
        t += flight
    return height - 0.5 * g * end**2


@pytest.mark.parametrize("height", [1.0, 25.0])
def test_events_in_a_trajectory(height: float) -> None:
    verify(bouncing_ball, height, 0.8)


def implicit_euler(stiffness: Any) -> Any:
    """y' = −stiffness·(y − cos t), each step solved by Newton's method inside."""
    y, t, h = 0.0, 0.0, 0.05
    for _ in range(20):
        t += h
        new = y
        while True:
            residual = new - y + h * stiffness * (new**3 - math.cos(t))
            if abs(residual) < 1e-14:
                break
            new -= residual / (1 + 3 * h * stiffness * new * new)
        y = new
    return y


def test_newton_inside_of_a_time_step() -> None:
    def truth(s: Any) -> Any:
        y = mpmath.mpf(0)
        h, t = mpmath.mpf(0.05), mpmath.mpf(0)
        for _ in range(20):
            t += h
            p, q = 1 / (h * s), -(y / (h * s) + mpmath.cos(t))
            root = mpmath.sqrt((q / 2) ** 2 + (p / 3) ** 3)
            y = mpmath.cbrt(-q / 2 + root) - mpmath.cbrt(q / 2 + root)
        return y

    verify(implicit_euler, 15.0, truth=truth, rtol=1e-8)


class Projectile:
    """A throw with drag, as an object that changes itself."""

    def __init__(self, speed: Any, angle: Any) -> None:
        self.x = self.y = 0.0
        self.vx, self.vy = speed * math.cos(angle), speed * math.sin(angle)

    @property
    def speed(self) -> Any:
        return math.hypot(self.vx, self.vy)

    def step(self, dt: float) -> None:
        drag = 0.05 * self.speed
        self.x += dt * self.vx
        self.y += dt * self.vy
        self.vx -= dt * drag * self.vx
        self.vy -= dt * (9.81 + drag * self.vy)


def throw_range(speed: Any, angle: Any) -> Any:
    ball = Projectile(speed, angle)
    for _ in range(10):
        ball.step(0.01)
    return ball.x + ball.y**2


def test_an_object_that_changes_itself() -> None:
    def truth(speed: Any, angle: Any) -> Any:
        x = y = mpmath.mpf(0)
        vx, vy = speed * mpmath.cos(angle), speed * mpmath.sin(angle)
        dt = mpmath.mpf(0.01)
        for _ in range(10):
            drag = mpmath.mpf(0.05) * mpmath.hypot(vx, vy)
            x, y, vx, vy = x + dt * vx, y + dt * vy, vx - dt * drag * vx, vy - dt * (mpmath.mpf(9.81) + drag * vy)
        return x + y**2

    verify(throw_range, 12.0, 0.9, truth=truth)


def test_a_traced_number_of_steps() -> None:
    def walk(x: Any, n: Any) -> Any:
        dt = 1.0 / n
        for _ in range(n):
            x = x - dt * x * x
        return x

    for n in (1, 10, 1000):
        slope = 1.0
        x = 2.0
        for _ in range(n):
            slope *= 1 - 2 * x / n
            x = x - x * x / n
        assert cr.jit(walk)(2.0, n) == pytest.approx(x, rel=1e-13)
        assert cr.grad(walk)(2.0, n) == pytest.approx(slope, rel=1e-12)
        assert cr.jacfwd(walk)(2.0, n) == pytest.approx(slope, rel=1e-12)
