"""What Python has to say a program with, on traced values: each form in a program of its own."""

from __future__ import annotations

import cmath
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import chainrule as cr
from tests.programs.precise import verify

PROGRAMS: list[tuple[Callable[..., Any], tuple[float, ...]]] = []


def program(*points: tuple[float, ...]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a program with the points that it is to be tried at."""

    def enter(f: Callable[..., Any]) -> Callable[..., Any]:
        PROGRAMS.extend((f, x) for x in points)
        return f

    return enter


# --- conditions -------------------------------------------------------------------------------------------------


@program((-2.0,), (0.5,), (1.5,), (7.0,))
def grades(x: Any) -> Any:
    if x < -1:
        y = x**2
    elif x < 1:
        y = x**3
    elif x < 5:
        y = 1 / x
    else:
        y = 0.5 * x
    return y


@program((0.5, 2.0), (3.0, 2.0), (1.0, -1.0))
def chained(x: Any, y: Any) -> Any:
    if 0 < x < y < 10:
        return x * y
    if not (x > 0 and y > 0) or x == y:
        return x - y
    return x / y


@program((0.3,), (-0.3,))
def conditional_expressions(x: Any) -> Any:
    sign = 1 if x > 0 else -1 if x < 0 else 0
    return sign * x**2 + (math.exp(x) if sign > 0 else math.sin(x))


@program((2.0,), (0.5,), (-3.0,))
def values_of_and_and_or(x: Any) -> Any:
    return (x > 1 and x) + (x or 1.0) * 2 + (x < 0 or x)


@program((0.5,), (2.5,))
def flags(x: Any) -> Any:
    big = x > 1
    even = math.floor(x) % 2 == 0
    if big and even:
        return x**2
    if big != even:
        return x**3
    return x


@program((0.7,), (-0.7,))
def walrus(x: Any) -> Any:
    if (y := x * x - 0.25) > 0 and x > 0:
        return y * x
    return y


@program((1.2,), (-1.2,))
def nothing_or_a_number(x: Any) -> Any:
    cut = None
    if cut is None:
        cut = x * 0.5
    result = None
    if x > 0:
        result = cut**2
    else:
        result = -cut
    assert result is not None
    return result


# --- loops ------------------------------------------------------------------------------------------------------


@program((0.8,))
def nested_loops_with_everything(x: Any) -> Any:
    total = 0.0
    for i in range(20):
        if i % 3 == 0:
            continue
        power = 1.0
        j = 0
        while True:
            power *= x
            j += 1
            if j > i or power < 0.05:
                break
        else:
            total += 100.0
        total += power * j
        if total > 3:
            return total * x
    return total


@program((0.7, 0.2))
def over_pairs(x: Any, y: Any) -> Any:
    total = 0.0
    for i, (a, b) in enumerate(zip([x, 2.0, y], (y, x, 3.0))):
        total += (i + 1) * a * b
    for k, v in {"a": x, "b": y}.items():
        total += v if k == "a" else v**2
    for v in reversed([x, y, x * y]):
        total = total * 0.5 + v
    return total


@program((0.7, 0.2))
def over_arrays(x: Any, y: Any) -> Any:
    data = x * np.arange(1.0, 31.0) + y
    total = 0.0
    for i, v in enumerate(data):
        total += v / (i + 1)
    for a, b in zip(data, data[::-1]):
        total += a * b * 1e-3
    for v in reversed(data):
        total = 0.9 * total + v
    for row in data.reshape(3, 10):
        total += row[0] * row[-1]
    for i in range(len(data) - 1, 0, -2):
        total -= data[i] * x
    return total


@program((0.7, 0.2))
def comprehensions(x: Any, y: Any) -> Any:
    squares = [x**k for k in range(5)]
    grid = [[x * i + y * j for j in range(3)] for i in range(3)]
    table = {k: math.sin(k * y) for k in range(4) if k != 2}
    return sum(squares) + sum(g[1] for g in grid) + sum(table.values()) + max(s * y for s in squares)


@program((0.6,))
def filling_arrays(x: Any) -> Any:
    n = 25
    out = np.zeros(n)
    out[0], out[1] = 1.0, x
    for i in range(2, n):
        out[i] = out[i - 1] * x + 0.1 * out[i - 2]
    table = np.empty((2, n))
    table[0] = out
    table[1, :] = 2 * out
    table[:, 0] += x
    table[1, ::2] *= x
    ones = np.ones_like(out)
    ones[n // 2 :] = x
    return np.sum(table * ones) + out[-1]


@program((0.6,))
def lists_of_fixed_structure(x: Any) -> Any:
    state = [x, 1.0, [0.0, x]]
    for k in range(30):
        state[0] = state[0] * 0.9 + 0.1 * state[1]
        state = [state[0], state[1] + 0.01 * k, [state[2][1], state[2][0] + x]]
    return state[0] + state[1] * state[2][0]


class State(NamedTuple):
    """A position and a velocity."""

    position: Any
    velocity: Any


@program((0.6, 1.1))
def named_tuples(x: Any, v: Any) -> Any:
    s = State(x, v)
    while s.position < 5:
        s = State(s.position + 0.1 * s.velocity, velocity=s.velocity * 1.01)
        s = s._replace(velocity=s.velocity + 0.01)
    return s.position * s.velocity


@program((0.6,))
def dictionaries_go_round(x: Any) -> Any:
    p = {"mean": x, "width": 1.0}
    for k in range(25):
        p = {**p, "mean": p["mean"] + 0.01 * k * p["width"]}
        p["width"] = p["width"] * 0.95
    return p["mean"] / p["width"]


# --- functions, objects -----------------------------------------------------------------------------------------


def smooth_step(x: Any, low: Any = 0.0, *, high: Any = 1.0) -> Any:
    if x <= low:
        return 0.0
    if x >= high:
        return 1.0
    t = (x - low) / (high - low)
    return t * t * (3 - 2 * t)


@program((0.4,), (1.4,))
def keyword_arguments(x: Any) -> Any:
    options = {"high": 2.0}
    return smooth_step(x) + smooth_step(x, -1.0, **options) + smooth_step(*[x, 0.2])


def clamped(f: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator with a branch of its own."""

    @functools.wraps(f)
    def inner(*args: Any, **kwargs: Any) -> Any:
        value = f(*args, **kwargs)
        if value > 2:
            return 2 + math.log(value - 1)
        return value

    return inner


@clamped
def squared(x: Any) -> Any:
    return x * x if x > 0 else x


@program((0.4,), (3.0,), (-2.0,))
def decorated(x: Any) -> Any:
    return squared(x) + 1


@program((0.4,), (3.0,))
def closures_of_closures(x: Any) -> Any:
    def scaled(factor: Any) -> Callable[[Any], Any]:
        def f(y: Any) -> Any:
            while y > factor:
                y = y - factor * x * 0.5
            return y

        return f

    pick = lambda f, v: f(v) if v > 1 else v  # noqa: E731
    return scaled(0.7)(2 * x) + pick(scaled(1.5), 3 * x)


class Vector:
    """Two numbers with operators, a property, a method that makes others, and a class method."""

    def __init__(self, x: Any, y: Any = 0.0) -> None:
        self.x = x
        self.y = math.sqrt(y) if y > 1 else y

    @property
    def length(self) -> Any:
        if self.x == 0:
            return abs(self.y)
        return math.hypot(self.x, self.y)

    @functools.cached_property
    def angle(self) -> Any:
        return math.atan2(self.y, self.x)

    @classmethod
    def diagonal(cls, x: Any) -> Vector:
        return cls(x, x)

    @staticmethod
    def dot(a: Vector, b: Vector) -> Any:
        return a.x * b.x + a.y * b.y

    def turned(self) -> Vector:
        return Vector(-self.y, self.x) if self.x > 0 else self

    def __add__(self, other: Vector) -> Vector:
        return Vector(self.x + other.x, self.y + other.y)


@program((0.4, 0.3), (1.4, 2.0))
def objects(x: Any, y: Any) -> Any:
    v = Vector(x, y) + Vector.diagonal(0.3 * y)
    return v.length + v.angle * Vector.dot(v, Vector(1.0, x)) + v.angle


class Oscillator:
    """State in attributes, changed by methods."""

    def __init__(self, x: Any) -> None:
        self.x, self.v = x, 0.0
        self.history: list[Any] = []

    def run(self, n: int) -> Any:
        for _ in range(n):
            self.v -= 0.1 * self.x
            self.x += 0.1 * self.v
            if self.x < 0:
                self.x = -self.x
                self.v = -self.v
        return self.x

    def energy(self) -> Any:
        return self.x**2 + self.v**2


@program((0.8,))
def attributes_in_loops(x: Any) -> Any:
    o = Oscillator(x)
    last = o.run(60)
    return last * o.energy()


@dataclass
class Options:
    """Plain data with a traced field."""

    scale: Any
    power: int = 2

    def apply(self, x: Any) -> Any:
        return self.scale * x**self.power if x > 0 else x


@program((0.8, 1.5), (-0.8, 1.5))
def data_classes(x: Any, s: Any) -> Any:
    return Options(s).apply(x) + Options(scale=x, power=3).apply(s)


class Gaussian:
    """A callable with parameters from outside."""

    scale = 0.7

    def __call__(self, x: Any) -> Any:
        if abs(x) > 3 * self.scale:
            return 0.0
        return math.exp(-((x / self.scale) ** 2))


GAUSSIAN = Gaussian()


@program((0.8,), (4.0,))
def callable_objects(x: Any) -> Any:
    return GAUSSIAN(x) + sum(map(GAUSSIAN, [0.5 * x, 2 * x]))


# --- builtins ---------------------------------------------------------------------------------------------------


@program((0.3, 2.2), (-1.7, 0.4))
def builtins_on_numbers(x: Any, y: Any) -> Any:
    q, r = divmod(y, 0.7)
    parts = [x, y, x * y]
    total = sum(parts) + max(parts) + min(x, y, 1.0) + abs(x) + pow(y, 2) + q * r
    if any(p > 1 for p in parts) and not all(p > 1 for p in parts):
        total += x
    if isinstance(parts, list) and hasattr(parts, "append"):
        total += round(y) * x + int(y) * y + float(x) * len(parts)
    return total


@program((0.3,), (2.2,))
def mathematics(x: Any) -> Any:
    return (
        math.sin(x) * math.cosh(x) + math.atan2(x, 2.0) + math.log(x, 3) + math.log2(x + 1) + math.log1p(x)
        + math.sqrt(x) * math.pi + math.hypot(x, 1.0) + math.fabs(-x) + math.erf(x) + math.gamma(x + 1)
        + math.degrees(x) / 100 + math.copysign(x, -1.0) + math.fsum([x, x * x]) + math.prod([x, 3.0])
        + math.dist((x, 1.0), (0.0, x)) + math.exp(-x) ** math.e + math.fmod(5 * x, 0.7) + math.expm1(x)
    )  # fmt: skip


@program((0.3, 1.1))
def complex_mathematics(x: Any, y: Any) -> Any:
    z = complex(x, y)
    w = cmath.exp(1j * z) / (1 + z**2)
    r, phi = cmath.polar(w)
    if abs(z) < 10:
        w += cmath.sqrt(z).conjugate()
    return w.real * r + w.imag * phi + abs(cmath.log(z)) + cmath.rect(x, y).real


@program((0.3, 1.1))
def arrays_of_traced_numbers(x: Any, y: Any) -> Any:
    rotation = np.array([[math.cos(x), -math.sin(x)], [math.sin(x), math.cos(x)]])
    point = np.array([y, 1.0])
    rows = np.asarray([point, rotation @ point, [x, 2]])
    stacked = np.stack([point, point * x])
    filled = np.full((2, 2), x) + np.eye(2) * y
    grid = np.linspace(x, y, 5)
    return rows.sum() + np.dot(stacked[1], point) + filled[0, 0] * filled[1, 0] + grid[1:4].prod() + np.arange(3)[2] * x


@pytest.mark.parametrize(("f", "x"), PROGRAMS, ids=lambda v: getattr(v, "__name__", ""))
def test_forms(f: Callable[..., Any], x: tuple[float, ...]) -> None:
    verify(f, *x, rtol=1e-9)


# --- variables that others see ------------------------------------------------------------------------------------


def read_by_a_lambda(x: Any) -> Any:
    factor = 1.0
    scaled = lambda v: v * factor  # noqa: E731
    if x > 0:
        factor = 2.0 * x
    for _ in range(20):
        factor = factor + 0.1
    return scaled(x)


def target_after_the_loop(x: Any, n: Any) -> Any:
    k = 100
    for k in range(18):
        if x > 0:
            for k in range(n):  # noqa: B007
                x = x + 0.1
    return x * k


def written_while_iterated(x: Any) -> Any:
    """The items are read one by one, as the loop comes to them."""
    a = np.zeros(20)
    a[0] = x
    i = 0
    for v in a:
        i += 1
        if i < 20:
            a[i] = 0.5 * v + x
    b = x * np.ones(5)
    for j, v in enumerate(reversed(b)):
        b[0] += v
        if j == 3:
            b[0] *= 2
    return a[-1] + b[0]


def test_variables_that_others_see() -> None:
    verify(read_by_a_lambda, 0.7)
    verify(read_by_a_lambda, -0.7)
    verify(written_while_iterated, 0.7)
    for n in (0, 1, 3):
        found = cr.jit(target_after_the_loop)(0.5, n)
        assert found == pytest.approx(target_after_the_loop(0.5, n), rel=1e-14)


def test_a_loop_over_an_array_of_any_length_that_it_writes_to() -> None:
    def smoothed(a: Any) -> Any:
        a = a.copy()
        i = 0
        for v in a:
            if i + 1 < len(a):
                a[i + 1] += 0.5 * v
            i += 1
        return a

    f = cr.jit(smoothed)
    for n in (40, 30, 3):
        a = np.linspace(0.0, 1.0, n)
        np.testing.assert_allclose(f(a), smoothed(a), rtol=1e-14)
        powers = np.tril(0.5 ** np.subtract.outer(np.arange(n), np.arange(n)).clip(0))
        np.testing.assert_allclose(cr.jacfwd(smoothed)(a), powers, rtol=1e-13)
        np.testing.assert_allclose(cr.jacrev(smoothed)(a), powers, rtol=1e-13)


# --- match, sums, identities --------------------------------------------------------------------------------------


def matched(x: Any, kind: str = "cubic") -> Any:
    match kind:
        case "linear" | "affine":
            y = x
        case "cubic" if x > 0:
            y = x**3
        case other:
            y = x * len(other)
    match x > 1:
        case True:
            return y + 1
        case False:
            return y
    return 0.0


def sums(x: Any, n: Any) -> Any:
    long = sum(x**k / (k + 1) for k in range(40))
    traced = sum(k * x for k in range(n))
    chosen = sum(a * b for a, b in zip([x, 2.0, 3.0], [x, x, 1.0]) if a * b > 1)
    even = sum(math.sin(k * x) for k in range(60) if k % 2 == 0)
    return long + traced + chosen + even


def identities(x: Any) -> Any:
    total = 0.0
    if (x > 0) is True:
        total += x
    if (x > 1) is not True:
        total += x**2
    if x in (1.0, 2.0) or 3.0 not in [x, 2 * x]:
        total += 1
    if isinstance(x, (int, float)) and not isinstance(x, (str, complex)):
        total *= 2
    return total


def test_match_sums_and_identities() -> None:
    for x in (-0.5, 0.5, 1.5):
        verify(matched, x)
        verify(lambda x: matched(x, "affine"), x)
        assert cr.jit(identities)(x) == identities(x)
        assert cr.grad(identities)(x) == (2 + 4 * x if 0 < x <= 1 else 2 if x > 1 else 4 * x)
    for n in (0, 4):
        assert cr.jit(sums)(0.7, n) == pytest.approx(sums(0.7, n), rel=1e-13)
    verify(lambda x: sums(x, 4), 0.7)
    assert len(cr.trace(lambda x: sum(x**k for k in range(5000)), cr.spec())) < 30


class Angle:
    """A number with operators of its own, which have branches."""

    def __init__(self, value: Any) -> None:
        self.value = value - 2 * math.pi * math.floor(value / (2 * math.pi))

    def __add__(self, other: Any) -> Angle:
        return Angle(self.value + (other.value if isinstance(other, Angle) else other))

    def __radd__(self, other: Any) -> Angle:
        return self + other

    def __neg__(self) -> Angle:
        return Angle(-self.value)

    def __lt__(self, other: Angle) -> Any:
        if self.value < other.value:
            return True
        return False

    def __mul__(self, factor: Any) -> Angle:
        total = Angle(0.0)
        for _ in range(factor):
            total = total + self
        return total


def angles(x: Any) -> Any:
    a = Angle(x) + 3.0
    b = 1.0 + -a
    if a < b:
        return a.value
    return (b * 3).value ** 2


def test_operators_of_objects() -> None:
    for x in (0.5, 2.9, 4.5):
        verify(angles, x)
