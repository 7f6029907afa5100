"""Random programs of nested ``if``, ``while``, ``for``, ``break``, ``continue`` and ``return``, against the same
Python: on floats for values, on dual numbers for derivatives.
"""

from __future__ import annotations

import linecache
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr


class Dual:
    """A number and its derivative, as plain Python and object arrays compute with them."""

    def __init__(self, value: float, slope: float = 0.0) -> None:
        self.value, self.slope = value, slope

    @staticmethod
    def of(x: Any) -> Dual:
        return x if isinstance(x, Dual) else Dual(float(x))

    def __add__(self, other: Any) -> Dual:
        other = Dual.of(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other: Any) -> Dual:
        other = Dual.of(other)
        return Dual(self.value * other.value, self.slope * other.value + self.value * other.slope)

    def __neg__(self) -> Dual:
        return Dual(-self.value, -self.slope)

    def __sub__(self, other: Any) -> Dual:
        return self + -Dual.of(other)

    def __rsub__(self, other: Any) -> Dual:
        return Dual.of(other) - self

    __radd__, __rmul__ = __add__, __mul__

    def __abs__(self) -> Dual:
        return -self if self.value < 0 else self

    def __lt__(self, other: Any) -> bool:
        return self.value < Dual.of(other).value

    def __gt__(self, other: Any) -> bool:
        return self.value > Dual.of(other).value

    def __ge__(self, other: Any) -> bool:
        return self.value >= Dual.of(other).value

    def __le__(self, other: Any) -> bool:
        return self.value <= Dual.of(other).value

    def sin(self) -> Dual:
        return Dual(math.sin(self.value), math.cos(self.value) * self.slope)

    def cos(self) -> Dual:
        return Dual(math.cos(self.value), -math.sin(self.value) * self.slope)

    def tanh(self) -> Dual:
        return Dual(math.tanh(self.value), self.slope / math.cosh(self.value) ** 2)


class Writer:
    """Writes a program of x (a float) and m (an int)."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0

    def choose(self, *options: Callable[[], Any]) -> Any:
        return self.random.choice(options)()

    def expression(self, depth: int = 2) -> str:
        if depth == 0:
            return self.random.choice(["x", "y", "z", "0.5", "1.25", "k", "-0.75"])
        inner = lambda: self.expression(depth - 1)  # noqa: E731
        return self.choose(
            lambda: f"({inner()} {self.random.choice('+-*')} {inner()})",
            lambda: f"np.sin({inner()})",
            lambda: f"np.tanh({inner()})",
            lambda: self.expression(0),
            lambda: f"({inner()} if {self.condition()} else {inner()})",
            lambda: f"abs({inner()})",
            lambda: f"max({inner()}, {self.expression(0)})",
            lambda: "a[k % 4]",
        )

    def condition(self, depth: int = 1) -> str:
        simple = lambda: self.condition(0)  # noqa: E731
        atom = lambda: self.expression(0)  # noqa: E731
        if depth and self.random.random() < 0.3:
            return self.choose(
                lambda: f"({simple()} and {simple()})",
                lambda: f"({simple()} or {simple()})",
                lambda: f"not {simple()}",
                lambda: f"{atom()} < {self.expression(1)} < {atom()}",
            )
        return self.choose(
            lambda: f"{self.expression(1)} < {atom()}",
            lambda: "k % 2 == 0",
            lambda: "k > 1",
            lambda: f"{atom()} >= {atom()}",
        )

    def block(self, depth: int, in_loop: bool) -> list[str]:
        statements = [self.statement(depth, in_loop) for _ in range(self.random.randint(1, 3))]
        return ["    " + line for statement in statements for line in statement]

    def simple(self) -> str:
        name = self.random.choice("xyz")
        return self.choose(
            lambda: f"{name} = {self.expression()}",
            lambda: f"{name} = {self.expression()}",
            lambda: f"{name} {self.random.choice(['+=', '-=', '*='])} np.sin({self.expression(1)})",
            lambda: f"a[k % 4] {self.random.choice(['=', '+='])} np.tanh({self.expression(1)})",
            lambda: "k += 1",
        )

    def statement(self, depth: int, in_loop: bool) -> list[str]:
        if depth == 0 or self.random.random() < 0.35:
            return [self.simple()]
        return self.choose(lambda: self.branches(depth, in_loop), lambda: self.loop(depth), lambda: self.leave(in_loop))

    def branches(self, depth: int, in_loop: bool) -> list[str]:
        lines = [f"if {self.condition()}:", *self.block(depth - 1, in_loop)]
        if self.random.random() < 0.3:
            lines += [f"elif {self.condition()}:", *self.block(depth - 1, in_loop)]
        if self.random.random() < 0.5:
            lines += ["else:", *self.block(depth - 1, in_loop)]
        return lines

    def loop(self, depth: int) -> list[str]:
        self.count += 1
        name = f"i{self.count}"
        if self.random.random() < 0.4:
            limit = self.random.choice(["4", "m", "20"])
            head = [f"{name} = 0", f"while {name} < {limit} and {self.condition()}:", f"    {name} += 1"]
            lines = [*head, *self.block(depth - 1, True)]
        else:
            items = self.random.choice(["range(3)", "range(m)", "range(18)", "range(1, m + 2)", "range(5, 0, -2)"])
            step = f"    x = x + 0.1 * np.cos({name} + z)"
            lines = [f"for {name} in {items}:", *self.block(depth - 1, True), step]
        if self.random.random() < 0.2:
            lines += ["else:", *self.block(0, False)]
        return lines

    def leave(self, in_loop: bool) -> list[str]:
        how = self.random.choice(["break", "continue"]) if in_loop else f"return {self.expression()}"
        return [f"if {self.condition()}:", f"    {how}"]

    def program(self) -> str:
        lines = ["y, z, k = 0.3, x * 0.5, 0", "a = zeros(4)"]
        for _ in range(self.random.randint(2, 4)):
            lines += self.statement(3, False)
        lines.append("return x + y * z + k + (a[0] + a[1]) + (a[2] + a[3])")
        return "def f(x, m):\n" + "".join(f"    {line}\n" for line in lines)


def loaded(seed: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The program, and the same on dual numbers."""
    text = Writer(seed).program()
    name = f"<program {seed}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    found = []
    for zeros in (np.zeros, lambda n: np.full(n, 0.0, dtype=object)):
        namespace: dict[str, Any] = {"np": np, "zeros": zeros}
        exec(compile(text, name, "exec"), namespace)
        found.append(namespace["f"])
    return found[0], found[1]


@pytest.mark.parametrize("seed", range(60))
def test_values(seed: int) -> None:
    f, _ = loaded(seed)
    with cr.disable_jit():
        traced = cr.jit(f)
        for x in (0.4, -1.3):
            for m in (3, 5):
                np.testing.assert_allclose(traced(x, m), f(x, m), rtol=1e-9, atol=1e-12, err_msg=Writer(seed).program())


@pytest.mark.parametrize("seed", range(1000, 1012))
def test_compiled_values(seed: int) -> None:
    f, _ = loaded(seed)
    traced = cr.jit(f)
    for x, m in ((0.7, 0), (-0.2, 4)):
        np.testing.assert_allclose(traced(x, m), f(x, m), rtol=1e-9, atol=1e-12, err_msg=Writer(seed).program())


@pytest.mark.parametrize("seed", range(2000, 2040))
def test_derivatives(seed: int) -> None:
    f, dual = loaded(seed)
    with cr.disable_jit():
        for x in (0.4, -1.3):
            expected = Dual.of(dual(Dual(x, 1.0), 4))
            value, slope = cr.jvp(lambda x: f(x, 4), (x,), (1.0,))
            np.testing.assert_allclose(value, expected.value, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(slope, expected.slope, rtol=1e-7, atol=1e-9, err_msg=Writer(seed).program())
