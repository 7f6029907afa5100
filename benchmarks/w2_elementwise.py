"""W2: a function and its derivative, elementwise, y = exp(−(x−μ)²/(2s²))·sin(3x)/(1+x²); time for each element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import harness
import numpy as np
from harness import Comparison, Options

MU, S = 0.4, 1.3


def bump(m: Any, x: Any) -> Any:
    """The function, with the functions of the namespace ``m``."""
    return m.exp(-((x - MU) ** 2) / (2 * S**2)) * m.sin(3 * x) / (1 + x**2)


def by_hand(x: np.ndarray) -> list[np.ndarray]:
    """y and dy/dx, the derivative worked out."""
    u, d = x - MU, 1 / (1 + x * x)
    e, sine = np.exp(-0.5 * u * u / S**2) * d, np.sin(3 * x)
    return [e * sine, e * (3 * np.cos(3 * x) - sine * (u / S**2 + 2 * x * d))]


def c_entry(x: np.ndarray, *, fresh: bool) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """The C function, into new arrays or into some that stay."""
    function = harness.c_extension("elementwise").value_and_derivative
    y, dy = np.empty_like(x), np.empty_like(x)

    def into_old() -> tuple[np.ndarray, np.ndarray]:
        function(x, MU, S, y, dy)
        return y, dy

    return (lambda: function(x, MU, S)) if fresh else into_old


def numba_entry(numba: Any, x: np.ndarray) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """Both as a loop written by hand."""
    from math import cos, exp, sin

    @numba.njit(fastmath=True)
    def both(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y, dy = np.empty_like(x), np.empty_like(x)
        inverse = 1 / (S * S)
        for i in range(x.shape[0]):
            v = x[i]
            u, d = v - MU, 1 / (1 + v * v)
            e, sine, cosine = exp(-0.5 * u * u * inverse) * d, sin(3 * v), cos(3 * v)
            y[i] = e * sine
            dy[i] = e * (3 * cosine - sine * (u * inverse + 2 * v * d))
        return y, dy

    return lambda: both(x)


def symengine_entry(symengine: Any, x: np.ndarray) -> Callable[[], np.ndarray]:
    variable = symengine.Symbol("x")
    y = bump(symengine, variable)
    function = symengine.Lambdify([variable], [y, y.diff(variable)], backend="llvm", cse=True)
    column = x.reshape(-1, 1)
    return lambda: function(column).T


def casadi_entry(casadi: Any, x: np.ndarray, *, compiled: bool) -> Callable[[], np.ndarray]:
    v = casadi.SX.sym("x")
    y = bump(casadi, v)
    both = casadi.Function("both", [v], [casadi.vertcat(y, casadi.gradient(y, v))]).map(x.size, "serial")
    call = harness.casadi_call(harness.casadi_compiled(both, both.name()) if compiled else both, x.reshape(1, -1))
    return lambda: call().reshape(-1, 2).T


def compare(options: Options, n: int) -> Comparison:
    x = np.linspace(-3, 3, n)
    table = Comparison(f"W2 y and dy/dx, N = {n:,}", by_hand(x), unit="ns/element", per=n)
    if harness.have_c():
        table.add("C extension, arrays kept", lambda: c_entry(x, fresh=False))
        table.add("C extension", lambda: c_entry(x, fresh=True))
    table.add("NumPy by hand", lambda: lambda: by_hand(x))
    if cr := options.peer("chainrule"):

        def ours() -> Any:
            function = cr.jit(lambda x: cr.jvp(lambda x: bump(np, x), (x,), (np.ones_like(x),)))
            return lambda: function(x)

        table.add("chainrule", ours)
    if jax := options.peer("jax"):
        given = jax.numpy.asarray(x)

        def jitted() -> Any:
            ones = jax.numpy.ones_like(given)
            function = jax.jit(lambda x: jax.jvp(lambda x: bump(jax.numpy, x), (x,), (ones,)))
            return lambda: [np.asarray(part) for part in function(given)]

        table.add("jax", jitted)
    if casadi := options.peer("casadi"):
        table.add("casadi, map", lambda: casadi_entry(casadi, x, compiled=False))
        if harness.have_c():
            table.add("casadi, map, generated C", lambda: casadi_entry(casadi, x, compiled=True))
    if numba := options.peer("numba"):
        table.add("numba, derivative by hand", lambda: numba_entry(numba, x))
    if symengine := options.peer("symengine"):
        table.add("symengine, LLVM", lambda: symengine_entry(symengine, x))
    return table


def main() -> None:
    options, found = Options.parse(__doc__, n="1000,100000,1000000")
    print(harness.describe_machine())
    results = {}
    for n in map(int, found.n.split(",")):
        table = compare(options, n)
        results[table.title] = table.run(options)
    harness.finish(options, results)


if __name__ == "__main__":
    main()
