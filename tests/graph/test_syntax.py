"""Ordinary Python control flow in traced functions, against the same Python on floats and known derivatives."""

from __future__ import annotations

import cmath
import functools
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special

import chainrule as cr
from chainrule.graph.node import Graph
from chainrule.graph.op import Cond, Loop
from tests.unseen import unseen

TABLE = np.linspace(0.5, 2.5, 20)
WEIGHTS = [0.25, -1.5, 0.125, 2.0]


def ops(graph: Graph) -> list[str]:
    """The structured nodes of a graph, inner ones included."""
    found = []
    for node in graph.nodes:
        if isinstance(node.op, Loop):
            found += [node.op.condition, *ops(node.op.body)]
        elif isinstance(node.op, Cond):
            found += ["cond", *[o for g in node.op.branches for o in ops(g)]]
    return found


def agree(f: Callable[..., Any], *args: Any, rtol: float = 1e-12) -> None:
    """``f`` compiled gives what ``f`` gives."""
    copies = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    expected = f(*copies)
    np.testing.assert_allclose(cr.jit(f)(*args), expected, rtol=rtol, atol=1e-14)
    with cr.disable_jit():
        np.testing.assert_allclose(cr.jit(f)(*args), expected, rtol=rtol, atol=1e-14)


def slope(f: Callable[[Any], Any], x: float) -> Any:
    """The derivative of f at x, forwards; ``grad`` gives the same where f is a number."""
    value, tangent = cr.jvp(f, (x,), (1.0,))
    np.testing.assert_allclose(value, f(x), rtol=1e-12)
    if np.ndim(value) == 0:
        np.testing.assert_allclose(cr.grad(f)(x), tangent, rtol=1e-9)
    return tangent


# --- while ----------------------------------------------------------------------------------------------------


def newton(a: Any) -> Any:
    x = a
    while abs(x * x - a) > 1e-12:
        x = (x + a / x) / 2
    return x


@pytest.mark.parametrize("a", [0.3, 2.0, 97.0])
def test_newton_square_root(a: float) -> None:
    agree(newton, a)
    assert slope(newton, a) == pytest.approx(0.5 / math.sqrt(a), rel=1e-9)


def test_newton_of_a_python_int() -> None:
    assert cr.grad(newton)(2) == pytest.approx(0.5 / math.sqrt(2), rel=1e-12)
    assert cr.jit(newton)(9) == pytest.approx(3.0, rel=1e-12)


def bisection(a: Any) -> Any:
    low, high = 0.0, a + 1.0
    while high - low > 1e-14 * high:
        middle = (low + high) / 2
        if middle**3 > a:
            high = middle
        else:
            low = middle
    root = (low + high) / 2
    return root - (root**3 - a) / (3 * root**2)  # one step of Newton's carries the derivative


@pytest.mark.parametrize("a", [0.2, 5.0])
def test_bisection(a: float) -> None:
    agree(bisection, a)


def collatz(n: Any) -> Any:
    steps = odd = 0
    while n != 1:
        steps += 1
        if n % 2 == 0:
            n = n // 2
            continue
        odd += 1
        n = 3 * n + 1
    return steps, odd


@pytest.mark.parametrize("n", [1, 6, 27])
def test_collatz(n: int) -> None:
    agree(collatz, n)


def kepler(eccentricity: Any, mean: Any) -> Any:
    anomaly = mean
    for _ in range(50):
        step = (anomaly - eccentricity * math.sin(anomaly) - mean) / (1 - eccentricity * math.cos(anomaly))
        anomaly -= step
        if abs(step) < 1e-14:
            break
    return anomaly


def test_kepler() -> None:
    agree(kepler, 0.6, 1.1)
    e, m = 0.6, 1.1
    found = kepler(e, m)
    by_e, by_m = cr.jacfwd(kepler, argnums=(0, 1))(e, m)
    denominator = 1 - e * math.cos(found)
    assert by_m == pytest.approx(1 / denominator, rel=1e-10)
    assert by_e == pytest.approx(math.sin(found) / denominator, rel=1e-10)


# --- for, break, early return ---------------------------------------------------------------------------------


def mandelbrot(x: Any, y: Any) -> Any:
    c = x + 1j * y
    z = 0j
    for n in range(60):
        if abs(z) > 2:
            return n
        z = z * z + c
    return 60


@pytest.mark.parametrize(("x", "y"), [(0.1, 0.2), (0.3, 0.6), (-1.0, 1.0), (2.0, 2.0)])
def test_mandelbrot_returns_early(x: float, y: float) -> None:
    assert cr.jit(mandelbrot)(x, y) == mandelbrot(x, y)


def horner(x: Any) -> Any:
    s = 0
    for c in WEIGHTS:
        s = s * x + c
    return s


def horner_of_a_table(x: Any) -> Any:
    s = 0.0
    for k in range(len(TABLE)):
        s = s * x + TABLE[k]
    return s


def test_horner() -> None:
    for f, coefficients in ((horner, WEIGHTS), (horner_of_a_table, TABLE)):
        agree(f, 0.7)
        assert slope(f, 0.7) == pytest.approx(np.polyval(np.polyder(coefficients), 0.7), rel=1e-12)
    assert ops(cr.trace(horner, cr.spec())) == []
    assert ops(cr.trace(horner_of_a_table, cr.spec())) == ["count"]


def arctangent(x: Any) -> Any:
    """The continued fraction x/(1 + x²/(3 + 4x²/(5 + …))) by Lentz's method as modified by Thompson and Barnett."""
    tiny = 1e-30
    f = c = tiny
    d = 0.0
    for j in range(1, 200):
        a = x if j == 1 else (j - 1) ** 2 * x * x
        b = 2 * j - 1
        d = b + a * d
        if d == 0:
            d = tiny
        c = b + a / c
        if c == 0:
            c = tiny
        d = 1 / d
        delta = c * d
        f = f * delta
        if abs(delta - 1) < 1e-15:
            break
    return f


@pytest.mark.parametrize("x", [0.1, 0.9, 3.0])
def test_continued_fraction(x: float) -> None:
    agree(arctangent, x)
    assert float(mpmath.atan(x)) == pytest.approx(cr.jit(arctangent)(x), rel=1e-14)
    assert slope(arctangent, x) == pytest.approx(1 / (1 + x * x), rel=1e-9)
    assert ops(cr.trace(arctangent, cr.spec()))[0] == "predicate"


def test_a_traced_number_of_terms() -> None:
    def series(x: Any, n: Any) -> Any:
        s = 0
        for k in range(1, n + 1):
            s += math.sin(k * x) / k
        return s

    agree(series, 0.4, 25)
    agree(series, 0.4, 0)
    found = cr.jacfwd(series)(0.4, 25)
    assert found == pytest.approx(sum(math.cos(k * 0.4) for k in range(1, 26)), rel=1e-12)


def test_the_graph_does_not_grow_with_the_loop() -> None:
    def logistic(x: Any, n: int) -> Any:
        for _ in range(n):
            x = 3.2 * x * (1 - x)
        return x

    sizes = [len(cr.trace(lambda x, n=n: logistic(x, n), cr.spec())) for n in (100, 10_000, 1_000_000)]
    assert len(set(sizes)) == 1
    agree(lambda x: logistic(x, 40), 0.3)


def test_nested_loops_with_branches() -> None:
    def triangle(x: Any, n: Any) -> Any:
        total = 0.0
        for i in range(n):
            for j in range(i + 1):
                if (i + j) % 3 == 0:
                    continue
                total += x**j / (1 + i)
                if total > 50:
                    return total
        return -total

    agree(triangle, 0.9, 12)
    agree(triangle, 1.7, 12)

    def powers(x: float, n: int) -> Any:
        return sum(j * x ** (j - 1) / (1 + i) for i in range(n) for j in range(1, i + 1) if (i + j) % 3)

    assert cr.jacfwd(triangle)(0.9, 12) == pytest.approx(-powers(0.9, 12), rel=1e-12)


def test_else_of_loops() -> None:
    def search(x: Any, limit: Any) -> Any:
        found = 0
        for k in range(40):
            if k * x > limit:
                found = k
                break
        else:
            found = -1
        while x < limit:
            x = 2 * x
            if x > 100:
                break
        else:
            x = -x
        return found + x

    for limit in (3.0, 1000.0):
        agree(search, 0.5, limit)


def test_the_only_way_out_is_a_return() -> None:
    def f(x: Any) -> Any:
        while True:
            x = x / 2
            if x < 1:
                return x

    agree(f, 20.0)
    agree(f, 0.5)


def test_loops_of_no_rounds() -> None:
    def f(x: Any, n: Any) -> Any:
        y = x
        for i in range(n):
            y = y * i
        while y > 1e9:
            y = y / 2
        return y

    agree(f, 2.0, 0)
    assert cr.jit(lambda v: sum_of(v))(np.zeros(0)) == 0.0


# --- arrays -----------------------------------------------------------------------------------------------------


def sum_of(x: Any) -> Any:
    s = 0.0
    for v in x:
        s += v * v
    return s


def test_iteration_over_arrays_of_any_length() -> None:
    def everything(x: Any) -> Any:
        s = 0
        for i in range(len(x)):
            s += x[i] * math.sin(x[i])
        for i, v in enumerate(x):
            s += i * v
        for a, b in zip(x, x[1:]):  # noqa: B905, RUF007
            s += a * b
        for i in reversed(range(len(x))):
            s = 0.5 * s + x[i]
        return s + sum_of(x)

    f = cr.jit(everything)
    for n in (40, 30, 5):
        x = np.linspace(0.1, 1.0, n)
        assert f(x) == pytest.approx(everything(x), rel=1e-12)
    assert ops(cr.trace(everything, cr.spec("n"))) == ["count"] * 5
    np.testing.assert_allclose(cr.jacfwd(sum_of)(TABLE), 2 * TABLE, rtol=1e-13)


def test_rows_of_matrices() -> None:
    def norms(m: Any) -> Any:
        s = 0.0
        for row in m:
            s = s + np.sqrt(np.sum(row * row))
        return s

    agree(norms, np.arange(60.0).reshape(20, 3))


def filled(x: Any) -> Any:
    out = np.zeros(30)
    for i in range(30):
        out[i] = np.sin(i * x)
        if i > 2:
            out[i] += out[i - 1]
    return out


def test_writing_to_an_array_in_a_loop() -> None:
    agree(filled, 0.3)
    i = np.arange(30)
    cosines = i * np.cos(0.3 * i)
    expected = np.concatenate([cosines[:2], np.cumsum(cosines[2:])])
    np.testing.assert_allclose(slope(filled, 0.3), expected, rtol=1e-10)


def test_writing_in_branches_and_nested_loops() -> None:
    def table(x: Any, n: Any) -> Any:
        out = np.zeros((4, 5))
        last = np.ones(5)
        for i in range(n):
            for j in range(5):
                if x > j:
                    out[i, j] = x**i
                else:
                    out[i, j], last[j] = last[j], i + x
            last *= 1.5
        return out + last

    agree(table, 2.5, 3)
    agree(table, -1.0, 4)


def test_other_names_of_an_array_see_what_is_written() -> None:
    def f(x: Any, n: Any) -> Any:
        a = np.zeros(6)
        same = a
        part = x * np.ones(6)
        front = part[:3]
        for i in range(n):
            a[i] = x * i
            a += 1
        if x > 0:
            part[1] = x
        return same.sum() + front[1] + front.sum()

    agree(f, 0.5, 4)


def test_swapping_elements() -> None:
    def bubble(v: Any) -> Any:
        v = v.copy()
        for i in range(len(v)):
            for j in range(len(v) - 1 - i):
                if v[j] > v[j + 1]:
                    v[j], v[j + 1] = v[j + 1], v[j]
        return v

    x = np.random.default_rng(3).normal(size=20)
    np.testing.assert_array_equal(cr.jit(bubble)(x), np.sort(x))
    np.testing.assert_array_equal(cr.jacfwd(bubble)(x), np.eye(20)[np.argsort(x)])


def test_arguments_are_not_written_to() -> None:
    def f(x: Any) -> Any:
        for i in range(len(x)):
            x[i] = 0.0
        return x

    with pytest.raises(ValueError, match=r"arguments are not changed in place.*test_syntax"):
        cr.jit(f)(TABLE)


# --- branches ---------------------------------------------------------------------------------------------------


def piecewise(x: Any) -> Any:
    if x < -1:
        return -1.0
    elif x < 0 or 2 < x < 3:
        y = x * x
    else:
        y = math.exp(x) if x > 1 and not x > 5 else 1
    return y + x


@pytest.mark.parametrize(
    ("x", "derivative"), [(-2.0, 0.0), (-0.5, 0.0), (0.5, 1.0), (1.5, math.exp(1.5) + 1), (2.5, 6.0), (6.0, 1.0)]
)
def test_branches(x: float, derivative: float) -> None:
    agree(piecewise, x)
    assert slope(piecewise, x) == pytest.approx(derivative, abs=1e-12)


def test_and_or_give_their_values() -> None:
    def f(x: Any, y: Any) -> Any:
        return (x and y) + 2 * (x or y)

    for x in (0.0, 1.5):
        agree(f, x, 3.0)


def test_the_branch_that_is_not_taken_does_not_poison() -> None:
    def f(x: Any) -> Any:
        return math.sqrt(x) if x > 0 else 0.0 * x

    assert cr.grad(f)(0.0) == 0.0
    assert cr.grad(f)(4.0) == 0.25


def test_a_middle_term_is_computed_once() -> None:
    calls = []

    def noted(x: Any) -> Any:
        calls.append(1)
        return x

    def f(x: Any) -> Any:
        return 1.0 if 0 < noted(x) < 2 else 0.0

    assert cr.jit(f)(1.0) == 1.0
    assert len(calls) <= 2  # once as it is, once rewritten


def test_the_loop_of_a_branch_is_only_run_there() -> None:
    def f(x: Any) -> Any:
        if x > 0:
            while x < 100:
                x = 2 * x  # would not end for x ≤ 0
        return x

    agree(f, 3.0)
    agree(f, -1.0)
    assert cr.jit(lambda x: 1.0 if x > 0 and f(x) > 1 else 0.0)(-1.0) == 0.0


# --- functions, methods, closures -------------------------------------------------------------------------------


def clipped(x: Any, limit: float = 1.0) -> Any:
    if x > limit:
        return limit
    return x


class Model:
    """A model with a private parameter, and a counter that a loop counts up."""

    def __init__(self, scale: float) -> None:
        self.__scale = scale
        self.count = 0

    def inner(self, x: Any) -> Any:
        return x * self.__scale if x > 0 else -x

    def __call__(self, x: Any) -> Any:
        s = 0.0
        for k in range(20):
            s += self.inner(x - k)
        return s


class Child(Model):
    def inner(self, x: Any) -> Any:
        if x > 3:
            return super().inner(x) + 1
        return super().inner(x)


def test_helpers_methods_and_closures() -> None:
    def outer(x: Any) -> Any:
        shift = 0.5 * x

        def inner(y: Any) -> Any:
            while y > 1:
                y = y / 2 + 0.1 * shift
            return y

        return inner(3 * x) + functools.partial(clipped, limit=2.0)(x) + (lambda v: v if v > 0 else 0.0)(x)

    for x in (0.4, 2.6, -1.0):
        agree(outer, x)
        agree(lambda x: clipped(x) + clipped(x, limit=0.25), x)
        agree(Model(2.0), x)
        agree(Child(2.0).__call__, x)


def test_two_lambdas_on_a_line() -> None:
    f, g = (lambda x: x if x > 0 else 1.0), (lambda x: 2 * x if x > 0 else 2.0)
    assert [cr.jit(h)(x) for h in (f, g) for x in (3.0, -3.0)] == [3.0, 1.0, 6.0, 2.0]


def test_attributes_that_a_loop_changes() -> None:
    def f(x: Any) -> Any:
        box = Model(1.0)
        box.total = x  # type: ignore[attr-defined]
        while box.total < 10:  # type: ignore[attr-defined]
            box.total = box.total * 2  # type: ignore[attr-defined]
        return box.total  # type: ignore[attr-defined]

    agree(f, 0.7)


def test_pytrees_go_round() -> None:
    def f(x: Any) -> Any:
        state = {"a": x, "b": (0, 1.0)}
        while state["a"] < 50:
            state = {"a": state["a"] * 2, "b": (state["b"][0] + 1, state["b"][1] * x)}
        return state["a"] + state["b"][0] + state["b"][1]

    agree(f, 1.3)


def test_bodies_of_the_functional_forms() -> None:
    def f(x: Any) -> Any:
        def body(i: Any, s: Any) -> Any:
            if s > 5:
                return s - i
            return s + i

        return cr.fori_loop(0, 10, body, x)

    agree(f, 0.5)
    assert cr.vmap(piecewise)(np.array([-2.0, 0.5, 2.5])) == pytest.approx([piecewise(v) for v in (-2.0, 0.5, 2.5)])


# --- calls that do not dispatch -----------------------------------------------------------------------------------

CALLS: list[Callable[[Any], Any]] = [
    lambda x: np.array([x, 2 * x, 1.0]).sum(),
    lambda x: np.asarray([[x, 1], [2, x]])[0, 0],
    lambda x: np.full(3, x).sum() + np.linspace(0, x, 5).sum(),
    lambda x: math.sin(x) + math.atan2(x, 2) + math.log(x, 2) + math.pow(x, 3) + math.hypot(x, 1) + math.erf(x),
    lambda x: math.floor(x) + math.ceil(x) + math.trunc(x) + int(x) + round(x, 1) + math.lgamma(x) + math.gamma(x),
    lambda x: abs(cmath.exp(1j * x)) + cmath.phase(x + 1j) + abs(cmath.sqrt(-x)) + cmath.polar(x + 2j)[0],
    lambda x: float(x) + bool(x) + complex(x, 1).imag + divmod(x, 2)[1],
    lambda x: sum([x, 2 * x, 1]) + max(x, 1.0, 0.5 * x) + min([x, 2.0]) + abs(x) + math.fsum([x, 1.0]),
    lambda x: sum(np.array([x, x])) + max(np.array([x, 3.0])) + len(np.array([x, x])),
    lambda x: WEIGHTS[int(x)] + TABLE[int(x)] if x < 100 else 0.0,
    lambda x: scipy.special.logsumexp(np.array([x, 1.0])) + scipy.special.erf(x),
    lambda x: sum(map(clipped, [x, 2 * x])),
    lambda x: any([x > 1, x > 2]) + 2 * all([x > 1, x > 2]),
]


@pytest.mark.parametrize("x", [0.3, 1.7])
@pytest.mark.parametrize("f", CALLS)
def test_calls_that_do_not_dispatch(f: Callable[[Any], Any], x: float) -> None:
    agree(f, np.float64(x))


# --- what is known stays Python -----------------------------------------------------------------------------------


def test_known_control_flow_has_its_effects_in_order() -> None:
    notes: list[Any] = []

    def f(x: Any, mode: str = "fast") -> Any:
        for name in ("a", "b", "c"):
            if name == "b":
                continue
            notes.append(name)
        k = 0
        while k < 3:
            notes.append(k)
            k += 1
        if mode == "fast" and notes != []:
            notes.append("fast")
        for i in range(20):
            notes.append(i) if i > 17 else None
            x = x + i
        return x

    assert cr.jit(f)(1.0) == 1.0 + sum(range(20))
    assert notes == ["a", "c", 0, 1, 2, "fast", 18, 19]


def test_known_sizes_stay_known() -> None:
    def f(x: Any) -> Any:
        n = 1
        while n < 4:
            n = 2 * n
        shape = [n, 2] if n > 3 else [1]
        return np.ones(shape) * x

    assert cr.jit(f)(2.0).shape == (4, 2)


def test_numbers_that_a_long_loop_counts_may_be_needed() -> None:
    def f(x: Any) -> Any:
        n = 0
        for _ in range(20):
            n += 1
            x = x + 1
        return x * np.ones(n)

    agree(f, 0.5)
    assert ops(cr.trace(f, cr.spec())) == []


def test_long_known_loops_are_run_as_they_are() -> None:
    def f(x: Any) -> Any:
        k = 0
        while k < 30_000:
            k += 1
        return x * k + sum([i % 7 for i in range(20_000)])

    agree(f, 0.5)


def test_lists_fill_in_known_loops() -> None:
    def f(x: Any) -> Any:
        terms = []
        for k in range(25):
            terms.append(x**k)
        return np.sum(np.array(terms))

    agree(f, 0.5)


def test_importing_does_not_import_malt() -> None:
    code = "import sys, chainrule; assert not [m for m in sys.modules if m.split('.')[0] == 'malt']"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- errors -------------------------------------------------------------------------------------------------------


def undefined_branch(x: Any) -> Any:
    if x > 0:
        y = x
    return y


def undefined_loop(x: Any, n: Any) -> Any:
    for i in range(n):
        y = i * x
    return y


def other_structure(x: Any) -> Any:
    if x > 0:
        return x, x
    return x


def no_return(x: Any) -> Any:
    if x > 0:
        return x


def other_shape(x: Any) -> Any:
    y = x
    while y.sum() < 5:
        y = np.concatenate([y, y])
    return y


def raising(x: Any) -> Any:
    if x < 0:
        raise ValueError("negative")
    return x


def appending(x: Any) -> Any:
    seen = []
    while x < 5:
        seen.append(x)
        x = x + 1
    return x


def elementwise(x: Any) -> Any:
    if x > 0:
        return x
    return -x


def counting(x: Any, n: Any) -> Any:
    count = 0

    def step() -> None:
        nonlocal count
        count += 1

    for _ in range(n):
        step()
    return count * x


class Counter:
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def step(self, x: Any) -> Any:
        self.calls += 1
        return x + 1


def counting_calls(x: Any, n: Any) -> Any:
    counter = Counter()
    for _ in range(n):
        x = counter.step(x)
    return x * counter.calls


def part_of_a_text(x: Any) -> Any:
    text = "positive" if x > 0 else "negative"
    return text


ERRORS: list[tuple[Callable[..., Any], tuple[Any, ...], type[Exception], str]] = [
    (undefined_branch, (1.0,), UnboundLocalError, r"variable y gets a value only where .* \S+:\d+ is True"),
    (undefined_loop, (1.0, 3), UnboundLocalError, "variable y gets a value only in the loop"),
    (other_structure, (1.0,), TypeError, "the result differs in structure"),
    (no_return, (1.0,), TypeError, "without a `return`"),
    (other_shape, (np.ones(2),), TypeError, r"y has shape \[2\] when the loop begins and \[4\] after"),
    (raising, (1.0,), TypeError, "a compiled function cannot raise"),
    (appending, (1.0,), TypeError, r"list\.append in a branch or loop"),
    (counting, (1.0, 3), TypeError, "step changes count, which is outside of it"),
    (counting_calls, (1.0, 3), TypeError, "step changes calls, which is outside of it"),
    (part_of_a_text, (1.0,), UnboundLocalError, "conditional expression is 'positive' and 'negative'"),
    (elementwise, (np.ones(2),), TypeError, "one truth value, not an array"),
    (unseen(newton), (2.0,), TypeError, "its source is not available"),
]


@pytest.mark.parametrize(("f", "args", "kind", "words"), ERRORS, ids=lambda v: getattr(v, "__name__", ""))
def test_errors_name_the_line(f: Callable[..., Any], args: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        cr.jit(f)(*args)
    plain = getattr(f, "__wrapped__", f)
    first = plain.__code__.co_firstlineno
    lines = [line for *_, line in plain.__code__.co_lines() if line]
    assert any(f"test_syntax.py:{n}" in str(caught.value) for n in range(first, max(lines) + 1))


def test_long_loops_that_cannot_be_rolled() -> None:
    def f(x: Any) -> Any:
        terms = []
        for _ in range(100_000):
            terms.append(x)
        return terms[0]

    with pytest.raises(TypeError, match=r"100000 iterations.*changes a list"):
        cr.jit(f)(1.0)


def test_provenance_is_the_users() -> None:
    graph = cr.trace(newton, cr.spec())
    (loop,) = (n for n in graph.nodes if isinstance(n.op, Loop))
    body = loop.op.body
    where = body.provenance[body.outputs[0]]
    first = newton.__code__.co_firstlineno
    assert (where.line, where.name, where.function) == (first + 3, "x", "newton")
    assert where.source == "x = (x + a / x) / 2"
