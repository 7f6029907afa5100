"""Rules over the reals: the same value, and not less accurate by more than a few roundings."""

import zlib

import numpy as np
import pytest

from chainrule.graph.dim import size
from chainrule.graph.dtype import FLOAT64
from chainrule.graph.evaluate import evaluate
from chainrule.graph.express import zeros
from chainrule.graph.node import Graph, constant, make, scalar
from chainrule.graph.op import (
    Broadcast,
    Cast,
    Input,
    Iota,
    Reduce,
    Reshape,
    Scalar,
    Scatter,
    SizeOf,
    Transpose,
    Type,
)
from chainrule.simplify.exact import EXACT
from chainrule.simplify.real import REAL, share_reciprocals
from chainrule.simplify.rewrite import rewrite
from tests.simplify.instances import cases, errors, instances, name_of, ordinary_values, truth

INSIDE = {  # what a conditional rule wants to see
    "abs(x) → x": {"x": lambda x: scalar("exp", x)},
    "exp(log(x)) → x": {"x": lambda x: scalar("mul", x, x)},
}


@pytest.mark.parametrize(("rule", "kind"), cases(REAL), ids=name_of)
def test_rule(rule, kind):
    rng = np.random.default_rng(zlib.crc32(rule.name.encode()))
    found = list(instances(rule, kind, (60,), INSIDE.get(rule.name)))
    assert found, "the rule does not apply to its own left side"
    for left, right in found[:6]:
        args = [ordinary_values(t.dtype, rng, (60,)) for t in left.inputs]
        exact = truth(left, args)[0]
        before, after = (errors(evaluate(g, args)[0], exact) for g in (left, right))
        known = ~np.isnan(before) & ~np.isnan(after)
        assert known.any()
        worse = after > np.minimum(before, 1e300) + 4
        assert not (worse & known).any(), (after[worse], before[worse], [a[worse] for a in args])


# --- rules that no pattern states --------------------------------------------------------------------------

N = size("n")
S, V, A = (Type(s, FLOAT64) for s in ((), (N,), (4, 5)))
s, v, a = (make(Input(0, i, k)) for i, k in enumerate((S, V, A)))
w = make(Input(0, 3, V))
KINDS = (S, V, A, V)


def total(x, *axes, kind="sum"):
    return make(Reduce(kind, axes), (x,))


def repeat(x, shape, axes=()):
    return make(Broadcast(shape, axes), (x,))


CENTRED = scalar("sub", v, s)
VARIANCE = total(scalar("mul", CENTRED, CENTRED), 0)

CASES = {
    "coefficients leave sums": (total(scalar("mul", v, s), 0), scalar("mul", s, total(v, 0))),
    "on either side": (total(scalar("mul", s, v), 0), scalar("mul", s, total(v, 0))),
    "divisors leave sums": (
        total(scalar("div", v, s), 0),
        scalar("mul", scalar("div", constant(1.0), s), total(v, 0)),
    ),
    "signs leave sums": (total(scalar("neg", a), 1), scalar("neg", total(a, 1))),
    "sum of a repeated number": (total(repeat(s, (4,)), 0), scalar("mul", constant(4.0), s)),
    "sum along the repeated axis": (
        total(repeat(v, (3, N), (1,)), 0, 1),
        scalar("mul", constant(3.0), total(v, 0)),
    ),
    "sum of a number repeated n times": (
        total(repeat(s, (N,)), 0),
        scalar("mul", make(Cast(FLOAT64), (make(SizeOf(N)),)), s),
    ),
    "sum of sums": (total(total(a, 1), 0), total(a, 0, 1)),
    "largest of largest": (total(total(a, 1, kind="max"), 0, kind="max"), total(a, 0, 1, kind="max")),
    "sum of a transpose": (total(make(Transpose((1, 0)), (a,)), 0), total(a, 1)),
    "sum of all of a reshape": (total(make(Reshape((20,)), (a,)), 0), total(a, 0, 1)),
    "sum along an axis of length 1": (total(make(Reshape((1, 4, 5)), (a,)), 0), a),
    "adding zeros": (scalar("add", v, zeros(V)), v),
    "subtracting from zeros": (scalar("sub", zeros(V), v), scalar("neg", v)),
    "scattering zeros": (make(Scatter((0,), "add"), (v, zeros(V), make(Iota(N)))), v),
    "an array over a number": (scalar("div", v, s), scalar("mul", v, scalar("div", constant(1.0), s))),
    "a number over a number stays": (scalar("div", s, scalar("exp", s)), scalar("div", s, scalar("exp", s))),
    "a difference is not expanded": (VARIANCE, VARIANCE),
}


@pytest.mark.parametrize("case", CASES)
def test_structure(case):
    expression, expected = CASES[case]
    graph = Graph(KINDS, [expression])
    found = rewrite(graph, EXACT + REAL)
    assert found.outputs[0] is expected
    rng = np.random.default_rng(3)
    args = [rng.normal(size=tuple(3 if d is N else d for d in k.shape)) for k in KINDS]
    np.testing.assert_allclose(evaluate(found, args)[0], evaluate(graph, args)[0], rtol=1e-14)


def test_every_rule_is_used_by_a_case():
    nodes = [node for expression, _ in CASES.values() for node in Graph(KINDS, [expression])]
    table = [r for r in REAL if r.left is None]
    fired = {r.name for r in table for n in nodes if fires(r, n)}
    assert fired == {r.name for r in table}


def fires(rule, node):
    fits = node.op == Scalar(rule.root) if isinstance(rule.root, str) else type(node.op) is rule.root
    return fits and rule.variants[0][1](node) is not None


def test_one_division_by_what_several_are_divided_by():
    e = scalar("exp", s)
    graph = Graph(KINDS, [scalar("div", s, e), scalar("div", scalar("sin", s), e)])
    found = share_reciprocals(graph)
    assert sum(n.op == Scalar("div") for n in found) == 1
    assert found.outputs[0] is scalar("mul", s, scalar("div", constant(1.0), e))
    alone = Graph(KINDS, [scalar("div", s, e)])
    assert share_reciprocals(alone) is alone


@pytest.mark.parametrize("x", [0.0, -0.0, 1e-320, 1e308, np.inf, -np.inf, np.nan])
def test_nothing_singular_is_hidden_or_made(x):
    """x − x, 0·x and x/x keep their NaN."""
    graph = Graph([S], [scalar("sub", s, s), scalar("mul", constant(0.0), s), scalar("div", s, s)])
    found = evaluate(rewrite(graph, EXACT + REAL), [x])
    np.testing.assert_array_equal(found, evaluate(graph, [x]))
