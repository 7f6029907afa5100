"""Batches of loops whose lengths differ: every lane ends with its own loop and has its own derivatives.

The expected values are closed forms: Kepler's equation by the implicit function theorem at 30 digits, powers, and loops
that would not end where they are not to be run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest

import chainrule as cr
from chainrule.codegen.lower import lower
from chainrule.graph.op import Loop

ECCENTRICITY = 0.6
SIZES = [0, 1, 2, 7, 31, 32, 33, 65]


def anomaly(mean: Any, e: Any) -> Any:
    """E with E − e sin E = M, by Newton's method."""
    x, step = mean, 1.0
    while np.abs(step) > 1e-12:
        step = (x - e * np.sin(x) - mean) / (1 - e * np.cos(x))
        x = x - step
    return x


@cache
def truth(n: int) -> dict[str, np.ndarray]:
    """M, E and derivatives by (M, e), by implicit differentiation of E − e sin E − M = 0."""
    means = np.random.default_rng(5).uniform(0.05, 3.0, n)
    rows: dict[str, list[Any]] = {name: [] for name in ("E", "m", "e", "mm", "me", "ee")}
    with mpmath.workdps(30):
        e = mpmath.mpf(ECCENTRICITY)
        for mean in means:
            x = mpmath.findroot(lambda x, m=float(mean): x - e * mpmath.sin(x) - m, float(mean) + 0.3)
            s, c = mpmath.sin(x), mpmath.cos(x)
            g = 1 / (1 - e * c)
            dm, de = g, s * g
            by_mean, by_e = -(g**2) * e * s * dm, g**2 * (c - e * s * de)  # dg/dM and dg/de
            values = (x, dm, de, by_mean, by_e, c * de * g + s * by_e)
            for row, value in zip(rows.values(), values, strict=True):
                row.append(float(value))
    return {"M": means, **{name: np.array(row) for name, row in rows.items()}}


def close(found: Any, expected: Any, rtol: float = 1e-13) -> None:
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-14)


def over_means(f: Callable[..., Any]) -> Any:
    return cr.jit(cr.vmap(f, in_axes=(0, None)))


def pulled(mean: Any, e: Any) -> Any:
    value, pull = cr.vjp(anomaly, mean, e)
    return value, pull(1.0)


VALUE_AND_FIRST = {
    "value_and_grad": cr.value_and_grad(anomaly, (0, 1)),
    "jacfwd": lambda m, e: (anomaly(m, e), cr.jacfwd(anomaly, (0, 1))(m, e)),
    "jacrev": lambda m, e: (anomaly(m, e), cr.jacrev(anomaly, (0, 1))(m, e)),
    "vjp": pulled,
}
SECOND = {
    "hessian": cr.hessian(anomaly, (0, 1)),
    "jacfwd of jacrev": cr.jacfwd(cr.jacrev(anomaly, (0, 1)), (0, 1)),
    "jacrev of jacfwd": cr.jacrev(cr.jacfwd(anomaly, (0, 1)), (0, 1)),
    "jacrev of jacrev": cr.jacrev(cr.jacrev(anomaly, (0, 1)), (0, 1)),
}


@pytest.mark.parametrize("way", VALUE_AND_FIRST)
def test_kepler(way: str) -> None:
    function = over_means(VALUE_AND_FIRST[way])
    for n in SIZES:
        known = truth(n)
        value, (by_mean, by_e) = function(known["M"], ECCENTRICITY)
        for found, name in ((value, "E"), (by_mean, "m"), (by_e, "e")):
            assert found.shape == (n,)
            close(found, known[name])


@pytest.mark.parametrize("way", SECOND)
def test_kepler_twice(way: str) -> None:
    function = over_means(SECOND[way])
    for n in (1, 33):
        known = truth(n)
        (mm, me), (em, ee) = function(known["M"], ECCENTRICITY)
        for found, name in ((mm, "mm"), (me, "me"), (em, "me"), (ee, "ee")):
            close(found, known[name], 1e-12)


def test_sums_over_a_batch() -> None:
    known = truth(65)
    total = cr.value_and_grad(lambda m, e: np.sum(cr.vmap(anomaly, in_axes=(0, None))(m, e)), (0, 1))
    value, (by_mean, by_e) = total(known["M"], ECCENTRICITY)
    close(value, np.sum(known["E"]))
    close(by_mean, known["m"])
    close(by_e, np.sum(known["e"]))


def anomalies(means: Any, e: Any) -> Any:
    """One loop over arrays, until the last element is done."""
    x, step = means, np.ones_like(means)
    while np.any(np.abs(step) > 1e-12):
        step = (x - e * np.sin(x) - means) / (1 - e * np.cos(x))
        x = x - step
    return x


def test_one_loop_over_whole_arrays() -> None:
    for n in (0, 1, 65):
        known = truth(n)
        means, ones = known["M"], np.ones(n)
        value, by_mean = cr.jvp(lambda m: anomalies(m, ECCENTRICITY), (means,), (ones,))
        close(value, known["E"])
        close(by_mean, known["m"])
        close(cr.jacfwd(anomalies, 1)(means, ECCENTRICITY), known["e"])
        by_mean, by_e = cr.vjp(anomalies, means, ECCENTRICITY)[1](ones)
        close(by_mean, known["m"])
        close(by_e, np.sum(known["e"]))


def test_a_lane_has_the_bits_that_it_has_alone() -> None:
    """Neither the others, nor how many they are, change a lane."""
    for way in VALUE_AND_FIRST.values():
        function, means = over_means(way), truth(65)["M"]
        whole = np.stack([function(means, ECCENTRICITY)[0], *function(means, ECCENTRICITY)[1]])
        for some in (slice(0, 1), slice(3, 40), slice(64, None), slice(None, None, -1)):
            value, parts = function(means[some].copy(), ECCENTRICITY)
            assert np.array_equal(np.stack([value, *parts]), whole[:, some])


PROGRAM = """
import numpy as np, chainrule as cr, hashlib
from tests.test_lanes import over_means, VALUE_AND_FIRST
means = np.random.default_rng(1).uniform(0.05, 3.0, 50_000)

def digest(f):
    value, parts = f(means, 0.6)
    return hashlib.sha256(b"".join(a.tobytes() for a in (value, *parts))).hexdigest()

for way in VALUE_AND_FIRST.values():
    f = over_means(way)
    first = [digest(f) for _ in range(30)]
    assert cr.debug.settle(60)
    assert {*first, digest(f)} == {first[0]}
    print(first[0])
"""


def run(program: str, **environment: str) -> str:
    """What a program prints, in a process of its own that is given a minute."""
    given = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=given)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_same_bits_for_any_number_of_threads_and_every_tier() -> None:
    assert run(PROGRAM, CHAINRULE_NUM_THREADS="1") == run(PROGRAM, CHAINRULE_NUM_THREADS="2")


# --- short and long loops side by side ------------------------------------------------------------------------


def scaled(x: Any, r: Any, steps: Any) -> Any:
    """x·rⁿ by n steps, n = ⌈steps⌉."""
    k = 0.0
    while k < steps:
        x = x * r
        k = k + 1.0
    return x


def test_more_steps_than_are_recorded() -> None:
    steps = np.array([0.0, 1.0, 2.0, 63.0, 64.0, 65.0, 66.0, 200.0, 129.0, 3.0, 1000.0] * 4)
    x, r = np.linspace(0.5, 2.0, steps.size), np.linspace(0.98, 1.01, steps.size)
    first = (r**steps, steps * x * r ** (steps - 1))
    cross, second = steps * r ** (steps - 1), steps * (steps - 1) * x * r ** (steps - 2)
    for mode in (cr.jacfwd, cr.jacrev, cr.grad):
        for found, expected in zip(cr.vmap(mode(scaled, (0, 1)))(x, r, steps), first, strict=True):
            close(found, expected, 1e-12)
        close(mode(scaled, 1)(x[7], r[7], steps[7]), first[1][7], 1e-12)
    for outer in (cr.jacfwd, cr.jacrev):
        (xx, xr), (rx, rr) = cr.vmap(outer(cr.jacrev(scaled, (0, 1)), (0, 1)))(x, r, steps)
        for found, expected in ((xx, 0 * x), (xr, cross), (rx, cross), (rr, second)):
            close(found, expected, 1e-11)


def nested(x: Any) -> Any:
    """x³ with the factors found step by step; loops in loops, of lengths that differ, with `break` and `continue`."""
    total, k = 0.0, 0.0
    while True:
        k = k + 1.0
        if k > np.abs(x) + 2:
            break
        if k % 2 == 0:
            continue
        j = 0.0
        while j < k:
            total = total + x * x / k
            j = j + 1.0
        total = total + 0.5 * x
    return total


def test_loops_in_loops() -> None:
    x = np.linspace(-9.0, 9.0, 41)
    odd = np.ceil(np.floor(np.abs(x) + 2) / 2)
    close(cr.vmap(nested)(x), odd * (x * x + 0.5 * x))
    for mode in (cr.grad, cr.jacfwd, cr.jacrev):
        close(cr.vmap(mode(nested))(x), odd * (2 * x + 0.5))
    close(cr.vmap(cr.jacrev(cr.jacrev(nested)))(x), 2 * odd)


# --- memory -------------------------------------------------------------------------------------------------


def maps(graph: Any) -> list[Loop]:
    return [node.op for node in graph.nodes if isinstance(node.op, Loop) and node.op.condition == "map"]


def test_the_trajectory_is_memory_of_the_lanes_not_of_the_batch() -> None:
    graph = cr.trace(cr.jit(cr.vmap(cr.jacrev(anomaly, (0, 1)), in_axes=(0, None))), cr.spec("n"), cr.spec())
    assert len(maps(graph)) == 1
    assert isinstance(lower(graph, "kernel").workspace, int)


def test_memory_that_a_loop_fills_in_part() -> None:
    """What is read of an array that a loop writes step by step is what it began with, where it was not written."""

    def filled(x: Any) -> Any:
        y, k = np.zeros(6), 0
        while x > 1.0:
            y[k] = x
            x = x / 2
            k = k + 1
        return y, k

    def read_back(x: Any) -> Any:
        y, k = filled(x)
        total = 0.0
        for i in range(k):
            total = total + y[i]
        return total

    def read_beyond(x: Any) -> Any:
        y, k = filled(x)
        total = 0.0
        for i in range(k + 1):
            total = total + y[i] + y[5] + 1
        return total

    def read_inside(x: Any) -> Any:
        y, k, total = np.zeros(7), 1, 0.0
        while x > 1.0:
            y[k] = x
            total = total + y[k - 1] + y[6]
            x = x / 2
            k = k + 1
        return total

    x = np.array([0.5, 20.0, 3.0, 1.5, 30.0, 9.0])
    steps = np.maximum(0, np.ceil(np.log2(x)))
    places = np.arange(6)
    rows = np.where(places < steps[:, None], x[:, None] / 2.0**places, 0.0)
    for f, expected in (
        (lambda x: filled(x)[0], rows),
        (read_back, rows.sum(1)),
        (read_beyond, rows.sum(1) + (steps + 1)),
        (read_inside, rows.sum(1) - np.where(steps > 0, x / 2.0 ** (steps - 1), 0.0)),
    ):
        close(cr.vmap(f)(x), expected)
        close([cr.jit(f)(v) for v in x], expected)


# --- loops that must not run ----------------------------------------------------------------------------------

ENDLESS = """
import numpy as np, chainrule as cr

def down(x):  # ends for x > 0
    while x > 1.0:
        x = x / 2
    while x <= 0.0:
        x = x * 1.0
    return x

def up(x):  # ends for x < 0
    while x < -1.0:
        x = x / 2
    while x >= 0.0:
        x = x * 1.0
    return x

def either(x):
    return cr.cond(x > 0, down, up, x)

def statement(x):
    if x > 0:
        y = down(x)
    else:
        y = up(x)
    return y

def chosen(p, x):
    return cr.cond(p, down, up, x)

def in_loop(x):
    total = 0.0
    for i in range(4):
        if x * (-1.0)**i > 0:
            total += down(x * (-1.0)**i)
        else:
            total += up(x * (-1.0)**i) * 2
    return total

def by_flag(p, x):
    total = 0.0
    while total < 2.5 * np.abs(x):
        if p:
            total += down(x)
        else:
            total -= up(x)
    return total

X = np.array([5.0, -3.0, 0.5, -0.25, 100.0, -1.0, 1.0] * 6)[:37]
S = 2.0 ** -np.maximum(0, np.ceil(np.log2(np.abs(X))))
P = np.abs(X)
yes, no = np.bool_(True), np.bool_(False)
same = np.testing.assert_array_equal
"""

CASES = {
    "of a batch": """
for f in (either, statement):
    same(cr.vmap(f)(X), X * S)
    same(cr.jit(f)(5.0), 0.625)
    same(cr.jit(f)(-5.0), -0.625)
    for d in (cr.grad, cr.jacfwd, cr.jacrev):
        same(cr.vmap(d(f))(X), S)
        same(d(f)(-5.0), 0.125)
    for d in (cr.hessian(f), cr.jacrev(cr.jacrev(f))):
        same(cr.vmap(d)(X), 0 * X)
    same(cr.grad(lambda x: np.sum(cr.vmap(f)(x)))(X), S)
""",
    "for all lanes": """
v = cr.vmap(chosen, in_axes=(None, 0))
same(v(True, P), P * S)
same(cr.jit(v)(yes, P), P * S)
same(cr.jit(v)(no, -P), -P * S)
for d in (cr.grad, cr.jacfwd, cr.jacrev):
    same(cr.vmap(d(chosen, 1), in_axes=(None, 0))(yes, P), S)
    same(cr.vmap(d(chosen, 1), in_axes=(None, 0))(no, -P), S)
""",
    "in loops": """
same(cr.vmap(in_loop)(X), -2 * P * S)
same(cr.jit(in_loop)(5.0), -1.25)
for d in (cr.grad, cr.jacfwd, cr.jacrev):
    same(cr.vmap(d(in_loop))(X), -2 * S * np.sign(X))
    same(d(in_loop)(5.0), -0.25)
""",
    "in loops, for all lanes": """
v = cr.jit(cr.vmap(by_flag, in_axes=(None, 0)))
k = np.ceil(2.5 / S)
same(v(yes, P), k * P * S)
same(v(no, -P), k * P * S)
same(cr.jit(by_flag)(yes, 5.0), k[0] * 0.625)
for d in (cr.grad, cr.jacfwd, cr.jacrev):
    same(cr.vmap(d(by_flag, 1), in_axes=(None, 0))(yes, P), k * S)
    same(cr.vmap(d(by_flag, 1), in_axes=(None, 0))(no, -P), -k * S)
""",
}


@pytest.mark.parametrize("name", CASES)
def test_loops_of_branches_that_are_not_taken_do_not_run(name: str) -> None:
    run(_in_file(ENDLESS + CASES[name]))


def _in_file(program: str) -> str:
    """A program that writes itself to a file first, as control flow is rewritten from source."""
    return f"""
import tempfile, pathlib, runpy
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "endless.py")
    path.write_text({program!r})
    runpy.run_path(str(path))
"""
