"""Hessians of functions with several results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpmath import mp

import chainrule as cr
from chainrule.codegen import ir

X = np.array([1.0, 2.0, -0.5])


def same(found: Any, wanted: Any) -> None:
    """Equal structures of numbers and arrays."""
    if isinstance(wanted, tuple):
        assert type(found) is tuple
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            same(a, b)
    else:
        assert np.shape(found) == np.shape(wanted)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


def test_hessians_of_several_results() -> None:
    """As in jax.hessian: structure of the result, of the argument, and of the argument again."""
    calls = [
        (lambda x: np.stack([x[0] ** 3 * x[1], np.sin(x[0] * x[2]), x[1] / x[2]]), X),
        (lambda x: np.outer(x[:2], x**2), X),  # reads the array as a whole
        (lambda x: x**3, np.linspace(0.5, 2, 20)),
        (lambda x: x**3 * np.arange(4.0), 2.0),
    ]
    for f, x in calls:
        found = cr.hessian(f)(x)
        assert found.shape == np.shape(f(x)) + 2 * np.shape(x)
        same(found, cr.jacfwd(cr.jacfwd(f))(x))
        same(found, cr.jacfwd(cr.jacrev(f))(x))
        if np.ndim(x):
            np.testing.assert_array_equal(found, np.swapaxes(found, -1, -2))
    same(cr.hessian(lambda x: x**3)(X), np.einsum("ij,ik,i->ijk", np.eye(3), np.eye(3), 6 * X))


def test_hessians_of_trees_of_results() -> None:
    def f(a: Any, b: Any) -> Any:
        return {"u": a**2 * b, "v": (np.sin(a) * b[:2], a * 3.0)}

    b = np.array([1.0, 2.0, 4.0])
    found = cr.hessian(f, argnums=(0, 1))(0.5, b)
    same(found["u"][0][0], 2 * b)
    same(found["u"][0][1], np.eye(3))
    same(found["u"][1][0], np.eye(3))
    same(found["u"][1][1], np.zeros((3, 3, 3)))
    same(found["v"][0][0][0], -np.sin(0.5) * b[:2])
    same(found["v"][0][0][1], np.cos(0.5) * np.eye(2, 3))
    same(found["v"][1], ((0.0, np.zeros(3)), (np.zeros(3), np.zeros((3, 3)))))
    hess, aux = cr.hessian(lambda x: (np.stack([x[0] * x[1], x[0] ** 3]), {"n": x[1]}), has_aux=True)(X)
    same(hess[:, :2, :2], [[[0, 1], [1, 0]], [[6 * X[0], 0], [0, 0]]])
    same(aux["n"], X[1])
    with pytest.raises(TypeError, match="int64"):
        cr.hessian(np.argsort)(X)
    with pytest.raises(TypeError, match="hessian takes real arguments"):
        cr.hessian(lambda z: z**2)(1j * X)


def test_hessians_of_several_results_nest() -> None:
    f = lambda x: np.stack([x[0] ** 2 * x[1] ** 2, np.exp(x[0] * x[1])])  # noqa: E731
    x = np.array([0.7, -0.4])
    same(cr.vmap(cr.hessian(f))(np.stack([x, 2 * x])), [cr.hessian(f)(x), cr.hessian(f)(2 * x)])
    third = cr.jacfwd(cr.hessian(f))(x)
    same(third[0, 0, 0], [0.0, 4 * x[1]])
    for axes in ((0, 2, 1, 3), (0, 3, 2, 1), (0, 1, 3, 2)):
        same(third, np.transpose(third, axes))
    same(cr.hessian(lambda x: np.sum(cr.hessian(f)(x)[0]))(x), cr.jacfwd(cr.grad(lambda x: np.sum(third_sum(x))))(x))


def third_sum(x: Any) -> Any:
    """All second derivatives of x₀²x₁², by hand."""
    return 2 * x[1] ** 2 + 8 * x[0] * x[1] + 2 * x[0] ** 2


def test_the_hessian_of_a_chain_of_joints_against_mpmath() -> None:
    """A product of rotations: entries of one triangle only, each true to a few units in the last place."""
    angles = np.array([0.3, -1.1, 0.8, 2.0])

    def end(q: Any, sin: Any, cos: Any) -> list[Any]:
        x, y, z = 1.0, 0.5, -0.25
        for k in range(4):
            c, s = cos(q[k]), sin(q[k])
            x, y, z = (x * c - y * s, x * s + y * c, z + 0.5) if k % 2 else (x * c + z * s, y - 0.25, z * c - x * s)
        return [x, y, z]

    with mp.workdps(40):
        wanted = np.empty((3, 4, 4))
        for out, i, j in np.ndindex(3, 4, 4):
            orders = [(k == i) + (k == j) for k in range(4)]
            wanted[out, i, j] = mp.diff(lambda *q: end(q, mp.sin, mp.cos)[out], tuple(map(mp.mpf, angles)), orders)  # noqa: B023
    f = cr.hessian(lambda q: np.stack(end(q, np.sin, np.cos)))
    np.testing.assert_allclose(f(angles), wanted, rtol=1e-14, atol=1e-15)
    stored = [stmt.value for stmt in f._used().kernel("f").ir.body if isinstance(stmt, ir.Store)]
    assert len(stored) == 48 and len(set(stored)) <= 30
