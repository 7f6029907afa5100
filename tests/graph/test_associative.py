"""``associative_scan`` against NumPy's running functions and closed forms, in both modes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.lax import associative_scan

RNG = np.random.default_rng(5)
X = RNG.normal(size=(5, 4))


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("run", [lambda f: f, cr.jit])
def test_running_sums_and_products(run: Any, reverse: bool, axis: int) -> None:
    turned = np.flip(X, axis) if reverse else X
    for operation, running in ((np.add, np.cumsum), (np.multiply, np.cumprod), (np.maximum, np.maximum.accumulate)):
        wanted = running(turned, axis)
        found = run(lambda x, f=operation: associative_scan(f, x, reverse=reverse, axis=axis))(X)
        np.testing.assert_allclose(found, np.flip(wanted, axis) if reverse else wanted, rtol=1e-14)


def affine(first: Any, second: Any) -> Any:
    """x ↦ a₂(a₁x + b₁) + b₂."""
    return first[0] * second[0], second[0] * first[1] + second[1]


def test_a_linear_recurrence() -> None:
    a, b = RNG.uniform(0.5, 1.5, (2, 8))
    y, wanted = 0.0, []
    for slope, offset in zip(a, b, strict=True):
        y = slope * y + offset
        wanted.append(y)
    found = cr.jit(lambda a, b: associative_scan(affine, (a, b))[1])(a, b)
    np.testing.assert_allclose(found, wanted, rtol=1e-14)
    cr.check_grads(lambda a, b: np.sum(associative_scan(affine, (a, b))[1] ** 2), (a, b))
    cr.check_grads(lambda a, b: np.sum(associative_scan(affine, (a, b), reverse=True)[1] ** 2), (a, b))


def test_the_gradient_of_a_running_maximum_with_a_branch() -> None:
    def larger(a: Any, b: Any) -> Any:
        return np.where(a > b, a, b)

    gradient = cr.grad(lambda x: np.sum(associative_scan(larger, x)))(np.array([1.0, 3.0, 2.0, 5.0]))
    np.testing.assert_array_equal(gradient, [1.0, 2.0, 0.0, 1.0])


def test_matrices_do_not_commute() -> None:
    m = RNG.normal(size=(6, 2, 2))
    for reverse in (False, True):
        found = cr.jit(lambda m, r=reverse: associative_scan(np.matmul, m, reverse=r))(m)
        order = m[::-1] if reverse else m
        total, wanted = np.eye(2), []
        for matrix in order:
            total = total @ matrix
            wanted.append(total)
        np.testing.assert_allclose(found, wanted[::-1] if reverse else wanted, rtol=1e-13)
    cr.check_grads(lambda m: associative_scan(np.matmul, m)[-1], (m,))


def test_every_length_is_served_by_one_kernel() -> None:
    function = cr.jit(lambda x: associative_scan(np.add, x))
    for size in (0, 1, 2, 3, 5, 9, 40):
        np.testing.assert_array_equal(function(np.ones(size)), np.arange(1.0, size + 1))
    assert function(np.zeros((0, 3))).shape == (0, 3)
    gradient = cr.grad(lambda x: np.sum(associative_scan(np.add, x)))
    for size in (0, 1, 2, 5):
        np.testing.assert_array_equal(gradient(np.ones(size)), np.arange(size, 0.0, -1))


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: associative_scan(3, X), TypeError, "takes a function"),
        (lambda: associative_scan(np.add, X, axis=2), ValueError, "axis 2 of an array of shape"),
        (lambda: associative_scan(np.add, 1.0), ValueError, "axis 0 of an array of shape"),
        (lambda: associative_scan(np.add, ()), ValueError, "needs an array"),
        (lambda: associative_scan(affine, (X, X[1:])), ValueError, "of one length"),
        (lambda: associative_scan(lambda a, b: (a, b), X), TypeError, "another structure"),
    ],
)
def test_what_is_refused(make: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make()
