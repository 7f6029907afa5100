"""Exact rules change no bit: not of zeros, infinities, denormals or NaN."""

import zlib

import numpy as np
import pytest

from chainrule.graph.evaluate import evaluate
from chainrule.simplify.exact import ARITHMETIC, CHOICE
from tests.simplify.instances import assert_same_bits, cases, instances, name_of, special_values


@pytest.mark.parametrize(("rule", "kind"), cases(ARITHMETIC + CHOICE), ids=name_of)
def test_rule(rule, kind):
    rng = np.random.default_rng(zlib.crc32(rule.name.encode()))
    found = list(instances(rule, kind))
    assert found, "the rule does not apply to its own left side"
    for left, right in found:
        args = [special_values(t.dtype, rng) for t in left.inputs]
        assert_same_bits(evaluate(right, args)[0], evaluate(left, args)[0])
