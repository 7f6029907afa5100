"""W1: what one call from Python costs: a small gradient, array → new array; a derivative, float → float."""

from __future__ import annotations

import math
from typing import Any

import harness
import numpy as np
from harness import Comparison, Options


def rosenbrock(x: Any) -> Any:
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def rosenbrock_by_hand(x: np.ndarray) -> np.ndarray:
    t = x[1:] - x[:-1] ** 2
    gradient = np.zeros(x.size)
    gradient[:-1] = -400 * x[:-1] * t - 2 * (1 - x[:-1])
    gradient[1:] += 200 * t
    return gradient


def wave(m: Any, x: Any) -> Any:
    """exp(−x²/2)·sin(3x)/(1+x²), with the functions of the namespace `m`."""
    return m.exp(-x * x / 2) * m.sin(3 * x) / (1 + x * x)


def wave_by_hand(x: float) -> float:
    d, e, s = 1.0 / (1.0 + x * x), math.exp(-0.5 * x * x), math.sin(3 * x)
    return e * d * (3 * math.cos(3 * x) - x * s - 2 * x * d * s)


def compare_rosenbrock(options: Options, n: int) -> Comparison:
    x = np.linspace(0.3, 1.4, n)
    table = Comparison(f"W1 Rosenbrock gradient, n = {n}, array → new array", rosenbrock_by_hand(x))
    if harness.have_c():
        c = harness.c_extension("latency")
        table.add("C extension", lambda: lambda: c.rosenbrock_grad(x))
    table.add("NumPy by hand", lambda: lambda: rosenbrock_by_hand(x))
    if cr := options.peer("chainrule"):

        def ours() -> Any:
            grad = cr.grad(rosenbrock)
            return lambda: grad(x)

        table.add("chainrule", ours)
    if jax := options.peer("jax"):

        def jitted() -> Any:
            grad = jax.jit(jax.grad(rosenbrock))
            return lambda: np.asarray(grad(x))

        table.add("jax", jitted)
    if casadi := options.peer("casadi"):

        def symbolic() -> Any:
            v = casadi.SX.sym("x", n)
            f = sum(100.0 * (v[i + 1] - v[i] * v[i]) ** 2 + (1 - v[i]) ** 2 for i in range(n - 1))
            return casadi.Function(f"rosenbrock{n}", [v], [casadi.gradient(f, v)])

        table.add("casadi, buffers", lambda: harness.casadi_call(symbolic(), x))
        if harness.have_c():
            table.add(
                "casadi, generated C, buffers",
                lambda: harness.casadi_call(harness.casadi_compiled(symbolic(), f"rosenbrock{n}"), x),
            )
    if numba := options.peer("numba"):

        def by_hand() -> Any:
            @numba.njit(fastmath=True)
            def gradient(x: np.ndarray) -> np.ndarray:
                result = np.zeros(x.shape[0])
                for i in range(x.shape[0] - 1):
                    t = x[i + 1] - x[i] * x[i]
                    result[i] += -400.0 * x[i] * t - 2.0 * (1.0 - x[i])
                    result[i + 1] += 200.0 * t
                return result

            return lambda: gradient(x)

        table.add("numba, gradient by hand", by_hand)
    return table


def compare_scalar(options: Options) -> Comparison:
    x = 0.7
    table = Comparison("W1 derivative of a scalar function, float → float", wave_by_hand(x))
    if harness.have_c():
        c = harness.c_extension("latency")
        table.add("C extension", lambda: lambda: c.wave_derivative(x))
    table.add("Python by hand", lambda: lambda: wave_by_hand(x))
    if cr := options.peer("chainrule"):

        def ours() -> Any:
            derivative = cr.grad(lambda x: wave(np, x))
            return lambda: derivative(x)

        table.add("chainrule", ours)
    if jax := options.peer("jax"):

        def jitted() -> Any:
            derivative = jax.jit(jax.grad(lambda x: wave(jax.numpy, x)))
            return lambda: float(derivative(x))

        table.add("jax", jitted)
    if casadi := options.peer("casadi"):

        def symbolic() -> Any:
            v = casadi.SX.sym("x")
            function = casadi.Function("wave", [v], [casadi.gradient(wave(casadi, v), v)])
            call = harness.casadi_call(function, np.array([x]))
            return lambda: call()[0]

        table.add("casadi, buffers", symbolic)
    if numba := options.peer("numba"):

        def by_hand() -> Any:
            derivative = numba.njit(fastmath=True)(wave_by_hand)
            return lambda: derivative(x)

        table.add("numba, derivative by hand", by_hand)
    return table


def main() -> None:
    options, _ = Options.parse(__doc__)
    print(harness.describe_machine())
    tables = [compare_rosenbrock(options, 2), compare_rosenbrock(options, 10), compare_scalar(options)]
    harness.finish(options, {table.title: table.run(options) for table in tables})


if __name__ == "__main__":
    main()
