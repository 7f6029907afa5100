"""Loops that run no time, arrays without elements, and how often a body is traced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.graph import loops

MODES = [cr.jacfwd, cr.jacrev, lambda f, argnums=0: cr.jacrev(cr.checkpoint(f), argnums)]


def counted(n: Any, x: Any) -> Any:
    return cr.fori_loop(0, n, lambda i, s: s * np.sin(s) + i, x)


def python_for(n: Any, x: Any) -> Any:
    for i in range(n):
        x = x * np.sin(x) + i
    return x


def predicate(n: Any, x: Any) -> Any:
    return cr.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * np.sin(s[1]) + s[0]), (0, x))[1]


def scanned(n: Any, x: Any) -> Any:
    del n
    last, ys = cr.scan(lambda s, y: (s * np.sin(y), s * y), x, np.zeros(0), reverse=True)
    return last + np.sum(ys)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("loop", [counted, python_for, predicate, scanned])
def test_no_step_is_the_identity(loop: Any, mode: Any) -> None:
    known = mode(lambda x: loop(0, x))
    assert (known(0.7), cr.jit(lambda x: loop(0, x))(0.7)) == (1.0, 0.7)
    traced = mode(lambda n, x: loop(n, x), argnums=1)
    for steps in (0, -3):
        assert traced(steps, 0.7) == 1.0


@pytest.mark.parametrize("mode", MODES)
def test_the_same_kernel_runs_no_step_and_some(mode: Any) -> None:
    derivative = mode(lambda n, x: predicate(n, x), argnums=1)
    x, slope = 0.7, 1.0
    for steps in range(4):
        np.testing.assert_allclose(derivative(steps, 0.7), slope, rtol=1e-13)
        slope *= np.sin(x) + x * np.cos(x)
        x = x * np.sin(x) + steps


def over_elements(x: Any) -> Any:
    total = 0.0
    for value in x:
        total = total + value * value
    return total


def over_places(x: Any) -> Any:
    y = np.zeros(len(x))
    for i in range(len(x)):
        y[i] = x[i] ** 2
    return np.sum(y)


def over_scan(x: Any) -> Any:
    return np.sum(cr.scan(lambda s, v: (s + v * v, s), 0.0, x)[0])


def over_map(x: Any) -> Any:
    return np.sum(cr.map(lambda v: v * v, x))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("program", [over_elements, over_places, over_scan, over_map])
def test_empty_arrays(program: Any, mode: Any) -> None:
    """Alone, and by the kernel that serves all lengths."""
    assert cr.jit(program)(np.zeros(0)) == 0.0
    assert mode(program)(np.zeros(0)).shape == (0,)
    derivative = mode(program)
    for size in (3, 5, 0, 1, 9):
        x = np.arange(1.0, size + 1)
        np.testing.assert_allclose(derivative(x), 2 * x, rtol=1e-14)


def test_a_batch_in_which_some_lanes_run_no_step() -> None:
    x = np.array([0.3, 0.7, 1.1])
    n = np.array([0, 2, -1])
    for mode in MODES:
        found = cr.vmap(mode(lambda n, x: predicate(n, x), argnums=1))(n, x)
        assert found[0] == found[2] == 1.0
        y = 0.7 * np.sin(0.7)
        wanted = (np.sin(y) + y * np.cos(y)) * (np.sin(0.7) + 0.7 * np.cos(0.7))
        np.testing.assert_allclose(found[1], wanted, rtol=1e-13)


# --- how often a body is traced -----------------------------------------------------------------------------

def three_deep(x: Any) -> Any:
    y = np.zeros(30)
    for i in range(30):
        for _ in range(30):
            z = np.zeros(2)
            for k in range(30):
                z[0] = z[0] + 0.5 * x[k]
                y[i] = y[i] * 0.5 + z[0] * x[k]
    return np.sum(y)


def two_deep(x: Any) -> Any:
    y = np.zeros(30)
    for _ in range(30):
        for k in range(30):
            y[k] = y[k] * 0.5 + x[k]
    return np.sum(y)


def five_deep(x: Any) -> Any:
    y = np.zeros(30)
    for _ in range(30):
        for _ in range(30):
            for _ in range(30):
                for _ in range(30):
                    for k in range(30):
                        y[k] = y[k] * 0.5 + x[k]
    return np.sum(y)


def test_nested_loops_that_write_are_traced_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body at depth k is traced k + 1 times, and not 2ᵏ times."""
    count = [0]
    trace = loops._Rolled._trace

    def counting(self: Any, *args: Any) -> Any:
        count[0] += 1
        return trace(self, *args)

    monkeypatch.setattr(loops._Rolled, "_trace", counting)
    for program, wanted in ((two_deep, 2 + 3), (five_deep, 2 + 3 + 4 + 5 + 6)):
        count[0] = 0
        cr.trace(program, cr.spec(30))
        assert count[0] == wanted


def test_nested_loops_that_write_compute_what_python_does() -> None:
    x = np.linspace(0.1, 1, 30)
    for program in (two_deep, three_deep):
        np.testing.assert_allclose(cr.jit(program)(x), program(x), rtol=1e-12)
    np.testing.assert_allclose(cr.grad(three_deep)(x), cr.jacfwd(three_deep)(x), rtol=1e-11)


def accumulated(x: Any, other: Any) -> Any:
    """The same loop, run for arrays of two shapes and with what it makes of other types."""
    total = np.zeros(2)
    for v in (x, other):
        for _ in range(20):
            made = v * 2
            total[0] = total[0] + np.sum(made)
    return total[0]


def test_one_loop_with_values_of_other_types() -> None:
    x, other = np.linspace(0, 1, 3), np.arange(8).reshape(2, 4)
    np.testing.assert_allclose(cr.jit(accumulated)(x, other), accumulated(x, other), rtol=1e-14)


# --- a plain loop under vjp and linearize -------------------------------------------------------------------


def long(q: Any) -> Any:
    for _ in range(100_000):
        q = q - 1e-6 * q * q
    return q


def test_vjp_and_linearize_in_a_compiled_function_keep_loops() -> None:
    """q' = −q² to time 0.1: q₀/(1 + t·q₀), up to the steps' error."""

    def reverse(q: Any) -> Any:
        value, pull = cr.vjp(long, q)
        return value, pull(1.0)[0]

    def forward(q: Any) -> Any:
        value, push = cr.linearize(long, q)
        return value, push(1.0)

    for function in (reverse, forward):
        assert len(cr.trace(cr.jit(function), cr.spec())) < 100
        value, slope = cr.jit(function)(2.0)
        np.testing.assert_allclose([value, slope], [2 / 1.2, 1 / 1.2**2], rtol=1e-5)
