"""Sums of logarithms, taken as logarithms of products: accuracy, special values, and the same bits everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import chainrule as cr
from chainrule.codegen import ir, threads
from chainrule.codegen.lower import lower
from chainrule.codegen.native import compile_module
from chainrule.codegen.schedule import LANES, PIECE
from chainrule.codegen.to_llvm import emit
from chainrule.codegen.vecmath_lanes import Float
from chainrule.codegen.vecmath_logs import MOST, add_log, total_of_logs
from tests.codegen.numpy_ops import NumpyOps

INF, NAN = math.inf, math.nan
RNG = np.random.default_rng(17)


def sum_of_logs(x: Any) -> Any:
    return np.sum(np.log(x))


def reductions(function: Callable[..., Any], *specs: Any) -> list[str]:
    """The kinds of reduction in the innermost loops of a program's kernel."""
    kernel = lower(cr.trace(function, *specs), "kernel")
    loops = [s for s in ir.statements(kernel.body) if isinstance(s, ir.For) and s.kind == "lanes"]
    return [reduction.kind for loop in loops for reduction in loop.reductions]


def truth(x: Any) -> Any:
    with mp.workdps(40):
        return mp.fsum(mp.log(mp.mpf(v)) for v in x.tolist())


def test_a_lane_takes_no_more_than_a_piece_has() -> None:
    assert PIECE <= MOST * LANES


# --- accuracy -------------------------------------------------------------------------------------------------

DATA = {
    "uniform": RNG.uniform(0, 10, 20_000),
    "densities": np.exp(-RNG.uniform(0, 40, 20_000)),
    "all magnitudes": np.exp(RNG.uniform(-700, 700, 20_000)),
    "near 1": 1 + RNG.uniform(-1e-8, 1e-8, 20_000),
    "just above 1": 1 + RNG.uniform(0, 1e-13, 20_000),
    "around 1": RNG.uniform(0.9, 1.1, 20_000),
    "what cancels": np.concatenate([x := RNG.uniform(1, 2, 10_000), 1 / x]),
    "subnormal": RNG.uniform(0, 1e-308, 20_000),
    "the largest significands": np.full(PIECE + 5, math.nextafter(math.sqrt(2), 0)),
    "the smallest significands": np.full(PIECE + 5, math.nextafter(math.sqrt(0.5), 1)),
    "the largest": np.full(20_000, np.finfo(float).max),
    "short": RNG.uniform(0, 10, 5),
}


@pytest.mark.parametrize("name", DATA)
def test_no_less_accurate_than_the_sum_of_the_logarithms(name: str) -> None:
    x = DATA[name]
    exact = truth(x)
    plain, _ = cr.jit(lambda x: (np.sum(np.log(x)), np.log(x)))(x)
    error, before = (float(abs(mp.mpf(float(total)) - exact)) for total in (cr.jit(sum_of_logs)(x), plain))
    # In the mean the sum of correctly rounded logarithms is off by so much, even if it is added up without error.
    least = 2.0**-54 * float(np.sqrt(np.sum(np.log(x) ** 2))) + math.ulp(float(exact))
    assert error <= max(least, before)


def test_lanes_of_products() -> None:
    """The functions themselves, at their limits: as many factors as a lane may take."""
    ops = NumpyOps()
    for x in (math.nextafter(math.sqrt(2), 0), math.sqrt(0.5), 3.0, 5e-324, 1e308):
        product, low, exponent = (Float(ops, np.array([v])) for v in (1.0, 0.0, 0.0))
        for _ in range(MOST):
            product, low, exponent = add_log(product, low, exponent, Float(ops, np.array([x])))
        total = float(total_of_logs(product, low, exponent).value[0])
        with mp.workdps(40):
            assert total == pytest.approx(float(MOST * mp.log(mp.mpf(x))), rel=3e-16)


# --- special values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("special", "expected"),
    [
        ([0.0], -INF), ([-0.0], -INF), ([INF], INF), ([-1.0], NAN), ([NAN], NAN), ([-INF], NAN), ([0.0, INF], NAN),
        ([5e-324], -744.4400719213812), ([0.0, 0.0], -INF), ([0.0, NAN], NAN), ([INF, -1.0], NAN),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", [0, 7, 16, 1000])
def test_special_values(special: list[float], expected: float, place: int) -> None:
    x = np.ones(1003)
    x[place : place + len(special)] = special
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(cr.jit(sum_of_logs)(x), expected, rtol=1e-15)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 33, PIECE - 1, PIECE, PIECE + 1])
def test_every_length(count: int) -> None:
    x = RNG.uniform(0.5, 3, count)
    np.testing.assert_allclose(cr.jit(sum_of_logs)(x), np.sum(np.log(x)), rtol=1e-13, atol=1e-14)


# --- the same bits --------------------------------------------------------------------------------------------


def test_threads_do_not_change_a_bit() -> None:
    x = RNG.uniform(0, 5, 5 * PIECE + 7)
    program = cr.value_and_grad(lambda a, x: np.sum(np.log(a * x + 1)))
    before = threads.get_threads()
    try:
        found = []
        for number in (1, 2, 3):
            threads.set_threads(number)
            found.append(np.array(program(1.5, x)).tobytes())
    finally:
        threads.set_threads(before)
    assert len(set(found)) == 1


def test_levels_do_not_change_a_bit() -> None:
    import ctypes

    graph = cr.trace(sum_of_logs, cr.spec("n"))
    text = emit(lower(graph, "kernel"))
    x = np.append(RNG.uniform(0, 5, 3 * PIECE + 5), [5e-324, 1e308])
    found = []
    for level in (0, 1, 2, 3):
        module = compile_module(text, level=level)
        total = np.zeros(())
        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)(module.address("kernel"))
        function(x.ctypes.data, x.size, total.ctypes.data)
        found.append(total.tobytes())
    assert len(set(found)) == 1


# --- where it is used -----------------------------------------------------------------------------------------


def test_it_is_used_where_the_logarithms_are_wanted_for_their_sum_only() -> None:
    n = cr.spec("n")
    assert reductions(sum_of_logs, n) == ["sum_of_logs"]
    assert "sum_of_logs" in reductions(cr.value_and_grad(lambda a, x: -np.sum(np.log(a + x))), cr.spec(), n)
    assert "sum_of_logs" not in reductions(lambda x: (np.sum(np.log(x)), np.log(x)), n)
    assert "sum_of_logs" not in reductions(lambda x: np.sum(x * np.log(x)), n)
    assert "sum_of_logs" not in reductions(lambda a: np.sum(np.log(a), axis=1), cr.spec("n", "m"))
    assert "sum_of_logs" not in reductions(sum_of_logs, cr.spec("n", dtype=np.float32))
