"""What the tests of the rule tables share: a rule's left side as a graph, sample values, errors in ulp."""

from itertools import product

import mpmath
import numpy as np

from chainrule.graph.dtype import BOOL, COMPLEX128, FLOAT64, INT64
from chainrule.graph.evaluate import evaluate
from chainrule.graph.node import Graph, constant, make, scalar
from chainrule.graph.op import Input, Type
from chainrule.simplify.pattern import Applied, Constant, Wild

DTYPES = {"f": FLOAT64, "i": INT64, "b": BOOL, "c": COMPLEX128}
COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne", "isnan", "isinf", "isfinite", "signbit", "complex"}
CONSTANTS = {"f": [2.0, 0.5, -3.0, 1.7, -0.25], "i": [2, -3, 5], "b": [True, False], "c": [2.0 + 1j]}
COUNT = 500

SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    np.inf,
    -np.inf,
    np.nan,
    5e-324,
    -5e-324,
    2.2e-308,
    1e-320,
    1.7e308,
    -1e308,
    0.5,
    2.0,
]


def kinds_of(pattern, kind, found, root=True):
    """The kind of element type of each wildcard, if the root's arguments have the kind ``kind``."""
    if isinstance(pattern, Wild):
        found[pattern.name] = (kind, type(pattern))
    elif isinstance(pattern, Applied):
        inner = "f" if pattern.name in COMPARISONS and not root else kind
        for i, argument in enumerate(pattern.args):
            kinds_of(argument, "b" if pattern.name == "where" and i == 0 else inner, found, False)
    return found


def instances(rule, kind, shape=(COUNT,), inside=None):
    """Graphs of the left side to which the rule applies, one for each way to choose its constants.

    ``inside`` gives what stands for a wildcard, where not anything will do.
    """
    kinds = kinds_of(rule.left, kind, {})
    wilds = [n for n, (_, cls) in kinds.items() if cls is Wild]
    fixed = [n for n, (_, cls) in kinds.items() if cls is Constant]
    types = [Type(shape, DTYPES[kinds[n][0]]) for n in wilds]
    inputs = {n: make(Input(0, i, t)) for i, (n, t) in enumerate(zip(wilds, types, strict=True))}
    for values in product(*(CONSTANTS[kinds[n][0]] for n in fixed)):
        nodes = {n: inside[n](x) if inside and n in inside else x for n, x in inputs.items()}
        nodes |= {n: constant(v, DTYPES[kinds[n][0]]) for n, v in zip(fixed, values, strict=True)}
        left = instantiate(rule.left, nodes, kind)
        right = next((r for r in (variant[1](left) for variant in rule.variants) if r is not None), None)
        if right is not None:
            yield Graph(types, [left], wilds), Graph(types, [right], wilds)


def instantiate(pattern, nodes, kind, root=True):
    """A pattern with nodes for its wildcards, built without any simplification."""
    if isinstance(pattern, Wild):
        return nodes[pattern.name]
    if not isinstance(pattern, Applied):
        return constant(pattern, BOOL if isinstance(pattern, bool) else DTYPES[kind])
    inner = "f" if pattern.name in COMPARISONS and not root else kind
    return scalar(pattern.name, *(instantiate(a, nodes, inner, False) for a in pattern.args))


def cases(table):
    """(rule, kind) for all rules of a table that are patterns."""
    return [(r, kind) for r in table if r.left is not None for kind in r.kinds]


def name_of(case):
    return case if isinstance(case, str) else case.name


def special_values(kind, rng, shape=(COUNT,)):
    """Values of a type with all that is special about floats."""
    if kind.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if kind.kind == "i":
        return rng.choice(np.array([0, 1, -1, 2, 7, -5, 2**40, -(2**62)]), shape)
    if kind.kind == "c":
        return special_values(FLOAT64, rng, shape) + 1j * special_values(FLOAT64, rng, shape)
    return np.where(rng.random(shape) < 0.7, rng.choice(SPECIAL, shape), rng.normal(size=shape))


def ordinary_values(kind, rng, shape=(COUNT,)):
    """Values around 1, some small and some large."""
    if kind.kind in "bi":
        return special_values(kind, rng, shape) if kind.kind == "b" else rng.integers(-9, 10, shape)
    values = rng.normal(size=shape) * rng.choice([1e-9, 1e-3, 0.3, 1.0, 1.0, 3.0, 20.0], shape)
    return values + 1j * rng.normal(size=shape) if kind.kind == "c" else values


def assert_same_bits(found, expected):
    """Equal to the last bit, any NaN being as good as any other."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    parts = (
        [(found.real, expected.real), (found.imag, expected.imag)]
        if found.dtype.kind == "c"
        else [(found, expected)]
    )
    for a, b in parts:
        np.testing.assert_array_equal(a, b)
        if a.dtype.kind == "f":
            numbers = ~np.isnan(a)
            np.testing.assert_array_equal(np.signbit(a)[numbers], np.signbit(b)[numbers])


def truth(graph, args):
    """The exact value, to 400 digits (for what cancels), of what the graph says for these floats."""
    return evaluate(graph, args, backend="mpmath", digits=400)


def errors(values, exact):
    """Errors in units in the last place of the exact values; NaN where that has none."""

    def error(value, true):
        if mpmath.isnan(true) or mpmath.isnan(value):
            return np.nan if mpmath.isnan(true) else np.inf
        if value == true:
            return 0.0
        if mpmath.isinf(true) or mpmath.isinf(value):
            return 0.0 if abs(true) > 1.7e308 and abs(value) > 1.7e308 else np.inf
        return float(abs(value - true) / np.spacing(max(float(abs(true)), 1e-300)))

    with mpmath.workdps(400):
        pairs = zip(np.ravel(values).tolist(), np.ravel(exact).tolist(), strict=True)
        return np.array([error(v, t) for v, t in pairs])
