"""The normal form: what it saves, and that it costs neither accuracy nor meaning."""

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from scipy.special import erf

import chainrule as cr
from chainrule.graph.dtype import COMPLEX128, FLOAT64, INT64
from chainrule.graph.evaluate import evaluate
from chainrule.graph.node import Graph, constant, make, results, scalar
from chainrule.graph.op import Broadcast, Cond, Input, Loop, Reduce, Scalar, Type
from chainrule.simplify.normal import Reader, normal_form, operations
from chainrule.simplify.pipeline import simplify
from tests.simplify.instances import errors, truth

PARAMETERS = (0.3, 4.0, 5.0, 0.7)


def per_event(graph):
    """The elementwise operations on arrays, by name, and the number of sums ("sum")."""
    found = Counter(n.op.name for n in graph.nodes if isinstance(n.op, Scalar) and n.shape)
    found["sum"] = sum(isinstance(n.op, Reduce) for n in graph.nodes)
    return found


def inside(x, f, tau, mu, sigma):
    """The norm of the Gaussian as it stands in books, 1/σ inside."""
    z = (x - mu) / sigma
    area = (erf((10 - mu) / sigma / np.sqrt(2)) - erf(-mu / sigma / np.sqrt(2))) / 2
    signal = np.exp(-0.5 * z**2) / (sigma * np.sqrt(2 * np.pi) * area)
    background = np.exp(-x / tau) / (tau * (1 - np.exp(-10 / tau)))
    return -np.sum(np.log(f * signal + (1 - f) * background))


def outside(x, f, tau, mu, sigma):
    """The same with divisions one after the other."""
    z = (x - mu) / sigma
    area = 0.5 * (erf((10 - mu) / (sigma * np.sqrt(2))) - erf(-mu / (sigma * np.sqrt(2))))
    signal = np.exp(-z * z / 2) / (np.sqrt(2 * np.pi) * area) / sigma
    background = np.exp(-x / tau) / tau / (1 - np.exp(-10 / tau))
    return -np.log(f * signal + (1 - f) * background).sum()


def traced(function):
    return simplify(cr.trace(function, cr.spec("n"), *(cr.spec() for _ in PARAMETERS)))


@pytest.mark.parametrize("likelihood", [inside, outside])
def test_gradient_of_a_likelihood(likelihood):
    count = per_event(traced(cr.value_and_grad(likelihood, argnums=(1, 2, 3, 4))))
    sums = count.pop("sum")
    assert sums <= 6
    assert count.total() <= 18
    assert (count["exp"], count["log"], count["div"]) == (2, 1, 1)


@pytest.mark.parametrize("likelihood", [inside, outside])
def test_hessian_of_a_likelihood(likelihood):
    count = per_event(traced(cr.value_grad_hess(likelihood, argnums=(1, 2, 3, 4))))
    sums = count.pop("sum")
    assert sums <= 22
    assert count.total() <= 96
    assert (count["exp"], count["log"], count["div"]) == (2, 1, 1)


@pytest.mark.parametrize("likelihood", [inside, outside])
@pytest.mark.parametrize("transform", [cr.value_and_grad, cr.value_grad_hess])
def test_likelihood_is_accurate(likelihood, transform):
    x = np.random.default_rng(0).uniform(0, 10, 20)
    program = cr.trace(transform(likelihood, argnums=(1, 2, 3, 4)), cr.spec("n"), *(cr.spec() for _ in PARAMETERS))
    args = [x, *PARAMETERS]
    exact = evaluate(program, args, backend="mpmath", digits=60)
    for found, true in zip(evaluate(simplify(program), args), exact, strict=True):
        np.testing.assert_allclose(found, float(true), rtol=1e-12)


# --- accuracy -------------------------------------------------------------------------------------------------

FAR = 1e6 + np.random.default_rng(1).normal(size=50)
NEAR_ZERO = np.random.default_rng(2).normal(size=50) * 1e-4


def two_sum(x, m):
    """The rounding error of x + m, as compensated sums compute it."""
    s = x + m
    t = s - x
    return (x - (s - t)) + (m - t)


PROGRAMS = {
    "Σ(x − μ)²": (lambda x, m: np.sum((x - m) ** 2), FAR, 1e6),
    "Σ(x − μ)²/σ² twice": (lambda x, m: np.sum(((x - m) / 3.0) ** 2) + np.sum(((x - m) / 7.0) ** 2), FAR, 1e6),
    "Σx and Σ(x − μ)": (lambda x, m: (np.sum(x), np.sum(x - m)), FAR, 1e6),
    "(x − μ) + (x − ν)": (lambda x, m: (x - m) + (x - (m + 0.25)), FAR, 1e6),
    "(x − μ)·a + (x − μ)·b": (lambda x, m: (x - m) * np.sin(m) + (x - m) * np.cos(m), FAR, 1e6),
    "(x − μ)·a + b": (lambda x, m: (x - m) * np.sin(m) + 1 / m, FAR, 1e6),
    "2·((x − μ)·a + b) − b": (lambda x, m: 2 * ((x - m) * np.sin(m) + m / 7) - m / 7, FAR, 1e6),
    "log Σ exp": (lambda x, m: np.log(np.sum(np.exp(x))) - m, FAR, 1e6),
    "exp(x) − exp(m)": (lambda x, m: np.exp(x) - np.exp(m), 1 + NEAR_ZERO, 1.0),
    "Σ exp(x) − exp(m)": (lambda x, m: np.sum(np.exp(x) - np.exp(m)), 1 + NEAR_ZERO, 1.0),
    "1 − cos x": (lambda x, m: m * (1 - np.cos(x)), NEAR_ZERO, 3.0),
    "x − x·cos x": (lambda x, m: m * x - m * x * np.cos(x), NEAR_ZERO, 3.0),
    "x − sin x": (lambda x, m: (x - np.sin(x)) * m, 0.5 + NEAR_ZERO, 3.0),
    "compensated sum": (two_sum, FAR, 1 / 3),
    "x + c − c": (lambda x, m: (x + 2.0**52) - 2.0**52, FAR / 3, 1.0),
    "(x/y)/z": (lambda x, m: (x / (m * 1e-200)) / (x * 1e200), FAR, 3.0),
    "x³/y²": (lambda x, m: x**3 / m**2 / x, FAR, 3.3),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_accuracy(name):
    program, x, m = PROGRAMS[name]
    graph = cr.trace(program, cr.spec("n"), cr.spec())
    alone = Reader(graph, {}).written()  # whether it pays or not, and without the rules for cancellations
    exact, before = truth(graph, [x, m]), evaluate(graph, [x, m])
    for after, later, old, true in zip(
        evaluate(simplify(graph), [x, m]), evaluate(alone, [x, m]), before, exact, strict=True
    ):
        assert (errors(after, true) <= errors(old, true) + 4).all()
        assert errors(later, true).max() <= 2 * errors(old, true).max() + 4


@pytest.mark.parametrize("seed", range(40))
def test_random_products(seed):
    """Products, quotients, powers and roots of six positive numbers: each rounding costs half an ulp."""
    rng = np.random.default_rng(seed)
    kind = Type((50,), FLOAT64)
    nodes = [make(Input(0, i, kind if i < 3 else Type((), FLOAT64))) for i in range(6)]
    inputs = [n.type for n in nodes]
    for _ in range(8):
        name = str(rng.choice(["mul", "mul", "div", "square", "sqrt", "neg"]))
        x, y = (nodes[i] for i in rng.integers(0, len(nodes), 2))
        nodes.append(scalar(name, x, y) if name in ("mul", "div") else scalar(name, scalar("abs", x)))
    graph = Graph(inputs, nodes[-3:])
    args = [rng.uniform(0.5, 2, t.shape) for t in inputs]
    for form in (Reader(graph, {}).written(), simplify(graph)):
        for after, true in zip(evaluate(form, args), truth(graph, args), strict=True):
            assert (errors(after, true) <= 64).all()
            assert after.shape == np.shape(true)


def test_nothing_singular_appears():
    """Not even the unselected branch of a choice, the divisor that overflows, or the factor that is infinite."""
    x, y = (make(Input(0, i, Type((4,), FLOAT64))) for i in range(2))
    zero = constant(0.0)
    mask = scalar("gt", x, zero)
    masked = scalar("where", mask, 3 * y / x, zero)
    graph = Graph([x.type, y.type], [masked * y + masked * x, (y / x) / x + y, y / x / y, x * y + x * y * y])
    args = [np.array([0.0, 1.0, 1e-120, 2.0]), np.array([2.0, 1e-170, 1e-150, 1e155])]
    for form in (graph, Reader(graph, {}).written(), simplify(graph)):
        found = evaluate(form, args)
        assert np.isfinite(found[0][:3]).all()
        assert np.isfinite(found[1][1:3]).all()
        assert np.isfinite(found[2][1:]).all()
        assert np.isfinite(found[3][:3]).all()


# --- what it does -----------------------------------------------------------------------------------------------


def array(*shape, position=0):
    return make(Input(0, position, Type(shape, FLOAT64)))


def test_one_reciprocal_and_shared_products():
    x, y, a = array(5), array(5, position=1), array(position=2)
    w = a * y / (1 + x * x)
    graph = Graph([x.type, y.type, a.type], [w * x, w * x * x, y / (1 + x * x)])
    count = per_event(simplify(graph))
    assert count["div"] == 1
    assert count.total() <= 1 + 2 + 3 + 2  # 1/(1 + x²); x², +1; r·y, ·x, ·x; two coefficients


def test_powers_share_factors():
    x = array(5)
    graph = Graph([x.type], [x * x * x * x * x * x * x * x, (x * x) * (x * x)])
    assert per_event(simplify(graph))["mul"] == 3


def test_coefficients_leave_sums_and_merge():
    x, a, b = array(5), array(position=1), array(position=2)
    total = make(Reduce("sum", (0,)), (scalar("exp", x) * a / b,))
    other = make(Reduce("sum", (0,)), (b * (3.0 * scalar("exp", x)),))
    count = per_event(simplify(Graph([x.type, a.type, b.type], [total, other])))
    assert count == Counter({"exp": 1, "sum": 1})


def rows(m, s, x):
    """χ² of each row of x, about its own mean and in units of its own width."""
    return np.sum(((x - m[:, None]) / s[:, None]) ** 2 / 2, axis=1) + x.shape[1] * np.log(s)


@pytest.mark.parametrize("view", [lambda v: v[:, None], lambda v: np.expand_dims(v, 1), lambda v: np.stack([v]).T])
def test_coefficients_of_rows_leave_sums(view):
    """Numbers of rank 1 are invariant in the loop over rank 2, however they came to rank 2."""
    def program(m, s, x):
        return np.sum(((x - view(m)) / view(s)) ** 2 / 2, axis=1)

    graph = traced_rows(program)
    count = Counter(n.op.name for n in graph.nodes if isinstance(n.op, Scalar) and len(n.shape) == 2)
    assert count == Counter(sub=1, mul=1)


def traced_rows(program):
    return simplify(cr.trace(program, cr.spec(30), cr.spec(30), cr.spec(30, 50)))


def test_gradients_of_rows():
    rng = np.random.default_rng(4)
    args = [rng.normal(size=30), rng.uniform(0.5, 2, 30), 1e3 + rng.normal(size=(30, 50))]
    graph = traced_rows(cr.grad(lambda m, s, x: np.sum(rows(m, s, x)), argnums=(0, 1)))
    count = Counter(n.op.name for n in graph.nodes if isinstance(n.op, Scalar) and len(n.shape) == 2)
    assert count == Counter(sub=1, mul=1)
    m, s, x = args
    away = x - m[:, None]
    expected = [-away.sum(1) / s**2, 50 / s - (away**2).sum(1) / s**3]
    for found, wanted in zip(evaluate(graph, args), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13)
    np.testing.assert_allclose(cr.jit(rows)(*args), rows(*args), rtol=1e-13)


def test_coefficients_of_columns_and_of_sums_over_some_axes():
    rng = np.random.default_rng(4)
    a, b, x = rng.normal(size=4), rng.normal(size=(4, 6)), rng.normal(size=(4, 5, 6))
    programs = [
        lambda a, b, x: np.sum(a[:, None, None] * np.sin(x) * b[:, None, :], axis=1),
        lambda a, b, x: np.sum(a[:, None, None] * np.sin(x) * b[:, None, :], axis=(1, 2)),
        lambda a, b, x: np.sum(np.sin(x).transpose(1, 2, 0) * a * b.T, axis=0),
        lambda a, b, x: np.sum(np.sin(x) / a[:, None, None]),
    ]
    for program in programs:
        graph = simplify(cr.trace(program, a, b, x))
        np.testing.assert_allclose(evaluate(graph, [a, b, x])[0], program(a, b, x), rtol=1e-13)
        np.testing.assert_allclose(cr.jit(program)(a, b, x), program(a, b, x), rtol=1e-13)


def test_addends_with_equal_atoms_merge():
    x, a, b = array(5), array(position=1), array(position=2)
    e = scalar("exp", x)
    graph = Graph([x.type, a.type, b.type], [(a * e * x + b * x * e) + e * x * a])
    assert per_event(simplify(graph)) == Counter({"exp": 1, "mul": 2, "sum": 0})


def test_exact_where_it_was():
    """x/y stays one division, and what gains nothing stays as it is."""
    x, y = array(5), array(5, position=1)
    for output in (x / y, x * y, scalar("exp", x - y), 1 / x, (x + y) + x):
        graph = Graph([x.type, y.type], [output])
        assert normal_form(graph) == graph


def body_of(kind):
    """A body with two divisions where one is enough; a carry and a captured number, or an operand twice."""
    x, s = (make(Input(0, i, kind)) for i in range(2))
    e = scalar("exp", x / s)
    return e / (1 + e) * x / (1 + e) / (1 + e)


def test_bodies_are_normalised():
    number = Type((), FLOAT64)
    x, s, n = array(), array(position=1), make(Input(0, 2, Type((), INT64)))
    out = body_of(number)
    branch, other = Graph([number, number], [out]), Graph([number, number], [scalar("sin", out)])
    index, c, t = (make(Input(0, i, k)) for i, k in enumerate([Type((), INT64), number, number]))
    step = branch.apply((c, t))[0]
    body = Graph([index.type, number, number], [step])
    loop = make(Loop("count", body, None, 1, 0, None), (n, x, s))
    cond = make(Cond((branch, other)), (n, x, s))
    graph = Graph([number, number, n.type], [results(loop)[0], results(cond)[0]])
    simple = normal_form(graph)
    assert operations(simple) < operations(graph)
    for node in simple.nodes:
        if isinstance(node.op, Loop):
            assert operations(node.op.body) < operations(body)
        if isinstance(node.op, Cond):
            assert operations(node.op.branches[0]) < operations(branch)
    args = [0.3, 1.7, np.int64(2)]
    np.testing.assert_allclose(evaluate(simple, args), evaluate(graph, args), rtol=1e-14)


@pytest.mark.parametrize("dtype", [INT64, COMPLEX128])
def test_integers_and_complex_numbers_are_left_alone(dtype):
    x, y = (make(Input(0, i, Type((5,), dtype))) for i in range(2))
    graph = Graph([x.type, y.type], [x * y * x + y * x * y, x * y - x * y * x])
    assert normal_form(graph) == graph


def test_single_precision():
    """Coefficients that are no normal numbers of the type are not made: 1e-30·1e-30 is zero in single precision."""
    x, y = (make(Input(0, i, Type((5,), np.dtype(np.float32)))) for i in range(2))
    tiny = constant(1e-30, np.dtype(np.float32))
    graph = Graph([x.type, y.type], [(x * tiny) * (y * tiny), (x * x) * (x * x) / x])
    args = [np.linspace(1, 2, 5, dtype=np.float32), np.full(5, 1e30, np.float32)]
    for form in (Reader(graph, {}).written(), simplify(graph)):
        for found, expected in zip(evaluate(form, args), evaluate(graph, args), strict=True):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_sums_that_do_not_fit_in_registers_are_gathered():
    x, a, b = array(1000), array(position=1), array(position=2)
    sums = [make(Reduce("sum", (0,)), (scalar("sin", x) * scalar("cos", x + float(k)),)) for k in range(20)]
    outputs = [a * sums[k] + b * sums[k + 1] for k in range(0, 20, 2)]
    graph = Graph([x.type, a.type, b.type], outputs)
    simple = simplify(graph)
    assert per_event(simple)["sum"] == 10
    args = [np.linspace(0, 3, 1000), 1.5, -0.5]
    for found, expected in zip(evaluate(simple, args), evaluate(graph, args), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_repeated_numbers():
    """Rank-0 values repeated over arrays keep their shapes."""
    a, b = array(), array(position=1)
    rows = [make(Broadcast((3, 2), ()), (v,)) for v in (a, b, a * b)]
    total = make(Reduce("sum", (1,)), (rows[0] * rows[1],))
    graph = Graph([a.type, b.type], [rows[0] * rows[1] / rows[2], total, rows[0] + rows[1], scalar("exp", rows[2])])
    args = [1.5, 2.5]
    for form in (Reader(graph, {}).written(), simplify(graph)):
        for found, expected in zip(evaluate(form, args), evaluate(graph, args), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-15)
            assert found.shape == expected.shape


# --- as a pass ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", [inside, outside])
@pytest.mark.parametrize("transform", [cr.value_and_grad, cr.value_grad_hess])
def test_idempotent(likelihood, transform):
    once = traced(transform(likelihood, argnums=(1, 2, 3, 4)))
    assert simplify(once) == once
    assert normal_form(once) == once


DIGEST = """
import chainrule as cr
from tests.simplify.test_normal import inside, traced
print(traced(cr.value_grad_hess(inside, argnums=(1, 2, 3, 4))).digest.hex())
"""


def test_deterministic():
    """The same graph in every process, whatever the seed of Python's hashes."""
    found = set()
    for seed in ("0", "1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", DIGEST]
        found.add(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert len(found) == 1


def random_program(size):
    rng = np.random.default_rng(size)
    nodes = [make(Input(0, i, Type((), FLOAT64))) for i in range(10)]
    inputs = [n.type for n in nodes]
    while len(nodes) < size:
        x, y = (nodes[i] for i in rng.integers(max(0, len(nodes) - 40), len(nodes), 2))
        name = str(rng.choice(["add", "sub", "mul", "mul", "div", "exp", "sin"]))
        nodes.append(scalar(name, x) if name in ("exp", "sin") else scalar(name, x, y))
    return Graph(inputs, nodes[-40:])


def chain(name):
    def program(size):
        nodes = [make(Input(0, i, Type((), FLOAT64))) for i in range(size)]
        total = nodes[0]
        for x in nodes[1:]:
            total = scalar(name, total, x)
        return Graph([x.type for x in nodes], [total])

    return program


def dot(size):
    nodes = [make(Input(0, i, Type((), FLOAT64))) for i in range(size)]
    total = nodes[0]
    for x, y in zip(nodes[1:], nodes[:-1], strict=True):
        total = total + x * y * nodes[0]
    return Graph([x.type for x in nodes], [total])


@pytest.mark.parametrize("program", [random_program, chain("mul"), chain("add"), chain("div"), dot])
def test_linear(program):
    """Function calls, which do not depend on the load of the machine, grow as the program does."""

    def calls(size):
        count = 0

        def note(frame, event, argument):
            nonlocal count
            count += event in ("call", "c_call")

        graph = program(size)
        sys.setprofile(note)
        try:
            normal_form(graph)
        finally:
            sys.setprofile(None)
        return count / len(graph)

    assert calls(4000) < 1.25 * calls(1000)
