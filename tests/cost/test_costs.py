"""Costs by themselves: quadrature, drawings, and what is refused."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import mpmath
import numpy as np
import pytest

from chainrule import cost

mpl.use("Agg")


def shape(x: Any, mu: float, tau: float) -> Any:
    return np.exp(-np.abs(x - mu) ** 1.5 / tau)


def smooth(x: Any, mu: float, tau: float) -> Any:
    return np.exp(-((x - mu) ** 2) / tau) * (2 + np.sin(x))


def line(x: Any, a: float, b: float) -> Any:
    return a + b * x


def test_normalised_by_quadrature() -> None:
    density = cost.normalised(smooth, over=(-2.0, 5.0))
    with mpmath.workdps(30):
        integral = mpmath.quad(lambda x: mpmath.exp(-((x - 0.5) ** 2) / 2) * (2 + mpmath.sin(x)), [-2, 0, 2, 5])
        expected = mpmath.exp(-mpmath.mpf(1) / 8) * (2 + mpmath.sin(1)) / integral
    assert float(density(np.array([1.0]), 0.5, 2.0)[0]) == pytest.approx(float(expected), rel=1e-13)


def test_normalised_in_a_fit() -> None:
    """The gradient includes the normalisation: it vanishes on average over data from the density itself."""
    x = np.linspace(-2, 5, 100_001)
    density = cost.normalised(smooth, over=(-2.0, 5.0))
    c = cost.UnbinnedNLL(x, density)
    weights = density(x, 0.5, 2.0) * (x[1] - x[0])
    assert list(c._parameters) == ["mu", "tau"]
    scores = np.stack([_derivative(density, x, 0), _derivative(density, x, 1)])
    assert np.abs(np.sum(weights * scores, axis=1)).max() < 1e-4
    assert c.grad(0.5, 2.0) == pytest.approx(-2 * scores.sum(axis=1), rel=1e-6)


def _derivative(density: Any, x: np.ndarray, which: int) -> np.ndarray:
    step = 1e-4 * np.eye(2)[which]
    at = np.array([0.5, 2.0])
    up, down = (np.log(density(x, *(at + s * step))) for s in (1, -1))
    return (up - down) / 2e-4


def test_normalised_on_a_sample() -> None:
    sample = (np.arange(10_000) + 0.5) / 10_000 * 7 - 2
    density = cost.normalised(smooth, sample=sample, volume=7.0)
    expected = cost.normalised(smooth, over=(-2.0, 5.0))(1.0, 0.5, 2.0)
    assert float(density(1.0, 0.5, 2.0)) == pytest.approx(float(expected), rel=1e-7)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: cost.normalised(shape), ValueError, "over=\\(low, high\\) or sample"),
        (lambda: cost.normalised(shape, over=(1.0, 0.0)), ValueError, "finite interval"),
        (lambda: cost.UnbinnedNLL([1.0], lambda: 1.0), TypeError, "takes no data"),
        (lambda: cost.UnbinnedNLL([1.0], lambda x, *p: x), TypeError, "does not name its parameters"),
        (lambda: cost.UnbinnedNLL([1.0], shape, name=["a"]), ValueError, "1 names"),
        (lambda: cost.UnbinnedNLL([1.0], shape)(1.0), TypeError, "takes 2 numbers"),
        (lambda: cost.UnbinnedNLL([1.0, 2.0], lambda x, a: a)(1.0), ValueError, "must return an array of shape"),
        (lambda: cost.ExtendedUnbinnedNLL([1.0], shape)(1.0, 1.0), TypeError, "pair \\(integral, density\\)"),
        (lambda: cost.BinnedNLL([1, 2], [0.0, 1.0], shape), ValueError, "edges are one more"),
        (lambda: cost.BinnedNLL([1, 2], 1.0, shape), ValueError, "bin edges"),
        (lambda: cost.BinnedNLL([[[1]]], [0.0, 1.0], shape), ValueError, "3 dimensions"),
        (lambda: cost.BinnedNLL([1], [0.0, 1.0], shape, use_pdf="exact"), ValueError, "not understood"),
        (lambda: cost.LeastSquares([1.0, 2.0], [1.0, 2.0, 3.0], 1.0, line), ValueError, "do not fit together"),
        (lambda: cost.LeastSquares([1.0], [1.0], 1.0, line, loss="l2"), ValueError, "is not known"),
        (lambda: cost.NormalConstraint(["a", "b"], [1.0], [1.0]), ValueError, "as many values"),
        (lambda: cost.NormalConstraint(["a", "b"], [1.0, 2.0], [[1.0, 2.0], [2.0, 1.0]]), ValueError, "positive"),
        (lambda: cost.LeastSquares([1.0], [1.0], 1.0, line) + "x", TypeError, "can be added"),
    ],
)
def test_what_is_refused(call: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()


def test_drawings() -> None:
    """Model and data appear on the current axes, in their ranges."""
    from matplotlib import pyplot

    x = np.linspace(-1, 2, 50)
    density = cost.normalised(smooth, over=(-2.0, 5.0))
    costs = [
        (cost.UnbinnedNLL(x, density), (0.5, 2.0)),
        (cost.BinnedNLL([5.0, 6.0, 7.0], [0.0, 1.0, 2.0, 3.0], line), (0.0, 0.3)),
        (cost.LeastSquares([1.0, 2.0], [1.0, 2.0], 0.1, line), (0.0, 1.0)),
    ]
    for each, at in costs:
        pyplot.figure()
        each.visualize(at)
        assert pyplot.gca().has_data()
        pyplot.close()
    total = costs[1][0] + costs[2][0]
    pyplot.figure()
    total.visualize((0.0, 0.5))
    assert len(pyplot.gcf().axes) == 2
    pyplot.close()
