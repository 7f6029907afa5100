"""Stable rules: never less accurate, and accurate where the plain form is not."""

import zlib

import numpy as np
import pytest

from chainrule.graph.evaluate import evaluate
from chainrule.graph.node import scalar
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
