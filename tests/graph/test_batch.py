"""vmap of every op family, with any of its arguments mapped, against a Python loop over the lanes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest

from chainrule.graph.batch import batch, fully
from chainrule.graph.dim import size
from chainrule.graph.dtype import COMPLEX128, FLOAT64, INT64
from chainrule.graph.evaluate import evaluate
from chainrule.graph.express import NODES as m
from chainrule.graph.express import broadcast, cast, reduce, reshape
from chainrule.graph.node import Graph, Node, constant, make, results
from chainrule.graph.op import (
    Cast,
    Concatenate,
    Contract,
    Cumulative,
    Gather,
    Input,
    Insert,
    Iota,
    Linalg,
    Loop,
    Pad,
    Reduce,
    Reverse,
    Scatter,
    Slice,
    Sort,
    Stop,
    Transpose,
    Type,
)
from tests.check import program, pulled, pushed
from tests.graph.test_structured import branch, count, until

LANES = 3


def mapped(graph: Graph, flags: Sequence[bool], lanes: Any = LANES) -> Graph:
    """The graph over axis 0 of the arguments with a flag."""
    kinds = [Type((lanes, *k.shape), k.dtype) if flag else k for k, flag in zip(graph.inputs, flags, strict=True)]
    fresh = [make(Input(0, i, k)) if flag else None for i, (k, flag) in enumerate(zip(kinds, flags, strict=True))]
    found = batch(graph.outputs, graph.arguments, fresh, lanes)
    return Graph(kinds, [fully(lane, lanes) for lane in found])


def check_batch(
    build: Graph | Callable[..., Any], args: Sequence[Any], vary: Sequence[Callable[..., Any]] = ()
) -> None:
    """Every choice of mapped arguments; lane k has the arguments varied by k."""
    graph = build if isinstance(build, Graph) else program(build, *args)
    lanes = [[_varied(a, k) for a in args] for k in range(LANES)]
    for flags in product([False, True], repeat=len(args)):
        if not any(flags):
            continue
        given = [np.stack([lane[i] for lane in lanes]) if flag else lanes[0][i] for i, flag in enumerate(flags)]
        found = evaluate(mapped(graph, flags), given)
        for k in range(LANES):
            single = [lanes[k][i] if flag else lanes[0][i] for i, flag in enumerate(flags)]
            for one, many in zip(evaluate(graph, single), found, strict=True):
                np.testing.assert_allclose(many[k], one, rtol=1e-13, atol=1e-15, err_msg=f"{flags}, lane {k}")
                assert many[k].dtype == one.dtype


def _varied(value: Any, k: int) -> Any:
    array = np.asarray(value)
    if array.dtype == bool:
        return np.roll(array, k) if array.shape else np.asarray(bool(array) ^ bool(k % 2))
    if array.dtype.kind == "i":
        return array + k
    return array * (1 + 0.5 * k) + 0.25 * k


X = np.array([[0.5, -1.25, 2.0], [0.75, 3.0, -0.5]])
V = np.array([1.5, -0.25, 1.0])
S = np.float64(0.75)
Z = X + 1j * X[::-1]

KINDS: Any = ("sum", "prod", "min", "max")
BOTH = (False, True)
NONE = np.array([0, 0])
TWICE = np.array([0, 1, 1])

FAMILIES: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "elementwise": (lambda x, y: m.sin(x) * y + 2, [X, X + 1]),
    "elementwise with a number": (lambda x, s: x * s - s, [X, S]),
    "numbers": (lambda s, t: m.exp(s) / t, [S, S + 1]),
    "where": (lambda c, x, s: m.where(c, x, s), [X > 0, X, S]),
    "where of a number": (lambda c, x, y: m.where(c, x, y), [np.bool_(True), X, X * 2]),
    "comparison": (lambda x, s: m.gt(x, s), [X, S]),
    "complex": (lambda z: (m.real(z), m.conj(z), m.abs(z)), [Z]),
    "cast": (lambda x: (make(Cast(INT64), (x,)), make(Cast(COMPLEX128), (x,)), make(Stop(), (x,))), [X]),
    **{f"reduce {k}": (lambda x, k=k: [reduce(k, x, a) for a in ((0,), (1,), (0, 1))], [X]) for k in KINDS},
    "reduce any": (lambda x: [reduce("any", x, (0,)), reduce("all", x, (1,))], [X > 0]),
    "argmin": (lambda x: [make(Reduce("argmin", (0,)), (x,)), make(Reduce("argmax", (1,)), (x,))], [X]),
    **{
        f"cumulative {k}": (lambda x, k=k: [make(Cumulative(k, a, b), (x,)) for a in (0, 1) for b in BOTH], [X])
        for k in KINDS
    },
    "broadcast": (lambda x, s: [broadcast(x, (2, 4, 3), (0, 2)), broadcast(s, (2, 3), ())], [X, S]),
    "transpose": (lambda x: make(Transpose((1, 0)), (x,)), [X]),
    "reshape": (lambda x: [reshape(x, (3, 2)), reshape(x, (6,)), reshape(x, (1, 2, 3))], [X]),
    "slice": (lambda x: make(Slice((0, 0), (2, 2), (1, 2)), (x,)), [X]),
    "reverse": (lambda x: make(Reverse((1,)), (x,)), [X]),
    "pad": (lambda x: make(Pad((1, 0), (2, 1), (0, 2)), (x,)), [X]),
    "concatenate": (lambda x, y: [make(Concatenate(0), (x, y)), make(Concatenate(1), (y, x))], [X, X + 1]),
    "insert": (lambda x, y: make(Insert((0, 1), (1, 1)), (x, y)), [X, X[:, :1]]),
    "gather": (lambda x, i: [make(Gather((0,)), (x, i)), make(Gather((1,)), (x, i))], [X, np.array([[1, 0], [-1, 2]])]),
    "gather by a number": (lambda x, i: [make(Gather((0,)), (x, i)), make(Gather((1,)), (x, i))], [X, np.int64(0)]),
    "gather by two": (lambda x, i, j: make(Gather((0, 1)), (x, i, j)), [X, np.array([0, 1, 1]), np.array([2, 0, -3])]),
    "gather by two, swapped": (lambda x, i, j: make(Gather((1, 0)), (x, i, j)), [X, TWICE, TWICE % 2]),
    "scatter-add": (lambda x, v, i: make(Scatter((1,), "add"), (x, v, i)), [X, X[:, :2], NONE]),
    "scatter": (lambda x, v, i: make(Scatter((0,), "set"), (x, v, i)), [X, X * 2, NONE]),
    "scatter at a number": (lambda x, v, i: make(Scatter((0,), "set"), (x, v, i)), [X, V, np.int64(0)]),
    "matrix product": (lambda x, y: make(Contract((0, 1), (1, 2), (2, 0)), (x, y)), [X, X.T]),
    "contract one side": (lambda x, v: make(Contract((0, 1), (2,), (0,)), (x, v)), [X, V]),
    "contract to a number": (lambda v, w: make(Contract((0,), (0,), ()), (v, w)), [V, V + 1]),
    "contract with itself": (lambda x: make(Contract((0, 1), (2, 1), (0, 2)), (x, x)), [X]),
    "sort": (lambda x: [make(Sort(0), (x,)), make(Sort(1), (x,)), make(Sort(1, True), (x,))], [X]),
    "independent": (lambda x: [make(Iota(4)), constant(2.0), x * 1.5], [X]),
    "cholesky": (lambda a: make(Linalg("cholesky"), (a,)), [np.array([[4.0, 1.0], [1.0, 3.0]])]),
    "solve": (lambda a, b: make(Linalg("solve"), (a, b)), [np.array([[4.0, 1.0], [1.0, 3.0]]), X]),
    "solve for a vector": (lambda a, b: make(Linalg("solve"), (a, b)), [np.array([[4.0, 1.0], [1.0, 3.0]]), X[:, 0]]),
    "solve triangular": (
        lambda a, b: make(Linalg("solve_triangular"), (a, b)), [np.array([[4.0, 0.0], [1.0, 3.0]]), X[:, 0]]
    ),
    "determinants": (
        lambda a: [make(Linalg("det"), (a,)), *results(make(Linalg("slogdet"), (a,))), make(Linalg("inv"), (a,))],
        [np.array([[4.0, 1.0], [1.0, 3.0]])],
    ),
    "eigenvalues": (lambda a: results(make(Linalg("eigh"), (a,)))[0], [np.array([[4.0, 1.0], [1.0, 3.0]])]),
    "branch": (
        lambda i, x, s: branch(
            i, [x, s], lambda x, s: (x * s, s), lambda x, s: (x - s, s * s), lambda x, s: (x, constant(1.0))
        ),
        [np.int64(0), X, S],
    ),
    "loop": (
        lambda n, s, v, a: count(n, lambda i, h, s, a: m.sin(h * a) + reduce("sum", s, (0,)), [s], [], [v, a]),
        [np.int64(2), S, V, S],
    ),
    "scan": (lambda s, v, a: count(3, lambda i, h, x, a: (h * a + x, h * x), [s], [v], [a], length=3), [S, V, S]),
    "backward scan": (
        lambda s, v: count(3, lambda i, h, x: (h + x * cast(i, FLOAT64), h), [s], [v], length=3, reverse=True), [S, V]
    ),
    "map": (lambda v, a: count(3, lambda i, x, a: x * a, [], [v], [a], length=3, condition="map"), [V, S]),
    "while": (
        lambda a, b: until(lambda x, n, b: m.lt(x, 10.0), lambda x, n, b: (x * b + 0.5, n + 1), [a, constant(0)], [b]),
        [S + 0.5, S + 1],
    ),
    "loop in a branch in a loop": (
        lambda s, a: count(
            3,
            lambda i, h, a: branch(
                cast(m.gt(h, 1), INT64), [h, a],
                lambda h, a: h + a,
                lambda h, a: until(lambda x, a: m.gt(x, 1), lambda x, a: x / (1 + a * a), [h], [a])[0],
            )[0],
            [s], [], [a],
        ),
        [S, S],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_families(name: str) -> None:
    check_batch(*FAMILIES[name])


@pytest.mark.parametrize(
    "name",
    [
        "elementwise with a number",
        "where",
        "reduce prod",
        "gather",
        "scatter",
        "matrix product",
        "branch",
        "scan",
        "while",
        "sort",
    ],
)
def test_batches_of_batches(name: str) -> None:
    """Mapped twice, over different arguments: the inner program, mapped over one, as the program to be mapped."""
    build, args = FAMILIES[name]
    graph = program(build, *args)
    number = len(args)
    for inner in range(number):
        flags = [i == inner for i in range(number)]
        stacked = [
            np.stack([_varied(a, k) for k in range(LANES)]) if flag else a for a, flag in zip(args, flags, strict=True)
        ]
        check_batch(mapped(graph, flags), stacked)


def test_a_named_number_of_lanes() -> None:
    build, args = FAMILIES["matrix product"]
    graph = program(build, *args)
    many = mapped(graph, [True, False], size("n"))
    stacked = np.stack([args[0] * k for k in range(5)])
    found = evaluate(many, [stacked, args[1]])[0]
    np.testing.assert_allclose(found, np.einsum("kab,bc->kca", stacked, args[1]))


def test_branches_that_all_lanes_take_stay_branches() -> None:
    """Only a predicate that differs makes a loop over the lanes."""
    build, args = FAMILIES["branch"]
    graph = program(build, *args)
    assert any(type(n.op).__name__ == "Cond" for n in mapped(graph, [False, True, True]).nodes)
    assert any(type(n.op).__name__ == "Loop" for n in mapped(graph, [True, True, True]).nodes)


def test_loops_and_what_is_between_them_are_one_map() -> None:
    """So that what one leaves to the next is memory of a lane; what only some lanes do not depend on stays outside."""

    def build(a: Node, b: Node, v: Node) -> Any:
        x, steps = until(lambda x, n, b: m.lt(x, 10.0), lambda x, n, b: (x * b + 0.5, n + 1), [a, constant(0)], [b])
        between = m.sin(x) * reduce("sum", v * a, (0,))
        (y,) = count(steps, lambda i, y, c: y * 0.5 + c, [between], captured=[a])
        (alone,) = count(3, lambda i, y, c: y * c, [b], captured=[b])
        return y * alone + 1, m.exp(v)

    args = [np.float64(1.5), np.float64(1.25), V]
    check_batch(build, args)
    graph = program(build, *args)
    for flags, loops in (([True, True, True], 1), ([True, False, True], 2), ([False, True, False], 1)):
        found = [n.op for n in mapped(graph, flags).nodes if isinstance(n.op, Loop)]
        assert len(found) == loops and sum(op.condition == "map" for op in found) == 1


# --- of derivatives -----------------------------------------------------------------------------------------


def unit(n: int) -> Node:
    rows = broadcast(make(Iota(n)), (n, n), (0,))
    columns = broadcast(make(Iota(n)), (n, n), (1,))
    return m.where(m.eq(rows, columns), constant(1.0), constant(0.0))


def along_units(derived: Graph, n: int, flags: Sequence[bool]) -> Graph:
    """A derived graph, of which the last argument runs over the unit vectors."""
    many = mapped(derived, flags, n)
    return Graph(many.inputs[:-1], many.apply([*many.arguments[:-1], unit(n)]))


def test_jacobians_are_batches_of_tangents_or_of_cotangents() -> None:
    w = np.array([[1.0, 2.0, -1.0], [0.5, 0.25, 2.0]])
    graph = program(lambda x: m.tanh(make(Contract((0, 1), (1,), (0,)), (constant(w), x))) * x_first(x), V)
    columns = evaluate(along_units(pushed(graph), 3, [False, True]), [V])[0]
    rows = evaluate(along_units(pulled(graph), 2, [False, True]), [V])[0]
    np.testing.assert_allclose(columns.T, rows, rtol=1e-14)
    t = np.tanh(w @ V)
    wanted = (1 - t**2)[:, None] * w * V[0] + np.outer(t, [1, 0, 0])
    np.testing.assert_allclose(rows, wanted, rtol=1e-14)


def x_first(x: Node) -> Node:
    return make(Gather((0,)), (x, constant(0)))


def test_hessians_are_batches_of_tangents_of_gradients() -> None:
    graph = program(lambda x: reduce("prod", x, (0,)) + m.exp(reduce("sum", x * x, (0,))), V)
    gradient = pulled(graph)
    gradient = Graph(graph.inputs, gradient.apply([*graph.arguments, constant(1.0)]))
    found = evaluate(along_units(pushed(gradient), 3, [False, True]), [V])[0]
    e = np.exp(V @ V)
    wanted = 2 * e * np.eye(3) + 4 * e * np.outer(V, V)
    for i, j in product(range(3), repeat=2):
        if i != j:
            wanted[i, j] += V[3 - i - j]
    np.testing.assert_allclose(found, wanted, rtol=1e-13)


@pytest.mark.parametrize(
    "name", ["elementwise with a number", "where", "gather", "scatter", "matrix product", "sort", "cumulative prod"]
)
def test_batches_of_derivatives_are_derivatives_of_batches(name: str) -> None:
    build, args = FAMILIES[name]
    graph = program(lambda *x: _first(build(*x)), *args)
    check_batch(pulled(graph), [*args, np.ones(graph.outputs[0].shape)])
    check_batch(pushed(graph), [*args, *[np.ones(np.shape(a)) for a in args if np.asarray(a).dtype.kind == "f"]])
    flags = [True] * len(args)
    stacked = [np.stack([_varied(a, k) for k in range(LANES)]) for a in args]
    many = mapped(graph, flags)
    ones = np.ones((LANES, *graph.outputs[0].shape))
    for one, two in zip(
        evaluate(pulled(many), [*stacked, ones]),
        evaluate(mapped(pulled(graph), [*flags, True]), [*stacked, ones]),
        strict=True,
    ):
        np.testing.assert_allclose(one, two, rtol=1e-13)


def _first(results_: Any) -> Node:
    return results_[0] if isinstance(results_, (list, tuple)) else results_


@pytest.mark.parametrize("name", ["loop", "scan", "while", "branch", "loop in a branch in a loop"])
def test_tangents_of_loops_in_lanes(name: str) -> None:
    build, args = FAMILIES[name]
    graph = program(lambda *x: _first(build(*x)), *args)
    tangents = [np.ones(np.shape(a)) for a in args if np.asarray(a).dtype.kind == "f"]
    check_batch(pushed(graph), [*args, *tangents][:7])
    flags = [True] * len(args)
    stacked = [np.stack([_varied(a, k) for k in range(LANES)]) for a in args]
    ones = [np.ones((LANES, *t.shape)) for t in tangents]
    one = evaluate(pushed(mapped(graph, flags)), [*stacked, *ones])
    two = evaluate(mapped(pushed(graph), [*flags, *[True] * len(ones)]), [*stacked, *ones])
    np.testing.assert_allclose(one[0], two[0], rtol=1e-13)
