"""Polygamma for lanes: against mpmath with 40 digits."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from chainrule.codegen.vecmath_polygamma import polygamma
from tests.codegen.numpy_ops import NumpyOps

RNG = np.random.default_rng(22)


def distance(order: int, low: float, high: float) -> float:
    """The largest error in units of the last place."""
    x = RNG.uniform(low, high, 50)
    got = polygamma(order)(NumpyOps(), x)
    worst = 0.0
    with mp.workdps(40):
        for place, value in zip(x.tolist(), got.tolist(), strict=True):
            true = mp.polygamma(order, mp.mpf(place))
            worst = max(worst, float(abs(mp.mpf(value) - true) / mp.mpf(np.spacing(abs(float(true))))))
    return worst


@pytest.mark.parametrize("order", [1, 2, 3, 6])
@pytest.mark.parametrize("interval", [(1e-6, 0.1), (0.1, 3.0), (3.0, 100.0), (100.0, 1e9)])
def test_positive_arguments(order: int, interval: tuple[float, float]) -> None:
    assert distance(order, *interval) <= 4 + 2 * order


def test_high_orders() -> None:
    assert distance(30, 0.5, 60.0) <= 64


@pytest.mark.parametrize("order", [1, 2, 3])
def test_negative_arguments(order: int) -> None:
    assert distance(order, -20.0, -0.05) <= 16


def test_poles_and_limits() -> None:
    x = np.array([0.0, np.inf, np.nan])
    with np.errstate(all="ignore"):
        assert np.array_equal(polygamma(1)(NumpyOps(), x), [np.inf, 0.0, np.nan], equal_nan=True)
        assert np.array_equal(polygamma(2)(NumpyOps(), x), [-np.inf, 0.0, np.nan], equal_nan=True)


@pytest.mark.parametrize("order", [0, -1, 101])
def test_other_orders_are_refused(order: int) -> None:
    with pytest.raises(ValueError, match="orders 1 to 100"):
        polygamma(order)
