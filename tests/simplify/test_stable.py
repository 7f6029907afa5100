"""Stable rules: never less accurate, and accurate where the plain form is not."""

import zlib

import numpy as np
import pytest

from chainrule.graph.dtype import FLOAT64
from chainrule.graph.evaluate import evaluate
from chainrule.graph.node import Graph, constant, make, scalar
from chainrule.graph.op import Input, Reduce, Type
from chainrule.simplify.exact import EXACT
from chainrule.simplify.rewrite import rewrite
from chainrule.simplify.stable import STABLE
from tests.simplify.instances import cases, errors, instances, name_of, ordinary_values, truth

INSIDE = {  # what a conditional rule wants to see
    "log(x + exp(y)) → logaddexp(log(x), y)": {
        "x": lambda x: scalar("add", scalar("exp", x), scalar("exp", scalar("sin", x)))
    },
}


@pytest.mark.parametrize(("rule", "kind"), cases(STABLE), ids=name_of)
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


# --- where the plain forms fail ----------------------------------------------------------------------------


def variable(kind=FLOAT64, shape=()):
    return make(Input(0, 0, Type(shape, kind)))


x = variable()
one, tiny = constant(1.0), constant(2.0**-40)
exp, log = (lambda t: scalar("exp", t)), (lambda t: scalar("log", t))

HARD = {  # expression, where to try it
    "log1p": (log(scalar("add", one, x)), [1e-12, -1e-20, 3e-9]),
    "expm1": (scalar("sub", exp(x), one), [1e-12, -1e-20, 3e-9]),
    "softplus": (log(scalar("add", one, exp(x))), [-50.0, 800.0, 1e-3]),
    "log expit": (log(scalar("div", one, scalar("add", one, exp(-x)))), [-1000.0, 40.0, 3.0]),
    "log(1 - exp x)": (log(scalar("sub", one, exp(x))), [-1e-12, -0.69, -0.7, -50.0]),
    "log of a sum of two": (
        log(scalar("add", exp(x), exp(scalar("mul", constant(2.0), x)))),
        [500.0, -500.0],
    ),
    "log of a sum of three": (
        log(scalar("add", scalar("add", exp(x), exp(-x)), exp(scalar("sin", x)))),
        [800.0, -800.0, 0.5],
    ),
    "1 - cos": (scalar("sub", one, scalar("cos", x)), [1e-9, 1e-5, 3.0]),
    "sinh": (scalar("sub", exp(x), exp(-x)), [1e-9, 3.0, -1e-3]),
    "tanh": (
        scalar("div", scalar("sub", exp(x), exp(-x)), scalar("add", exp(x), exp(-x))),
        [1e-9, 800.0, -800.0],
    ),
    "sqrt(1 + x) - 1": (scalar("sub", scalar("sqrt", scalar("add", one, x)), one), [1e-12, 8.0]),
    "erfc": (scalar("sub", one, scalar("erf", x)), [5.0, 20.0, -1.0]),
    "normal tail": (log(scalar("ndtr", x)), [-40.0, -5.0, 1.0]),
    "difference of squares": (
        scalar("sub", scalar("mul", x, x), scalar("mul", scalar("add", x, tiny), scalar("add", x, tiny))),
        [3.0, -17.0],
    ),
    "log of a small density": (
        log(scalar("div", exp(scalar("mul", constant(-0.5), scalar("mul", x, x))), constant(2.5))),
        [1.0, 40.0, 1e3],
    ),
    "log of a product of densities": (
        log(scalar("mul", scalar("mul", constant(0.3), exp(-x)), scalar("mul", exp(scalar("sin", x)), x))),
        [1.0, 900.0, 1e5],
    ),
}


@pytest.mark.parametrize("case", HARD)
def test_accurate_where_the_plain_form_is_not(case):
    node, points = HARD[case]
    args = [np.array(p) for p in points]
    graph = Graph([x.type], [node])
    found = rewrite(graph, EXACT + STABLE)
    for arg in args:
        exact = truth(graph, [arg])[0]
        assert errors(evaluate(found, [arg])[0], exact) < 6
    worst = max(errors(evaluate(graph, [arg])[0], truth(graph, [arg])[0]).item() for arg in args)
    assert worst > 6  # the plain form does fail


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], [1000.0, 999.0, -5.0], [-2000.0, -2001.0, -2000.5]])
def test_log_sum_exp(values):
    v = variable(shape=(3,))
    graph = Graph([v.type], [log(make(Reduce("sum", (0,)), (exp(v),)))])
    found = rewrite(graph, EXACT + STABLE)
    assert rewrite(found, EXACT + STABLE) == found
    assert errors(evaluate(found, [values])[0], truth(graph, [values])[0]) < 4


def test_log_sum_exp_of_infinities():
    v = variable(shape=(2,))
    graph = rewrite(Graph([v.type], [log(make(Reduce("sum", (0,)), (exp(v),)))]), EXACT + STABLE)
    for values, expected in (([-np.inf] * 2, -np.inf), ([np.inf, 1.0], np.inf), ([-np.inf, 1.0], 1.0)):
        assert evaluate(graph, [np.array(values)])[0] == expected
    assert np.isnan(evaluate(graph, [np.array([np.nan, 1.0])])[0])


def test_log_sum_exp_along_one_axis():
    m = variable(shape=(2, 3))
    graph = Graph([m.type], [log(make(Reduce("sum", (1,)), (exp(m),)))])
    values = np.array([[1000.0, 1.0, 2.0], [-1000.0, -1001.0, -3000.0]])
    found = evaluate(rewrite(graph, STABLE), [values])[0]
    assert (errors(found, truth(graph, [values])[0]) < 4).all()


def test_a_sum_that_is_shifted_already_stays():
    v = variable(shape=(3,))
    shifted = scalar("sub", v, make(Reduce("max", (0,)), (v,)))
    node = log(make(Reduce("sum", (0,)), (exp(shifted),)))
    assert rewrite(Graph([v.type], [node]), STABLE).outputs[0] is node


def test_the_sign_of_the_other_factor_does_not_matter():
    y = make(Input(0, 1, x.type))
    graph = Graph([x.type, y.type], [log(scalar("mul", x, exp(y)))])
    found = rewrite(graph, EXACT + STABLE)
    assert found.outputs[0] is not graph.outputs[0]
    for a in (-1.0, 0.0, 2.0, np.nan):
        np.testing.assert_allclose(evaluate(found, [a, 3.0]), evaluate(graph, [a, 3.0]), rtol=1e-15)
