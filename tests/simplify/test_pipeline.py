"""The pipeline on random graphs: same values, idempotent, deterministic, linear."""

import numpy as np
import pytest
from hypothesis import given, settings

from chainrule.graph.evaluate import evaluate
from chainrule.graph.node import Graph, constant, make, scalar
from chainrule.graph.op import Input, Type
from chainrule.simplify.pipeline import FULL, ROUNDS, SMOOTH, simplify, taken_apart
from chainrule.simplify.rewrite import Driver, rewrite
from tests.simplify.instances import assert_same_bits
from tests.strategies import graphs

NUMBER = Type((), np.dtype(float))


@settings(max_examples=300, deadline=None)
@given(graphs(special=True))
def test_fast_keeps_every_bit(program):
    graph, args = program
    for found, expected in zip(evaluate(simplify(graph, "fast"), args), evaluate(graph, args), strict=True):
        assert_same_bits(found, expected)


@settings(max_examples=300, deadline=None)
@given(graphs(smooth=True))
def test_full_keeps_the_meaning(program):
    graph, args = program
    simple = simplify(graph)
    for found, expected in zip(
        evaluate(simple, args, backend="mpmath"), evaluate(graph, args, backend="mpmath"), strict=True
    ):
        found, expected = (np.vectorize(complex, otypes=[complex])(a).real for a in (found, expected))
        known = np.isfinite(expected) & (np.abs(expected) < 1e100)
        np.testing.assert_allclose(found[known], expected[known], rtol=1e-7, atol=1e-12)


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_idempotent(program):
    graph, _ = program
    for level in ("fast", "smooth", "full"):
        once = simplify(graph, level)
        assert simplify(once, level) == once
        assert once.inputs == graph.inputs
        assert [o.type for o in once.outputs] == [o.type for o in graph.outputs]


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_passes_do_not_undo_each_other(program):
    """The rules leave what the other passes make, and the other way round: they settle before they are stopped."""
    graph, _ = program
    for level in (SMOOTH, FULL):
        driver, found = Driver(level), graph
        for _ in range(ROUNDS - 1):
            rewritten = driver.graph(taken_apart(found))
            if rewritten == found:
                break
            found = rewritten
        assert driver.graph(taken_apart(found)) == found


def test_signs_of_reciprocals_settle():
    """−(1/y) beside other quotients by y stays: as −1/y it would be a second division, shared as −(1/y) again."""
    x, y = make(Input(0, 0, NUMBER)), make(Input(0, 1, NUMBER))
    negated = scalar("neg", 1 / y)
    graph = Graph([NUMBER, NUMBER], [negated, x / y])
    assert rewrite(graph, FULL).outputs[0] is negated


@pytest.mark.parametrize("exponent", [np.inf, -np.inf, np.nan])
def test_powers_with_exponents_that_are_no_numbers(exponent):
    x = make(Input(0, 0, NUMBER))
    graph = Graph([NUMBER], [scalar("pow", x, constant(exponent))])
    for value in (0.5, 1.0, 2.0):
        assert_same_bits(evaluate(simplify(graph), [value])[0], np.float64(value) ** exponent)


def test_unknown_level():
    x = make(Input(0, 0, Type((), np.dtype(float))))
    with pytest.raises(ValueError, match="fast, smooth, full"):
        simplify(Graph([x.type], [scalar("exp", x)]), "slow")
