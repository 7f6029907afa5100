"""``bind``: the same values, the data's part computed once, copies of the data, other data by binding again."""

from __future__ import annotations

import inspect
from typing import Any

import mpmath
import numpy as np
import pytest

import chainrule as cr
from chainrule.graph import dim as dims
from chainrule.graph.node import Graph
from chainrule.graph.op import Reduce

RNG = np.random.default_rng(5)
X = RNG.normal(3.0, 1.5, 4000)
N = RNG.poisson(20.0, 4000)


def gauss(mu: Any, sigma: Any, x: Any) -> Any:
    return (0.5 * ((x - mu) / sigma) ** 2 + np.log(sigma)).sum()


def weighted(mu: Any, w: Any, x: Any) -> Any:
    return (w * (x - mu) ** 2).sum() + (w * (mu - x)).sum()


def poisson(a: Any, n: Any, t: Any) -> Any:
    rate = 20 * np.exp(-a * t)
    return (rate - n * np.log(rate) + cr.scipy.special.gammaln(n + 1.0)).sum()


def events(graph: Graph) -> int:
    """How many inputs of the graph are long arrays."""
    return sum(dims.product(t.shape) >= 1000 for t in graph.inputs)


def sums(graph: Graph) -> int:
    return sum(isinstance(n.op, Reduce) for n in graph.nodes)


def close(found: Any, wanted: Any) -> None:
    for a, b in zip(np.atleast_1d(found).ravel(), np.atleast_1d(wanted).ravel(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)


def test_sufficient_statistics() -> None:
    f = cr.bind(gauss, x=X)
    for transform in (cr.jit, cr.grad, cr.value_and_grad, cr.hessian, cr.value_grad_hess):
        bound, plain = transform(f), transform(gauss)
        for a, b in zip(_flat(bound(2.9, 1.4)), _flat(plain(2.9, 1.4, X)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11)
        assert events(bound.graph) == 0 and sums(bound.graph) == 0


def _flat(value: Any) -> list[Any]:
    return [v for part in value for v in _flat(part)] if isinstance(value, tuple) else [value]


def test_both_parameters() -> None:
    f = cr.bind(gauss, x=X)
    close(cr.grad(f, argnums=(0, 1))(2.9, 1.4), cr.grad(gauss, argnums=(0, 1))(2.9, 1.4, X))
    close(cr.grad(f, wrt="sigma")(2.9, sigma=1.4), cr.grad(gauss, wrt="sigma")(2.9, 1.4, X))


def test_moments_lose_no_accuracy() -> None:
    x = 1e6 + RNG.normal(0.0, 1e-2, 2000)
    mu, sigma = float(x.mean()) + 1e-3, 1e-2
    with mpmath.workdps(40):
        deviations = [mpmath.mpf(float(v)) - mpmath.mpf(mu) for v in x]
        value = sum(d * d for d in deviations) / (2 * mpmath.mpf(sigma) ** 2) + len(x) * mpmath.log(mpmath.mpf(sigma))
        slope = -sum(deviations) / mpmath.mpf(sigma) ** 2
    f = cr.bind(gauss, x=x)
    found, gradient = cr.value_and_grad(f)(mu, sigma)
    np.testing.assert_allclose(found, float(value), rtol=1e-11)
    np.testing.assert_allclose(gradient, float(slope), rtol=1e-9)


def test_weights() -> None:
    w = RNG.uniform(0.5, 2.0, X.size)
    f = cr.bind(weighted, w=w, x=X)
    close(cr.grad(f)(2.5), cr.grad(weighted)(2.5, w, X))
    close(f(2.5), weighted(2.5, w, X))
    f(2.5)
    assert sums(f.graph) == 0


def test_parts_of_data_leave_sums() -> None:
    t = np.linspace(0, 1, N.size)
    f = cr.bind(poisson, n=N, t=t)
    close(f(0.3), cr.jit(poisson)(0.3, N, t))
    names = {getattr(n.op, "name", "") for n in f.graph.nodes}
    assert "gammaln" not in names and events(f.graph) <= 2


def test_dear_arrays_are_computed_once() -> None:
    def f(a: Any, x: Any) -> Any:
        return (np.exp(-a * cr.numpy.log(cr.numpy.asarray(x) + a * 0 + 2)) * x * x).sum()

    def g(a: Any, x: Any) -> Any:
        return np.sin(a * np.log(x)).sum()

    positive = np.abs(X) + 1
    bound = cr.bind(g, x=positive)
    close(bound(0.7), g(0.7, positive))
    assert "log" not in {getattr(n.op, "name", "") for n in bound.graph.nodes}
    close(cr.bind(f, x=positive)(0.1), cr.jit(f)(0.1, positive))


def test_vmap_keeps_the_benefit() -> None:
    f = cr.vmap(cr.grad(cr.bind(gauss, x=X)), in_axes=(0, None))
    mus = np.linspace(2, 4, 5)
    close(f(mus, 1.4), [cr.grad(gauss)(m, 1.4, X) for m in mus])
    assert events(f.graph) == 0


def test_data_are_snapshots() -> None:
    x = X.copy()
    f = cr.bind(gauss, x=x)
    x[:] = 0
    close(f(2.9, 1.4), gauss(2.9, 1.4, X))
    x[:] = 1
    close(cr.grad(f)(2.9, 1.4), cr.grad(gauss)(2.9, 1.4, X))


def test_other_data_use_the_same_kernel() -> None:
    close(cr.bind(gauss, x=X)(2.9, 1.4), gauss(2.9, 1.4, X))
    before = cr.debug.compilations()
    y = X[::-1] * 2
    close(cr.bind(gauss, x=y)(2.9, 1.4), gauss(2.9, 1.4, y))
    assert cr.debug.compilations() == before


def test_nothing_stale_in_plain_functions() -> None:
    x = X.copy()
    f = cr.jit(gauss)
    close(f(2.9, 1.4, x), gauss(2.9, 1.4, x))
    x *= 2
    close(f(2.9, 1.4, x), gauss(2.9, 1.4, x))


def test_signature_and_calls() -> None:
    def f(a: Any, x: Any, b: Any, *, c: Any = 2.0) -> Any:
        return (a * x).sum() + b * c

    bound = cr.bind(f, x=np.ones(3))
    assert list(inspect.signature(bound).parameters) == ["a", "b", "c"]
    assert bound(1.0, 2.0) == bound(1.0, b=2.0) == bound(a=1.0, b=2.0) == 7.0
    assert bound(1.0, 2.0, c=3.0) == 9.0
    assert cr.bind(f, x=np.ones(3), c=5.0)(1.0, 2.0) == 13.0
    assert cr.bind(bound, b=1.0)(2.0) == 8.0
    with pytest.raises(TypeError, match="missing"):
        bound(1.0)
    with pytest.raises(TypeError, match="x"):
        bound(1.0, 2.0, x=3.0)


def test_containers() -> None:
    def f(p: Any, data: Any) -> Any:
        return (p["m"] * data["x"]).sum() + data["n"] * p["b"]

    bound = cr.bind(f, data={"x": X, "n": 3.0})
    close(bound({"m": 2.0, "b": 1.0}), 2 * X.sum() + 3)
    assert cr.grad(bound)({"m": 2.0, "b": 1.0})["b"] == 3.0


def test_wrong_names() -> None:
    with pytest.raises(TypeError, match=r"gauss\(mu, sigma, x\) has no parameter 'y'"):
        cr.bind(gauss, y=X)
    with pytest.raises(TypeError, match="bind takes a function"):
        cr.bind(3, x=X)  # type: ignore[arg-type]


def test_interpreter() -> None:
    f = cr.bind(gauss, x=X)
    with cr.disable_jit():
        close(cr.grad(f)(2.9, 1.4), cr.grad(gauss)(2.9, 1.4, X))
