"""The order of straight-line code: fewer values alive at once, the same bits, memory touched in the same order."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.codegen import ir, native
from chainrule.codegen.lower import lower
from chainrule.codegen.pressure import ENOUGH, with_low_pressure
from chainrule.codegen.to_llvm import suggested_level
from chainrule.codegen.verify import verify
from tests.codegen.kernels import SIZE, compiled, index, integer, kernel, lanes, load, op, result, scalar, var
from tests.codegen.kernels import array as array_parameter

RNG = np.random.default_rng(23)


def most_alive(block: ir.Block) -> int:
    return max(alive_at_each(block))


def alive_at_each(block: ir.Block) -> list[int]:
    """By definition: for each statement, the number of names bound so far that it or a later one reads."""
    reads = [{e.name for root in ir.expressions(s) for e in ir.walk(root) if isinstance(e, ir.Var)} for s in block]
    last = {name: k for k, names in enumerate(reads) for name in names}
    alive: set[str] = set()
    counts = []
    for k, stmt in enumerate(block):
        if isinstance(stmt, ir.Let) and last.get(stmt.name, -1) > k:
            alive.add(stmt.name)
        counts.append(len(alive))
        alive -= {name for name in reads[k] if last[name] == k}
    return counts


def by_levels(width: int, depth: int) -> ir.Kernel:
    """Independent chains, computed one step of all after the other, as graphs list them."""
    body: list[ir.Stmt] = [ir.Let(f"t0_{k}", op("add", var("x"), load("y", integer(k)))) for k in range(width)]
    for d in range(1, depth):
        body += [ir.Let(f"t{d}_{k}", op("mul", var(f"t{d - 1}_{k}"), var("x"))) for k in range(width)]
    body += [ir.Store("r", integer(k), var(f"t{depth - 1}_{k}")) for k in range(width)]
    return kernel([scalar("x"), array_parameter("y"), result("r")], body)


def shuffled(count: int, seed: int) -> ir.Kernel:
    """Each value made of two random earlier ones; every seventh is stored."""
    rng = np.random.default_rng(seed)
    body: list[ir.Stmt] = [ir.Let(f"t{k}", load("y", integer(k))) for k in range(8)]
    stored = 0
    for k in range(8, count):
        a, b = (var(f"t{rng.integers(max(0, k - 200), k)}") for _ in range(2))
        operation = [op("add", a, b), op("sub", a, b), ir.Fma(a, var("x"), b, "float64")][rng.integers(3)]
        body.append(ir.Let(f"t{k}", operation))
        if k % 7 == 0:
            body.append(ir.Store("r", integer(stored), var(f"t{k}")))
            stored += 1
    return kernel([scalar("x"), array_parameter("y"), result("r")], body)


def outcome(tested: ir.Kernel, level: int) -> bytes:
    y, r = np.linspace(0.5, 1.5, 100), np.zeros(300)
    compiled(tested, level)(0.9, y, r)
    return r.tobytes()


def test_chains_are_finished_one_after_the_other() -> None:
    tested = by_levels(100, 6)
    found = with_low_pressure(tested)
    verify(found)
    assert most_alive(tested.body) == 101  # one is read while the next is made
    assert most_alive(found.body) == 2
    assert sorted(map(str, found.body)) == sorted(map(str, tested.body))


@pytest.mark.parametrize("level", native.LEVELS)
@pytest.mark.parametrize("seed", range(4))
def test_the_bits_stay(seed: int, level: int) -> None:
    tested = shuffled(900, seed)
    found = with_low_pressure(tested)
    verify(found)
    assert sorted(map(str, found.body)) == sorted(map(str, tested.body))
    assert sum(alive_at_each(found.body)) <= sum(alive_at_each(tested.body))
    assert outcome(found, level) == outcome(tested, 0)


def test_an_order_that_fits_the_registers_is_kept() -> None:
    tested = by_levels(ENOUGH - 1, 4)
    assert with_low_pressure(tested) == tested
    assert with_low_pressure(by_levels(ENOUGH, 4)) != by_levels(ENOUGH, 4)


def test_loads_and_stores_of_one_buffer_keep_their_order() -> None:
    count = 60
    body: list[ir.Stmt] = [ir.Alloc("w", "float64", 1)]
    for k in range(count):  # w holds 0, 1, 2, … in turn, and each value is read after it was stored
        body.append(ir.Store("w", integer(0), op("add", load("y", integer(k)), var("x"))))
        body.append(ir.Let(f"t{k}", load("w", integer(0))))
    body += [ir.Store("r", integer(k), op("mul", var(f"t{k}"), var("x"))) for k in range(count)]
    tested = kernel([scalar("x"), array_parameter("y"), result("r")], body, 64)
    found = with_low_pressure(tested)
    verify(found)
    assert most_alive(found.body) < most_alive(tested.body)
    y = RNG.normal(size=count)
    for code in (tested, found):
        r = np.zeros(count)
        compiled(code, 1)(2.0, y, r, np.empty(8))
        np.testing.assert_array_equal(r, (y + 2.0) * 2.0)


def test_nothing_moves_across_a_loop() -> None:
    before = by_levels(60, 3).body
    loop = lanes([ir.Store("r", index(), op("add", load("y", index()), var("x")))])
    after = [ir.Let("last", op("mul", var("t2_7"), var("x"))), ir.Store("r", integer(0), var("last"))]
    tested = kernel([scalar("x"), array_parameter("y"), SIZE, result("r")], [*before, loop, *after])
    found = with_low_pressure(tested)
    verify(found)
    assert found.body.index(loop) == len(before)
    assert found.body[len(before) + 1 :] == tuple(after)
    assert found.body != tested.body
    y = RNG.normal(size=100)
    results = []
    for code in (tested, found):
        r = np.zeros(100)
        compiled(code, 1)(0.5, y, 100, r)
        results.append(r.tobytes())
    assert results[0] == results[1]


def test_very_long_code_and_deep_chains() -> None:
    found = with_low_pressure(by_levels(300, 100))
    assert most_alive(found.body) == 2
    one = replace(by_levels(1, 20_000), name="deep")
    assert with_low_pressure(one) == one


def polynomials(v: Any) -> Any:
    """Polynomials of two variables by a recursion in rows: a closed form of many statements."""
    x, y = v[0], v[1]
    rows, row = [], [x + 0.5, y - 0.25]
    for degree in range(2, 15):
        row = [row[0] * x / degree, *(a * x - b * y / degree for a, b in pairwise(row)), row[-1] * y]
        rows += row
    return np.stack(rows)


def test_a_large_closed_form_has_the_same_bits_in_every_order_and_level() -> None:
    v = np.array([0.7, -0.3])
    f = cr.jacfwd(polynomials)
    wanted = f(v)
    in_order = lower(f.graph, "k")
    reordered = with_low_pressure(in_order)
    assert reordered != in_order
    assert suggested_level(in_order) == suggested_level(reordered) == 3
    for tested in (in_order, reordered):
        for level in native.LEVELS:
            found = np.zeros_like(wanted)
            compiled(tested, level)(v, found)
            assert found.tobytes() == wanted.tobytes()
    step = 1e-30
    exact = np.stack([np.imag(polynomials(v + 1j * step * unit)) / step for unit in np.eye(2)], axis=-1)
    np.testing.assert_allclose(wanted, exact, rtol=1e-12, atol=1e-18)
