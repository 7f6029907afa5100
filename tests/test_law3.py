"""The branch that was not selected cannot spoil a derivative: compiled, in both modes, twice, batched and in loops.

The expected values are mathematics: the derivative of the selected branch, or, at a kink, the convention that the
table names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special as sp

import chainrule as cr
from chainrule.scipy import special

INF, LOG2 = np.inf, np.log(2.0)
Scalar = Callable[[Any], Any]


def root(x: Any) -> Any:
    return np.where(x > 0, np.sqrt(x), 0)


def roots(x: Any) -> Any:
    """Two branches that share the singular term."""
    return np.where(x > 0, np.sqrt(x), 0) + np.where(x > 1, np.sqrt(x), 1)


def logarithm(x: Any) -> Any:
    return np.where(x > 0, np.log(x), 0)


def sine_ratio(x: Any) -> Any:
    return np.where(x == 0, 1, np.sin(x) / x)


def clipped_root(x: Any) -> Any:
    return np.sqrt(np.maximum(0, x))


def guarded_division(x: Any) -> Any:
    return np.where(np.abs(x) > 1, 1 / x, x)


def nested(x: Any) -> Any:
    return np.where(x > 0, np.where(x > 1, np.log(x - 1), np.sqrt(x)), np.exp(-1000 * x))


def branch(x: Any) -> Any:
    """Takes one number; many are mapped over."""
    if np.ndim(x):
        return cr.vmap(branch)(x)
    return cr.cond(x > 0, lambda y: np.sqrt(y), lambda y: y * 0.0, x)


def chosen(x: Any) -> Any:
    return np.select([x > 1, x > 0], [np.log(x), np.sqrt(x)], 2 * x)


# name: (function, [(x, value, first, second), …]); None: no such derivative is claimed
TABLE: dict[str, tuple[Scalar, list[tuple[float, float, float | None, float | None]]]] = {
    "where sqrt": (root, [(-1, 0, 0, 0), (0, 0, 0, 0), (4, 2, 1 / 4, -1 / 32)]),
    "sum of two": (roots, [(-1, 1, 0, 0), (0, 1, 0, 0), (0.25, 1.5, 1, -2), (4, 4, 0.5, -1 / 16)]),
    "where log": (logarithm, [(-1, 0, 0, 0), (0, 0, 0, 0), (2, LOG2, 0.5, -0.25)]),
    "sin x / x": (sine_ratio, [(0, 1, 0, 0), (np.pi, 0, -1 / np.pi, 2 / np.pi**2)]),
    "sqrt max(0, x)": (clipped_root, [(-1, 0, 0, 0), (4, 2, 1 / 4, -1 / 32)]),
    "guarded 1/x": (guarded_division, [(0, 0, 1, 0), (0.5, 0.5, 1, 0), (2, 0.5, -0.25, 0.25)]),
    "nested where": (nested, [(0, 1, -1000, 1e6), (0.25, 0.5, 1, -2), (3, LOG2, 0.5, -0.25)]),
    "cond": (branch, [(-1, 0, 0, 0), (0, 0, 0, 0), (4, 2, 1 / 4, -1 / 32)]),
    "select": (chosen, [(-1, -2, 2, 0), (0, 0, 2, 0), (0.25, 0.5, 1, -2), (2, LOG2, 0.5, -0.25)]),
    "abs": (np.abs, [(-2, 2, -1, 0), (0, 0, 0, 0), (2, 2, 1, 0)]),
    "sqrt(x²)": (lambda x: np.sqrt(x**2), [(-2, 2, -1, 0), (0, 0, 0, 0), (2, 2, 1, 0)]),
    "sqrt(x²)²": (lambda x: np.sqrt(x**2) ** 2, [(-2, 4, -4, 2), (0, 0, 0, 2)]),
    "x⁰": (lambda x: x**0, [(0, 1, 0, 0), (2, 1, 0, 0)]),
    "x¹": (lambda x: x**1, [(0, 0, 1, 0), (2, 2, 1, 0)]),
    "x²": (lambda x: x**2, [(0, 0, 0, 2), (-3, 9, -6, 2)]),
    "x^2.5": (lambda x: x**2.5, [(0, 0, 0, 0), (4, 32, 20, 7.5)]),
    "max(x, 1)": (lambda x: np.maximum(x, 1), [(0, 1, 0, 0), (2, 2, 1, 0)]),
    "max(x, x)": (lambda x: np.maximum(x, x), [(3, 3, 1, 0)]),
    "tie of max(x, 2x)": (lambda x: np.maximum(x, 2 * x), [(-1, -1, 1, 0), (1, 2, 2, 0)]),
    "softplus": (lambda x: np.logaddexp(0, x), [(-1000, 0, 0, 0), (0, LOG2, 0.5, 0.25), (1000, 1000, 1, 0)]),
    "log1p(exp(x))": (lambda x: np.log1p(np.exp(x)), [(-1000, 0, 0, 0), (0, LOG2, 0.5, 0.25), (1000, 1000, 1, 0)]),
    "log(1 + exp(x))": (lambda x: np.log(1 + np.exp(x)), [(-1000, 0, 0, 0), (0, LOG2, 0.5, 0.25), (1000, 1000, 1, 0)]),
    "expit": (sp.expit, [(-1000, 0, 0, 0), (0, 0.5, 0.25, 0), (1000, 1, 0, 0)]),
    "tanh": (np.tanh, [(-1000, -1, 0, 0), (0, 0, 1, 0), (1000, 1, 0, 0)]),
    "log 2cosh": (lambda x: np.logaddexp(x, -x), [(-1000, 1000, -1, 0), (0, LOG2, 0, 1), (1000, 1000, 1, 0)]),
    "xlogy(0, x)": (lambda x: sp.xlogy(0.0, x), [(0, 0, 0, 0), (2, 0, 0, 0)]),
    "xlogy(where, x)": (lambda x: sp.xlogy(np.where(x > 1, 2.0, 0.0), x), [(0, 0, 0, 0), (2, 2 * LOG2, 1, -0.5)]),
    "clip inside": (lambda x: np.clip(x**2, 0, 4), [(1, 1, 2, 2), (3, 4, 0, 0), (0, 0, None, None)]),
    "clip outside": (lambda x: np.clip(x, 0, 1), [(-1, 0, 0, 0), (0, 0, 0.5, 0), (0.5, 0.5, 1, 0), (1, 1, 0.5, 0)]),
    "x·|x|": (lambda x: x * np.abs(x), [(-1, -1, 2, -2), (0, 0, 0, 0), (1, 1, 2, 2)]),
    "max(x, −x)": (lambda x: np.maximum(x, -x), [(-1, 1, -1, 0), (0, 0, 0, 0), (1, 1, 1, 0)]),
    "hypot(x, 0)": (lambda x: np.hypot(x, 0), [(-2, 2, -1, 0), (0, 0, 0, 0), (2, 2, 1, 0)]),
    "arctan2(x, 0)": (lambda x: np.arctan2(x, 1), [(0, 0, 1, 0)]),
    "sinc": (np.sinc, [(0, 1, 0, -np.pi**2 / 3), (1, 0, -1, 2)]),
    "cbrt of cube": (lambda x: np.where(x == 0, 0, np.cbrt(x)), [(0, 0, 0, 0), (8, 2, 1 / 12, -1 / 144)]),
}  # fmt: skip



def in_while(f: Scalar, steps: Any = 3) -> Scalar:
    """f, added up in a loop whose length is known when it is done."""

    def program(y: Any, steps: Any = steps) -> Any:
        return cr.while_loop(lambda s: s[0] < steps, lambda s: (s[0] + 1, s[1] + f(y) / steps), (0, 0.0))[1]

    return program


def in_python(f: Scalar) -> Scalar:
    """The same by statements, with a branch and a loop in the loop."""

    def program(y: Any) -> Any:
        total, steps = 0.0 * y, 0
        while steps < 4:
            if steps % 2 == 0:
                total = total + f(y) / 4
            else:
                for _ in range(steps):
                    total = total + f(y) / (4 * steps)
            steps = steps + 1
        return total

    return program


LENGTHS = np.arange(1.0, 10.0)


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=2e-14, atol=2e-15)


# In how many ways the same derivative is asked for.
FIRST: dict[str, Callable[[Scalar], Scalar]] = {
    "grad": cr.grad,
    "jacfwd": cr.jacfwd,
    "jacrev": cr.jacrev,
    "vjp": lambda f: lambda x: cr.vjp(f, x)[1](1.0)[0],
    "of a sum": lambda f: lambda x: cr.grad(lambda v: np.sum(f(v)))(np.full(5, x))[4],
    "of a long sum": lambda f: lambda x: cr.grad(lambda v: np.sum(f(v)))(np.full(100, x))[57],
    "jacrev of an array": lambda f: lambda x: cr.jacrev(f)(np.full(3, x))[2, 2],
    "vmap": lambda f: lambda x: cr.vmap(cr.grad(f))(np.full(9, x))[8],
    "grad of vmap": lambda f: lambda x: cr.grad(lambda v: np.sum(cr.vmap(f)(v)))(np.full(9, x))[8],
    "in map": lambda f: lambda x: cr.jacfwd(lambda y: np.sum(cr.map(f, np.ones(3) * y)))(x) / 3,
    "jacrev in scan": lambda f: cr.jacrev(lambda y: cr.scan(lambda c, one: (f(y * one), None), 0.0, np.ones(4))[0]),
    "jacrev in fori_loop": lambda f: cr.jacrev(lambda y: cr.fori_loop(0, 3, lambda i, c: c + f(y) / 3, 0.0)),
    "in scan": lambda f: cr.grad(lambda y: cr.scan(lambda c, one: (f(y * one), None), 0.0, np.ones(4))[0]),
    "in fori_loop": lambda f: cr.grad(lambda y: cr.fori_loop(0, 3, lambda i, c: c + f(y) / 3, 0.0)),
    "vmap of scan": lambda f: lambda x: cr.vmap(
        cr.grad(lambda y: cr.scan(lambda c, one: (f(y * one), None), 0.0, np.ones(2))[0])
    )(np.full(5, x))[3],
    "in while_loop": lambda f: cr.grad(in_while(f)),
    "jacrev in while_loop": lambda f: cr.jacrev(in_while(f)),
    "in Python": lambda f: cr.grad(in_python(f)),
    "jacrev in Python": lambda f: cr.jacrev(in_python(f)),
    "vmap of while_loop": lambda f: lambda x: cr.vmap(cr.grad(in_while(f)))(np.full(9, x), LENGTHS)[[0, 8]],
    "vmap of jacrev of while_loop": lambda f: lambda x: cr.vmap(cr.jacrev(in_while(f)))(np.full(9, x), LENGTHS)[[0, 8]],
    "grad of vmap of while_loop": lambda f: lambda x: cr.grad(lambda v: np.sum(cr.vmap(in_while(f))(v, LENGTHS)))(
        np.full(9, x)
    )[[0, 8]],
}
SECOND: dict[str, Callable[[Scalar], Scalar]] = {
    "hessian": cr.hessian,
    "jacfwd twice": lambda f: cr.jacfwd(cr.jacfwd(f)),
    "jacfwd of jacrev": lambda f: cr.jacfwd(cr.jacrev(f)),
    "jacrev of jacrev": lambda f: cr.jacrev(cr.jacrev(f)),
    "jacrev of jacfwd": lambda f: cr.jacrev(cr.jacfwd(f)),
    "of a sum": lambda f: lambda x: cr.hessian(lambda v: np.sum(f(v)))(np.full(5, x))[4, 4],
    "of a long sum": lambda f: lambda x: cr.hessian(lambda v: np.sum(f(v)))(np.full(20, x))[7, 7],
    "vmap": lambda f: lambda x: cr.vmap(cr.hessian(f))(np.full(9, x))[8],
    "jacrev of jacrev in scan": lambda f: cr.jacrev(
        cr.jacrev(lambda y: cr.scan(lambda c, one: (f(y * one), None), 0.0, np.ones(4))[0])
    ),
    "in scan": lambda f: cr.hessian(lambda y: cr.scan(lambda c, one: (f(y * one), None), 0.0, np.ones(4))[0]),
    "in fori_loop": lambda f: cr.hessian(lambda y: cr.fori_loop(0, 3, lambda i, c: c + f(y) / 3, 0.0)),
    "in while_loop": lambda f: cr.hessian(in_while(f)),
    "in Python": lambda f: cr.hessian(in_python(f)),
    "vmap of while_loop": lambda f: lambda x: cr.vmap(cr.hessian(in_while(f)))(np.full(9, x), LENGTHS)[[0, 8]],
    "vmap of jacfwd of jacrev of while_loop": lambda f: lambda x: cr.vmap(cr.jacfwd(cr.jacrev(in_while(f))))(
        np.full(9, x), LENGTHS
    )[[0, 8]],
}
# of these only some, as they take long to compile
DEEP: dict[str, Callable[[Scalar], Scalar]] = {
    "jacrev of jacrev in while_loop": lambda f: cr.jacrev(cr.jacrev(in_while(f))),
    "vmap of jacrev of jacrev of while_loop": lambda f: lambda x: cr.vmap(cr.jacrev(cr.jacrev(in_while(f))))(
        np.full(9, x), LENGTHS
    )[[0, 8]],
}



@pytest.mark.parametrize("name", TABLE)
def test_values(name: str) -> None:
    f, rows = TABLE[name]
    for x, value, _, _ in rows:
        close(cr.jit(f)(float(x)), value)
        close(cr.jit(f)(np.full(9, float(x))), value)


@pytest.mark.parametrize("way", FIRST)
@pytest.mark.parametrize("name", TABLE)
def test_first_derivatives(name: str, way: str) -> None:
    f, rows = TABLE[name]
    derivative = FIRST[way](f)
    for x, _, first, _ in rows:
        if first is not None:
            close(derivative(float(x)), first)


@pytest.mark.parametrize("way", SECOND)
@pytest.mark.parametrize("name", TABLE)
def test_second_derivatives(name: str, way: str) -> None:
    f, rows = TABLE[name]
    derivative = SECOND[way](f)
    for x, _, _, second in rows:
        if second is not None:
            close(derivative(float(x)), second)


@pytest.mark.parametrize("way", DEEP)
@pytest.mark.parametrize("name", ["where sqrt", "sum of two", "sin x / x", "nested where", "cond", "x^2.5", "softplus"])
def test_second_derivatives_in_reverse_twice(name: str, way: str) -> None:
    f, rows = TABLE[name]
    derivative = DEEP[way](f)
    for x, _, _, second in rows:
        if second is not None:
            close(derivative(float(x)), second)


# --- of several arguments ----------------------------------------------------------------------------------------

# name: (function, point, gradient): the slope of the selected branch, the mean of those that tie
GRADIENTS: dict[str, tuple[Scalar, list[float], list[float]]] = {
    "maximum, tie": (lambda v: np.maximum(v[0], v[1]), [1, 1], [0.5, 0.5]),
    "minimum, tie": (lambda v: np.minimum(v[0], v[1]), [1, 1], [0.5, 0.5]),
    "maximum of 2x and x": (lambda v: np.maximum(2 * v[0], v[1]), [1, 1], [2, 0]),
    "max": (np.max, [1, 3, 2], [0, 1, 0]),
    "max, tie": (np.max, [1, 3, 3], [0, 0.5, 0.5]),
    "min, tie": (np.min, [1, 1, 3], [0.5, 0.5, 0]),
    "norm": (np.linalg.norm, [3, 0, 4], [0.6, 0, 0.8]),
    "norm at 0": (np.linalg.norm, [0, 0, 0], [0, 0, 0]),
    "norm² at 0": (lambda v: np.linalg.norm(v) ** 2, [0, 0, 0], [0, 0, 0]),
    "std of equal values": (np.std, [2, 2, 2], [0, 0, 0]),
    "hypot at 0": (lambda v: np.hypot(v[0], v[1]), [0, 0], [0, 0]),
    "prod with a 0": (np.prod, [0, 2, 3], [6, 0, 0]),
    "prod with two": (np.prod, [0, 0, 3], [0, 0, 0]),
    "cumprod with a 0": (lambda v: np.sum(np.cumprod(v)), [2, 0, 3], [1, 8, 0]),
    "logsumexp of −inf": (lambda v: special.logsumexp(v), [-INF, 0, 0], [0, 0.5, 0.5]),
    "logsumexp, large": (lambda v: special.logsumexp(v), [1000, 1000, -1000], [0.5, 0.5, 0]),
    "log sum exp": (lambda v: np.log(np.sum(np.exp(v))), [1000, 1000, -1000], [0.5, 0.5, 0]),
    "softmax": (lambda v: special.softmax(v)[0], [1000, 1000], [0.25, -0.25]),
    "log softmax": (lambda v: special.log_softmax(v)[0], [-1000, 1000], [1, -1]),
    "xlogy(0, 2)": (lambda v: sp.xlogy(v[0], v[1]), [0, 2], [LOG2, 0]),
    "x^y at x=0, y=0": (lambda v: v[0] ** v[1], [0, 0], [0, 0]),
    "x^y at x=0, y=1": (lambda v: v[0] ** v[1], [0, 1], [1, 0]),
    "x^y at x=0, y=2": (lambda v: v[0] ** v[1], [0, 2], [0, 0]),
    "x^y at x=0, y=2.5": (lambda v: v[0] ** v[1], [0, 2.5], [0, 0]),
    "x^y at x=2, y=0": (lambda v: v[0] ** v[1], [2, 0], [0, LOG2]),
    "a masked sum": (lambda v: np.sum(np.sqrt(v), where=v > 0), [-1, 0, 4], [0, 0, 0.25]),
    "a masked row": (lambda v: np.sum(np.where(v[:, None] > 0, np.log(v)[:, None], 0)), [-1, 0, 2], [0, 0, 0.5]),
}  # fmt: skip


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str) -> None:
    f, point, gradient = GRADIENTS[name]
    x = np.array(point, float)
    close(cr.grad(f)(x), gradient)
    close(cr.jacfwd(f)(x), gradient)
    close(cr.jacrev(f)(x), gradient)
    close(cr.vmap(cr.grad(f))(np.stack([x, x])), [gradient, gradient])
    close(cr.grad(lambda y: cr.fori_loop(0, 2, lambda i, s: s + f(y), 0.0))(x), np.multiply(2, gradient))
    close(cr.grad(in_while(f))(x), gradient)
    close(cr.vmap(cr.jacrev(in_while(f)))(np.stack([x, x]), np.array([1.0, 4.0])), [gradient, gradient])


@pytest.mark.parametrize("n", [3, 20])
def test_squares_of_norms_are_smooth(n: int) -> None:
    zero, two = np.zeros(n), 2 * np.eye(n)
    for f in (
        lambda x: np.linalg.norm(x) ** 2,
        lambda x: np.square(np.linalg.norm(x)),
        lambda x: np.sqrt(np.sum(x**2)) ** 2,
        lambda x: np.sqrt(np.dot(x, x)) * np.sqrt(np.dot(x, x)),
        lambda x: np.sum(np.abs(x) ** 2),
    ):
        for mode in (cr.hessian, lambda f: cr.jacfwd(cr.jacrev(f)), lambda f: cr.jacrev(cr.jacfwd(f))):
            close(mode(f)(zero), two)
        close(cr.vmap(cr.hessian(f))(np.stack([zero, zero])), [two, two])


def test_second_derivatives_of_logsumexp() -> None:
    wanted = [[0, 0, 0], [0, 0.25, -0.25], [0, -0.25, 0.25]]
    for x in ([-INF, 0.0, 0.0], [-1000.0, 1000.0, 1000.0]):
        close(cr.hessian(special.logsumexp)(np.array(x)), wanted)
        close(cr.jacrev(cr.jacfwd(special.logsumexp))(np.array(x)), wanted)
