"""The unselected branch cannot poison a derivative: expected values at singular points, both modes, batched or not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from chainrule.graph.batch import batch, fully
from chainrule.graph.dtype import INT64
from chainrule.graph.evaluate import evaluate
from chainrule.graph.express import NODES as m
from chainrule.graph.express import broadcast, reduce, reshape
from chainrule.graph.linear import accumulate
from chainrule.graph.node import Graph, Node, constant, make
from chainrule.graph.op import (
    Broadcast,
    Concatenate,
    Contract,
    Cumulative,
    Gather,
    Input,
    Insert,
    Pad,
    Reverse,
    Scatter,
    Slice,
    Sort,
    Transpose,
    Type,
)
from chainrule.simplify.pipeline import simplify
from tests.check import check_backends, program, pulled, pushed

inf, nan = np.inf, np.nan
Derivative = Callable[[Graph], Graph]


def forward(graph: Graph) -> Graph:
    """x → f′(x) of a function of one number, by the tangent 1."""
    one = constant(1.0)
    return Graph(graph.inputs, pushed(graph).apply([*graph.arguments, one]))


def reverse(graph: Graph) -> Graph:
    return Graph(graph.inputs, pulled(graph).apply([*graph.arguments, constant(1.0)]))


def total(x: Node) -> Node:
    return reduce("sum", x, tuple(range(len(x.shape))))


def root(x: Node) -> Node:
    return m.where(m.gt(x, 0), m.sqrt(x), 0)


# f, x, f′(x), f″(x)
TABLE: dict[str, tuple[Callable[[Node], Node], list[tuple[float, float, float]]]] = {
    "√x where x > 0": (root, [(-1, 0, 0), (0, 0, 0), (4, 0.25, -1 / 32)]),
    "the same with another choice of √x": (
        lambda x: root(x) + m.where(m.gt(x, 1), m.sqrt(x), 1),
        [(-1, 0, 0), (0, 0, 0), (4, 0.5, -1 / 16)],
    ),
    "log x where x > 0": (lambda x: m.where(m.gt(x, 0), m.log(x), 0), [(-1, 0, 0), (0, 0, 0), (2, 0.5, -0.25)]),
    "√(log x) where x > 0": (lambda x: m.where(m.gt(x, 0), m.sqrt(m.log(x)), 0), [(-1, 0, 0), (0, 0, 0)]),
    "sin x/x where x ≠ 0": (lambda x: m.where(m.eq(x, 0), 1, m.sin(x) / x), [(0, 0, 0)]),
    "√max(0, x)": (lambda x: m.sqrt(m.maximum(x, 0)), [(-1, 0, 0), (4, 0.25, -1 / 32)]),
    "exp(−(1/x where x > 0))·x": (
        lambda x: m.exp(-m.where(m.gt(x, 0), 1 / x, 0)) * x,
        [(0, 1, 0), (-2, 1, 0), (1, 2 * np.exp(-1), np.exp(-1))],
    ),
    "√x alone": (m.sqrt, [(0, inf, -inf), (4, 0.25, -1 / 32)]),
    "√x·√x": (lambda x: m.sqrt(x) * m.sqrt(x), [(4, 1, 0)]),
    "|x|": (m.abs, [(0, 0, 0), (-2, -1, 0)]),
    "√(x²)": (lambda x: m.sqrt(x * x), [(0, 0, 0), (-2, -1, 0), (3, 1, 0)]),
    "(x²)^½": (lambda x: m.pow(x * x, 0.5), [(0, 0, 0), (-2, -1, 0), (3, 1, 0)]),
    "√(3x² + 4x²/2)": (
        lambda x: m.sqrt(3 * m.square(x) + 4 * m.pow(x, 2.0) / 2),
        [(0, 0, 0), (-2, -np.sqrt(5), 0), (3, np.sqrt(5), 0)],
    ),
    "√(x² + 1)": (lambda x: m.sqrt(x * x + 1), [(0, 0, 1)]),
    "√|x|": (lambda x: m.sqrt(m.abs(x)), [(0, 0, 0), (-4, -0.25, -1 / 32)]),
    "hypot(x, 0)": (lambda x: m.hypot(x, 0), [(0, 0, 0), (-2, -1, 0)]),
    "x⁰": (lambda x: m.pow(x, 0.0), [(0, 0, 0), (2, 0, 0)]),
    "x¹": (lambda x: m.pow(x, 1.0), [(0, 1, 0)]),
    "x²": (lambda x: m.pow(x, 2.0), [(0, 0, 2), (3, 6, 2)]),
    "x³": (lambda x: m.pow(x, 3.0), [(0, 0, 0), (-2, 12, -12)]),
    "x^2.5": (lambda x: m.pow(x, 2.5), [(0, 0, 0)]),
    "max(x, 1)": (lambda x: m.maximum(x, 1.0), [(1, 0.5, 0), (0, 0, 0), (2, 1, 0)]),
    "max(x, x)": (lambda x: m.maximum(x, x + 0.0), [(1, 1, 0)]),
    "min(x, x²)": (lambda x: m.minimum(x, x * x), [(1, 1.5, 1), (2, 1, 0), (0.5, 1, 2)]),
    "clip(x, −1, 1)": (lambda x: m.minimum(m.maximum(x, -1.0), 1.0), [(-1, 0.5, 0), (1, 0.5, 0), (0, 1, 0), (3, 0, 0)]),
    "softplus": (m.softplus, [(1000, 1, 0), (-1000, 0, 0), (0, 0.5, 0.25)]),
    "logaddexp(x, −∞)": (lambda x: m.logaddexp(x, -inf), [(1, 1, 0)]),
    "xlogy(x, 0) where x > 0": (lambda x: m.where(m.gt(x, 0), m.xlogy(x, x), 0), [(0, 0, 0), (1, 1, 1)]),
    "xlogy(0, x)": (lambda x: m.xlogy(constant(0.0), x), [(0, 0, 0), (2, 0, 0)]),
    "sinc": (m.sinc, [(0, 0, -(np.pi**2) / 3)]),
    "tanh": (m.tanh, [(400, 0, 0), (-400, 0, 0)]),
    "x·NaN where x > 0": (lambda x: m.where(m.gt(x, 0), x, x * nan), [(1, 1, 0), (-1, nan, 0)]),
    "log(√x where x > 0, else 1)": (
        lambda x: m.log(m.where(m.gt(x, 0), m.sqrt(x), 1)),
        [(0, 0, 0), (-1, 0, 0), (2, 0.25, -1 / 8)],
    ),
    "1/(x where x > 0) where x > 0": (
        lambda x: m.where(m.gt(x, 0), 1 / m.where(m.gt(x, 0), x, 0), 0),
        [(0, 0, 0), (-1, 0, 0), (2, -0.25, 0.25)],
    ),
    "complex |z| at 0": (lambda x: m.abs(m.complex(x, 2 * x)), [(0, 0, 0), (2, np.sqrt(5), 0)]),
}
CASES = [(name, *row) for name, (_, rows) in TABLE.items() for row in rows]
MODES: dict[str, Derivative] = {"forward": forward, "reverse": reverse}


def close(found: Any, wanted: float) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("name", "x", "first", "second"), CASES)
def test_singular_points(name: str, x: float, first: float, second: float) -> None:
    graph = program(TABLE[name][0], 1.0)
    for mode in MODES.values():
        close(evaluate(mode(graph), [x])[0], first)
    if np.isnan(first) or np.isinf(second):
        return
    for outer, inner in product(MODES.values(), repeat=2):
        close(evaluate(outer(inner(graph)), [x])[0], second)


@pytest.mark.parametrize("name", TABLE)
def test_singular_points_batched(name: str) -> None:
    build, rows = TABLE[name]
    graph = program(build, 1.0)
    points = np.array([row[0] for row in rows], float)
    many = make(Input(0, 0, Type((len(rows),), points.dtype)))
    for mode in MODES.values():
        for derived, column in ((mode(graph), 1), (mode(mode(graph)), 2)):
            if any(not np.isfinite(row[1]) for row in rows) and column == 2:
                continue
            (lane,) = batch(derived.outputs, derived.arguments, [many], len(rows))
            found = evaluate(Graph([many.type], [fully(lane, len(rows))]), [points])[0]
            np.testing.assert_allclose(found, [row[column] for row in rows], rtol=1e-12, atol=1e-14)
    # the other way round: the derivative of the batched program
    (lane,) = batch(graph.outputs, graph.arguments, [many], len(rows))
    batched = Graph([many.type], [fully(lane, len(rows))])
    ones = np.ones(len(rows))
    for derive in (pushed, pulled):
        np.testing.assert_allclose(
            evaluate(derive(batched), [points, ones])[0], [row[1] for row in rows], rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize("name", TABLE)
def test_singular_points_simplified_and_compiled(name: str) -> None:
    """Neither algebra between the orders nor the code that comes of it undoes a choice."""
    build, rows = TABLE[name]
    graph = program(build, 1.0)
    for mode in MODES.values():
        first = simplify(mode(simplify(graph, "fast")), "fast")
        for derived, column in ((simplify(first), 1), (simplify(mode(first)), 2)):
            for row in rows:
                if np.isnan(row[1]) or (column == 2 and np.isinf(row[2])):
                    continue
                close(evaluate(derived, [row[0]])[0], row[column])
                check_backends(derived, [row[0]])


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 2.5])
def test_powers_at_zero_with_a_computed_exponent(exponent: float) -> None:
    graph = program(lambda x, y: m.pow(x, y), 1.0, 1.0)
    slope = 1.0 if exponent == 1 else 0.0
    by_exponent = 0.0
    assert evaluate(pushed(graph), [0.0, exponent, 1.0, 0.0])[0] == slope
    assert evaluate(pushed(graph), [0.0, exponent, 0.0, 1.0])[0] == by_exponent
    assert evaluate(pulled(graph), [0.0, exponent, 1.0]) == [slope, by_exponent]


# --- masks through everything --------------------------------------------------------------------------------------

GAPS = np.array([[1.0, nan, 2.0], [nan, 3.0, 0.5]])
INDEX = np.array([1, 0, 1])


def known(x: Node) -> Node:
    return m.logical_not(m.isnan(x))


def squares(x: Node, mu: Node) -> Node:
    return m.where(m.isnan(x), 0, (x - mu) * (x - mu))


def through(build: Callable[[Node], Node]) -> Callable[[Node, Node], Node]:
    """A loss whose terms, of which some are NaN, go through an op before a mask takes them out."""
    return lambda x, mu: total(_masked(build((x - mu) * (x - mu)), build))


def _masked(y: Node, build: Callable[[Node], Node]) -> Node:
    return m.where(m.isnan(y), 0, y)


THROUGH: dict[str, Callable[[Node], Node]] = {
    "nothing": lambda y: y,
    "sum": lambda y: reduce("sum", y, (1,)),
    "broadcast": lambda y: broadcast(y, (2, 4, 3), (0, 2)),
    "transpose": lambda y: make(Transpose((1, 0)), (y,)),
    "reshape": lambda y: reshape(y, (3, 2)),
    "slice": lambda y: make(Slice((0, 0), (2, 2), (1, 2)), (y,)),
    "reverse": lambda y: make(Reverse((1,)), (y,)),
    "pad": lambda y: make(Pad((1, 0), (0, 1), (0, 1)), (y,)),
    "concatenate": lambda y: make(Concatenate(0), (y, y * 2)),
    "insert": lambda y: make(Insert((0, 1), (1, 1)), (y, make(Slice((0, 0), (2, 1), (1, 1)), (y,)))),
    "gather": lambda y: make(Gather((0,)), (y, constant(INDEX))),
    "scatter": lambda y: make(Scatter((0,), "set"), (y, make(Slice((0, 0), (1, 3), (1, 1)), (y,)), constant([1]))),
    "scatter-add": lambda y: make(
        Scatter((1,), "add"), (y, reshape(make(Slice((0, 0), (2, 1), (1, 1)), (y,)), (1, 2)), constant([2], INT64))
    ),
    "cumsum": lambda y: make(Cumulative("sum", 1), (y,)),
    "cumsum from the end": lambda y: make(Cumulative("sum", 0, True), (y,)),
    "contraction": lambda y: make(Contract((0, 1), (1, 2), (0, 2)), (y, constant(np.ones((3, 2)) / 2))),
    "outer product": lambda y: make(Contract((0, 1), (2,), (0, 1, 2)), (y, constant([1.0, 2.0]))),
    "root": lambda y: m.sqrt(y),
    "log of the sum": lambda y: m.log(reduce("sum", y, (0,))),
    "sort": lambda y: make(Sort(1), (y,)),
    "product": lambda y: y * make(Reverse((0,)), (y,)),
}


@pytest.mark.parametrize("name", THROUGH)
def test_missing_data_does_not_reach_the_gradient(name: str) -> None:
    """The gradient with NaN in the data is that of the terms that remain."""
    graph = program(through(THROUGH[name]), GAPS, 0.25)
    step = 1e-6
    ahead, behind = (evaluate(graph, [GAPS, 0.25 + s])[0] for s in (step, -step))
    wanted = (ahead - behind) / (2 * step)
    assert np.isfinite(wanted)
    for derived in (pushed(graph, [1]), pulled(graph, [1])):
        np.testing.assert_allclose(evaluate(derived, [GAPS, 0.25, 1.0])[0], wanted, rtol=1e-6, atol=1e-9)
    second = pushed(pushed(graph, [1]), [1])
    slopes = [evaluate(pushed(graph, [1]), [GAPS, 0.25 + s, 1.0])[0] for s in (step, -step)]
    wanted = (slopes[0] - slopes[1]) / (2 * step)
    np.testing.assert_allclose(evaluate(second, [GAPS, 0.25, 1.0, 1.0])[0], wanted, rtol=1e-6, atol=1e-8)
    again = pushed(pulled(graph, [1]), [1])
    np.testing.assert_allclose(evaluate(again, [GAPS, 0.25, 1.0, 1.0])[0], wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", [n for n in THROUGH if n not in ("sort", "product")])
def test_zeros_of_masked_tangents_survive_linear_ops_and_poles(name: str) -> None:
    """mask first, then an op, then a function whose slope is infinite where nothing is supported."""
    mask = np.array([[True, False, False], [False, False, False]])

    def build(x: Node, c: Node) -> Node:
        return m.sqrt(THROUGH[name](m.where(c, x, 0)) if name not in ("root", "log of the sum") else m.where(c, x, 0))

    x = np.full((2, 3), 4.0)
    graph = program(lambda x, c: total(build(x, c)), x, mask)
    forward_ = evaluate(pushed(graph), [x, mask, np.ones((2, 3))])[0]
    backward = evaluate(pulled(graph), [x, mask, 1.0])[0]
    assert np.isfinite(forward_), name
    assert np.isfinite(backward).all(), name
    np.testing.assert_allclose(backward.sum(), forward_)
    assert (backward[~mask] == 0).all()


@pytest.mark.parametrize(
    "labels", [((0, 1), (1,), (0,)), ((0, 1), (1, 2), (0, 2)), ((0, 1), (0, 1), (0,)), ((0, 1), (1, 2), (2, 0))]
)
def test_rows_with_missing_data_do_not_reach_the_weights(labels: Any) -> None:
    """Σ over complete rows of (X·w − 1)², where the rows with NaN are masked after the product."""
    left, right, out = labels
    sizes = {0: 3, 1: 2, 2: 2}
    data = np.array([[1.0, 2.0], [nan, 1.0], [3.0, -1.0]])
    weights = np.arange(1.0, 1 + np.prod([sizes[i] for i in right])).reshape([sizes[i] for i in right]) / 2
    complete = ~np.isnan(data).any(1)
    place = out.index(0)

    def build(x: Node, w: Node, mask: Node) -> Node:
        y = make(Contract(left, right, out), (x, w)) - 1
        return total(m.where(broadcast(mask, y.shape, (place,)), y * y, 0))

    graph = program(build, data, weights, complete)
    clean = np.where(complete[:, None], data, 0.0)  # the same sum, without what is missing
    for wrt in ([1], [0, 1]):
        found = evaluate(pulled(graph, wrt), [data, weights, complete, 1.0])
        wanted = evaluate(pulled(graph, wrt), [clean, weights, complete, 1.0])
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)


def test_norms_at_zero() -> None:
    zeros = np.zeros(3)
    norms: list[Callable[[Node], Node]] = [
        lambda x: m.sqrt(total(x * x)),
        lambda x: m.sqrt(make(Contract((0,), (0,), ()), (x, x))),
        lambda x: total(m.sqrt(x * x)),
        lambda x: m.sqrt(reduce("max", x * x, (0,))),
        lambda x: m.hypot(total(x), total(x * 2)),
    ]
    for build in norms:
        graph = program(build, zeros)
        np.testing.assert_array_equal(evaluate(pulled(graph), [zeros, 1.0])[0], zeros)
        np.testing.assert_array_equal(evaluate(pushed(graph), [zeros, np.ones(3)])[0], 0.0)
        for second in (pushed(pulled(graph), [0]), pulled(pulled(graph), [0])):
            found = evaluate(second, [zeros, 1.0, np.ones(3)])[0]
            np.testing.assert_array_equal(found, zeros)


def test_the_square_of_a_norm_is_smooth_once_simplified() -> None:
    zeros = np.zeros(3)

    def build(x: Node) -> Node:
        norm = m.sqrt(total(x * x))
        return norm * norm

    graph = simplify(program(build, zeros))
    gradient = pulled(graph)
    np.testing.assert_array_equal(evaluate(gradient, [zeros, 1.0])[0], zeros)
    for direction in np.eye(3):
        found = evaluate(pushed(gradient, [0]), [zeros, 1.0, direction])[0]
        np.testing.assert_array_equal(found, 2 * direction)


def test_logsumexp_with_terms_that_are_minus_infinity() -> None:
    def build(x: Node) -> Node:
        top = reduce("max", x, (0,))
        return top + m.log(total(m.exp(x - top)))

    x = np.array([-inf, 1.0, 2.0, -inf])
    weights = np.exp(x) / np.exp(x).sum()
    graph = program(build, x)
    np.testing.assert_allclose(evaluate(pulled(graph), [x, 1.0])[0], weights, rtol=1e-14)
    np.testing.assert_allclose(evaluate(pushed(graph), [x, np.arange(4.0)])[0], weights @ np.arange(4.0), rtol=1e-14)


def test_many_seeds_keep_the_supports() -> None:
    """Coefficients that are multiplied up first meet no zero either."""
    from chainrule.graph.differentiate import jvp, linearize, vjp

    graph = program(lambda x: [root(x), m.exp(root(x) * 2), m.sin(m.sqrt(m.maximum(x, 0)))], 1.0)
    x = graph.arguments
    program_ = accumulate(linearize(graph.outputs, x))
    assert len(program_.outputs) == 3
    _, rows = jvp(graph.outputs, x, [[constant(1.0), constant(2.0)]])
    back = vjp(graph.outputs, x, [[constant(1.0), None], [None, constant(1.0)], [constant(1.0), None]])
    for node in [n for row in rows for n in row] + back[0]:
        assert node is not None
        for point in (-1.0, -4.0):
            assert evaluate(graph.replace([node]), [point])[0] == 0


def test_no_masks_where_nothing_can_be_infinite() -> None:
    """A mask is emitted where a choice is made, and not again for products with constants."""
    graph = program(lambda x: 3 * m.where(m.gt(x, 0), x, 0) + 2, 1.0)
    for mode in MODES.values():
        names = [getattr(n.op, "name", "") for n in mode(graph).nodes]
        assert names.count("where") == 1
    broadcasts = [n for n in forward(graph).nodes if isinstance(n.op, Broadcast)]
    assert not broadcasts
