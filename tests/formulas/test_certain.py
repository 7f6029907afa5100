"""Formulas are equal to what the kernels compute, for random programs too; and none is given that is not."""

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.formulas import certificate as certificates
from chainrule.formulas import search
from chainrule.formulas.certificate import Certificate
from chainrule.formulas.poles import has_new_poles, poles
from chainrule.formulas.program import program
from chainrule.formulas.request import request
from tests.formulas import programs as p

UNARY: dict[str, Callable[[Any], Any]] = {
    "sin": np.sin, "cos": np.cos, "tanh": np.tanh, "exp(sin)": lambda x: np.exp(np.sin(x)), "square": lambda x: x**2,
    "log(1+²)": lambda x: np.log(1 + x**2), "sqrt(1+²)": lambda x: np.sqrt(1 + x**2), "half": lambda x: 0.5 * x,
    "1/(2+sin)": lambda x: 1 / (2 + np.sin(x)), "arctan": np.arctan, "-": lambda x: -x,
    "relu": lambda x: np.maximum(x, 0.3), "abs": lambda x: np.abs(x - 0.7),
    "where": lambda x: np.where(x > 0.4, x**3, np.sin(x)),
}  # fmt: skip
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / (1.5 + b**2),
}  # fmt: skip

trees = st.recursive(
    st.sampled_from(["x", "y"]),
    lambda below: st.one_of(
        st.tuples(st.sampled_from(sorted(UNARY)), below),
        st.tuples(st.sampled_from(sorted(BINARY)), below, below),
    ),
    max_leaves=6,
)


def value(tree: Any, x: Any, y: Any) -> Any:
    if isinstance(tree, str):
        return x if tree == "x" else y
    parts = [value(t, x, y) for t in tree[1:]]
    return (UNARY if len(parts) == 1 else BINARY)[tree[0]](*parts)


@given(tree=trees, point=st.tuples(st.floats(-1.9, 1.9), st.floats(-1.9, 1.9)))
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_random_programs(tree: Any, point: tuple[float, float]) -> None:
    def function(x: Any, y: Any) -> Any:
        return value(tree, x, y)

    if any(abs(v - edge) < 1e-3 for v in point for edge in (0.3, 0.4, 0.7)):
        return
    formula = cr.formula(lambda x, y: function(x, y), budget=0.1)
    expected = cr.grad(function, argnums=(0, 1))(*point)
    symbols = sp.symbols("x y")
    found = formula.expr
    for part, truth in zip(found, expected, strict=True):
        number = sp.lambdify(symbols, part, [{"Maximum": max}, "mpmath"])(*map(mp.mpf, point))
        assert float(number) == pytest.approx(float(truth), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("length", [2, 5])
def test_sums_over_data(length: int) -> None:
    rng = np.random.default_rng(length)
    x, y, a = rng.normal(size=length), rng.normal(size=length), 0.7

    def loss(a: Any, x: Any, y: Any) -> Any:
        r = y - np.exp(a * x)
        return np.sum(r**2) + a**3

    part = cr.formula(loss, wrt="a", x="n", y="n").expr
    number = sp.lambdify(["a", "x", "y", "n"], part, "numpy")(a, x, y, length)
    assert float(number) == pytest.approx(float(cr.grad(loss)(a, x, y)), rel=1e-12)


def test_a_wrong_formula_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the algebra does wrong, the certificate sees it."""
    real = search.shortest

    def wrong(expr: Any, *rest: Any) -> Any:
        return real(expr, *rest) + sp.Rational(1, 10**40)

    monkeypatch.setattr(search, "shortest", wrong)
    monkeypatch.setattr(search, "_of_sympy", lambda *_: [])
    assert str(cr.formula(p.wave)) == "∂wave/∂x = sin²x + 2x·cos x·sin x"  # the unsimplified form, which is right
    monkeypatch.setattr(search, "pulled", lambda e: e + sp.Symbol("x", real=True) / 10**40)
    with pytest.raises(ArithmeticError, match=r"does not agree with it to 50 digits .*programs\.py"):
        cr.formula(p.wave)


def test_the_program_itself_is_the_truth() -> None:
    made = program(request(p.pdf, {}, None))
    certificate = Certificate(made)
    point = certificate.points[0]
    position = 2  # mu
    found = certificate.derivative(point, 0, ((position, ()),))[()]
    exact = cr.grad(p.pdf, argnums=position)(*[float(a) for a in point.arguments])
    assert float(found) == pytest.approx(float(exact), rel=1e-12)
    with mp.workdps(60):
        z, f, mu, sigma = (point.values[s] for s in map(_real, ("x", "f", "mu", "sigma")))
        z = (z - mu) / sigma
        by_hand = f * z / sigma * mp.exp(-(z**2) / 2) / (mp.sqrt(2 * mp.pi) * sigma)
        assert abs(found - by_hand) < abs(by_hand) * mp.mpf(10) ** -50


def test_points_lie_in_every_branch() -> None:
    certificate = Certificate(program(request(p.branch, {}, None)))
    assert {pt.pattern for pt in certificate.points} == {(True,), (False,)}
    assert certificates.POINTS >= 2


def _real(name: str) -> sp.Symbol:
    return sp.Symbol(name, real=True)


@pytest.mark.parametrize(
    ("simplified", "original", "new"),
    [
        ("sin(x)/x", "sin(x)", True),
        ("1/(x - 1)", "1/(1 - x)", False),
        ("1/(x**2 - 1)", "1/(x - 1)", True),
        ("1/((x - 1)*(x + 1))", "1/(x**2 - 1)", False),
        ("1/sinh(x/2)**2", "1/(exp(x) - 1)", False),
        ("1/(exp(x) - 1)", "exp(-x)/(1 - exp(-x))", False),
        ("log(x)", "x", True),
        ("tan(x)", "sin(x)/cos(x)", False),
        ("exp(-x)/(2*pi)", "x", False),
    ],
)
def test_new_poles(simplified: str, original: str, new: bool) -> None:
    x = _real("x")
    a, b = (sp.sympify(e, {"x": x}) for e in (simplified, original))
    assert has_new_poles(a, [b]) is new
    assert poles(a) == poles(a)
