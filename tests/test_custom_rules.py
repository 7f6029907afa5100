"""custom_jvp and custom_vjp: the rule is what derivatives use, in every transform; the rules here are recognisably not
the true derivatives, so that one that is not used shows."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr

X = 0.7
XS = np.array([0.3, 0.7, 1.9])


@cr.custom_jvp
def wave(x: Any, a: Any = 1.0) -> Any:
    """a·sin x with a slope in x that is ten times too large."""
    return a * np.sin(x)


@wave.defjvp
def _wave_rule(primals: Any, tangents: Any) -> Any:
    (x, a), (tx, ta) = primals, tangents
    return wave(x, a), 10 * a * np.cos(x) * tx + np.sin(x) * ta


@cr.custom_vjp
def growth(x: Any) -> Any:
    """exp x with a slope that is three times too large."""
    return np.exp(x)


def _growth_fwd(x: Any) -> Any:
    y = growth(x)
    return y, y


growth.defvjp(_growth_fwd, lambda y, g: (3 * y * g,))


@cr.custom_vjp
def clipped(x: Any) -> Any:
    """x with a gradient between −1 and 1: not linear."""
    return x


clipped.defvjp(lambda x: (x, None), lambda _, g: (np.clip(g, -1, 1),))


def test_values_are_the_functions() -> None:
    assert wave(X) == cr.jit(wave)(X) == np.sin(X)
    assert wave(X, a=2.0) == cr.jit(lambda x: wave(a=2.0, x=x))(X) == 2 * np.sin(X)
    np.testing.assert_array_equal(cr.vmap(growth)(XS), cr.jit(np.exp)(XS))


@pytest.mark.parametrize("derivative", [cr.grad, cr.jacfwd, cr.jacrev, cr.jacobian])
def test_first_derivatives_use_the_rule(derivative: Callable[..., Any]) -> None:
    np.testing.assert_allclose(derivative(wave)(X), 10 * np.cos(X), rtol=1e-15)
    np.testing.assert_allclose(derivative(wave, argnums=1)(X, 2.0), np.sin(X), rtol=1e-15)
    np.testing.assert_allclose(derivative(growth)(X), 3 * np.exp(X), rtol=1e-15)


def test_higher_derivatives_use_it_again() -> None:
    np.testing.assert_allclose(cr.grad(cr.grad(wave))(X), -10 * np.sin(X), rtol=1e-14)
    np.testing.assert_allclose(cr.grad(cr.grad(lambda x: wave(wave(x))))(X), _second_of_nested(X), rtol=1e-13)
    np.testing.assert_allclose(cr.hessian(growth)(X), 9 * np.exp(X), rtol=1e-15)
    np.testing.assert_allclose(cr.grad(cr.grad(cr.grad(growth)))(X), 27 * np.exp(X), rtol=1e-15)
    np.testing.assert_allclose(cr.jacfwd(cr.jacrev(growth))(X), cr.jacrev(cr.jacfwd(growth))(X), rtol=1e-15)


def _second_of_nested(x: float) -> float:
    """d(100·cos(sin x)·cos x), of which sin x has the slope 10·cos x, and cos its own."""
    y = np.sin(x)
    return float(100 * (-np.sin(y) * 10 * np.cos(x) * np.cos(x) - np.cos(y) * np.sin(x)))


def test_vmap_before_and_after() -> None:
    np.testing.assert_allclose(cr.vmap(cr.grad(wave))(XS), 10 * np.cos(XS), rtol=1e-14)
    np.testing.assert_allclose(cr.grad(lambda x: np.sum(cr.vmap(wave)(x)))(XS), 10 * np.cos(XS), rtol=1e-14)
    np.testing.assert_allclose(cr.grad(lambda x: np.sum(cr.vmap(growth)(x)))(XS), 3 * np.exp(XS), rtol=1e-14)
    np.testing.assert_allclose(cr.vmap(cr.vmap(cr.grad(growth)))(XS[None]), 3 * np.exp(XS)[None], rtol=1e-14)


def test_on_arrays() -> None:
    np.testing.assert_allclose(cr.jacrev(wave)(XS), np.diag(10 * np.cos(XS)), rtol=1e-15)
    np.testing.assert_allclose(cr.jacfwd(growth)(XS), np.diag(3 * np.exp(XS)), rtol=1e-15)
    np.testing.assert_allclose(cr.grad(lambda x: np.sum(growth(x) ** 2))(XS), 6 * np.exp(2 * XS), rtol=1e-14)


def _iterated(x: Any, n: Any) -> Any:
    for i in range(n):
        x = wave(x) if i % 2 == 0 else growth(x)
    return x


@pytest.mark.parametrize("n", [1, 4, 7])
def test_in_loops_and_branches(n: int) -> None:
    value, slope = X, 1.0
    for i in range(n):
        slope *= 10 * np.cos(value) if i % 2 == 0 else 3 * np.exp(value)
        value = np.sin(value) if i % 2 == 0 else np.exp(value)
    np.testing.assert_allclose(cr.jit(_iterated)(X, n), value, rtol=1e-13)
    np.testing.assert_allclose(cr.grad(_iterated)(X, n), slope, rtol=1e-13)
    np.testing.assert_allclose(cr.jacrev(_iterated)(X, n), slope, rtol=1e-13)
    np.testing.assert_allclose(cr.jvp(lambda x: _iterated(x, n), (X,), (1.0,))[1], slope, rtol=1e-13)


def test_in_a_while_loop_backwards() -> None:
    def f(p: Any) -> Any:
        x, total = p[0], 0.0
        while x < 3.0:
            x = x + growth(p[1])
            total = total + wave(x)
        return total

    p = np.array([0.1, -1.0])
    step = np.exp(p[1])
    places = [p[0] + step * k for k in range(1, 100) if p[0] + step * (k - 1) < 3.0]
    slopes = [10 * np.cos(x) for x in places]
    expected = [sum(slopes), sum(s * 3 * step * (k + 1) for k, s in enumerate(slopes))]
    np.testing.assert_allclose(cr.grad(f)(p), expected, rtol=1e-12)
    np.testing.assert_allclose(cr.jacfwd(f)(p), expected, rtol=1e-12)


def test_a_rule_that_is_not_linear_is_for_reverse_mode() -> None:
    assert cr.grad(lambda x: 10 * clipped(x))(2.0) == 1.0
    np.testing.assert_array_equal(cr.grad(lambda x: np.sum(XS * clipped(x)))(XS), np.clip(XS, -1, 1))
    with pytest.raises(TypeError, match="not linear in the cotangents"):
        cr.jvp(clipped, (2.0,), (1.0,))


def test_unselected_branches_do_not_poison() -> None:
    assert cr.grad(lambda x: np.where(x > 0, growth(1 / x), 0.0))(0.0) == 0.0
    assert cr.grad(lambda x: np.where(x > 0, wave(np.log(x)), 0.0))(-1.0) == 0.0
    x = np.array([-1.0, 4.0])
    np.testing.assert_array_equal(cr.grad(lambda x: np.sum(np.where(x > 0, clipped(np.sqrt(x)), 0)))(x), [0, 0.25])
    np.testing.assert_allclose(
        cr.grad(lambda x: np.sum(np.where(x > 0, growth(np.sqrt(x)), 0)))(x), [0, 0.75 * np.exp(2)], rtol=1e-15
    )


def test_defjvps() -> None:
    @cr.custom_jvp
    def product(x: Any, y: Any) -> Any:
        return x * y

    product.defjvps(lambda t, value, x, y: 5 * y * t, None)
    assert cr.grad(product, argnums=(0, 1))(2.0, 3.0) == (15.0, 0.0)


def test_nondiff_argnums() -> None:
    def apply(f: Any, x: Any, n: Any) -> Any:
        return f(x) ** n

    forward = cr.custom_jvp(apply, nondiff_argnums=(0, 2))

    @forward.defjvp
    def _(f: Any, n: Any, primals: Any, tangents: Any) -> Any:
        return f(primals[0]) ** n, n * tangents[0]

    assert cr.grad(lambda x: forward(np.sin, x, 4))(X) == 4.0
    assert cr.grad(lambda x, n: forward(np.sin, x, n))(X, 4) == 4.0  # traced

    backward = cr.custom_vjp(apply, nondiff_argnums=(0, 2))
    backward.defvjp(lambda f, x, n: (f(x) ** n, x), lambda f, n, x, g: (n * g * f(x),))
    np.testing.assert_allclose(cr.grad(lambda x: backward(np.sin, x, 4))(X), 4 * np.sin(X), rtol=1e-15)


def test_pytrees_and_integers() -> None:
    @cr.custom_jvp
    def f(p: Any, k: Any) -> Any:
        return {"sum": p["a"] + p["b"][0], "power": p["a"] ** k}

    @f.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (p, k), (t, tk) = primals, tangents
        return f(p, k), {"sum": 7 * t["a"], "power": tk + 2 * t["b"][0]}

    p = {"a": 2.0, "b": (3.0,)}
    value, tangent = cr.jvp(lambda p: f(p, 3), (p,), ({"a": 1.0, "b": (10.0,)},))
    assert value == {"sum": 5.0, "power": 8.0}
    assert tangent == {"sum": 7.0, "power": 20.0}
    assert cr.grad(lambda p: f(p, 3)["sum"])(p) == {"a": 7.0, "b": (0.0,)}

    g = cr.custom_vjp(lambda p, k: p["a"] * p["b"][0] * k)
    g.defvjp(lambda p, k: (p["a"] * p["b"][0] * k, (p, k)), lambda kept, c: ({"a": c, "b": (2 * c * kept[1],)}, None))
    assert cr.grad(g)(p, 4) == {"a": 1.0, "b": (8.0,)}


def test_captured_values() -> None:
    scale = np.linspace(1.0, 2.0, 50)  # too large to be a constant of the program

    def outer(x: Any) -> Any:
        inside = cr.stop_gradient(x) * 2

        @cr.custom_jvp
        def f(x: Any) -> Any:
            return np.sum(scale * x) * inside

        @f.defjvp
        def _(primals: Any, tangents: Any) -> Any:
            return f(*primals), tangents[0] * scale[1] * inside * 5

        return f(x)

    np.testing.assert_allclose(cr.jit(outer)(3.0), 3 * 6 * scale.sum(), rtol=1e-14)
    np.testing.assert_allclose(cr.grad(outer)(3.0), scale[1] * 6 * 5, rtol=1e-14)
    np.testing.assert_allclose(cr.vmap(cr.grad(outer))(np.array([3.0, 4.0])), scale[1] * 5 * np.array([6.0, 8.0]))


def test_rules_do_not_mix() -> None:
    """Functions with the same body and other rules."""

    def reversal(scale: float) -> Any:
        f = cr.custom_vjp(lambda x: x)
        f.defvjp(lambda x: (f(x), None), lambda _, g: (-scale * g,))
        return f

    one, two = reversal(1.0), reversal(2.0)
    assert cr.grad(lambda x: one(x) * two(x))(3.0) == -9.0
    assert cr.grad(cr.grad(lambda x: one(x) * two(x)))(3.0) == 4.0
    assert cr.grad(cr.grad(lambda x: two(x) ** 2))(3.0) == 8.0


def test_one_kernel_for_the_same_rule() -> None:
    before = cr.debug.compilations()
    for _ in range(3):
        cr.grad(lambda x: wave(x) + 0.125)(X)
    assert cr.debug.compilations() - before <= 1


def test_same_bits_in_every_process() -> None:
    program = "import chainrule as cr, tests.test_custom_rules as t; print(cr.grad(cr.grad(t._iterated))(0.7, 3).hex())"
    found = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(found) == 1


def _bad() -> Iterator[tuple[str, Callable[[], Any], str]]:
    def without_rule() -> Any:
        return cr.grad(cr.custom_jvp(lambda x: x))(1.0)

    def rule(f: Callable[[Any, Any], Any]) -> Callable[[], Any]:
        made = cr.custom_jvp(lambda x: x)
        made.defjvp(f)
        return lambda: cr.grad(made)(1.0)

    def pair(fwd: Any, bwd: Any) -> Callable[[], Any]:
        made = cr.custom_vjp(lambda x: x)
        made.defvjp(fwd, bwd)
        return lambda: cr.grad(made)(1.0)

    def keyword_only() -> Any:
        made = cr.custom_jvp(_keyword_only)
        made.defjvp(lambda p, t: (p[0], t[0]))
        return cr.grad(lambda x: made(x, scale=2.0))(1.0)

    yield "no rule", without_rule, "a custom_jvp without a rule"
    yield "not a pair", rule(lambda p, t: p[0]), r"returns a pair \(value, tangent\)"
    yield "structure", rule(lambda p, t: (p, t[0])), "has another structure"
    yield "shape", rule(lambda p, t: (p[0], np.ones(2) * t[0])), r"is float64\[2\], where float64 is expected"
    yield "not linear", rule(lambda p, t: (p[0], t[0] ** 2)), "is not linear in the tangents"
    yield "fwd", pair(lambda x: x, lambda r, g: (g,)), r"returns a pair \(value, residuals\)"
    yield "bwd", pair(lambda x: (x, x), lambda r, g: g), "a tuple with one cotangent per argument"
    yield "bwd shape", pair(lambda x: (x, x), lambda r, g: (g * np.ones(3),)), r"float64\[3\], where float64"
    yield "keyword", keyword_only, "takes no keyword-only arguments: scale"
    yield "no function", lambda: cr.custom_vjp(3), "takes a function"  # type: ignore[arg-type]
    yield "argnums", lambda: cr.custom_jvp(np.sin, nondiff_argnums="x"), "are positions of arguments"  # type: ignore[arg-type]


def _keyword_only(x: Any, *, scale: Any) -> Any:
    return x * scale


@pytest.mark.parametrize(("call", "message"), [b[1:] for b in _bad()], ids=[b[0] for b in _bad()])
def test_bad_input(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()
    assert cr.grad(wave)(X) == 10 * np.cos(X)


def test_a_traced_value_of_the_function_around() -> None:
    def outer(p: Any) -> Any:
        f = cr.custom_jvp(lambda x: x * p)
        f.defjvp(lambda primals, tangents: (f(*primals), tangents[0]))
        return f(p)

    with pytest.raises(TypeError, match="pass the value as an argument"):
        cr.grad(outer)(2.0)
    assert cr.jit(outer)(2.0) == 4.0
