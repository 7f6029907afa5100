"""The pipeline on random graphs: same values, idempotent, deterministic, linear."""

import numpy as np
import pytest
from hypothesis import given, settings

from chainrule.graph.evaluate import evaluate
from chainrule.graph.node import Graph, make, scalar
from chainrule.graph.op import Input, Type
from chainrule.simplify.pipeline import simplify
from tests.simplify.instances import assert_same_bits
from tests.strategies import graphs


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


def test_unknown_level():
    x = make(Input(0, 0, Type((), np.dtype(float))))
    with pytest.raises(ValueError, match="fast, smooth, full"):
        simplify(Graph([x.type], [scalar("exp", x)]), "slow")
