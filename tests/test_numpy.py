"""The names of NumPy and SciPy under ``chainrule``: traced as NumPy, and outside of a trace NumPy itself."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg as sl
import scipy.special as sp

import chainrule.numpy as jnp
import chainrule.scipy as csp
from chainrule.graph.trace import spec, trace
from tests.graph.traced import ARRAYS, agree, names, table

TRACED = table(
    """
    jnp.array([a, 1.0, 2 * a])
    jnp.array([[a, 1.0], [v[0], v[1]]])
    jnp.array([v, w])
    jnp.array(a, dtype=np.float32)
    jnp.asarray(v) + jnp.asarray([1, 2, 3, 4, 5, 6])
    jnp.stack([a, 1.0])
    jnp.zeros(3) + a
    jnp.zeros((2, 3), dtype=int) + jnp.ones((2, 3), np.float32) * a
    jnp.full(3, a)
    jnp.full((2, 2), 7) * a
    jnp.full((2, 6), v)
    jnp.eye(3) * a
    jnp.eye(2, 4, 1) * a
    jnp.identity(2) @ v[:2]
    jnp.tri(3, k=-1) * a
    jnp.arange(5) * a
    jnp.arange(2, 12, 3) * a
    jnp.arange(0.0, 1.0, 0.25) * a
    jnp.arange(50) * a
    jnp.arange(10, 90, 2) * a
    jnp.linspace(0, 1, 5) * a
    jnp.linspace(a, 2, 5)
    jnp.logspace(0, a, 4)
    jnp.geomspace(1, a, 4)
    jnp.sin(v) + jnp.exp(1.0) + jnp.pi
    jnp.sum([a, 2 * a])
    jnp.mean(v) + jnp.linalg.norm(v)
    jnp.take(np.arange(4.0) ** 2, k % 4)
    jnp.searchsorted([0.2, 0.5], u)
    jnp.where(v > 0, jnp.inf, jnp.nan)
    jnp.zeros_like(v).at[1].set(a)
    jnp.concatenate([v, jnp.ones(2)])
    jnp.linalg.inv(s)
    jnp.linalg.slogdet(s).logabsdet
    jnp.einsum("ij,kj->ik", x, x)
    v[jnp.newaxis]
    csp.special.logsumexp(v)
    csp.special.logsumexp(x, axis=1, keepdims=True)
    csp.special.logsumexp(x, axis=0, b=k[:4, None])
    csp.special.logsumexp(n)
    csp.special.softmax(v)
    csp.special.softmax(x, axis=1)
    csp.special.log_softmax(x, axis=0)
    csp.special.erf(v) + csp.special.gammaln(u) + csp.special.expit(v) + csp.special.xlogy(u, u)
    csp.special.polygamma(2, u) + csp.special.polygamma(0, u)
    csp.special.ndtr(v) + csp.special.log_ndtr(v) + csp.special.psi(u)
    csp.linalg.solve_triangular(s, v[:4], lower=True)
    csp.linalg.solve_triangular(s, x, trans="T")
    csp.linalg.cholesky(s @ s.T)
    csp.linalg.cholesky(s @ s.T, lower=True)
    csp.linalg.cho_solve(csp.linalg.cho_factor(s @ s.T), v[:4])
    csp.linalg.solve(s, v[:4]) + csp.linalg.inv(s)[0] * csp.linalg.det(s)
    """
)


@pytest.mark.parametrize("expression", TRACED)
def test_traced_as_outside(expression: str) -> None:
    used = sorted(names(compile(expression, "<expression>", "eval")) & set(ARRAYS))
    function = eval(f"lambda {', '.join(used)}: ({expression})", {"jnp": jnp, "csp": csp, "np": np})
    agree(function, *(ARRAYS[name] for name in used), rtol=1e-10, atol=1e-12)


def test_arrays_made_inside_can_be_written() -> None:
    def f(v: Any) -> Any:
        y = jnp.zeros(6)
        for i in range(6):
            y[i] = v[i] * i
        z = jnp.array([1.0, 2.0])
        z[0] = y[1]
        e = jnp.empty_like(y)
        e[:] = 1.0
        return y, z, e

    agree(f, ARRAYS["v"])


def test_arange_of_a_symbolic_size() -> None:
    graph = trace(lambda v: v * jnp.arange(v.shape[0]) + jnp.arange(1, v.shape[0] + 1), spec("n"))
    assert str(graph.outputs[0].type) == "float64[n]"


V = np.array([0.5, -1.0, 2.0])


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (lambda: jnp.sin(V), np.sin(V)),
        (lambda: jnp.linspace(0, 1, 4), np.linspace(0, 1, 4)),
        (lambda: jnp.array([1, 2]), np.array([1, 2])),
        (lambda: jnp.einsum("i,i", V, V), V @ V),
        (lambda: jnp.linalg.inv(np.eye(2) * 2), np.eye(2) / 2),
        (lambda: jnp.unique([2, 1, 1]), np.array([1, 2])),
        (lambda: jnp.median(V), 0.5),
        (lambda: csp.special.erf(V), sp.erf(V)),
        (lambda: csp.special.logsumexp(V), sp.logsumexp(V)),
        (lambda: csp.linalg.cholesky(np.eye(2) * 4), sl.cholesky(np.eye(2) * 4)),
        (lambda: csp.linalg.solve_triangular(np.eye(3), V), V),
        (lambda: jnp.float32(2), np.float32(2)),
        (lambda: jnp.finfo(jnp.float64).eps, np.finfo(float).eps),
        (lambda: jnp.e + jnp.euler_gamma, np.e + np.euler_gamma),
    ],
)
def test_outside_it_is_numpy(found: Callable[[], Any], wanted: Any) -> None:
    value = found()
    assert not isinstance(wanted, np.ndarray) or isinstance(value, jnp.ndarray)
    np.testing.assert_array_equal(value, wanted)


def test_results_are_arrays_of_numpy_with_at() -> None:
    x = jnp.arange(3.0)
    assert isinstance(x, np.ndarray)
    assert isinstance(x + 1, jnp.ndarray)
    assert isinstance(x.sum(), np.float64)
    np.testing.assert_array_equal(x.at[1].set(5.0), [0.0, 5.0, 2.0])
    np.testing.assert_array_equal(x.at[[0, 0]].add(1.0), [2.0, 1.0, 2.0])
    np.testing.assert_array_equal(x.at[1:].multiply(2.0), [0.0, 2.0, 4.0])
    np.testing.assert_array_equal(x.at[x > 0].min(1.5), [0.0, 1.0, 1.5])
    np.testing.assert_array_equal(x.at[1:].get(), [1.0, 2.0])
    np.testing.assert_array_equal(x, [0.0, 1.0, 2.0])
    sign, logarithm = jnp.linalg.slogdet(np.eye(2))
    assert (sign, logarithm) == (1.0, 0.0)
    agree(lambda a: x.at[1].set(a), 3.0)
    agree(lambda a: x.at[1].add(a) * x, 3.0)


def test_logsumexp_at_infinities() -> None:
    for values in ([-np.inf, 0.0], [-np.inf, -np.inf], [np.inf, 0.0], [1e3, 1e3], [-1e4, -1e4]):
        agree(csp.special.logsumexp, np.array(values))


def test_names_that_are_not_there() -> None:
    with pytest.raises(AttributeError, match=r"np\.random"):
        jnp.random  # noqa: B018
    with pytest.raises(AttributeError):
        jnp.no_such_function  # noqa: B018
    with pytest.raises(TypeError, match=r"unique does not work on traced values.*test_numpy\.py"):
        trace(lambda v: jnp.unique(v), spec(3))
    assert "einsum" in dir(jnp) and "norm" in dir(jnp.linalg)


def test_importing_brings_no_scipy() -> None:
    program = "import sys, chainrule.numpy, chainrule.scipy; print('scipy' in sys.modules, 'sympy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
