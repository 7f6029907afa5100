"""Random programs of nested ``if``, ``while``, ``for``, ``break``, ``continue`` and ``return``, with helper functions,
closures and writing to arrays, against the same Python: on floats for values, on jets for derivatives of two orders.
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


class Jet:
    """A number and its first two derivatives, as plain Python and object arrays compute with them."""

    def __init__(self, value: float, slope: float = 0.0, curvature: float = 0.0) -> None:
        self.value, self.slope, self.curvature = value, slope, curvature

    @staticmethod
    def of(x: Any) -> Jet:
        return x if isinstance(x, Jet) else Jet(float(x))

    def __add__(self, other: Any) -> Jet:
        other = Jet.of(other)
        return Jet(self.value + other.value, self.slope + other.slope, self.curvature + other.curvature)

    def __mul__(self, other: Any) -> Jet:
        other = Jet.of(other)
        return Jet(
            self.value * other.value,
            self.slope * other.value + self.value * other.slope,
            self.curvature * other.value + 2 * self.slope * other.slope + self.value * other.curvature,
        )

    def of_function(self, value: float, first: float, second: float) -> Jet:
        return Jet(value, first * self.slope, second * self.slope**2 + first * self.curvature)

    def __neg__(self) -> Jet:
        return Jet(-self.value, -self.slope, -self.curvature)

    def __sub__(self, other: Any) -> Jet:
        return self + -Jet.of(other)

    def __rsub__(self, other: Any) -> Jet:
        return Jet.of(other) - self

    __radd__, __rmul__ = __add__, __mul__

    def __abs__(self) -> Jet:
        return -self if self.value < 0 else self

    def __lt__(self, other: Any) -> bool:
        return self.value < Jet.of(other).value

    def __gt__(self, other: Any) -> bool:
        return self.value > Jet.of(other).value

    def __ge__(self, other: Any) -> bool:
        return self.value >= Jet.of(other).value

    def __le__(self, other: Any) -> bool:
        return self.value <= Jet.of(other).value

    def sin(self) -> Jet:
        s, c = math.sin(self.value), math.cos(self.value)
        return self.of_function(s, c, -s)

    def cos(self) -> Jet:
        s, c = math.sin(self.value), math.cos(self.value)
        return self.of_function(c, -s, -c)

    def tanh(self) -> Jet:
        t = math.tanh(self.value)
        return self.of_function(t, 1 - t * t, -2 * t * (1 - t * t))


class Writer:
    """Writes a program of x (a float) and m (an int)."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0
        self.calls: list[str] = []  # the functions that an expression may call

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
            lambda: f"{self.random.choice(self.calls)}({inner()})" if self.calls else self.expression(0),
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
            if self.random.random() < 0.25:
                items = self.random.choice(["a", "reversed(a)", "[x, 0.5, z]"])
            target = name
            if self.random.random() < 0.2:
                target, items = f"k, {name}", f"enumerate({items})"
            step = f"    x = x + 0.1 * np.cos({name} + z)"
            lines = [f"for {target} in {items}:", *self.block(depth - 1, True), step]
        if self.random.random() < 0.2:
            lines += ["else:", *self.block(0, False)]
        return lines

    def leave(self, in_loop: bool) -> list[str]:
        how = self.random.choice(["break", "continue", "return"]) if in_loop else "return"
        how += f" {self.expression()}" if how == "return" else ""
        return [f"if {self.condition()}:", f"    {how}"]

    def function(self, head: str, first: list[str], depth: int, length: int) -> list[str]:
        lines = list(first)
        for _ in range(length):
            lines += self.statement(depth, False)
        lines.append("return x + y * z + k + (a[0] + a[1]) + (a[2] + a[3])")
        return [head, *("    " + line for line in lines)]

    def program(self) -> str:
        helper = self.function("def helper(x, m=2):", ["y, z, k, a = 0.3, x * 0.5, 0, zeros(4)"], 2, 1)
        start = ["y, z, k = 0.3, x * 0.5, 0", "a = zeros(4)"]
        # it reads what the function around it has at the time, in variables that are not its own
        closure = ["def inner(v):", f"    if v < {self.expression(0)}:", f"        return {self.expression(1)} * v"]
        closure += [f"    return v - {self.expression(1)}"]
        self.calls = ["helper", "inner", "helper", "(lambda v: v * z if v > 0 else y)"]
        lines = self.function("def f(x, m):", [*start, *closure], 3, self.random.randint(2, 4))
        return "".join(line + "\n" for line in [*helper, "", "", *lines])


def loaded(seed: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The program, and the same on jets."""
    text = Writer(seed).program()
    name = f"<program {seed}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    found = []
    for zeros in (np.zeros, lambda n: np.full(n, 0.0, dtype=object)):
        namespace: dict[str, Any] = {"np": np, "zeros": zeros}
        exec(compile(text, name, "exec"), namespace)
        found.append(namespace["f"])
    return found[0], found[1]


@pytest.mark.parametrize("seed", [*range(50), 5180])
def test_values(seed: int) -> None:
    f, _ = loaded(seed)
    with cr.disable_jit():
        traced = cr.jit(f)
        for x in (0.4, -1.3):
            for m in (3, 5):
                np.testing.assert_allclose(traced(x, m), f(x, m), rtol=1e-9, atol=1e-12, err_msg=Writer(seed).program())


@pytest.mark.parametrize("seed", range(1000, 1010))
def test_compiled_values(seed: int) -> None:
    f, _ = loaded(seed)
    traced = cr.jit(f)
    for x, m in ((0.7, 0), (-0.2, 4)):
        np.testing.assert_allclose(traced(x, m), f(x, m), rtol=1e-9, atol=1e-12, err_msg=Writer(seed).program())


def along(f: Callable[[Any], Any], x: float) -> Any:
    return cr.jvp(f, (x,), (1.0,))[1]


@pytest.mark.parametrize("x", [0.4, -1.3])
@pytest.mark.parametrize("seed", range(2000, 2024))
def test_derivatives(seed: int, x: float) -> None:
    f, on_jets = loaded(seed)
    expected = Jet.of(on_jets(Jet(x, 1.0), 4))

    def of_x(x: Any) -> Any:
        return f(x, 4) + 0.0 * x  # some programs end in a whole number

    def close(found: Any, wanted: float) -> None:
        np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-9, err_msg=Writer(seed).program())

    with cr.disable_jit():
        close(along(of_x, x), expected.slope)
        close(cr.grad(of_x)(x), expected.slope)
        if seed % 4 == 0:
            close(along(lambda x: along(of_x, x), x), expected.curvature)
        if seed % 4 == 1:
            close(cr.grad(cr.grad(of_x))(x), expected.curvature)
