"""Error function and gamma function on lanes.

Errors are below 2 ulp (log_ndtr: 3), save for gammaln and digamma on the negative axis, where they are
absolute: there is a zero between any two poles.
"""

from __future__ import annotations

from typing import Any

from chainrule.codegen import vecmath_tables as table
from chainrule.codegen.vecmath_explog import exp_of_pair, log1p_everywhere, log_everywhere, log_pair
from chainrule.codegen.vecmath_lanes import (
    INF,
    NAN,
    Float,
    Ops,
    V,
    clamp,
    divide_pairs,
    fast_two_sum,
    fma,
    horner,
    scale,
    select,
    select_rare,
    two_prod,
    two_sum,
)
from chainrule.codegen.vecmath_trig import sin_cos_pi

INV_SQRT_PI = 0.5641895835477563
SERIES_LIMIT = 2.25  # below, gammaln and digamma are polynomials; above, it is Stirling's formula
SERIES_CENTRE = 0.625
GAMMALN_OVERFLOW = 2.5599833278516383e+305  # the last argument with a finite result


def _erf_tail(x: Float) -> Float:
    """erf(x) - x for |x| <= 1."""
    return x * horner(x * x, table.ERF)


def _times_erfcx(a: Float, factor: Float, factor_low: Float | float) -> Float:
    """(factor + factor_low) exp(a^2) erfc(a) for a >= 1/2: the factor times about 1.2, divided by 1 + 2a."""
    den, den_low = two_sum(1.0, a + a)
    shifted = a + 4.0
    both = 1.0 / (den * shifted)
    t = (a - 4.0) * (den * both)
    reciprocal = shifted * both
    first, *others = table.ERFC
    g, g_low = fast_two_sum(first, t * horner(t, others))
    num, num_low = two_prod(factor, g)
    num_low = num_low + fma(factor, g_low, factor_low * g)
    q = num * reciprocal
    rest = fma(-q, den, num) + (num_low - q * den_low)
    return fma(rest, reciprocal, q)


def _erfc_positive(a: Float, low: Float | float = 0.0) -> Float:
    """erfc(a + low) for a >= 1/2."""
    a = clamp(a, 0.5, 28.0)
    square, square_low = two_prod(a, a)
    k, e, e_low = exp_of_pair(-square, -fma(a + a, low, square_low))
    return scale(_times_erfcx(a, *fast_two_sum(e, e_low)), k)


def erf(x: Float) -> Float:
    a = abs(x)
    inner = a + _erf_tail(a)
    outer = 1.0 - _erfc_positive(a)
    return select(a > 1.0, outer, inner).with_sign_of(x)


def erfc(x: Float) -> Float:
    a = abs(x)
    tail = _erfc_positive(a)
    high, error = fast_two_sum(1.0, -x)
    inner = high + (error - _erf_tail(x))
    return select(a < 0.5, inner, select(x < 0.0, 2.0 - tail, tail))


def erfcx(x: Float) -> Float:
    """exp(x^2) erfc(x)."""
    a = abs(x)
    tail = _times_erfcx(clamp(a, 0.5, 2.0**60), x.const(1.0), 0.0)
    bounded = clamp(a, 0.0, 28.0)
    square, square_low = two_prod(bounded, bounded)
    k, e, e_low = exp_of_pair(square, square_low)
    e, e_low = fast_two_sum(e, e_low)
    # Left of 1/2: exp(x^2) times 1 - erf(x) there, exp(x^2) times 2, less the other tail, below -1/2.
    one, one_low = fast_two_sum(1.0, -x)
    inner, inner_low = fast_two_sum(one, one_low - _erf_tail(x))
    product, product_low = two_prod(e, inner)
    near = scale(product + (product_low + fma(e, inner_low, e_low * inner)), k)
    left = scale(e + e_low, k + 1) - tail
    right = select(a > 2.0**50, INV_SQRT_PI / a, tail)
    return select(a < 0.5, near, select(x < 0.0, left, right))


def _over_root_two(x: Float) -> tuple[Float, Float]:
    high, low = two_prod(x, table.SQRT_HALF[0])
    return high, fma(x, table.SQRT_HALF[1], low)


def ndtr(x: Float) -> Float:
    """The standard normal distribution function, erfc(-x / sqrt(2)) / 2."""
    t, low = _over_root_two(clamp(x, -40.0, 40.0))
    a = abs(t)
    tail = _erfc_positive(a, select(t < 0.0, -low, low))
    high, error = fast_two_sum(0.5, 0.5 * t)
    inner = high + (error + 0.5 * (low + _erf_tail(t)))
    return select(a < 0.5, inner, 0.5 * select(x < 0.0, tail, 2.0 - tail))


def log_ndtr(x: Float) -> Float:
    """log(ndtr(x)), within 3 ulp."""
    t, _ = _over_root_two(-x)
    square, square_low = two_prod(x * 0.5, x)
    tail = log_everywhere(_times_erfcx(clamp(t, 0.5, 2.0**60), x.const(0.5), 0.0))
    left = (tail - select(square < 2.0**200, square_low, 0.0)) - square
    return select(t > 0.5, left, log1p_everywhere(-ndtr(-x)))


# --- gamma function -----------------------------------------------------------------------------------------


def _gammaln_positive(x: Float) -> tuple[Float, Float]:
    """log(gamma(x)) as a pair, for finite x > 0."""
    log_high, log_low = log_pair(x)
    # Below SERIES_LIMIT: lgamma(1 + u), and for x < 1 (where u is x itself) minus log(x).
    below_one = x < 1.0
    u = clamp(select(below_one, x, x - 1.0), 0.0, SERIES_LIMIT - 1.0)
    series, series_low = _gammaln_series(u)
    near, near_low = two_sum(select(below_one, -log_high, 0.0), series)
    near_low = near_low + (series_low + select(below_one, -log_low, 0.0))
    # Stirling: (x - 1/2) (log x - 1) + (log(2 pi) - 1)/2 + S(1/x^2)/x.
    factor = x - 0.5
    log_less, error = two_sum(-1.0, log_high)
    product, product_low = two_prod(factor, log_less)
    product_low = fma(factor, error + log_low, product_low)
    reciprocal = 1.0 / clamp(x, SERIES_LIMIT, INF)
    stirling = reciprocal * horner(reciprocal * reciprocal, table.STIRLING)
    high, error = two_sum(table.STIRLING_CONSTANT[0], product)
    low = product_low + (error + table.STIRLING_CONSTANT[1]) + stirling
    is_small = x < SERIES_LIMIT
    return select(is_small, near, high), select(is_small, near_low, low)


def _gammaln_series(u: Float) -> tuple[Float, Float]:
    """gammaln(1 + u) as a pair, for 0 <= u <= 1.25: u (u - 1) times a polynomial."""
    v = u - SERIES_CENTRE
    first, *others = table.GAMMALN
    p, p_low = fast_two_sum(first, v * horner(v, others))
    before, before_low = fast_two_sum(-1.0, u)
    zeros, zeros_low = two_prod(u, before)
    zeros_low = fma(u, before_low, zeros_low)
    product, product_low = two_prod(zeros, p)
    return product, product_low + fma(zeros, p_low, zeros_low * p)


def gammaln(x: Float) -> Float:
    """log(|gamma(x)|)."""
    a = abs(x)
    high, low = _gammaln_positive(a)
    (y,) = select_rare(x < 0.0, _gammaln_reflected, (x, high, low), (high + low,))
    y = select(a.equals(0.0) | a.equals(INF) | (x > GAMMALN_OVERFLOW), INF, y)
    return select(x.is_nan(), x, y)


def _gammaln_reflected(b: Ops[V, Any], *args: V) -> tuple[V, ...]:
    """From x < 0 and gammaln(a), a = -x, as a pair: log(pi / (a |sin(pi a)|)) - gammaln(a)."""
    x, high, low = (Float(b, v) for v in args)
    a = -x
    _, s, _ = sin_cos_pi(a)
    log_high, log_low = log_pair(a * (abs(s) * (1 / 3.141592653589793)))
    total, error = two_sum(-log_high, -high)
    y = total + (error - (log_low + low))
    # For tiny arguments the product underflows, and gammaln is -log(a) on both sides of 0.
    return (select(a < 2.0**-100, high + low, select(s.equals(0.0), INF, y)).value,)


def _digamma_positive(x: Float) -> Float:
    """digamma(x) for x > 0."""
    below_one = x < 1.0
    u = clamp(select(below_one, x, x - 1.0), 0.0, SERIES_LIMIT - 1.0)
    from_zero = (u - (table.DIGAMMA_ZERO[0] - 1.0)) - table.DIGAMMA_ZERO[1]
    reciprocal = 1.0 / x
    series = from_zero * horner(u - SERIES_CENTRE, table.DIGAMMA)
    reciprocal_low = fma(-reciprocal, x, 1.0) * reciprocal
    high, low = fast_two_sum(-reciprocal, series)
    near = select(below_one, select(x > 2.0**-500, high + (low - reciprocal_low), -reciprocal), series)
    t = 1.0 / clamp(x, SERIES_LIMIT, INF)
    z = t * t
    high, low = log_pair(x)
    far = high + (low + fma(z, horner(z, table.DIGAMMA_TAIL), -0.5 * t))
    return select(x < SERIES_LIMIT, near, far)


def digamma(x: Float) -> Float:
    """The derivative of log(gamma(x)); NaN at negative integers, -+inf at +-0 (as SciPy's)."""
    y = _digamma_positive(select(x > 0.0, x, 1.0 - x))
    (y,) = select_rare(x < 0.0, _digamma_reflected, (x, y), (y,))
    y = select(x.equals(0.0), -1.0 / x, y)
    return select(x.equals(INF), INF, select(x.is_nan(), x, y))


def _digamma_reflected(b: Ops[V, Any], x: V, of_one_minus_x: V) -> tuple[V, ...]:
    """digamma(1 - x) - pi cot(pi x) for x < 0."""
    _, s, c = sin_cos_pi(Float(b, x))
    cotangent = divide_pairs(c, 0.0, s, c.const(0.0))
    y = fma(cotangent, -3.141592653589793, Float(b, of_one_minus_x))
    return (select(s.equals(0.0), NAN, y).value,)
