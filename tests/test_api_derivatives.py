"""The public transforms: structure of what they take and give, nesting, and errors that speak of the user's program."""

from __future__ import annotations

import pickle
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr

Params = namedtuple("Params", ["mu", "sigma"])
X = np.array([1.0, 2.0, -0.5])
HERE = Path(__file__).name


def same(found: Any, wanted: Any, rtol: float = 1e-12) -> None:
    """Equal structures of numbers and arrays."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict)
        assert sorted(found) == sorted(wanted)
        for key in wanted:
            same(found[key], wanted[key], rtol)
    elif isinstance(wanted, (tuple, list)):
        assert type(found) is type(wanted)
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            same(a, b, rtol)
    elif wanted is None:
        assert found is None
    else:
        assert np.shape(found) == np.shape(wanted)
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-13)


# --- grad ---------------------------------------------------------------------------------------------------


def test_grad_of_numbers() -> None:
    f = cr.grad(lambda x: np.sin(x) ** 2)
    same(f(1.0), np.sin(2.0))
    assert isinstance(f(1.0), np.float64)
    same(f(2), np.sin(4.0))  # an integer becomes a float
    assert isinstance(f(2), np.float64)


def test_argnums() -> None:
    def f(a: Any, b: Any, c: Any) -> Any:
        return a * b**2 * np.exp(c)

    e = np.exp(0.5)
    at = (2.0, 3.0, 0.5)
    same(cr.grad(f)(*at), 9 * e)
    same(cr.grad(f, 1)(*at), 12 * e)
    same(cr.grad(f, argnums=-1)(*at), 18 * e)
    same(cr.grad(f, argnums=(0,))(*at), (9 * e,))
    same(cr.grad(f, argnums=(2, 0))(*at), (18 * e, 9 * e))
    same(cr.grad(f, argnums=(-1, 1))(*at), (18 * e, 12 * e))
    same(cr.grad(f, argnums=[0, 1])(*at), (9 * e, 12 * e))
    same(cr.grad(f, wrt="b")(*at), 12 * e)
    same(cr.grad(f, wrt="c a")(*at), (18 * e, 9 * e))
    same(cr.grad(f, wrt=["c"])(*at), (18 * e,))
    same(cr.grad(f, wrt="c")(2.0, c=0.5, b=3.0), 18 * e)


def test_pytrees() -> None:
    def f(p: Any, x: Any) -> Any:
        return np.sum(((x - p["mu"]) / p["s"][0]) ** 2) + p["s"][1]["k"] ** 3

    p = {"mu": 0.5, "s": (2.0, {"k": 3.0})}
    z = (X - 0.5) / 2
    wanted = {"mu": -np.sum(2 * z / 2), "s": (-np.sum(z * z), {"k": 27.0})}
    same(cr.grad(f)(p, X), wanted)
    value, gradient = cr.value_and_grad(f)(p, X)
    same(value, np.sum(z * z) + 27)
    same(gradient, wanted)
    same(cr.grad(f, argnums=(0, 1))(p, X), (wanted, z))


def test_namedtuples_and_lists_and_none() -> None:
    def f(p: Any) -> Any:
        return np.sum(p.mu * p.sigma[0]) + np.prod(p.sigma[1])

    found = cr.grad(f)(Params(X, [3.0, np.array([2.0, 5.0])]))
    assert isinstance(found, Params)
    same(found.mu, np.full(3, 3.0))
    same(found.sigma, [X.sum(), np.array([5.0, 2.0])])
    same(cr.grad(lambda p: p[0] ** 2)((3.0, None)), (6.0, None))


def test_keyword_arguments() -> None:
    def f(x: Any, *, power: Any = 2.0, shift: Any) -> Any:
        return np.sum((x + shift) ** power)

    same(cr.grad(f)(X, shift=0.0), 2 * X)
    same(cr.grad(f)(X, shift=0.0, power=3.0), 3 * X**2)
    same(cr.grad(f, wrt="shift")(X, shift=1.0), np.sum(2 * (X + 1)))
    same(cr.grad(f, wrt="x shift")(X, shift=1.0), (2 * (X + 1), np.sum(2 * (X + 1))))


def test_auxiliary_results() -> None:
    def f(x: Any) -> Any:
        y = np.sin(x)
        return np.sum(y), {"y": y, "n": x.size}

    s, c = np.sin(X), np.cos(X)
    gradient, aux = cr.grad(f, has_aux=True)(X)
    same(gradient, c)
    same(aux["y"], s)
    assert aux["n"] == 3
    (value, aux), gradient = cr.value_and_grad(f, has_aux=True)(X)
    same(value, s.sum())
    same(gradient, c)
    same(aux["y"], s)
    g = lambda x: (np.sin(x), x * 2)  # noqa: E731
    for jacobian in (cr.jacfwd, cr.jacrev, cr.jacobian):
        table, aux = jacobian(g, has_aux=True)(X)
        same(table, np.diag(c))
        same(aux, 2 * X)
    value, tangent, aux = cr.jvp(g, (X,), (np.ones(3),), has_aux=True)
    same((value, tangent, aux), (s, c, 2 * X))
    value, pull_back, aux = cr.vjp(g, X, has_aux=True)
    same((value, pull_back(np.ones(3)), aux), (s, (c,), 2 * X))


def test_complex_arguments_follow_jax() -> None:
    z = 1.5 - 2j
    same(cr.grad(lambda z: np.abs(z) ** 2)(z), 2 * np.conj(z))
    same(cr.grad(lambda z: np.real(z * z))(z), 2 * z)
    same(cr.grad(lambda z: np.imag(z))(z), -1j)
    same(cr.grad(lambda z: np.sum(np.abs(z) ** 2))(np.array([z, 1j])), 2 * np.conj([z, 1j]))
    same(cr.grad(lambda z, w: np.real(z * w), argnums=(0, 1))(z, 2j), (2j, z))
    same(cr.grad(np.exp, holomorphic=True)(z), np.exp(z))
    same(cr.grad(lambda z: z**3, holomorphic=True)(z), 3 * z**2)
    same(cr.grad(lambda x: np.abs(np.exp(1j * x) + 1) ** 2)(0.5), -2 * np.sin(0.5))
    with pytest.raises(TypeError, match="holomorphic"):
        cr.grad(lambda z: z * z)(z)


def test_complex_arguments_through_loops() -> None:
    def f(z: Any) -> Any:
        return np.abs(cr.fori_loop(0, 3, lambda i, w: w * w + z, z)) ** 2

    z, h = 0.25 + 0.5j, 1e-6
    by_x, by_y = ((f(z + d * h) - f(z - d * h)) / (2 * h) for d in (1, 1j))
    same(cr.grad(f)(z), by_x - 1j * by_y, rtol=1e-7)


def test_compiled_functions_of_complex_numbers() -> None:
    z = np.array([1 + 2j, 0.5j])
    same(cr.jit(lambda z: np.abs(z) ** 2)(z), np.abs(z) ** 2)
    same(cr.jit(lambda z: np.sqrt(np.real(z * np.conj(z))) * np.angle(z))(z), np.abs(z) * np.angle(z))


def test_jacobians_of_complex_numbers() -> None:
    z = np.array([1 + 2j, 0.5j])
    # complex results of real arguments, forward; real results of complex arguments, reverse
    wave = lambda t: np.exp(1j * t) * np.array([1.0, 2.0])  # noqa: E731
    for jacobian in (cr.jacfwd, cr.jacobian):
        same(jacobian(wave)(0.5), 1j * wave(0.5))
    for jacobian in (cr.jacrev, cr.jacobian):
        same(jacobian(lambda z: np.abs(z) ** 2)(z), np.diag(2 * np.conj(z)))
    with pytest.raises(TypeError, match="jacrev needs real results"):
        cr.jacrev(wave)(0.5)
    with pytest.raises(TypeError, match="jacfwd takes real arguments"):
        cr.jacfwd(lambda z: np.abs(z) ** 2)(z)
    with pytest.raises(TypeError, match="hessian takes real arguments"):
        cr.hessian(lambda z: np.sum(np.abs(z) ** 2))(z)
    with pytest.raises(TypeError, match="real"):
        cr.elementwise_grad(lambda z: z * z)(z)


def test_float32_and_integers() -> None:
    found = cr.grad(lambda x: np.sum(x * x))(X.astype(np.float32))
    assert found.dtype == np.float32
    same(found, (2 * X).astype(np.float32))
    # what is not differentiated may be integer, and parameters in a tree may be Python integers
    same(cr.grad(lambda x, n: x**n)(2.0, 3), 12.0)
    same(cr.grad(lambda p: p["a"] * p["b"])({"a": 2, "b": 3}), {"a": 3.0, "b": 2.0})
    same(cr.grad(lambda x, i: np.sum(x[i] ** 2))(X, np.array([0, 0, 2])), [4.0, 0.0, -1.0] * np.ones(3))


def test_stop_gradient() -> None:
    same(cr.grad(lambda x: x * cr.stop_gradient(x))(3.0), 3.0)
    same(cr.grad(lambda x: np.sum(cr.stop_gradient({"a": x})["a"] * x))(X), X)
    assert cr.stop_gradient(2.0) == 2.0


# --- Jacobians and Hessians ---------------------------------------------------------------------------------

W = np.array([[1.0, 2.0, 0.5], [-1.0, 0.25, 3.0]])


@pytest.mark.parametrize("jacobian", [cr.jacfwd, cr.jacrev, cr.jacobian])
def test_jacobians(jacobian: Any) -> None:
    def f(x: Any) -> Any:
        return np.tanh(W @ x)

    t = np.tanh(W @ X)
    same(jacobian(f)(X), (1 - t**2)[:, None] * W)
    # result structure outside, argument structure inside; shapes joined
    g = lambda p, y: {"a": np.outer(p["u"], y), "b": (p["v"] * y[0], p["v"] ** 2)}  # noqa: E731
    u, v, y = np.array([2.0, 3.0]), 0.5, X
    found = jacobian(g, argnums=(0, 1))({"u": u, "v": v}, y)
    same(found["a"][0]["u"], np.einsum("ik,j->ijk", np.eye(2), y))
    same(found["a"][0]["v"], np.zeros((2, 3)))
    same(found["a"][1], np.einsum("i,jk->ijk", u, np.eye(3)))
    same(found["b"][0], ({"u": np.zeros(2), "v": y[0]}, np.array([v, 0, 0])))
    same(found["b"][1], ({"u": np.zeros(2), "v": 2 * v}, np.zeros(3)))


def test_jacobians_of_numbers() -> None:
    for jacobian in (cr.jacfwd, cr.jacrev, cr.jacobian):
        same(jacobian(lambda a, b: (a * b, a**2), argnums=(0, 1))(2.0, 3.0), ((3.0, 2.0), (4.0, 0.0)))
        same(jacobian(lambda x: W * x)(2.0), W)
        same(jacobian(lambda x: np.sum(x**2))(X), 2 * X)


def test_large_jacobians() -> None:
    x = np.linspace(0.1, 1, 20)
    for jacobian in (cr.jacfwd, cr.jacrev, cr.jacobian):
        same(jacobian(lambda x: np.cumsum(x**2))(x), np.tril(np.ones((20, 20))) * 2 * x)


def test_hessians() -> None:
    def f(x: Any) -> Any:
        return x[0] ** 2 * x[1] + np.exp(x[2])

    wanted = np.array([[4.0, 2.0, 0], [2.0, 0, 0], [0, 0, np.exp(-0.5)]])
    same(cr.hessian(f)(X), wanted)
    same(cr.jacfwd(cr.jacrev(f))(X), wanted)
    same(cr.jacrev(cr.jacrev(f))(X), wanted)
    same(cr.jacfwd(cr.grad(f))(X), wanted)
    value, gradient, hess = cr.value_grad_hess(f)(X)
    same(value, 2 + np.exp(-0.5))
    same(gradient, [4.0, 1.0, np.exp(-0.5)] * np.ones(3))
    same(hess, wanted)
    for k in range(3):
        same(cr.hvp(f, (X,), (np.eye(3)[k],)), wanted[k])


def test_hessians_of_trees() -> None:
    f = lambda p: p["a"] ** 2 * np.sum(p["b"] ** 2)  # noqa: E731
    b = np.array([1.0, 3.0])
    found = cr.hessian(f)({"a": 2.0, "b": b})
    same(found["a"]["a"], 20.0)
    same(found["a"]["b"], 8 * b)
    same(found["b"]["a"], 8 * b)
    same(found["b"]["b"], 8 * np.eye(2))
    found = cr.hessian(lambda a, b: a * b**2, argnums=(0, 1))(2.0, 3.0)
    same(found, ((0.0, 6.0), (6.0, 4.0)))
    same(cr.hessian(lambda a, b: a * b**2, wrt="b")(2.0, 3.0), 4.0)


def test_elementwise_gradients() -> None:
    f = lambda x, a: a * x**2  # noqa: E731
    same(cr.elementwise_grad(f)(X, 3.0), 6 * X)
    same(cr.elementwise_grad(f, 1)(X, 3.0), X**2)
    same(cr.elementwise_grad(f, (0, 1))(X, 3.0), (6 * X, X**2))
    same(cr.elementwise_grad(f, wrt="x a")(X, 3.0), np.stack([6 * X, X**2]))
    same(cr.elementwise_grad(cr.elementwise_grad(np.sin))(X), -np.sin(X))


# --- jvp, vjp, linearize ------------------------------------------------------------------------------------


def test_jvp_and_vjp() -> None:
    def f(p: Any, y: Any) -> Any:
        return {"s": p[0] * y, "t": np.sum(p[1])}

    p, y = (2.0, X), np.array([1.0, 3.0])
    dp, dy = (0.5, np.ones(3)), np.array([1.0, -1.0])
    value, tangent = cr.jvp(f, (p, y), (dp, dy))
    same(value, {"s": 2 * y, "t": X.sum()})
    same(tangent, {"s": 0.5 * y + 2 * dy, "t": 3.0})
    value, pull_back = cr.vjp(f, p, y)
    same(value, {"s": 2 * y, "t": X.sum()})
    same(pull_back({"s": np.ones(2), "t": 3.0}), ((4.0, np.full(3, 3.0)), np.full(2, 2.0)))
    same(pull_back({"s": np.zeros(2), "t": 1.0}), ((0.0, np.ones(3)), np.zeros(2)))
    value, push_forward = cr.linearize(f, p, y)
    same(push_forward(dp, dy), {"s": 0.5 * y + 2 * dy, "t": 3.0})
    same(push_forward((0.0, np.zeros(3)), dy), {"s": 2 * dy, "t": 0.0})


def test_wrong_tangents() -> None:
    with pytest.raises(ValueError, match="shape"):
        cr.jvp(np.sin, (X,), (np.ones(2),))
    with pytest.raises((TypeError, ValueError), match="tangents"):
        cr.jvp(np.sin, (X,), (X, X))
    with pytest.raises(TypeError, match="tuple"):
        cr.jvp(np.sin, X, X)
    with pytest.raises(TypeError, match="complex"):
        cr.jvp(np.sin, (X,), (X * 1j,))
    _, pull_back = cr.vjp(np.sin, X)
    with pytest.raises(ValueError, match="shape"):
        pull_back(np.ones(2))


# --- nesting ------------------------------------------------------------------------------------------------


def test_derivatives_of_derivatives() -> None:
    f = np.sin
    for _ in range(4):
        f = cr.grad(f)
    same(f(0.5), np.sin(0.5))
    same(cr.grad(lambda x: cr.grad(lambda y: x * y**3)(2.0 * x))(1.5), 12 * 3 * 1.5**2)
    same(cr.grad(lambda x: cr.jvp(np.sin, (x,), (x,))[1])(0.5), np.cos(0.5) - 0.5 * np.sin(0.5))
    same(cr.jvp(cr.grad(lambda x: np.sum(x**3)), (X,), (X,))[1], 6 * X * X)
    same(cr.jvp(lambda x: cr.vjp(lambda y: y**3, x)[1](1.0)[0], (2.0,), (1.0,)), (12.0, 12.0))
    same(cr.grad(lambda x: cr.linearize(np.exp, x)[1](x))(0.5), 1.5 * np.exp(0.5))


def test_perturbations_are_not_confused() -> None:
    # d/dx [x · d/dy (x + y)] = 1
    same(cr.grad(lambda x: x * cr.grad(lambda y: x + y)(1.0))(1.0), 1.0)
    same(cr.jvp(lambda x: x * cr.jvp(lambda y: x + y, (1.0,), (1.0,))[1], (1.0,), (1.0,))[1], 1.0)


def test_functions_that_close_over_traced_values() -> None:
    def outer(a: Any, b: Any) -> Any:
        scale = np.exp(a)

        def inner(y: Any) -> Any:
            return scale * y**2 + b * y

        return cr.grad(inner)(3.0) + cr.hessian(inner)(1.0)

    e = np.exp(0.5)
    same(outer(0.5, 2.0), 8 * e + 2)
    same(cr.grad(outer, (0, 1))(0.5, 2.0), (8 * e, 1.0))
    same(cr.jit(outer)(0.5, 2.0), 8 * e + 2)


def test_vmap_of_grad_and_grad_of_vmap() -> None:
    f = lambda x, w: np.tanh(np.dot(x, w))  # noqa: E731
    t = np.tanh(W @ X)
    slope = 1 - t**2
    same(cr.vmap(cr.grad(f), in_axes=(0, None))(W, X), slope[:, None] * X)
    same(cr.vmap(cr.grad(f, 1), in_axes=(0, None))(W, X), slope[:, None] * W)
    same(cr.grad(lambda w: np.sum(cr.vmap(f, in_axes=(0, None))(W, w)))(X), slope @ W)
    same(cr.vmap(cr.hessian(lambda x: np.sum(x**3)))(W), np.stack([np.diag(6 * row) for row in W]))
    same(cr.vmap(lambda x: cr.jvp(np.sin, (x,), (1.0,)))(X), (np.sin(X), np.cos(X)))
    same(cr.vmap(cr.vmap(cr.grad(np.sin)))(W), np.cos(W))
    same(cr.jacfwd(cr.vmap(np.sin))(X), np.diag(np.cos(X)))


def test_vmap_axes() -> None:
    f = lambda x, p: {"a": x * p["s"], "b": np.sum(x)}  # noqa: E731
    found = cr.vmap(f, in_axes=(1, {"s": 0}), out_axes={"a": 1, "b": 0})(W, {"s": X})
    same(found, {"a": W * X, "b": W.sum(0)})
    same(cr.vmap(lambda x, y: y, in_axes=(0, None), out_axes=None)(X, 2.0), 2.0)
    same(cr.vmap(lambda x, y: x - y, in_axes=(-1, 0))(W, X), (W - X).T)
    with pytest.raises(ValueError, match="different sizes"):
        cr.vmap(lambda x, y: x + y)(X, np.ones(2))
    with pytest.raises(ValueError, match="in_axes"):
        cr.vmap(np.sin, in_axes=None)(X)
    with pytest.raises(ValueError, match="axis 2"):
        cr.vmap(np.sin, in_axes=2)(W)
    with pytest.raises(ValueError, match="out_axes"):
        cr.vmap(np.sin, out_axes=None)(X)


def test_loops_and_branches_under_vmap() -> None:
    def halvings(x: Any) -> Any:
        return cr.while_loop(lambda c: c[0] > 1, lambda c: (c[0] / 2, c[1] + 1), (x, 0))[1]

    x = np.array([0.5, 3.0, 100.0, 8.0])
    assert cr.vmap(halvings)(x).tolist() == [0, 2, 7, 3]
    choose = lambda x: cr.cond(x > 2, lambda y: y**2, lambda y: -y, x)  # noqa: E731
    same(cr.vmap(choose)(x), np.where(x > 2, x**2, -x))
    same(cr.vmap(cr.grad(choose))(x), np.where(x > 2, 2 * x, -1))
    power = lambda x: cr.fori_loop(0, 3, lambda i, y: y * x, 1.0)  # noqa: E731
    same(cr.vmap(cr.grad(power))(x), 3 * x**2)
    same(cr.grad(lambda x: np.sum(cr.vmap(power)(x)))(x), 3 * x**2)


def test_masked_branches_do_not_poison_gradients() -> None:
    root = lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0))  # noqa: E731
    x = np.array([-1.0, 0.0, 4.0])
    same(cr.grad(root)(x), np.array([0, 0, 0.25]))
    same(cr.hessian(root)(x), np.diag([0, 0, -1 / 32]))
    same(cr.vmap(cr.grad(root))(np.stack([x, x])), np.array([[0, 0, 0.25]] * 2))
    same(cr.grad(lambda x: np.linalg.norm(x))(np.zeros(3)), np.zeros(3))


def test_interpreted_and_compiled_agree() -> None:
    f = cr.value_grad_hess(lambda x: np.sum(np.tanh(W @ x)) + np.prod(x))
    compiled = f(X)
    with cr.disable_jit():
        same(f(X), compiled)


def test_arrays_of_any_length() -> None:
    f = cr.grad(lambda x: np.sum(np.sin(x) * np.cumsum(x)))
    for n in (1, 2, 3, 7, 100):
        x = np.linspace(0.1, 1, n)
        wanted = np.cos(x) * np.cumsum(x) + np.cumsum(np.sin(x)[::-1])[::-1]
        same(f(x), wanted)


# --- errors -------------------------------------------------------------------------------------------------


def check_place(caught: Any) -> None:
    """The message ends with a place in this file."""
    text = str(caught.value) + "\n".join(getattr(caught.value, "__notes__", []))
    assert HERE in text, text


def test_integer_arrays_are_refused_by_name() -> None:
    def f(x: Any, counts: Any) -> Any:
        return np.sum(x * counts)

    with pytest.raises(TypeError, match="counts") as caught:
        cr.grad(f, argnums=1)(X, np.array([1, 2, 3]))
    assert "astype(float)" in str(caught.value)
    with pytest.raises(TypeError, match=r"p\['n'\]"):
        cr.grad(lambda p: np.sum(p["n"] * p["x"]))({"n": np.array([1, 2]), "x": np.ones(2)})


def test_gradients_need_a_number() -> None:
    def f(x: Any) -> Any:
        return x * 2

    with pytest.raises(TypeError, match=r"scalar result.*f returned an array of shape \[3\]") as caught:
        cr.grad(f)(X)
    check_place(caught)
    with pytest.raises(TypeError, match="one scalar result"):
        cr.grad(lambda x: (x, x))(1.0)
    with pytest.raises(TypeError, match="int64"):
        cr.grad(lambda x: np.argmax(x))(X)


def test_wrong_arguments_of_transforms() -> None:
    f = lambda a, b: a * b  # noqa: E731
    with pytest.raises(TypeError, match="argnums=2"):
        cr.grad(f, 2)(1.0, 2.0)
    with pytest.raises(TypeError, match="wrt='c'"):
        cr.grad(f, wrt="c")(1.0, 2.0)
    with pytest.raises(TypeError, match="not both"):
        cr.grad(f, 0, wrt="a")
    with pytest.raises(ValueError, match="twice"):
        cr.grad(f, (0, 0))
    with pytest.raises(TypeError, match="takes a function"):
        cr.grad(3.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="has_aux"):
        cr.grad(f, has_aux=True)(1.0, 2.0)


def test_reverse_mode_through_loops() -> None:
    """∂/∂x of x⁴ and of Newton's √x, by rows."""
    power = lambda x: cr.fori_loop(0, 3, lambda i, y: y * x, x)  # noqa: E731
    np.testing.assert_allclose(cr.jacrev(power)(X), np.diag(4 * X**3), rtol=1e-14)

    def root(x: Any) -> Any:
        return cr.while_loop(lambda y: np.max(np.abs(y * y - x)) > 1e-13, lambda y: (y + x / y) / 2, x + 1)

    np.testing.assert_allclose(cr.jacrev(root)(X**2 + 1), np.diag(0.5 / np.sqrt(X**2 + 1)), rtol=1e-12, atol=1e-15)


# --- check_grads --------------------------------------------------------------------------------------------


def test_check_grads_passes_and_fails() -> None:
    f = lambda p, x: np.sum(np.sin(p["a"] * x) ** 2) + p["b"] ** 3  # noqa: E731
    cr.check_grads(f, ({"a": 0.5, "b": 2.0}, X), order=2)
    cr.check_grads(lambda x: cr.fori_loop(0, 3, lambda i, y: np.sin(y) * x, x), (0.5,), order=2)
    cr.check_grads(lambda z: np.abs(z) ** 2 + np.real(z), (1 + 2j,), order=1)
    cr.check_grads(lambda z: z * np.conj(z) * z, (np.array([1 + 2j, 0.5j]),), order=2)
    wrong = lambda x, y: np.sum(x * y * cr.stop_gradient(y))  # noqa: E731
    with pytest.raises(AssertionError, match=r"y.*\[1\]"):
        cr.check_grads(wrong, (X, np.array([0.0, 1.0, 0.0])), modes=("rev",))
    with pytest.raises(AssertionError, match="forward"):
        cr.check_grads(wrong, (X, np.array([0.0, 1.0, 0.0])), modes=("fwd",))
    with pytest.raises(ValueError, match="modes"):
        cr.check_grads(wrong, (X, X), modes=("both",))


def test_elementwise_derivatives_of_several_arguments_in_either_layout() -> None:
    """(K, N) or (N, K), written by the kernel in that order."""

    def f(x: Any, a: Any, b: Any) -> Any:
        return a * x**2 + np.sin(b * x)

    x = np.linspace(0.0, 2.0, 9)
    expected = np.stack([x**2, x * np.cos(3.0 * x)])
    rows = cr.elementwise_grad(f, wrt="a b")(x, 2.0, 3.0)
    columns = cr.elementwise_grad(f, wrt="a b", axis=-1)(x, 2.0, 3.0)
    np.testing.assert_allclose(rows, expected, rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(columns, rows.T)
    assert columns.flags.c_contiguous
    copy = pickle.loads(pickle.dumps(cr.elementwise_grad(np.power, argnums=0)))
    assert copy(3.0, 2.0) == 6.0
