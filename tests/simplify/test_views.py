"""Rules of views: the same elements, found with less moving about."""

import numpy as np
import pytest

from chainrule.graph.dim import size
from chainrule.graph.dtype import BOOL, FLOAT32, FLOAT64, INT32, INT64
from chainrule.graph.evaluate import evaluate
from chainrule.graph.express import zeros
from chainrule.graph.node import Graph, constant, make, scalar
from chainrule.graph.op import (
    Broadcast,
    Cast,
    Concatenate,
    Cumulative,
    Gather,
    Input,
    Insert,
    Iota,
    Pad,
    Reduce,
    Reshape,
    Reverse,
    Scatter,
    Slice,
    Stop,
    Transpose,
    Type,
)
from chainrule.simplify.exact import FOLDING
from chainrule.simplify.rewrite import rewrite
from chainrule.simplify.views import VIEWS
from tests.simplify.instances import assert_same_bits, special_values

N = size("n")
S, V, A, T = (Type(s, FLOAT64) for s in ((), (N,), (4, 5), (2, 3, 4)))
s, v, a, t = (make(Input(0, i, k)) for i, k in enumerate((S, V, A, T)))
b = make(Input(0, 4, A))
i32 = make(Input(0, 5, Type((3,), INT32)))
v2 = make(Input(0, 6, V))
KINDS = (S, V, A, T, A, i32.type, V)


def part(x, starts, counts, steps=None):
    return make(Slice(starts, counts, steps or (1,) * len(starts)), (x,))


def pad(x, low, high, inner=None):
    return make(Pad(low, high, inner or (0,) * len(low)), (x,))


def repeat(x, shape, axes=()):
    return make(Broadcast(shape, axes), (x,))


# name: (expression, what it becomes)
CASES = {
    "broadcast to the same shape": (repeat(a, (4, 5), (0, 1)), a),
    "broadcast of a broadcast": (
        repeat(repeat(v, (3, N), (1,)), (3, 2, N), (0, 2)),
        repeat(v, (3, 2, N), (2,)),
    ),
    "transpose that does nothing": (make(Transpose((0, 1)), (a,)), a),
    "transpose there and back": (make(Transpose((1, 2, 0)), (make(Transpose((2, 0, 1)), (t,)),)), t),
    "transpose of a transpose": (
        make(Transpose((1, 0, 2)), (make(Transpose((2, 0, 1)), (t,)),)),
        make(Transpose((0, 2, 1)), (t,)),
    ),
    "transpose of a broadcast": (
        make(Transpose((2, 1, 0)), (repeat(a, (4, 7, 5), (0, 2)),)),
        repeat(make(Transpose((1, 0)), (a,)), (5, 7, 4), (0, 2)),
    ),
    "transpose that keeps the order of a broadcast": (
        make(Transpose((1, 0)), (repeat(v, (N, 3), (0,)),)),
        repeat(v, (3, N), (1,)),
    ),
    "reshape of a reshape": (
        make(Reshape((20,)), (make(Reshape((2, 10)), (a,)),)),
        make(Reshape((20,)), (a,)),
    ),
    "reshape there and back": (make(Reshape((4, 5)), (make(Reshape((20,)), (a,)),)), a),
    "reshape of a repeated scalar": (make(Reshape((6,)), (repeat(s, (2, 3)),)), repeat(s, (6,))),
    "reverse of a reverse": (make(Reverse((0, 1)), (make(Reverse((1,)), (a,)),)), make(Reverse((0,)), (a,))),
    "reverse of nothing": (make(Reverse((0,)), (make(Reverse((0,)), (a,)),)), a),
    "reverse of a broadcast": (
        make(Reverse((0, 1)), (repeat(v, (3, N), (1,)),)),
        repeat(make(Reverse((0,)), (v,)), (3, N), (1,)),
    ),
    "reverse of one": (make(Reverse((0,)), (make(Reshape((1, 20)), (a,)),)), make(Reshape((1, 20)), (a,))),
    "the whole as a slice": (part(a, (0, 0), (4, 5)), a),
    "slice of a slice": (
        part(part(a, (1, 0), (3, 3), (1, 2)), (1, 1), (2, 2)),
        part(a, (2, 2), (2, 2), (1, 2)),
    ),
    "empty slice": (part(a, (0, 2), (4, 0)), zeros(Type((4, 0), FLOAT64))),
    "slice of a broadcast": (
        part(repeat(v, (3, N), (1,)), (1, 1), (2, N - 1)),
        repeat(part(v, (1,), (N - 1,)), (2, N - 1), (1,)),
    ),
    "slice inside the padded": (part(pad(v, (2,), (3,)), (3,), (N - 1,)), part(v, (1,), (N - 1,))),
    "slice of the padding": (part(pad(v, (2,), (3,)), (N + 2,), (3,)), zeros(Type((3,), FLOAT64))),
    "slice across the padding": (part(pad(v, (2,), (3,)), (1,), (3,)), None),
    "slice of a dilated array": (part(pad(a, (0, 0), (0, 0), (1, 0)), (0, 0), (3, 5)), None),
    "slice of the first piece": (
        part(make(Concatenate(0), (v, v2)), (1,), (N - 1,)),
        part(v, (1,), (N - 1,)),
    ),
    "slice of the second piece": (part(make(Concatenate(0), (v, v2)), (N,), (2,)), part(v2, (0,), (2,))),
    "slice across pieces": (part(make(Concatenate(0), (v, v2)), (1,), (N,)), None),
    "slice of what was inserted": (
        part(make(Insert((1, 1), (1, 2)), (a, part(b, (0, 0), (2, 2)))), (1, 1), (2, 2), (1, 2)),
        part(b, (0, 0), (2, 2)),
    ),
    "slice inside what was inserted": (
        part(make(Insert((1, 0), (1, 1)), (a, part(b, (0, 0), (3, 5)))), (2, 1), (1, 2)),
        part(b, (1, 1), (1, 2)),
    ),
    "slice beside what was inserted": (
        part(make(Insert((2, 0), (1, 1)), (a, part(b, (0, 0), (2, 5)))), (0, 0), (2, 5)),
        part(a, (0, 0), (2, 5)),
    ),
    "padding with nothing": (pad(a, (0, 0), (0, 0)), a),
    "padding of padding": (pad(pad(v, (1,), (2,), (1,)), (3,), (0,)), pad(v, (4,), (2,), (1,))),
    "padding of zeros": (pad(zeros(V), (1,), (1,)), zeros(Type((N + 2,), FLOAT64))),
    "one piece": (make(Concatenate(0), (a,)), a),
    "empty pieces": (make(Concatenate(0), (a, part(b, (0, 0), (0, 5)))), a),
    "pieces of pieces": (
        make(Concatenate(0), (v, make(Concatenate(0), (v2, v)))),
        make(Concatenate(0), (v, v2, v)),
    ),
    "inserting nothing": (make(Insert((0, 0), (1, 1)), (a, part(b, (0, 0), (0, 5)))), a),
    "inserting everything": (make(Insert((0, 0), (1, 1)), (a, b)), b),
    "inserting over": (
        make(
            Insert((1, 0), (1, 1)),
            (make(Insert((1, 0), (1, 1)), (a, part(b, (0, 0), (2, 5)))), part(b, (1, 0), (2, 5))),
        ),
        make(Insert((1, 0), (1, 1)), (a, part(b, (1, 0), (2, 5)))),
    ),
    "inserting into zeros": (
        make(Insert((1,), (1,)), (zeros(Type((2 * N,), FLOAT64)), v)),
        pad(v, (1,), (N - 1,)),
    ),
    "inserting into zeros with steps": (
        make(Insert((0, 1), (2, 1)), (zeros(A), part(b, (0, 0), (2, 3)))),
        pad(part(b, (0, 0), (2, 3)), (0, 1), (1, 1), (1, 0)),
    ),
    "one element by index": (
        make(Gather((0,)), (a, constant(2))),
        make(Reshape((5,)), (part(a, (2, 0), (1, 5)),)),
    ),
    "an index beyond the end": (
        make(Gather((0,)), (a, constant(9))),
        make(Reshape((5,)), (part(a, (3, 0), (1, 5)),)),
    ),
    "a negative index is clamped": (
        make(Gather((0,)), (v, constant(-3))),
        make(Reshape(()), (part(v, (0,), (1,)),)),
    ),
    "an index that may be outside": (make(Gather((0,)), (v, constant(2))), None),
    "two indices": (
        make(Gather((0, 1)), (a, constant(1), constant(3))),
        make(Reshape(()), (part(a, (1, 3), (1, 1)),)),
    ),
    "all indices in order": (make(Gather((1,)), (a, make(Iota(5)))), make(Transpose((1, 0)), (a,))),
    "scatter of nothing": (make(Scatter((0,), "add"), (a, part(b, (0, 0), (0, 5)), make(Iota(0)))), a),
    "reduction along no axis": (make(Reduce("sum", ()), (a,)), a),
    "any of any": (
        make(Reduce("any", (0,)), (make(Reduce("any", (1,)), (scalar("lt", a, b),)),)),
        make(Reduce("any", (0, 1)), (scalar("lt", a, b),)),
    ),
    "maximum of a broadcast": (
        make(Reduce("max", (0, 2)), (repeat(a, (4, 5, 3), (0, 1)),)),
        make(Reduce("max", (0,)), (a,)),
    ),
    "running sum of one": (
        make(Cumulative("sum", 0), (make(Reshape((1, 20)), (a,)),)),
        make(Reshape((1, 20)), (a,)),
    ),
    "scalar op of repeated scalars": (scalar("exp", repeat(s, (3,))), repeat(scalar("exp", s), (3,))),
    "scalar op of equal broadcasts": (
        scalar("add", repeat(v, (3, N), (1,)), repeat(v2, (3, N), (1,))),
        repeat(scalar("add", v, v2), (3, N), (1,)),
    ),
    "scalar op of a broadcast and a scalar": (
        scalar("mul", repeat(v, (3, N), (1,)), s),
        repeat(scalar("mul", v, s), (3, N), (1,)),
    ),
    "scalar op beside a repeated scalar": (scalar("mul", a, repeat(s, (4, 5))), scalar("mul", a, s)),
    "cast to the same type": (make(Cast(FLOAT64), (a,)), a),
    "cast of an exact cast": (
        make(Cast(FLOAT32), (make(Cast(FLOAT64), (i32,)),)),
        make(Cast(FLOAT32), (i32,)),
    ),
    "cast there and back": (make(Cast(INT32), (make(Cast(INT64), (i32,)),)), i32),
    "cast that rounds stays": (make(Cast(FLOAT64), (make(Cast(FLOAT32), (a,)),)), None),
    "cast of a broadcast": (make(Cast(BOOL), (repeat(s, (3,)),)), repeat(make(Cast(BOOL), (s,)), (3,))),
    "stop of a stop": (make(Stop(), (make(Stop(), (a,)),)), make(Stop(), (a,))),
    "stop of an integer": (make(Stop(), (i32,)), i32),
    "sum of constants": (make(Reduce("sum", (0,)), (constant([1.0, 2.0, 4.0]),)), constant(7.0)),
    "function of a small constant array": (scalar("neg", constant([1.0, -2.0])), constant([-1.0, 2.0])),
    "slice of a constant": (part(constant([1.0, 2.0, 3.0]), (1,), (2,)), constant([2.0, 3.0])),
}


@pytest.mark.parametrize("case", CASES)
def test_view(case):
    expression, expected = CASES[case]
    graph = Graph(KINDS, [expression])
    found = rewrite(graph, FOLDING + VIEWS)
    assert found.outputs[0] is (expression if expected is None else expected)
    rng = np.random.default_rng(1)
    args = [special_values(k.dtype, rng, tuple(3 if d is N or d == N else d for d in k.shape)) for k in KINDS]
    assert_same_bits(evaluate(found, args)[0], evaluate(graph, args)[0])


def test_a_large_constant_stays_an_expression():
    node = make(Reverse((0,)), (constant(np.arange(1000.0)),))
    assert rewrite(Graph([], [node]), FOLDING + VIEWS).outputs[0] is node


def test_every_rule_is_used_by_a_case():
    table = FOLDING + VIEWS
    nodes = [node for expression, _ in CASES.values() for node in Graph(KINDS, [expression])]
    fired = {r.name for r in table for n in nodes if type(n.op) is r.root and r.variants[0][1](n) is not None}
    assert fired == {r.name for r in table}
