"""What a program does besides computing shows once: when it is traced, however often parts of it are."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest

import chainrule as cr


def test_a_print_before_a_branch_shows_once(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> Any:
        print("begins")
        y = 2 * x
        if y > 1:
            return y
        return -y

    assert cr.jit(f)(1.0) == 2.0
    assert capsys.readouterr().out == "begins\n"


def test_notes_before_math_are_taken_once() -> None:
    notes: list[str] = []
    counts = {"calls": 0}

    def f(x: Any) -> Any:
        notes.append("f")
        counts["calls"] += 1
        return inner(x) + 1

    def inner(x: Any) -> Any:
        notes.append("inner")
        return math.sin(x)

    assert cr.jit(f)(0.0) == 1.0
    assert notes == ["f", "inner"]
    assert counts == {"calls": 1}


class Model:
    """Counts its calls, and calls a method that has a branch."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Any) -> Any:
        self.calls += 1
        return self.branch(x)

    def branch(self, x: Any) -> Any:
        return x if x > 0 else -x


def test_a_model_that_counts_its_calls() -> None:
    model = Model()
    f = cr.jit(model)
    assert [f(-3.0), f(2.0)] == [3.0, 2.0]
    assert model.calls == 1  # it was traced once


def test_effects_before_a_loop_that_is_run_again_as_python(capsys: pytest.CaptureFixture[str]) -> None:
    """The loop is rolled at first; that its count is needed as a known number shows after it."""
    notes: list[str] = []

    def f(x: Any) -> Any:
        mine: list[Any] = []
        print("begins")
        notes.append("begins")
        n = 0
        for _ in range(20):
            n += 1
            x = x + 1
        mine.append(x)
        notes.append("ends")
        return mine[0] * np.ones(n)

    assert cr.jit(f)(0.5).shape == (20,)
    assert notes == ["begins", "ends"]
    assert capsys.readouterr().out == "begins\n"


def telling(x: Any) -> Any:
    total = 0  # an int at first: the body is traced again when it is known to become a float
    while x < 100:
        x = x * 2
        total += x
        if x > 50:
            print("{x} is", x, [total], sep=" | ", end=";\n")
    print(x, total)
    return x


@pytest.mark.parametrize("transform", [cr.jit, cr.grad, cr.jacfwd])
def test_what_is_traced_is_printed_at_run_time(transform: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Each time, also in loops and branches, and as Python does."""
    telling(1.0)
    expected = capsys.readouterr().out
    f = transform(telling)
    for _ in range(2):
        f(1.0)
        shown = capsys.readouterr().out.replace("np.float64(126.0)", "126.0").replace("np.float64(254.0)", "254.0")
        assert shown == expected


def test_printing_traced_values_elsewhere_is_refused() -> None:
    def f(x: Any) -> Any:
        print(x, file=sys.stderr)
        return x

    with pytest.raises(TypeError, match=r"standard output only.*test_effects\.py"):
        cr.jit(f)(1.0)


def test_a_print_in_a_known_loop_shows_every_time(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> Any:
        for k in range(20):
            if k % 5 == 0:
                print(k)
            x = x + math.sin(x)
        return x

    cr.jit(f)(1.0)
    assert capsys.readouterr().out.split() == ["0", "5", "10", "15"]


def test_methods_that_only_other_methods_call_keep_their_loops() -> None:
    class Summer:
        def __call__(self, x: Any) -> Any:
            return self.outer(x)

        def outer(self, x: Any) -> Any:
            return self.inner(x) + 1

        def inner(self, x: Any) -> Any:
            for _ in range(5000):
                x = 0.5 * x + 1
            return x

    graph = cr.trace(Summer(), cr.spec())
    assert len(graph) < 20
    assert cr.grad(Summer())(1.0) == 0.0


def test_random_numbers_are_refused() -> None:
    rng = np.random.default_rng(1)

    def walk(x: Any) -> Any:
        for _ in range(100):
            x = x + np.random.normal()  # noqa: NPY002
        return x

    def walk_with_a_generator(x: Any) -> Any:
        return x + rng.normal()

    def walk_with_numbers(x: Any, steps: Any) -> Any:
        for s in steps:
            x = x + s
        return x

    for f in (walk, walk_with_a_generator, lambda x: walk_with_a_generator(x) if x > 0 else x):
        with pytest.raises(TypeError, match=r"pass them as an argument.*test_effects\.py:\d+"):
            cr.jit(f)(0.5)
    assert cr.grad(walk_with_numbers)(0.5, rng.normal(size=30)) == 1.0
