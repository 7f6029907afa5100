"""NumPy source: run by Python it gives what the interpreter gives, bit for bit; and it reads well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import chainrule as cr
from chainrule.codegen.to_numpy import numpy_source
from chainrule.graph.evaluate import evaluate
from chainrule.graph.node import Graph
from chainrule.scipy import special
from tests.strategies import Program, graphs

RNG = np.random.default_rng(4)
V, W = RNG.normal(size=6), RNG.uniform(0.5, 2.0, 6)
A, B = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 5))
SPD = A.T @ A + 3 * np.eye(3)
N = cr.spec("n")


def run(graph: Graph, args: list[Any]) -> list[Any]:
    names: dict[str, Any] = {}
    exec(numpy_source(graph, "written"), names)
    with np.errstate(all="ignore"):
        found = names["written"](*args)
    return list(found) if len(graph.outputs) > 1 else [found]


def newton(a: Any) -> Any:
    x = a
    while abs(x * x - a) > 1e-12:
        x = (x + a / x) / 2
    return x


def escape(c: Any) -> Any:
    z = 0.0
    for i in range(40):
        z = z * z + c
        if z > 2:
            return z * i
    return z


def updated(x: Any) -> Any:
    y = np.zeros_like(x)
    y[0] = x[0]
    for i in range(1, len(x)):
        y[i] = np.sin(y[i - 1]) * x[i]
    return np.sum(y**2)


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "arithmetic": (lambda x, y: (x + y) * (x - y) / (x - (y - 2)) - -x ** (y + 1) / (2 / y), (1.7, 2.3)),
    "functions": (lambda x: np.exp(-x) + special.erf(x) * np.arctan2(x, 2.0) + np.hypot(x, 1.0), (0.4,)),
    "where": (lambda x: np.where(x > 0, np.sqrt(np.abs(x)), x**3), (V,)),
    "outer": (lambda x, y: np.exp(-((x[:, None] - y) ** 2)), (V, W)),
    "reductions": (lambda a: (a.sum(), a.max(axis=0), a.argmin(axis=1), a.prod(), np.any(a > 1), a.mean()), (A,)),
    "cumulative": (lambda x: np.cumsum(x)[::-1] + np.cumprod(x), (W,)),
    "views": (lambda a: (a.T.reshape(-1)[1:-1:2], np.flip(a, 1), np.pad(a, 1), np.concatenate([a, 2 * a])), (A,)),
    "gathers": (lambda x: x[np.array([3, 0, 0, 2])] * 2, (V,)),
    "scatter": (lambda x: cr.numpy.zeros(8).at[np.array([1, 1, 5])].add(x[:3]), (V,)),
    "products": (lambda a, b: (a @ b, np.einsum("ij,jk->ki", a, b), np.dot(a[0], b[:, 0])), (A, B)),
    "cholesky": (lambda a: np.linalg.cholesky(a), (SPD,)),
    "sort": (lambda x: (np.sort(x), np.argsort(x)), (V,)),
    "complex": (lambda x: np.abs(np.exp(1j * x) / (2 - 1j * x)) ** 2, (V,)),
    "integers": (lambda k: (k // 3, k % 4, k & 5, k << 1), (np.arange(-3, 6),)),
    "constants": (lambda x: x * np.array([1.0, np.inf, -2.5, np.nan, 0.1, 7.0]) - np.inf, (V,)),
    "while": (newton, (2.0,)),
    "return in a for": (escape, (0.3,)),
    "array in a loop": (updated, (V,)),
    "gradient of a loop": (cr.grad(updated), (V,)),
    "gradient of a while": (cr.grad(newton), (2.0,)),
    "scan": (lambda x: cr.scan(lambda c, v: (c + v, c * v), 0.5, x), (V,)),
    "cond": (lambda x: cr.cond(x > 1, lambda: x**2, lambda: -x), (0.7,)),
    "switch": (lambda k, x: cr.switch(k, [lambda: x, lambda: x**2, lambda: x**3]), (2, 0.7)),
    "vmap of while": (cr.vmap(newton), (W,)),
    "hessian": (cr.hessian(lambda p, x: np.sum((p[0] * x - p[1]) ** 2) * p[1]), (np.array([1.0, 2.0]), V)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("simplified", [False, True])
def test_programs(name: str, simplified: bool) -> None:
    function, args = CASES[name]
    graph = cr.trace(cr.jit(function) if simplified else function, *args)
    assert_same(run(graph, list(args)), evaluate(graph, list(args)))


def assert_same(found: list[Any], expected: list[Any]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-15, atol=0)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(graphs(size=15))
def test_random_programs(drawn: Program) -> None:
    graph, args = drawn
    for a, b in zip(run(graph, args), evaluate(graph, args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_named_sizes() -> None:
    graph = cr.trace(lambda x: np.sum(x) / len(x) + np.arange(len(x))[-1], N)
    for n in (2, 5):
        assert run(graph, [np.ones(n)]) == [1.0 + n - 1]


def test_a_size_and_an_argument_of_the_same_name() -> None:
    graph = cr.trace(lambda n, x: n * x.sum() / len(x) + 1, cr.spec(), N)
    assert run(graph, [3.0, np.ones(4)]) == [4.0]


def test_names_and_brackets() -> None:
    def pdf(x: Any, mu: Any, sigma: Any) -> Any:
        z = (x - mu) / sigma
        return np.exp(-(z**2) / 2) / sigma

    text = numpy_source(cr.trace(pdf, N, cr.spec(), cr.spec()), "pdf")
    assert text == (
        "import numpy as np\n\n\n"
        "def pdf(x, mu, sigma):\n"
        "    z = (x - mu) / sigma\n"
        "    return np.exp(-z ** 2.0 / 2.0) / sigma\n"
    )


def test_names_that_python_or_numpy_has() -> None:
    graph = cr.trace(lambda p: p["lambda"] * p["np"] - p["1"], {"lambda": 2.0, "np": 3.0, "1": 1.0})
    assert run(graph, [1.0, 2.0, 3.0]) == [2.0 * 3.0 - 1.0]


def test_what_numpy_cannot() -> None:
    with pytest.raises(ValueError, match="foreign"):
        numpy_source(cr.trace(lambda x: cr.foreign(lambda v: v + 1)(x), 1.0), "f")
