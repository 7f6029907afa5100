"""W6: large closed forms: the position of a robot arm with seven joints, and spherical harmonics up to degree 12.

Jacobian and Hessian of the arm at one point, its Jacobian at many, and the gradient of the 169 harmonics.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
from harness import Comparison, Options

JOINTS, DEGREE, POINTS = 7, 12, 100_000
LINKS = np.random.default_rng(3).uniform(0.1, 0.4, (JOINTS, 3)).round(3)  # translations after each joint
ANGLES = np.array([-0.86, -0.32, 0.41, 0.77, -0.15, 0.93, -0.58])
POINT = np.array([0.3, -0.5, 0.81])


def arm(q: Any, sin: Any, cos: Any) -> list[Any]:
    """The position of the arm's end, of any scalar type; its joints turn about z and y in turn."""
    r = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    position = [0.0, 0.0, 0.0]
    for i in range(JOINTS):
        c, s = cos(q[i]), sin(q[i])
        if i % 2 == 0:
            r = [[x * c + y * s, y * c - x * s, z] for x, y, z in r]
        else:
            r = [[x * c - z * s, y, x * s + z * c] for x, y, z in r]
        link = [float(t) for t in LINKS[i]]
        position = [p + x * link[0] + y * link[1] + z * link[2] for p, (x, y, z) in zip(position, r, strict=True)]
    return position


def norm(degree: int, order: int) -> float:
    square = (2 * degree + 1) / (2 * math.pi) / (1 if order else 2)
    return math.sqrt(square * math.factorial(degree - order) / math.factorial(degree + order))


def harmonics(x: Any, y: Any, z: Any) -> list[Any]:
    """The real solid harmonics by recursions for Legendre functions P and for C + iS = (x + iy)ᵐ."""
    legendre: dict[tuple[int, int], Any] = {(0, 0): 1.0}
    c, s = [1.0], [0.0]
    for _ in range(DEGREE):
        c, s = [*c, x * c[-1] - y * s[-1]], [*s, x * s[-1] + y * c[-1]]
    for m in range(DEGREE + 1):
        if m:
            legendre[m, m] = (1.0 - 2.0 * m) * legendre[m - 1, m - 1]
        if m < DEGREE:
            legendre[m + 1, m] = (2.0 * m + 1.0) * z * legendre[m, m]
        for n in range(m + 2, DEGREE + 1):
            first, second = (2.0 * n - 1.0) / (n - m), (n + m - 1.0) / (n - m)
            legendre[n, m] = first * z * legendre[n - 1, m] - second * legendre[n - 2, m]
    return [
        norm(n, abs(m)) * legendre[n, abs(m)] * (s[-m] if m < 0 else c[m])
        for n in range(DEGREE + 1)
        for m in range(-n, n + 1)
    ]


# --- references: derivatives by other means than the yardsticks' -------------------------------------------------


def arm_jacobian(q: np.ndarray) -> np.ndarray:
    """(3, 7) by the complex step."""
    step = 1e-30
    columns = [np.imag(arm(q + 1j * step * unit, np.sin, np.cos)) / step for unit in np.eye(JOINTS)]
    return np.stack(columns, axis=-1)


def arm_hessian(q: np.ndarray) -> np.ndarray:
    """(3, 7, 7) by central differences of sixth order of the Jacobian."""
    h = 2e-3
    weights = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}

    def along(unit: np.ndarray) -> np.ndarray:
        parts = [w * (arm_jacobian(q + k * h * unit) - arm_jacobian(q - k * h * unit)) for k, w in weights.items()]
        return sum(parts[1:], parts[0]) / h

    return np.stack([along(unit) for unit in np.eye(JOINTS)], axis=-1)


def harmonics_gradient(v: np.ndarray) -> np.ndarray:
    """(169, 3) by the complex step."""
    step = 1e-30
    columns = [np.imag(np.array(harmonics(*(v + 1j * step * unit)), complex)) / step for unit in np.eye(3)]
    return np.stack(columns, axis=-1)


# --- peers ----------------------------------------------------------------------------------------------------


def c_module() -> Any:
    module = harness.c_extension("closedform")
    module.set_links(LINKS)
    return module


def casadi_entry(casadi: Any, name: str, x: np.ndarray, *, compiled: bool, points: int = 1) -> Callable[[], np.ndarray]:
    v = casadi.SX.sym("v", len(x))
    entries = [v[i] for i in range(len(x))]
    if name == "harmonics":
        out = casadi.jacobian(casadi.vertcat(*harmonics(*entries)), v).T
    else:
        out = casadi.jacobian(casadi.vertcat(*arm(entries, casadi.sin, casadi.cos)), v)
        if name == "hessian":
            out = casadi.vertcat(*[casadi.vec(casadi.jacobian(out[k, :], v)) for k in range(3)])
        else:
            out = out.T
    function = casadi.Function(f"{name}{points}", [v], [casadi.densify(casadi.vec(out))])
    if points > 1:
        function = function.map(points, "serial")
    if compiled:
        function = harness.casadi_compiled(function, function.name())
    return harness.casadi_call(function, np.ascontiguousarray(x.T))


def symengine_entry(symengine: Any, name: str, x: np.ndarray) -> Callable[[], np.ndarray]:
    v = symengine.symbols(f"v0:{len(x)}")
    values = harmonics(*v) if name == "harmonics" else arm(v, symengine.sin, symengine.cos)
    out = [symengine.diff(symengine.sympify(e), t) for e in values for t in v]
    if name == "hessian":
        out = [symengine.diff(e, t) for e in out for t in v]
    function = symengine.Lambdify(v, out, backend="llvm", cse=True)
    if x.ndim > 1:
        rows = np.ascontiguousarray(x.T)
        return lambda: function(rows)
    result = np.empty(len(out))

    def call() -> np.ndarray:
        function.unsafe_real(x, result)
        return result.copy()

    return call


def numba_arm(numba: Any, *, second: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Jacobian and Hessian by cross products, as in the yardstick."""
    from math import cos, sin

    links = LINKS.copy()

    @numba.njit(fastmath=True)
    def derivatives(q: np.ndarray) -> np.ndarray:
        r, position = np.eye(3), np.zeros(3)
        axis, origin, jac = np.empty((7, 3)), np.empty((7, 3)), np.empty((3, 7))
        for i in range(7):
            c, s = cos(q[i]), sin(q[i])
            for k in range(3):
                axis[i, k], origin[i, k] = r[k, 2 - i % 2], position[k]
                x, y, z = r[k, 0], r[k, 1], r[k, 2]
                if i % 2 == 0:
                    r[k, 0], r[k, 1] = x * c + y * s, y * c - x * s
                else:
                    r[k, 0], r[k, 2] = x * c - z * s, x * s + z * c
                position[k] += r[k, 0] * links[i, 0] + r[k, 1] * links[i, 1] + r[k, 2] * links[i, 2]
        for i in range(7):
            d0, d1, d2 = position[0] - origin[i, 0], position[1] - origin[i, 1], position[2] - origin[i, 2]
            jac[0, i] = axis[i, 1] * d2 - axis[i, 2] * d1
            jac[1, i] = axis[i, 2] * d0 - axis[i, 0] * d2
            jac[2, i] = axis[i, 0] * d1 - axis[i, 1] * d0
        if not second:
            return jac.reshape(21)
        hess = np.empty((3, 7, 7))
        for j in range(7):
            for i in range(j + 1):
                hess[0, i, j] = hess[0, j, i] = axis[i, 1] * jac[2, j] - axis[i, 2] * jac[1, j]
                hess[1, i, j] = hess[1, j, i] = axis[i, 2] * jac[0, j] - axis[i, 0] * jac[2, j]
                hess[2, i, j] = hess[2, j, i] = axis[i, 0] * jac[1, j] - axis[i, 1] * jac[0, j]
        return hess.reshape(147)

    found: Callable[[np.ndarray], np.ndarray] = derivatives
    return found


# --- comparisons ----------------------------------------------------------------------------------------------


def add_symbolic(table: Comparison, options: Options, name: str, x: np.ndarray) -> None:
    if casadi := options.peer("casadi"):
        table.add("casadi, buffers", lambda: casadi_entry(casadi, name, x, compiled=False))
        if harness.have_c():
            table.add("casadi, generated C, buffers", lambda: casadi_entry(casadi, name, x, compiled=True))
    if symengine := options.peer("symengine"):
        table.add("symengine, LLVM", lambda: symengine_entry(symengine, name, x))


def compare_arm(options: Options, order: int) -> Comparison:
    name = ("jacobian", "hessian")[order - 1]
    reference = arm_jacobian(ANGLES) if order == 1 else arm_hessian(ANGLES)
    table = Comparison(f"W6 robot arm, {name}", reference, tolerance=1e-8)
    if harness.have_c():
        c = c_module()
        function = c.arm_jacobian if order == 1 else c.arm_hessian
        table.add("C extension", lambda: lambda: function(ANGLES))
    if cr := options.peer("chainrule"):

        def ours() -> Any:
            def position(q: Any) -> Any:
                return np.stack(arm(q, np.sin, np.cos))

            derivative = cr.jacobian(position) if order == 1 else cr.hessian(position)
            return lambda: derivative(ANGLES)

        table.add("chainrule", ours)
    if jax := options.peer("jax"):

        def jitted() -> Any:
            jnp = jax.numpy

            def position(q: Any) -> Any:
                return jnp.stack(arm(q, jnp.sin, jnp.cos))

            derivative = jax.jit(jax.jacfwd(position) if order == 1 else jax.hessian(position))
            return lambda: np.asarray(derivative(ANGLES))

        table.add("jax", jitted)
    if numba := options.peer("numba"):

        def by_hand() -> Any:
            function = numba_arm(numba, second=order == 2)
            return lambda: function(ANGLES)

        table.add("numba, derivatives by hand", by_hand)
    add_symbolic(table, options, name, ANGLES)
    return table


def compare_batch(options: Options) -> Comparison:
    """Angles (7, N) → Jacobians (3, 7, N): every peer in the layout that suits it."""
    q = np.random.default_rng(1).uniform(-1, 1, (JOINTS, POINTS))
    units = np.eye(JOINTS)[:, :, None]
    reference = np.stack([np.imag(arm(q + 1e-30j * unit, np.sin, np.cos)) / 1e-30 for unit in units], 1)
    points = f"{POINTS:,}"
    table = Comparison(f"W6 robot arm, Jacobian at {points} points", reference, unit="ns/point", per=POINTS)
    if harness.have_c():
        c = c_module()
        table.add("C extension", lambda: lambda: c.arm_jacobians(q))
    if cr := options.peer("chainrule"):

        def ours() -> Any:
            def position(q: Any) -> Any:
                return np.stack(arm(q, np.sin, np.cos))

            derivative = cr.vmap(cr.jacfwd(position), in_axes=1, out_axes=2)
            return lambda: derivative(q)

        table.add("chainrule", ours)
    if jax := options.peer("jax"):

        def jitted() -> Any:
            jnp = jax.numpy
            derivative = jax.jit(jax.vmap(jax.jacfwd(lambda q: jnp.stack(arm(q, jnp.sin, jnp.cos))), 1, 2))
            given = jnp.asarray(q)
            return lambda: np.asarray(derivative(given))

        table.add("jax", jitted)
    if casadi := options.peer("casadi"):

        def mapped() -> Any:
            call = casadi_entry(casadi, "jacobian", q, compiled=harness.have_c(), points=POINTS)
            return lambda: call().reshape(POINTS, -1).T

        table.add("casadi, map, generated C", mapped)
    if symengine := options.peer("symengine"):

        def broadcast() -> Any:
            call = symengine_entry(symengine, "jacobian", q)
            return lambda: call().T

        table.add("symengine, LLVM", broadcast)
    return table


def compare_harmonics(options: Options) -> Comparison:
    table = Comparison("W6 spherical harmonics, gradient", harmonics_gradient(POINT))
    if harness.have_c():
        c = c_module()
        table.add("C extension", lambda: lambda: c.harmonics_gradient(POINT))
    if cr := options.peer("chainrule"):

        def ours() -> Any:
            derivative = cr.jacfwd(lambda v: np.stack(harmonics(v[0], v[1], v[2])))
            return lambda: derivative(POINT)

        table.add("chainrule", ours)
    if jax := options.peer("jax"):

        def jitted() -> Any:
            jnp = jax.numpy

            def values(v: Any) -> Any:
                return jnp.stack([jnp.asarray(e, float) for e in harmonics(v[0], v[1], v[2])])

            derivative = jax.jit(jax.jacfwd(values))
            return lambda: np.asarray(derivative(POINT))

        table.add("jax", jitted)
    add_symbolic(table, options, "harmonics", POINT)
    return table


def main() -> None:
    options, _ = Options.parse(__doc__)
    print(harness.describe_machine())
    harness.finish(
        options,
        {
            table.title: table.run(options)
            for table in (
                compare_arm(options, 1),
                compare_arm(options, 2),
                compare_batch(options),
                compare_harmonics(options),
            )
        },
    )


if __name__ == "__main__":
    main()
