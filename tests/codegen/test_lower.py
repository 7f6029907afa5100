"""Graphs built by hand, lowered and run, against NumPy written out."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from chainrule.codegen.lower import Unsupported, lower
from chainrule.graph import express as ex
from chainrule.graph.dim import size
from chainrule.graph.dtype import BOOL, COMPLEX128, FLOAT32, FLOAT64, INT64
from chainrule.graph.express import NODES as m
from chainrule.graph.node import Graph, Node, constant, make, results
from chainrule.graph.op import (
    Concatenate,
    Cond,
    Contract,
    Cumulative,
    Gather,
    Input,
    Insert,
    Iota,
    Loop,
    Pad,
    Reduce,
    Reverse,
    Scatter,
    SizeOf,
    Sort,
    Type,
)
from tests.codegen.lowering import check, inputs, loops

n, k = size("n"), size("k")
RNG = np.random.default_rng(7)
X = RNG.normal(size=37)
A = RNG.normal(size=(13, 5))
B = RNG.normal(size=(5, 6))


def test_straight_line() -> None:
    x, y = inputs((), ())
    check([x, y], [m.sin(x) * y + x, m.exp(y) / x], [0.7, 1.3], [np.sin(0.7) * 1.3 + 0.7, np.exp(1.3) / 0.7])


@pytest.mark.parametrize("length", [2, 7, 8, 9, 64, 1001])
def test_sums_and_stores_share_one_loop(length: int) -> None:
    x, mu, sigma = inputs((n,), (), ())
    z = (x - mu) / sigma
    data = RNG.normal(size=length)
    truth = (data - 0.3) / 1.2
    outputs = [
        ex.reduce("sum", m.log(sigma) + constant(0.5) * (z * z), (0,)),
        ex.reduce("sum", z, (0,)),
        m.exp(z),
    ]
    expected = [np.sum(0.5 * truth**2 + np.log(1.2)), truth.sum(), np.exp(truth)]
    check([x, mu, sigma], outputs, [data, 0.3, 1.2], expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["sum", "prod", "min", "max", "argmin", "argmax"])
@pytest.mark.parametrize("axis", [0, 1])
def test_reduction_over_one_axis(kind: Any, axis: int) -> None:
    (a,) = inputs((n, k))
    check([a], [make(Reduce(kind, (axis,)), (a,))], [A], [getattr(np, kind)(A, axis)], rtol=1e-12)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("shape", [(n, k, 7), (3, n, k), (n, 3, k), (n, k, 2), (2, 3, 5)])
def test_reduction_over_some_axes(shape: Any, axes: tuple[int, ...]) -> None:
    numbers = {str(n): 6, str(k): 9}
    data = RNG.normal(size=tuple(numbers.get(str(d), d) for d in shape))
    (a,) = inputs(shape)
    both = [ex.reduce("sum", m.exp(a), axes), ex.reduce("max", a, axes)]
    check([a], both, [data], [np.exp(data).sum(axes), data.max(axes)], rtol=1e-12)


def test_min_and_max_keep_nan_and_first_index_wins() -> None:
    (x,) = inputs((n,))
    kinds: tuple[Any, ...] = ("min", "max", "argmin", "argmax")
    nodes = [make(Reduce(kind, (0,)), (x,)) for kind in kinds]
    for data in (
        [1.0, np.nan, -3.0, np.nan] * 5,
        [2.0, 5.0, 5.0, 2.0] * 5,
        [np.inf, -np.inf] * 9,
        [-np.inf] * 3,
    ):
        array = np.array(data)
        check([x], nodes, [array], [array.min(), array.max(), array.argmin(), array.argmax()])


def test_any_all_and_counts() -> None:
    (x,) = inputs((n,))
    positive = m.gt(x, 0.0)
    nodes = [
        make(Reduce("any", (0,)), (positive,)),
        make(Reduce("all", (0,)), (positive,)),
        ex.reduce("sum", ex.cast(positive, INT64), (0,)),
    ]
    check([x], nodes, [X], [(X > 0).any(), (X > 0).all(), (X > 0).sum()])


def test_empty_sums_and_arrays() -> None:
    (x,) = inputs((0,))
    check(
        [x],
        [ex.reduce("sum", x, (0,)), ex.reduce("prod", x, (0,)), m.exp(x)],
        [np.zeros(0)],
        [0.0, 1.0, np.zeros(0)],
    )
    (a,) = inputs((3, 0))
    check([a], [ex.reduce("sum", a, (1,))], [np.zeros((3, 0))], [np.zeros(3)])


def test_softmax_rows() -> None:
    (a,) = inputs((n, 5))
    shifted = m.exp(a - ex.broadcast(ex.reduce("max", a, (1,)), (n, 5), (0,)))
    result = shifted / ex.broadcast(ex.reduce("sum", shifted, (1,)), (n, 5), (0,))
    truth = np.exp(A - A.max(1, keepdims=True))
    check([a], [result], [A], [truth / truth.sum(1, keepdims=True)])


# --- views ------------------------------------------------------------------------------------------------


def test_views_of_two_axes() -> None:
    (a,) = inputs((n, 5))
    for node, truth in [
        (ex.transpose(a, (1, 0)), A.T),
        (ex.reshape(a, (5 * n,)), A.reshape(-1)),
        (ex.reshape(ex.transpose(a, (1, 0)), (n, 5)), A.T.reshape(13, 5)),
        (ex.slice_(a, (1, 2), (n - 2, 3), (1, 1)), A[1:12, 2:5]),
        (ex.slice_(a, (2, 0), (n - 2, 5), (1, 1)), A[2:]),
        (ex.slice_(a, (0, 1), (n, 2), (1, 2)), A[:, 1:4:2]),
        (make(Reverse((1,)), (a,)), A[:, ::-1]),
        (make(Reverse((0, 1)), (a,)), A[::-1, ::-1]),
        (make(Pad((1, 0), (2, 3), (0, 1)), (a,)), _padded(A)),
        (ex.broadcast(a, (n, 3, 5), (0, 2)), np.broadcast_to(A[:, None], (13, 3, 5))),
    ]:
        check([a], [node], [A], [truth])
        check(
            [a],
            [m.exp(node), ex.reduce("sum", node, tuple(range(len(node.shape))))],
            [A],
            [np.exp(truth), truth.sum()],
        )


def _padded(a: Any) -> Any:
    result = np.zeros((a.shape[0] + 3, 2 * a.shape[1] - 1 + 3))
    result[1:-2, 0 : 2 * a.shape[1] - 1 : 2] = a
    return result


def test_concatenation_stored_selected_and_of_scalars() -> None:
    x, y = inputs((n,), ())
    one = ex.broadcast(y, (1,), ())
    joined = make(Concatenate(0), (x, one, m.exp(x)))
    truth = np.concatenate([X, [0.5], np.exp(X)])
    check([x, y], [joined], [X, 0.5], [truth])
    check([x, y], [ex.reduce("sum", joined * joined, (0,))], [X, 0.5], [np.sum(truth**2)], rtol=1e-12)
    vector = make(Concatenate(0), (one, ex.broadcast(m.sin(y), (1,), ()), one))
    assert not [
        s for s in check([x, y], [vector], [X, 0.5], [[0.5, np.sin(0.5), 0.5]]).body if "For" in repr(s)
    ]
    (a,) = inputs((n, 5))
    columns = make(Concatenate(1), (a, a * a))
    check(
        [a],
        [columns, ex.reduce("sum", columns, (1,))],
        [A],
        [np.hstack([A, A * A]), np.hstack([A, A * A]).sum(1)],
    )


def test_slice_of_a_concatenation_reads_one_argument() -> None:
    x, y = inputs((4,), (5,))
    joined = make(Concatenate(0), (x, y))
    part = ex.slice_(joined, (5,), (3,), (1,))
    check([x, y], [part], [X[:4], X[4:9]], [X[5:8]])


def test_insert() -> None:
    x, y = inputs((n,), (3,))
    inserted = make(Insert((1,), (2,)), (x, y))
    truth = X.copy()
    truth[1:6:2] = X[:3]
    check([x, y], [inserted], [X, X[:3]], [truth])
    check([x, y], [ex.reduce("sum", inserted * x, (0,))], [X, X[:3]], [np.sum(truth * X)])


def test_differences_of_something_dear_compute_it_once() -> None:
    (x,) = inputs((n,))
    y = m.exp(m.sin(x))
    difference = ex.slice_(y, (1,), (n - 1,), (1,)) - ex.slice_(y, (0,), (n - 1,), (1,))
    kernel = check([x], [difference], [X], [np.diff(np.exp(np.sin(X)))])
    assert repr(kernel).count("name='exp'") == 1


def test_small_constants_sizes_and_ranges() -> None:
    (x,) = inputs((n,))
    table = constant(np.array([2.0, -1.0, 0.5, 4.0, 8.0]))
    index = make(Iota(n), ())
    count = ex.cast(make(SizeOf(n), ()), FLOAT64)
    weights = ex.cast(index, FLOAT64) / count
    a = ex.broadcast(table, (n, 5), (1,)) * ex.broadcast(x, (n, 5), (0,))
    truth = np.array([2.0, -1.0, 0.5, 4.0, 8.0]) * X[:, None]
    check([x], [weights * x, a, table], [X], [np.arange(37) / 37 * X, truth, [2.0, -1.0, 0.5, 4.0, 8.0]])


def test_one_element_of_a_virtual_array() -> None:
    (x,) = inputs((n,))
    element = ex.reshape(ex.slice_(m.exp(x), (3,), (1,), (1,)), ())
    kernel = check([x], [element], [X], [np.exp(X[3])])
    assert "For" not in repr(kernel)


# --- indices ----------------------------------------------------------------------------------------------


def test_gather_clamps() -> None:
    a = make(Input(0, 0, Type((n, 5), FLOAT64)))
    i = make(Input(0, 1, Type((k,), INT64)))
    rows = make(Gather((0,)), (a, i))
    chosen = np.array([0, 12, 5, 5, -3, 99, 2])
    check(
        [a, i],
        [rows, ex.reduce("sum", m.exp(rows), (0, 1))],
        [A, chosen],
        [A[chosen.clip(0, 12)], np.exp(A[chosen.clip(0, 12)]).sum()],
        rtol=1e-12,
    )
    elements = make(Gather((0, 1)), (a, i, i))
    check([a, i], [elements], [A, chosen], [A[chosen.clip(0, 12), chosen.clip(0, 4)]])
    column = make(Gather((1,)), (a, constant(3)))
    check([a, i], [column], [A, chosen], [A[:, 3]])


@pytest.mark.parametrize("kind", ["add", "set"])
def test_scatter_drops_what_is_outside(kind: Any) -> None:
    x = make(Input(0, 0, Type((n,), FLOAT64)))
    i = make(Input(0, 1, Type((k,), INT64)))
    v = make(Input(0, 2, Type((k,), FLOAT64)))
    node = make(Scatter((0,), kind), (x, v * v, i))
    chosen = np.array([3, 36, 3, -1, 37, 0, 3])
    values = np.arange(7.0)
    truth = X.copy()
    for at, value in zip(chosen, values**2, strict=True):
        if 0 <= at < 37:
            truth[at] = truth[at] + value if kind == "add" else value
    check([x, i, v], [node, m.exp(node)], [X, chosen, values], [truth, np.exp(truth)])


def test_scatter_of_rows_and_of_one_element() -> None:
    a = make(Input(0, 0, Type((n, 5), FLOAT64)))
    i = make(Input(0, 1, Type((), INT64)))
    row = make(Input(0, 2, Type((5,), FLOAT64)))
    truth = A.copy()
    truth[4] += B[:, 0]
    check([a, i, row], [make(Scatter((0,), "add"), (a, row, i))], [A, 4, B[:, 0]], [truth])
    truth = A.copy()
    truth[4, 2] = 9.0
    node = make(Scatter((0, 1), "set"), (a, constant(9.0), i, constant(2)))
    check([a, i, row], [node], [A, 4, B[:, 0]], [truth])


# --- products, running sums, sorting ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "out", "text"),
    [
        ((0, 1), (1, 2), (0, 2), "ij,jk->ik"),
        ((0, 1), (1,), (0,), "ij,j->i"),
        ((1,), (1, 2), (2,), "j,jk->k"),
        ((0, 1), (0, 1), (), "ij,ij->"),
        ((0,), (2,), (0, 2), "i,k->ik"),
        ((0, 1), (2, 1), (2, 0), "ij,kj->ki"),
        ((3, 0, 1), (3, 1, 2), (3, 0, 2), "bij,bjk->bik"),
        ((3, 0, 1), (3, 1), (3, 0), "bij,bj->bi"),
        ((0, 1), (1, 2), (), "ij,jk->"),
    ],
)
@pytest.mark.parametrize(
    "sizes", [{0: n, 1: k, 2: 6, 3: 4}, {0: 3, 1: 3, 2: 3, 3: n}, {0: 9, 1: 12, 2: 10, 3: 2}]
)
def test_contract(left: Any, right: Any, out: Any, text: str, sizes: Any) -> None:
    a, b = inputs(tuple(sizes[i] for i in left), tuple(sizes[i] for i in right))
    numbers = {str(n): 11, str(k): 9}
    data = [RNG.normal(size=tuple(numbers.get(str(d), d) for d in x.shape)) for x in (a, b)]
    truth = np.einsum(text, *data)
    check([a, b], [make(Contract(left, right, out), (a, b))], data, [truth], rtol=1e-12)
    check(
        [a, b],
        [make(Contract(left, right, out), (m.exp(a), b))],
        data,
        [np.einsum(text, np.exp(data[0]), data[1])],
        rtol=1e-12,
    )


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("sum", np.cumsum),
        ("prod", np.cumprod),
        ("min", np.minimum.accumulate),
        ("max", np.maximum.accumulate),
    ],
)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("reverse", [False, True])
def test_cumulative(kind: Any, function: Any, axis: int, reverse: bool) -> None:
    (a,) = inputs((n, k))
    truth = np.flip(function(np.flip(A, axis), axis), axis) if reverse else function(A, axis)
    check(
        [a],
        [make(Cumulative(kind, axis, reverse), (a * 1.5,)) / 1.5],
        [A],
        [
            np.flip(function(np.flip(A * 1.5, axis), axis), axis) / 1.5
            if reverse
            else function(A * 1.5, axis) / 1.5
        ],
    )
    check([a], [make(Cumulative(kind, axis, reverse), (a,))], [A], [truth])


def test_sort_is_stable_and_puts_nan_last() -> None:
    (x,) = inputs((n,))
    ties = np.array([3.0, 1.0, np.nan, 1.0, -0.5, 3.0, 1.0, np.inf, np.nan, 0.0])
    for data in (ties, X, X[:2]):
        check(
            [x],
            [make(Sort(0), (x,)), make(Sort(0, True), (x,))],
            [data],
            [np.sort(data), np.argsort(data, kind="stable")],
        )
    (a,) = inputs((n, k))
    check([a], [make(Sort(0), (a,)), make(Sort(1), (-a,))], [A], [np.sort(A, 0), np.sort(-A, 1)])


# --- branches and loops -----------------------------------------------------------------------------------


def body(types: list[Type], function: Any) -> Graph:
    arguments = [make(Input(0, i, t)) for i, t in enumerate(types)]
    return Graph(types, function(*arguments))


REAL, INT, VECTOR = Type((), FLOAT64), Type((), INT64), Type((n,), FLOAT64)


def test_cond() -> None:
    i = make(Input(0, 0, INT))
    x = make(Input(0, 1, VECTOR))
    types = [VECTOR, REAL]
    branches = (
        body(types, lambda v, s: (v * s, s)),
        body(types, lambda v, s: (m.exp(v), ex.reduce("sum", v, (0,)))),
        body(types, lambda v, s: (v, m.sin(s) + s)),
    )
    node = make(Cond(branches), (i, x, ex.reduce("max", x, (0,))))
    top = X.max()
    for index, truth in [
        (-5, (X * top, top)),
        (0, (X * top, top)),
        (1, (np.exp(X), X.sum())),
        (2, (X, np.sin(top) + top)),
        (9, (X, np.sin(top) + top)),
    ]:
        check([i, x], results(node), [index, X], truth, rtol=1e-12)
        check([i, x], [results(node)[1]], [index, X], [truth[1]], rtol=1e-12)


def test_the_other_branch_is_not_run() -> None:
    """A loop without an end in the branch that is not taken."""
    i = make(Input(0, 0, INT))
    x = make(Input(0, 1, REAL))
    forever = Loop(
        "predicate", body([REAL], lambda s: (s,)), body([REAL], lambda s: (m.eq(s, s),)), 1, 0, None
    )
    branches = (
        body([REAL], lambda s: (m.exp(s),)),
        body([REAL], lambda s: (results(make(forever, (s,)))[0],)),
    )
    node = make(Cond(branches), (i, x))
    check([i, x], results(node), [0, 0.5], [np.exp(0.5)])


def test_while_with_scalars_swaps_at_once() -> None:
    a, b = (make(Input(0, i, INT)) for i in range(2))
    types = [INT, INT]
    euclid = Loop(
        "predicate",
        body(types, lambda p, q: (q, m.mod(p, q))),
        body(types, lambda p, q: (m.ne(q, 0),)),
        2,
        0,
        None,
    )
    check([a, b], [results(make(euclid, (a, b)))[0]], [1071, 462], [21])


def test_while_with_arrays() -> None:
    x = make(Input(0, 0, VECTOR))
    large = body([VECTOR], lambda v: (m.gt(ex.reduce("max", v, (0,)), 0.1),))
    halve = Loop("predicate", body([VECTOR], lambda v: (make(Reverse((0,)), (v,)) * 0.5,)), large, 1, 0, None)
    data, truth = np.abs(X) + 1, np.abs(X) + 1
    while truth.max() > 0.1:
        truth = truth[::-1] * 0.5
    check([x], results(make(halve, (x,))), [data], [truth])


@pytest.mark.parametrize("reverse", [False, True])
def test_scan(reverse: bool) -> None:
    """Carries of rank 0 and 1, a scanned vector and matrix, captured values, stacked scalars and vectors."""
    count, x, a, w, start = (
        make(SizeOf(n), ()),
        make(Input(0, 0, VECTOR)),
        make(Input(0, 1, Type((n, 5), FLOAT64))),
        make(Input(0, 2, Type((5,), FLOAT64))),
        constant(1.0),
    )
    five = Type((5,), FLOAT64)
    types = [INT, REAL, five, REAL, five, five]

    def step(i: Node, s: Node, v: Node, xi: Node, row: Node, w: Node) -> tuple[Node, ...]:
        total = ex.reduce("sum", v * row, (0,))
        return s * 0.5 + xi + total, m.sin(v + row * w), s + ex.cast(i, FLOAT64), v * s

    loop = Loop("count", body(types, step), None, 2, 2, n, reverse)
    node = make(loop, (count, start, w, x, a, w))
    data, weights = X[:13], B[:, 2]
    s, v, scalars, vectors = 1.0, weights, np.zeros(13), np.zeros((13, 5))
    for i in range(12, -1, -1) if reverse else range(13):
        scalars[i], vectors[i] = s + i, v * s
        s, v = s * 0.5 + data[i] + np.sum(v * A[i]), np.sin(v + A[i] * weights)
    check([x, a, w], results(node), [data, A, weights], [s, v, scalars, vectors], rtol=1e-12)
    check([x, a, w], [results(node)[0] + 1.0], [data, A, weights], [s + 1], rtol=1e-12)
    check([x, a, w], [m.exp(results(node)[3])], [data, A, weights], [np.exp(vectors)], rtol=1e-12)


def test_loop_of_computed_length() -> None:
    c, x = make(Input(0, 0, INT)), make(Input(0, 1, REAL))
    loop = Loop("count", body([INT, REAL, REAL], lambda i, s, x: (s * x,)), None, 1, 0, None)
    for trips in (0, 1, 10, -4):
        check([c, x], results(make(loop, (c, constant(1.0), x))), [trips, 1.1], [1.1 ** max(trips, 0)])


def test_carry_that_goes_round_and_one_that_stays() -> None:
    (x,) = inputs((n,))
    types = [INT, VECTOR, VECTOR, VECTOR]
    loop = Loop("count", body(types, lambda i, u, v, w: (v, u, w)), None, 3, 0, None)
    node = make(loop, (constant(3), x, m.exp(x), x * 2.0))
    check([x], results(node), [X], [np.exp(X), X, X * 2])


def test_map_with_branches_and_loops_inside_is_lanes() -> None:
    """Newton's square root, each element with a trip count of its own, and a branch."""
    (x,) = inputs((n,))

    def newton(i: Node, x: Node, tolerance: Node) -> tuple[Node, ...]:
        types = [REAL, REAL, REAL]
        more = body(types, lambda g, x, t: (m.gt(m.abs(g * g - x), t),))
        step = body(types, lambda g, x, t: ((g + x / g) * 0.5,))
        root = results(make(Loop("predicate", step, more, 1, 0, None), (x, x, tolerance)))[0]
        negative = body([REAL], lambda r: (-r,)), body([REAL], lambda r: (r,))
        return (results(make(Cond(negative), (ex.cast(m.gt(x, 2.0), INT64), root)))[0],)

    loop = Loop("map", body([INT, REAL, REAL], newton), None, 0, 1, n)
    node = make(loop, (make(SizeOf(n), ()), x, constant(1e-14)))
    data = np.abs(X) * 3 + 0.1
    kernel = check([x], results(node), [data], [np.where(data > 2, 1, -1) * np.sqrt(data)], rtol=1e-12)
    assert "kind='lanes'" in repr(kernel)


def test_map_with_small_arrays_inside() -> None:
    a, b = inputs((n, 3, 3), (3,))
    three = Type((3,), FLOAT64)

    def step(i: Node, row: Node, b: Node) -> tuple[Node, ...]:
        product = make(Contract((0, 1), (1,), (0,)), (row, b))
        return make(Cumulative("sum", 0), (product,)), ex.reduce("sum", product, (0,))

    loop = Loop("map", body([INT, Type((3, 3), FLOAT64), three], step), None, 0, 1, n)
    data, vector = RNG.normal(size=(11, 3, 3)), RNG.normal(size=3)
    truth = data @ vector
    node = make(loop, (make(SizeOf(n), ()), a, b))
    check([a, b], results(node), [data, vector], [np.cumsum(truth, 1), truth.sum(1)], rtol=1e-12)


def test_map_with_large_arrays_inside() -> None:
    a, x = inputs((n, k), (k,))
    vector = Type((k,), FLOAT64)
    loop = Loop(
        "map",
        body([INT, vector, vector], lambda i, r, x: (m.exp(r) * x, ex.reduce("sum", r * x, (0,)))),
        None,
        0,
        1,
        n,
    )
    check(
        [a, x],
        results(make(loop, (make(SizeOf(n), ()), a, x))),
        [A, B[:, 0]],
        [np.exp(A) * B[:, 0], A @ B[:, 0]],
        rtol=1e-12,
    )


def test_what_a_loop_does_not_change_leaves_it() -> None:
    x, c = make(Input(0, 0, REAL)), make(Input(0, 1, INT))
    loop = Loop("count", body([INT, REAL, REAL], lambda i, s, x: (s + m.exp(x),)), None, 1, 0, None)
    kernel = check([x, c], results(make(loop, (c, constant(0.0), x))), [0.5, 4], [4 * np.exp(0.5)])
    lines = [type(s).__name__ for s in kernel.body]
    assert "name='exp'" not in repr(kernel.body[lines.index("For")])


# --- element types ----------------------------------------------------------------------------------------


def test_integers_bools_and_float32() -> None:
    x = make(Input(0, 0, Type((n,), FLOAT32)))
    i = make(Input(0, 1, Type((n,), INT64)))
    b = make(Input(0, 2, Type((n,), BOOL)))
    data, numbers, flags = X.astype(np.float32), np.arange(37) - 18, X > 0
    outputs = [
        x * x + x,
        ex.reduce("max", i, (0,)),
        m.floordiv(i, constant(4)),
        m.mod(i, constant(4)),
        i / constant(3),
        m.logical_xor(b, m.gt(x, ex.spread(constant(np.float32(0.5)), (n,)))),
        ex.cast(x, INT64),
        m.where(b, i, -i),
        ex.reduce("sum", b, (0,)),
    ]
    expected = [
        data * data + data,
        18,
        numbers // 4,
        numbers % 4,
        numbers / 3,
        flags ^ (data > 0.5),
        data.astype(int),
        np.where(flags, numbers, -numbers),
        True,
    ]
    check([x, i, b], outputs, [data, numbers, flags], expected, rtol=1e-6, atol=1e-6)


Z = (RNG.normal(size=23) + 1j * RNG.normal(size=23)) * 1.5


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("exp", np.exp),
        ("log", np.log),
        ("sqrt", np.sqrt),
        ("sin", np.sin),
        ("cos", np.cos),
        ("tan", np.tan),
        ("sinh", np.sinh),
        ("cosh", np.cosh),
        ("tanh", np.tanh),
        ("abs", np.abs),
        ("conj", np.conj),
        ("real", np.real),
        ("imag", np.imag),
        ("reciprocal", np.reciprocal),
        ("square", np.square),
        ("neg", np.negative),
        ("expm1", np.expm1),
        ("log1p", np.log1p),
        ("asin", np.arcsin),
        ("acos", np.arccos),
        ("atan", np.arctan),
        ("asinh", np.arcsinh),
        ("acosh", np.arccosh),
        ("atanh", np.arctanh),
        ("log2", np.log2),
        ("log10", np.log10),
        ("exp2", np.exp2),
        ("sign", np.sign),
        ("isnan", np.isnan),
    ],
)
def test_complex_functions(name: str, function: Any) -> None:
    (z,) = inputs((n,), dtype=COMPLEX128)
    check([z], [getattr(m, name)(z)], [Z], [function(Z)], rtol=4e-14)


def test_complex_arithmetic() -> None:
    z, w = inputs((n,), (), dtype=COMPLEX128)
    c = 0.4 - 2.5j
    wide = ex.spread(w, (n,))
    outputs = [
        z * wide,
        z / wide,
        m.pow(z, wide),
        m.pow(z, constant(3 + 0j)),
        m.eq(z, z),
        m.complex(m.real(z), m.real(z)),
        m.where(m.gt(m.real(z), 0.0), z, wide),
        ex.reduce("sum", z, (0,)),
        ex.reduce("prod", z, (0,)),
        make(Contract((0,), (0,), ()), (z, z)),
        make(Cumulative("sum", 0), (z,)),
        ex.cast(m.real(z), COMPLEX128) * w,
    ]
    expected = [
        Z * c,
        Z / c,
        Z**c,
        Z**3,
        Z == Z,
        Z.real + 1j * Z.real,
        np.where(Z.real > 0, Z, c),
        Z.sum(),
        Z.prod(),
        (Z * Z).sum(),
        Z.cumsum(),
        Z.real * c,
    ]
    check([z, w], outputs, [Z, c], expected, rtol=1e-12)


def test_complex_division_does_not_overflow() -> None:
    z, w = inputs((), (), dtype=COMPLEX128)
    check([z, w], [z / w], [1e300 + 1e300j, 1e300 - 2e300j], [(1 + 1j) / (1 - 2j)])


def test_complex_loop() -> None:
    c = make(Input(0, 0, Type((), COMPLEX128)))
    kind = Type((), COMPLEX128)
    loop = Loop("count", body([INT, kind, kind], lambda i, z, c: (z * z + c, z)), None, 1, 0, 6)
    node = make(loop, (constant(6), constant(0j), c))
    z, orbit = 0j, []
    for _ in range(6):
        orbit.append(z)
        z = z * z + (-0.4 + 0.6j)
    check([c], results(node), [-0.4 + 0.6j], [z, np.array(orbit)])


# --- limits -----------------------------------------------------------------------------------------------


def test_unsupported_names_the_line() -> None:
    (a,) = inputs((3,), dtype=COMPLEX128)
    node = make(Sort(0), (a,))
    graph = Graph([a.type], [node], provenance={node: "model.py:12"})
    with pytest.raises(Unsupported, match=r"sorting complex numbers at model.py:12"):
        lower(graph, "kernel")


def test_large_straight_line_graphs_lower_in_linear_time() -> None:
    def seconds(count: int) -> float:
        x, y = inputs((), ())
        for _ in range(count // 2):
            x, y = y, m.sin(x) + y
        graph = Graph([REAL, REAL], [y])
        start = time.perf_counter()
        lower(graph, "kernel")
        return time.perf_counter() - start

    seconds(100)
    small, large = seconds(10_000), seconds(100_000)
    assert large < 25 * small
    assert large < 20


def test_deep_elementwise_graph_of_arrays() -> None:
    (x,) = inputs((n,))
    y = x
    for _ in range(3000):
        y = m.sin(y) + x
    kernel = lower(Graph([x.type], [ex.reduce("sum", y, (0,))]), "kernel")
    assert len([s for s in kernel.body if type(s).__name__ == "For"]) == 1


def test_update_of_a_carry_is_in_place() -> None:
    """A sieve: the loop writes one element a step, and copies nothing."""
    (x,) = inputs((n,))

    def step(i: Node, v: Node) -> tuple[Node, ...]:
        before = make(Gather((0,)), (v, i - 1))
        once = make(Scatter((0,), "add"), (v, before * 0.5, i))
        return (make(Scatter((0,), "set"), (once, constant(7.0), constant(3))),)

    loop = Loop("count", body([INT, VECTOR], step), None, 1, 0, None)
    node = make(loop, (make(SizeOf(n), ()), x))
    truth = X.copy()
    for i in range(37):
        truth[i] += truth[max(i - 1, 0)] * 0.5
        truth[3] = 7.0
    kernel = check([x], results(node), [X], [truth])
    assert loops(kernel) == [("lanes", 0), ("serial", 0)]


def test_update_of_a_carry_that_is_read_later_is_not_in_place() -> None:
    (x,) = inputs((n,))

    def step(i: Node, v: Node, w: Node) -> tuple[Node, ...]:
        return make(Scatter((0,), "set"), (v, constant(2.0), i)), w + v

    def backwards(i: Node, v: Node, w: Node) -> tuple[Node, ...]:
        return make(Insert((1,), (1,)), (v, ex.slice_(v, (0,), (n - 1,), (1,)))), w

    for function, truth in ((step, _pairs(X)), (backwards, (np.concatenate([X[:1]] * 5 + [X])[:37], X * 0))):
        loop = Loop("count", body([INT, VECTOR, VECTOR], function), None, 2, 0, None)
        check([x], results(make(loop, (constant(5), x, x * 0.0))), [X], truth)


def _pairs(x: Any) -> tuple[Any, Any]:
    v, w = x.copy(), x * 0
    for i in range(5):
        w = w + v
        v[i] = 2.0
    return v, w


def test_loops_and_branches_inside_each_other() -> None:
    """while in cond in scan, over arrays; outputs that are arguments, constants, or the same twice."""
    (a,) = inputs((n, k))
    row = Type((k,), FLOAT64)

    def shrink(v: Node) -> tuple[Node, ...]:
        more = body([row], lambda w: (m.gt(ex.reduce("max", w, (0,)), 1.0),))
        return (
            results(make(Loop("predicate", body([row], lambda w: (w * 0.5,)), more, 1, 0, None), (v,)))[0],
            v,
        )

    def step(i: Node, state: Node, v: Node) -> tuple[Node, ...]:
        twice = body([row], lambda w: (w * 2.0, w))
        odd = ex.cast(m.mod(i, constant(2)), INT64)
        first, second = results(make(Cond((body([row], shrink), twice)), (odd, v)))
        new = state + first
        return new, v, ex.broadcast(constant(3.0), (k,), ()), ex.reduce("sum", second, (0,)), new

    node = make(
        Loop("count", body([INT, row, row], step), None, 1, 1, n), (make(SizeOf(n), ()), _zeros_of(a), a)
    )
    state, sums, states = np.zeros(5), [], []
    for i, v in enumerate(np.abs(A) * 3):
        first = v * 2
        if i % 2 == 0:
            first = v
            while first.max() > 1:
                first = first * 0.5
        state = state + first
        sums.append(v.sum())
        states.append(state)
    data = np.abs(A) * 3
    check([a], results(node), [data], [state, data, np.full((13, 5), 3.0), sums, states], rtol=1e-12)


def _zeros_of(a: Node) -> Node:
    return ex.reduce("sum", a * 0.0, (0,))


def test_map_reads_whole_arrays_and_gathers() -> None:
    (x,) = inputs((n,))

    def step(i: Node, xi: Node, all_: Node) -> tuple[Node, ...]:
        nearest = make(Gather((0,)), (all_, i + 1))
        far = ex.reduce("max", m.abs(all_ - ex.spread(xi, (n,))), (0,))
        return nearest - xi, far, i

    loop = Loop("map", body([INT, REAL, VECTOR], step), None, 0, 1, n)
    node = make(loop, (make(SizeOf(n), ()), m.sin(x), m.exp(x)))
    sin, exp = np.sin(X), np.exp(X)
    far = np.abs(exp - sin[:, None]).max(1)
    check([x], results(node), [X], [np.append(exp[1:], exp[-1]) - sin, far, np.arange(37)])


def test_cond_inside_map_guards_its_reads() -> None:
    """In each lane only the taken branch reads its array."""
    x, y = inputs((n,), (3,))

    def step(i: Node, xi: Node, table: Node) -> tuple[Node, ...]:
        three = Type((3,), FLOAT64)
        types = [REAL, three]
        weighted = body(types, lambda s, t: (ex.reduce("sum", t * ex.spread(s, (3,)), (0,)), t))
        running = body(types, lambda s, t: (m.exp(s), make(Cumulative("sum", 0), (t,))))
        return results(make(Cond((weighted, running)), (ex.cast(m.gt(xi, 0.0), INT64), xi, table)))

    node = make(
        Loop("map", body([INT, REAL, Type((3,), FLOAT64)], step), None, 0, 1, n), (make(SizeOf(n), ()), x, y)
    )
    table = np.array([1.0, -2.0, 4.0])
    positive = X > 0
    rows = np.where(positive[:, None], np.cumsum(table), table)
    check([x, y], results(node), [X, table], [np.where(positive, np.exp(X), X * table.sum()), rows])
