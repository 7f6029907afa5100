"""Loops and branches: what need not be inside goes out, what need not be there at all goes away."""

import numpy as np
import pytest

from chainrule.graph.dim import size
from chainrule.graph.dtype import BOOL, FLOAT64, INT64
from chainrule.graph.evaluate import CALLBACKS, evaluate
from chainrule.graph.node import Graph, constant, make, results, scalar
from chainrule.graph.op import Callback, Cond, Input, Loop, Project, Type
from chainrule.simplify.bodies import prune
from chainrule.simplify.pipeline import simplify
from tests.simplify.instances import assert_same_bits

N = size("n")
S, I0, B0, V = Type((), FLOAT64), Type((), INT64), Type((), BOOL), Type((N,), FLOAT64)


def inputs(*kinds):
    return [make(Input(0, i, k)) for i, k in enumerate(kinds)]


def loops(graph):
    """The loops and branches in a graph, not in its bodies."""
    return [n for n in graph if isinstance(n.op, Loop | Cond)]


def check(graph, *args, level="fast"):
    """The simplified graph, after comparing its value."""
    found = simplify(graph, level)
    assert simplify(found, level) == found
    for a, b in zip(evaluate(found, args), evaluate(graph, args), strict=True):
        assert_same_bits(a, b)
    return found


# --- branches ----------------------------------------------------------------------------------------------


def cond(which, *operands, branches):
    kinds = [o.type for o in operands]
    xs = inputs(*kinds)
    return results(make(Cond(tuple(Graph(kinds, f(*xs)) for f in branches)), (which, *operands)))


NEG, EXP = (lambda x: [scalar("neg", x)]), (lambda x: [scalar("exp", x)])


@pytest.mark.parametrize(
    ("index", "expected"), [(0, "neg"), (1, "exp"), (7, "exp"), (-1, "neg"), (True, "exp")]
)
def test_a_known_branch_is_inlined(index, expected):
    (x,) = inputs(S)
    graph = Graph([S], cond(constant(index), x, branches=(NEG, EXP)))
    assert check(graph, 2.0).outputs == (scalar(expected, x),)


def test_equal_branches_are_inlined():
    x, which = inputs(S, B0)
    graph = Graph([S, B0], cond(which, x, branches=(NEG, lambda x: [-(x * 1.0)])))
    assert check(graph, 2.0, True).outputs == (scalar("neg", x),)


def test_results_that_are_equal_in_all_branches_leave():
    x, y, which = inputs(S, S, B0)
    branches = (lambda x, y: [x, scalar("exp", x), constant(3.0)], lambda x, y: [x, y, constant(3.0)])
    found = check(Graph([S, S, B0], cond(which, x, y, branches=branches)), 2.0, 3.0, False)
    assert found.outputs[0] is x
    assert found.outputs[2] is constant(3.0)
    assert len(found.outputs[1].args[0].op.branches[0].outputs) == 1


def test_operands_constant_doubled_or_unused():
    x, which = inputs(S, B0)
    branches = (lambda a, b, c, d: [a + b + c], lambda a, b, c, d: [a * b * c])
    found = check(
        Graph([S, B0], cond(which, x, x, constant(2.0), scalar("exp", x), branches=branches)), 2.0, True
    )
    (node,) = loops(found)
    assert node.args == (which, x)
    assert not any(n.op == scalar("exp", x).op for n in found)


def test_unread_results_of_branches_go():
    x, which = inputs(S, B0)
    first, _ = cond(
        which, x, branches=(lambda x: [-x, scalar("exp", x)], lambda x: [x * x, scalar("log", x)])
    )
    (node,) = loops(check(Graph([S, B0], [first]), 2.0, True))
    assert [len(b.outputs) for b in node.op.branches] == [1, 1]


# --- loops -------------------------------------------------------------------------------------------------


def count(trips, carries, step, scanned=(), captured=(), length=None, condition="count", reverse=False):
    slices = [Type(s.shape[1:], s.dtype) for s in scanned]
    kinds = [I0, *(c.type for c in carries), *slices, *(c.type for c in captured)]
    body = Graph(kinds, step(*inputs(*kinds)))
    op = Loop(condition, body, None, len(carries), len(scanned), length, reverse)
    return results(make(op, (trips, *carries, *scanned, *captured)))


def test_no_trip():
    (x,) = inputs(S)
    found = check(Graph([S], count(constant(0), [x], lambda i, c: [c + 1.0, c], length=0)), 2.0)
    assert found.outputs[0] is x
    assert not loops(found)


@pytest.mark.parametrize("reverse", [False, True])
def test_one_trip(reverse):
    x, xs = inputs(S, Type((1,), FLOAT64))
    step = lambda i, c, s, k: [c * s + k, c - s]  # noqa: E731
    found = check(
        Graph([S, xs.type], count(constant(1), [x], step, [xs], [x], 1, reverse=reverse)),
        2.0,
        np.array([5.0]),
    )
    assert not loops(found)


def test_a_loop_that_never_starts():
    (x,) = inputs(S)
    body, never = Graph([S], [scalar("exp", x)]), Graph([S], [scalar("lt", x, x)])
    graph = Graph([S], results(make(Loop("predicate", body, never, 1, 0, None), (x,))))
    assert check(graph, 2.0).outputs == (x,)


def test_constants_go_inside_and_fold():
    (x,) = inputs(S)
    found = check(
        Graph([S], count(constant(3), [x], lambda i, c, k: [c * (k * 2.0)], captured=[constant(0.5)])), 7.0
    )
    assert found.outputs == (x,)  # c·1 hands the carry on


def test_captured_twice_is_captured_once():
    x, y = inputs(S, S)
    found = check(
        Graph([S, S], count(constant(3), [x], lambda i, c, p, q, r: [c * p + q], captured=[y, y, x])),
        7.0,
        2.0,
    )
    (node,) = loops(found)
    assert node.args == (constant(3), x, y)


def test_scanned_unused_or_twice():
    x, xs, ys = inputs(S, V, V)
    graph = Graph(
        [S, V, V], count(constant(3), [x], lambda i, c, a, b, d: [c * a + b], [xs, xs, ys], length=N)
    )
    (node,) = loops(check(graph, 7.0, np.arange(3.0), np.ones(3)))
    assert node.op.scanned == 1
    assert node.args == (constant(3), x, xs)


def test_a_carry_that_never_changes_is_captured():
    x, y = inputs(S, S)
    found = check(Graph([S, S], count(constant(3), [x, y], lambda i, c, d: [c * d, d])), 7.0, 2.0)
    assert found.outputs[1] is y
    (node,) = loops(found)
    assert node.op.carries == 1
    assert node.args == (constant(3), x, y)


def test_a_carry_that_never_changes_in_a_while():
    x, y = inputs(S, S)
    kinds = [S, S]
    c, d = inputs(*kinds)
    body, predicate = Graph(kinds, [c * 2.0, d]), Graph(kinds, [scalar("lt", c, d)])
    graph = Graph(kinds, results(make(Loop("predicate", body, predicate, 2, 0, None), (x, y))))
    found = check(graph, 1.0, 100.0)
    assert found.outputs[1] is y
    assert loops(found)[0].op.carries == 1


def test_invariants_are_computed_before():
    x, y = inputs(S, S)
    step = lambda i, c, k: [c * scalar("exp", scalar("sin", k))]  # noqa: E731
    found = check(Graph([S, S], count(constant(3), [x], step, captured=[y])), 7.0, 2.0)
    (node,) = loops(found)
    assert node.args == (constant(3), x, scalar("exp", scalar("sin", y)))
    assert len(node.op.body) == 3


def test_invariants_leave_nested_loops_altogether():
    x, y = inputs(S, S)
    inner = lambda i, c, k: count(constant(4), [c], lambda j, d, m: [d * scalar("exp", m)], captured=[k])  # noqa: E731
    found = check(Graph([S, S], count(constant(3), [x], inner, captured=[y])), 7.0, 0.01)
    assert loops(found)[0].args[2] is scalar("exp", y)


def test_what_may_not_end_stays_inside():
    x, y = inputs(S, S)
    CALLBACKS["invariant"] = lambda k: k
    step = lambda i, c, k: [c * results(make(Callback("invariant", (S,)), (k,)))[0]]  # noqa: E731
    (node,) = loops(check(Graph([S, S], count(constant(3), [x], step, captured=[y])), 7.0, 2.0))
    assert node.args == (constant(3), x, y)


def test_dead_carries_and_outputs_go():
    x, xs = inputs(S, V)
    # of three carries the second feeds the first, and nobody reads the third or what is stacked
    step = lambda i, a, b, c, s: [a + b, b * s, c - a, scalar("exp", c)]  # noqa: E731
    first, *_ = count(constant(3), [x, x, x], step, [xs], length=N)
    (node,) = loops(check(Graph([S, V], [first]), 2.0, np.arange(3.0)))
    assert node.op.carries == 2
    assert len(node.op.body.outputs) == 2


def test_what_the_condition_reads_is_not_dead():
    kinds = [S, S]
    c, d = inputs(*kinds)
    body, predicate = Graph(kinds, [c * 2.0, d + 1.0]), Graph(kinds, [scalar("lt", d, constant(10.0))])
    first, _ = results(make(Loop("predicate", body, predicate, 2, 0, None), (c, d)))
    found = check(Graph(kinds, [first]), 1.0, 0.0)
    assert loops(found)[0].op.carries == 2


def test_pruning_tells_equal_loops_apart():
    # pruned, the first loop is the second one
    (x,) = inputs(S)
    two = count(constant(3), [x, x], lambda i, a, b: [a * 2.0, b * 3.0])
    one = count(constant(3), [x], lambda i, b: [b * 3.0])
    graph = Graph([S], [two[1], one[0]])
    found = prune(graph)
    assert [float(v) for v in evaluate(found, [1.0])] == [27.0, 27.0]
    assert found.outputs[0] is found.outputs[1]


def test_pruning_reaches_into_bodies():
    (x,) = inputs(S)
    inner = lambda i, c: [count(constant(2), [c, c], lambda j, a, b: [a * 2.0, b * 3.0])[0]]  # noqa: E731
    found = prune(Graph([S], count(constant(3), [x], inner)))
    (node,) = loops(found)
    assert loops(node.op.body)[0].op.carries == 1


def test_maps():
    xs, y = inputs(V, S)
    step = lambda i, s, k: [s * scalar("exp", k), scalar("log", s)]  # noqa: E731
    both = count(constant(3), [], step, [xs], [y], N, "map")
    found = check(Graph([V, S], both[:1]), np.arange(3.0), 2.0)
    (node,) = loops(found)
    assert len(node.op.body.outputs) == 1
    assert scalar("exp", y) in node.args
    assert found.outputs[0].op == Project(0)
