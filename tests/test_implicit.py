"""root and fixed_point: solutions and their derivatives against closed forms and mpmath at 40 digits."""

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import chainrule as cr


def square_root(a: Any) -> Any:
    return cr.root(lambda x: x**2 - a, 1.0)


def kepler(m: Any, e: Any) -> Any:
    """The eccentric anomaly."""
    return cr.root(lambda x, m, e: x - e * np.sin(x) - m, m, m, e)


def cosine(a: Any) -> Any:
    return cr.fixed_point(lambda x: np.cos(a * x), 1.0)


def polar(p: Any) -> Any:
    """The point on a circle of radius² p₀ whose coordinates have the ratio p₁."""
    return cr.root(lambda x: np.stack([x[0] ** 2 + x[1] ** 2 - p[0], x[0] - p[1] * x[1]]), np.array([1.0, 1.0]))


def _exact(f: Callable[[Any], Any], at: float, order: int) -> float:
    with mp.workdps(40):
        return float(mp.diff(f, at, order))


@pytest.mark.parametrize("a", [0.3, 2.0, 1e6])
def test_the_square_root_at_orders_0_to_3(a: float) -> None:
    f: Callable[..., Any] = square_root
    for order in range(4):
        np.testing.assert_allclose(f(a), _exact(mp.sqrt, a, order), rtol=1e-12)
        f = cr.grad(f)
    np.testing.assert_allclose(cr.jacrev(square_root)(a), 0.5 / np.sqrt(a), rtol=1e-13)
    np.testing.assert_allclose(cr.jvp(square_root, (a,), (2.0,))[1], 1 / np.sqrt(a), rtol=1e-13)


def test_keplers_equation() -> None:
    m, e = 1.1, 0.6
    with mp.workdps(40):

        def exact(m: Any, e: Any) -> Any:
            return mp.findroot(lambda x: x - e * mp.sin(x) - m, m)

        first = [float(mp.diff(exact, (m, e), n)) for n in ((1, 0), (0, 1))]
        second = [[float(mp.diff(exact, (m, e), n)) for n in row] for row in (((2, 0), (1, 1)), ((1, 1), (0, 2)))]
        value = float(exact(m, e))
    assert abs(kepler(m, e) - value) < 1e-15
    np.testing.assert_allclose(cr.grad(kepler, argnums=(0, 1))(m, e), first, rtol=1e-13)
    np.testing.assert_allclose(cr.jacrev(cr.jacfwd(kepler, argnums=(0, 1)), argnums=(0, 1))(m, e), second, rtol=1e-12)
    np.testing.assert_allclose(cr.hessian(kepler, argnums=(0, 1))(m, e), second, rtol=1e-12)


def test_batches_end_each_by_itself() -> None:
    a = np.array([0.01, 2.0, 1e8])
    np.testing.assert_allclose(cr.vmap(square_root)(a), np.sqrt(a), rtol=1e-15)
    np.testing.assert_allclose(cr.vmap(cr.grad(square_root))(a), 0.5 / np.sqrt(a), rtol=1e-14)
    np.testing.assert_allclose(cr.grad(lambda a: np.sum(cr.vmap(square_root)(a)))(a), 0.5 / np.sqrt(a), rtol=1e-14)


@pytest.mark.parametrize("jacobian", [cr.jacfwd, cr.jacrev])
def test_vectors(jacobian: Callable[..., Any]) -> None:
    p = np.array([5.0, 2.0])
    np.testing.assert_allclose(polar(p), [2.0, 1.0], rtol=1e-14)
    # y = √(p₀/(1+p₁²)), x = p₁·y
    exact = [[0.2, 0.2], [0.1, -0.4]]
    np.testing.assert_allclose(jacobian(polar)(p), exact, rtol=1e-13)
    weight = np.array([1.0, 3.0])
    second = jacobian(cr.grad(lambda p: polar(p) @ weight))(p)
    with mp.workdps(40):

        def f(r: Any, t: Any) -> Any:
            return mp.sqrt(r / (1 + t**2)) * (t + 3)

        wanted = [[float(mp.diff(f, (5, 2), n)) for n in row] for row in (((2, 0), (1, 1)), ((1, 1), (0, 2)))]
    np.testing.assert_allclose(second, wanted, rtol=1e-11)


def test_pytrees() -> None:
    def solve(p: Any) -> Any:
        return cr.root(
            lambda d, p: {"a": d["a"] * d["b"][0] - p, "b": (d["b"][0] - 2.0 * d["a"],)}, {"a": 1.0, "b": (1.0,)}, p
        )

    value = cr.jit(solve)(8.0)
    assert abs(value["a"] - 2) < 1e-14
    assert abs(value["b"][0] - 4) < 1e-14
    slope = cr.jacobian(solve)(8.0)
    np.testing.assert_allclose([slope["a"], slope["b"][0]], [0.125, 0.25], rtol=1e-13)


def test_a_large_system_goes_through_lapack() -> None:
    n = 40
    m = np.diag(np.full(n, 4.0)) + np.diag(np.ones(n - 1), 1)

    def f(b: Any) -> Any:
        return cr.root(lambda x: m @ x + 0.1 * x**3 - b, np.zeros(n))

    b = np.linspace(0.0, 1.0, n)
    x = f(b)
    np.testing.assert_allclose(m @ x + 0.1 * x**3, b, atol=1e-14)
    np.testing.assert_allclose(cr.jacrev(f)(b), np.linalg.inv(m + np.diag(0.3 * x**2)), rtol=1e-11, atol=1e-14)


def test_fixed_points() -> None:
    with mp.workdps(40):

        def exact(a: Any) -> Any:
            return mp.findroot(lambda x: x - mp.cos(a * x), 0.7)

        wanted = [float(mp.diff(exact, 1, k)) for k in range(3)]
    assert abs(cosine(1.0) - wanted[0]) < 3e-12
    for derivative in (cr.grad, cr.jacrev, cr.jacfwd):
        assert abs(derivative(cosine)(1.0) - wanted[1]) < 3e-11
    assert abs(cr.grad(cr.grad(cosine))(1.0) - wanted[2]) < 3e-11
    m = np.array([[0.4, 0.1], [0.2, 0.3]])

    def linear(b: Any) -> Any:
        return cr.fixed_point(lambda x, b: m @ x + b, np.zeros(2), b, tol=1e-15)

    inverse = np.linalg.inv(np.eye(2) - m)
    np.testing.assert_allclose(linear(np.ones(2)), inverse @ np.ones(2), rtol=1e-14)
    np.testing.assert_allclose(cr.jacrev(linear)(np.ones(2)), inverse, rtol=1e-14)


def test_in_loops_and_branches() -> None:
    def f(a: Any, n: Any) -> Any:
        total = 0.0
        for i in range(n):
            if i % 2 == 0:
                total = total + cr.root(lambda x, i: x**3 - a - i, 1.0, i)
        return total

    np.testing.assert_allclose(cr.jit(f)(2.0, 5), sum((2.0 + i) ** (1 / 3) for i in (0, 2, 4)), rtol=1e-14)
    slope = sum((2.0 + i) ** (-2 / 3) / 3 for i in (0, 2, 4))
    np.testing.assert_allclose(cr.grad(f)(2.0, 5), slope, rtol=1e-13)
    np.testing.assert_allclose(cr.jacrev(f)(2.0, 5), slope, rtol=1e-13)


def test_the_start_has_no_derivative() -> None:
    assert cr.grad(lambda x0: cr.root(lambda x: x**2 - 2, x0))(1.0) == 0.0


def test_hard_starts_and_roots_at_zero() -> None:
    assert abs(cr.root(lambda x: np.arctan(x - 3), 20.0) - 3) < 1e-14  # plain Newton diverges
    assert cr.root(np.sin, 0.5) == 0.0
    assert cr.root(lambda x: x**3 - x, 0.4) == 0.0
    assert cr.root(lambda x: x - 1, 1) == 1.0  # an integer start, and a root from the start


def test_what_does_not_converge_is_nan() -> None:
    assert np.isnan(square_root(-1.0))
    assert np.isnan(cr.grad(square_root)(-1.0))
    assert np.isnan(cr.root(lambda x: x**2 - 2, 1.0, max_steps=2))
    assert np.isnan(cr.root(lambda x: x - np.nan, 1.0))
    assert np.isnan(cr.root(lambda x: 0 * x + 1, 1.0))
    assert np.isnan(cr.fixed_point(lambda x: 2 * x + 1, 1.0))
    assert np.isnan(cr.fixed_point(np.cos, 1.0, max_steps=3))
    found = cr.vmap(square_root)(np.array([-1.0, 4.0]))
    np.testing.assert_array_equal(found, [np.nan, 2.0])


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: cr.root(lambda x: (x, x), 1.0), TypeError, "has another structure"),
        (lambda: cr.root(lambda x: x * np.ones(2), 1.0), TypeError, r"float64\[2\] for the unknown"),
        (lambda: cr.root(3, 1.0), TypeError, "takes a function"),
        (lambda: cr.root(lambda x: x, 1j), TypeError, "solves for real numbers"),
        (lambda: cr.root(lambda x: x, 1.0, tol=0), ValueError, "tol and max_steps are positive"),
        (lambda: cr.fixed_point(lambda x: {"a": x}, 1.0), TypeError, "the result of <lambda> has another structure"),
        (lambda: cr.fixed_point(lambda x: x, 1.0, max_steps=0), ValueError, "tol and max_steps are positive"),
    ],
)
def test_bad_input(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
