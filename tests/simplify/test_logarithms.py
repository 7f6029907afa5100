"""Logarithms of powers: no power is left where the condition holds, nothing changes where it does not."""

from collections import Counter

import mpmath
import numpy as np
import pytest
from scipy import stats
from scipy.special import gammaln

import chainrule as cr
from chainrule.graph.dtype import FLOAT64
from chainrule.graph.evaluate import evaluate
from chainrule.graph.node import Graph, constant, make, scalar
from chainrule.graph.op import Cond, Input, Scalar, Type
from chainrule.simplify.logarithms import holds, logarithms
from chainrule.simplify.pipeline import simplify
from chainrule.simplify.versions import versions

X = np.random.default_rng(3).uniform(0.05, 0.95, 100)


def gauss(p, x):
    z = (x - p[0]) / p[1]
    return -np.sum(np.log(np.exp(-(z**2) / 2) / (np.sqrt(2 * np.pi) * p[1])))


def pareto(p, x):
    return -np.sum(np.log(p[0] * p[1] ** p[0] / x ** (p[0] + 1)))


def weibull(p, x):
    return -np.sum(np.log(p[0] / p[1] * (x / p[1]) ** (p[0] - 1) * np.exp(-((x / p[1]) ** p[0]))))


def gamma(p, x):
    return -np.sum(np.log(x ** (p[0] - 1) * np.exp(-x / p[1]) / (np.exp(gammaln(p[0])) * p[1] ** p[0])))


def beta(p, x):
    norm = gammaln(p[0]) + gammaln(p[1]) - gammaln(p[0] + p[1])
    return -np.sum(np.log(x ** (p[0] - 1) * (1 - x) ** (p[1] - 1))) + x.shape[0] * norm


def student(p, x):
    norm = np.exp(gammaln((p[0] + 1) / 2) - gammaln(p[0] / 2)) / np.sqrt(p[0] * np.pi)
    return -np.sum(np.log(norm * (1 + x**2 / p[0]) ** (-(p[0] + 1) / 2)))


def crystal(p, x):
    z, a, n = (x - 0.5) / 0.1, p[0], p[1]
    tail = (n / a) ** n * np.exp(-a * a / 2) * (n / a - a - z) ** (-n)
    return -np.sum(np.log(np.where(z > -a, np.exp(-z * z / 2), tail) / 0.3))


def published(p, x):
    """−log-likelihoods from SciPy."""
    a, b = p
    return {
        "gauss": lambda: stats.norm(a, b).logpdf(x),
        "pareto": lambda: np.log(a) + a * np.log(b) - (a + 1) * np.log(x),
        "weibull": lambda: stats.weibull_min(a, scale=b).logpdf(x),
        "gamma": lambda: stats.gamma(a, scale=b).logpdf(x),
        "beta": lambda: stats.beta(a, b).logpdf(x),
        "student": lambda: stats.t(a).logpdf(x),
        "crystal": lambda: stats.crystalball(a, b, 0.5, 0.1).logpdf(x) - np.log(
            0.3 * stats.crystalball(a, b, 0.5, 0.1).pdf(0.5)
        ),
    }  # fmt: skip


MODELS = {f.__name__: f for f in (gauss, pareto, weibull, gamma, beta, student, crystal)}


def per_event(graph):
    """What a branch does for each event, and whether it was chosen: elementwise primitives by name."""
    return Counter(n.op.name for n in graph.nodes if isinstance(n.op, Scalar) and n.shape)


def branches(graph):
    """The innermost versions of a program."""
    inner = [b for n in graph.nodes if isinstance(n.op, Cond) for b in n.op.branches]
    return [leaf for b in inner for leaf in branches(b)] if inner else [graph]


@pytest.mark.parametrize("name", MODELS)
def test_published_values(name):
    p = np.array([1.7, 2.3])
    expected = -np.sum(published(p, X)[name]())
    np.testing.assert_allclose(cr.jit(MODELS[name])(p, X), expected, rtol=1e-12)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("p", [[1.7, 2.3], [3.0, 2.0], [2.0, 1.5]])
def test_gradients_in_all_versions(name, p):
    """Fractional exponents take the fast version, whole ones the other; the truth is mpmath's."""
    p = np.array(p)
    program = cr.trace(cr.grad(MODELS[name]), p, X)
    (found,) = evaluate(versions(program), [p, X])
    kernel = cr.grad(MODELS[name])(p, X)
    steps = [mpmath.mpf("1e-20") * np.array(row) for row in ([1, 0], [0, 1])]
    plain = cr.trace(MODELS[name], p, X)
    with mpmath.workdps(60):
        values = [
            [evaluate(plain, [p + sign * step, X], backend="mpmath", digits=60)[0] for sign in (1, -1)]
            for step in steps
        ]
        slopes = [float((up - down) / mpmath.mpf("2e-20")) for up, down in values]
    np.testing.assert_allclose(found, slopes, rtol=1e-11, atol=1e-10)
    np.testing.assert_allclose(kernel, slopes, rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "logs"), [("gauss", 0), ("pareto", 1), ("gamma", 1), ("beta", 2), ("student", 1), ("crystal", 1)]
)
@pytest.mark.parametrize("transform", [cr.jit, cr.value_and_grad])
def test_loops_without_powers(name, logs, transform):
    found = [per_event(leaf) for leaf in branches(versions(cr.trace(transform(MODELS[name]), np.ones(2), X)))]
    best = min(found, key=lambda count: count["pow"])
    assert (best["exp"], best["log"] + best["log1p"], best["pow"]) == (0, logs, 0)


def test_finite_where_the_density_underflows():
    far, p = np.array([60.0, -80.0]), np.array([0.0, 1.0])
    np.testing.assert_allclose(cr.jit(gauss)(p, far), 5000 + np.log(2 * np.pi), rtol=1e-15)
    np.testing.assert_allclose(cr.grad(gauss)(p, far), [20.0, 2 - 10000.0], rtol=1e-14)
    power = lambda p, x: np.sum(np.log(2.0 * x ** p[0]))  # noqa: E731
    found = cr.jit(power)(np.array([-900.5]), np.full(50, 10.0))
    np.testing.assert_allclose(found, 50 * (np.log(2) - 900.5 * np.log(10)), rtol=1e-14)


BASES = np.array([0.0, -0.0, 1.0, 0.5, 3.0, 1e-300, 1e300, 5e-324, -1.0, -2.5, -1e300, np.inf, np.nan])
EXPONENTS = [0.0, 1.0, 2.0, -1.0, -2.0, 3.0, 0.5, -0.5, 1e-300, 1.5, -2.7, 700.3, 1e17, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("p", EXPONENTS)
@pytest.mark.parametrize("base", ["any", "square", "shifted"])
def test_special_values(p, base):
    """Where the power itself neither overflows nor underflows, value and special values are those of the program."""
    x = make(Input(0, 0, Type(BASES.shape, FLOAT64)))
    exponent, scale = (make(Input(0, i, Type((), FLOAT64))) for i in (1, 2))
    inner = {"any": x, "square": scalar("mul", x, x), "shifted": 1 + scalar("mul", x, x) * scale}[base]
    power = scalar("pow", inner, exponent)
    graph = Graph([x.type, exponent.type, scale.type], [scalar("log", power), power])
    simple = versions(simplify(logarithms(graph)))
    for c in (2.0, -0.5):
        args = [BASES, np.float64(p), np.float64(c)]
        with np.errstate(all="ignore"):
            (expected, size), (found, _) = evaluate(graph, args), evaluate(simple, args)
            bases = evaluate(graph.replace([inner]), args)[0]
        tame = np.isnan(size) | ((size > 1e-300) & (size < 1e300)) | (bases == 0) | (bases == np.inf)
        np.testing.assert_allclose(found[tame], expected[tame], rtol=1e-14, atol=1e-15)


def test_nothing_changes_where_the_condition_is_false():
    """To the last bit, in value and gradient: the other version is the program as it was."""
    p = make(Input(0, 0, Type((), FLOAT64)))
    x = make(Input(0, 1, Type((13,), FLOAT64)))
    graph = Graph([p.type, x.type], [scalar("log", scalar("mul", constant(0.3), scalar("pow", x, p)))])
    for exponent in (0.0, 1.0, 2.0, -3.0, np.nan, np.inf):
        args = [np.float64(exponent), BASES]
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(evaluate(logarithms(graph), args)[0], evaluate(graph, args)[0])


def test_conditions():
    p, s = (make(Input(0, i, Type((), FLOAT64))) for i in range(2))
    x = make(Input(0, 2, Type((3,), FLOAT64)))
    cases = [
        (x, {1.5: True, 2.0: False, 0.0: False, np.inf: False, np.nan: False}),
        (scalar("mul", x, x), {1.5: True, 2.0: True, 0.0: False, np.inf: False, np.nan: False}),
    ]
    for base, expected in cases:
        condition = holds(base, p)
        for value, wanted in expected.items():
            assert evaluate(Graph([p.type], [condition]), [np.float64(value)])[0] == wanted
    condition = holds(1 + scalar("mul", scalar("mul", x, x), s), p)
    for sign, wanted in ((1.0, True), (-1.0, False), (np.nan, False)):
        args = [np.float64(2.0), np.float64(sign)]
        assert evaluate(Graph([p.type, s.type], [condition]), args)[0] == wanted


def test_what_stays():
    """Logarithms of numbers, of what products and roots make, of other products."""
    x = make(Input(0, 0, Type((3,), FLOAT64)))
    p = make(Input(0, 1, Type((), FLOAT64)))
    y = make(Input(0, 2, Type((3,), FLOAT64)))
    for inner in (
        scalar("pow", p, p), scalar("pow", x, y), scalar("pow", x, constant(2.0)), scalar("pow", x, constant(0.5)),
        scalar("mul", x, p), scalar("where", scalar("lt", x, p), x, y), scalar("add", scalar("pow", x, p), p),
    ):  # fmt: skip
        graph = Graph([x.type, p.type, y.type], [scalar("log", inner)])
        assert logarithms(graph) == graph


def test_a_flag_of_the_program_is_no_condition():
    graph = cr.trace(cr.jit(lambda flag, p, x: np.where(flag > 0, x, np.log(x**p))), 1.0, 1.0, X)
    assert per_event(graph)["where"] == 2


def test_a_known_exponent_needs_no_condition():
    graph = cr.trace(cr.jit(lambda x: np.log(x**-2.7)), X)
    assert per_event(graph) == Counter(log=1, mul=1)


@pytest.mark.parametrize("name", MODELS)
def test_idempotent(name):
    for transform in (cr.jit, cr.grad):
        graph = cr.trace(transform(MODELS[name]), np.ones(2), X)
        assert simplify(graph) == graph
        assert versions(versions(graph)) == versions(graph)


def test_second_derivatives():
    p = np.array([1.7, 2.3])
    found = cr.hessian(pareto)(p, X)
    n = len(X)
    expected = [[n / p[0] ** 2, -n / p[1]], [-n / p[1], n * p[0] / p[1] ** 2]]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
