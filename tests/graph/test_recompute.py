"""``checkpoint``: the same derivatives with less memory, counted in the bytes of the kernels that come out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.codegen.lower import lower
from chainrule.graph.cost import graph_cost
from chainrule.graph.op import Call, Loop
from chainrule.graph.recompute import checkpoint
from tests.check import check_backends

RNG = np.random.default_rng(11)
XS = RNG.uniform(0.2, 1.2, 37)


def workspace(function: Any, *args: Any) -> int:
    function(*args)
    found = lower(function.graph, "k").workspace
    assert isinstance(found, int)
    return found


def logistic(n: int) -> Any:
    """x ← r·x·(1 − x)."""

    def program(x: Any, r: Any) -> Any:
        for _ in range(n):
            x = r * x * (1 - x)
        return x

    return program


def logistic_gradient(n: int, x: float, r: float) -> tuple[float, float]:
    by_x, by_r = 1.0, 0.0
    for _ in range(n):
        by_r = x * (1 - x) + r * (1 - 2 * x) * by_r
        by_x *= r * (1 - 2 * x)
        x = r * x * (1 - x)
    return by_x, by_r


@pytest.mark.parametrize("policy", [None, 1, 2, 7, 1000])
@pytest.mark.parametrize("steps", [0, 1, 2, 9, 10, 64, 200])
def test_loops_of_any_length(steps: int, policy: int | None) -> None:
    function = cr.jacrev(checkpoint(logistic(steps), policy=policy), (0, 1))
    np.testing.assert_allclose(function(0.3, 2.7), logistic_gradient(steps, 0.3, 2.7), rtol=1e-12, atol=1e-300)


def test_memory_grows_like_the_square_root() -> None:
    """√(2n) states of one number, and as many places: 16 bytes each."""
    for steps in (10_000, 1_000_000):
        few = workspace(cr.jacrev(checkpoint(logistic(steps))), 0.3, 2.7)
        assert few <= 16 * (np.sqrt(2 * steps) + 16)
        assert workspace(cr.jacrev(logistic(steps)), 0.3, 2.7) >= 8 * steps
    assert workspace(cr.jacrev(checkpoint(logistic(10**6), policy=10)), 0.3, 2.7) <= 512


def test_memory_of_a_list_of_states_as_many_as_asked() -> None:
    def program(x: Any) -> Any:
        for _ in range(1000):
            x = np.sin(x) + 0.1
        return np.sum(x)

    x = RNG.uniform(0, 1, 100)
    gradient = cr.grad(checkpoint(program, policy=20))
    assert workspace(gradient, x) <= 25 * 100 * 8
    np.testing.assert_allclose(gradient(x), cr.grad(program)(x), rtol=1e-13)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_over_arrays(reverse: bool) -> None:
    def program(start: Any, xs: Any, weights: Any) -> Any:
        def step(s: Any, x: Any) -> Any:
            s = s * np.sin(x) + weights[0] * x
            return s, s * s * weights[1]

        last, squares = cr.scan(step, start, xs, reverse=reverse)
        return last + np.sum(squares * np.arange(len(xs)))

    args = (0.3, XS, np.array([0.5, 0.7]))
    for policy in (None, 3):
        kept = checkpoint(program, policy=policy)
        for found, wanted in zip(
            cr.jacrev(kept, (0, 1, 2))(*args), cr.jacfwd(program, (0, 1, 2))(*args), strict=True
        ):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_loops_of_unknown_length_and_second_order() -> None:
    @checkpoint
    def root(a: Any) -> Any:
        x = a + 1.0
        while abs(x * x - a) > 1e-14 * a:
            x = (x + a / x) / 2
        return x

    np.testing.assert_allclose(cr.jacrev(root)(2.0), 0.5 / np.sqrt(2), rtol=1e-14)
    np.testing.assert_allclose(cr.jacfwd(cr.jacrev(root))(2.0), -0.25 * 2**-1.5, rtol=1e-9)
    np.testing.assert_allclose(cr.jacrev(cr.jacrev(root))(2.0), -0.25 * 2**-1.5, rtol=1e-9)
    several = cr.vmap(cr.jacrev(root))(np.array([1.0, 4.0, 9.0]))
    np.testing.assert_allclose(several, [0.5, 0.25, 1 / 6], rtol=1e-13)


def test_nested_loops() -> None:
    def program(x: Any, y: Any) -> Any:
        for _ in range(30):
            z = x
            for _ in range(20):
                z = np.sin(z) * y
            x = x * 0.5 + z
        return x

    found = cr.jacrev(checkpoint(program, policy=4), (0, 1))
    np.testing.assert_allclose(found(0.4, 1.1), cr.jacfwd(program, (0, 1))(0.4, 1.1), rtol=1e-12)


def test_updates_of_arrays_in_a_loop() -> None:
    def program(x: Any) -> Any:
        y = np.zeros(len(x))
        y[0] = x[0]
        for i in range(1, len(x)):
            y[i] = np.sin(y[i - 1]) * x[i]
        return y[-1] + np.sum(y)

    np.testing.assert_allclose(cr.grad(checkpoint(program))(XS), cr.grad(program)(XS), rtol=1e-13)


# --- functions without loops --------------------------------------------------------------------------------


def layer(x: Any, w: Any) -> Any:
    a = np.sin(x * w)
    b = np.cumsum(a) / 50
    c = np.cumsum(np.exp(-b)[::-1]) / 50
    return np.tanh(c) * a


def test_layers_share_their_memory() -> None:
    """Of eight layers the results of each are kept, and what one computes inside at a time."""
    x, w = RNG.uniform(0, 1, (2, 1000))

    def network(one: Any) -> Any:
        def program(x: Any, w: Any) -> Any:
            for _ in iter(range(8)):
                x = one(x, w)
            return np.sum(x)

        return cr.grad(program, (0, 1))

    plain, few = network(layer), network(checkpoint(layer))
    for found, wanted in zip(few(x, w), plain(x, w), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-15)
    assert workspace(few, x, w) < 0.5 * workspace(plain, x, w)
    assert any(isinstance(n.op, Call) for n in few.graph.nodes)


def test_forward_and_reverse_agree_and_check() -> None:
    cr.check_grads(checkpoint(layer), (RNG.uniform(0.2, 1, 6), RNG.uniform(0.2, 1, 6)))


def test_unselected_branches_stay_finite() -> None:
    function = checkpoint(lambda x: np.where(x > 0, np.sqrt(x), 0.0))
    assert cr.jacrev(function)(-1.0) == 0.0
    assert cr.jacrev(cr.jacrev(function))(-1.0) == 0.0


def test_structure_and_kinds_of_arguments() -> None:
    @checkpoint
    def function(p: Any, power: int, *, name: str = "a", scale: Any = 1.0) -> Any:
        assert name == "b"
        for _ in range(power):  # known while tracing
            p = {k: v * v * scale for k, v in p.items()}
        return {"out": p["x"], "number": 3}

    result = cr.jit(lambda p, s: function(p, 2, name="b", scale=s))({"x": 3.0}, 2.0)
    assert result == {"out": 648.0, "number": 3}
    assert cr.grad(lambda x: function({"x": x}, 2, name="b", scale=1.0)["out"])(3.0) == 4 * 27.0
    assert function({"x": 3.0}, 1, name="b")["out"] == 9.0  # outside of a trace it is the function itself
    assert function.__name__ == "function"


def test_captured_values_get_their_derivative() -> None:
    def program(a: Any, b: Any) -> Any:
        return checkpoint(lambda x: np.sin(x * b) * a)(a + b)

    cr.check_grads(program, (0.4, 0.7))


def test_as_a_decorator_with_a_policy() -> None:
    @checkpoint(policy=2)
    def program(x: Any) -> Any:
        for _ in range(50):
            x = np.sin(x) + 0.2
        return x

    loops = [n.op for n in cr.trace(program, cr.spec()).nodes if isinstance(n.op, Call)]
    assert [n.op.kept for n in loops[0].body.nodes if isinstance(n.op, Loop)] == [2]
    np.testing.assert_allclose(cr.jacrev(program)(0.3), cr.jacfwd(program)(0.3), rtol=1e-13)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: checkpoint(3), "checkpoint takes a function"),
        (lambda: checkpoint(np.sin, policy=0), "how many states"),
        (lambda: checkpoint(np.sin, policy="sqrt"), "how many states"),
        (lambda: checkpoint(np.sin, policy=True), "how many states"),
    ],
)
def test_what_is_refused(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def test_cost_counts_the_body() -> None:
    plain, kept = cr.trace(layer, cr.spec(9), cr.spec(9)), cr.trace(checkpoint(layer), cr.spec(9), cr.spec(9))
    assert graph_cost(kept).operations == graph_cost(plain).operations


def test_every_backend_computes_a_call() -> None:
    def program(x: Any, w: Any) -> Any:
        return np.sum(checkpoint(layer)(x, w)) + checkpoint(logistic(30), policy=3)(x[0], 2.5)

    graph = cr.trace(cr.grad(program, (0, 1)), cr.spec(9), cr.spec(9))
    assert any(isinstance(n.op, Call) for n in graph.nodes)
    args = (RNG.uniform(0.2, 0.8, 9), RNG.uniform(0.2, 1, 9))
    check_backends(graph, args)
    with cr.disable_jit():
        interpreted = cr.grad(program, (0, 1))(*args)
    for found, wanted in zip(interpreted, cr.jacfwd(program, (0, 1))(*args), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-14)
    compiled = cr.grad(program, (0, 1))
    compiled(*args)
    assert "recompute" not in compiled.source("c")
