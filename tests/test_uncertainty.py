"""Propagation against jacobi and against mathematics; covariances of estimates against their closed forms."""

from __future__ import annotations

import functools
import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

import jacobi
import numpy as np
import pytest

import chainrule as cr
from chainrule.uncertainty import covariance, propagate

RNG = np.random.default_rng(2)


def polar(p: Any) -> Any:
    return np.stack([p[0] * np.cos(p[1]), p[0] * np.sin(p[1])])


def as_list(p: Any) -> Any:
    return np.array([p[0] * p[1], p[0] + p[1], p[1] ** 3])


def product(p: Any) -> Any:
    return p[0] * p[1] * p[2]


def wave(x: Any) -> Any:
    return np.sin(x) ** 2 + 3


def converge(p: Any) -> Any:
    """√p₀ + p₁ by Newton's iteration."""
    x = p[0]
    while abs(x * x - p[0]) > 1e-13:
        x = (x + p[0] / x) / 2
    return x + p[1]


def mass(p: Any) -> Any:
    e1, x1, y1, z1, e2, x2, y2, z2 = p
    return np.sqrt((e1 + e2) ** 2 - (x1 + x2) ** 2 - (y1 + y2) ** 2 - (z1 + z2) ** 2)


def random_covariance(n: int) -> np.ndarray:
    a = RNG.normal(size=(n, n))
    return 0.01 * (a @ a.T + np.eye(n))


CASES: list[tuple[Callable[..., Any], Any, Any]] = [
    (polar, [2.0, 0.3], random_covariance(2)),
    (polar, [2.0, 0.3], [0.1, 0.02]),
    (polar, [2.0, 0.3], 0.1),
    (as_list, [2.0, 0.3], random_covariance(2)),
    (product, [2.0, 0.3, 1.5], random_covariance(3)),
    (wave, [2.0, 0.3, 1.5], random_covariance(3)),
    (wave, [2.0, 0.3, 1.5], [0.1, 0.2, 0.3]),
    (wave, [2.0, 0.3, 1.5], 0.1),
    (wave, 2.0, 0.1),
    (wave, [2.0], [[0.1]]),
    (mass, [50.0, 10.0, 20.0, 40.0, 60.0, -10.0, -30.0, 30.0], random_covariance(8)),
]


def uncertainty_of_jacobi(fn: Callable[..., Any], x: Any, cov: Any) -> float:
    """A bound on the error of jacobi's result: its error estimates of J through J C Jᵀ."""
    jac, error = jacobi.jacobi(fn, np.asarray(x, float))
    scale = float(np.max(np.abs(jac)) * np.max(np.abs(cov)) * np.size(x) ** 2)
    return 4 * float(np.max(np.abs(error))) * scale + 1e-13 * float(np.max(np.abs(jac))) * scale


@pytest.mark.parametrize(("fn", "x", "cov"), CASES)
def test_against_jacobi(fn: Callable[..., Any], x: Any, cov: Any) -> None:
    y, cov_y = propagate(fn, x, cov)
    expected, cov_expected = jacobi.propagate(fn, x, cov)
    assert np.shape(y) == np.shape(expected)
    assert np.shape(cov_y) == np.shape(cov_expected)
    np.testing.assert_allclose(y, expected, rtol=1e-14)
    np.testing.assert_allclose(cov_y, cov_expected, rtol=0, atol=uncertainty_of_jacobi(fn, x, cov))


def test_closed_form() -> None:
    """x = r cos φ, y = r sin φ with independent errors."""
    r, phi, vr, vp = 2.0, 0.3, 0.04, 0.02
    _, c = propagate(polar, [r, phi], [vr, vp])
    cos, sin = math.cos(phi), math.sin(phi)
    expected = [
        [cos**2 * vr + (r * sin) ** 2 * vp, cos * sin * (vr - r**2 * vp)],
        [cos * sin * (vr - r**2 * vp), sin**2 * vr + (r * cos) ** 2 * vp],
    ]
    np.testing.assert_allclose(c, expected, rtol=1e-13)


def test_through_a_loop() -> None:
    y, c = propagate(converge, [2.0, 1.0], [0.04, 0.01])
    assert y == pytest.approx(math.sqrt(2) + 1, rel=1e-14)
    assert c == pytest.approx(0.04 / 8 + 0.01, rel=1e-12)  # (√a)′² = 1/(4a)


def test_independent_arguments() -> None:
    def fn(a: Any, b: Any) -> Any:
        return a * b

    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    cov = np.array([[0.1, 0.01], [0.01, 0.2]])
    z, c = propagate(fn, x, [0.1, 0.2], y, cov)
    np.testing.assert_allclose(z, [3.0, 8.0])
    np.testing.assert_allclose(c, np.diag(y**2 * [0.1, 0.2]) + np.outer(x, x) * cov, rtol=1e-14)
    np.testing.assert_allclose(c, jacobi.propagate(fn, y, cov, x, [0.1, 0.2])[1], rtol=1e-9)


def test_elementwise_needs_no_matrix() -> None:
    x = RNG.uniform(1, 2, 100_000)
    _, variance = propagate(wave, x, 0.01 * x)
    np.testing.assert_allclose(variance, np.sin(2 * x) ** 2 * 0.01 * x, rtol=1e-12, atol=1e-30)


@pytest.mark.parametrize("layout", ["variances", "matrices", "same variances", "same matrix"])
@pytest.mark.parametrize("fn", [mass, lambda p: np.stack([p[0] * p[1], np.exp(p[2] / 50)])])
def test_many_points(fn: Callable[..., Any], layout: str) -> None:
    """Each point of a batch as by itself."""
    count = 21
    x = np.array([50.0, 10.0, 20.0, 40.0, 60.0, -10.0, -30.0, 30.0])[:, None] * RNG.uniform(0.9, 1.1, (8, count))
    x[[0, 4]] += 20.0
    cov: Any = {
        "variances": (0.01 * x) ** 2,
        "matrices": np.stack([random_covariance(8) for _ in range(count)], axis=-1),
        "same variances": np.linspace(0.1, 0.2, 8),
        "same matrix": random_covariance(8),
    }[layout]
    y, c = propagate(fn, x, cov)
    for i in range(count):
        each = cov[..., i] if layout in ("variances", "matrices") else cov
        expected, cov_expected = propagate(fn, x[:, i], each)
        np.testing.assert_allclose(y[..., i], expected, rtol=1e-13)
        np.testing.assert_allclose(c[..., i], cov_expected, rtol=1e-11, atol=1e-14)


def test_functions_are_not_kept_for_ever() -> None:
    """What is derived of a function holds it; only what was used of late is kept."""
    references = []
    for k in range(70):
        fn = functools.partial(np.multiply, float(k))
        references.append(weakref.ref(fn))
        propagate(fn, 2.0, 0.1)
    del fn
    gc.collect()
    assert sum(r() is not None for r in references) <= 64


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: propagate(polar, [1.0, 2.0], np.eye(3)), ValueError, "do not fit together"),
        (lambda: propagate(polar, [1.0, 2.0], 1.0, [1.0]), TypeError, "pairs"),
        (lambda: propagate(mass, np.ones((8, 5)), np.ones((8, 4))), ValueError, "do not fit together"),
        (lambda: propagate(lambda a, b: a, np.ones((2, 5)), np.ones(2), 1.0, 1.0), ValueError, "many points of one"),
        (lambda: propagate(lambda p: np.outer(p, p), [1.0, 2.0], [1.0, 1.0]), ValueError, "number or a vector"),
        (lambda: covariance(lambda p: p[0] ** 2 + 0 * p[1], [1.0, 2.0]), ValueError, "singular"),
        (lambda: covariance(lambda p: np.log(p[0]), [0.0]), ValueError, "not finite"),
        (lambda: covariance(lambda p: p[0] ** 2, [1.0], weights=[1.0]), ValueError, "of each event"),
    ],
)
def test_what_is_refused(call: Any, kind: type[Exception], words: str) -> None:
    with np.errstate(all="ignore"), pytest.raises(kind, match=words):
        call()


# --- covariances of estimates -------------------------------------------------------------------------------

X = RNG.normal(5.0, 0.7, 500)
W = RNG.uniform(0.5, 2.0, 500)


def log_density(p: Any, x: Any) -> Any:
    return -(((x - p[0]) / p[1]) ** 2) / 2 - np.log(p[1])


def nll(p: Any, x: Any) -> Any:
    return -np.sum(log_density(p, x))


def test_inverse_hessian() -> None:
    n, sigma = X.size, X.std()
    c = covariance(nll, [X.mean(), sigma], X)
    np.testing.assert_allclose(c, np.diag([sigma**2 / n, sigma**2 / (2 * n)]), rtol=1e-9, atol=1e-12)


def test_errordef() -> None:
    def chi2(p: Any) -> Any:
        return ((p[0] - 1) / 0.1) ** 2 + ((p[1] - 2) / 0.2) ** 2

    np.testing.assert_allclose(covariance(chi2, [1.0, 2.0], errordef=1.0), np.diag([0.01, 0.04]), rtol=1e-12)
    chi2.errordef = 1.0  # type: ignore[attr-defined]
    np.testing.assert_allclose(covariance(chi2, [1.0, 2.0]), np.diag([0.01, 0.04]), rtol=1e-12)


def test_sandwich_of_a_mean() -> None:
    """The weighted mean has the variance Σ w² (x − m)²/(Σ w)²."""

    def log_likelihood(p: Any, x: Any) -> Any:
        return -((x - p[0]) ** 2) / 2

    mean = np.sum(W * X) / np.sum(W)
    c = covariance(log_likelihood, [mean], X, weights=W)
    expected = np.sum(W**2 * (X - mean) ** 2) / np.sum(W) ** 2
    np.testing.assert_allclose(c, [[expected]], rtol=1e-12)
    unweighted = covariance(log_likelihood, [X.mean()], X)
    np.testing.assert_allclose(unweighted, [[X.var() / X.size]], rtol=1e-12)


def test_sandwich_does_not_depend_on_the_scale_of_weights() -> None:
    p = [X.mean(), X.std()]
    once, thrice = covariance(log_density, p, X, weights=W), covariance(log_density, p, X, weights=3 * W)
    np.testing.assert_allclose(once, thrice, rtol=1e-12)


def test_sandwich_by_hand() -> None:
    p = np.array([5.1, 0.8])
    z = (X - p[0]) / p[1]
    g = np.stack([z / p[1], (z**2 - 1) / p[1]])
    h = np.array([[np.sum(W), 2 * np.sum(W * z)], [2 * np.sum(W * z), np.sum(W * (3 * z**2 - 1))]]) / p[1] ** 2
    expected = np.linalg.inv(h) @ ((W * g) @ (W * g).T) @ np.linalg.inv(h)
    np.testing.assert_allclose(covariance(log_density, p, X, weights=W), expected, rtol=1e-11)


def test_the_face_has_them() -> None:
    assert cr.propagate is propagate
    assert cr.covariance is covariance
