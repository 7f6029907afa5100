"""Error function and gamma function on lanes.

Errors are below 2 ulp, save for gammaln and digamma on the negative axis, where they are absolute: there is a
zero between any two poles.
"""

from __future__ import annotations

from typing import Any

from chainrule.codegen import vecmath_tables as table
from chainrule.codegen.vecmath_explog import exp_of_pair, log_pair
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

SERIES_LIMIT = 2.25  # below, gammaln and digamma are polynomials; above, it is Stirling's formula
SERIES_CENTRE = 0.625
GAMMALN_OVERFLOW = 2.5599833278516383e+305  # the last argument with a finite result


def _erf_tail(x: Float) -> Float:
    """erf(x) - x for |x| <= 1."""
    return x * horner(x * x, table.ERF)


def _erfc_positive(a: Float) -> Float:
    """erfc(a) for a >= 1/2: exp(-a^2) times a function near 1.2, divided by 1 + 2a."""
    a = clamp(a, 0.5, 28.0)
    den, den_low = two_sum(1.0, a + a)
    shifted = a + 4.0
    both = 1.0 / (den * shifted)
    t = (a - 4.0) * (den * both)
    reciprocal = shifted * both
    first, *others = table.ERFC
    g, g_low = fast_two_sum(first, t * horner(t, others))
    square, square_low = two_prod(a, a)
    k, e, e_low = exp_of_pair(-square, -square_low)
    e, e_low = fast_two_sum(e, e_low)
    num, num_low = two_prod(e, g)
    num_low = num_low + fma(e, g_low, e_low * g)
    q = num * reciprocal
    rest = fma(-q, den, num) + (num_low - q * den_low)
    return scale(fma(rest, reciprocal, q), k)


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
