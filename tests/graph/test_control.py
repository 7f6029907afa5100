"""cond, switch, scan, fori_loop, while_loop and map: traced against plain Python, and as graphs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chainrule.graph.control import cond, fori_loop, map, scan, switch, while_loop
from chainrule.graph.op import Cond, Loop
from chainrule.graph.trace import spec, trace
from chainrule.numpy import take
from tests.graph.traced import ARRAYS, agree

DATA = np.arange(40.0) ** 2  # large enough to be a hidden input
SMALL = np.array([1.0, 2.0, 3.0])


def branches(x: Any) -> Any:
    return cond(x > 1, lambda y: np.sin(y) * x, lambda y: 0.0, 2 * x)


def branch_of_tuples(x: Any) -> Any:
    return cond(x > 1, lambda y: {"a": (y, 1.0), "b": None}, lambda y: {"a": (0.0, y), "b": None}, 2 * x)


def nested_branches(x: Any) -> Any:
    def inner(y: Any) -> Any:
        return cond(y > 3, lambda: x * y, lambda: x - y)

    return cond(x > 0, inner, lambda y: cond(y < -4, lambda: y, lambda: SMALL.sum() + y), 2 * x)


def chosen(x: Any) -> Any:
    index = np.floor(x).astype(int)
    return switch(index, [np.sin, np.cos, lambda y: y**2], x)


@pytest.mark.parametrize("x", [-3.0, -0.5, 0.2, 1.5, 7.0])
@pytest.mark.parametrize("f", [branches, branch_of_tuples, nested_branches, chosen])
def test_branches(f: Callable[[Any], Any], x: float) -> None:
    agree(f, np.float64(x))


def newton(a: Any) -> Any:
    return while_loop(lambda x: abs(x * x - a) > 1e-12, lambda x: (x + a / x) / 2, a)


def collatz(n: Any) -> Any:
    def step(state: Any) -> Any:
        n, steps = state
        return cond(n % 2 == 0, lambda: n // 2, lambda: 3 * n + 1), steps + 1

    return while_loop(lambda state: state[0] != 1, step, (n, 0))


def series(x: Any, n: Any) -> Any:
    return fori_loop(1, n, lambda i, s: s + np.sin(i * x) / i, 0.0)


def known_bounds(x: Any) -> Any:
    return fori_loop(-2, 5, lambda i, s: s * x + i, 0.0), fori_loop(3, 1, lambda i, s: s * x, x)


def weak_starts(x: Any) -> Any:
    return fori_loop(0, 3, lambda i, s: (s[0] + x, s[1] * 2, s[2] + i), (0.0, 1, 0))


def captured_at_depth(x: Any, k: Any) -> Any:
    def body(i: Any, s: Any) -> Any:
        return cond(s > k, lambda: s - take(DATA, i) * x, lambda: s + k * take(DATA, i + 1) * SMALL[1])

    return fori_loop(0, 3, body, 0.0)


def bubble_sort(v: Any) -> Any:
    def outer(i: Any, v: Any) -> Any:
        def inner(j: Any, v: Any) -> Any:
            a, b = v[j], v[j + 1]
            a, b = np.minimum(a, b), np.maximum(a, b)
            v[j] = a
            v[j + 1] = b
            return v

        return fori_loop(0, 5 - i, inner, v)

    return fori_loop(0, 5, outer, v)


LOOPS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (newton, (2.0,)),
    (newton, (1.0,)),
    (collatz, (np.int64(27),)),
    (series, (0.3, np.int64(7))),
    (series, (0.3, np.int64(1))),
    (series, (0.3, np.int64(-4))),
    (known_bounds, (0.5,)),
    (captured_at_depth, (0.3, 1.5)),
    (bubble_sort, (ARRAYS["v"],)),
    (lambda v: scan(lambda s, x: (s + x, s * x), 0.0, v), (ARRAYS["v"],)),
    (lambda v: scan(lambda s, x: (s + x, s * x), 0.0, v, reverse=True), (ARRAYS["v"],)),
    (lambda v, k: scan(lambda s, x: (s * k + x.sum(), s * x), 1.0, v.reshape(3, 2)), (ARRAYS["v"], 3.0)),
    (lambda v: scan(lambda s, x: (s + x["a"] * x["b"], None), 0.0, {"a": v, "b": 2 * v})[0], (ARRAYS["v"],)),
    (lambda a: scan(lambda s, _: (s * a, s), 1.0, None, length=4), (0.7,)),
    (lambda x: scan(lambda h, r: (np.tanh(x[:, :4] @ h + r[:4]), h[0]), np.zeros(4), x), (ARRAYS["x"],)),
    (lambda v: map(lambda r: (r.sum(), r * v[0]), v.reshape(2, 3)), (ARRAYS["v"],)),
    (lambda x: map(lambda r: map(lambda e: e * r[0], r), x), (ARRAYS["x"],)),
    (lambda v: map(lambda e: while_loop(lambda s: s < 10, lambda s: s * 2 + 1, abs(e)), v), (ARRAYS["v"],)),
]


@pytest.mark.parametrize(("f", "args"), LOOPS)
def test_loops(f: Callable[..., Any], args: tuple[Any, ...]) -> None:
    agree(f, *args)


def test_a_number_that_starts_a_loop_takes_the_type_of_the_body() -> None:
    graph = trace(weak_starts, 0.5)
    assert [o.dtype.name for o in graph.outputs] == ["float64", "int64", "int64"]
    graph = trace(lambda x: fori_loop(0, 3, lambda i, s: s + x, 0), 0.5)
    assert graph.outputs[0].dtype == np.float64
    graph = trace(lambda x: fori_loop(0, 3, lambda i, s: (s[0] + s[1], s[1] + x), (0, 0)), 0.5)
    assert [o.dtype.name for o in graph.outputs] == ["float64", "float64"]
    graph = trace(lambda x: while_loop(lambda s: s < 5, lambda s: s * x, np.float32(1)), np.float32(2))
    assert graph.outputs[0].dtype == np.float32


def test_branches_are_converted_to_their_common_type() -> None:
    graph = trace(lambda x: (cond(x > 0, lambda: 1, lambda: x), cond(x > 0, lambda: x, lambda: 0)), np.float32(2))
    assert [o.dtype.name for o in graph.outputs] == ["float32", "float32"]


def loops(graph: Any) -> list[Loop]:
    return [n.op for n in graph if isinstance(n.op, Loop)]


def test_bodies_are_closed_and_equal_ones_are_one() -> None:
    graph = trace(lambda x, y: (series(x, 5), fori_loop(1, 5, lambda j, t: t + np.sin(j * x) / j, 0.0), y), 0.1, 0.2)
    (first,) = loops(graph)
    assert first.body.inputs == (
        graph.inputs[0].__class__((), np.dtype(int)),
        graph.inputs[0],
        graph.inputs[0],
    )
    assert first.length == 4
    assert graph.outputs[0] is graph.outputs[1]


def test_invariants_of_a_loop_are_computed_outside() -> None:
    graph = trace(lambda x: fori_loop(0, 9, lambda i, s: s + np.exp(x) * i, 0.0), 0.1)
    (loop,) = loops(graph)
    assert "exp" not in str(loop.body)
    assert "exp" in str(graph)


def test_a_branch_computes_its_own_only() -> None:
    graph = trace(lambda x: cond(x > 0, lambda: np.log(x), lambda: 0.0), 0.1)
    assert "log" not in str(graph)
    (op,) = [n.op for n in graph if isinstance(n.op, Cond)]
    assert "log" in str(op.branches[1])

    def loop_in_branch(x: Any) -> Any:
        return cond(x > 0, lambda: fori_loop(0, 3, lambda i, s: s + np.log(x), 0.0), lambda: 0.0)

    agree(loop_in_branch, 0.5)
    agree(loop_in_branch, -0.5)
    assert "log" not in str(trace(loop_in_branch, 0.1))


def test_a_known_condition_takes_one_branch() -> None:
    graph = trace(lambda x: cond(True, lambda y: y + 1, lambda y: 1 / 0, x), 0.1)
    assert not [n for n in graph if isinstance(n.op, Cond)]
    assert not [n for n in trace(lambda x: switch(5, [np.sin, np.cos], x), 0.1) if isinstance(n.op, Cond)]


def test_symbolic_lengths() -> None:
    graph = trace(lambda v: scan(lambda s, x: (s + x, s), 0.0, v), spec("n"))
    assert str(graph.outputs[1].type) == "float64[n]"
    graph = trace(lambda v: fori_loop(0, v.shape[0], lambda i, s: s + v[i], 0.0), spec("n"))
    (loop,) = loops(graph)
    assert str(loop.length) == "n"
    assert "where" not in str(loop.body)  # a counter is never negative, so nothing counts from the end


def test_no_growth_with_the_number_of_steps() -> None:
    def program(count: int) -> Callable[[Any], Any]:
        return lambda x: fori_loop(0, count, lambda i, s: np.sin(s) + i, x)

    assert len(trace(program(10), 0.1)) == len(trace(program(10**9), 0.1))


def test_outside_a_trace_it_is_plain_python() -> None:
    assert cond(True, lambda x: x + 1, lambda x: x, 1) == 2
    assert switch(-4, [lambda: "a", lambda: "b"]) == "a"
    assert switch(9, [lambda: "a", lambda: "b"]) == "b"
    assert fori_loop(0, 4, lambda i, s: [*s, i], []) == [0, 1, 2, 3]
    assert while_loop(lambda s: s < 100, lambda s: 2 * s, 1) == 128
    last, rows = scan(lambda s, x: (s + x, {"s": s}), 0.0, np.arange(3.0))
    assert last == 3.0
    np.testing.assert_array_equal(rows["s"], [0.0, 0.0, 1.0])
    start = np.zeros(2)

    def change(i: int, y: Any) -> Any:
        y[i] = i + 1
        return y

    np.testing.assert_array_equal(fori_loop(0, 2, change, start), [1.0, 2.0])
    np.testing.assert_array_equal(start, [0.0, 0.0])


@pytest.mark.parametrize(
    ("f", "part"),
    [
        (lambda x: cond(x > 0, lambda: 1.0, lambda: (1.0, 2.0)), "different structures"),
        (lambda x: cond(x > 0, lambda: np.ones(3) * x, lambda: x), "true_fun: float64[3]"),
        (lambda x: cond(x > 0, lambda: True, lambda: 1.0), "different types"),
        (lambda x: cond(np.ones(3) * x > 0, lambda: 1.0, lambda: 2.0), "np.where chooses elementwise"),
        (lambda x: switch(x, [np.sin, np.cos], x), "one integer"),
        (lambda x: fori_loop(0, 3, lambda i, s: s * 1.5, np.int64(1)), "begin with .astype(float64)"),
        (lambda x: fori_loop(0, 3, lambda i, s: s > 0, 1.0), "float64 when the loop begins"),
        (lambda x: fori_loop(0, 3, lambda i, s: np.ones(2) * s, x), "shape of a carry cannot change"),
        (lambda x: fori_loop(0, 3, lambda i, s: {"a": s["a"]}, {"a": x, "b": x}), "missing ['b']"),
        (lambda x: fori_loop(0, x, lambda i, s: s, x), "a loop bound is one integer"),
        (lambda x: while_loop(lambda s: s < 3, lambda s: (s,), x), "another structure"),
        (lambda x: while_loop(lambda s: np.ones(3) < s, lambda s: s, x), "one truth value"),
        (lambda x: scan(lambda s, y: s, x, np.ones(3)), "returns a pair"),
        (lambda x: scan(lambda s, y: (s, y), x, (np.ones(3), np.ones(4))), "length 4 where 3 is expected"),
        (lambda x: scan(lambda s, y: (s, y), x), "needs length="),
        (lambda x: map(lambda y: y, x), "no axis to go along"),
    ],
)
def test_errors_name_the_line(f: Callable[[Any], Any], part: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        trace(f, 1.0)
    assert part in str(caught.value)
    assert "test_control.py:" in str(caught.value)


def test_arrays_of_the_enclosing_function_are_not_written_in_a_body() -> None:
    def f(v: Any) -> Any:
        y = v.copy()

        def body(i: Any, s: Any) -> Any:
            y[0] = s
            return s

        return fori_loop(0, 3, body, 0.0), y

    with pytest.raises(ValueError, match="enclosing function"):
        trace(f, spec(3))


def test_a_value_of_a_body_does_not_leave_it() -> None:
    def f(x: Any) -> Any:
        kept = []

        def body(i: Any, s: Any) -> Any:
            kept.append(s)
            return s * 2

        return fori_loop(0, 3, body, x) + kept[0]

    with pytest.raises(RuntimeError, match="left its function"):
        trace(f, 1.0)
