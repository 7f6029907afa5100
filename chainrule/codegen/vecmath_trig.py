"""Trigonometric functions and their inverses on lanes; every argument is reduced correctly, however large.

Errors are below 1.2 ulp unless a function says otherwise.
"""

from __future__ import annotations

from typing import Any

from chainrule.codegen import vecmath_tables as table
from chainrule.codegen.vecmath_lanes import (
    INF,
    MAGIC,
    NAN,
    Float,
    Int,
    Ops,
    V,
    divide_pairs,
    fast_two_sum,
    float_value,
    fma,
    horner,
    integer_value,
    power_of_two,
    select,
    select_rare,
    two_prod,
    two_sum,
)

SIGN_BIT = -(1 << 63)
CODY_WAITE_LIMIT = 2.0**30
Pair = tuple[Float, Float]


# --- argument reduction -------------------------------------------------------------------------------------


def _reduce(a: Float) -> tuple[Int, Float, Float]:
    """(quadrant, r, low) with a = quadrant * pi/2 + r + low modulo 2 pi and |r| <= pi/4, for a >= 0."""
    half_pi, middle, last = table.HALF_PI
    k = fma(a, 2 / 3.141592653589793, MAGIC) - MAGIC
    exact = fma(k, -half_pi, a)  # a multiple of 2^-53, below 1: nothing is rounded
    product, product_low = two_prod(k, middle)
    r = exact - product
    low = ((exact - r) - product) - fma(k, last, product_low)
    k, r, low = select_rare(a > CODY_WAITE_LIMIT, reduce_huge, (a,), (k, r, low))
    return (k + MAGIC).bits(), r, low


def reduce_huge(b: Ops[V, Any], a: V) -> tuple[V, ...]:
    """`_reduce` for a > 2**30 (Payne and Hanek): uses those digits of 2/pi that matter. NaN at infinity."""
    x = Float(b, a)
    exponent = float_value((x.bits() >> 52) - 1075)  # x is an integer times 2^exponent
    # Digits in base 2^53. The ones before the first yield multiples of 4 quarter turns.
    first = ((exponent - 2.0) * (1 / 53)).floor()
    first = select(first > 0.0, first, 0.0)
    digits = _window(table.TWO_OVER_PI, integer_value(first), 5)
    x_scaled = x * power_of_two(0 - integer_value(first * 53.0))
    terms: list[Float] = []
    for i, digit in enumerate(digits):
        terms.extend(two_prod(x_scaled, digit * 2.0 ** (-53 * i)))
    turns = [term - 4.0 * (term * 0.25).rint() for term in terms[:3]] + terms[3:]
    total, middle, low = x.const(0.0), x.const(0.0), x.const(0.0)
    for term in turns:
        total, error = two_sum(total, term)
        middle, error = two_sum(middle, error)
        low = low + error
    k = total.rint()
    fraction, rest = two_sum(total - k, middle)
    rest = rest + low
    r, r_low = two_prod(fraction, table.HALF_PI[0])
    r, r_low = fast_two_sum(r, r_low + fma(fraction, table.HALF_PI[1], rest * table.HALF_PI[0]))
    return k.value, select(x < INF, r, NAN).value, r_low.value


def _window(values: tuple[float, ...], start: Int, length: int) -> list[Float]:
    """values[start : start + length]: shifts them by 16, 8, 4, 2 and 1 places where start has that bit."""
    ops = start.ops
    zero = Float(ops, ops.const(0.0))
    words = [zero.const(v) for v in values] + [zero] * (31 + length - len(values))
    for shift in (16, 8, 4, 2, 1):
        stays = (start & shift).equals(0)
        words = [select(stays, words[i], words[i + shift]) for i in range(length + shift - 1)]
    return words


# --- sine, cosine, tangent ----------------------------------------------------------------------------------


def _sin_cos_pairs(r: Float, low: Float) -> tuple[Pair, Pair]:
    """((sin, its low part), (cos, its low part)) of r + low, for |r| <= pi/4."""
    z = r * r
    half = z * 0.5
    sin_tail = fma(z * r, horner(z, table.SIN), fma(low, -half, low))
    whole = 1.0 - half
    cos_tail = ((1.0 - whole) - half) + fma(z * z, horner(z, table.COS), -(r * low))
    return (r, sin_tail), (whole, cos_tail)


def _sin_cos(r: Float, low: Float) -> tuple[Float, Float]:
    (s, s_tail), (c, c_tail) = _sin_cos_pairs(r, low)
    return s + s_tail, c + c_tail


def _turned(sine: Float, cosine: Float, quadrant: Int, sign: Int | int) -> Float:
    """The sine of an angle in any quadrant, with `sign` flipped in."""
    y = select((quadrant & 1).equals(0), sine, cosine)
    return (y.bits() ^ (((quadrant & 2) << 62) ^ sign)).as_double()


def sin(x: Float) -> Float:
    quadrant, r, low = _reduce(abs(x))
    return _turned(*_sin_cos(r, low), quadrant, x.bits() & SIGN_BIT)


def cos(x: Float) -> Float:
    quadrant, r, low = _reduce(abs(x))
    return _turned(*_sin_cos(r, low), quadrant + 1, 0)


def sincos_lanes(x: Float) -> tuple[Float, Float]:
    quadrant, r, low = _reduce(abs(x))
    s, c = _sin_cos(r, low)
    return _turned(s, c, quadrant, x.bits() & SIGN_BIT), _turned(s, c, quadrant + 1, 0)


def tan(x: Float) -> Float:
    quadrant, r, low = _reduce(abs(x))
    (s, s_low), (c, c_low) = _sin_cos_pairs(r, low)
    c, c_low = fast_two_sum(c, c_low)
    s, s_low = fast_two_sum(s, s_low)
    even = (quadrant & 1).equals(0)
    num, num_low = select(even, s, -c), select(even, s_low, -c_low)
    y = divide_pairs(num, num_low, select(even, c, s), select(even, c_low, s_low))
    return (y.bits() ^ (x.bits() & SIGN_BIT)).as_double()


def sin_cos_pi(x: Float) -> tuple[Float, Float, Float]:
    """(n, s, c): sine and cosine of pi (x - n), n the integer next to x."""
    n = x.rint()
    fraction = x - n
    g = abs(fraction)
    steep = g > 0.25
    h = select(steep, 0.5 - g, g)
    r, low = two_prod(h, table.PI[0])
    s, c = _sin_cos(r, fma(h, table.PI[1], low))
    return n, select(steep, c, s).with_sign_of(fraction), select(steep, s, c)


def sinc(x: Float) -> Float:
    """sin(pi x) / (pi x), 1 at 0 (as NumPy's), within 2 ulp."""
    a = abs(x)
    n, s, _ = sin_cos_pi(a)
    half = n * 0.5
    s = select(half.floor().equals(half), s, -s)
    den, den_low = two_prod(a, table.PI[0])
    y = divide_pairs(s, 0.0, den, fma(a, table.PI[1], den_low))
    y = select(a < 2.0**-30, 1.0, y)
    return select(a < 2.0**60, y, 0.0 * a)


# --- inverse functions --------------------------------------------------------------------------------------


def atan(x: Float) -> Float:
    a = abs(x)
    # The angle is base + atan(num / den), with a quotient of at most 1/2.
    small, large = a < 0.5, a > 2.0
    middle_den, middle_low = two_sum(1.0, a)
    num = select(small, a, select(large, -1.0, a - 1.0))
    den = select(small, 1.0, select(large, a, middle_den))
    den_low = select(small | large, 0.0, middle_low)
    base = select(small, 0.0, select(large, table.HALF_PI[0], table.QUARTER_PI[0]))
    base_low = select(small, 0.0, select(large, table.HALF_PI[1], table.QUARTER_PI[1]))
    y = _angle(num, x.const(0.0), den, den_low, base, base_low)
    return select(a < 2.0**60, y, select(a.is_nan(), a, table.HALF_PI[0])).with_sign_of(x)


def _angle(num: Float, num_low: Float, den: Float, den_low: Float, base: Float, base_low: Float) -> Float:
    """base + atan(num / den), all of them pairs, for |num / den| <= 1/2."""
    reciprocal = 1.0 / den
    t = num * reciprocal
    t_low = (fma(-t, den, num) + (num_low - t * den_low)) * reciprocal
    t, t_low = fast_two_sum(t, t_low)
    z = t * t
    tail = fma(t * z, horner(z, table.ATAN), t_low + base_low)
    high, error = fast_two_sum(base, t)
    return high + (error + tail)


def atan2(y: Float, x: Float) -> Float:
    """The angle of the point (x, y), with the quadrants and signed zeros of C99."""
    a, b = abs(y), abs(x)
    any_nan = y.is_nan() | x.is_nan()
    largest = select(a > b, a, b)
    infinite = largest.equals(INF)
    a = select(infinite, select(a.equals(INF), 1.0, 0.0), a)
    b = select(infinite, select(b.equals(INF), 1.0, 0.0), b)
    b = select(largest.equals(0.0), 1.0, b)
    factor = select(largest < 2.0**-900, 2.0**100, select(largest > 2.0**1000, 2.0**-4, 1.0))
    a, b = a * factor, b * factor

    small, large = a < 0.5 * b, 0.5 * a > b
    difference, difference_low = two_sum(a, -b)
    total, total_low = two_sum(a, b)
    outer = small | large
    num = select(small, a, select(large, -b, difference))
    den = select(small, b, select(large, a, total))
    num_low = select(outer, 0.0, difference_low)
    den_low = select(outer, 0.0, total_low)

    # On the left half plane the angle is pi minus this one.
    left = (x.bits() & SIGN_BIT).equals(SIGN_BIT)
    def base_part(i: int) -> Float:
        middle = select(left, table.THREE_QUARTER_PI[i], table.QUARTER_PI[i])
        return select(small, select(left, table.PI[i], 0.0), select(large, table.HALF_PI[i], middle))

    base, base_low = base_part(0), base_part(1)
    angle = _angle(select(left, -num, num), select(left, -num_low, num_low), den, den_low, base, base_low)
    return select(any_nan, NAN, angle).with_sign_of(y)


def _asin_parts(x: Float) -> tuple[Float, Float, Float]:
    """(a, t, tail) with a = |x| and asin(t) = t + tail; t is a, or where a > 1/2 the root of (1 - a) / 2."""
    a = abs(x)
    large = a > 0.5
    z = select(large, 0.5 - 0.5 * a, x * x)
    t = select(large, z.sqrt(), a)
    return a, t, t * z * horner(z, table.ASIN)


def asin(x: Float) -> Float:
    a, t, tail = _asin_parts(x)
    high, error = fast_two_sum(table.HALF_PI[0], -2.0 * t)
    beyond = high + (error + fma(tail, -2.0, table.HALF_PI[1]))
    return select(a > 0.5, beyond, t + tail).with_sign_of(x)


def acos(x: Float) -> Float:
    a, t, tail = _asin_parts(x)
    signed_t, signed_tail = t.with_sign_of(x), tail.with_sign_of(x)
    inner = table.HALF_PI[0] - (signed_t - (table.HALF_PI[1] - signed_tail))
    twice = 2.0 * (t + tail)
    outer = select(x < 0.0, table.PI[0] - (twice - table.PI[1]), twice)
    return select(a > 0.5, outer, inner)
