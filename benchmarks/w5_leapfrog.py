"""W5: a loop of 1000 leapfrog steps of an anharmonic oscillator: final energy, and its gradient by (k, l, q0).

By forward mode, which is chosen for three numbers, and by reverse mode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import harness
import numpy as np
from harness import Comparison, Options

STEPS, DT = 1000, 0.01
PARAMETERS = np.array([1.3, 0.4, 0.9])


def kick(q: Any, p: Any, k: Any, l: Any) -> Any:  # noqa: E741
    return p - 0.5 * DT * q * (k + l * q * q)


def energy(q: Any, p: Any, k: Any, l: Any) -> Any:  # noqa: E741
    return 0.5 * p * p + 0.5 * k * q * q + 0.25 * l * q * q * q * q


def final(parameters: Any) -> Any:
    """The final energy, of any scalar type, step by step."""
    k, l, q = parameters  # noqa: E741
    p = 0.0 * q
    for _ in range(STEPS):
        p = kick(q, p, k, l)
        q = q + DT * p
        p = kick(q, p, k, l)
    return energy(q, p, k, l)


def reference() -> np.ndarray:
    """The energy, and its gradient by the complex step."""
    step = 1e-30
    gradient = [np.imag(final(list(PARAMETERS + 1j * step * unit))) / step for unit in np.eye(3)]
    return np.array([final(PARAMETERS), *gradient])


def scanned(scan: Callable[..., Any], parameters: Any) -> Any:
    """The final energy by a `scan` with JAX's signature."""
    k, l, q = parameters[0], parameters[1], parameters[2]  # noqa: E741

    def step(state: Any, _: Any) -> Any:
        q, p = state
        p = kick(q, p, k, l)
        q = q + DT * p
        return (q, kick(q, p, k, l)), None

    (q, p), _ = scan(step, (q, 0.0 * q), None, length=STEPS)
    return energy(q, p, k, l)


def c_entry(name: str, results: int) -> Callable[[], Any]:
    import ctypes

    function = getattr(harness.c_library("leapfrog"), f"leapfrog_{name}")
    function.restype, function.argtypes = None, [ctypes.c_void_p] * 2
    out = np.zeros(results)
    given, taken = PARAMETERS.ctypes.data, out.ctypes.data

    def call() -> np.ndarray:
        function(given, taken)
        return out.copy()

    return call


def numba_entry(numba: Any) -> Callable[[], Any]:
    @numba.njit(fastmath=True)
    def adjoint(parameters: np.ndarray) -> np.ndarray:
        k, l, q = parameters  # noqa: E741
        half, p = 0.5 * DT, 0.0
        positions = np.empty(STEPS + 1)
        positions[0] = q
        for i in range(STEPS):
            p -= half * q * (k + l * q * q)
            q += DT * p
            p -= half * q * (k + l * q * q)
            positions[i + 1] = q
        s = q * q
        bk, bl, bq, bp = 0.5 * s, 0.25 * s * s, q * (k + l * s), p
        out = np.empty(4)
        out[0] = 0.5 * p * p + 0.5 * k * s + 0.25 * l * s * s
        for i in range(STEPS - 1, -1, -1):
            q = positions[i + 1]
            bk -= half * q * bp
            bl -= half * q * q * q * bp
            bq -= half * (k + 3 * l * q * q) * bp
            bp += DT * bq
            q = positions[i]
            bk -= half * q * bp
            bl -= half * q * q * q * bp
            bq -= half * (k + 3 * l * q * q) * bp
        out[1], out[2], out[3] = bk, bl, bq
        return out

    return lambda: adjoint(PARAMETERS)


def compare_gradient(options: Options) -> Comparison:
    table = Comparison(f"W5 leapfrog, {STEPS} steps, energy and gradient", reference())
    if harness.have_c():
        table.add("C adjoint", lambda: c_entry("reverse", 4))
        table.add("C forward", lambda: c_entry("forward", 4))
    if cr := options.peer("chainrule"):

        def forward() -> Any:
            function = cr.value_and_grad(lambda p: scanned(cr.scan, p))
            return lambda: function(PARAMETERS)

        def backward() -> Any:
            @cr.jit
            def function(p: Any) -> Any:
                value, pull = cr.vjp(lambda p: scanned(cr.scan, p), p)
                return value, pull(1.0)[0]

            return lambda: function(PARAMETERS)

        table.add("chainrule", forward)
        table.add("chainrule, reverse", backward)
    if jax := options.peer("jax"):

        def jitted(mode: str) -> Any:
            def value(p: Any) -> Any:
                return scanned(jax.lax.scan, p)

            both = jax.value_and_grad(value) if mode == "reverse" else lambda p: (value(p), jax.jacfwd(value)(p))
            function = jax.jit(both)

            def call() -> np.ndarray:
                one, many = function(PARAMETERS)
                return np.concatenate([np.asarray(one)[None], np.asarray(many)])

            return call

        table.add("jax, reverse", lambda: jitted("reverse"))
        table.add("jax, forward", lambda: jitted("forward"))
    if numba := options.peer("numba"):
        table.add("numba, adjoint by hand", lambda: numba_entry(numba))
    if casadi := options.peer("casadi"):

        def unrolled() -> Any:
            p = casadi.SX.sym("p", 3)
            value = final([p[0], p[1], p[2]])
            out = casadi.vertcat(value, casadi.gradient(value, p))
            return harness.casadi_call(casadi.Function("leapfrog", [p], [casadi.densify(out)]), PARAMETERS)

        table.add("casadi, unrolled, buffers", unrolled)
    return table


def compare_value(options: Options) -> Comparison:
    table = Comparison(f"W5 leapfrog, {STEPS} steps, energy", reference()[:1])
    if harness.have_c():
        table.add("C value", lambda: c_entry("value", 1))
    if cr := options.peer("chainrule"):

        def ours() -> Any:
            function = cr.jit(lambda p: scanned(cr.scan, p))
            return lambda: function(PARAMETERS)

        table.add("chainrule", ours)
    table.add("Python", lambda: lambda: final(PARAMETERS.tolist()))
    return table


def main() -> None:
    options, _ = Options.parse(__doc__)
    tables = [compare_gradient(options), compare_value(options)]
    harness.finish(options, {table.title: table.run(options) for table in tables})


if __name__ == "__main__":
    main()
