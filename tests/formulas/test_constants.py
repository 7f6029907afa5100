"""Numbers as the constants that they stand for, and names as people write them."""

import math
from typing import Any

import numpy as np
import pytest
import sympy as sp

import chainrule as cr
from chainrule.formulas.constants import recognised
from chainrule.formulas.naming import dotted, latex_name, subscript, unicode_name


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0.5, sp.Rational(1, 2)),
        (0.1, sp.Rational(1, 10)),
        (1 / 3, sp.Rational(1, 3)),
        (-2 / 7, -sp.Rational(2, 7)),
        (3.0, sp.Integer(3)),
        (1e-12, sp.Rational(1, 10**12)),
        (91.1876, sp.Rational("91.1876")),
        (math.pi, sp.pi),
        (4 * math.pi, 4 * sp.pi),
        (math.pi / 6, sp.pi / 6),
        (math.sqrt(math.pi), sp.sqrt(sp.pi)),
        (np.sqrt(2 * np.pi), sp.sqrt(2 * sp.pi)),
        (1 / math.sqrt(2 * math.pi), 1 / sp.sqrt(2 * sp.pi)),
        (math.log(2 * math.pi), sp.log(2 * sp.pi)),
        (math.log(2 * math.pi) / 2, sp.log(2 * sp.pi) / 2),
        (math.sqrt(2), sp.sqrt(2)),
        (math.sqrt(0.5), sp.sqrt(2) / 2),
        (math.log(2), sp.log(2)),
        (math.e, sp.E),
        (np.nextafter(math.pi, 4), sp.pi),  # an ulp away
        (1.0 + 2.5j, 1 + sp.Rational(5, 2) * sp.I),
        (True, sp.true),
        (math.inf, sp.oo),
    ],
)
def test_recognised(number: Any, expected: Any) -> None:
    assert recognised(number.item() if isinstance(number, np.generic) else number) == expected


@pytest.mark.parametrize("number", [3.14159, 3.141592653589799, 2.7182818, 1.4142135, 0.123456789012345])
def test_nothing_is_guessed(number: float) -> None:
    assert recognised(number) == sp.Rational(repr(number))


@pytest.mark.parametrize(
    ("name", "text", "latex"),
    [
        ("mu", "μ", r"\mu"),
        ("mu_1", "μ₁", r"\mu_{1}"),
        ("sigma2", "σ₂", r"\sigma_{2}"),
        ("Gamma0", "Γ₀", r"\Gamma_{0}"),
        ("m12", "m₁₂", "m_{12}"),
        ("x_i", "xᵢ", "x_{i}"),
        ("M_Z", "M_Z", "M_{Z}"),
        ("lambda_", "λ", r"\lambda"),
        ("lam", "λ", r"\lambda"),
        ("signal", "signal", r"\mathrm{signal}"),
        ("total_mass", "total_mass", r"\mathrm{total\_mass}"),
        ("sigma_x", "σₓ", r"\sigma_{x}"),
        ("eta", "η", r"\eta"),
        ("beta", "β", r"\beta"),
        ("B", "B", "B"),
        ("pT", "pT", r"\mathrm{pT}"),
        ("loop_in", "loop_in", r"\mathrm{loop\_in}"),
        ("sigma_xy", "σ_{xy}", r"\sigma_{\mathrm{xy}}"),
    ],
)
def test_names(name: str, text: str, latex: str) -> None:
    assert unicode_name(name) == text
    assert latex_name(name) == latex


def test_dots_and_subscripts() -> None:
    assert dotted("x") == "ẋ"
    assert subscript("k+1") == "ₖ₊₁"
    assert subscript("K") == "_K"
    assert subscript("T+1") == "_{T+1}"


def test_constants_in_formulas() -> None:
    def period(L: Any, g: Any) -> Any:
        return 2 * np.pi * np.sqrt(L / g)

    assert cr.formula(period, order=0).text() == "period = 2π·√(L/g)"
    assert cr.formula(lambda x: 0.25 * x**3).text() == "f′(x) = 3x²/4"
    assert cr.formula(lambda x: 1e-12 * x**2).text() == "f′(x) = 2×10⁻¹²·x"
    assert cr.formula(lambda x: np.exp(-0.5 * x)).text(ascii=True) == "f'(x) = -exp(-x/2)/2"
