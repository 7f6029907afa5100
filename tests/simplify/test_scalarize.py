"""Small arrays as scalars: the same values, fewer operations, and nothing where it does not pay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

import chainrule as cr
from chainrule.graph import dim as dims
from chainrule.graph.cost import graph_cost
from chainrule.graph.dtype import COMPLEX128, FLOAT64, INT64
from chainrule.graph.evaluate import evaluate
from chainrule.graph.node import Graph, Node, constant, make, scalar
from chainrule.graph.op import (
    Broadcast,
    Cast,
    Concatenate,
    Contract,
    Cumulative,
    Gather,
    Input,
    Insert,
    Linalg,
    Op,
    Pad,
    Reduce,
    Reshape,
    Reverse,
    Scalar,
    Scatter,
    Slice,
    Transpose,
    Type,
)
from chainrule.simplify.elements import Elements
from chainrule.simplify.scalarize import _Run, scalarize
from chainrule.simplify.small import Sides
from tests.strategies import Program, graphs

N = dims.size("n")
EVENTS = 5


def everything(graph: Graph) -> Graph:
    """The graph with all arrays taken apart that can be, whether it pays or not."""
    sides = Sides(graph.nodes)
    supported = Elements(sides, lambda node: node).supports
    return _Run(graph, sides, {n for n in graph.nodes if supported(n)}, {}).result()


def same(before: list[Any], after: list[Any]) -> None:
    for a, b in zip(before, after, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12)


def value_of(shape: dims.Shape, seed: int, kind: str = "f") -> Any:
    sizes = [dims.evaluate(d, {"n": EVENTS}) for d in shape]
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.5, 2.0, sizes)
    return x + 1j * rng.uniform(-1, 1, sizes) if kind == "c" else x


X = (3, 4)
E = (N, 3, 4)
CASES: list[tuple[str, list[dims.Shape], Any]] = [
    ("scalar", [X, X], Scalar("mul")),
    ("reduce", [X], Reduce("sum", (0,))),
    ("reduce all", [X], Reduce("max", (0, 1))),
    ("prod", [X], Reduce("prod", (1,))),
    ("cumulative", [X], Cumulative("sum", 1)),
    ("cumulative reverse", [X], Cumulative("prod", 0, True)),
    ("broadcast", [X], Broadcast((3, 2, 4), (0, 2))),
    ("broadcast scalar", [()], Broadcast((3, 2), ())),
    ("transpose", [X], Transpose((1, 0))),
    ("reshape", [X], Reshape((2, 6))),
    ("slice", [X], Slice((1, 0), (2, 2), (1, 2))),
    ("reverse", [X], Reverse((0,))),
    ("pad", [X], Pad((1, 0), (0, 2), (0, 1))),
    ("concatenate", [X, X], Concatenate(1)),
    ("insert", [X, (2, 2)], Insert((0, 1), (2, 2))),
    ("contract", [X, X], Contract((0, 1), (2, 1), (0, 2))),
    ("dot", [X, X], Contract((0, 1), (0, 1), ())),
    ("outer", [(3,), (2,)], Contract((0,), (1,), (1, 0))),
    ("events", [E, E], Scalar("div")),
    ("reduce of events", [E], Reduce("sum", (0, 2))),
    ("reduce beside events", [E], Reduce("min", (1,))),
    ("broadcast to events", [X, (N,)], Broadcast((3, N, 4), (0, 2))),
    ("transposed events", [E], Transpose((2, 0, 1))),
    ("reshaped events", [E], Reshape((N, 12))),
    ("reversed events", [E], Reverse((0, 2))),
    ("sliced events", [E], Slice((1, 0, 1), (N - 1, 2, 3), (1, 2, 1))),
    ("one event", [E], Slice((2, 0, 0), (1, 3, 4), (1, 1, 1))),
    ("padded beside events", [E], Pad((0, 1, 0), (0, 0, 1), (0, 1, 0))),
    ("concatenated events", [E, E], Concatenate(0)),
    ("concatenated beside events", [E, E], Concatenate(2)),
    ("inserted beside events", [E, (N, 1, 2)], Insert((0, 1, 1), (1, 1, 2))),
    ("matrix on events", [(N, 4), X], Contract((0, 1), (2, 1), (0, 2))),
    ("moments", [(N, 4), (N, 4)], Contract((0, 1), (0, 2), (1, 2))),
    ("quadratic form", [E, E], Contract((0, 1, 2), (0, 1, 2), (0,))),
    ("leading", [(4, N), (4, N)], Contract((0, 1), (0, 1), (1,))),
    ("solve", [(4, 4), (4, 2)], Linalg("solve_triangular", lower=True)),
    ("solve upper", [(4, 4), (4, 1)], Linalg("solve_triangular", lower=False)),
    ("solve transposed", [(4, 4), (4, 1)], Linalg("solve_triangular", lower=True, transposed=True)),
    ("solve events", [(N, 3, 3), (N, 3, 1)], Linalg("solve_triangular", lower=False, transposed=True)),
]


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize(("shapes", "op"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_op(shapes: list[dims.Shape], op: Op, kind: str) -> None:
    if kind == "c" and getattr(op, "kind", "") in ("max", "min"):
        return
    dtype = COMPLEX128 if kind == "c" else FLOAT64
    types = [Type(s, dtype) for s in shapes]
    inputs = [make(Input(0, i, t)) for i, t in enumerate(types)]
    arity = 2 if isinstance(op, (Scalar, Concatenate, Insert, Contract, Linalg)) else 1
    node = make(op, tuple(scalar("neg", x) if x.shape else x for x in inputs[:arity]))
    graph = Graph(types, [node, make(Scalar("mul"), (node, node))])
    args = [value_of(s, i, kind) for i, s in enumerate(shapes)]
    result = everything(graph)
    same(evaluate(graph, args), evaluate(result, args))
    gone = (Contract, Linalg, Pad, Insert, Cumulative, Cast)
    assert not any(isinstance(n.op, gone) for n in result.nodes)


def test_cholesky() -> None:
    a = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])
    kind = Type((N, 3, 3), FLOAT64)
    x = make(Input(0, 0, kind))
    graph = Graph([kind], [make(Linalg("cholesky"), (x,))])
    values = a + np.arange(EVENTS)[:, None, None] * np.eye(3)
    same([np.linalg.cholesky(values)], evaluate(everything(graph), [values]))


@pytest.mark.parametrize("kind", ["add", "set"])
def test_known_indices(kind: Any) -> None:
    x, v = make(Input(0, 0, Type((4, N), FLOAT64))), make(Input(0, 1, Type((3, N), FLOAT64)))
    i = constant(np.array([3, 0, 7]))
    graph = Graph([x.type, v.type], [make(Gather((0,)), (x, i)), make(Scatter((0,), kind), (x, v, i))])
    args = [value_of(n.shape, k) for k, n in enumerate((x, v))]
    result = everything(graph)
    same(evaluate(graph, args), evaluate(result, args))
    assert not any(isinstance(n.op, (Gather, Scatter)) for n in result.nodes)


@given(graphs(smooth=True))
def test_random_graphs(program: Program) -> None:
    graph, args = program
    with np.errstate(all="ignore"):
        before = evaluate(graph, args)
        for result in (scalarize(graph), everything(graph)):
            for a, b in zip(before, evaluate(result, args), strict=True):
                assert a.shape == b.shape and a.dtype == b.dtype
                if a.dtype.kind == "f":  # sums in another order, and rounding that a comparison makes visible
                    finite = np.isfinite(a)
                    np.testing.assert_allclose(b[finite], a[finite], rtol=1e-9, atol=1e-9)


@given(graphs())
def test_idempotent_and_deterministic(program: Program) -> None:
    graph, _ = program
    once = scalarize(graph)
    assert scalarize(once) == once
    assert scalarize(graph).digest == once.digest


# --- what it is for -------------------------------------------------------------------------------------------


def rotation(angle: Any, axis: int) -> Any:
    c, s, zero, one = np.cos(angle), np.sin(angle), 0.0, 1.0
    if axis == 2:
        return cr.numpy.array([[c, -s, zero], [s, c, zero], [zero, zero, one]])
    return cr.numpy.array([[c, zero, s], [zero, one, zero], [-s, zero, c]])


def chain(q: Any) -> Any:
    r, p = np.eye(3), np.zeros(3)
    for i in range(4):
        r = r @ rotation(q[i], 2 - i % 2)
        p = p + r @ np.array([0.1, 0.2, 0.3 + i])
    return p


def operations(graph: Graph, name: str) -> int:
    return sum(n.op == Scalar(name) for n in graph.nodes)


def test_zeros_and_ones_of_matrices_vanish() -> None:
    f = cr.jit(lambda q: rotation(q[0], 2) @ rotation(q[1], 1) @ np.array([1.0, 2.0, 3.0]))
    q = np.array([0.3, -0.7])
    a, b = q
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    np.testing.assert_allclose(f(q), about_z @ about_y @ [1, 2, 3], rtol=1e-14)
    assert not any(isinstance(n.op, Contract) for n in f.graph.nodes)
    assert operations(f.graph, "mul") <= 14  # all 36 of two products without a zero or a one in sight


def test_structural_zeros_only_where_finite() -> None:
    f = cr.jit(lambda x: np.array([0.0, 1.0]) @ np.log(x))
    assert np.isnan(f(np.array([-1.0, 2.0])))  # 0·NaN, as in NumPy
    np.testing.assert_allclose(f(np.array([3.0, 2.0])), np.log(2.0))


@pytest.mark.parametrize("transform", [cr.jit, cr.jacfwd, cr.jacrev, lambda f: cr.jacfwd(cr.jacfwd(f))])
def test_straight_code(transform: Any) -> None:
    f = transform(chain)
    q = np.array([0.3, -0.7, 1.1, 0.2])
    value = f(q)
    kernel = f._used().kernel("chain")
    assert "For(" not in str(kernel.ir) and kernel.ir.workspace == 0
    with cr.disable_jit():
        np.testing.assert_allclose(transform(chain)(q), value, rtol=1e-12, atol=1e-15)


def test_event_axis_stays_one_loop() -> None:
    def mahalanobis(m: Any, x: Any) -> Any:
        factor = cr.numpy.linalg.cholesky(m)
        z = cr.scipy.linalg.solve_triangular(factor, x.T, lower=True)
        return (z * z).sum(0)

    rng = np.random.default_rng(2)
    a = rng.normal(size=(5, 5))
    m, x = a @ a.T + 5 * np.eye(5), rng.normal(size=(200, 5))
    f = cr.jit(mahalanobis)
    np.testing.assert_allclose(f(m, x), np.einsum("ni,ij,nj->n", x, np.linalg.inv(m), x), rtol=1e-11)
    assert str(f.source("ir")).count("For(") == 1


def test_leading_small_axis() -> None:
    f = cr.jit(lambda v: np.stack([v[0] * v[3] - v[1] * v[2], v[0] + v[3]]).sum(0))
    v = np.random.default_rng(1).normal(size=(4, 300))
    np.testing.assert_allclose(f(v), v[0] * v[3] - v[1] * v[2] + v[0] + v[3], rtol=1e-14, atol=1e-14)
    assert str(f.source("ir")).count("For(") == 1


def test_dear_elements_stay_in_lanes() -> None:
    f = cr.jit(lambda x: np.exp(np.sin(x)) / (1 + x * x))
    f(np.linspace(0, 1, 16))
    assert operations(f.graph, "exp") == 1


def test_bodies_of_loops() -> None:
    def step(state: Any, _: Any) -> Any:
        return rotation(state[2], 2) @ state, state[0]

    def run(state: Any) -> Any:
        return cr.scan(step, state, None, length=5)[0]

    start = np.array([1.0, 2.0, 0.3])
    state = start
    for _ in range(5):
        c, s = np.cos(state[2]), np.sin(state[2])
        state = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ state
    f = cr.jit(run)
    np.testing.assert_allclose(f(start), state, rtol=1e-13)
    assert "Contract" not in str(f.graph) and graph_cost(f.graph).operations > 0


def test_linear_time() -> None:
    def steps(count: int) -> int:
        x = make(Input(0, 0, Type((3,), FLOAT64)))
        node: Node = x
        for _ in range(count):
            node = scalar("add", make(Reverse((0,)), (node,)), x)
        return len(everything(Graph([x.type], [node])))

    assert steps(400) < 2.2 * steps(200)


def test_integers() -> None:
    x = make(Input(0, 0, Type((4,), INT64)))
    graph = Graph([x.type], [make(Reduce("sum", (0,)), (x,)), make(Cumulative("sum", 0), (x,))])
    values = np.array([3, -1, 4, 1])
    same(evaluate(graph, [values]), evaluate(everything(graph), [values]))
