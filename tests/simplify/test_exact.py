"""Exact rules change no bit: not of zeros, infinities, denormals or NaN."""

import math
import zlib
from itertools import product

import numpy as np
import pytest

from chainrule.graph.evaluate import evaluate
from chainrule.graph.express import fold
from chainrule.graph.node import constant
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


FLOATS = [0.0, -0.0, 1.0, -1.5, 5e-324, -2.5e-308, 1.7e308, math.inf, -math.inf, math.nan, 0.1, 1 / 3]


@pytest.mark.parametrize("name", ["add", "sub", "mul", "neg"])
def test_constants_fold_to_the_bits_that_numpy_computes(name):
    function = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative}[name]
    for operands in product(FLOATS, repeat=function.nin):
        found = fold(name, tuple(map(constant, operands))).op.value
        with np.errstate(all="ignore"):
            expected = function(*map(np.float64, operands))
        assert found.dtype == np.float64
        assert (np.isnan(found) and np.isnan(expected)) or found.tobytes() == expected.tobytes(), operands
