"""Derivatives of every scalar primitive and op family: both modes, nested, against high-precision differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.graph.differentiate import NotDifferentiable, jvp, linearize, vjp
from chainrule.graph.dtype import COMPLEX128, FLOAT32, FLOAT64, INT64
from chainrule.graph.evaluate import evaluate
from chainrule.graph.express import NODES as m
from chainrule.graph.express import broadcast, cast, reduce, reshape
from chainrule.graph.node import Graph, Node, constant, make
from chainrule.graph.op import (
    Cast,
    Concatenate,
    Contract,
    Cumulative,
    Gather,
    Input,
    Insert,
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
from chainrule.graph.scalar import PRIMITIVES
from tests.check import check_grads, program, pulled, pushed

RNG = np.random.default_rng(1)
VECTOR = np.array([0.5, -1.25, 2.0, 0.75])
MATRIX = RNG.integers(-8, 9, (3, 4)) / 4.0 + 1 / 16
CUBE = RNG.integers(-8, 9, (2, 3, 2)) / 4.0 + 1 / 16


# --- scalar primitives --------------------------------------------------------------------------------------

SMOOTH = [
    name
    for name, p in PRIMITIVES.items()
    if "f" in p.accepts and p.result in ("same", "float", "real", "complex") and name != "where"
]


def points(name: str, number: int) -> list[Any]:
    rng = np.random.default_rng(sum(map(ord, name)))
    return [low + (high - low) * rng.uniform(0.05, 0.95, number) for low, high in PRIMITIVES[name].domain]


def applied(name: str, literals: tuple[Any, ...] = ()) -> Any:
    return lambda *x: getattr(m, name)(*literals, *x)


@pytest.mark.parametrize("name", SMOOTH)
def test_scalar_primitives_to_the_third_order(name: str) -> None:
    literals = (constant(1.0),) * PRIMITIVES[name].literals
    args = [x[0] for x in points(name, 1)][PRIMITIVES[name].literals :]
    # constants like 2/√π stand in the table as floats, and far series are as long as floats need
    check_grads(applied(name, literals), args, order=3, tolerance=1e-12, floats=1e-7)


@pytest.mark.parametrize("name", [n for n in SMOOTH if PRIMITIVES[n].arity == 2 and not PRIMITIVES[n].literals])
def test_scalar_primitives_of_an_array_and_a_number(name: str) -> None:
    a, b = points(name, 3)
    check_grads(applied(name), [a, b[0]], order=2, tolerance=1e-12, floats=1e-8)
    check_grads(applied(name), [a[0], b], order=2, tolerance=1e-12, floats=1e-8)
    check_grads(applied(name), [a, b], order=1, tolerance=1e-12, floats=1e-8)


def test_where_of_arrays_and_numbers() -> None:
    mask = np.array([True, False, True])
    x, y = np.array([0.5, 1.0, -2.0]), np.array([3.0, 0.25, 1.0])
    square = lambda c, a, b: m.where(c, a * a, b * a)  # noqa: E731
    check_grads(square, [mask, x, y])
    check_grads(square, [mask, x, np.float64(2.0)])
    check_grads(lambda c, a, b: m.where(c, a * a, b), [np.bool_(True), np.float64(2.0), y])


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "sin", "tan", "tanh", "asinh", "acosh", "div", "mul", "pow"])
def test_holomorphic_primitives(name: str) -> None:
    args = [np.array([0.5 + 1j, -1.25 + 0.5j]), np.array([1.5 - 0.25j, 0.75 + 2j])][: PRIMITIVES[name].arity]
    check_grads(applied(name), args, tolerance=1e-14)


def test_complex_parts() -> None:
    z = np.array([0.5 + 1j, -1.25 + 0.5j])
    x, y = np.array([0.5, -1.0]), np.array([1.5, 2.0])
    for name in ("real", "imag", "conj", "abs", "angle"):
        check_grads(lambda z, name=name: getattr(m, name)(z * z), [z], tolerance=1e-14)
    check_grads(lambda x, y: m.exp(m.complex(x, y)), [x, y])
    check_grads(lambda x, y: m.exp(m.complex(x, y)), [x, np.float64(0.5)])
    check_grads(lambda x: m.abs(m.complex(x, constant(2.0)) * x_cast(x)), [x])
    check_grads(lambda z, x: m.where(m.gt(x, 0), z * z, m.conj(z)), [z, x])


def x_cast(x: Node) -> Node:
    return make(Cast(COMPLEX128), (x,))


def test_the_gradient_of_complex_arguments_is_that_of_jax() -> None:
    # ∂f/∂x − i·∂f/∂y of f = x²y + 3x at 2 + 5i: (2xy + 3) − i·x²
    graph = program(lambda z: m.real(z) * m.real(z) * m.imag(z) + 3 * m.real(z), 2 + 5j)
    assert evaluate(pulled(graph), [2 + 5j, 1.0]) == [23 - 4j]
    # |z|² has gradient 2·conj(z)
    graph = program(lambda z: m.real(z * m.conj(z)), 2 + 5j)
    assert evaluate(pulled(graph), [2 + 5j, 1.0]) == [4 - 10j]
    # a holomorphic function's is its derivative
    graph = program(lambda z: z * z * z, 2 + 5j)
    assert evaluate(pulled(graph), [2 + 5j, 1.0 + 0j]) == [3 * (2 + 5j) ** 2]


# --- along axes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("kind", ["sum", "prod", "min", "max"])
def test_reductions(kind: Any, axes: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).permutation(12).reshape(2, 3, 2) / 4.0 - 1.0  # all distinct; holds one zero
    check_grads(lambda x: reduce(kind, x * x * x, axes), [x])


@pytest.mark.parametrize("zeros", [[], [(0, 1, 1)], [(0, 1, 1), (1, 0, 0)], [(0, 1, 1), (0, 2, 1), (1, 0, 0)]])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 2), (0, 1, 2)])
def test_products_with_zeros(zeros: list[tuple[int, ...]], axes: tuple[int, ...]) -> None:
    x = CUBE.copy()
    for place in zeros:
        x[place] = 0.0
    check_grads(lambda x: reduce("prod", x, axes), [x], order=3)


@pytest.mark.parametrize("kind", ["min", "max"])
def test_ties_of_extrema_share_the_derivative(kind: Any) -> None:
    x = np.array([[1.0, 3.0, 1.0], [3.0, 3.0, 2.0]])
    graph = program(lambda x: reduce(kind, x, (0, 1)), x)
    at = (x == (x.min() if kind == "min" else x.max())).astype(float)
    np.testing.assert_array_equal(evaluate(pulled(graph), [x, 1.0])[0], at / at.sum())
    tangent = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(evaluate(pushed(graph), [x, tangent])[0], (at * tangent).sum() / at.sum())


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("kind", ["sum", "prod", "min", "max"])
def test_running_reductions(kind: Any, axis: int, reverse: bool) -> None:
    x = np.random.default_rng(0).permutation(12).reshape(3, 4) / 4.0 - 1.0
    x[1, 2] = 0.0
    if kind != "prod":
        x[1, 2] = -1.5
    check_grads(lambda x: make(Cumulative(kind, axis, reverse), (x * m.exp(x),)), [x], tolerance=1e-14)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "x", [[2.0], [0.0, 3.0], [2.0, 0.0, 3.0, 0.0, 5.0], [0.0, 0.0, 0.0], [1.0, 2, 3, 4, 5, 6, 7, 0, 9]]
)
def test_running_products_with_zeros(x: list[float], reverse: bool) -> None:
    check_grads(lambda x: make(Cumulative("prod", 0, reverse), (x,)), [np.array(x)], order=3)


def test_running_products_of_a_named_size() -> None:
    from chainrule.graph.dim import size

    kind = Type((size("n"),), FLOAT64)
    for backwards in (False, True):
        graph = program(lambda x, b=backwards: make(Cumulative("prod", 0, b), (x,)), kind)
        check_grads(graph, [np.array([2.0, 0.0, 3.0, 0.0, 5.0])], order=2)


@pytest.mark.parametrize("axis", [0, 1])
def test_sorting(axis: int) -> None:
    x = np.random.default_rng(0).permutation(12).reshape(3, 4) / 4.0
    check_grads(lambda x: make(Sort(axis), (x * x * x,)), [x])


# --- views --------------------------------------------------------------------------------------------------

VIEWS = {
    "broadcast": lambda x: broadcast(x, (2, 3, 5, 4), (1, 3)),
    "transpose": lambda x: make(Transpose((1, 0)), (x,)),
    "reshape": lambda x: reshape(x, (2, 6)),
    "slice": lambda x: make(Slice((1, 0), (2, 2), (1, 3)), (x,)),
    "slice to nothing": lambda x: reduce("sum", make(Slice((1, 0), (0, 2), (1, 3)), (x,)), (0,)),
    "reverse": lambda x: make(Reverse((0, 1)), (x,)),
    "pad": lambda x: make(Pad((1, 0), (2, 1), (0, 2)), (x,)),
    "concatenate": lambda x: make(Concatenate(1), (x, x * x, broadcast(constant(1.0), (3, 2), ()))),
    "insert": lambda x: make(Insert((0, 1), (2, 2)), (x, make(Slice((0, 0), (2, 2), (1, 1)), (x * x,)))),
    "insert into a constant": lambda x: make(Insert((1, 0), (1, 1)), (broadcast(constant(1.0), (5, 4), ()), x)),
    "insert a constant": lambda x: make(Insert((1, 0), (1, 1)), (x, broadcast(constant(1.0), (1, 4), ()))),
    "cast": lambda x: make(Cast(COMPLEX128), (x,)),
    "cast back": lambda x: make(Cast(FLOAT64), (make(Cast(COMPLEX128), (x,)) * (1 + 2j),)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(name: str) -> None:
    check_grads(lambda x: VIEWS[name](x), [MATRIX])
    check_grads(lambda x: VIEWS[name](x * x) * 2, [MATRIX])
    # uniform tangents: a number is spread first
    check_grads(lambda t: VIEWS[name](broadcast(t * t, (3, 4), ())), [np.float64(1.5)])


def test_views_of_a_number() -> None:
    check_grads(lambda t: reduce("sum", broadcast(t, (3, 4), ()), (1,)), [np.float64(1.5)])
    check_grads(lambda t: reshape(t, (1, 1)) * 3, [np.float64(1.5)])
    check_grads(lambda t: make(Pad((0, 1), (0, 2), (0, 0)), (broadcast(t, (1, 1), ()),)), [np.float64(1.5)])


def test_stop_is_a_constant() -> None:
    graph = program(lambda x: make(Stop(), (x,)) * x, 3.0)
    assert evaluate(pulled(graph), [3.0, 1.0]) == [3.0]
    assert evaluate(pushed(graph), [3.0, 1.0]) == [3.0]


def test_float32_keeps_its_type() -> None:
    x = np.float32(0.5)
    graph = program(lambda x: m.sin(x) * 2, x)
    for derived in (pulled(graph), pushed(graph)):
        (found,) = evaluate(derived, [x, np.float32(1)])
        assert found.dtype == FLOAT32
        np.testing.assert_allclose(found, 2 * np.cos(0.5), rtol=1e-6)


def test_integers_have_no_derivative() -> None:
    graph = program(lambda x, i: cast(cast(x, INT64), FLOAT64) * cast(i, FLOAT64) + m.floor(x), 1.5, 3)
    program_ = linearize(graph.outputs, graph.arguments)
    assert program_.outputs == [None]


# --- indices ------------------------------------------------------------------------------------------------

REPEATED = np.array([[2, 0, 2], [1, 2, 0]])


def test_gather() -> None:
    check_grads(lambda x, i: make(Gather((0,)), (x * x, i)), [MATRIX, REPEATED])
    check_grads(lambda x, i: make(Gather((1,)), (x * x, i)), [MATRIX, REPEATED])
    check_grads(lambda x, i, j: make(Gather((0, 1)), (x * x, i, j)), [MATRIX, REPEATED, REPEATED[::-1].copy()])
    check_grads(lambda x, i: make(Gather((1,)), (x * x, i)), [MATRIX, np.int64(2)])


@pytest.mark.parametrize("indices", [[5, 0, -1], [3, 4, 1], [-7, -7, 2]])
def test_indices_outside_are_clamped_by_gather_and_dropped_by_scatter(indices: list[int]) -> None:
    i = np.array(indices)
    v = np.array([[2.0], [3.0], [5.0]]) * [1.0, 0.5, 2.0, 0.25]
    check_grads(lambda x, i: make(Gather((0,)), (x * x, i)), [MATRIX, i])
    for kind in ("add", "set"):
        check_grads(lambda x, v, i, k=kind: make(Scatter((0,), k), (x, v * v, i)), [MATRIX, v, i])


@pytest.mark.parametrize("kind", ["add", "set"])
def test_scatter(kind: Any) -> None:
    v = RNG.integers(-8, 9, (2, 3, 4)) / 4.0
    check_grads(lambda x, v, i: make(Scatter((0,), kind), (x, v * v, i)), [MATRIX, v, REPEATED])
    check_grads(lambda x, v, i: make(Scatter((0,), kind), (x * x, v, i)), [MATRIX, v[0, 0], np.int64(1)])
    w = RNG.integers(-8, 9, (2, 3)) / 4.0
    check_grads(
        lambda x, v, i, j: make(Scatter((1, 0), kind), (x * x, v * v, j, i)),
        [MATRIX, w, REPEATED, REPEATED[::-1].copy()],
    )
    check_grads(lambda v, i: make(Scatter((0,), kind), (broadcast(constant(1.0), (3, 4), ()), v, i)), [v, REPEATED])


def test_indexing_with_the_result_of_a_search() -> None:
    check_grads(lambda x: make(Gather((0,)), (x * x, make(Reduce("argmax", (0,)), (x,)))), [VECTOR])


# --- contractions -------------------------------------------------------------------------------------------

PATTERNS = {
    "matrix product": ((0, 1), (1, 2), (0, 2)),
    "transposed result": ((0, 1), (1, 2), (2, 0)),
    "matrix vector": ((0, 1), (1,), (0,)),
    "dot": ((0,), (0,), ()),
    "outer": ((0,), (1,), (1, 0)),
    "elementwise": ((0, 1), (1, 0), (0, 1)),
    "batched": ((0, 1, 2), (0, 2, 3), (0, 1, 3)),
    "batch last": ((1, 2, 0), (2, 3, 0), (1, 3, 0)),
    "one side summed": ((0, 1, 2), (1,), (1,)),
    "both sides summed": ((0, 1), (2, 3), (0, 3)),
    "sides and shared summed": ((0, 1, 2), (1, 3), (0,)),
    "numbers": ((), (), ()),
    "number and matrix": ((), (0, 1), (1, 0)),
    "full": ((0, 1), (1, 0), ()),
}
SIZES = {0: 2, 1: 3, 2: 4, 3: 2}


@pytest.mark.parametrize("name", PATTERNS)
def test_contractions(name: str) -> None:
    left, right, out = PATTERNS[name]
    rng = np.random.default_rng(3)
    a = rng.integers(-8, 9, [SIZES[i] for i in left]) / 4.0
    b = rng.integers(-8, 9, [SIZES[i] for i in right]) / 4.0
    check_grads(lambda a, b: make(Contract(left, right, out), (a * a, b)), [a, b])
    check_grads(lambda a: make(Contract(left, right, out), (a, broadcast(constant(2.0), b.shape, ()))), [a], order=1)


def test_contraction_of_an_array_with_itself() -> None:
    check_grads(lambda a: make(Contract((0, 1), (2, 1), (0, 2)), (a, a)), [MATRIX])
    check_grads(lambda a: make(Contract((0, 1), (0, 1), ()), (a, a)), [MATRIX + 1j])


# --- many seeds, costs, errors ------------------------------------------------------------------------------


def test_many_seeds_share_the_coefficients() -> None:
    """K seeds at once are K times one seed, also with structural zeros among them."""
    graph = program(lambda x, y, z: [m.sin(x * y) + m.exp(z), z * z, x], 0.5, 1.25, -0.75)
    x = graph.arguments
    one = constant(1.0)
    seeds = [[one, None, None], [None, one, None], [None, None, one]]
    _, rows = jvp(graph.outputs, x, seeds)
    assert rows[2] == [one, None, None]
    back = vjp(graph.outputs, x, [[one, None, None], [None, one, None], [None, None, one]])
    at = [0.5, 1.25, -0.75]
    jacobian = [[0.0 if n is None else evaluate(graph.replace([n]), at)[0] for n in row] for row in rows]
    transposed = [[0.0 if n is None else evaluate(graph.replace([n]), at)[0] for n in row] for row in back]
    np.testing.assert_allclose(jacobian, np.transpose(transposed), rtol=1e-15)
    c = np.cos(0.5 * 1.25)
    np.testing.assert_allclose(jacobian, [[1.25 * c, 0.5 * c, np.exp(-0.75)], [0, 0, -1.5], [1, 0, 0]], rtol=1e-15)


def test_values_come_along() -> None:
    graph = program(lambda x: [m.sin(x), x], 0.5)
    values, rows = jvp(graph.outputs, graph.arguments, [[None]])
    assert tuple(values) == graph.outputs
    assert rows == [[None], [None]]


def test_what_has_no_derivative_says_so() -> None:
    graph = program(lambda a: m.sign(a), 1 + 2j)
    with pytest.raises(NotDifferentiable, match="sign of complex numbers"):
        jvp(graph.outputs, graph.arguments, [[constant(1 + 0j)]])


def chain(n: int) -> Graph:
    def build(x: Node) -> Node:
        for i in range(n // 2):
            x = m.sin(x) if i % 2 else m.exp(x * 0.5)
        return x

    return program(build, 0.5)


def tree_of(n: int) -> Graph:
    def build(*x: Node) -> Node:
        level = [m.sin(a) for a in x]
        while len(level) > 1:
            level = [a * b for a, b in zip(level[::2], level[1::2], strict=True)]
        return level[0]

    return program(build, *[0.5] * n)


def random_dag(n: int) -> Graph:
    rng = np.random.default_rng(5)

    def build(*x: Node) -> Node:
        nodes = list(x)
        for _ in range(n):
            a, b = (nodes[int(i)] for i in rng.integers(max(0, len(nodes) - 50), len(nodes), 2))
            nodes.append((a * b, a + b, m.sin(a), a / b)[int(rng.integers(4))])
        total = nodes[-1]
        for node in nodes[-50:-1]:
            total = total + node
        return total

    return program(build, *[0.5] * 10)


@pytest.mark.parametrize("build", [chain, tree_of, random_dag])
def test_derivatives_are_linear_in_the_size_of_the_program(build: Any) -> None:
    graph = build(8192)
    for derived in (pulled(graph), pushed(graph)):
        assert len(derived) <= 6 * len(graph)


def test_the_tenth_derivative_stays_small() -> None:
    from chainrule.simplify.pipeline import simplify

    graph = program(lambda x: m.sin(x) * m.exp(x * x) / (1 + x * x), 0.5)
    sizes = []
    for _ in range(10):
        _, rows = jvp(graph.outputs, graph.arguments, [[constant(1.0)]])
        assert rows[0][0] is not None
        graph = simplify(graph.replace([rows[0][0]]), "fast")  # as it is done between orders
        sizes.append(len(graph))
    # ten orders multiply a tree by 2¹⁰ and more; here twice the order is less than 2⁴ times the size
    assert sizes[9] < 16 * sizes[4], sizes
    import mpmath as mp

    with mp.workdps(60):
        truth = mp.diff(lambda x: mp.sin(x) * mp.exp(x * x) / (1 + x * x), mp.mpf("0.5"), 10)
    np.testing.assert_allclose(evaluate(graph, [0.5])[0], float(truth), rtol=1e-8)


def test_depth_does_not_matter() -> None:
    graph = chain(40_000)
    assert len(pulled(graph)) > 40_000


def test_inputs_that_are_outputs() -> None:
    x = make(Input(0, 0, Type((), FLOAT64)))
    one = constant(1.0)
    assert vjp([x, x], [x], [[one], [one]]) != [[None]]
    assert evaluate(Graph([x.type], vjp([x, x], [x], [[one], [one]])[0]), [1.0]) == [2.0]  # type: ignore[arg-type]
