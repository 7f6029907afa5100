"""The simplifier loses no accuracy: errors of random and of chosen programs, before and after, against the truth.

The bar: the simplified program's error is at most that of the original plus 4 ulp. Chosen programs keep it literally,
at every point. For random ones, errors are chance: where terms cancel, a rounding the other way makes them many
times larger or smaller, in the original as much as in any other order of its operations (at some points it is exact by
luck, and another order is not). The error *of the original* is therefore what it may be: the largest that is found
when it is run some times with every rounding that takes place moved by half an ulp up or down (Monte Carlo arithmetic,
Parker 1997). What is exact stays exact, so that a difference that loses nothing may lose nothing afterwards. With this,
a random program keeps the bar in its worst point, with no factor. In each single point, where so few runs may miss the
worst case, a factor is needed (FEW), and one point of all may be exact by luck (LUCKY).

Range. Products are taken in another order, invariant factors first, and nothing may overflow by that, or lose digits as
a denormal number, as long as products of the factors in any order are normal numbers: that is so for four factors
within 1e±75, in float32 within 1e±9, and in general for n factors within 1e±(300/n).
"""

from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.graph.differentiate import vjp
from chainrule.graph.dtype import FLOAT64
from chainrule.graph.evaluate import evaluate
from chainrule.graph.node import Graph, constant, make, scalar
from chainrule.graph.op import Input, Reduce, Scalar, Type
from chainrule.simplify.pipeline import simplify
from tests.simplify.instances import errors, truth

POINTS = 48
RUNS = 8
FEW = 3.0  # times the largest error that a few runs find in one point
LUCKY = 1  # points at which all the original's operations may happen to be exact
MORE = 4.0  # ulp that the simplified program may lose beyond what the original does

UNARY = ["neg", "square", "sqrt", "exp", "log", "log1p", "expm1", "reciprocal", "tanh", "cos", "sin", "abs", "expit"]
BINARY = ["add", "sub", "mul", "div"]
NUMBERS = [1.0, 2.0, 0.5, 3.0, -1.0, 0.1, 1e-8, 1e6]
ARRAY, NUMBER = Type((POINTS,), FLOAT64), Type((), FLOAT64)


def grown(random, size, unary=UNARY, binary=BINARY):
    """A random elementwise program over two arrays and two numbers, with at most one sum."""
    kinds = [ARRAY, ARRAY, NUMBER, NUMBER]
    nodes = [make(Input(0, i, kind)) for i, kind in enumerate(kinds)]
    for _ in range(size):
        x, y = random.choice(nodes[-5:]), random.choice(nodes)
        if random.random() < 0.1:
            y = constant(random.choice(NUMBERS))
        if random.random() < 0.35:
            nodes.append(scalar(random.choice(unary), x))
        else:
            nodes.append(scalar(random.choice(binary), *((x, y) if random.random() < 0.5 else (y, x))))
    arrays = [n for n in nodes[4:] if n.shape] or nodes[:1]
    outputs = arrays[-3:]
    if random.random() < 0.3:
        outputs.append(make(Reduce("sum", (0,)), (arrays[-1],)))
    return Graph(kinds, outputs)


def sampled(random, largest):
    """Arguments: each around a scale of its own, numbers of few digits, or any."""
    rng = np.random.default_rng(random.getrandbits(32))
    args = []
    for kind in (ARRAY, ARRAY, NUMBER, NUMBER):
        scale = 10.0 ** random.choice([0, 0, 0, -3, 2, random.uniform(-largest, largest)])
        values = random.choice([1, -1]) * rng.uniform(0.5, 2, kind.shape)
        if random.random() < 0.3:
            values = np.asarray(values, np.float32).astype(float)
        values = 1 + values * 1e-7 if random.random() < 0.3 else values * scale
        args.append(values)
    return args


def is_exact(name, value, given):
    """Where an operation was not rounded."""
    x, *rest = (np.asarray(a, np.longdouble) for a in given)
    if name in ("add", "sub"):  # Knuth's two-sum
        a, b = given[0], given[1] if name == "add" else -given[1]
        second = value - a
        return (a - (value - second)) + (b - second) == 0
    if name in EXACTLY:
        return EXACTLY[name](x, *rest) == value
    return (name in ("neg", "abs")) | (value == 0) | (abs(value) == 1)


EXACTLY = {
    "mul": lambda x, y: x * y, "div": lambda x, y: x / y, "square": lambda x: x * x, "reciprocal": lambda x: 1 / x,
    "sqrt": np.sqrt,
}  # fmt: skip


def with_other_roundings(graph, args, rng):
    """The outputs of a graph, every inexact elementwise result moved by half an ulp, at random up or down."""
    values = {}
    for node in graph.nodes:
        if isinstance(node.op, Input):
            values[node] = args[node.op.position]
            continue
        given = [values[a] for a in node.args]
        inputs = tuple(make(Input(0, i, a.type)) for i, a in enumerate(node.args))
        (value,) = evaluate(Graph([a.type for a in node.args], [make(node.op, inputs)]), given)
        if isinstance(node.op, Scalar):
            moved = value * (1 + rng.choice([-1.1e-16, 1.1e-16], value.shape))
            value = np.where(is_exact(node.op.name, value, given), value, moved)
        values[node] = value
    return [values[o] for o in graph.outputs]


def overflows(graph, args):
    """Whether anything in a program is no number, or the sine of a number that has no digits behind its point."""
    with np.errstate(all="ignore"):
        values = dict(zip(graph.nodes, evaluate(Graph(graph.inputs, graph.nodes), args), strict=True))
    turned = [values[n.args[0]] for n in graph.nodes if n.op in (Scalar("sin"), Scalar("cos"))]
    return not all(np.isfinite(v).all() for v in values.values()) or any(np.max(abs(v)) > 1e6 for v in turned)


def check(graph, args):
    assume(not overflows(graph, args))
    assert_no_worse(graph, args)


def assert_no_worse(graph, args):
    """At the worst point no more than what the original may lose, and 4 ulp."""
    simple = simplify(graph)
    exact = truth(graph, args)
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        before, after = evaluate(graph, args), evaluate(simple, args)
        runs = [before, *(with_other_roundings(graph, args, rng) for _ in range(RUNS))]
    for number, (new, true) in enumerate(zip(after, exact, strict=True)):
        kept = np.isfinite(errors(before[number], true))
        allowed = np.max([errors(run[number], true) for run in runs], axis=0)[kept]
        found = errors(new, true)[kept]
        assert np.max(found, initial=0) <= np.max(allowed, initial=0) + MORE, (graph, simple)
        worse = ~(found <= FEW * allowed + MORE)
        assert np.sum(worse) <= LUCKY, (found[worse][0], allowed[worse][0], graph, simple)


def assert_no_worse_anywhere(graph, args):
    """At every point no more than what the original did lose, and 4 ulp."""
    with np.errstate(all="ignore"):
        before, after = evaluate(graph, args), evaluate(simplify(graph), args)
    for old, new, true in zip(before, after, truth(graph, args), strict=True):
        lost = errors(old, true)
        kept = np.isfinite(lost)
        found = errors(new, true)
        assert (found[kept] <= lost[kept] + MORE).all(), (found[kept], lost[kept])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 14))
def test_random_programs(seed, size):
    random = Random(seed)
    check(grown(random, size), sampled(random, 2))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 14))
def test_random_programs_of_extreme_numbers(seed, size):
    random = Random(seed)
    check(grown(random, size), sampled(random, 40))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 14))
def test_random_products_and_quotients(seed, size):
    random = Random(seed)
    binary = ["mul", "div", "mul", "div", "add", "sub"]
    check(grown(random, size, ["neg", "square", "reciprocal", "sqrt", "abs"], binary), sampled(random, 60))


# --- chosen programs ------------------------------------------------------------------------------------------

OFFSET = 1e6 + np.linspace(-1, 1, POINTS)
NEAR_0 = np.geomspace(1e-12, 1e-2, POINTS)
CHOSEN = {  # program, its argument
    "moments at an offset": (lambda x: np.sum((x - 1e6) ** 2), OFFSET),
    "deviations at an offset": (lambda x: (x - 1e6) ** 2 / 3 + (x - 1e6), OFFSET),
    "variance": (lambda x: np.sum((x - np.sum(x) / POINTS) ** 2) / (POINTS - 1), OFFSET),
    "log-sum-exp": (lambda x: np.log(np.sum(np.exp(x))), np.linspace(-3, 3, POINTS)),
    "softmax": (lambda x: np.exp(x) / np.sum(np.exp(x)), np.linspace(-3, 3, POINTS)),
    "near-equal exponentials": (lambda x: np.exp(x) - np.exp(x * (1 + 1e-9)), np.linspace(1, 3, POINTS)),
    "exponentials of opposite sign": (lambda x: np.exp(x) - np.exp(-x), NEAR_0),
    "1 − cos x": (lambda x: 1 - np.cos(x), NEAR_0),
    "(1 − cos x)/x²": (lambda x: (1 - np.cos(x)) / x**2, NEAR_0),
    "x − sin x": (lambda x: x - np.sin(x), NEAR_0),
    "(x − sin x)/x³": (lambda x: (x - np.sin(x)) / x**3, NEAR_0),
    "log(1 + x)/x": (lambda x: np.log(1 + x) / x, NEAR_0),
    "quadratic formula": (lambda x: -1 + np.sqrt(1 + x), NEAR_0),
    "difference of squares": (lambda x: x**2 - 1, 1 + NEAR_0),
    "difference of quotients": (lambda x: 1 / x - 1 / (x + 1e-9), 1 + NEAR_0),
    "compensated sum": (lambda x: (x + 1e16) - 1e16 - x, NEAR_0),
    "Newton's step": (lambda x: x - (x * x - 2) / (2 * x), np.sqrt(2) + NEAR_0),
    "logarithm of a density": (lambda x: np.log(np.exp(-(x**2) / 2) / 2.5), np.linspace(-30, 30, POINTS)),
    "logarithm of a power": (lambda x: np.log(3.0 * x**-2.7), np.geomspace(1e-90, 1e90, POINTS)),
    "quotients in a row": (lambda x: 1e-200 / x / x, np.geomspace(1e-170, 1e-150, POINTS)),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_chosen_programs(name):
    function, x = CHOSEN[name]
    assert_no_worse_anywhere(cr.trace(function, x), [x])


@pytest.mark.parametrize("name", ["moments at an offset", "log-sum-exp", "1 − cos x", "x − sin x", "variance"])
def test_derivatives_of_chosen_programs(name):
    """Against the derivative as differentiation leaves it, with no algebra but for what is exact."""
    function, x = CHOSEN[name]
    graph = cr.trace(lambda x: np.sum(function(x)), x)
    rows = vjp(graph.outputs, graph.arguments, [[constant(1.0)]])
    assert_no_worse_anywhere(graph.replace(rows[0]), [x])


# --- range ----------------------------------------------------------------------------------------------------

SCALED = {  # programs of x, a and b with four factors at most in a product
    "coefficients on both sides": lambda x, a, b: (a * x) * b,
    "a coefficient and a divisor": lambda x, a, b: a * (x / b) * a,
    "sum of squares": lambda x, a, b: np.sum(((x - a) / b) ** 2),
    "exponent": lambda x, a, b: np.exp(-(((x - a) / b) ** 2) / 2) / b,
    "two divisors": lambda x, a, b: x / a / b + x / b,
}


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize(("dtype", "most"), [(np.float64, 75), (np.float32, 9)])
def test_range(name, dtype, most):
    """Wherever x, a and b are of one scale, or of opposite ones, within what the module promises."""
    for exponent in (-most, most):
        for second in (exponent, -exponent):
            x = (np.linspace(1, 2, POINTS) * 10.0**second).astype(dtype)
            a, b = dtype(0.3 * 10.0**exponent), dtype(1.7 * 10.0**exponent)
            graph = cr.trace(SCALED[name], x, a, b)
            simple = simplify(graph)
            with np.errstate(all="ignore"):
                before, after = evaluate(graph, [x, a, b])[0], evaluate(simple, [x, a, b])[0]
            ordinary = np.isfinite(before) & (np.abs(before) >= np.finfo(dtype).tiny)
            np.testing.assert_allclose(after[ordinary], before[ordinary], rtol=20 * np.finfo(dtype).eps)
