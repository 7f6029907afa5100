"""lambdify: every expression against SymPy's own evaluation at 30 digits, derivatives against SymPy's ``diff``."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import sympy as sp
from sympy.utilities.lambdify import implemented_function

import chainrule as cr
from chainrule.symbolic import lambdify

x, y, z = sp.symbols("x y z")
n, i = sp.symbols("n i", integer=True)
AT = {x: 0.7, y: 1.3, z: -0.4}

EXPRESSIONS = [
    x + y - z,
    2 * x * y / z,
    x**2 - 3 * y**-2,
    x**sp.Rational(1, 2) + y ** sp.Rational(-3, 2),
    x ** sp.Rational(2, 3),
    x**y,
    2**x,
    sp.exp(x * z),
    sp.E**2 + sp.pi * x + sp.EulerGamma + sp.GoldenRatio + sp.Catalan,
    sp.Rational(1, 3) * x + sp.Float("0.1") * y + 10**30 * z / 10**30,
    sp.log(x) + sp.log(y, 10),
    sp.sqrt(x**2 + y**2 + z**2),
    sp.sin(x) * sp.cos(y) + sp.tan(z),
    sp.cot(x) + sp.sec(y) + sp.csc(z),
    sp.asin(x) + sp.acos(z) + sp.atan(y),
    sp.acot(x) + sp.asec(y) + sp.acsc(y),
    sp.atan2(x, z),
    sp.sinh(x) + sp.cosh(y) + sp.tanh(z),
    sp.coth(x) + sp.sech(y) + sp.csch(z),
    sp.asinh(x) + sp.acosh(y) + sp.atanh(z),
    sp.acoth(y) + sp.asech(x) + sp.acsch(z),
    sp.sinc(x) + sp.sinc(0),
    sp.Abs(z) + sp.sign(z) * x,
    sp.floor(y) + sp.ceiling(z) * x + sp.frac(y),
    sp.Mod(y, x) + sp.Mod(z, 1),
    sp.Min(x, y, z) + 2 * sp.Max(x, y, z),
    sp.Heaviside(x) + sp.Heaviside(z),
    sp.KroneckerDelta(1, 2) + x,
    sp.erf(x) + sp.erfc(y) + sp.erfinv(x),
    sp.gamma(x) + sp.loggamma(y) + sp.digamma(x) + sp.polygamma(1, y),
    sp.beta(x, y) + sp.factorial(x) + sp.binomial(5, x) + sp.harmonic(y),
    sp.Piecewise((x**2, x > 1), (sp.sin(x), x > 0), (0, True)),
    sp.Piecewise((sp.sqrt(z), z > 0), (y, True)),
    sp.Piecewise((1, (x > 0) & (y < 1)), (2, (x > 0) | (y < 1)), (3, ~(x > 2))),
    sp.Piecewise((x, sp.ITE(x > 1, y > 0, z < 0)), (y, True)),
    sp.Sum(sp.sin(i * x) / i, (i, 1, 7)),
    sp.Product(1 + x / i, (i, 1, 5)),
    sp.Sum(i * sp.Sum(x**n, (n, 0, i)), (i, 1, 4)),
    sp.Derivative(sp.sin(x * y), x),
    sp.Integral(sp.exp(-x), (x, 0, y)),
    sp.Subs(x**2 + y, x, z),
    (x + y) ** 5 * (x + y) ** sp.Rational(-7, 2),
    sp.re(x + sp.I * y) + sp.im(x + 2 * sp.I * y) + sp.Abs(x + sp.I * y) ** 2 + sp.re(sp.conjugate(x + sp.I * y)),
    sp.arg(x + sp.I * y),
    sp.re(sp.exp(sp.I * x) / (y - sp.I * z)),
]


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_values(expression: sp.Expr) -> None:
    expected = complex(sp.N(expression.subs({k: sp.Rational(str(v)) for k, v in AT.items()}).doit(), 30))
    assert abs(expected.imag) < 1e-25
    f = lambdify((x, y, z), expression)
    assert f(*AT.values()) == pytest.approx(expected.real, rel=2e-14)


@pytest.mark.parametrize("expression", EXPRESSIONS[:22] + EXPRESSIONS[28:32] + EXPRESSIONS[35:37], ids=str)
def test_gradients(expression: sp.Expr) -> None:
    f = lambdify((x, y, z), expression)
    gradient = cr.grad(f, wrt=(x, y, z))(*AT.values())
    for symbol, ours in zip((x, y, z), gradient, strict=True):
        exact = sp.diff(expression.doit(), symbol).subs({k: sp.Rational(str(v)) for k, v in AT.items()})
        assert ours == pytest.approx(float(sp.N(exact, 30)), rel=1e-12, abs=1e-13)


def test_broadcasting() -> None:
    f = lambdify((x, y), sp.Piecewise((x * y, x > y), (sp.exp(x), True)))
    a, b = np.linspace(0, 2, 5)[:, None], np.linspace(0, 1, 4)
    np.testing.assert_allclose(f(a, b), np.where(a > b, a * b, np.exp(a)), rtol=1e-15)


def test_structures() -> None:
    f = lambdify([x, (y, z)], [x + y, (y * z, [x]), {"a": x - z}])
    total, (product, (first,)), named = f(1.0, (2.0, 3.0))
    assert (total, product, first, named["a"]) == (3.0, 6.0, 1.0, -2.0)
    with pytest.raises(ValueError, match="must have 2 entries"):
        f(1.0, (2.0, 3.0, 4.0))


def test_matrices() -> None:
    f = lambdify((x, y), sp.Matrix([[x, sp.sin(y)], [1, x * y]]))
    np.testing.assert_allclose(f(2.0, 3.0), [[2.0, np.sin(3.0)], [1.0, 6.0]], rtol=1e-15)
    j = cr.jacfwd(f)(2.0, 3.0)
    np.testing.assert_allclose(j, [[1.0, 0.0], [0.0, 3.0]])
    sparse = lambdify(x, sp.SparseMatrix(2, 2, {(0, 1): x}))
    np.testing.assert_allclose(sparse(3.0), [[0.0, 3.0], [0.0, 0.0]])
    vector = lambdify([sp.Matrix([x, y])], x * y)
    assert vector(np.array([2.0, 3.0])) == 6.0


def test_matrix_symbols() -> None:
    a, b = sp.MatrixSymbol("A", 2, 2), sp.MatrixSymbol("b", 2, 1)
    f = lambdify((a, b), (b.T * a * b)[0, 0] + sp.trace(a) * x.subs(x, 2))
    m, v = np.array([[2.0, 1.0], [0.5, 3.0]]), np.array([[1.0], [2.0]])
    assert f(m, v) == pytest.approx((v.T @ m @ v).item() + 2 * np.trace(m))
    g = cr.grad(f, wrt=b)(m, v)
    np.testing.assert_allclose(g, (m + m.T) @ v, rtol=1e-14)


def test_indexed_sums_over_data() -> None:
    d, mu, sigma = sp.IndexedBase("d"), sp.Symbol("mu"), sp.Symbol("sigma", positive=True)
    nll = sp.Sum(((d[i] - mu) / sigma) ** 2 / 2 + sp.log(sigma), (i, 0, n - 1))
    f = lambdify((d, mu, sigma, n), nll)
    data = np.array([1.0, 2.5, 4.0, 0.5])
    expected = np.sum(((data - 2.0) / 1.5) ** 2 / 2 + np.log(1.5))
    assert f(data, 2.0, 1.5, 4) == pytest.approx(expected, rel=1e-14)
    fixed = lambdify((d, mu, sigma), nll.subs(n, 4))
    assert fixed(data, 2.0, 1.5) == pytest.approx(expected, rel=1e-14)
    gradient = cr.grad(fixed, wrt=(mu, sigma))(data, 2.0, 1.5)
    assert gradient[0] == pytest.approx(-np.sum(data - 2.0) / 1.5**2, rel=1e-13)
    assert gradient[1] == pytest.approx(4 / 1.5 - np.sum((data - 2.0) ** 2) / 1.5**3, rel=1e-13)


def test_sums_with_array_arguments() -> None:
    f = lambdify((x, n), sp.Sum(sp.cos(i * x), (i, 1, n)))
    at = np.linspace(0.1, 2, 6)
    expected = sum(np.cos(k * at) for k in range(1, 8))
    np.testing.assert_allclose(f(at, 7), expected, rtol=1e-13)
    slopes = sum(-k * np.sin(k * at) for k in range(1, 8))
    np.testing.assert_allclose(cr.elementwise_grad(f)(at, 7), slopes, rtol=1e-12)
    assert f(0.5, 0) == 0.0


def test_symbols_with_any_name() -> None:
    weird = sp.symbols(r"lambda x' \alpha_{1} 1st")
    f = lambdify(weird, weird[0] + 2 * weird[1] + 3 * weird[2] + 4 * weird[3])
    assert f(1.0, 10.0, 100.0, 1000.0) == 4321.0
    assert [cr.grad(f, wrt=w)(1.0, 1.0, 1.0, 1.0) for w in weird] == [1.0, 2.0, 3.0, 4.0]
    assert [float(v) for v in cr.grad(f, wrt=weird)(1.0, 1.0, 1.0, 1.0)] == [1.0, 2.0, 3.0, 4.0]
    assert f(lambda_=1.0, x=10.0, alpha__1=100.0, _1st=1000.0) == 4321.0


def test_user_functions() -> None:
    f = sp.Function("f")
    assert lambdify(x, f(x) + 1, modules={"f": lambda v: 3 * v})(2.0) == 7.0
    assert lambdify(x, sp.sin(x), modules=[{"sin": lambda v: 5 * v}, "numpy"])(2.0) == 10.0
    g = implemented_function("g", lambda v: v**2)
    assert lambdify(x, g(x))(3.0) == 9.0
    with pytest.raises(ValueError, match="g is not known"):
        lambdify(x, g(x), use_imps=False)(3.0)


def test_large_shared_expressions() -> None:
    """Iterated squares: 2⁴⁰ terms if expanded."""
    expression = x
    for _ in range(40):
        expression = (expression * expression + 1) / 2
    assert lambdify(x, expression)(1.0) == 1.0
    assert cr.grad(lambdify(x, expression))(1.0) == 1.0


def test_pickle() -> None:
    f = pickle.loads(pickle.dumps(lambdify((x, y), sp.sin(x) * y)))
    assert f(1.0, 2.0) == pytest.approx(2 * np.sin(1.0), rel=1e-15)


def test_constants() -> None:
    assert lambdify((), sp.pi)() == np.pi
    assert lambdify(x, 5)(1.0) == 5
    assert lambdify(x, sp.Integer(10) ** 30)(1.0) == 1e30


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: lambdify(x, x + y), ValueError, "contains y"),
        (lambda: lambdify(x, "x + 1"), TypeError, "sympify"),
        (lambda: lambdify(x, object()), TypeError, "not object"),
        (lambda: lambdify(x, sp.zeta(x))(1.0), ValueError, "zeta is not known"),
        (lambda: lambdify(x, sp.Integral(sp.Function("q")(y), (y, 0, x)))(1.0), ValueError, "no closed form"),
        (lambda: lambdify(x, sp.Sum(x**i, (i, 0, sp.oo)))(0.5), ValueError, "infinitely many"),
        (lambda: lambdify(x, sp.zoo * x)(0.5), ValueError, "no number"),
        (lambda: lambdify(x, x, printer=str), TypeError, "no printer"),
    ],
)
def test_what_is_refused(call: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()


def test_the_face_has_it() -> None:
    assert cr.lambdify(x, 2 * x)(1.5) == 3.0


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_round_trip(expression: sp.Expr) -> None:
    """SymPy → compiled function → formula → SymPy: the same value to 15 digits."""
    found = cr.formula(lambdify((x, y, z), expression), order=0, budget=0.02).expr
    at = {k.name: sp.Rational(str(v)) for k, v in AT.items()}
    expected = sp.N(expression.subs({k: at[k.name] for k in AT}).doit(), 25)
    value = sp.N(found.subs({s: at[s.name] for s in found.free_symbols}).doit(), 25)
    assert abs(complex(value - expected)) < 1e-14 * abs(complex(expected))
