"""W3: an unbinned likelihood, Gaussian signal and exponential background on [0, 10]; time for each event.

Value and gradient with respect to the four parameters (f, τ, μ, σ), and value, gradient and Hessian together.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
from harness import Comparison, Options
from scipy.special import erf

PARAMETERS = np.array([0.3, 4.0, 5.0, 0.7])


def log_density(m: Any, erf: Any, p: Any, x: Any) -> Any:
    """The program, as its author writes it; `m` is a namespace such as numpy, erf its function."""
    f, tau, mu, sigma = p[0], p[1], p[2], p[3]
    z = (x - mu) / sigma
    area = (erf((10 - mu) / (sigma * math.sqrt(2))) + erf(mu / (sigma * math.sqrt(2)))) / 2
    signal = m.exp(-0.5 * z * z) / (sigma * math.sqrt(2 * math.pi) * area)
    background = m.exp(-x / tau) / (tau * (1 - m.exp(-10 / tau)))
    return m.log(f * signal + (1 - f) * background)


def by_hand(p: np.ndarray, x: np.ndarray, order: int) -> list[Any]:
    """Value, gradient and (order 2) Hessian with the formulas worked out; NumPy's entry, and the reference.

    Written with the derivatives of log G: ∂ᵢG = G·ℓᵢ, ∂ᵢ∂ⱼG = G·(ℓᵢ·ℓⱼ + ℓᵢⱼ); the same for B.
    """
    f, tau, mu, sigma = p
    z, low, high = (x - mu) / sigma, -mu / sigma, (10 - mu) / sigma
    at_low, at_high = (math.exp(-0.5 * t * t) / math.sqrt(2 * math.pi) for t in (low, high))
    area = (erf(high / math.sqrt(2)) - erf(low / math.sqrt(2))) / 2
    e = math.exp(-10 / tau)
    signal = f * np.exp(-0.5 * z * z) / (sigma * math.sqrt(2 * math.pi) * area)
    background = (1 - f) * np.exp(-x / tau) / (tau * (1 - e))
    total = signal + background
    ws, wb = signal / total, background / total

    first = high * at_high - low * at_low
    a, c = -(at_high - at_low) / (sigma * area), -first / (sigma * area)
    q, r = 10 / tau**2, e / (1 - e)
    d = 1 / tau - q * r
    l_mu, l_sigma, l_tau = z / sigma - a, (z * z - 1) / sigma - c, x / tau**2 - d
    scores = [ws / f - wb / (1 - f), wb * l_tau, ws * l_mu, ws * l_sigma]
    gradient = -np.array([np.sum(score) for score in scores])
    value = -np.sum(np.log(total))
    if order == 1:
        return [value, gradient]

    s2 = sigma**2
    a_mu = -first / (s2 * area) - a * a
    a_sigma = ((at_high - at_low) - (high**2 * at_high - low**2 * at_low)) / (s2 * area) - a * c
    third = high * (1 - high**2) * at_high - low * (1 - low**2) * at_low
    c_sigma = (first + third) / (s2 * area) - c * c
    d_tau = -1 / tau**2 + 20 / tau**3 * r - q * q * r * (1 + r)
    own = {
        (0, 1): -wb * l_tau / (1 - f),
        (0, 2): ws * l_mu / f,
        (0, 3): ws * l_sigma / f,
        (1, 1): wb * (l_tau**2 - 2 * x / tau**3 - d_tau),
        (2, 2): ws * (l_mu**2 - 1 / s2 - a_mu),
        (2, 3): ws * (l_mu * l_sigma - 2 * z / s2 - a_sigma),
        (3, 3): ws * (l_sigma**2 + (1 - 3 * z * z) / s2 - c_sigma),
    }
    hessian = np.empty((4, 4))
    for i in range(4):
        for j in range(i, 4):
            hessian[i, j] = hessian[j, i] = np.sum(scores[i] * scores[j]) - np.sum(own.get((i, j), 0.0))
    return [value, gradient, hessian]


def generate(n: int) -> np.ndarray:
    """Events drawn from about the likelihood's own density."""
    rng = np.random.default_rng(1)
    signal = rng.normal(5, 0.7, int(0.3 * n))
    background = -4 * np.log(1 - rng.random(n - signal.size) * (1 - math.exp(-2.5)))
    x = np.concatenate([signal, background]).clip(0, 10)
    rng.shuffle(x)
    return x


def c_entry(library: ctypes.CDLL, name: str, size: int, x: np.ndarray) -> Callable[[], np.ndarray]:
    function = getattr(library, name)
    function.restype = None
    function.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    out = np.zeros(size)
    arguments = (x.ctypes.data, x.size, PARAMETERS.ctypes.data, out.ctypes.data)

    def call() -> np.ndarray:
        function(*arguments)
        return out.copy()

    return call


def numba_entry(numba: Any, x: np.ndarray) -> Callable[[], np.ndarray]:
    """Value and gradient as a loop written by hand."""
    from math import erfc, exp, log, pi, sqrt

    @numba.njit(fastmath=True)
    def value_grad(p: np.ndarray, x: np.ndarray) -> np.ndarray:
        f, tau, mu, sigma = p[0], p[1], p[2], p[3]
        low, high = -mu / sigma, (10 - mu) / sigma
        at_low, at_high = exp(-0.5 * low * low) / sqrt(2 * pi), exp(-0.5 * high * high) / sqrt(2 * pi)
        area = 0.5 * erfc(-high / sqrt(2.0)) - 0.5 * erfc(-low / sqrt(2.0))
        a, c = -(at_high - at_low) / sigma / area, -(high * at_high - low * at_low) / sigma / area
        e = exp(-10 / tau)
        d = 1 / tau - 10 / (tau * tau) * e / (1 - e)
        signal, background = f / (sigma * sqrt(2 * pi) * area), (1 - f) / (tau * (1 - e))
        log_l = g0 = g1 = g2 = b0 = b1 = 0.0
        for xi in x:
            z = (xi - mu) / sigma
            g, b = signal * exp(-0.5 * z * z), background * exp(-xi / tau)
            q = g + b
            log_l += log(q)
            wg, wb = g / q, b / q
            g0 += wg
            g1 += wg * z
            g2 += wg * z * z
            b0 += wb
            b1 += wb * xi
        return -np.array(
            [
                log_l,
                g0 / f - b0 / (1 - f),
                b1 / (tau * tau) - d * b0,
                g1 / sigma - a * g0,
                (g2 - g0) / sigma - c * g0,
            ]
        )

    return lambda: value_grad(PARAMETERS, x)


def casadi_entry(casadi: Any, x: np.ndarray, order: int) -> Callable[[], np.ndarray]:
    """CasADi's vector graph; gradient and Hessian are its own."""
    p, events = casadi.MX.sym("p", 4), casadi.MX.sym("x", x.size)
    nll = -casadi.sum1(log_density(casadi, casadi.erf, [p[i] for i in range(4)], events))
    hessian, gradient = casadi.hessian(nll, p)
    parts = [nll, gradient] if order == 1 else [nll, gradient, casadi.vec(hessian)]
    return harness.casadi_call(casadi.Function("nll", [p, events], [casadi.vertcat(*parts)]), PARAMETERS, x)


def compare(options: Options, n: int, order: int) -> Comparison:
    x, p = generate(n), PARAMETERS
    what = "value and gradient" if order == 1 else "value, gradient and Hessian"
    table = Comparison(f"W3 likelihood, {what}, N = {n:,}", by_hand(p, x, order), unit="ns/event", per=n)
    if harness.have_c():
        c = harness.c_library("likelihood")
        if order == 1:
            table.add("C direct", lambda: c_entry(c, "value_grad", 5, x))
            table.add("C restructured", lambda: c_entry(c, "value_grad_restructured", 5, x))
        else:
            table.add("C direct", lambda: c_entry(c, "value_grad_hess", 21, x))
    table.add("NumPy, derivatives by hand", lambda: lambda: by_hand(p, x, order))
    if cr := options.peer("chainrule"):

        def ours() -> Any:
            def nll(p: Any, x: Any) -> Any:
                return -log_density(np, erf, p, x).sum()

            function = cr.value_and_grad(nll) if order == 1 else cr.value_grad_hess(nll)
            return lambda: function(p, x)

        table.add("chainrule", ours)
    if jax := options.peer("jax"):
        events = jax.numpy.asarray(x)

        def nll(p: Any, x: Any) -> Any:
            return -log_density(jax.numpy, jax.scipy.special.erf, p, x).sum()

        def everything(p: Any, x: Any) -> Any:
            value, gradient = jax.value_and_grad(nll)(p, x)
            return (value, gradient) if order == 1 else (value, gradient, jax.hessian(nll)(p, x))

        def jitted() -> Any:
            function = jax.jit(everything)
            return lambda: [np.asarray(part) for part in function(p, events)]

        table.add("jax", jitted)
    if (numba := options.peer("numba")) and order == 1:
        table.add("numba, derivatives by hand", lambda: numba_entry(numba, x))
    if casadi := options.peer("casadi"):
        table.add("casadi, vector graph", lambda: casadi_entry(casadi, x, order))
    return table


def main() -> None:
    options, found = Options.parse(__doc__, n="1000,100000,1000000")
    print(harness.describe_machine())
    results = {}
    for n in map(int, found.n.split(",")):
        for order in (1, 2):
            table = compare(options, n, order)
            results[table.title] = table.run(options)
    harness.finish(options, results)


if __name__ == "__main__":
    main()
