"""What a formula holds, and what is said where there is none."""

import pickle
import sys
from typing import Any

import numpy as np
import pytest
import sympy as sp

import chainrule as cr
from tests.formulas import programs as p


def test_results_and_steps_are_sympy_over_plain_symbols() -> None:
    found = cr.formula(p.pdf, wrt="mu")
    f, G, z, sigma, mu, x = sp.symbols("f G z sigma mu x")
    assert dict(found.results) == {"∂pdf/∂mu": f * G * z / sigma}
    assert list(found.steps) == [z, G]
    assert found.steps[z] == (x - mu) / sigma
    assert found.steps[G] == sp.exp(-(z**2) / 2) / (sp.sqrt(2 * sp.pi) * sigma)
    assert (found.name, found.order, found.wrt) == ("pdf", 1, ("mu",))


def test_steps_of_arrays_are_elements() -> None:
    found = cr.formula(p.nll, wrt="sigma", p=2, x="n")
    i, n, sigma, mu = sp.Symbol("i"), sp.Symbol("n"), sp.Symbol("sigma"), sp.Symbol("mu")
    z, x = sp.IndexedBase("z"), sp.IndexedBase("x")
    assert dict(found.steps) == {z[i]: (x[i] - mu) / sigma}
    assert found.results["∂nll/∂sigma"] == (n - sp.Sum(z[i] ** 2, (i, 0, n - 1))) / sigma


def test_expr_has_the_steps_written_out() -> None:
    found = cr.formula(p.pdf, wrt="mu").expr
    value = cr.formula(p.pdf, order=0).expr
    mu = sp.Symbol("mu")
    point = {"x": 5.2, "f": 0.3, "mu": 5.0, "sigma": 0.7, "tau": 4.0}
    assert float(found.subs(point)) == pytest.approx(float(sp.diff(value, mu).subs(point)), rel=1e-12)


def test_expr_of_a_recurrence_says_why_there_is_none() -> None:
    found = cr.formula(p.newton)
    with pytest.raises(ValueError, match="newton has a loop that is no sum and no product"):
        _ = found.expr
    (loop,) = found.recurrences
    assert [str(c) for c in loop.carries] == ["x", "xdot"]
    assert str(loop) == (
        "x[0] = a, xdot[0] = 1; while abs(x[k]**2-a) > 1e-12:"
        " x[k+1] = (x[k]+a/x[k])/2, xdot[k+1] = ((1-a/x[k]**2)*xdot[k] + 1/x[k])/2"
    )
    assert r"\dot{x}_{k+1}" in sp.latex(loop)
    assert found.results["∂newton/∂a"] == sp.IndexedBase("xdot")[sp.Symbol("K")]


def test_latex_environments() -> None:
    found = cr.formula(p.nll, p=2, x="n")
    assert found.latex("align") == (
        "\\begin{align}\n"
        "\\frac{\\partial \\mathrm{nll}}{\\partial \\mu} &= -\\frac{1}{\\sigma} \\sum_i z_i \\\\\n"
        "\\frac{\\partial \\mathrm{nll}}{\\partial \\sigma} &= \\frac{n-\\sum_i z_i^2}{\\sigma} \\\\\n"
        "z_i &= \\frac{x_i-\\mu}{\\sigma}\n"
        "\\end{align}"
    )
    assert found._repr_latex_().startswith("$$\\begin{aligned}")
    assert str(found) == repr(found) == found.text()


def test_ascii() -> None:
    assert cr.formula(p.pdf, wrt="mu").text(ascii=True) == (
        "dpdf/dmu = f*G*z/sigma      z = (x-mu)/sigma,  G = exp(-z**2/2)/(sqrt(2*pi)*sigma)"
    )
    assert cr.formula(p.nll, p=2, x="n").text(ascii=True).isascii()
    assert cr.formula(p.newton).text(ascii=True).isascii()
    assert cr.formula(p.root).text(ascii=True) == "droot/dx = { 1/(2*sqrt(x)) if x > 0; 0 otherwise }"


def test_what_to_differentiate_by() -> None:
    by_name = cr.formula(p.pdf, wrt="mu sigma").results
    assert list(by_name) == ["∂pdf/∂mu", "∂pdf/∂sigma"]
    assert list(cr.formula(p.pdf, wrt=["mu", sp.Symbol("sigma")]).results) == list(by_name)
    assert list(cr.formula(p.nll, wrt="sigma", p=2, x="n").results) == ["∂nll/∂sigma"]  # an element of p, by its name
    assert next(iter(cr.formula(p.pdf).results)) == "∂pdf/∂x"
    second = cr.formula(p.nll, wrt="p", order=2, p=2, x="n")
    assert list(second.results)[2:] == ["∂²nll/∂mu²", "∂²nll/∂mu∂sigma", "∂²nll/∂sigma²"]


def test_shapes() -> None:
    def norm(x: Any) -> Any:
        return np.sum(x**2)

    for shape in ("n", ("n",), "n,3", (4, "m"), cr.spec("n", 2)):
        assert "2x" in cr.formula(norm, wrt="x", x=shape).text()
    assert list(cr.formula(lambda p: p["a"] * p["b"], p={"a": None, "b": None}).results) == ["∂f/∂a", "∂f/∂b"]


def test_names() -> None:
    found = cr.formula(p.nll, names={"mu": "m", "z": "u"}, p=2, x="n")
    assert found.text().splitlines() == ["∂nll/∂m = −(1/σ)·Σᵢ uᵢ", "∂nll/∂σ = (n−Σᵢ uᵢ²)/σ", "where uᵢ = (xᵢ−m)/σ"]


def test_greek_and_subscripts() -> None:
    def area(mu_1: Any, Gamma0: Any, total_mass: Any) -> Any:
        return mu_1 * Gamma0 * total_mass

    text = cr.formula(area, wrt="mu_1 total_mass").text()
    assert text == "∂area/∂μ₁ = Γ₀·total_mass\n∂area/∂total_mass = Γ₀·μ₁"
    assert r"\mathrm{total\_mass}" in cr.formula(area, wrt="mu_1").latex()


def test_stop_gradient_is_a_constant() -> None:
    assert str(cr.formula(lambda x: cr.stop_gradient(x**2) * x)) == "f′(x) = x²"


def test_no_singularity_is_made() -> None:
    """2·Re(A*·aE)/a would be shorter to find, but is not defined at a = 0."""
    found = cr.formula(p.intensity, wrt="a phi")
    a = sp.Symbol("a", real=True)
    for value in found.results.values():
        assert not any(e.is_Pow and e.exp.is_negative and e.base.has(a) for e in sp.preorder_traversal(value))
    ratio = cr.formula(lambda x: x**2 * np.exp(-x), order=1)
    assert not any(e.is_Pow and e.exp.is_negative for e in sp.preorder_traversal(ratio.expr))


def test_value() -> None:
    assert cr.formula(p.softmax, order=0, x="n").text() == "softmaxᵢ = eᵢ/(Σⱼ eⱼ)      eᵢ = exp(xᵢ)"


def test_long_programs_keep_their_sharing() -> None:
    found = cr.formula(lambda x: _repeated(x, 200))
    assert sum(sp.count_ops(e) for e in found.steps.values()) < 20_000
    with pytest.raises(ValueError, match="written out would be"):
        _ = found.expr


def _repeated(x: Any, n: int) -> Any:
    y = x
    for step in [lambda y: np.sin(y) * np.cos(y) + x] * n:
        y = step(y)
    return y


def test_a_gradient_shows_its_formula() -> None:
    assert repr(cr.grad(p.wave)) == "<chainrule function wave(x): ∂wave/∂x = sin x·(sin x + 2x·cos x)>"
    gradient = cr.grad(p.nll)
    gradient(np.array([1.0, 2.0]), np.arange(5.0))
    assert repr(gradient) == "<chainrule function nll(p, x): ∂nll/∂μ = −(1/σ)·Σᵢ zᵢ>"
    assert repr(cr.jit(p.nll)) == "<chainrule function nll(p, x)>"
    assert repr(cr.grad(lambda x: np.sum(np.sort(x)), argnums=0)).startswith("<chainrule function <lambda>(x)")


# --- where there is none ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: cr.formula(3), TypeError, "formula takes a function"),
        (lambda: cr.formula(p.pdf, wrt="nu"), TypeError, "pdf has no such argument; there are x, f, mu, sigma, tau"),
        (lambda: cr.formula(p.pdf, wrt="mu mu"), ValueError, "names no argument, or one twice"),
        (lambda: cr.formula(p.pdf, wrt=""), ValueError, "names no argument, or one twice"),
        (lambda: cr.formula(p.pdf, y="n"), TypeError, r"pdf\(x, f, mu, sigma, tau\) has no such argument"),
        (lambda: cr.formula(p.pdf, order=-1), ValueError, "0 is the value"),
        (lambda: cr.formula(p.pdf, order=True), ValueError, "0 is the value"),
        (lambda: cr.formula(p.pdf, mode="backwards"), ValueError, "is none of"),
        (lambda: cr.formula(p.pdf, x=1.5), TypeError, "is no shape"),
        (lambda: cr.formula(lambda: 1.0), TypeError, "no arguments"),
        (lambda: cr.formula(p.f, wrt="n"), TypeError, "whole number|loop bound|bounds of range"),
        (lambda: cr.formula(lambda x: np.sort(x), x="n"), TypeError, "sort has no closed form.*no formula"),
        (lambda: cr.formula(lambda x: np.sqrt(-1 - x**2)), ValueError, "no arguments were found"),
        (lambda: cr.formula(p.newton, mode="reverse"), TypeError, "adjoints are shown for one loop of known length"),
    ],
)
def test_bad_input(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
    assert str(cr.formula(lambda x: x**2)) == "f′(x) = 2x"  # nothing else broke


def test_errors_name_the_line() -> None:
    with pytest.raises(TypeError, match=r"test_formula\.py:\d+"):
        cr.formula(lambda x: np.max(np.sort(x)), x="n")


def test_recursion_limit_is_left_alone() -> None:
    before = sys.getrecursionlimit()
    cr.formula(p.pdf)
    assert sys.getrecursionlimit() == before


# --- programs of other kinds --------------------------------------------------------------------------------


class Spring:
    k = 2.5

    def energy(self, x: Any) -> Any:
        return self.k * x**2 / 2


DATA = np.arange(50.0)


def distance(a: Any) -> Any:
    return np.sum((DATA - a) ** 2)


@pytest.mark.parametrize(
    ("function", "options", "expected"),
    [
        (Spring().energy, {}, "∂energy/∂x = 5x/2"),
        (cr.jit(p.pdf), {"wrt": "f"}, "∂pdf/∂f = G−B"),
        (cr.grad(p.wave), {}, "∂wave/∂x = 2(sin(2x)+x·cos(2x))"),
        (distance, {}, "∂distance/∂a = 2·Σᵢ (a−DATAᵢ)"),
        (cr.bind(p.nll, x=DATA), {"p": 2, "wrt": "mu"}, "∂nll/∂μ = (1/σ²)·Σᵢ (μ−dataᵢ)"),
        (lambda x, *, scale=2.0: scale * x, {"wrt": "scale"}, "∂f/∂scale = x"),
        (p.decaying, {"wrt": "x", "data": "n"}, "∂decaying/∂x = −Σᵢ dataᵢ·exp(−x·dataᵢ)"),
        (p.double_sum, {"wrt": "x"}, "∂double_sum/∂x = (Σ_{j=0}^{m−1} j)·Σ_{k=0}^{n−1} k·cos(k·x)"),
        (p.above, {"wrt": "x", "data": "n"}, "∂above/∂x = Σᵢ { 2x−2·dataᵢ if x < dataᵢ; 0 otherwise }"),
    ],
)
def test_kinds_of_programs(function: Any, options: dict[str, Any], expected: str) -> None:
    assert cr.formula(function, budget=30, **options).text().split("      ")[0] == expected


def test_pickle() -> None:
    for found in (cr.formula(p.nll, p=2, x="n"), cr.formula(p.newton)):
        again = pickle.loads(pickle.dumps(found))
        assert again.text() == found.text()
        assert again.latex("align") == found.latex("align")
