"""Tracing: arguments, constants, hidden inputs, captures, provenance, scopes, threads."""

import functools
import threading
import time
from typing import Any

import numpy as np
import pytest

from chainrule.graph import tree
from chainrule.graph.array import Array
from chainrule.graph.evaluate import evaluate
from chainrule.graph.op import Const, Input, Type
from chainrule.graph.scope import current, reachable_arrays
from chainrule.graph.trace import Traced, spec, trace, trace_flat

F = Type((), np.dtype(float))
V = Type((3,), np.dtype(float))
GLOBAL = np.array([1.0, 2.0, 3.0])
DEFAULT = np.array([7.0])


def flat(function: Any, *types: Type, **kwargs: Any) -> Traced:
    return trace_flat(function, types, **kwargs)


def constants(graph: Any) -> list[Any]:
    return [n.op.value.tolist() for n in graph if isinstance(n.op, Const)]


# --- arguments and results ----------------------------------------------------------------------------------


def test_results_are_any_pytree() -> None:
    traced = flat(lambda x: {"b": (x, 1.0), "a": [np.arange(2), None]}, F)
    assert tree.unflatten(traced.tree, range(3)) == {"a": [0, None], "b": (1, 2)}
    found = evaluate(traced.graph, [5.0])
    assert [f.tolist() for f in found] == [[0, 1], 5.0, 1.0]
    assert [f.dtype.name for f in found] == ["int64", "float64", "float64"]
    with pytest.raises(TypeError, match="returns arrays, numbers and containers"):
        flat(lambda x: "text", F)


def test_trace_of_pytrees_and_concrete_arguments() -> None:
    graph = trace(lambda p, x, *, scale: p["a"] * x + p["b"][0] * scale, {"a": spec(), "b": (2.0,)}, GLOBAL, scale=3)
    assert [str(t) for t in graph.inputs] == ["float64", "float64", "float64[3]", "int64"]
    assert graph.names == ("p['a']", "p['b'][0]", "x", "scale")
    with pytest.raises(TypeError, match=r"argument p\['a'\] is a str"):
        trace(lambda p: p, {"a": "text"})
    with pytest.raises(TypeError, match="object"):
        trace(lambda p: p, np.array([None]))


def test_specs() -> None:
    assert [repr(s) for s in (spec(), spec(10), spec("n", 3), spec(2, dtype="int32"))] == [
        "spec(float64)", "spec(float64[10])", "spec(float64[n, 3])", "spec(int32[2])",
    ]  # fmt: skip
    for wrong in (-1, 2.5, "two words"):
        with pytest.raises((TypeError, ValueError)):
            spec(wrong)
    with pytest.raises(TypeError):
        spec(dtype="float16")


def test_writable_arguments_on_request() -> None:
    def f(x: Any) -> Any:
        x[0] = 5.0
        return x

    traced = flat(f, V, read_only=False)
    np.testing.assert_array_equal(evaluate(traced.graph, [GLOBAL])[0], [5.0, 2.0, 3.0])


# --- numbers and arrays of the program ----------------------------------------------------------------------


def test_numbers_are_weak_and_numpy_scalars_strong() -> None:
    single = Type((), np.dtype(np.float32))
    for value, wanted in [
        (2.0, "float32"),
        (2, "float32"),
        (True, "float32"),
        (np.float64(2), "float64"),
        (np.float32(2), "float32"),
        (2j, "complex64"),
        (np.array(2.0), "float64"),
        (np.int64(2), "float64"),
    ]:
        graph = flat(lambda x, value=value: x * value, single).graph
        assert graph.outputs[0].dtype.name == wanted, value


def test_signed_zeros_and_nan_stay() -> None:
    graph = flat(lambda x: (x * -0.0, x * 0.0, x * float("nan"), x * 0.0, x + True, x + 1), F).graph
    assert len({id(o) for o in graph.outputs}) == 4  # the zeros differ, equal programs are one node
    (negative,) = [n for n in graph.outputs[0].args if isinstance(n.op, Const)]
    assert np.signbit(negative.op.value)


def test_small_local_arrays_are_constants() -> None:
    traced = flat(lambda x: x * np.array([1.0, 2.0]) + np.float64(3), F)
    assert traced.captures == ()
    assert [1.0, 2.0] in constants(traced.graph)


def test_large_arrays_are_hidden_inputs() -> None:
    traced = flat(lambda x: x * np.arange(33.0), F)
    (hidden,) = traced.captures
    np.testing.assert_array_equal(hidden, np.arange(33.0))
    assert traced.graph.inputs == (F, Type((33,), np.dtype(float)))
    assert constants(traced.graph) == []


def test_arrays_from_outside_are_hidden_inputs_one_each() -> None:
    local = np.array([4.0, 5.0, 6.0])

    def helper(x: Any, data: Any = DEFAULT) -> Any:
        return x * data + x * local + x * GLOBAL + x * local

    traced = flat(lambda x: helper(x) + helper(2 * x), F)
    assert sorted(c.tolist() for c in traced.captures) == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0]]
    np.testing.assert_array_equal(evaluate(traced.graph, [2.0, *traced.captures])[0], helper(2.0) + helper(4.0))


class Model:
    def __init__(self) -> None:
        self.weights = np.array([1.0, 2.0])

    def __call__(self, x: Any) -> Any:
        return x * self.weights

    def method(self, x: Any) -> Any:
        return x + self.weights


def test_where_arrays_are_looked_for() -> None:
    kept = {"list": [np.zeros(1)], "dict": {"a": np.ones(1)}, "model": Model()}
    rows = kept["list"]
    table = kept["dict"]
    model = kept["model"]
    for function, wanted in [
        (lambda x: x * rows[0], kept["list"][0]),
        (lambda x: x * table["a"], kept["dict"]["a"]),
        (lambda x: model(x), model.weights),
        (model, model.weights),
        (model.method, model.weights),
        (functools.partial(lambda w, x: x * w, GLOBAL), GLOBAL),
        (lambda x, *, w=GLOBAL: x * w, GLOBAL),
        (lambda x: (lambda y: y * GLOBAL)(x), GLOBAL),
    ]:
        assert any(a is wanted for a in reachable_arrays(function))
        captures = flat(lambda x, function=function: function(x), F).captures
        assert [c.tolist() for c in captures] == [wanted.tolist()]


def test_hidden_inputs_are_snapshots() -> None:
    data = np.arange(40.0)
    traced = flat(lambda x: x * data, F)
    data[:] = 0
    (hidden,) = traced.captures
    np.testing.assert_array_equal(hidden, np.arange(40.0))
    with pytest.raises(ValueError, match="read-only"):
        hidden[0] = 1.0


def test_an_array_that_changes_while_tracing_is_taken_as_it_is_each_time() -> None:
    def f(x: Any) -> Any:
        buffer = np.zeros(40)
        first = x + buffer
        same = x - buffer
        buffer[0] = 1.0
        return first, same, x + buffer

    traced = flat(f, F)
    assert len(traced.captures) == 2
    first, _, third = evaluate(traced.graph, [0.0, *traced.captures])
    assert (first[0], third[0]) == (0.0, 1.0)


def test_other_element_types_are_converted() -> None:
    small = np.array([1, 2], dtype=np.uint8)
    big_endian = np.arange(40, dtype=">f8")
    traced = flat(lambda x: (x * small, x * big_endian), F)
    assert [c.dtype.name for c in traced.captures] == ["int64", "float64"]
    assert all(c.dtype.isnative and c.flags.c_contiguous for c in traced.captures)


def test_equal_programs_are_one_graph() -> None:
    def make(data: Any) -> Any:
        return lambda x: np.sum(x * data)

    a, b = (flat(make(d), V) for d in (np.ones(3), np.zeros(3)))
    assert a.graph == b.graph
    assert a.captures[0].tolist() != b.captures[0].tolist()
    assert flat(lambda y: 2.0 * y + 1, V, names=["y"]).graph == flat(lambda x: 2.0 * x + 1, V).graph


# --- traces in traces ---------------------------------------------------------------------------------------


def test_inner_traces_capture_what_they_read() -> None:
    inner: list[Traced] = []

    def f(x: Any, y: Any) -> Any:
        z = x * y
        inner.append(flat(lambda t: t * z + np.exp(x) + 2.0, F))
        inner.append(flat(lambda t: t * z + np.exp(x) + 2.0, F, hoist=False))
        return z

    flat(f, F, F)
    hoisted, named = inner
    assert all(isinstance(c, Array) for c in hoisted.captures)
    assert [c.node.op.name for c in hoisted.captures] == ["mul", "exp"]
    assert "exp" not in str(hoisted.graph)
    assert [type(c.node.op).__name__ for c in named.captures] == ["Scalar", "Input"]
    assert "exp" in str(named.graph)
    for traced in inner:
        assert traced.graph.inputs == (F, F, F)
        assert all(n.op.level == 0 for n in traced.graph if isinstance(n.op, Input))


def test_concrete_arrays_in_an_inner_trace_belong_to_the_root() -> None:
    inner: list[Traced] = []

    def f(x: Any) -> Any:
        inner.append(flat(lambda t: t * GLOBAL, F))
        return x * GLOBAL

    outer = flat(f, F)
    (captured,) = inner[0].captures
    assert captured.node is outer.graph.arguments[1]
    assert len(outer.captures) == 1


def test_deep_captures_pass_through_the_traces_between() -> None:
    found: list[Traced] = []

    def f(x: Any) -> Any:
        def middle(t: Any) -> Any:
            found.append(flat(lambda s: s * x + t, F, hoist=False))
            return t

        found.append(flat(middle, F))
        return x

    flat(f, F)
    innermost, between = found
    assert innermost.graph.inputs == (F, F, F)
    assert between.captures == ()  # it was only read inside; nothing of the result needs it
    assert current() is None


def test_a_result_that_is_an_outer_value() -> None:
    inner: list[Traced] = []

    def f(x: Any) -> Any:
        inner.append(flat(lambda t: (x, t, 3.0), F))
        return x

    flat(f, F)
    (traced,) = inner
    assert traced.graph.outputs[0] is traced.graph.arguments[1]
    assert evaluate(traced.graph, [1.0, 2.0]) == [2.0, 1.0, 3.0]


def test_errors_leave_no_trace_behind() -> None:
    with pytest.raises(ZeroDivisionError):
        flat(lambda x: 1 / 0, F)
    assert current() is None


def test_threads_trace_independently() -> None:
    barrier = threading.Barrier(4)
    graphs: list[Any] = [None] * 4

    def work(k: int) -> None:
        def f(x: Any) -> Any:
            for i in range(50):
                if i == 25:
                    barrier.wait(10)
                x = np.sin(x) * (k + i)
            return x

        graphs[k] = flat(f, F).graph

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(graphs)) == 4
    for k, graph in enumerate(graphs):
        x = 0.3
        for i in range(50):
            x = np.sin(x) * (k + i)
        assert evaluate(graph, [0.3])[0] == pytest.approx(x, rel=1e-14)


def test_a_value_of_another_thread_is_refused() -> None:
    problems: list[Exception] = []

    def f(x: Any) -> Any:
        def use() -> None:
            try:
                x + 1
            except RuntimeError as problem:
                problems.append(problem)

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        return x

    flat(f, F)
    assert "another thread" in str(problems[0])


# --- where nodes come from ----------------------------------------------------------------------------------


def test_provenance_has_lines_and_local_names() -> None:
    def f(x: Any, y: Any) -> Any:
        z = (x - y) / 2
        total = np.sum(z)
        return total

    graph = flat(f, V, F, names=["x", "y"]).graph
    places = {place.name: place for node, place in graph.provenance.items() if node in graph.nodes}
    start = f.__code__.co_firstlineno
    assert places["z"].line == start + 1
    assert places["total"].line == start + 2
    assert "input x" in str(graph)
    assert f"test_trace.py:{start + 1}" in str(graph)


def test_provenance_of_inner_graphs() -> None:
    inner: list[Traced] = []

    def f(x: Any) -> Any:
        def body(t: Any) -> Any:
            w = t * x
            return w

        inner.append(flat(body, F))
        return x

    flat(f, F)
    (traced,) = inner
    assert traced.graph.provenance[traced.graph.outputs[0]].name == "w"


# --- cost ---------------------------------------------------------------------------------------------------


def test_the_cost_of_tracing_grows_linearly() -> None:
    def program(count: int) -> Any:
        def f(x: Any) -> Any:
            total = x
            for _ in range(count):
                total = total * x + 0.5
            return total

        return f

    def seconds(count: int) -> float:
        start = time.process_time()
        flat(program(count), F)
        return time.process_time() - start

    # sixteen times the work: a quadratic algorithm would take 256 times as long
    assert min(seconds(16_000) for _ in range(2)) < 100 * min(seconds(1_000) for _ in range(5))
