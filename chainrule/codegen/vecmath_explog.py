"""Exponentials, logarithms, powers and hyperbolic functions on lanes.

Errors are below 1.2 ulp unless a function says otherwise; `tests/codegen/test_vecmath.py` holds every bound.
Pairs (high, low) are unevaluated sums: they carry what one float64 would round away, where a later step
amplifies it.

A function with a slow path, for arguments near the ends of the range, has a twin ``_everywhere``: longer, without
a jump, right for all arguments, and the same to the bit. It is the slow path.
"""

from __future__ import annotations

from chainrule.codegen import vecmath_tables as table
from chainrule.codegen.vecmath_lanes import (
    INF,
    MAGIC,
    MAGIC_BITS,
    NAN,
    Float,
    Int,
    add_exponent,
    clamp,
    divide_pairs,
    even_odd,
    fast_two_sum,
    float_value,
    fma,
    horner,
    integer_value,
    power_of_two,
    scale,
    select,
    select_rare,
    slow_path,
    two_prod,
    two_sum,
)

SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
EXPONENT_FIELD = -(1 << 52)
SMALLEST_NORMAL = 2.0**-1022
EXP_LIMIT = 708.0  # exp of what is nearer to 0 is a normal number


# --- exponentials -------------------------------------------------------------------------------------------


def _reduce_exp(x: Float) -> tuple[Int, Float, Float]:
    """(k, r, low) with x = k ln 2 + r + low, |r| < 0.347, for |x| < 2000."""
    shifted = fma(x, table.LOG2_E[0], MAGIC)
    k = shifted - MAGIC
    exact = fma(k, -table.LN2[0], x)
    low_part = k * table.LN2[1]
    r = exact - low_part
    return shifted.bits() - MAGIC_BITS, r, (exact - r) - low_part


def _exp_pair(r: Float, low: Float) -> tuple[Float, Float]:
    """exp(r + low) for |r| < 0.347."""
    high, error = fast_two_sum(1.0, r)
    square = r * r
    return high, error + fma(square, even_odd(r, square, table.EXP), low)


def exp_of_pair(x: Float, low: Float) -> tuple[Int, Float, Float]:
    """(k, high, low) with exp(x + low) = (high + low) * 2**k, -746 <= x <= 710, |low| < ulp(x)."""
    k, r, r_low = _reduce_exp(x)
    # low can be a thousand times the last place of r, and r * low must not be lost.
    high, low = _exp_pair(*fast_two_sum(r, r_low + low))
    return k, high, low


def exp(x: Float) -> Float:
    if not x.ops.jumps:
        return exp_everywhere(x)
    y = add_exponent(*_exp_mantissa(x))
    return select_rare(~(abs(x) < EXP_LIMIT), slow_path(exp_everywhere), (x,), (y,))[0]


def exp_everywhere(x: Float) -> Float:
    mantissa, shifted = _exp_mantissa(clamp(x, -746.0, 710.0))
    return scale(mantissa, shifted - MAGIC_BITS)


def _exp_mantissa(x: Float) -> tuple[Float, Int]:
    """(m, k + MAGIC_BITS) with exp(x) = m * 2**k, for |x| < 2000."""
    shifted = fma(x, table.LOG2_E[0], MAGIC)
    k = shifted - MAGIC
    r = fma(k, -table.LN2[1], fma(k, -table.LN2[0], x))
    square = r * r
    return fma(square, even_odd(r, square, table.EXP), r) + 1.0, shifted.bits()


def exp2(x: Float) -> Float:
    if not x.ops.jumps:
        return exp2_everywhere(x)
    y = add_exponent(*_exp2_mantissa(x))
    return select_rare(~(abs(x) < 1022.0), slow_path(exp2_everywhere), (x,), (y,))[0]


def exp2_everywhere(x: Float) -> Float:
    return scale(*_exp2_mantissa(clamp(x, -1080.0, 1030.0)))


def _exp2_mantissa(x: Float) -> tuple[Float, Int]:
    """(m, k) with 2**x = m * 2**k, for |x| < 2000."""
    k = x.rint()
    fraction = x - k
    r, low = two_prod(fraction, table.LN2_PAIR[0])
    low = fma(fraction, table.LN2_PAIR[1], low)
    square = r * r
    return fma(square, even_odd(r, square, table.EXP), low) + r + 1.0, integer_value(k)


def expm1(x: Float) -> Float:
    """exp(x) - 1, within 1.4 ulp."""
    if not x.ops.jumps:
        return expm1_everywhere(x)
    k, r, low = _reduce_exp(x)
    y = add_exponent(_expm1_mantissa(k, r, low), k).with_sign_of(x)
    return select_rare(~(abs(x) < EXP_LIMIT), slow_path(expm1_everywhere), (x,), (y,))[0]


def expm1_everywhere(x: Float) -> Float:
    k, r, low = _reduce_exp(clamp(x, -40.0, 710.0))
    return scale(_expm1_mantissa(_at_most(k, 1000), r, low), k).with_sign_of(x)


def _expm1_mantissa(k: Int, r: Float, low: Float) -> Float:
    """exp(r + low) - 2**-k: the first terms, 1 - 2**-k + r, are added without error."""
    high, error = fast_two_sum(1.0 - power_of_two(0 - k), r)
    square = r * r
    return high + (error + fma(square, even_odd(r, square, table.EXP), low))


def _at_most(k: Int, bound: int) -> Int:
    ops = k.ops
    limit = ops.iconst(bound)
    return Int(ops, ops.iselect(ops.ilt(k.value, limit), k.value, limit))


def exp_minus_abs(x: Float) -> tuple[Float, Float]:
    """exp(-|x|) as a pair; where it is subnormal, the low part says nothing."""
    if not x.ops.jumps:
        return exp_minus_abs_everywhere(x)
    k, high, low = exp_of_pair(-abs(x), x.const(0.0))
    total, low = fast_two_sum(high, low)
    power = power_of_two(k)
    far = ~(abs(x) < EXP_LIMIT)
    total, low = select_rare(far, slow_path(exp_minus_abs_everywhere), (x,), (total * power, low * power))
    return total, low


def exp_minus_abs_everywhere(x: Float) -> tuple[Float, Float]:
    k, high, low = exp_of_pair(clamp(-abs(x), -746.0, 0.0), x.const(0.0))
    total, low = fast_two_sum(high, low)
    return scale(total, k), scale(low, k)


def expit(x: Float) -> Float:
    e, e_low = exp_minus_abs(x)
    den, den_low = fast_two_sum(1.0, e)
    negative = x < 0.0
    return divide_pairs(select(negative, e, 1.0), select(negative, e_low, 0.0), den, den_low + e_low)


def softplus(x: Float) -> Float:
    """log(1 + exp(x)), within 1.5 ulp."""
    e, e_low = exp_minus_abs(x)
    return select(x > 0.0, x, 0.0) + log1p_of_pair(e, e_low, bounded=True)


def log_expit(x: Float) -> Float:
    """log(expit(x)), within 1.5 ulp."""
    return -softplus(-x)


def logaddexp(x: Float, y: Float) -> Float:
    """log(exp(x) + exp(y)), within 1.5 ulp of the result or of the larger argument, if that is more."""
    e, e_low = exp_minus_abs(x - y)
    larger = select(x > y, x, y) + log1p_of_pair(e, e_low, bounded=True)
    return select(x.equals(y), x + table.LN2_PAIR[0], select((x - y).is_nan(), x + y, larger))


# --- logarithms ---------------------------------------------------------------------------------------------


def _split_positive(x: Float) -> tuple[Float, Float]:
    """(k, f) with x = 2**k (1 + f), 1 + f in [sqrt(1/2), sqrt(2)], for x > 0."""
    subnormal = x < SMALLEST_NORMAL
    k, f = _split_normal(select(subnormal, x * 2.0**54, x))
    return select(subnormal, k - 54.0, k), f


def _split_normal(x: Float) -> tuple[Float, Float]:
    """`_split_positive` for a normal x."""
    bits = x.bits()
    above = bits - SQRT_HALF_BITS
    mantissa = (bits - (above & EXPONENT_FIELD)).as_double()
    return float_value(above >> 52), mantissa - 1.0


def _log_special(x: Float, y: Float) -> Float:
    """y, but at 0, infinity, negative numbers and NaN what a logarithm is there."""
    y = select(x.equals(INF), x, y)
    y = select(x.equals(0.0), -INF, y)
    return select(x >= 0.0, y, NAN)


def log(x: Float) -> Float:
    if not x.ops.jumps:
        return log_everywhere(x)
    y = _log_of_parts(*_split_normal(x))
    return select_rare(~((x >= SMALLEST_NORMAL) & (x < INF)), slow_path(log_everywhere), (x,), (y,))[0]


def log_everywhere(x: Float) -> Float:
    return _log_special(x, _log_of_parts(*_split_positive(x)))


def _log_of_parts(k: Float, f: Float) -> Float:
    """log(2**k (1 + f))"""
    s = f / (f + 2.0)
    z = s * s
    half_square = f * 0.5 * f
    low = fma(s, half_square + z * horner(z, table.LOG), k * table.LN2[1])
    return fma(k, table.LN2[0], f - (half_square - low))


def log_mantissa(f: Float) -> tuple[Float, Float]:
    """log(1 + f) as a pair with an error of 2**-58, for 1 + f in [sqrt(1/2), sqrt(2)]."""
    s = f / (f + 2.0)
    z = s * s
    half = f * 0.5
    half_square, square_error = two_prod(half, f)
    high, error = fast_two_sum(f, -half_square)
    return high, error - (square_error - s * (half_square + z * horner(z, table.LOG)))


def log_pair(x: Float) -> tuple[Float, Float]:
    """log(x) as a pair with an absolute error of 2**-57 + 2**-60 |log x|, for finite x > 0."""
    k, f = _split_positive(x)
    f_high, f_low = log_mantissa(f)
    high, error = fast_two_sum(k * table.LN2[0], f_high)
    return fast_two_sum(high, fma(k, table.LN2[1], error + f_low))


def _log_in_base(x: Float, factor: tuple[float, ...], k_part: tuple[float, ...]) -> Float:
    """factor * log(mantissa) + k * k_part: exact at powers of two (of ten), since the pairs' errors are."""
    k, f = _split_positive(x)
    f_high, f_low = log_mantissa(f)
    product, product_low = two_prod(f_high, factor[0])
    product_low = product_low + fma(f_low, factor[0], f_high * factor[1])
    high, error = fast_two_sum(k * k_part[0], product)
    return _log_special(x, high + fma(k, k_part[1], error + product_low))


def log2(x: Float) -> Float:
    return _log_in_base(x, table.LOG2_E, (1.0, 0.0))


def log10(x: Float) -> Float:
    return _log_in_base(x, table.LOG10_E, table.LOG10_2)


def log1p_of_pair(
    x: Float, low: Float | float, doublings: Float | float = 0.0, *, bounded: bool = False
) -> Float:
    """log(1 + x + low) + doublings * log(2), for finite x > -1 and a low of at most x's last place.

    ``bounded``: x is at most 2**60.
    """
    u, c = two_sum(1.0, x)
    bits = u.bits()
    above = bits - SQRT_HALF_BITS
    exponent = above >> 52
    mantissa = (bits - (above & EXPONENT_FIELD)).as_double()
    rest = (c + low) * power_of_two(0 - exponent)
    if not bounded:  # beyond, the low part cannot matter, and its scale 2^-k would leave the normal range
        rest = select(x > 2.0**60, 0.0, rest)
    f, f_low = fast_two_sum(mantissa - 1.0, rest)
    k = float_value(exponent) + doublings
    s = f / (f + 2.0)
    z = s * s
    half_square = f * 0.5 * f
    correction = fma(k, table.LN2[1], fma(-f, f_low, f_low))  # f_low / (1 + f), nearly
    tail = fma(s, half_square + z * horner(z, table.LOG), correction)
    return fma(k, table.LN2[0], f - (half_square - tail))


def log1p(x: Float) -> Float:
    if not x.ops.jumps:
        return log1p_everywhere(x)
    y = log1p_of_pair(x, 0.0, bounded=True).with_sign_of(x)
    return select_rare(~((x > -1.0) & (x < 2.0**60)), slow_path(log1p_everywhere), (x,), (y,))[0]


def log1p_everywhere(x: Float) -> Float:
    y = log1p_of_pair(x, 0.0).with_sign_of(x)
    y = select(x.equals(INF), x, y)
    y = select(x.equals(-1.0), -INF, y)
    return select(x >= -1.0, y, NAN)


def logit(x: Float) -> Float:
    """log(x / (1 - x)): with the sign of x - 1/2, log1p(|1 - 2x| / min(x, 1 - x))."""
    tiny = x < 2.0**-1000
    low_half = x < 0.5
    num, num_low = fast_two_sum(1.0, x * -2.0)
    num, num_low = select(low_half, num, -num), select(low_half, num_low, -num_low)
    den = select(low_half, select(tiny, x * 2.0**64, x), 1.0 - x)
    reciprocal = 1.0 / den
    q = num * reciprocal
    q_low = (fma(-q, den, num) + num_low) * reciprocal
    y = log1p_of_pair(q, select(tiny, 0.0, q_low), select(tiny, x.const(64.0), 0.0))
    y = select(x.equals(0.0) | x.equals(1.0), INF, y)
    y = select((x >= 0.0) & (x <= 1.0), y, NAN)
    return select(low_half, -y, y)


# --- powers -------------------------------------------------------------------------------------------------


def _log_accurate(x: Float) -> tuple[Float, Float]:
    """log(x) as a pair with a relative error of 2**-65, for finite x > 0: what a power needs."""
    k, f = _split_positive(x)
    den, den_low = fast_two_sum(2.0, f)
    reciprocal = 1.0 / den
    s = f * reciprocal
    s_low = (fma(-s, den, f) - s * den_low) * reciprocal
    z, z_low = two_prod(s, s)
    z_low = fma(s + s, s_low, z_low)
    cube, cube_low = two_prod(z, s)
    cube_low = cube_low + fma(z_low, s, z * s_low)
    third, third_low = two_prod(cube, table.TWO_THIRDS[0])
    third_low = third_low + fma(cube_low, table.TWO_THIRDS[0], cube * table.TWO_THIRDS[1])
    tail = cube * z * horner(z, table.LOG_TAIL)
    high, e1 = fast_two_sum(k * table.LN2[0], s + s)
    high, e2 = two_sum(high, third)
    low = e1 + (e2 + (fma(k, table.LN2[1], s_low + s_low) + (third_low + tail)))
    return fast_two_sum(high, low)


def pow_(x: Float, y: Float) -> Float:
    """x**y, of negative x too if y is an integer."""
    base = abs(x)
    high, low = _log_accurate(base)
    high = select(base.equals(0.0), -INF, select(base.equals(INF), INF, high))
    high = select(x.is_nan(), x, high)
    t, t_low = two_prod(y, high)
    t_low = fma(y, low, t_low)
    t_low = select(abs(t) < 800.0, t_low, 0.0)
    k, e_high, e_low = exp_of_pair(clamp(t, -746.0, 710.0), t_low)
    magnitude = scale(e_high + e_low, k)

    is_integer = y.floor().equals(y)
    half = y * 0.5
    is_odd = is_integer & half.floor().differs(half) & (abs(y) < 2.0**53)
    undefined = (x < 0.0) & (base < INF) & ~is_integer
    result = select(is_odd, magnitude.with_sign_of(x), magnitude)
    result = select(undefined, NAN, result)
    always_one = y.equals(0.0) | x.equals(1.0) | (x.equals(-1.0) & abs(y).equals(INF))
    return select(always_one, 1.0, result)


def cbrt(x: Float) -> Float:
    a = abs(x)
    subnormal = a < SMALLEST_NORMAL
    bits = select(subnormal, a * 2.0**54, a).bits()
    exponent = float_value((bits >> 52) - 1023)
    third = ((exponent + 0.5) * (1.0 / 3.0)).floor()
    rest = fma(third, -3.0, exponent)
    mantissa = ((bits & ((1 << 52) - 1)) + (1023 << 52)).as_double()
    one, two = rest.equals(1.0), rest.equals(2.0)
    m = mantissa * select(two, 4.0, select(one, 2.0, 1.0))
    # y approaches m^(-1/3) from four digits, at fourth order; then a Newton step for m y^2, residual exact.
    y = horner(mantissa, table.CBRT) * select(two, 4.0 ** (-1 / 3), select(one, 2.0 ** (-1 / 3), 1.0))
    error = fma(-m, y * y * y, 1.0)
    y = fma(y * error, fma(error, fma(error, 14 / 81, 2 / 9), 1 / 3), y)
    square = y * y
    c = m * square
    c2, c2_low = two_prod(c, c)
    c3, c3_low = two_prod(c2, c)
    residual = (c3 - m) + fma(c2_low, c, c3_low)
    c = fma(residual * square, -1 / 3, c)
    c = c * power_of_two(integer_value(select(subnormal, third - 18.0, third)))
    return select((a > 0.0) & (a < INF), c.with_sign_of(x), x)


def hypot(x: Float, y: Float) -> Float:
    a, b = abs(x), abs(y)
    swap = b > a
    large, small = select(swap, b, a), select(swap, a, b)
    up, down = large < 2.0**-500, large > 2.0**500
    factor = select(up, 2.0**600, select(down, 2.0**-600, 1.0))
    back = select(up, 2.0**-600, select(down, 2.0**600, 1.0))
    large, small = large * factor, small * factor
    length = fma(large, large, small * small).sqrt() * back
    infinite = a.equals(INF) | b.equals(INF)
    return select(infinite, INF, length)


# --- hyperbolic functions -----------------------------------------------------------------------------------


def _hyperbolic(x: Float) -> tuple[Int, tuple[Float, Float], tuple[Float, Float]]:
    """(k, s, c): sinh and cosh of 0 <= x < 747 as pairs, both to be multiplied by 2**(k - 1).

    With q = 2**(-2k), sinh(r + k ln 2) = 2**(k-1) ((1 + q) sinh r + (1 - q) cosh r). For k = 0 the cosh drops
    out, so that small arguments need no case of their own.
    """
    k, r, low = _reduce_exp(x)
    z = r * r
    cosh_tail = z * horner(z, table.COSH)
    sinh_tail = fma(r * z, horner(z, table.SINH), low)
    q = power_of_two(0 - _at_most(k << 1, 1000))
    plus, plus_low = fast_two_sum(1.0, q)
    minus, minus_low = fast_two_sum(1.0, -q)
    sinh_rest = fma(minus, cosh_tail, fma(plus, sinh_tail, fma(plus_low, r, minus_low)))
    cosh_rest = fma(plus, cosh_tail, fma(minus, sinh_tail, fma(minus_low, r, plus_low)))
    return k, _add_product(minus, plus, r, sinh_rest), _add_product(plus, minus, r, cosh_rest)


def _add_product(a: Float, b: Float, r: Float, rest: Float) -> tuple[Float, Float]:
    """a + b r + rest as a pair, where |b r| < |a| or a is 0."""
    product, product_low = two_prod(b, r)
    high, error = fast_two_sum(a, product)
    return high, error + (product_low + rest)


def sinh(x: Float) -> Float:
    k, (high, low), _ = _hyperbolic(clamp(abs(x), 0.0, 711.0))
    return scale(high + low, k - 1).with_sign_of(x)


def cosh(x: Float) -> Float:
    k, _, (high, low) = _hyperbolic(clamp(abs(x), 0.0, 711.0))
    return scale(high + low, k - 1)


def sech(x: Float) -> Float:
    """1 / cosh(x)."""
    k, _, (high, low) = _hyperbolic(clamp(abs(x), 0.0, 746.0))
    return scale(divide_pairs(high.const(1.0), 0.0, *fast_two_sum(high, low)), 1 - k)


def tanh(x: Float) -> Float:
    _, (s, s_low), (c, c_low) = _hyperbolic(clamp(abs(x), 0.0, 25.0))
    return divide_pairs(*fast_two_sum(s, s_low), *fast_two_sum(c, c_low)).with_sign_of(x)


def asinh(x: Float) -> Float:
    a = abs(x)
    huge = a > 2.0**60
    inner = select(huge, 1.0, a)
    # log1p(a + (sqrt(1 + a^2) - 1)); the root is a pair, so that the difference is accurate.
    square, square_low = two_prod(inner, inner)
    p, p_low = two_sum(1.0, square)
    root, root_low = _sqrt_pair(p, p_low + square_low)
    rest, e1 = two_sum(-1.0, root)
    high, e2 = two_sum(inner, rest)
    low = root_low + (e1 + e2)
    y = log1p_of_pair(select(huge, a, high), select(huge, 0.0, low), select(huge, a.const(1.0), 0.0))
    return select(a < INF, y, a).with_sign_of(x)


def _sqrt_pair(a: Float, low: Float) -> tuple[Float, Float]:
    """sqrt(a + low) as a pair, for a > 0."""
    root = a.sqrt()
    return root, (fma(-root, root, a) + low) / (root + root)


def acosh(x: Float) -> Float:
    huge = x > 2.0**60
    t = select(huge, 1.0, x) - 1.0
    # log1p(t + sqrt(t (t + 2)))
    square, square_low = two_prod(t, t)
    p, p_low = two_sum(square, t + t)
    root, root_low = _sqrt_pair(p, p_low + square_low)
    root_low = select(p > 0.0, root_low, 0.0)
    high, low = two_sum(t, root)
    low = low + root_low
    y = log1p_of_pair(select(huge, x, high), select(huge, 0.0, low), select(huge, x.const(1.0), 0.0))
    return select(x.equals(INF), x, select(x >= 1.0, y, NAN))


def atanh(x: Float) -> Float:
    a = abs(x)
    den = 1.0 - a
    den_low = (1.0 - den) - a
    reciprocal = 1.0 / den
    twice = a + a
    q = twice * reciprocal
    q_low = (fma(-q, den, twice) - q * den_low) * reciprocal
    y = 0.5 * log1p_of_pair(q, q_low)
    y = select(a.equals(1.0), INF, y)
    return select(a <= 1.0, y.with_sign_of(x), NAN)
