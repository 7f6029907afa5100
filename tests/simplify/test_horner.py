"""Horner's scheme: where it is used, what it saves, and that it costs no accuracy."""

from collections import Counter

import mpmath
import numpy as np
import pytest

import chainrule as cr
from chainrule.codegen.function import call
from chainrule.codegen.kernel import compile_graph
from chainrule.graph.control import fori_loop
from chainrule.graph.evaluate import evaluate
from chainrule.graph.op import Loop, Scalar
from chainrule.simplify import pipeline
from chainrule.simplify.horner import horner
from chainrule.simplify.normal import normal_form, operations
from chainrule.simplify.pipeline import simplify

EPS = 2.0**-53


def traced(function, *coefficients):
    return cr.trace(function, cr.spec("n"), *(cr.spec() for _ in coefficients))


def counted(graph):
    """The operations on arrays, by name."""
    return Counter(n.op.name for n in graph.nodes if isinstance(n.op, Scalar) and n.shape)


# The function, its coefficients from the lowest on, and the multiplications that Horner's scheme takes.
POLYNOMIALS = {
    "ascending": (lambda x: 1.5 - 2.5 * x + 3.5 * x**2 - 4.7 * x**3 + 0.6 * x**4, [1.5, -2.5, 3.5, -4.7, 0.6], 4),
    "descending": (lambda x: 0.3 * x**3 + 1.7 * x**2 + 0.2 * x - 0.9, [-0.9, 0.2, 1.7, 0.3], 3),
    "products": (lambda x: 0.7 + 1.1 * x + 1.3 * (x * x) + 1.9 * (x * x * x), [0.7, 1.1, 1.3, 1.9], 3),
    "exponential": (
        lambda x: 1 + x + x**2 / 2 + x**3 / 6 + x**4 / 24 + x**5 / 120, [1, 1, 1 / 2, 1 / 6, 1 / 24, 1 / 120], 5,
    ),
    "even": (lambda x: 1 - x**2 / 2 + x**4 / 24 - x**6 / 720, [1, 0, -1 / 2, 0, 1 / 24, 0, -1 / 720], 4),
    "odd": (lambda x: x - x**3 / 6 + x**5 / 120 - x**7 / 5040, [0, 1, 0, -1 / 6, 0, 1 / 120, 0, -1 / 5040], 5),
    "gaps": (lambda x: 0.1 + 0.3 * x**2 + 0.7 * x**5, [0.1, 0, 0.3, 0, 0, 0.7], 5),
    "roots": (lambda x: x**3 - 6 * x**2 + 11 * x - 6, [-6, 11, -6, 1], 2),
    "polyval": (lambda x: np.polyval(np.array([0.6, -4.7, 3.5, -2.5, 1.5]), x), [1.5, -2.5, 3.5, -4.7, 0.6], 4),
}  # fmt: skip


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_one_multiplication_a_power(name):
    function, _, most = POLYNOMIALS[name]
    count = counted(simplify(traced(function)))
    assert count["mul"] <= most
    assert set(count) <= {"mul", "add", "sub", "neg"}


@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("name", POLYNOMIALS)
def test_no_less_accurate(name, spread, monkeypatch):
    """In units of the sum of the addends' absolute values, by which any way of adding up is measured."""
    function, coefficients, _ = POLYNOMIALS[name]
    x = np.random.default_rng(11).normal(size=1000) * spread
    scheme = simplify(traced(function))
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "horner", lambda graph: graph)
        written = simplify(traced(function))
    sizes = np.polyval(np.abs(coefficients[::-1]), np.abs(x))
    with mpmath.workdps(40):
        exact = [mpmath.polyval([mpmath.mpf(c) for c in coefficients[::-1]], mpmath.mpf(v)) for v in x.tolist()]
        before, after, interpreted = (
            np.array([abs(float(mpmath.mpf(v) - t)) for v, t in zip(y.tolist(), exact, strict=True)]) / sizes / EPS
            for y in (native(written, x), native(scheme, x), evaluate(scheme, [x])[0])
        )
    assert after.mean() <= before.mean() * 1.1
    assert after.max() <= len(coefficients)
    assert interpreted.max() <= 2 * len(coefficients)


def native(graph, x):
    """The value of a graph, by a kernel, with fused multiply-adds."""
    kernel = compile_graph(graph, "polynomial")
    return call(kernel.address, kernel.signature, [x], [])


def test_coefficients_may_be_invariants():
    graph = simplify(traced(lambda x, a, b, c, d: a + b * x - c * d * x**2 + d * x**3, *"abcd"))
    assert counted(graph) == {"mul": 3, "add": 2, "sub": 1}
    x = np.linspace(-2, 2, 9)
    np.testing.assert_allclose(evaluate(graph, [x, 1.5, 2.5, 3.5, 4.5])[0], 1.5 + 2.5 * x - 15.75 * x**2 + 4.5 * x**3)


def test_polynomials_of_other_atoms():
    graph = simplify(
        traced(lambda x, a, b: np.sum(0.3 + a * np.sin(x) + b * np.sin(x) ** 2 + 0.7 * np.sin(x) ** 3), *"ab")
    )
    assert counted(graph) == {"sin": 1, "mul": 3, "add": 3}


def test_bodies_of_loops():
    def program(x):
        return fori_loop(0, 5, lambda i, z: 0.1 + 0.2 * z + 0.3 * z**2 - 0.4 * z**3, x)

    graph = simplify(cr.trace(program, cr.spec()))
    (body,) = [n.op.body for n in graph.nodes if isinstance(n.op, Loop)]
    names = Counter(n.op.name for n in body.nodes if isinstance(n.op, Scalar) and n.dtype.kind == "f")
    assert names["mul"] == 3
    assert evaluate(graph, [0.5])[0] == pytest.approx(program_in_numpy(0.5), rel=1e-14)


def program_in_numpy(z):
    for _ in range(5):
        z = 0.1 + 0.2 * z + 0.3 * z**2 - 0.4 * z**3
    return z


# --- where the sum is left as it stands ----------------------------------------------------------------------


LEFT = {
    "an exact difference": lambda x: 1 - x + 1e-8 * x**2,
    "another": lambda x: (2 * x - 3) + 1e-6 * x**2 + 1e-9 * x**3,
    "a square of a difference": lambda x: (x - 1.1) ** 2 + 3.0,
    "powers that are wanted anyway": lambda x: np.stack([x**2, x**3, 0.3 + 0.7 * x**2 + 0.9 * x**3]),
    "one power": lambda x: 1 - 0.3 * x**2,
}


@pytest.mark.parametrize("name", LEFT)
def test_left_alone(name):
    graph = normal_form(simplify(traced(LEFT[name])))
    assert horner(graph) == graph


def test_an_exact_difference_stays_accurate():
    """Near 1 the scheme would lose eight digits of 1 − x + 1e-8·x²."""
    x = 1 + np.random.default_rng(3).uniform(-1e-9, 1e-9, 200)
    computed = cr.jit(lambda x: 1 - x + 1e-8 * x**2)(x)
    with mpmath.workdps(40):
        for value, v in zip(computed.tolist(), x.tolist(), strict=True):
            exact = 1 - mpmath.mpf(v) + mpmath.mpf(1e-8) * mpmath.mpf(v) ** 2
            assert abs(value - exact) <= 4 * EPS * abs(exact) + 4 * EPS * 1e-8


def test_never_dearer():
    for function, _, _ in POLYNOMIALS.values():
        graph = normal_form(simplify(traced(function), "smooth"))
        assert operations(horner(graph)) <= operations(graph)
        assert simplify(simplify(traced(function))) == simplify(traced(function))
