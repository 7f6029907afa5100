"""Reverse mode through loops: against closed forms, hand-written adjoints, and forward mode."""

from __future__ import annotations

import itertools
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.graph import dim as dims
from chainrule.graph.checkpoint import MOST
from chainrule.graph.cut import STORED, minimum_cut
from chainrule.graph.differentiate import value_and_vjp
from chainrule.graph.dtype import FLOAT64, INT64
from chainrule.graph.evaluate import evaluate
from chainrule.graph.express import NODES as m
from chainrule.graph.node import Graph, Node, constant, make, result_types, results
from chainrule.graph.op import Cond, Gather, Input, Loop, Scalar, Scatter, Type
from chainrule.simplify.pipeline import simplify
from tests.check import check_backends, check_grads, program, pulled, pushed

RNG = np.random.default_rng(7)


def numbers(count: int, low: float = 0.2, high: float = 1.2) -> Any:
    return RNG.uniform(low, high, count)


# --- programs with a closed form ----------------------------------------------------------------------------


def newton(a: Any) -> Any:
    """√a; the carry has the shape of a, so that many parameters go through one loop."""
    return cr.while_loop(lambda x: np.max(np.abs(x * x - a)) > 1e-13, lambda x: (x + a / x) / 2, a + 1.0)


def test_newton() -> None:
    a = numbers(7, 0.5, 9.0)
    np.testing.assert_allclose(cr.grad(lambda a: np.sum(newton(a)))(a), 0.5 / np.sqrt(a), rtol=1e-12)
    np.testing.assert_allclose(
        cr.hessian(lambda a: np.sum(newton(a)))(a), np.diag(-0.25 * a**-1.5), rtol=1e-9, atol=1e-12
    )
    value, gradient = cr.value_and_grad(lambda a: np.sum(newton(a)))(a)
    np.testing.assert_allclose(value, np.sum(np.sqrt(a)), rtol=1e-14)
    np.testing.assert_allclose(gradient, 0.5 / np.sqrt(a), rtol=1e-12)


def kepler(e: Any, mean: Any) -> Any:
    def step(state: Any) -> Any:
        anomaly, _ = state
        by = (anomaly - e * np.sin(anomaly) - mean) / (1 - e * np.cos(anomaly))
        return anomaly - by, np.abs(by)

    return cr.while_loop(lambda s: s[1] > 1e-9, step, (mean + e * np.sin(mean), 1.0))[0]


def test_kepler_by_reverse_mode_in_a_batch() -> None:
    """∂E/∂e = sin E/(1 − e cos E), ∂E/∂M = 1/(1 − e cos E); each lane has its own number of steps."""
    e, mean = numbers(200, 0.0, 0.95), numbers(200, 0.0, 6.25)
    total = lambda e, mean: np.sum(cr.vmap(kepler)(e, mean))  # noqa: E731
    by_e, by_mean = cr.grad(total, (0, 1))(e, mean)
    with mp.workdps(30):
        for k in range(0, 200, 7):
            own, phase = mp.mpf(e[k]), mp.mpf(mean[k])
            anomaly = mp.findroot(lambda E, e=own, phase=phase: E - e * mp.sin(E) - phase, mean[k] + 0.5 * e[k])
            slope = 1 / (1 - own * mp.cos(anomaly))
            np.testing.assert_allclose(by_mean[k], float(slope), rtol=1e-7)
            np.testing.assert_allclose(by_e[k], float(mp.sin(anomaly) * slope), rtol=1e-6, atol=1e-9)


def test_a_batch_of_gradients_of_while_loops() -> None:
    """vmap of grad, of four numbers, so that it is reverse mode; the lanes end after 0 to 60 halvings."""

    def halvings(p: Any) -> Any:
        scale = lambda c: (c[0] / 2, c[1] * p[1] + p[2] * p[3])  # noqa: E731
        return cr.while_loop(lambda c: c[0] > 1, scale, (p[0], p[0] * p[0]))[1]

    points = numbers(4 * 9).reshape(9, 4)
    points[:, 0] = 2.0 ** np.array([-3, 0, 1, 2, 5, 10, 20, 40, 60])
    found = cr.vmap(cr.grad(halvings))(points)
    for row, p in zip(found, points, strict=True):
        n = max(0, round(np.log2(p[0])))
        powers = p[1] ** np.arange(n)
        slope = np.sum(np.arange(n)[1:] * p[1] ** (np.arange(n)[1:] - 1)) * p[2] * p[3]
        by_p1 = n * p[1] ** max(n - 1, 0) * p[0] ** 2 + slope
        wanted = [2 * p[0] * p[1] ** n, by_p1, p[3] * powers.sum(), p[2] * powers.sum()]
        np.testing.assert_allclose(row, wanted, rtol=1e-12)


@pytest.mark.parametrize("steps", [0, 1, 2, 1000])
def test_leapfrog(steps: int) -> None:
    """The anharmonic oscillator and its adjoint by hand."""
    h = 0.01

    def energy(p: Any) -> Any:
        k, l, q0, p0 = p  # noqa: E741
        kick = lambda q, v: v - h / 2 * q * (k + l * q * q)  # noqa: E731

        def step(state: Any, _: Any) -> Any:
            q, v = state
            v = kick(q, v)
            q = q + h * v
            return (q, kick(q, v)), None

        (q, v), _ = cr.scan(step, (q0, p0), None, length=steps)
        return v * v / 2 + k * q * q / 2 + l * q**4 / 4

    p = np.array([1.3, 0.4, 0.9, 0.1])
    k, l, q, v = p  # noqa: E741
    qs = [q]
    for _ in range(steps):
        v -= h / 2 * q * (k + l * q * q)
        q += h * v
        v -= h / 2 * q * (k + l * q * q)
        qs.append(q)
    bk, bl, bq, bv = q * q / 2, q**4 / 4, q * (k + l * q * q), v
    for i in reversed(range(steps)):
        for place in (i + 1, i):
            q = qs[place]
            bk, bl, bq = bk - h / 2 * q * bv, bl - h / 2 * q**3 * bv, bq - h / 2 * (k + 3 * l * q * q) * bv
            if place > i:
                bv += h * bq
    np.testing.assert_allclose(cr.grad(energy)(p), [bk, bl, bq, bv], rtol=1e-11, atol=1e-13)


def test_a_recurrence_over_data() -> None:
    """λ ← exp(−β)·λ + α·x: the recurrent part of a point process, with its sums in closed form."""
    x = numbers(50)

    def last(p: Any, x: Any) -> Any:
        return cr.scan(lambda s, x: (np.exp(-p[0]) * s + p[1] * x, s * p[2] + p[3]), 0.0, x)

    p = np.array([0.3, 0.7, 1.5, -0.5])
    total = lambda p, x: last(p, x)[0] + np.sum(last(p, x)[1])  # noqa: E731
    by_p, by_x = cr.grad(total, (0, 1))(p, x)
    n = np.arange(50)
    after = np.exp(-p[0] * (49 - n))  # of x[i] in the last state, and in all outputs after it
    outputs = np.array([np.sum(np.exp(-p[0] * np.arange(49 - i))) for i in n])
    np.testing.assert_allclose(by_x, p[1] * (after + p[2] * outputs), rtol=1e-13)
    np.testing.assert_allclose(by_p[1], np.sum(x * (after + p[2] * outputs)), rtol=1e-13)
    np.testing.assert_allclose(by_p[3], 50, rtol=1e-15)


# --- every kind of nesting ----------------------------------------------------------------------------------


def graph_of(build: Any, *kinds: Type) -> Graph:
    outputs = build(*[make(Input(0, i, kind)) for i, kind in enumerate(kinds)])
    return Graph(kinds, outputs if isinstance(outputs, (tuple, list)) else [outputs])


F, I = Type((), FLOAT64), Type((), INT64)  # noqa: E741


def counted(trips: Node, build: Any, carries: list[Node], captured: list[Node]) -> tuple[Node, ...]:
    kinds = [I, *[n.type for n in (*carries, *captured)]]
    op = Loop("count", graph_of(build, *kinds), None, len(carries), 0, None)
    return results(make(op, (trips, *carries, *captured)))


def until(test: Any, build: Any, carries: list[Node], captured: list[Node]) -> tuple[Node, ...]:
    kinds = [n.type for n in (*carries, *captured)]
    op = Loop("predicate", graph_of(build, *kinds), graph_of(test, *kinds), len(carries), 0, None)
    return results(make(op, (*carries, *captured)))


def choice(condition: Node, then: Any, otherwise: Any, operands: list[Node]) -> tuple[Node, ...]:
    kinds = [n.type for n in operands]
    branches = (graph_of(otherwise, *kinds), graph_of(then, *kinds))
    return results(make(Cond(branches), (m.where(condition, constant(1), constant(0)), *operands)))


def branch_in_while(x: Node, y: Node) -> Any:
    def step(k: Node, h: Node, y: Node) -> Any:
        (moved,) = choice(m.gt(h, 1.0), lambda h, y: h * y, lambda h, y: h + m.sin(y), [h, y])
        return k + 1, moved

    return until(lambda k, h, y: m.lt(k, 9), step, [constant(0), x], [y])[1]


def while_in_branch(x: Node, y: Node) -> Any:
    loop = lambda x, y: until(lambda h, y: m.lt(h, 5.0), lambda h, y: h + y * h, [x], [y])[0]  # noqa: E731
    return choice(m.gt(y, 0), loop, lambda x, y: x * y, [x, y])


def while_in_traced_count(x: Node, y: Node, n: Node) -> Any:
    def outer(i: Node, h: Node, g: Node, y: Node) -> Any:
        _, inner = until(lambda k, a, h, y: m.lt(a, 3.0), lambda k, a, h, y: (k + 1, a + m.exp(y * h)),
                         [constant(0), h], [m.tanh(g), y])  # fmt: skip
        return m.sin(inner) * y, g + m.cos(h) * inner

    return counted(n, outer, [x, y], [y])


def count_of_array(x: Node, y: Node, n: Node) -> Any:
    def step(i: Node, a: Node, y: Node) -> Any:
        inner = lambda j, a, i, y: make(Scatter((0,), "set"), (a, m.sin(make(Gather((0,)), (a, j))) * y, j + 1))  # noqa: E731
        return counted(constant(2), inner, [a], [i, y])[0] * 1.5

    return counted(n, step, [x], [y])[0]


NESTED: dict[str, tuple[Any, list[Any]]] = {
    "branch in while": (branch_in_while, [0.75, 0.5]),
    "while in branch, taken": (while_in_branch, [0.75, 0.5]),
    "while in branch, not taken": (while_in_branch, [0.75, -0.5]),
    "while in a loop of traced length": (while_in_traced_count, [0.5, 0.25, 3]),
    "while in a loop that does not run": (while_in_traced_count, [0.5, 0.25, 0]),
    "an array that changes in place": (count_of_array, [np.array([0.5, 0.25, -1.0]), 0.75, 3]),
}


@pytest.mark.parametrize("name", NESTED)
def test_nested(name: str) -> None:
    build, args = NESTED[name]
    graph = program(build, *args)
    check_grads(graph, args)
    floats = [np.ones(o.shape) for o in graph.outputs]
    check_backends(simplify(pulled(graph)), [*args, *floats], 1e-10)


def test_every_nesting_of_orders_three() -> None:
    check_grads(newton_of_numbers, [2.0], order=3, floats=None)


def newton_of_numbers(a: Node) -> Node:
    return until(lambda k, x, a: m.lt(k, 2), lambda k, x, a: (k + 1, 0.5 * (x + a / x)), [constant(0), a], [a])[1]


# --- checkpoints --------------------------------------------------------------------------------------------


def wander(n: Node, x: Node, a: Node) -> Node:
    return counted(n, lambda i, y, a: m.sin(y * a) + y * 0.5, [x], [a])[0]


@pytest.mark.parametrize("trips", [MOST - 1, MOST, MOST + 1, MOST + 2, 2 * MOST, 2144, 2145, 2146, 20_000])
def test_more_steps_than_checkpoints(trips: int) -> None:
    """At and around every number at which the schedule changes."""
    from chainrule.codegen.function import call
    from chainrule.codegen.kernel import compile_graph

    graph = program(wander, 5, 0.5, 0.7)
    back = compile_graph(simplify(pulled(graph)), "back", tree=(0, 1))
    ahead = compile_graph(simplify(pushed(graph)), "ahead")
    args = [np.asarray(trips), np.asarray(0.5), np.asarray(0.7)]
    by_x, by_a = call(back.address, back.signature, [*args, np.asarray(1.0)], [])
    both = call(ahead.address, ahead.signature, [*args, np.asarray(1.0), np.asarray(0.5)], [])
    np.testing.assert_allclose(by_x + 0.5 * by_a, both, rtol=1e-9)


def test_few_checkpoints_of_large_states() -> None:
    """The state has so many numbers that only some states are kept."""
    x = numbers(3000)
    total = lambda x: np.sum(cr.while_loop(lambda s: s[0] < 70, lambda s: (s[0] + 1, np.sin(s[1] * x)), (0, x))[1])  # noqa: E731
    _, along = cr.jvp(total, (x,), (np.ones_like(x),))
    np.testing.assert_allclose(np.sum(cr.grad(total)(x)), along, rtol=1e-12)


# --- what is stored -----------------------------------------------------------------------------------------


def stored(graph: Graph) -> list[Type]:
    """The arrays that the loops of a graph stack, and what they carry."""
    return [t for n in graph.nodes if isinstance(n.op, Loop) for t in result_types(n)]


def elements(graph: Graph) -> int:
    return sum(int(dims.product(t.shape)) for t in stored(graph))  # type: ignore[arg-type]


def test_only_the_carries_that_are_read_are_stored() -> None:
    def total(p: Any) -> Any:
        step = lambda s, _: ((np.sin(s[0]), s[1] + s[0] * p[1], s[2] + s[1]), None)  # noqa: E731
        return cr.scan(step, (p[0], p[2], p[3]), None, length=1000)[0][2]

    graph = cr.trace(cr.grad(total), cr.spec(4))
    assert sum(t.shape == (1000,) for t in stored(graph)) == 1


def test_an_array_that_changes_step_by_step_costs_a_number_a_step() -> None:
    """y[i] = sin(y[i−1])·x[i]: linear in time and memory, whatever the length."""

    def total(x: Any, start: Any) -> Any:
        def step(i: Any, y: Any) -> Any:
            y[i + 1] = np.sin(y[i]) * x[i + 1]
            return y

        return np.sum(cr.fori_loop(0, x.shape[0] - 1, step, 0 * x + start))

    for n in (10, 1000):
        assert elements(cr.trace(cr.grad(total), cr.spec(n), cr.spec())) < 12 * n
    n = 200_000
    x = np.linspace(1.0, 1.5, n)
    y, bar, wanted = np.full(n, 0.3), np.ones(n), np.zeros(n)
    for i in range(1, n):
        y[i] = np.sin(y[i - 1]) * x[i]
    for i in reversed(range(1, n)):
        wanted[i] = bar[i] * np.sin(y[i - 1])
        bar[i - 1] += bar[i] * x[i] * np.cos(y[i - 1])
    found = cr.grad(total)(x, 0.3)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


def test_memory_of_nested_loops_is_the_sum_of_the_trip_counts() -> None:
    def total(p: Any) -> Any:
        inner = lambda h, k: cr.fori_loop(0, k, lambda j, g: np.sin(g * p[0]) + p[1], h)  # noqa: E731
        return cr.fori_loop(0, 1000, lambda i, h: inner(h, 900) * p[2] + p[3], 0.5)

    graph = cr.trace(cr.grad(total), cr.spec(4))
    pending, most = [graph], 0
    while pending:
        body = pending.pop()
        most = max(most, elements(body))
        pending.extend(n.op.body for n in body.nodes if isinstance(n.op, Loop))
    assert most < 3000


def test_values_and_gradient_share_the_loop() -> None:
    graph = program(lambda x: counted(constant(5), lambda i, y: m.sin(y), [x], [])[0], 0.5)
    values, rows = value_and_vjp(graph.outputs, graph.arguments, [[constant(1.0)]])
    assert isinstance(values[0], Node)
    together = simplify(Graph(graph.inputs, [*values, rows[0][0]]))  # type: ignore[list-item]
    assert sum(isinstance(n.op, Loop) for n in together.nodes) == 2
    y = x = 0.5
    slope = 1.0
    for _ in range(5):
        slope, y = slope * np.cos(y), np.sin(y)
    np.testing.assert_allclose(evaluate(together, [x]), [y, slope], rtol=1e-15)


# --- modes --------------------------------------------------------------------------------------------------


def test_few_numbers_go_forward_and_many_backward() -> None:
    def total(*x: Any) -> Any:
        return cr.fori_loop(0, 10, lambda i, y: np.sin(y) * sum(x), x[0])

    few = cr.trace(cr.grad(total, (0, 1)), cr.spec(), cr.spec())
    many = cr.trace(cr.grad(total, tuple(range(5))), *[cr.spec()] * 5)
    assert sum(isinstance(n.op, Loop) for n in few.nodes) == 1
    assert sum(isinstance(n.op, Loop) for n in many.nodes) == 2
    point = numbers(5)
    forward = cr.jacfwd(total, tuple(range(5)))(*point)
    np.testing.assert_allclose(cr.grad(total, tuple(range(5)))(*point), forward, rtol=1e-13)


def test_jacobians_take_the_cheaper_mode() -> None:
    def states(x: Any) -> Any:
        return cr.scan(lambda h, s: (np.sin(h * s), h * h), 0.5, x)[0]

    x = numbers(20)
    rows, columns = cr.jacrev(states)(x), cr.jacfwd(states)(x)
    np.testing.assert_allclose(rows, columns, rtol=1e-12)
    np.testing.assert_allclose(cr.jacobian(states)(x), columns, rtol=1e-12)
    cheapest = cr.trace(cr.jacobian(states), cr.spec(20))
    by_rows = cr.trace(cr.jacrev(states), cr.spec(20))
    assert cheapest == by_rows


def test_complex_numbers_through_loops() -> None:
    """|z₃|² of z ← z² + c by c: f′·conj f, as two real derivatives give it."""
    c = np.array([0.1 + 0.2j, -0.3 + 0.1j, 0.2 - 0.4j, 0.0 + 0.1j])

    def square(c: Any) -> Any:
        return np.sum(np.abs(cr.fori_loop(0, 3, lambda i, z: z * z + c, c)) ** 2)

    def of_parts(p: Any) -> Any:
        return square(p[0] + 1j * p[1])

    with mp.workdps(40):
        step = mp.mpf("1e-15")
        wanted = []
        for value in c:
            parts = []
            for unit in (mp.mpc(1), mp.mpc(0, 1)):
                sides = []
                for sign in (1, -1):
                    own = mp.mpmathify(complex(value)) + sign * step * unit
                    z = own
                    for _ in range(3):
                        z = z * z + own
                    sides.append(abs(z) ** 2)
                parts.append((sides[0] - sides[1]) / (2 * step))
            wanted.append(complex(parts[0], -parts[1]))
    np.testing.assert_allclose(cr.grad(square)(c), wanted, rtol=1e-12)


def test_second_order_of_many_parameters() -> None:
    """Forward over reverse and reverse over reverse, through a loop of unknown length."""
    x = numbers(5)

    def total(x: Any) -> Any:
        step = lambda s: (s[0] + 1, np.sin(s[1] * x) + 0.1 * np.sum(s[1]) * x)  # noqa: E731
        return np.sum(cr.while_loop(lambda s: np.logical_and(s[0] < 6, np.sum(s[1]) < 1e3), step, (0, x))[1])

    forward = cr.jacfwd(cr.jacfwd(total))(x)
    np.testing.assert_allclose(cr.jacfwd(cr.grad(total))(x), forward, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(cr.jacrev(cr.grad(total))(x), forward, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(cr.hessian(total)(x), forward, rtol=1e-11, atol=1e-13)


def test_a_map_stays_a_map() -> None:
    """Cotangents of a small captured value are stacked and summed, those of a large one added up step by step."""
    xs, small, large = numbers(6), numbers(3), numbers(40)

    def total(xs: Any, small: Any, large: Any) -> Any:
        return np.sum(cr.map(lambda x: x * np.sum(np.sin(x * small)), xs)) + np.sum(
            cr.map(lambda x: np.sum(np.cos(x * large)), xs)
        )

    found = cr.grad(total, (0, 1, 2))(xs, small, large)
    x = xs[:, None]
    by_x = np.sum(np.sin(x * small) + x * small * np.cos(x * small), 1) - np.sum(large * np.sin(x * large), 1)
    np.testing.assert_allclose(found[0], by_x, rtol=1e-12)
    np.testing.assert_allclose(found[1], np.sum(x * x * np.cos(x * small), 0), rtol=1e-12)
    np.testing.assert_allclose(found[2], np.sum(-x * np.sin(x * large), 0), rtol=1e-12)
    graph = cr.trace(cr.grad(total, (0, 1, 2)), cr.spec(6), cr.spec(3), cr.spec(40))
    kinds = sorted(n.op.condition for n in graph.nodes if isinstance(n.op, Loop))
    assert kinds == ["count", "map"]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.booleans())
def test_random_loops(seed: int, trips: int, known: bool) -> None:
    """Steps of random carries, with a branch, in a loop of known or unknown length: forward and reverse agree."""
    rng = np.random.default_rng(seed)
    functions = [m.sin, m.cos, m.tanh, lambda v: m.exp(-v * v), lambda v: v * 0.5]
    picks = rng.integers(0, 5, 4)
    pairs = rng.integers(0, 3, (4, 2))

    def step(state: list[Node], c: Node) -> list[Node]:
        values = [*state]
        for pick, (a, b) in zip(picks, pairs, strict=True):
            values.append(functions[pick](values[-1 - a] * c + values[b]))
        (chosen,) = choice(m.gt(values[-1], values[-2]), lambda u, v: u * v, lambda u, v: u - v * v, values[-2:])
        return [chosen, values[-1], values[-3]]

    def build(x: Node, y: Node, c: Node, n: Node) -> Any:
        if known:
            return counted(n, lambda i, *s: step(list(s[:3]), s[3]), [x, y, c], [c])
        _, *state = until(lambda k, *s: m.lt(k, s[4]), lambda k, *s: [k + 1, *step(list(s[:3]), s[3])],
                          [constant(0), x, y, c], [c, n])  # fmt: skip
        return state

    check_grads(build, [*np.round(rng.uniform(0.1, 1.0, 3), 3), trips], order=1)


# --- what is cheapest to store ------------------------------------------------------------------------------


def test_a_minimum_cut_is_the_one_nearest_to_the_readers() -> None:
    x, y, table = (make(Input(0, i, kind)) for i, kind in enumerate([F, F, Type((50,), FLOAT64)]))
    both = m.exp(x * y)
    order = Graph([F, F, table.type], [m.sin(both), m.cos(both)]).nodes
    assert minimum_cut(order, [x, y], [m.sin(both), m.cos(both)]) == [both]
    assert minimum_cut(order, [x, y], [m.sin(both)]) == [m.sin(both)]
    assert set(minimum_cut(order, [x, y], [x, m.sin(both)])) == {x, m.sin(both)}
    assert minimum_cut(order, [x], [y, both]) == [both]
    read = make(Gather((0,)), (table, constant(3)))
    order = Graph([F, F, table.type], [read * x, table * x]).nodes
    assert set(minimum_cut(order, [x, table], [read, x])) == {read, x}
    assert set(minimum_cut(order, [x, table], [read, x, table])) == {table, x}


@pytest.mark.parametrize("seed", range(30))
def test_a_minimum_cut_weighs_what_is_computed_again(seed: int) -> None:
    """The cheapest of all choices, tried one by one."""
    rng = np.random.default_rng(seed)
    sources = [make(Input(0, i, F)) for i in range(2)]
    nodes: list[Node] = [*sources]
    for name in rng.choice(["sin", "add", "mul", "exp", "div"], 7):
        args = [nodes[i] for i in rng.integers(0, len(nodes), 1 if name in ("sin", "exp") else 2)]
        nodes.append(make(Scalar(str(name)), tuple(args)))
    order = list(dict.fromkeys(nodes))
    readers = [n for n in order[2:] if rng.random() < 0.5] or order[-1:]
    price = {n: int(rng.integers(0, 20)) for n in order}

    def cost(stored: set[Node]) -> float:
        total, pending, seen = STORED * len(stored), list(readers), set[Node]()
        while pending:
            node = pending.pop()
            if node in stored or node in seen:
                continue
            seen.add(node)
            total += 10**9 if node in sources else price[node]
            pending.extend(node.args)
        return total

    found = minimum_cut(order, sources, readers, price.__getitem__)
    choices = [set(c) for k in range(len(order) + 1) for c in itertools.combinations(order, k)]
    assert cost(set(found)) == min(map(cost, choices))


@pytest.mark.parametrize("reverse", [False, True])
def test_the_carry_out_of_a_step_is_the_carry_into_the_next(reverse: bool) -> None:
    """tanh′ is read of the new state, the step's slope of the old one: one stack serves both."""

    def total(p: Any, x: Any) -> Any:
        return cr.scan(lambda h, x: (np.tanh(p[0] * h * h + p[1] * x + p[2] * p[3]), None), 0.5, x, reverse=reverse)[0]

    x, p = numbers(30), numbers(4)
    graph = cr.trace(cr.grad(total), cr.spec(4), cr.spec(30))
    assert sum(t.shape == (30,) for t in stored(graph)) == 1
    forward = cr.jacfwd(total)(p, x)
    np.testing.assert_allclose(cr.grad(total)(p, x), forward, rtol=1e-12)
    np.testing.assert_allclose(cr.jacfwd(cr.grad(total))(p, x), cr.jacfwd(cr.jacfwd(total))(p, x), rtol=1e-11)
    np.testing.assert_allclose(cr.jacrev(cr.grad(total))(p, x), cr.jacfwd(cr.jacfwd(total))(p, x), rtol=1e-11)
