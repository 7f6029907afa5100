"""The partial derivatives of the scalar primitives: generated as checked in, equal to those of the CAS,
accurate, and differentiable again."""

from __future__ import annotations

import itertools
import math
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from chainrule.graph import derive, scalar
from chainrule.graph.namespaces import mpmath_namespace, numpy_namespace, sympy_namespace
from chainrule.graph.scalar import PRIMITIVES, Primitive, partials_of
from tests.graph.symbolic import Expr, M, apply, derivative, evaluate

Point = tuple[Any, ...]

SMOOTH = [p for p in PRIMITIVES.values() if any(partials_of(p.name))]
COMPLEX_PARTS = ("real", "imag", "conj", "angle", "complex")
"""Linear, but no functions of real numbers to real numbers."""

SERIES = ("sinc", "erfcx")
"""Their partials contain truncated series: right to float64, so not equal to SymPy's derivative."""


def named(primitives: list[Primitive]) -> Any:
    return pytest.mark.parametrize("primitive", primitives, ids=lambda p: p.name)


def sample(primitive: Primitive, rng: np.random.Generator) -> Point:
    x: list[Any] = [float(rng.uniform(*interval)) for interval in primitive.domain]
    if primitive.literals:
        x[0] = round(x[0])
    if primitive.name == "where":
        x[0] = x[0] > 0.5
    return tuple(x)


def exactly(x: Point) -> Point:
    return tuple(mp.mpf(v) if type(v) is float else v for v in x)


def partial_value(primitive: Primitive, i: int, namespace: Any, x: Point) -> Any:
    """∂/∂xᵢ at a point, evaluated over a namespace, the mask included."""
    variables = tuple(Expr(f"x{k}") for k in range(primitive.arity))
    y = apply(primitive.name, *variables)
    partial = partials_of(primitive.name)[i]
    assert partial is not None
    expression = partial(M, y, *variables)
    mask = None if primitive.masks is None else primitive.masks[i]
    if mask is not None:
        expression = M.where(mask(M, y, *variables), expression, 0.0)
    return evaluate(expression, namespace, dict(zip(variables, x, strict=True)))


def numerical(primitive: Primitive, x: Point, orders: tuple[int, ...]) -> Any:
    """The derivative of these orders by mpmath's differences at the working precision."""
    varied = [i for i, n in enumerate(orders) if n]

    def f(*values: Any) -> Any:
        full = list(x)
        for i, value in zip(varied, values, strict=True):
            full[i] = value
        return getattr(mpmath_namespace(), primitive.name)(*full)

    at, n = [x[i] for i in varied], [orders[i] for i in varied]
    return mp.diff(f, tuple(at), tuple(n)) if len(varied) > 1 else mp.diff(f, at[0], n[0])


# --- generated ----------------------------------------------------------------------------------------------


def test_generated_file_is_what_the_table_gives() -> None:
    assert derive.TARGET.read_text(encoding="utf-8") == derive.generate()


def test_every_argument_has_a_partial() -> None:
    for primitive in PRIMITIVES.values():
        assert len(partials_of(primitive.name)) == primitive.arity
        if primitive.masks is not None:
            assert len(primitive.masks) == primitive.arity


def test_a_primitive_without_meaning_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"isnan has no mathematical meaning: give its partials by hand"):
        derive.derivatives(PRIMITIVES["isnan"])


def test_a_derivative_that_cannot_be_printed_says_what_to_do() -> None:
    import sympy as sp

    with pytest.raises(ValueError, match="besselj, which is no primitive"):
        derive._source(sp.besselj(0, sp.Symbol("x")))
    with pytest.raises(ValueError, match=r"piecewise.*by hand"):
        derive._source(sp.Piecewise((sp.Symbol("x"), sp.Symbol("x") > 0), (0, True)))


# --- equal to SymPy's derivative ----------------------------------------------------------------------------

EXACT = {
    "SQRT_HALF": lambda m: m.sqrt(2) / 2,
    "TWO_OVER_SQRT_PI": lambda m: 2 / m.sqrt(m.pi),
    "INV_SQRT_PI": lambda m: 1 / m.sqrt(m.pi),
    "HALF_SQRT_PI": lambda m: m.sqrt(m.pi) / 2,
    "SQRT_TWO_PI": lambda m: m.sqrt(2 * m.pi),
    "INV_SQRT_TWO_PI": lambda m: 1 / m.sqrt(2 * m.pi),
    "SQRT_TWO_OVER_PI": lambda m: m.sqrt(2 / m.pi),
}

PROVEN = [
    "div", "reciprocal", "abs", "expit", "log_expit", "logit", "softplus", "logaddexp", "asin", "acos",
    "atan2", "tanh", "sech", "atanh", "erf", "erfc", "erfinv", "ndtr", "ndtri", "polygamma",
]  # fmt: skip
"""What SymPy's simplify can decide; the others are compared at 50 digits."""


@pytest.mark.parametrize("name", PROVEN)
def test_hand_given_partials_are_proven_equal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sympy as sp

    for constant, value in EXACT.items():
        monkeypatch.setattr(scalar, constant, value(sp))
    x, meaning, derivatives = derive.derivatives(PRIMITIVES[name])
    for partial, expected in zip(partials_of(name), derivatives, strict=True):
        if partial is not None:
            given = sp.sympify(partial(sympy_namespace(), meaning, *x))
            given = given.replace(lambda e: e.is_Float, lambda e: sp.Rational(float(e)))
            assert sp.simplify(given - expected) == 0


@named([p for p in SMOOTH if p.name not in (*COMPLEX_PARTS, *SERIES)])
def test_partials_agree_at_50_digits(primitive: Primitive, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    with mp.workdps(110):
        for constant, value in EXACT.items():
            monkeypatch.setattr(scalar, constant, value(mp))
        rounded = primitive.name in (
            "exp2",
            "log2",
            "log10",
        )  # generated with math.log, whose value is rounded
        digits = 15 if rounded else 50
        for _, i in itertools.product(range(8), range(primitive.arity)):
            if partials_of(primitive.name)[i] is not None:
                x = exactly(sample(primitive, rng))
                order = tuple(int(k == i) for k in range(primitive.arity))
                expected = numerical(primitive, x, order)
                found = partial_value(primitive, i, mpmath_namespace(), x)
                assert abs(found - expected) <= mp.mpf(10) ** -digits * max(1, abs(expected)), (x, i)


# --- accurate -----------------------------------------------------------------------------------------------


def conditioning(name: str, x: Point, y: float, partial: float) -> float:
    """Ulps lost to the rounding of an intermediate argument, beyond the 4 that are allowed."""
    match name:
        case "pow":
            return float(max(1.0, abs(x[1])) * abs(math.log(abs(x[0]))))  # n − 1 is rounded
        case "logaddexp":
            return abs(x[0] - x[1])
        case "erf" | "erfc" | "ndtr" | "log_ndtr":
            return float(2 * x[0] * x[0])
        case "erfinv" | "ndtri":
            return 4 * y * y
        case "erfcx":
            return float(8 * x[0] * x[0]) if x[0] < 10 else 0.0
        case "sinc":  # its zeros, and those of the cosine, move by an ulp of πx
            return 4 * math.pi * (1 + abs(x[0])) / (max(abs(x[0]), 0.5) * abs(partial))
        case "gamma" | "digamma" | "gammaln":
            return PRIMITIVES[name].ulp + PRIMITIVES["digamma"].ulp
        case _:
            return 0.0


def extreme_points(primitive: Primitive, rng: np.random.Generator) -> list[Point]:
    points = [sample(primitive, rng) for _ in range(40)]
    if primitive.name in ("gamma", "gammaln", "digamma", "erfinv", "ndtri", "mod", "fmod"):
        return points
    for limit in (3, 290):
        size = (20, primitive.arity)
        x = rng.choice([-1.0, 1.0], size) * 10 ** rng.uniform(-limit, limit, size)
        if primitive.name != "sinc" or limit == 3:
            points += [tuple(map(float, row)) for row in x]
    return points


@named([p for p in SMOOTH if p.name not in (*COMPLEX_PARTS, "where", "polygamma")])
def test_partials_are_accurate_in_float64(primitive: Primitive) -> None:
    """Within 4 ulp of the truth, also at very large and very small arguments, and no overflow on the way."""
    rng = np.random.default_rng(6)
    exact = exact_partials(primitive)
    checked = 0
    for x in extreme_points(primitive, rng):
        y = float(getattr(numpy_namespace(), primitive.name)(*map(np.float64, x)))
        for i, expected_at in enumerate(exact):
            with mp.workdps(50 if primitive.name in ("gamma", "gammaln", "digamma") else 700):
                try:
                    expected = expected_at(*map(mp.mpf, x))
                except (ValueError, ZeroDivisionError, TypeError, OverflowError):
                    continue  # outside the domain, or beyond mpmath's
                if math.isnan(y) or not isinstance(expected, (int, mp.mpf)) or not mp.isfinite(expected):
                    continue
                checked += 1
                found = float(partial_value(primitive, i, numpy_namespace(), tuple(map(np.float64, x))))
                if abs(expected) > 1.797e308:
                    assert abs(found) > 1.797e308, (x, i)
                    continue
                error = float(abs(mp.mpf(found) - expected) / math.ulp(max(abs(float(expected)), 2.3e-308)))
                allowed = 4 + conditioning(primitive.name, x, y, float(expected))
                assert error <= allowed, (x, i, found, float(expected), error)
    assert checked >= 40


def exact_partials(primitive: Primitive) -> list[Any]:
    """The derivatives as functions on mpmath's numbers: by SymPy, or by hand where it finds distributions."""
    import sympy as sp

    def chosen(by: Any) -> list[Any]:
        return [lambda a, b: mp.mpf(by(a, b)), lambda a, b: mp.mpf(by(b, a))]

    match primitive.name:
        case "cbrt":
            return [lambda x: 1 / (3 * mp.cbrt(x * x))]
        case "maximum" | "fmax":
            return chosen(lambda a, b: a > b)
        case "minimum" | "fmin":
            return chosen(lambda a, b: a < b)
        case "copysign":
            return [lambda a, b: mp.sign(a) * mp.sign(b)]
        case "mod":
            return [lambda a, b: mp.mpf(1), lambda a, b: -mp.floor(a / b)]
        case "fmod":
            return [lambda a, b: mp.mpf(1), lambda a, b: -mp.sign(a / b) * mp.floor(abs(a / b))]
    x, _, derivatives = derive.derivatives(primitive)
    return [sp.lambdify(x, d, "mpmath") for d in derivatives]


# --- differentiable again -----------------------------------------------------------------------------------


@named([p for p in SMOOTH if p.name not in COMPLEX_PARTS])
def test_derivatives_to_third_order(primitive: Primitive) -> None:
    """Composing the table's partials gives the true derivatives: exactly over mpmath, closely in float64."""
    rng = np.random.default_rng(7)
    x = tuple(Expr(f"x{k}") for k in range(primitive.arity))
    smooth = [partial is not None for partial in partials_of(primitive.name)]
    for orders in itertools.product(*(range(4) if s else range(1) for s in smooth)):
        if not 0 < sum(orders) <= 3:
            continue
        arguments = (2, *x[1:]) if primitive.literals else x
        expression: Any = apply(primitive.name, *arguments)
        for i, order in enumerate(orders):
            for _ in range(order):
                expression = derivative(expression, x[i])
        # the partials' constants are rounded; 2x·erfcx − 2/√π multiplies their error by x² at every order
        exact, close = (1e-11, 1e-9) if primitive.name in ("erfcx", "log_ndtr") else (1e-14, 1e-11)
        for _ in range(3):
            point = sample(primitive, rng)
            if primitive.literals:
                point = (2, *point[1:])
            with mp.workdps(50):
                expected = numerical(primitive, exactly(point), orders)
                value = getattr(mpmath_namespace(), primitive.name)(*exactly(point))
                scale = max(abs(expected), abs(value) / 1000)
                over_mpmath = evaluate(
                    expression, mpmath_namespace(), dict(zip(x, exactly(point), strict=True))
                )
                assert abs(over_mpmath - expected) <= exact * scale, (orders, point)
                numbers = dict(zip(x, map(np.asarray, point), strict=True))
                in_float64 = float(evaluate(expression, numpy_namespace(), numbers))
                assert abs(in_float64 - expected) <= close * scale, (orders, point)


def at(name: str, orders: tuple[int, ...], point: tuple[float, ...]) -> float:
    x = tuple(Expr(f"x{k}") for k in range(len(point)))
    expression: Any = apply(name, *x)
    for variable, order in zip(x, orders, strict=True):
        for _ in range(order):
            expression = derivative(expression, variable)
    return float(evaluate(expression, numpy_namespace(), dict(zip(x, map(np.float64, point), strict=True))))


@pytest.mark.parametrize(
    ("name", "orders", "point", "expected"),
    [
        ("sinc", (1,), (0.0,), 0.0),
        ("sinc", (2,), (0.0,), -(math.pi**2) / 3),
        ("sinc", (3,), (0.0,), 0.0),
        ("pow", (1, 0), (0.0, 0.0), 0.0),
        ("pow", (1, 0), (0.0, 1.0), 1.0),
        ("pow", (1, 0), (0.0, 2.0), 0.0),
        ("pow", (1, 0), (0.0, 2.5), 0.0),
        ("pow", (2, 0), (0.0, 0.0), 0.0),
        ("pow", (2, 0), (0.0, 1.0), 0.0),
        ("pow", (2, 0), (0.0, 2.0), 2.0),
        ("pow", (2, 0), (0.0, 2.5), 0.0),
        ("pow", (3, 0), (0.0, 0.0), 0.0),
        ("pow", (3, 0), (0.0, 1.0), 0.0),
        ("pow", (3, 0), (0.0, 2.0), 0.0),
        ("pow", (3, 0), (0.0, 3.0), 6.0),
        ("pow", (3, 0), (0.0, 2.5), math.inf),
        ("pow", (0, 1), (0.0, 0.0), 0.0),
        ("pow", (0, 1), (0.0, 1.0), 0.0),
        ("pow", (0, 1), (0.0, 2.0), 0.0),
        ("pow", (0, 1), (0.0, 2.5), 0.0),
        ("pow", (0, 2), (0.0, 2.0), 0.0),
        ("pow", (0, 3), (0.0, 2.5), 0.0),
        ("pow", (1, 1), (0.0, 2.0), 0.0),
        ("pow", (1, 1), (0.0, 2.5), 0.0),
        ("pow", (1, 1), (2.0, 0.0), 0.5),
        ("pow", (2, 1), (2.0, 0.0), -0.25),
        ("pow", (1, 0), (5e-324, 0.0), 0.0),
        ("pow", (1, 0), (-2.0, 3.0), 12.0),
        ("pow", (2, 0), (-2.0, 3.0), -12.0),
        ("pow", (0, 1), (0.0, -1.0), -math.inf),
        ("hypot", (1, 0), (0.0, 0.0), 0.0),
        ("hypot", (0, 1), (0.0, 0.0), 0.0),
        ("hypot", (1, 0), (3e200, 4e200), 0.6),
        ("atan2", (1, 0), (3e200, 4e200), 0.8 / 5e200),
        ("xlogy", (0, 1), (0.0, 0.0), 0.0),
        ("xlogy", (1, 0), (0.0, 2.0), math.log(2)),
        ("xlogy", (1, 1), (0.0, 2.0), 0.5),
        ("xlogy", (0, 2), (0.0, 0.0), 0.0),
        ("xlog1py", (0, 1), (0.0, -1.0), 0.0),
        ("xlog1py", (1, 1), (0.0, 1.0), 0.5),
        ("softplus", (1,), (1000.0,), 1.0),
        ("softplus", (1,), (-1000.0,), 0.0),
        ("softplus", (2,), (1000.0,), 0.0),
        ("softplus", (2,), (-1000.0,), 0.0),
        ("softplus", (3,), (1000.0,), 0.0),
        ("softplus", (3,), (-1000.0,), 0.0),
        ("softplus", (2,), (0.0,), 0.25),
        ("expit", (3,), (1000.0,), 0.0),
        ("expit", (3,), (-1000.0,), 0.0),
        ("log_expit", (1,), (-1000.0,), 1.0),
        ("log_expit", (2,), (-1000.0,), 0.0),
        ("tanh", (2,), (1000.0,), 0.0),
        ("tanh", (3,), (-1000.0,), 0.0),
        ("tanh", (3,), (0.0,), -2.0),
        ("cbrt", (1,), (0.0,), math.inf),
        ("sqrt", (1,), (0.0,), math.inf),
        ("abs", (1,), (0.0,), 0.0),
        ("abs", (1,), (-2.0,), -1.0),
        ("abs", (2,), (1.0,), 0.0),
        ("maximum", (1, 0), (1.0, 1.0), 0.5),
        ("maximum", (0, 1), (1.0, 1.0), 0.5),
        ("maximum", (1, 0), (1.0, 2.0), 0.0),
        ("minimum", (1, 0), (1.0, 2.0), 1.0),
        ("minimum", (1, 0), (1.0, 1.0), 0.5),
        ("fmax", (1, 0), (1.0, math.nan), 1.0),
        ("fmax", (0, 1), (1.0, math.nan), 0.0),
        ("fmin", (0, 1), (math.nan, 1.0), 1.0),
        ("fmin", (1, 0), (math.nan, 1.0), 0.0),
        ("mod", (0, 1), (-7.0, 2.0), 4.0),
        ("fmod", (0, 1), (-7.0, 2.0), 3.0),
        ("asinh", (1,), (-1e200,), 1e-200),
        ("asinh", (2,), (1e100,), -1e-200),
        ("log_ndtr", (2,), (-1e8,), -1.0),
        ("log_ndtr", (1,), (40.0,), 0.0),
        ("logaddexp", (1, 0), (1000.0, -1000.0), 1.0),
        ("logaddexp", (1, 1), (0.0, 0.0), -0.25),
    ],
)
def test_derivatives_where_they_are_delicate(
    name: str, orders: tuple[int, ...], point: tuple[float, ...], expected: float
) -> None:
    assert at(name, orders, point) == pytest.approx(expected, rel=1e-14, abs=0.0)


@pytest.mark.parametrize("x", [1e-300, 1e-10, 1e-4, 0.01, 0.3, 0.63, 0.64])
def test_sinc_derivatives_near_zero(x: float) -> None:
    """The quotient cancels there. The series ends at πx = 2; the second derivative is zero at πx = 2.08."""
    with mp.workdps(400):
        for order, tolerance in ((1, 4), (2, 40), (3, 40)):
            expected = mp.taylor(lambda t: mp.sinc(mp.pi * t), mp.mpf(x), order)[order] * mp.factorial(order)
            found = at("sinc", (order,), (x,))
            assert abs(found - expected) <= tolerance * math.ulp(float(expected)), (order, found)


# --- complex arguments --------------------------------------------------------------------------------------


@named([p for p in SMOOTH if p.holomorphic and p.arity <= 2 and p.name not in COMPLEX_PARTS])
def test_holomorphic_partials_hold_for_complex_arguments(primitive: Primitive) -> None:
    rng = np.random.default_rng(8)
    with mp.workdps(50):
        for _, i in itertools.product(range(5), range(primitive.arity)):
            x = tuple(mp.mpc(*rng.uniform(0.1, 0.9, 2)) for _ in range(primitive.arity))
            order = tuple(int(k == i) for k in range(primitive.arity))
            expected = numerical(primitive, x, order)
            found = partial_value(primitive, i, mpmath_namespace(), x)
            assert abs(found - expected) <= 1e-14 * max(1, abs(expected)), (x, i)
