"""Derivatives of branches and loops of every kind, in both modes and any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from chainrule.graph.differentiate import jvp, loops_between
from chainrule.graph.dtype import FLOAT64, INT64
from chainrule.graph.evaluate import evaluate
from chainrule.graph.express import NODES as m
from chainrule.graph.express import broadcast, cast, reduce, zeros
from chainrule.graph.node import Graph, Node, constant, make, results
from chainrule.graph.op import Cond, Input, Loop, Type
from tests.check import check_grads, program, pulled, pushed

F = Type((), FLOAT64)
I = Type((), INT64)  # noqa: E741


def body(build: Callable[..., Any], *kinds: Type) -> Graph:
    outputs = build(*[make(Input(0, i, kind)) for i, kind in enumerate(kinds)])
    return Graph(kinds, outputs if isinstance(outputs, (tuple, list)) else [outputs])


def branch(index: Node, operands: Sequence[Node], *builds: Callable[..., Any]) -> tuple[Node, ...]:
    kinds = [o.type for o in operands]
    return results(make(Cond(tuple(body(b, *kinds) for b in builds)), (index, *operands)))


def count(
    trips: Any,
    build: Callable[..., Any],
    carries: Sequence[Node],
    scanned: Sequence[Node] = (),
    captured: Sequence[Node] = (),
    *,
    length: int | None = None,
    reverse: bool = False,
    condition: Any = "count",
) -> tuple[Node, ...]:
    kinds = [I, *[c.type for c in carries], *[Type(s.shape[1:], s.dtype) for s in scanned], *[c.type for c in captured]]
    op = Loop(condition, body(build, *kinds), None, len(carries), len(scanned), length, reverse)
    return results(make(op, (constant(trips) if isinstance(trips, int) else trips, *carries, *scanned, *captured)))


def until(
    test: Callable[..., Any], build: Callable[..., Any], carries: Sequence[Node], captured: Sequence[Node] = ()
) -> tuple[Node, ...]:
    kinds = [n.type for n in (*carries, *captured)]
    op = Loop("predicate", body(build, *kinds), body(test, *kinds), len(carries), 0, None)
    return results(make(op, (*carries, *captured)))


# --- branches -----------------------------------------------------------------------------------------------


def three_ways(i: Node, x: Node, y: Node) -> tuple[Node, ...]:
    """Results that depend on x, on y, on both, on nothing; integers and floats."""
    return branch(
        i,
        [x, y, i],
        lambda a, b, k: (m.sin(a), b * b, k, b),
        lambda a, b, k: (a * b, constant(2.0), k + 1, a),
        lambda a, b, k: (m.exp(b), a * a * a, k, constant(1.0)),
    )


@pytest.mark.parametrize("index", [0, 1, 2, 7, -3])
def test_branches(index: int) -> None:
    check_grads(lambda i, x, y: [three_ways(i, x, y)[j] for j in (0, 1, 3)], [index, 0.5, -1.25], order=3)
    check_grads(lambda i, x, y: sum(three_ways(i, x * x, y)[::3], m.sin(x)), [index, 0.5, -1.25])


def test_branches_of_arrays_and_of_one_number() -> None:
    x = np.array([0.5, -1.0, 2.0])
    for index in (0, 1):
        check_grads(
            lambda i, x: branch(i, [x], lambda a: m.sin(a) * a, lambda a: reduce("sum", a, (0,)) * a), [index, x]
        )
        check_grads(
            lambda i, t: branch(i, [broadcast(t, (3,), ())], lambda a: m.sin(a), lambda a: a * a),
            [index, np.float64(0.5)],
        )


def test_the_branch_is_chosen_by_the_value_and_not_evaluated_otherwise() -> None:
    graph = program(
        lambda x: branch(cast(m.gt(x, 0), INT64), [x], lambda a: zeros(a.type), lambda a: m.sqrt(a) * m.log(a)), -1.0
    )
    for derived in (pushed(graph), pulled(graph)):
        assert evaluate(derived, [-1.0, 1.0]) == [0.0]


def test_branches_with_an_operand_given_twice() -> None:
    for index in (0, 1):
        check_grads(lambda i, x: branch(i, [x, x], lambda a, b: a * a * b, lambda a, b: b), [index, 1.5])


def test_branches_in_branches() -> None:
    def build(i: Node, j: Node, x: Node) -> Any:
        return branch(
            i,
            [j, x],
            lambda j, x: branch(j, [x], lambda a: a * a, lambda a: m.sin(a)),
            lambda j, x: x * branch(j, [x], lambda a: a * a * a, lambda a: constant(3.0))[0],
        )

    for i in (0, 1):
        for j in (0, 1):
            check_grads(build, [i, j, 0.75])


def test_masks_go_through_branches() -> None:
    """A tangent that is zero by a choice outside meets an infinite slope inside, and one inside, outside."""

    def outside(i: Node, x: Node) -> Node:
        (y,) = branch(i, [m.where(m.gt(x, 0), x, 0)], lambda a: m.sqrt(a), lambda a: m.log(a))
        return m.where(m.gt(x, 0), y, 0)

    def inside(i: Node, x: Node) -> Node:
        (y,) = branch(i, [x], lambda a: m.where(m.gt(a, 0), a, 0), lambda a: m.where(m.gt(a, 0), a * a, 0))
        return m.sqrt(y)

    for build in (outside, inside):
        for index in (0, 1):
            graph = program(build, index, -1.0)
            for derived in (pushed(graph), pulled(graph)):
                assert evaluate(derived, [index, -1.0, 1.0]) == [0.0]
            for derived in (pushed(pulled(graph), [1]), pulled(pushed(graph), [1])):
                assert evaluate(derived, [index, -1.0, 1.0, 1.0]) == [0.0]
            check_grads(graph, [index, 2.0])


# --- loops -------------------------------------------------------------------------------------------------


def scan(x: Node, xs: Node, a: Node) -> tuple[Node, ...]:
    """Carries (h, number of steps), outputs (tanh h, x·i, i)."""
    return count(
        4,
        lambda i, h, n, s, a: (
            m.tanh(a * h + s),
            n + 1,
            h * h,
            s * cast(i, FLOAT64),
            i,
        ),
        [x, constant(0)],
        [xs],
        [a],
        length=4,
    )


XS = np.array([0.5, -1.0, 0.25, 2.0])


def test_scans() -> None:
    check_grads(lambda x, xs, a: [scan(x, xs, a)[j] for j in (0, 2, 3)], [0.5, XS, 1.25])
    # each argument alone, what does not depend on it staying as it is
    check_grads(lambda x: scan(x, broadcast(constant(0.5), (4,), ()), constant(1.25))[0], [0.5])
    check_grads(lambda xs: scan(constant(0.5), xs, constant(1.25))[0], [XS])
    check_grads(lambda a: scan(constant(0.5), broadcast(a, (4,), ()), constant(1.25))[0], [0.5])


def test_backward_scans() -> None:
    def build(x: Node, xs: Node) -> Any:
        return count(4, lambda i, h, s: (m.sin(h * s), h), [x], [xs], length=4, reverse=True)

    check_grads(build, [0.5, XS])


@pytest.mark.parametrize("trips", [0, 1, 5])
def test_counted_loops(trips: int) -> None:
    check_grads(
        lambda n, x: count(n, lambda i, y, x: m.sin(y) + x * cast(i, FLOAT64), [x], [], [x]), [trips, 0.5]
    )


def test_maps() -> None:
    def build(xs: Node, a: Node) -> Any:
        return count(4, lambda i, s, a: (s * a * cast(i, FLOAT64), m.exp(a)), [], [xs], [a], length=4, condition="map")

    check_grads(build, [XS, 0.5])


def newton(a: Node) -> Node:
    return until(
        lambda x, a: m.gt(m.abs(x * x - a), 1e-12),
        lambda x, a: 0.5 * (x + a / x),
        [a],
        [a],
    )[0]


def test_loops_of_unknown_length() -> None:
    check_grads(newton, [2.0], order=2, floats=None)
    graph = program(
        lambda a: until(lambda x, a: m.gt(m.abs(x * x - a), 1e-12), lambda x, a: 0.5 * (x + a / x), [a], [a]), 2.0
    )
    np.testing.assert_allclose(evaluate(pushed(graph), [2.0, 1.0])[0], 0.5 / np.sqrt(2), rtol=1e-12)


def test_nested_loops() -> None:
    def build(x: Node, y: Node) -> Any:
        def outer(i: Node, h: Node, y: Node) -> Any:
            (inner,) = count(3, lambda j, g, h, y: m.sin(g * y + h), [h], [], [h, y])
            (steps,) = until(lambda g, h: m.lt(g, 2.0), lambda g, h: g + m.exp(h), [inner], [h])
            return inner * steps

        return count(2, outer, [x], [], [y])

    check_grads(build, [0.5, 0.75])


def test_carries_that_become_active_late() -> None:
    """The last carry feeds the one before it, and so on: after four steps the first depends on x."""

    def build(x: Node) -> Any:
        zero = constant(0.0)
        return count(6, lambda i, a, b, c, d: (a + b, b + c * c, c + m.sin(d), d * d), [zero, zero, zero, x])

    check_grads(build, [0.75])
    check_grads(build, [0.75], order=3, modes="f")


def test_a_carry_that_is_reset() -> None:
    check_grads(lambda x: count(3, lambda i, a, b: (constant(1.0), a * b), [x, x]), [0.75])


def test_many_seeds_through_a_loop() -> None:
    graph = program(lambda x, y, xs: [scan(x * y, xs, y)[0]], 0.5, 1.25, XS)
    x = graph.arguments
    one = constant(1.0)
    unit = [m.where(m.eq(make_iota(4), constant(i)), constant(1.0), constant(0.0)) for i in range(4)]
    seeds = [[one, None, None, None, None, None], [None, one, None, None, None, None], [None, None, *unit]]
    values, rows = jvp(graph.outputs, x, seeds)
    together = graph.replace([*values, *[n for n in rows[0] if n is not None]])
    assert len(together.outputs) == 7
    loops = [n for n in together.nodes if isinstance(n.op, Loop)]
    assert len(loops) == 1  # the values come from the loop of the tangents
    found = evaluate(together, [0.5, 1.25, XS])
    for k in range(6):
        parts = [zeros(kind) if row[k] is None else row[k] for row, kind in zip(seeds, graph.inputs, strict=True)]
        _, single = jvp(graph.outputs, x, [[p] for p in parts])
        assert single[0][0] is not None
        np.testing.assert_allclose(
            found[1 + k], evaluate(graph.replace([single[0][0]]), [0.5, 1.25, XS])[0], rtol=1e-14
        )


def make_iota(n: int) -> Node:
    from chainrule.graph.op import Iota

    return make(Iota(n))


def test_seeds_that_do_not_reach_a_carry_add_none() -> None:
    graph = program(lambda x, y: count(3, lambda i, a, b: (m.sin(a), m.cos(b)), [x, y]), 0.5, 0.25)
    one = constant(1.0)
    _, rows = jvp(graph.outputs, graph.arguments, [[one, None], [None, one]])
    assert rows[0][1] is None
    assert rows[1][0] is None
    (loop,) = [n for n in Graph(graph.inputs, [rows[0][0], rows[1][1]]).nodes if isinstance(n.op, Loop)]  # type: ignore[list-item]
    assert loop.op.carries == 4  # type: ignore[union-attr]


def test_one_loop_after_another_runs_once() -> None:
    def build(x: Node) -> Any:
        for k in range(20):
            (x,) = count(3, lambda i, a, k=k: m.sin(a) + k / 8, [x])
        return x

    graph = program(build, 0.5)
    values, rows = jvp(graph.outputs, graph.arguments, [[constant(1.0)]])
    both = graph.replace([*values, rows[0][0]])  # type: ignore[list-item]
    assert sum(isinstance(n.op, Loop) for n in both.nodes) == 20
    check_grads(graph, [0.5], order=1, floats=None)


def test_loops_of_arrays_with_branches_inside() -> None:
    def step(i: Node, h: Node, a: Node) -> Any:
        return branch(cast(m.gt(reduce("sum", h, (0,)), 0), INT64), [h, a], lambda h, a: h + a, lambda h, a: h * a - 1)[
            0
        ]

    check_grads(lambda h, a: count(5, step, [h], [], [a]), [np.array([0.5, -0.25]), 0.75])


# --- masks across loops -------------------------------------------------------------------------------------


def positive(x: Node) -> Node:
    return m.where(m.gt(x, 0), x, 0)


MASKED: dict[str, Callable[[Node], Node]] = {
    "into a carry": lambda x: count(3, lambda i, a: m.sqrt(a), [positive(x)])[0],
    "into a captured value": lambda x: count(3, lambda i, a, c: a + m.sqrt(c), [constant(0.0)], [], [positive(x)])[0],
    "into a scanned array": lambda x: count(
        3, lambda i, a, s: a + m.sqrt(s), [constant(0.0)], [broadcast(positive(x), (3,), ())], length=3
    )[0],
    "into a map": lambda x: reduce(
        "sum", count(3, lambda i, c: m.sqrt(c), [], [], [positive(x)], length=3, condition="map")[0], (0,)
    ),
    "within a step": lambda x: count(3, lambda i, a, c: a + positive(m.sqrt(positive(c))), [constant(0.0)], [], [x])[0],
    "from step to step": lambda x: count(3, lambda i, a, c: positive(c) + m.sqrt(a), [constant(0.0)], [], [x])[0],
    "out of a carry": lambda x: m.sqrt(count(3, lambda i, a, c: a + positive(c), [constant(0.0)], [], [x])[0]),
    "out of a stacked output": lambda x: reduce(
        "sum", m.sqrt(count(3, lambda i, c: positive(c), [], [], [x], length=3, condition="map")[0]), (0,)
    ),
    "out of a loop of unknown length": lambda x: m.sqrt(
        until(lambda n, a, c: m.lt(n, 3.0), lambda n, a, c: (n + 1, a + positive(c)), [constant(0.0)] * 2, [x])[1]
    ),
    "through two carries": lambda x: m.sqrt(
        count(4, lambda i, a, b, c: (a + b, positive(c)), [constant(0.0), constant(0.0)], [], [x])[0]
    ),
    "through nested loops": lambda x: m.sqrt(
        count(2, lambda i, a, c: a + count(2, lambda j, b, c: b + positive(c), [constant(0.0)], [], [c])[0],
              [constant(0.0)], [], [x])[0]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MASKED)
def test_masks_across_loops(name: str) -> None:
    graph = program(MASKED[name], 1.0)
    for first in (pushed(graph), pulled(graph)):
        for x in (0.0, -2.0):
            assert evaluate(first, [x, 1.0]) == [0.0]
            for second in (pushed(first, [0]), pulled(first, [0])):
                assert evaluate(second, [x, 1.0, 1.0]) == [0.0]
    check_grads(graph, [2.0])
    # and for several seeds at once
    _, rows = jvp(graph.outputs, graph.arguments, [[constant(1.0), constant(2.0)]])
    assert evaluate(graph.replace(rows[0]), [-2.0]) == [0.0, 0.0]  # type: ignore[arg-type]


def test_a_mask_that_is_given_up_on_the_way() -> None:
    """Zero in the first step only: the support starts small and must not stay so."""

    def build(x: Node) -> Any:
        start = m.where(m.gt(x, 100), x, 0)
        return count(3, lambda i, a, c: a + c * c, [start], [], [x])

    check_grads(build, [1.5])
    kept = lambda x: count(3, lambda i, a, b, c: (b, a + c), [positive(x), positive(x)], [], [x])  # noqa: E731
    check_grads(kept, [-1.5])
    check_grads(kept, [1.5])


# --- loops that do not matter -------------------------------------------------------------------------------


def test_a_loop_that_does_not_matter_is_no_obstacle() -> None:
    def build(x: Node, n: Node) -> Any:
        (number,) = count(n, lambda i, k: k + i, [constant(0)])
        return x * cast(number, FLOAT64)

    graph = program(build, 2.0, 5)
    assert loops_between(graph.outputs, graph.arguments) == []
    assert evaluate(pulled(graph), [2.0, 5, 1.0]) == [10.0]


def test_a_loop_of_which_no_result_moves_stays() -> None:
    """Its argument has a tangent, which only a step function reads."""

    def build(x: Node) -> Any:
        (steps,) = count(3, lambda i, a, x: a + m.floor(x), [constant(0.0)], [], [x])
        (chosen,) = branch(cast(m.gt(steps, 2), INT64), [x], lambda a: m.floor(a), lambda a: m.ceil(a))
        return x * steps + chosen

    check_grads(build, [1.5])
