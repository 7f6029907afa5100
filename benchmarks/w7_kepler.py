"""W7: Kepler's equation E − e·sin E = M by Newton's method, a Python ``while``, at many M: E, ∂E/∂M and ∂E/∂e.

The loop is differentiated itself, forward and in reverse; of what other libraries offer, some solve the equation and
differentiate it by the implicit function theorem.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
from harness import Comparison, Options

ECCENTRICITY, TOLERANCE = 0.6, 1e-12


def anomaly(mean: Any, e: Any) -> Any:
    """E for one M."""
    x, step = mean, 1.0
    while np.abs(step) > TOLERANCE:
        step = (x - e * np.sin(x) - mean) / (1 - e * np.cos(x))
        x = x - step
    return x


def anomalies(means: Any, e: Any) -> Any:
    """E for all M together: the loop runs until the last of them is done."""
    x, step = means, np.ones_like(means)
    while np.any(np.abs(step) > TOLERANCE):
        step = (x - e * np.sin(x) - means) / (1 - e * np.cos(x))
        x = x - step
    return x


def by_hand(means: np.ndarray) -> list[np.ndarray]:
    """E by the loop, its derivatives by the implicit function theorem."""
    x = anomalies(means, ECCENTRICITY)
    slope = 1 / (1 - ECCENTRICITY * np.cos(x))
    return [x, slope, np.sin(x) * slope]


def c_entry(name: str, means: np.ndarray, *, fresh: bool) -> Callable[[], Any]:
    """The C function, into new arrays or into some that stay."""
    function = getattr(harness.c_library("kepler"), f"kepler_{name}")
    pointer = ctypes.c_void_p
    function.restype = None
    function.argtypes = [pointer, ctypes.c_long, ctypes.c_double, pointer, pointer, pointer]

    def into(arrays: list[np.ndarray]) -> list[np.ndarray]:
        function(means.ctypes.data, means.size, ECCENTRICITY, *(a.ctypes.data for a in arrays))
        return arrays

    old = [np.empty_like(means) for _ in range(3)]
    return (lambda: into([np.empty_like(means) for _ in range(3)])) if fresh else (lambda: into(old))


def forward(cr: Any, means: np.ndarray) -> Callable[[], Any]:
    def one(mean: Any, e: Any) -> Any:
        return anomaly(mean, e), cr.jacfwd(anomaly, (0, 1))(mean, e)

    function = cr.jit(cr.vmap(one, in_axes=(0, None)))
    return lambda: function(means, ECCENTRICITY)


def reverse(cr: Any, means: np.ndarray) -> Callable[[], Any]:
    def one(mean: Any, e: Any) -> Any:
        value, pull = cr.vjp(anomaly, mean, e)
        return value, pull(1.0)

    function = cr.jit(cr.vmap(one, in_axes=(0, None)))
    return lambda: function(means, ECCENTRICITY)


def whole_arrays(cr: Any, means: np.ndarray, *, backwards: bool) -> Callable[[], Any]:
    """Through one loop over all points, each with an eccentricity of its own."""

    def tangents(means: Any, e: Any) -> Any:
        return anomalies(means, e), cr.elementwise_grad(anomalies, (0, 1))(means, e)

    def cotangents(means: Any, e: Any) -> Any:
        value, pull = cr.vjp(anomalies, means, e)
        return value, pull(np.ones_like(means))

    function, e = cr.jit(cotangents if backwards else tangents), np.full_like(means, ECCENTRICITY)
    return lambda: function(means, e)


def jax_solver(jax: Any) -> Callable[[Any, Any], Any]:
    jnp = jax.numpy

    def solve(mean: Any, e: Any) -> Any:
        def body(state: Any) -> Any:
            x, _ = state
            step = (x - e * jnp.sin(x) - mean) / (1 - e * jnp.cos(x))
            return x - step, step

        return jax.lax.while_loop(lambda s: jnp.abs(s[1]) > TOLERANCE, body, (mean, jnp.ones_like(mean)))[0]

    return solve


def jax_forward(jax: Any, means: np.ndarray) -> Callable[[], Any]:
    solve = jax_solver(jax)

    def one(mean: Any, e: Any) -> Any:
        return solve(mean, e), jax.jacfwd(solve, (0, 1))(mean, e)

    function, given = jax.jit(jax.vmap(one, (0, None))), jax.numpy.asarray(means)

    def call() -> list[np.ndarray]:
        value, (by_mean, by_e) = function(given, ECCENTRICITY)
        return [np.asarray(part) for part in (value, by_mean, by_e)]

    return call


def jax_implicit(jax: Any, means: np.ndarray) -> Callable[[], Any]:
    """Reverse, with a derivative given by hand: JAX has none of its own for a while loop."""
    solve, jnp = jax_solver(jax), jax.numpy
    solver = jax.custom_jvp(solve)

    @solver.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        x = solver(*primals)
        slope = 1 / (1 - primals[1] * jnp.cos(x))
        return x, slope * tangents[0] + jnp.sin(x) * slope * tangents[1]

    def one(mean: Any, e: Any) -> Any:
        value, pull = jax.vjp(solver, mean, e)
        return value, pull(jnp.ones_like(mean))

    function, given = jax.jit(jax.vmap(one, (0, None))), jnp.asarray(means)

    def call() -> list[np.ndarray]:
        value, (by_mean, by_e) = function(given, ECCENTRICITY)
        return [np.asarray(part) for part in (value, by_mean, by_e)]

    return call


def numba_entry(numba: Any, means: np.ndarray) -> Callable[[], Any]:
    from math import cos, sin

    @numba.njit(fastmath=True)
    def solve(means: np.ndarray, e: float) -> np.ndarray:
        out = np.empty((3, means.shape[0]))
        for i in range(means.shape[0]):
            x, step = means[i], 1.0
            while abs(step) > TOLERANCE:
                step = (x - e * sin(x) - means[i]) / (1 - e * cos(x))
                x -= step
            slope = 1 / (1 - e * cos(x))
            out[0, i], out[1, i], out[2, i] = x, slope, sin(x) * slope
        return out

    return lambda: solve(means, ECCENTRICITY)


def casadi_entry(casadi: Any, means: np.ndarray) -> Callable[[], Any]:
    """Its root finder, whose derivative is that of the implicit function theorem."""
    mean, e, x = (casadi.SX.sym(name) for name in ("mean", "e", "x"))
    equation = {"x": x, "p": casadi.vertcat(mean, e), "g": x - e * casadi.sin(x) - mean}
    solver = casadi.rootfinder("solver", "newton", equation, {"abstol": TOLERANCE})
    p = casadi.MX.sym("p", 2)
    root = solver(x0=p[0], p=p)["x"]
    function = casadi.Function("anomaly", [p], [casadi.vertcat(root, casadi.gradient(root, p))])
    points = np.stack([means, np.full_like(means, ECCENTRICITY)], axis=1)
    call = harness.casadi_call(function.map(means.size, "serial"), points)
    return lambda: call().reshape(-1, 3).T


def compare(options: Options, n: int) -> Comparison:
    means = np.random.default_rng(5).uniform(0.05, 3.0, n)
    table = Comparison(f"W7 Kepler by Newton, E and 2 derivatives, N = {n:,}", by_hand(means), unit="ns/point", per=n)
    if harness.have_c():
        table.add("C implicit, arrays kept", lambda: c_entry("implicit", means, fresh=False))
        for name in ("implicit", "forward", "reverse"):
            table.add(f"C {name}", lambda name=name: c_entry(name, means, fresh=True))
    table.add("NumPy by hand", lambda: lambda: by_hand(means))
    if cr := options.peer("chainrule"):
        table.add("chainrule, forward", lambda: forward(cr, means))
        table.add("chainrule, reverse", lambda: reverse(cr, means))
        table.add("chainrule, whole arrays, forward", lambda: whole_arrays(cr, means, backwards=False))
        table.add("chainrule, whole arrays, reverse", lambda: whole_arrays(cr, means, backwards=True))
    if jax := options.peer("jax"):
        table.add("jax, forward", lambda: jax_forward(jax, means))
        table.add("jax, reverse by a rule", lambda: jax_implicit(jax, means))
    if numba := options.peer("numba"):
        table.add("numba, derivative by hand", lambda: numba_entry(numba, means))
    if casadi := options.peer("casadi"):
        table.add("casadi, root finder", lambda: casadi_entry(casadi, means))
    return table


def main() -> None:
    options, found = Options.parse(__doc__, n="100000")
    print(harness.describe_machine())
    results = {}
    for n in map(int, found.n.split(",")):
        table = compare(options, n)
        results[table.title] = table.run(options)
    harness.finish(options, results)


if __name__ == "__main__":
    main()
