"""Elementary functions for lanes, against mpmath at 60 digits and the special values of C99's Annex F."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from chainrule.codegen import vecmath_tables
from chainrule.codegen.vecmath import FUNCTIONS, sincos
from tests.codegen.numpy_ops import Floats, NumpyOps, exact_fma
from tests.codegen.vecmath_fit import tables

INF, NAN = math.inf, math.nan
TINY, MIN, MAX, EPS = 5e-324, 2.0**-1022, 1.7976931348623157e308, 2.0**-52


def call(name: str, *args: Any) -> Floats:
    """The function on arrays, by the reference builder."""
    arrays = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in args))
    with np.errstate(all="ignore"):
        result: Floats = FUNCTIONS[name](NumpyOps(), *arrays)
    return np.broadcast_to(result, arrays[0].shape)


# --- truth --------------------------------------------------------------------------------------------------


def ulps(value: float, truth: Any) -> float:
    """|value - truth| in units of truth's last place; 0 if both are the same infinity, or NaN."""
    if mp.isnan(truth) or math.isnan(value):
        return 0.0 if mp.isnan(truth) and math.isnan(value) else INF
    if abs(truth) > mp.mpf(MAX) * (1 + mp.mpf(2) ** -54):
        return 0.0 if value == (INF if truth > 0 else -INF) else INF
    if math.isinf(value):
        return INF
    return float(abs(mp.mpf(value) - truth) / math.ulp(float(truth)))


def absolute_ulps(value: float, truth: Any) -> float:
    """The error in units of 2**-52 max(1, |truth|)."""
    return float(abs(mp.mpf(value) - truth) / max(1, abs(truth))) / EPS if math.isfinite(value) else INF


def real(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, NaN where it is not real or not defined."""

    def truth(*args: Any) -> Any:
        try:
            y = f(*args)
        except (ValueError, ZeroDivisionError):
            return mp.nan
        return mp.nan if isinstance(y, mp.mpc) else y

    return truth


def log_abs_gamma(x: Any) -> Any:
    if x > 0:
        return mp.loggamma(x)
    return mp.log(mp.pi / abs(x * mp.sinpi(x))) - mp.loggamma(-x) if x != mp.floor(x) else mp.inf


def softplus(x: Any) -> Any:
    return max(x, mp.mpf(0)) + mp.log1p(mp.exp(-abs(x)))


def erfc(x: Any) -> Any:
    return mp.erfc(x) if abs(x) < 1000 else mp.mpf(1) - mp.sign(x)


def erfcx(x: Any) -> Any:
    if x > 1000:  # the asymptotic series, to a relative 1e-30
        z = 1 / (2 * x * x)
        series = 1 - z * (1 - 3 * z * (1 - 5 * z * (1 - 7 * z * (1 - 9 * z))))
        return series / (x * mp.sqrt(mp.pi))
    return mp.exp(x * x) * erfc(x) if x > -30 else mp.inf


def ndtr(x: Any) -> Any:
    return erfc(-x / mp.sqrt(2)) / 2


def log_ndtr(x: Any) -> Any:
    if x < -30:
        return mp.log(erfcx(-x / mp.sqrt(2)) / 2) - x * x / 2
    return mp.log1p(-ndtr(-x)) if x > 0 else mp.log(ndtr(x))


@dataclass(frozen=True)
class Case:
    """How a function is tested: truth, bound in ulp, intervals and decades (of both signs) to sample."""

    truth: Callable[..., Any]
    bound: float
    intervals: tuple[tuple[float, float], ...]
    decades: tuple[float, float] = (-320, 308)


LINE = ((-1.0, 1.0), (-40.0, 40.0))
CASES: dict[str, Case] = {
    "exp": Case(mp.exp, 1.1, ((-1, 1), (-745, 709.7))),
    "exp2": Case(lambda x: mp.power(2, x), 1.0, ((-1, 1), (-1074, 1024))),
    "expm1": Case(mp.expm1, 1.4, (*LINE, (0, 709.7))),
    "expit": Case(lambda x: 1 / (1 + mp.exp(-x)), 1.0, (*LINE, (-745, 0))),
    "softplus": Case(softplus, 1.4, (*LINE, (-745, 0))),
    "log_expit": Case(lambda x: -softplus(-x), 1.4, (*LINE, (0, 745))),
    "log": Case(mp.log, 1.0, ((0.5, 2), (0.99, 1.01))),
    "log2": Case(lambda x: mp.log(x, 2), 1.0, ((0.5, 2), (0.99, 1.01))),
    "log10": Case(mp.log10, 1.0, ((0.5, 2), (0.99, 1.01))),
    "log1p": Case(mp.log1p, 1.0, ((-1, 2), (-1, -0.999))),
    "cbrt": Case(lambda x: mp.sign(x) * mp.cbrt(abs(x)), 0.6, ((-10, 10),)),
    "sinh": Case(mp.sinh, 1.0, (*LINE, (-711, 711))),
    "cosh": Case(mp.cosh, 1.0, (*LINE, (-711, 711))),
    "tanh": Case(mp.tanh, 1.0, ((-1, 1), (-20, 20))),
    "asinh": Case(mp.asinh, 1.0, ((-3, 3),)),
    "acosh": Case(mp.acosh, 1.0, ((1, 1.001), (1, 3))),
    "atanh": Case(mp.atanh, 1.0, ((-1, 1), (0.999, 1))),
    "sin": Case(mp.sin, 1.0, ((-4, 4), (-1e9, 1e9))),
    "cos": Case(mp.cos, 1.0, ((-4, 4), (-1e9, 1e9))),
    "tan": Case(mp.tan, 1.0, ((-4, 4), (-1e9, 1e9))),
    "sinc": Case(lambda x: mp.sincpi(x), 1.6, ((-3, 3), (-100, 100))),
    "asin": Case(mp.asin, 1.3, ((-1, 1), (0.999, 1))),
    "acos": Case(mp.acos, 1.3, ((-1, 1), (0.999, 1))),
    "atan": Case(mp.atan, 1.0, ((-3, 3),)),
    "erf": Case(mp.erf, 1.4, ((-1, 1), (-6, 6))),
    "erfc": Case(erfc, 1.6, ((-1, 1), (-6, 27.2))),
    "erfcx": Case(erfcx, 1.6, ((-1, 1), (-6, 6), (-27, 100))),
    "ndtr": Case(ndtr, 1.7, ((-1, 1), (-8, 8), (-38.6, 0))),
    "log_ndtr": Case(log_ndtr, 3.0, ((-1, 1), (-8, 8), (-40, 0))),
    "sech": Case(mp.sech, 1.0, (*LINE, (-746, 746))),
    "logit": Case(lambda x: mp.log(x) - mp.log(1 - x), 1.2, ((0, 1), (0.49, 0.51), (0.999, 1))),
    "gammaln": Case(log_abs_gamma, 1.4, ((0, 3), (0.99, 1.01), (1.99, 2.01), (2, 20))),
    "digamma": Case(mp.digamma, 1.9, ((0, 3), (1.46, 1.47), (2, 20))),
}
PAIRS: dict[str, tuple[Callable[..., Any], float]] = {
    "pow": (mp.power, 1.2),
    "hypot": (mp.hypot, 1.1),
    "atan2": (mp.atan2, 1.2),
    "logaddexp": (lambda x, y: max(x, y) + mp.log1p(mp.exp(-abs(x - y))), 1.5),
}


def decades(rng: np.random.Generator, low: float, high: float, n: int) -> Floats:
    """Numbers of both signs, log-uniform in absolute value."""
    result: Floats = 10.0 ** rng.uniform(low, high, n) * rng.choice([-1.0, 1.0], n)
    return result


def bit_patterns(rng: np.random.Generator, n: int) -> Floats:
    x = rng.integers(0, 2**64, n, dtype=np.uint64).view(np.float64)
    return x[np.isfinite(x)]


def check(name: str, truth: Callable[..., Any], bound: float, *args: Floats, measure: Any = ulps) -> None:
    computed = call(name, *args)
    with mp.workdps(60):
        for y, *xs in zip(computed, *args, strict=True):
            error = measure(float(y), real(truth)(*(mp.mpf(float(x)) for x in xs)))
            assert error <= bound, f"{name}{tuple(map(float, xs))} = {y!r}: {error:.2f} ulp"


# --- accuracy -----------------------------------------------------------------------------------------------


def test_every_function_is_tested() -> None:
    assert set(FUNCTIONS) == set(CASES) | set(PAIRS)


@pytest.mark.parametrize("name", CASES)
def test_accuracy(name: str) -> None:
    case = CASES[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    samples = [rng.uniform(low, high, 800) for low, high in case.intervals]
    samples.append(decades(rng, *case.decades, 600))
    samples.append(decades(rng, -18, 3, 600))
    samples.append(bit_patterns(rng, 300))
    x = np.concatenate(samples)
    check(name, case.truth, case.bound, x[x > 0] if name in ("gammaln", "digamma") else x)


@pytest.mark.parametrize("name", PAIRS)
def test_accuracy_of_two_arguments(name: str) -> None:
    truth, bound = PAIRS[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    near = rng.uniform(0.5, 2.0, 300), rng.uniform(-1000.0, 1000.0, 300)
    moderate = decades(rng, -3, 3, 300), decades(rng, -3, 2, 300)
    wide = np.abs(decades(rng, -320, 308, 300)), decades(rng, -3, 1, 300)
    far = decades(rng, -320, 308, 200), decades(rng, -320, 308, 200)
    top = MAX * rng.uniform(-1, 1, 100), MAX * rng.uniform(-1, 1, 100)
    subnormal = rng.uniform(-MIN, MIN, 100), rng.uniform(-MIN, MIN, 100)
    barely = 1.0 + decades(rng, -16, -2, 200), decades(rng, 2, 17, 200)
    for x, y in (near, moderate, wide, far, top, subnormal, barely):
        if name == "logaddexp":  # it has zeros, near which its error is that of the larger argument
            x, y = np.abs(x), np.abs(y)
        check(name, truth, bound, x, y)


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_arguments_next_to_multiples_of_half_pi(name: str) -> None:
    """The float64s next to multiples of pi/2; the worst of all is 6381956970095103 * 2**797."""
    multiples = np.arange(1.0, 200.0) * (math.pi / 2)
    powers = 2.0 ** np.arange(0, 1020, 7) * (math.pi / 2)
    worst = np.array([6381956970095103.0 * 2.0**797, 6381956970095103.0, math.pi / 4, 2.0**30, 2.0**30 + 1])
    check(name, CASES[name].truth, 1.0, np.concatenate([multiples, -powers, worst]))


def test_gamma_functions_of_negative_arguments() -> None:
    """Errors are absolute there, because of the zeros between the poles."""
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.uniform(-20.0, 0.0, 400), -(10.0 ** rng.uniform(-300.0, 3.0, 200))])
    check("gammaln", log_abs_gamma, 4.0, x, measure=absolute_ulps)
    near_poles = np.abs(x - np.rint(x)) < 1e-3
    check("digamma", mp.digamma, 8.0, x[~near_poles], measure=absolute_ulps)


def test_sincos_is_sin_and_cos() -> None:
    rng = np.random.default_rng(6)
    x = np.concatenate([rng.uniform(-10, 10, 200), decades(rng, -320, 308, 300), [0.0, -0.0, INF, NAN]])
    with np.errstate(all="ignore"):
        s, c = sincos(NumpyOps(), x)
    np.testing.assert_array_equal(s, call("sin", x))
    np.testing.assert_array_equal(c, call("cos", x))


# --- exact values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["exp", "exp2", "log", "expm1", "log1p", "expit", "softplus", "log_expit"])
def test_slow_paths_change_no_bits(name: str) -> None:
    """With jumps and without, alone and among others, next to where the slow paths begin too."""
    rng = np.random.default_rng(8)
    edges = np.array([MIN, 708.0, 709.78, 745.1, 746.0, 1022.0, 1024.0, 1.0, 2.0**60, 1e308])
    near = [*edges, *np.nextafter(edges, INF), *np.nextafter(edges, 0.0), 0.0, TINY, MAX, INF, NAN]
    spread = [near, np.negative(near), rng.uniform(-1100, 1100, 500), decades(rng, -320, 308, 300)]
    x = np.concatenate([*spread, bit_patterns(rng, 200)])
    with np.errstate(all="ignore"):
        straight = FUNCTIONS[name](NumpyOps(jumps=False), x)
        one_by_one = [FUNCTIONS[name](NumpyOps(), np.array(v)) for v in x]
    np.testing.assert_array_equal(call(name, x), straight)
    np.testing.assert_array_equal(one_by_one, straight)


def test_exact_results_are_exact() -> None:
    n = np.arange(-1074.0, 1024.0)
    np.testing.assert_array_equal(call("exp2", n), np.ldexp(1.0, n.astype(int)))
    np.testing.assert_array_equal(call("log2", np.ldexp(1.0, n.astype(int))), n)
    tens = np.arange(0.0, 23.0)
    np.testing.assert_array_equal(call("log10", [float(10**k) for k in range(23)]), tens)
    np.testing.assert_array_equal(call("pow", 10.0, tens), [float(10**k) for k in range(23)])
    np.testing.assert_array_equal(call("pow", 2.0, n), np.ldexp(1.0, n.astype(int)))
    whole = np.arange(-1000.0, 1000.0)
    np.testing.assert_array_equal(call("cbrt", whole**3), whole)
    np.testing.assert_array_equal(call("pow", whole, 3.0), whole**3)
    np.testing.assert_array_equal(call("hypot", [3.0, -5.0, 8.0], [-4.0, 12.0, 15.0]), [5.0, 13.0, 17.0])
    np.testing.assert_array_equal(call("gammaln", [1.0, 2.0]), [0.0, 0.0])
    np.testing.assert_array_equal(call("sinc", np.arange(1.0, 50.0)), 0.0)


@pytest.mark.parametrize(
    "name", ["expm1", "log1p", "cbrt", "sinh", "tanh", "asinh", "atanh", "sin", "tan", "asin", "atan", "erf"]
)
def test_small_arguments_of_odd_functions(name: str) -> None:
    """f(x) is x, signs of zeros and subnormals included (cbrt: the signs only)."""
    x = np.array([0.0, -0.0, TINY, -TINY, 3e-310, -MIN])
    y = call(name, x)
    np.testing.assert_array_equal(np.signbit(y), np.signbit(x))
    if name == "erf":
        np.testing.assert_allclose(y, x * 1.1283791670955126, rtol=0, atol=TINY)
    elif name != "cbrt":
        np.testing.assert_array_equal(y, x)


SPECIAL: dict[str, list[tuple[float, ...]]] = {
    "exp": [(0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (710, INF), (-746, 0), (-745.1, TINY)],
    "exp2": [(0, 1), (INF, INF), (-INF, 0), (1024, INF), (-1075.5, 0)],
    "expm1": [(INF, INF), (-INF, -1), (-1e9, -1), (710, INF)],
    "expit": [(0, 0.5), (INF, 1), (-INF, 0), (800, 1), (-800, 0)],
    "softplus": [(INF, INF), (-INF, 0), (1e300, 1e300)],
    "log_expit": [(INF, -0.0), (-INF, -INF), (-1e300, -1e300)],
    "log": [(1, 0), (0, -INF), (-0.0, -INF), (INF, INF), (-1, NAN), (-INF, NAN), (-TINY, NAN)],
    "log2": [(1, 0), (0, -INF), (-0.0, -INF), (INF, INF), (-1, NAN), (-INF, NAN)],
    "log10": [(1, 0), (0, -INF), (-0.0, -INF), (INF, INF), (-1, NAN), (-INF, NAN)],
    "log1p": [(-1, -INF), (INF, INF), (-1.5, NAN), (-INF, NAN), (MAX, 709.782712893384)],
    "cbrt": [(INF, INF), (-INF, -INF), (TINY, 1.7031839360032603e-108)],
    "sinh": [(INF, INF), (-INF, -INF), (711, INF)],
    "cosh": [(0, 1), (-0.0, 1), (INF, INF), (-INF, INF), (-711, INF)],
    "tanh": [(INF, 1), (-INF, -1), (30, 1), (-1e300, -1)],
    "asinh": [(INF, INF), (-INF, -INF)],
    "acosh": [(1, 0), (INF, INF), (0.999, NAN), (-INF, NAN)],
    "atanh": [(1, INF), (-1, -INF), (1.1, NAN), (-INF, NAN)],
    "sin": [(INF, NAN), (-INF, NAN)],
    "cos": [(0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN)],
    "tan": [(INF, NAN), (-INF, NAN)],
    "sinc": [(0, 1), (-0.0, 1), (TINY, 1), (INF, NAN), (1e300, 0)],
    "asin": [(1, math.pi / 2), (-1, -math.pi / 2), (1.1, NAN), (-INF, NAN)],
    "acos": [(1, 0), (-1, math.pi), (0, math.pi / 2), (-1.1, NAN), (INF, NAN)],
    "atan": [(INF, math.pi / 2), (-INF, -math.pi / 2), (MAX, math.pi / 2), (1, math.pi / 4)],
    "erf": [(INF, 1), (-INF, -1), (7, 1)],
    "erfc": [(0, 1), (INF, 0), (-INF, 2), (28, 0), (-7, 2)],
    "gammaln": [
        (0, INF), (-0.0, INF), (-1, INF), (-170, INF), (-1e300, INF), (INF, INF), (-INF, INF), (MAX, INF),
    ],
    "digamma": [(0, -INF), (-0.0, INF), (-1, NAN), (-50, NAN), (INF, INF), (-INF, NAN)],
    "erfcx": [(0, 1), (-0.0, 1), (INF, 0), (-INF, INF), (-27, INF), (1e200, 5.641895835477563e-201)],
    "ndtr": [(0, 0.5), (-0.0, 0.5), (INF, 1), (-INF, 0), (-39, 0), (9, 1)],
    "log_ndtr": [(0, -0.6931471805599453), (-INF, -INF), (INF, -0.0), (-1e200, -INF), (-1e10, -5e19)],
    "sech": [(0, 1), (-0.0, 1), (INF, 0), (-INF, 0), (1000, 0)],
    "logit": [(0.5, 0), (0, -INF), (-0.0, -INF), (1, INF), (-TINY, NAN), (1.1, NAN), (INF, NAN), (-INF, NAN)],
    "logaddexp": [
        (INF, INF, INF), (-INF, -INF, -INF), (INF, -INF, INF), (-INF, 3, 3), (3, -INF, 3), (1000, 0, 1000),
        (NAN, 1, NAN), (1, NAN, NAN), (0, 0, 0.6931471805599453), (MAX, -MAX, MAX),
    ],
    "pow": [
        (0, 3, 0), (-0.0, 3, -0.0), (0, 2.5, 0), (-0.0, 2, 0), (0, -3, INF), (-0.0, -3, -INF),
        (-0.0, -2, INF),
        (-0.0, -2.5, INF), (0, INF, 0), (0, -INF, INF), (-1, INF, 1), (-1, -INF, 1), (1, NAN, 1),
        (NAN, 0, 1), (NAN, -0.0, 1),
        (NAN, 1, NAN), (2, NAN, NAN), (-8, 1 / 3, NAN), (-2, 3, -8), (-2, 2, 4), (0.5, INF, 0),
        (0.5, -INF, INF), (2, INF, INF),
        (2, -INF, 0), (-0.5, INF, 0), (-2, INF, INF), (INF, 2, INF), (INF, -1, 0), (-INF, 3, -INF),
        (-INF, 2.5, INF),
        (-INF, -3, -0.0), (-INF, -2, 0), (INF, 0, 1), (2, 1024, INF), (-2, 1025, -INF), (2, -1080, 0),
        (-2, -1081, -0.0),
        (0, 0, 1), (1, INF, 1), (-1, 2.0**53, 1), (-1, 2.0**53 - 1, -1), (4, 0.5, 2), (1e300, 1e300, INF),
        (MAX, 1, MAX),
    ],
    "hypot": [
        (INF, NAN, INF), (NAN, -INF, INF), (NAN, 1, NAN), (0, 0, 0), (-0.0, -3, 3), (MAX, MAX, INF),
        (TINY, 0, TINY),
    ],
    "atan2": [
        (0, 1, 0), (-0.0, 1, -0.0), (0, 0, 0), (-0.0, 0, -0.0), (0, -0.0, math.pi), (-0.0, -0.0, -math.pi),
        (0, -1, math.pi),
        (-0.0, -1, -math.pi), (1, 0, math.pi / 2), (-1, -0.0, -math.pi / 2), (1, INF, 0), (-1, INF, -0.0),
        (1, -INF, math.pi),
        (-1, -INF, -math.pi), (INF, 1, math.pi / 2), (-INF, -1, -math.pi / 2), (INF, INF, math.pi / 4),
        (INF, -INF, 3 * math.pi / 4), (-INF, -INF, -3 * math.pi / 4), (-INF, INF, -math.pi / 4),
        (NAN, INF, NAN), (1, NAN, NAN),
        (TINY, TINY, math.pi / 4), (MAX, -MAX, 3 * math.pi / 4),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values(name: str) -> None:
    cases = SPECIAL[name] + ([] if name in PAIRS else [(NAN, NAN)])
    *args, expected = np.array(cases, np.float64).T
    computed = call(name, *args)
    for case, y, e in zip(cases, computed, expected, strict=True):
        same = np.isnan(y) if np.isnan(e) else y == e and np.signbit(y) == np.signbit(e)
        assert same, f"{name}{case[:-1]} is {y!r}, not {e!r}"


# --- the pieces ---------------------------------------------------------------------------------------------


def test_tables_are_what_the_fit_gives() -> None:
    made = tables()
    kept = {name: value for name, value in vars(vecmath_tables).items() if name.isupper()}
    assert kept == made


def test_reference_fma_rounds_once() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.uniform(1, 2, 3000), rng.uniform(1, 2, 3000)
    close: Floats = -a * b * (1 + rng.integers(-3, 4, 3000) * EPS)
    scaled: Floats = rng.uniform(-4, 4, 3000) * 2.0 ** rng.integers(-120, 120, 3000)
    ties: Floats = 2.0**-60 * rng.choice([-1.0, 0.0, 1.0], 3000)
    extreme = decades(rng, -320, 300, 3000)
    short = 1 + EPS * rng.integers(0, 9, 3000).astype(np.float64)
    for x, y, z in ((a, b, close), (a, b, scaled), (short, 1 + EPS, ties), (a, b, extreme)):
        x, y, z = np.broadcast_arrays(x, y, z)
        truth = [float(Fraction(p) * Fraction(q) + Fraction(r)) for p, q, r in zip(x, y, z, strict=True)]
        np.testing.assert_array_equal(exact_fma(x, y, z), truth)
