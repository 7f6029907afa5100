"""``scipy.stats`` in programs: values against SciPy, derivatives against mpmath."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.stats as st

import chainrule as cr
from chainrule.scipy import stats
from tests.programs.precise import derivatives

CONTINUOUS: dict[str, tuple[tuple[float, ...], Any]] = {
    "norm": ((), lambda z: mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi)),
    "halfnorm": ((), lambda z: mp.exp(-z * z / 2) * mp.sqrt(2 / mp.pi)),
    "lognorm": ((0.7,), lambda z, s: mp.exp(-((mp.log(z) / s) ** 2) / 2) / (s * z * mp.sqrt(2 * mp.pi))),
    "expon": ((), lambda z: mp.exp(-z)),
    "uniform": ((), lambda z: mp.mpf(1) + 0 * z),
    "laplace": ((), lambda z: mp.exp(-abs(z)) / 2),
    "logistic": ((), lambda z: mp.exp(-z) / (1 + mp.exp(-z)) ** 2),
    "cauchy": ((), lambda z: 1 / (mp.pi * (1 + z * z))),
    "t": ((3.5,), lambda z, n: mp.gamma((n + 1) / 2) / mp.gamma(n / 2) / mp.sqrt(n * mp.pi)
          * (1 + z * z / n) ** (-(n + 1) / 2)),
    "gamma": ((2.3,), lambda z, a: z ** (a - 1) * mp.exp(-z) / mp.gamma(a)),
    "chi2": ((3.4,), lambda z, k: z ** (k / 2 - 1) * mp.exp(-z / 2) / 2 ** (k / 2) / mp.gamma(k / 2)),
    "beta": ((1.4, 2.2), lambda z, a, b: z ** (a - 1) * (1 - z) ** (b - 1) / mp.beta(a, b)),
    "weibull_min": ((1.6,), lambda z, c: c * z ** (c - 1) * mp.exp(-(z**c))),
    "rayleigh": ((), lambda z: z * mp.exp(-z * z / 2)),
    "pareto": ((2.5,), lambda z, b: b / z ** (b + 1)),
}  # fmt: skip
DISCRETE: dict[str, tuple[tuple[float, ...], Any]] = {
    "poisson": ((2.4,), lambda k, mu: mu**k * mp.exp(-mu) / mp.factorial(k)),
    "bernoulli": ((0.3,), lambda k, p: p**k * (1 - p) ** (1 - k)),
    "binom": ((7.0, 0.3), lambda k, n, p: mp.binomial(n, k) * p**k * (1 - p) ** (n - k)),
    "geom": ((0.3,), lambda k, p: p * (1 - p) ** (k - 1)),
    "nbinom": ((4.0, 0.3), lambda k, n, p: mp.binomial(k + n - 1, k) * p**n * (1 - p) ** k),
}  # fmt: skip
POINTS = np.array([-0.5, 0.0, 0.2, 0.3, 0.9, 1.1, 2.5, 4.0])


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name: str) -> None:
    shapes, density = CONTINUOUS[name]
    own, theirs = getattr(stats, name), getattr(st, name)
    for method in ("pdf", "logpdf", "cdf", "sf", "logcdf", "logsf"):
        f = getattr(own, method)
        if method in ("cdf", "sf", "logcdf", "logsf") and name in ("t", "gamma", "chi2", "beta"):
            with pytest.raises(TypeError, match="no elementary form"):
                cr.jit(f)(POINTS, *shapes)
            continue
        with np.errstate(all="ignore"):
            expected = getattr(theirs, method)(POINTS, *shapes, 0.1, 1.3)
            np.testing.assert_allclose(cr.jit(f)(POINTS, *shapes, 0.1, 1.3), expected, rtol=2e-13, atol=1e-15)
    x, loc, scale = (1.9 if name == "pareto" else 0.7), 0.1, 1.3
    if "ppf" in own._formulas:
        np.testing.assert_allclose(cr.jit(own.ppf)(0.3, *shapes, loc, scale), theirs.ppf(0.3, *shapes, loc, scale))

    def truth(x: Any, *p: Any) -> Any:
        return mp.log(density((x - p[-2]) / p[-1], *p[:-2]) / p[-1])

    point = (x, *shapes, loc, scale)
    value, gradient, _ = derivatives(truth, point)
    found, slopes = cr.value_and_grad(own.logpdf, argnums=tuple(range(len(point))))(*point)
    np.testing.assert_allclose(found, value, rtol=1e-13)
    np.testing.assert_allclose(slopes, gradient, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(cr.jacfwd(own.pdf)(*point), gradient[0] * np.exp(value), rtol=1e-12, atol=1e-14)
    if "cdf" in own._formulas:
        np.testing.assert_allclose(cr.grad(own.cdf)(*point), np.exp(value), rtol=1e-12)


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete(name: str) -> None:
    shapes, mass = DISCRETE[name]
    own, theirs = getattr(stats, name), getattr(st, name)
    k = np.array([-1, 0, 1, 2, 5, 9])
    for method in ("pmf", "logpmf"):
        with np.errstate(all="ignore"):
            expected = getattr(theirs, method)(k, *shapes)
        np.testing.assert_allclose(cr.jit(getattr(own, method))(k, *shapes), expected, rtol=1e-12)
    value, gradient, _ = derivatives(lambda *p: mp.log(mass(1, *p)), shapes)
    f = lambda *p: own.logpmf(1, *p)  # noqa: E731
    found, slopes = cr.value_and_grad(f, argnums=tuple(range(len(shapes))))(*shapes)
    np.testing.assert_allclose(found, value, rtol=1e-13)
    np.testing.assert_allclose(slopes, gradient, rtol=1e-12)


def test_outside_of_the_support_the_derivative_is_zero() -> None:
    for name in ("gamma", "lognorm", "expon", "weibull_min", "rayleigh"):
        shapes, _ = CONTINUOUS[name]
        assert cr.grad(getattr(stats, name).pdf)(-1.0, *shapes) == 0.0


DATA = np.array([0.3, 1.9, 2.2, -0.4, 1.1])


def nll(mu: Any, sigma: Any) -> Any:
    if sigma <= 0:
        return np.inf
    return -np.sum(st.norm.logpdf(DATA, mu, scale=sigma))


def frozen(mu: Any, sigma: Any) -> Any:
    prior = st.norm(0.0, 2.0)
    total = prior.logpdf(mu) + st.expon(scale=1.5).logpdf(sigma)
    likelihood = st.norm(loc=mu, scale=sigma)
    for x in DATA:
        total += likelihood.logpdf(x)
    return total


def test_scipys_own_names_in_programs() -> None:
    n, mu, sigma = len(DATA), 0.8, 1.4
    z = (DATA - mu) / sigma
    for f in (nll, lambda mu, sigma: nll(mu, sigma)):
        value, slopes = cr.value_and_grad(f, argnums=(0, 1))(mu, sigma)
        assert value == pytest.approx(nll(mu, sigma), rel=1e-14)
        np.testing.assert_allclose(slopes, [-z.sum() / sigma, (n - (z**2).sum()) / sigma], rtol=1e-13)
    value, slopes = cr.value_and_grad(frozen, argnums=(0, 1))(mu, sigma)
    assert value == pytest.approx(frozen(mu, sigma), rel=1e-14)
    expected = [z.sum() / sigma - mu / 4, ((z**2).sum() - n) / sigma - 1 / 1.5]
    np.testing.assert_allclose(slopes, expected, rtol=1e-13)
    counts = np.array([3, 1, 4])
    by_mu = cr.grad(lambda mu: np.sum(st.poisson.logpmf(counts, mu)))(2.0)
    assert by_mu == pytest.approx(np.sum(counts / 2.0 - 1))


def test_other_functions_of_libraries_are_refused() -> None:
    import scipy.integrate
    import scipy.optimize

    def integral(x: Any) -> Any:
        return scipy.integrate.quad(lambda t: t * x, 0, 1)[0]

    def root(x: Any) -> Any:
        return scipy.optimize.brentq(lambda t: t * t - x, 0, 10)

    for f, name in ((integral, "quad"), (root, "brentq")):
        with pytest.raises(TypeError, match=rf"{name} computes with traced values.*test_distributions\.py:\d+"):
            cr.jit(f)(2.0)
