"""Formulas with measured numbers in them: they are printed as they were written, and multiplied out where it helps."""

import math
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.constants
import sympy as sp

import chainrule as cr
from chainrule.formulas.decimals import Decimal, exact, folded, whole

LONG = 30.0  # seconds: nothing is left out for lack of time

PLANCK = 6.62607015e-34
BOLTZMANN = 1.380649e-23


def arrhenius(A: Any, E: Any, T: Any) -> Any:
    return A * np.exp(-E / (8.314 * T))


def antoine(T: Any) -> Any:
    return 10 ** (8.07131 - 1730.63 / (233.426 + T))


def barometric(h: Any) -> Any:
    return 101325 * (1 - h / 44330.77) ** 5.25588


def steinhart_hart(R: Any) -> Any:
    L = np.log(R)
    return 1 / (1.129148e-3 + 2.34125e-4 * L + 8.76741e-8 * L**3)


def van_der_waals(T: Any, V: Any) -> Any:
    return 8.314 * T / (V - 4.267e-5) - 0.3640 / V**2


def sellmeier(L: Any) -> Any:
    return np.sqrt(1 + 1.03961212 * L**2 / (L**2 - 0.00600069867))


def bethe_weizsaecker(A: Any, Z: Any) -> Any:
    return 15.75 * A - 17.8 * A ** (2 / 3) - 0.711 * Z**2 / A ** (1 / 3) - 23.7 * (A - 2 * Z) ** 2 / A


def magnus(T: Any) -> Any:
    return 6.112 * np.exp(17.67 * T / (T + 243.5))


def thermal_speed(T: Any, M: Any) -> Any:
    return np.sqrt(3 * 8.314 * T / M)


def planck(x: Any, T: Any) -> Any:
    return x**3 / (np.exp(6.62607015e-34 * x / (1.380649e-23 * T)) - 1)


def planck_with_names(x: Any, T: Any) -> Any:
    return x**3 / (np.exp(PLANCK * x / (BOLTZMANN * T)) - 1)


def planck_of_a_module(x: Any, T: Any) -> Any:
    return x**3 / (np.exp(scipy.constants.h * x / (scipy.constants.k * T)) - 1)


def sharing_a_name(h: Any, T: Any) -> Any:
    return h**2 / (scipy.constants.h * T)


TABLE: list[tuple[Any, str, dict[str, float], str]] = [
    (arrhenius, "T", {"A": 1e13, "E": 8e4, "T": 300.0}, "A·E·exp(−E/(8.314·T))/(8.314·T²)"),
    (antoine, "T", {"T": 80.0}, "1730.63·log(10)·10^(8.07131 − 1730.63/(233.426+T))/(233.426+T)²"),
    (barometric, "h", {"h": 5e3}, "−12.013146647351265·(1−h/44330.77)^4.25588"),
    (
        steinhart_hart,
        "R",
        {"R": 1e4},
        "−(2.34125×10⁻⁴+2.630223×10⁻⁷·L²)/(R·(0.001129148+2.34125×10⁻⁴·L+8.76741×10⁻⁸·L³)²)\nwhere L = log R",
    ),
    (van_der_waals, "T", {"T": 300.0, "V": 2e-3}, "8.314/(V−4.267×10⁻⁵)"),
    (van_der_waals, "V", {"T": 300.0, "V": 2e-3}, "0.728/V³ − 8.314·T/(V−4.267×10⁻⁵)²"),
    (
        sellmeier,
        "L",
        {"L": 0.5},
        "−0.006238399065799881·L/(√((2.03961212·L²−0.00600069867)/(L²−0.00600069867))·(L²−0.00600069867)²)",
    ),
    (bethe_weizsaecker, "A", {"A": 56.0, "Z": 26.0}, "94.8·Z²/A² + 0.237·Z²/A^(4/3) − 7.95 − 35.6/(3∛A)"),
    (bethe_weizsaecker, "Z", {"A": 56.0, "Z": 26.0}, "94.8−189.6·Z/A−1.422·Z/∛A"),
    (magnus, "T", {"T": 20.0}, "26297.76624·exp(17.67·T/(243.5+T))/(243.5+T)²"),
    (thermal_speed, "T", {"T": 300.0, "M": 0.028}, "√(24.942·M/T)/(2M)"),
    (
        planck,
        "T",
        {"x": 5e13, "T": 3000.0},
        "1.1998107683415553×10⁻¹¹·x⁴/(T²·sinh²(2.3996215366831105×10⁻¹¹·x/T))",
    ),
    (
        planck_with_names,
        "T",
        {"x": 5e13, "T": 3000.0},
        (
            "PLANCK·x⁴/(4·BOLTZMANN·T²·sinh²(PLANCK·x/(2·BOLTZMANN·T)))\n"
            "where PLANCK = 6.62607015×10⁻³⁴,  BOLTZMANN = 1.380649×10⁻²³"
        ),
    ),
    (
        planck_of_a_module,
        "T",
        {"x": 5e13, "T": 3000.0},
        "h·x⁴/(4k·T²·sinh²(h·x/(2k·T)))\nwhere h = 6.62607015×10⁻³⁴,  k = 1.380649×10⁻²³",
    ),
    (sharing_a_name, "h", {"h": 2.0, "T": 3.0}, "h/(3.313035075×10⁻³⁴·T)"),
]
IDS = [f"{function.__name__}-{by}" for function, by, _, _ in TABLE]
FUNCTIONS = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt, "cbrt": np.cbrt, "sinh": np.sinh}


@pytest.mark.parametrize(("function", "by", "point", "expected"), TABLE, ids=IDS)
def test_as_a_person_writes_it(function: Any, by: str, point: dict[str, float], expected: str) -> None:
    found = cr.formula(function, by, budget=LONG)
    assert found.text().partition(" = ")[2].replace("      ", "\nwhere ") == expected
    truth = function(**point | {by: complex(point[by], 1e-20 * point[by])}).imag / (1e-20 * point[by])
    assert float(found.expr.subs(point)) == pytest.approx(truth, rel=1e-12)
    result, *steps = found.text(ascii=True).replace("      ", "\nwhere ").splitlines()
    names: dict[str, Any] = {**FUNCTIONS, **point}
    for step in ",  ".join(steps).removeprefix("where ").split(",  ") if steps else []:
        name, _, value = step.partition(" = ")
        names[name] = eval(value, names)
    assert eval(result.partition(" = ")[2], names) == pytest.approx(truth, rel=1e-12)


def test_numbers_of_any_length() -> None:
    found = cr.formula(lambda x, T: x**3 / (np.exp(0.0123456789012 * x / T) - 1), budget=LONG)
    assert found.text() == (
        "∂f/∂x = x²·(3−0.0123456789012·x·t/(T·(t−1)))/(t−1)\n"
        "∂f/∂T = 0.0123456789012·x⁴·t/(T²·(t−1)²)\n"
        "where t = exp(0.0123456789012·x/T)"
    )


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: np.where(x > 0.1234, x**2.345, 6.02214076e23 * x),
         "f′(x) = { 2.345·x^1.345 if 0.1234 < x; 6.02214076×10²³ otherwise }"),
        (lambda x: 0.05 * x + 0.95 * x**2 - 1.602e-19, "f′(x) = 0.05+1.9·x"),
        (lambda x: 12.5 * x**2, "f′(x) = 25x"),
        (lambda x: np.abs(np.exp(1.2345j * x) + 0.777) ** 2, "f′(x) = −1.918413·sin(1.2345·x)"),
        (lambda x: 8.314**x, "f′(x) = 8.314^x·log 8.314"),
        (lambda x: 0.3234 * x + np.sin(x) + 1.6766 * x, "f′(x) = 2 + cos x"),
        (lambda x: 1e-12 * x**2 + x, "f′(x) = 1+2×10⁻¹²·x"),
        (lambda x: x**1000, "f′(x) = 1000x⁹⁹⁹"),
    ],
)  # fmt: skip
def test_short_formulas(function: Any, expected: str) -> None:
    assert str(cr.formula(function)) == expected


def test_large_exponents() -> None:
    first, second = cr.formula(lambda x: x**2 / (1 + np.exp(1000 * x))), cr.formula(lambda x: x**1000 / (1 + x**1001))
    value, power = math.exp(2.0), 0.999
    expected = 2 * 0.002 / (1 + value) - 0.002**2 * 1000 * value / (1 + value) ** 2
    assert float(first.expr.subs("x", 0.002)) == pytest.approx(expected, rel=1e-12)
    below = 1 + power**1001
    expected = 1000 * power**999 / below - 1001 * power**2000 / below**2
    assert float(second.expr.subs("x", power)) == pytest.approx(expected, rel=1e-11)


def test_named_numbers_and_their_multiples() -> None:
    rate, size, share = 1.6021, 150.0, 0.05
    formula = cr.formula(lambda x: 4 * rate * x + size * x**2 + share * x**3 + 3.1 * x**4)
    assert formula.text() == (
        "f′(x) = 4·rate+12.4·x³+2·size·x+3·share·x²      rate = 1.6021,  size = 150,  share = 0.05"
    )


def test_results_are_exact() -> None:
    x = sp.Symbol("x")
    found = cr.formula(lambda x: 0.711 * x**2.345 / 1.4567)
    power = sp.Rational("2.345")
    assert found.expr == sp.Rational("0.711") * power / sp.Rational("1.4567") * x ** (power - 1)
    assert not found.expr.atoms(Decimal)


def test_a_loop_with_decimals() -> None:
    def relaxed(a: Any, n: int) -> Any:
        x = a
        for _ in range(n):
            x = 0.9123 * x + 2 * 0.00615 * np.sin(x)
        return x

    assert cr.formula(relaxed, "a").text() == (
        "x₀ = a, ẋ₀ = 1; for k = 0…n−1: xₖ₊₁ = 0.9123·xₖ + 0.0123·sin xₖ,"
        " ẋₖ₊₁ = (0.9123 + 0.0123·cos xₖ)·ẋₖ; ∂relaxed/∂a = ẋₙ"
    )


def test_results_that_cancel_are_certain() -> None:
    found = cr.formula(lambda x, T: x / (np.exp(4.799243073366221e-11 * x / T) - 1))
    with mp.workdps(60):
        exact_one = mp.diff(lambda x: x / mp.expm1(mp.mpf("4.799243073366221e-11") * x / 3), 2)
    value = found.expr[0].subs({"x": 2, "T": 3}).evalf(30)
    assert math.isclose(value, exact_one, rel_tol=1e-14)


@pytest.mark.parametrize("value", [0.5, 0.25, 1 / 3, 0.05, 1e-3, 7.0, 10 / 7, 22 / 7, math.pi, 1e6])
def test_simple_numbers_are_no_decimals(value: float) -> None:
    assert not whole(value).atoms(Decimal)


@pytest.mark.parametrize("value", [15.75, 17.8, 8.314, -0.711, 1e-12, 6.02214076e23, 299792458.0, 1e300, 5e-324])
def test_decimals_keep_their_digits(value: float) -> None:
    assert exact(whole(value)) == sp.Rational(repr(value))
    assert whole(value).is_positive is (value > 0) or not whole(value).atoms(Decimal)


def test_numbers_beside_each_other() -> None:
    x, h, k = sp.Symbol("x"), whole(6.62607015e-34), whole(1.380649e-23)
    assert str(folded(h * x / k)) == "4.799243073366221e-11*x"
    assert str(folded(3 * whole(8.314) ** 2 * x)) == "3*8.314**2*x"
    assert folded(whole(8.314) * x / whole(16.628)) == x / 2
    assert folded(x + h) == x + h
    tiny = whole(1e-200)
    assert exact(folded(tiny * tiny * x)) == x / sp.Integer(10) ** 400
