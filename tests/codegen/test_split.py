"""Long straight-line code is cut into sections: the same bits, functions of limited size."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.codegen import ir, native
from chainrule.codegen.kernel import compile_graph, signature_of
from chainrule.codegen.lower import lower
from chainrule.codegen.sections import LONG, SECTION, in_sections
from chainrule.codegen.to_llvm import emit
from chainrule.codegen.verify import VerifyError, verify
from tests.codegen.kernels import (
    SIZE,
    N,
    array,
    compiled,
    integer,
    kernel,
    lanes,
    literal,
    load,
    op,
    predicate,
    result,
    scalar,
    var,
)  # fmt: skip
from tests.codegen.loopir_interpreter import run

RNG = np.random.default_rng(11)


def logistic(length: int) -> tuple[ir.Stmt, ...]:
    """t0 = x, then t ↦ 3.7·t·(1 − t), each step reading what the step before and one long ago computed."""
    body: list[ir.Stmt] = [ir.Let("t0", op("add", var("x"), literal(0.0)))]
    for k in range(1, length):
        before, long_ago = var(f"t{k - 1}"), var(f"t{(k - 1) // 2}")
        grown = op("mul", op("mul", literal(3.7), before), op("sub", literal(1.0), before))
        body.append(ir.Let(f"t{k}", op("add", op("mul", grown, literal(0.75)), op("mul", literal(0.1), long_ago))))
    return tuple(body)


def truth(x: float, length: int) -> float:
    t = [x]
    for k in range(1, length):
        before = t[k - 1]
        t.append(3.7 * before * (1.0 - before) * 0.75 + 0.1 * t[(k - 1) // 2])
    return t[-1]


def sections(tested: ir.Kernel) -> list[ir.Section]:
    return [stmt for stmt in tested.body if isinstance(stmt, ir.Section)]


def workspace(tested: ir.Kernel) -> list[Any]:
    assert isinstance(tested.workspace, int)
    return [np.empty(tested.workspace // 8)] if tested.workspace else []


def outcome(tested: ir.Kernel, level: int, *args: Any) -> bytes:
    y = np.zeros(4)
    compiled(tested, level)(*args, y, *workspace(tested))
    return y.tobytes()


LENGTH = LONG + 2 * SECTION
STRAIGHT = kernel([scalar("x"), result("y")], [*logistic(LENGTH), ir.Store("y", integer(0), var(f"t{LENGTH - 1}"))])


def test_short_code_stays_in_one_piece() -> None:
    short = kernel([scalar("x"), result("y")], [*logistic(LONG - 1), ir.Store("y", integer(0), var("t9"))])
    assert in_sections(short) is short


def test_sections_are_small_and_valid() -> None:
    cut = in_sections(STRAIGHT)
    verify(cut)
    found = sections(cut)
    assert len(found) == (LENGTH + 1) // SECTION
    own = [sum("_in_" not in s.name for s in f.body if isinstance(s, ir.Let)) for f in found]
    assert sum(own) == LENGTH
    assert max(own) <= 2 * SECTION
    defined = re.findall(r"^define internal void", emit(cut), re.MULTILINE)
    assert len(defined) >= len(found)


@pytest.mark.parametrize("level", native.LEVELS)
def test_sections_give_the_same_bits(level: int) -> None:
    expected = outcome(STRAIGHT, 0, 0.3)
    assert outcome(in_sections(STRAIGHT), level, 0.3) == expected
    assert np.frombuffer(expected)[0] == pytest.approx(truth(0.3, LENGTH), rel=1e-6)


def test_what_is_between_straight_code_reads_and_is_read() -> None:
    """A loop that reads a section's values and declares a sum that a later section reads; a bool; an integer."""
    half = LENGTH // 2
    steps = logistic(LENGTH)
    sum_ = ir.Reduction("s", "sum", "float64")
    last = op("where", var("flag", "bool"), op("add", var("total"), var("chosen")), literal(0.0))
    tested = kernel(
        [scalar("x"), array("v"), SIZE, result("y")],
        [
            ir.Let("flag", predicate("lt", var("x"), literal(1.0))),
            ir.Let("place", ir.Cast(op("mul", var("x"), literal(10.0)), "int64")),
            *steps[:half],
            ir.Declare("s", literal(0.0)),
            lanes([ir.Accumulate("s", op("mul", load("v", var("i", "int64")), var("t7")))], [sum_]),
            ir.If(var("flag", "bool"), (ir.Store("y", integer(1), var("t5")),)),
            ir.Let("total", op("mul", var("s"), literal(1.0))),
            *steps[half:],
            ir.Let("chosen", load("v", var("place", "int64"))),
            ir.Store("y", integer(0), last),
            ir.Store("y", integer(2), op("add", var("s"), var(f"t{LENGTH - 1}"))),
        ],
    )
    verify(tested)
    cut = in_sections(tested)
    verify(cut)
    assert len(sections(cut)) == 2 * (half // SECTION)
    v = RNG.normal(size=20)
    expected = outcome(tested, 0, 0.3, v, v.size)
    assert all(outcome(cut, level, 0.3, v, v.size) == expected for level in native.LEVELS)


def big_program(steps: int) -> Any:
    def program(x: Any) -> Any:
        a, b, c = x[0], x[1], x[2]
        for _ in iter(range(steps)):  # of no known length, so not rolled into a loop
            a = a + 0.1 * b * c
            b = b - 0.1 * a / (1 + c * c)
            c = c + 0.01 * a * b
        return a + b + c

    return program


X = np.array([0.1, 0.2, 0.3])


def test_a_long_program_agrees_with_the_interpreters() -> None:
    graph = cr.trace(cr.grad(big_program(150)), X)
    cut = in_sections(lower(graph, "k"))
    assert len(sections(cut)) > 5
    verify(cut)
    gradient = cr.grad(big_program(150))
    found = gradient(X)
    (loops,) = run(cut, signature_of(graph, workspace=cut.workspace), X)
    np.testing.assert_allclose(found, loops, rtol=1e-12)
    with cr.disable_jit():
        np.testing.assert_allclose(found, gradient(X), rtol=1e-12)
    h = 1e-6
    for k in range(3):
        e = h * np.eye(3)[k]
        slope = (big_program(150)(X + e) - big_program(150)(X - e)) / (2 * h)
        assert found[k] == pytest.approx(slope, rel=1e-6)


def test_functions_do_not_grow_with_the_program() -> None:
    """What a compiler sees at once has a limit, whatever the length of the program."""
    longest = []
    for steps in (100, 400):
        graph = cr.trace(cr.grad(big_program(steps)), X)
        text = compile_graph(graph, "k").llvm
        functions = re.findall(r"^define internal void @\S+ .*?^}", text, re.MULTILINE | re.DOTALL)
        longest.append(max(function.count("\n") for function in functions))
    assert longest[1] <= 1.2 * longest[0]


def test_a_section_inside_a_loop_is_refused() -> None:
    with pytest.raises(VerifyError, match="a section inside a loop"):
        verify(kernel([SIZE], [ir.For("i", N, "serial", (ir.Section(()),))]))


def test_names_of_a_section_are_not_seen_outside() -> None:
    section = ir.Section((ir.Let("a", literal(1.0)),))
    with pytest.raises(VerifyError, match="'a' is not bound here"):
        verify(kernel([result("y")], [section, ir.Store("y", integer(0), var("a"))]))
