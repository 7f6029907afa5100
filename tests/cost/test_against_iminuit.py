"""Every cost against iminuit's own class of the same name: values, gradients (iminuit's from a model's derivative)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import pytest
from iminuit import Minuit
from iminuit import cost as theirs

import chainrule as cr
from chainrule import cost as ours
from chainrule.scipy.special import erf

RNG = np.random.default_rng(5)
X = RNG.normal(0.3, 1.2, 400)
EDGES = np.linspace(-3, 4, 15)
N = np.histogram(X, bins=EDGES)[0].astype(float)
WEIGHTS = RNG.uniform(0.5, 2.0, X.size)
WEIGHTED = np.stack([np.histogram(X, bins=EDGES, weights=w)[0] for w in (WEIGHTS, WEIGHTS**2)], axis=-1)
XY = RNG.normal([[0.3], [-0.4]], [[1.0], [1.5]], (2, 300))


def pdf(x: Any, mu: float, sigma: Annotated[float, 0:]) -> Any:
    return np.exp(-(((x - mu) / sigma) ** 2) / 2) / (np.sqrt(2 * np.pi) * sigma)


def logpdf(x: Any, mu: float, sigma: float) -> Any:
    return -(((x - mu) / sigma) ** 2) / 2 - np.log(np.sqrt(2 * np.pi) * sigma)


def cdf(x: Any, mu: float, sigma: Annotated[float, 0:]) -> Any:
    return (1 + erf((x - mu) / (sigma * np.sqrt(2)))) / 2


def scaled_pdf(x: Any, n: float, mu: float, sigma: float) -> Any:
    return n, n * pdf(x, mu, sigma)


def scaled_logpdf(x: Any, n: float, mu: float, sigma: float) -> Any:
    return n, np.log(n) + logpdf(x, mu, sigma)


def scaled_cdf(x: Any, n: float, mu: float, sigma: float) -> Any:
    return n * cdf(x, mu, sigma)


def pdf2(xy: Any, mu: float, nu: float) -> Any:
    x, y = xy
    return np.exp(-((x - mu) ** 2 + (y - nu) ** 2) / 2) / (2 * np.pi)


def cdf2(xy: Any, mu: float, nu: float) -> Any:
    x, y = xy
    return cdf(x, mu, 1.0) * cdf(y, nu, 1.5)


def line(x: Any, a: float, b: float) -> Any:
    return a + b * x


def plane(xy: Any, a: float, b: float, c: float) -> Any:
    return a + b * xy[0] + c * xy[1] ** 2


def loss(z_squared: Any) -> Any:
    return np.log(1 + z_squared)


COUNTS_2D = np.histogram2d(*XY, bins=(np.linspace(-2, 2, 5), np.linspace(-3, 3, 4)))
LX, LY, LE = np.linspace(0, 3, 20), RNG.normal(1 + 2 * np.linspace(0, 3, 20), 0.3), RNG.uniform(0.2, 0.5, 20)
PLANE_Y = RNG.normal(1.0, 0.5, 300)

Make = Callable[[Any], Any]
CASES: dict[str, tuple[Make, tuple[float, ...]]] = {
    "unbinned": (lambda c: c.UnbinnedNLL(X, pdf), (0.2, 1.1)),
    "unbinned, logarithm": (lambda c: c.UnbinnedNLL(X, logpdf, log=True), (0.2, 1.1)),
    "unbinned, two variables": (lambda c: c.UnbinnedNLL(XY, pdf2), (0.2, -0.1)),
    "unbinned, density underflows": (lambda c: c.UnbinnedNLL([0.0, 1.0, 60.0], pdf), (0.2, 1.1)),
    "extended": (lambda c: c.ExtendedUnbinnedNLL(X, scaled_pdf), (380.0, 0.2, 1.1)),
    "extended, logarithm": (lambda c: c.ExtendedUnbinnedNLL(X, scaled_logpdf, log=True), (380.0, 0.2, 1.1)),
    "binned": (lambda c: c.BinnedNLL(N, EDGES, cdf), (0.2, 1.1)),
    "binned, weighted": (lambda c: c.BinnedNLL(WEIGHTED, EDGES, cdf), (0.2, 1.1)),
    "binned, two axes": (lambda c: c.BinnedNLL(COUNTS_2D[0], COUNTS_2D[1:], cdf2), (0.2, -0.1)),
    "binned, midpoints": (lambda c: c.BinnedNLL(N, EDGES, pdf, use_pdf="approximate"), (0.2, 1.1)),
    "binned, integrated": (lambda c: c.BinnedNLL(N, EDGES, pdf, use_pdf="numerical"), (0.2, 1.1)),
    "extended binned": (lambda c: c.ExtendedBinnedNLL(N, EDGES, scaled_cdf), (380.0, 0.2, 1.1)),
    "extended binned, weighted": (lambda c: c.ExtendedBinnedNLL(WEIGHTED, EDGES, scaled_cdf), (380.0, 0.2, 1.1)),
    "least squares": (lambda c: c.LeastSquares(LX, LY, LE, line), (0.9, 2.2)),
    "least squares, one error": (lambda c: c.LeastSquares(LX, LY, 0.4, line), (0.9, 2.2)),
    "least squares, soft": (lambda c: c.LeastSquares(LX, LY, LE, line, loss="soft_l1"), (0.9, 2.2)),
    "least squares, own loss": (lambda c: c.LeastSquares(LX, LY, LE, line, loss=loss), (0.9, 2.2)),
    "least squares, two variables": (lambda c: c.LeastSquares(XY, PLANE_Y, 0.5, plane), (0.9, 2.2, -0.3)),
    "constraint": (lambda c: c.NormalConstraint(["a", "b"], [1.0, 2.0], [0.1, 0.2]), (0.9, 2.3)),
    "constraint, one": (lambda c: c.NormalConstraint("a", 1.0, 0.1), (0.9,)),
    "constraint, correlated": (
        lambda c: c.NormalConstraint(["a", "b"], [1.0, 2.0], [[0.04, 0.01], [0.01, 0.09]]), (0.9, 2.3),
    ),
    "sum": (
        lambda c: c.LeastSquares(LX, LY, LE, line) + c.NormalConstraint("b", 2.0, 0.1) + 3, (0.9, 2.2),
    ),
    "sum with shared parameters": (
        lambda c: c.UnbinnedNLL(X, pdf) + c.BinnedNLL(N, EDGES, cdf) + c.NormalConstraint("sigma", 1.0, 0.1),
        (0.2, 1.1),
    ),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Any, Any, tuple[float, ...]]:
    make, at = CASES[request.param]
    return make(ours), make(theirs), at


def test_values(case: tuple[Any, Any, tuple[float, ...]]) -> None:
    mine, other, at = case
    assert mine(*at) == pytest.approx(other(*at), rel=1e-12)
    assert mine(np.array(at)) == mine(*at)


def test_attributes(case: tuple[Any, Any, tuple[float, ...]]) -> None:
    mine, other, _ = case
    assert mine._parameters == other._parameters
    assert mine.errordef == other.errordef
    assert mine.ndata == other.ndata
    assert mine.npar == other.npar


def test_gradient_and_hessian(case: tuple[Any, Any, tuple[float, ...]]) -> None:
    """Central differences of sixth order, of iminuit's value and of our gradient."""
    mine, other, at = case
    point = np.array(at)
    value, gradient, hessian = mine.value_grad_hess(*at)
    assert value == pytest.approx(mine(*at), rel=1e-14)
    np.testing.assert_array_equal(mine.grad(*at), mine.value_and_grad(*at)[1])
    np.testing.assert_allclose(gradient, mine.grad(*at), rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(hessian, mine.hessian(*at), rtol=1e-12, atol=1e-9)
    assert gradient == pytest.approx(_differences(other, point), rel=1e-6, abs=1e-5)
    for i, row in enumerate(hessian):
        assert row == pytest.approx(_differences(lambda *p, i=i: mine.grad(*p)[i], point), rel=1e-6, abs=1e-5)


def _differences(f: Callable[..., Any], point: np.ndarray) -> np.ndarray:
    weights = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
    steps = np.diag(2e-3 * np.maximum(np.abs(point), 0.5))
    return np.array(
        [sum(w * (f(*point + k * h) - f(*point - k * h)) for k, w in weights.items()) / h.sum() for h in steps]
    )


@pytest.mark.parametrize("mask", [X > 0, np.arange(100)])
def test_masked_events(mask: np.ndarray) -> None:
    mine, other = ours.UnbinnedNLL(X, pdf), theirs.UnbinnedNLL(X, pdf)
    before = mine(0.2, 1.1)
    mine.mask = other.mask = mask
    assert mine(0.2, 1.1) == pytest.approx(other(0.2, 1.1), rel=1e-12)
    assert mine(0.2, 1.1) != before
    mine.mask = None
    assert mine(0.2, 1.1) == before


@pytest.mark.parametrize("counts", [N, WEIGHTED])
@pytest.mark.parametrize("name", ["BinnedNLL", "ExtendedBinnedNLL"])
def test_masked_bins(name: str, counts: np.ndarray) -> None:
    model, at = (cdf, (0.2, 1.1)) if name == "BinnedNLL" else (scaled_cdf, (380.0, 0.2, 1.1))
    mine, other = getattr(ours, name)(counts, EDGES, model), getattr(theirs, name)(counts, EDGES, model)
    mine.mask = other.mask = np.abs(EDGES[1:] - 1) > 0.6
    assert mine(*at) == pytest.approx(other(*at), rel=1e-12)
    assert mine.ndata == other.ndata
    np.testing.assert_allclose(mine.prediction(at), other.prediction(at), rtol=1e-12)
    np.testing.assert_allclose(mine.pulls(at), other.pulls(at), rtol=1e-12)


def test_pulls_of_points() -> None:
    mine, other = ours.LeastSquares(LX, LY, LE, line), theirs.LeastSquares(LX, LY, LE, line)
    mine.mask = other.mask = LX < 2
    np.testing.assert_allclose(mine.pulls((0.9, 2.2)), other.pulls((0.9, 2.2)), rtol=1e-12)
    np.testing.assert_allclose(mine.prediction((0.9, 2.2)), other.prediction((0.9, 2.2)), rtol=1e-12)


def test_new_data() -> None:
    """Assigned data are used by the cost and by sums that hold it."""
    mine = ours.LeastSquares(LX, LY, LE, line)
    total = mine + ours.NormalConstraint("b", 2.0, 0.1)
    total(0.9, 2.2)
    mine.y = LY + 1
    expected = theirs.LeastSquares(LX, LY + 1, LE, line)(0.9, 2.2)
    assert mine(0.9, 2.2) == pytest.approx(expected, rel=1e-12)
    assert total(0.9, 2.2) == pytest.approx(expected + 4, rel=1e-12)


def test_limits_and_names() -> None:
    assert ours.UnbinnedNLL(X, pdf)._parameters == {"mu": None, "sigma": (0, np.inf)}
    assert list(ours.UnbinnedNLL(X, pdf, name=["m", "s"])._parameters) == ["m", "s"]


def test_fisher_information() -> None:
    def gradient(x: np.ndarray, mu: float, sigma: float) -> np.ndarray:
        z = (x - mu) / sigma
        return pdf(x, mu, sigma) * np.stack([z / sigma, (z**2 - 1) / sigma])

    other = theirs.UnbinnedNLL(X, pdf, grad=gradient)
    mine = ours.UnbinnedNLL(X, pdf)
    np.testing.assert_allclose(mine.fisher_information(0.2, 1.1), other.fisher_information(0.2, 1.1), rtol=1e-11)
    np.testing.assert_allclose(mine.covariance(0.2, 1.1), other.covariance(0.2, 1.1), rtol=1e-11)


FITS: dict[str, tuple[Make, dict[str, float]]] = {
    "unbinned": (lambda c: c.UnbinnedNLL(X, pdf), {"mu": 0.0, "sigma": 1.0}),
    "extended": (lambda c: c.ExtendedUnbinnedNLL(X, scaled_pdf), {"n": 350.0, "mu": 0.0, "sigma": 1.0}),
    "binned": (lambda c: c.BinnedNLL(N, EDGES, cdf), {"mu": 0.0, "sigma": 1.0}),
    "extended binned": (lambda c: c.ExtendedBinnedNLL(N, EDGES, scaled_cdf), {"n": 350.0, "mu": 0.0, "sigma": 1.0}),
    "least squares": (lambda c: c.LeastSquares(LX, LY, LE, line), {"a": 0.0, "b": 1.0}),
    "sum": (lambda c: c.UnbinnedNLL(X, pdf) + c.NormalConstraint("mu", 0.3, 0.05), {"mu": 0.0, "sigma": 1.0}),
}


@pytest.mark.parametrize("name", FITS)
def test_fits(name: str) -> None:
    """iminuit finds gradient and Hessian by itself, comes to its own result, and calls less."""
    make, start = FITS[name]
    exact, plain = Minuit(make(ours), **start), Minuit(make(theirs), **start)
    for m in (exact, plain):
        m.tol = 1e-7  # so that where it stops does not hide a difference
        m.strategy = 1
        m.migrad()
        m.hesse()
    assert exact.valid
    assert exact.grad is not None
    assert exact.hessian is not None
    assert exact.fval == pytest.approx(plain.fval, abs=1e-6)
    np.testing.assert_allclose(exact.values, plain.values, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(exact.errors, plain.errors, rtol=1e-4)
    assert exact.nfcn + exact.ngrad + exact.nhessian < plain.nfcn


def test_minos() -> None:
    start = {"mu": 0.0, "sigma": 1.0}
    exact, plain = Minuit(ours.UnbinnedNLL(X, pdf), **start), Minuit(theirs.UnbinnedNLL(X, pdf), **start)
    for m in (exact, plain):
        m.tol = 1e-4
        m.migrad()
        m.minos()
    for name in start:
        assert exact.merrors[name].lower == pytest.approx(plain.merrors[name].lower, rel=1e-3)
        assert exact.merrors[name].upper == pytest.approx(plain.merrors[name].upper, rel=1e-3)


def test_any_compiled_function() -> None:
    """A function of named parameters is a cost by itself: names, limits, gradient, Hessian and errordef are found."""

    def nll(x: Any, mu: float, sigma: Annotated[float, 0:]) -> Any:
        return -np.sum(logpdf(x, mu, sigma))

    nll.errordef = Minuit.LIKELIHOOD  # type: ignore[attr-defined]
    m = Minuit(cr.bind(nll, x=X), mu=0.0, sigma=1.0)
    m.tol = 1e-5
    m.migrad()
    m.hesse()
    assert m.limits["sigma"] == (0, np.inf)
    assert m.errordef == Minuit.LIKELIHOOD
    assert m.values["mu"] == pytest.approx(X.mean(), abs=1e-4)
    assert m.values["sigma"] == pytest.approx(X.std(), abs=1e-4)
    assert m.errors["mu"] == pytest.approx(X.std() / np.sqrt(X.size), rel=1e-3)
    assert m.nhessian > 0


def test_scipy_takes_costs() -> None:
    from scipy.optimize import minimize

    cost = ours.UnbinnedNLL(X, pdf)
    found = minimize(cost.value_and_grad, [0.0, 1.0], jac=True, hess=cost.hessian, method="trust-exact")
    np.testing.assert_allclose(found.x, [X.mean(), X.std()], rtol=1e-6)


def test_one_kernel_for_a_sum() -> None:
    from chainrule.debug import compilations

    total = ours.UnbinnedNLL(X, pdf) + ours.LeastSquares(LX, LY, LE, line) + ours.NormalConstraint("a", 1.0, 0.2)
    before = compilations()
    total.value_grad_hess(0.2, 1.1, 0.9, 2.2)
    assert compilations() - before <= 1
